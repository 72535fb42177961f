//! The files of /proc, /sys and /dev below a root folder: `/`, or a folder of a test.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

/// Most bytes that are read of a file.
const LIMIT: u64 = 64 << 10;
/// The mount table.
pub const MOUNTS: &str = "/proc/mounts";

/// A root folder that contains /proc, /sys and /dev. Methods accept the paths of the machine, for example `/proc/stat`.
///
/// ```
/// use std::path::Path;
///
/// use microbench_measure::host::machine::tree::Tree;
///
/// let tree = Tree::new(Path::new("/tmp/test"));
/// assert_eq!(tree.path("/proc/stat"), Path::new("/tmp/test/proc/stat"));
/// assert!(Tree::machine().is_machine());
/// ```
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    /// The tree below `root`; `/` for this machine.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    #[must_use]
    pub fn machine() -> Self {
        Self::new(Path::new("/"))
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether this is the tree of this machine and not of a test.
    #[must_use]
    pub fn is_machine(&self) -> bool {
        self.root == Path::new("/")
    }

    /// The path below the root.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The first 64 KiB of a file; `None` if it cannot be read.
    #[must_use]
    pub fn read(&self, path: &str) -> Option<String> {
        let mut bytes = Vec::new();
        File::open(self.path(path)).ok()?.take(LIMIT).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The trimmed text of a file; `None` if it is empty or cannot be read.
    #[must_use]
    pub fn read_trimmed(&self, path: &str) -> Option<String> {
        self.read(path).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// The number in a file; `None` if it contains something else or cannot be read.
    #[must_use]
    pub fn read_number(&self, path: &str) -> Option<u64> {
        self.read_trimmed(path)?.parse().ok()
    }

    /// The switch in a file: true for `1`, `Y` and `on`; false for `0`, `N` and `off`; `None` for anything else.
    #[must_use]
    pub fn read_switch(&self, path: &str) -> Option<bool> {
        match self.read_trimmed(path)?.as_str() {
            "1" | "Y" | "on" => Some(true),
            "0" | "N" | "off" => Some(false),
            _ => None,
        }
    }

    /// The names in a folder, sorted; empty if it cannot be read.
    #[must_use]
    pub fn list_folder(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else { return Vec::new() };
        let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// The names in a folder that consist of `prefix` and a number, sorted by number.
    #[must_use]
    pub fn list_numbered(&self, folder: &str, prefix: &str) -> Vec<String> {
        let number = |name: &String| name.strip_prefix(prefix)?.parse::<u32>().ok();
        let mut names: Vec<String> =
            self.list_folder(folder).into_iter().filter(|name| number(name).is_some()).collect();
        names.sort_by_key(number);
        names
    }

    /// Checks that a device can be opened for reading and writing.
    ///
    /// # Errors
    /// The error of `open(2)`.
    pub fn open_device(&self, path: &str) -> io::Result<()> {
        File::options().read(true).write(true).open(self.path(path)).map(drop)
    }

    /// Whether a file `name` is in a folder of `PATH` or a standard folder.
    #[must_use]
    pub fn has_program(&self, name: &str) -> bool {
        let given = std::env::var("PATH").unwrap_or_default();
        let folders = given.split(':').chain(["/usr/local/bin", "/usr/bin", "/usr/sbin", "/bin", "/sbin"]);
        folders.filter(|folder| folder.starts_with('/')).any(|folder| self.path(folder).join(name).is_file())
    }

    /// Writes `text` to an existing file.
    ///
    /// # Errors
    /// If the file does not exist, may not be written, or the kernel rejects the value.
    pub fn write(&self, path: &str, text: &str) -> io::Result<()> {
        File::options().write(true).truncate(true).open(self.path(path))?.write_all(text.as_bytes())
    }

    /// Remounts `target` with exactly these options. In the tree of a test, only the mount table is changed.
    ///
    /// # Errors
    /// The error of `mount(2)`, for example if nothing is mounted on `target`.
    pub fn remount(&self, target: &str, options: &str) -> io::Result<()> {
        if self.is_machine() {
            let (flags, data) = mount_flags(options);
            return Ok(mount(None::<&str>, target, None::<&str>, MsFlags::MS_REMOUNT | flags, Some(data.as_str()))?);
        }
        let table = self.read(MOUNTS).ok_or(io::ErrorKind::NotFound)?;
        let lines = table.lines().map(|line| {
            let mut fields: Vec<&str> = line.split(' ').collect();
            if fields.get(1) == Some(&target) && fields.len() > 3 {
                fields[3] = options;
            }
            fields.join(" ") + "\n"
        });
        self.write(MOUNTS, &lines.collect::<String>())
    }
}

/// Converts mount options to flags of `mount(2)` and the options of the file system.
fn mount_flags(options: &str) -> (MsFlags, String) {
    let (mut flags, mut own) = (MsFlags::empty(), Vec::new());
    for option in options.split(',') {
        flags |= match option {
            "rw" => MsFlags::empty(),
            "ro" => MsFlags::MS_RDONLY,
            "nosuid" => MsFlags::MS_NOSUID,
            "nodev" => MsFlags::MS_NODEV,
            "noexec" => MsFlags::MS_NOEXEC,
            "relatime" => MsFlags::MS_RELATIME,
            "noatime" => MsFlags::MS_NOATIME,
            other => {
                own.push(other);
                MsFlags::empty()
            }
        };
    }
    (flags, own.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_is_bounded_and_write_creates_no_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("long"), "x".repeat(100_000)).unwrap();
        let tree = Tree::new(folder.path());
        assert_eq!(tree.read("/long").map(|text| text.len()), Some(64 << 10));
        assert_eq!(tree.read("/none"), None);
        assert!(tree.write("/none", "1").is_err() && tree.read("/none").is_none());
    }

    #[test]
    fn mount_options_are_split_into_flags_and_file_system_options() {
        let (flags, data) = mount_flags("rw,nosuid,noexec,nsdelegate,favordynmods");
        assert_eq!(flags, MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC);
        assert_eq!(data, "nsdelegate,favordynmods");
    }
}
