//! The files in which a Linux machine shows itself (/proc, /sys, /dev), below a root: the machine's own, or a folder of a test.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

/// The most that is read of one file, bytes.
const LIMIT: u64 = 64 << 10;
/// The table of mounts.
pub const MOUNTS: &str = "/proc/mounts";

/// A root with /proc, /sys and /dev below it. Paths are given as the machine has them.
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    /// The tree below `root`; `/` is the machine itself.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// This machine.
    #[must_use]
    pub fn machine() -> Self {
        Self::at(Path::new("/"))
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// True for the machine itself.
    #[must_use]
    pub fn is_machine(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where the machine's `path` is.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The text of a file, its first 64 KiB at most; `None` when it cannot be read.
    #[must_use]
    pub fn read(&self, path: &str) -> Option<String> {
        let mut bytes = Vec::new();
        File::open(self.path(path)).ok()?.take(LIMIT).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The text of a file without the white space around it; `None` when there is nothing else.
    #[must_use]
    pub fn word(&self, path: &str) -> Option<String> {
        self.read(path).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// The number in a file.
    #[must_use]
    pub fn number(&self, path: &str) -> Option<u64> {
        self.word(path)?.parse().ok()
    }

    /// The switch in a file: `1`, `Y` and `on`, or `0`, `N` and `off`.
    #[must_use]
    pub fn switch(&self, path: &str) -> Option<bool> {
        match self.word(path)?.as_str() {
            "1" | "Y" | "on" => Some(true),
            "0" | "N" | "off" => Some(false),
            _ => None,
        }
    }

    /// The names in a folder, sorted; none when it cannot be read.
    #[must_use]
    pub fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else { return Vec::new() };
        let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// The names in a folder that are `prefix` and a number, in the order of the numbers.
    #[must_use]
    pub fn numbered(&self, folder: &str, prefix: &str) -> Vec<String> {
        let number = |name: &String| name.strip_prefix(prefix)?.parse::<u32>().ok();
        let mut names: Vec<String> = self.names(folder).into_iter().filter(|name| number(name).is_some()).collect();
        names.sort_by_key(number);
        names
    }

    /// Opens a device for reading and writing, and closes it again.
    ///
    /// # Errors
    /// Why it does not open.
    pub fn opens(&self, path: &str) -> io::Result<()> {
        File::options().read(true).write(true).open(self.path(path)).map(drop)
    }

    /// True when a program of this name is in a folder of `PATH` or one of the usual ones.
    #[must_use]
    pub fn has_program(&self, name: &str) -> bool {
        let given = std::env::var("PATH").unwrap_or_default();
        let folders = given.split(':').chain(["/usr/local/bin", "/usr/bin", "/usr/sbin", "/bin", "/sbin"]);
        folders.filter(|folder| folder.starts_with('/')).any(|folder| self.path(folder).join(name).is_file())
    }

    /// Writes `text` into a file that is there.
    ///
    /// # Errors
    /// When it is not there, may not be written, or the kernel refuses the value.
    pub fn write(&self, path: &str, text: &str) -> io::Result<()> {
        File::options().write(true).truncate(true).open(self.path(path))?.write_all(text.as_bytes())
    }

    /// Mounts `target` anew with just these options. In a tree of a test the table of mounts is all there is, and is changed.
    ///
    /// # Errors
    /// When the kernel refuses, or nothing is mounted there.
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

/// The options of a mount as the kernel takes them: flags, and the file system's own.
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
    fn a_read_is_bounded_and_a_write_makes_no_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("long"), "x".repeat(100_000)).unwrap();
        let tree = Tree::at(folder.path());
        assert_eq!(tree.read("/long").map(|text| text.len()), Some(64 << 10));
        assert_eq!(tree.read("/none"), None);
        assert!(tree.write("/none", "1").is_err() && tree.read("/none").is_none());
    }

    #[test]
    fn options_of_a_mount_are_flags_and_words_of_the_file_system() {
        let (flags, data) = mount_flags("rw,nosuid,noexec,nsdelegate,favordynmods");
        assert_eq!(flags, MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC);
        assert_eq!(data, "nsdelegate,favordynmods");
    }
}
