//! Who a VMM runs as: a user of its own without any capability, where the runner is root; the runner's user otherwise.
//!
//! No VMM may gain privileges (`no_new_privs`, which the sandbox sets), and each has a folder that no other one may enter.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::sandbox;
use crate::vm::Parts;

/// User and group of VM 0; the others follow. No distribution and no container manager assigns numbers from here on:
/// systemd-nspawn's end at 0x6fffffff, and 0x7fffffff is the last that every kernel interface takes.
pub(crate) const FIRST_UID: u32 = 0x7000_0000;

/// Who a VMM runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isolation {
    /// User and group of its own; `None` for the runner's.
    uid: Option<u32>,
}

impl Isolation {
    /// That of VM number `vm`.
    #[must_use]
    pub fn of(vm: u32) -> Self {
        Self { uid: possible().then_some(FIRST_UID + vm) }
    }

    /// User that owns what the VMM may use.
    #[must_use]
    pub fn owner(self) -> u32 {
        self.uid.unwrap_or_else(|| nix::unistd::geteuid().as_raw())
    }

    /// True for a user of its own.
    #[must_use]
    pub fn is_own(self) -> bool {
        self.uid.is_some()
    }

    /// User and group that the VMM's process begins with, without any other group and, where it is not root, without capabilities; `None`
    /// for the runner's. What leaves root itself begins `as_root`.
    #[must_use]
    pub fn user(self, as_root: bool) -> Option<u32> {
        self.uid.map(|uid| if as_root { 0 } else { uid })
    }

    /// Gives `path` to this user.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn give(self, path: &Path) -> anyhow::Result<()> {
        let Some(uid) = self.uid else { return Ok(()) };
        chown(path, Some(uid), Some(uid)).with_context(|| format!("cannot give {} to user {uid}", path.display()))
    }

    /// Takes `path` back from this user.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn take_back(self, path: &Path) -> anyhow::Result<()> {
        if self.uid.is_none() {
            return Ok(());
        }
        chown(path, Some(0), Some(0)).with_context(|| format!("cannot take {} back", path.display()))
    }
}

/// True for a root that may become any user, where any user may open the devices of a VMM.
fn possible() -> bool {
    let everyone = fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.lines().any(|line| line.split_whitespace().eq(["0", "0", "4294967295"])));
    let open = |device: &str| fs::metadata(device).map_or(true, |data| data.mode() & 0o006 == 0o006);
    nix::unistd::geteuid().is_root() && everyone && open("/dev/kvm") && open("/dev/net/tun")
}

/// Shows the files of `parts` in `folder` to VMMs that may not read them where they are: in root's home, for instance.
///
/// # Errors
/// When a file cannot be shown.
pub fn show(parts: &mut BTreeMap<String, Parts>, folder: &Path) -> anyhow::Result<()> {
    if !possible() {
        return Ok(());
    }
    let mut shown: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    let mut place = |path: &mut PathBuf| -> anyhow::Result<()> {
        if reachable(path) {
            return Ok(());
        }
        let next = shown.len();
        if let Some(place) = shown.get(path) {
            path.clone_from(place);
            return Ok(());
        }
        let name = path.file_name().context("a file has a name")?.to_string_lossy().into_owned();
        let place = folder.join(format!("{next}-{name}"));
        if readable(path) {
            // For the whole run: the sandbox's end takes it away.
            std::mem::forget(sandbox::show(path, &place)?);
        } else {
            // Its mode is the user's own business: a copy is made.
            fs::copy(&*path, &place).with_context(|| format!("cannot copy {}", path.display()))?;
            fs::set_permissions(&place, fs::Permissions::from_mode(0o755))?;
        }
        shown.insert(std::mem::replace(path, place.clone()), place);
        Ok(())
    };
    for parts in parts.values_mut().filter(|parts| parts.unfit.is_none()) {
        for path in [&mut parts.program, &mut parts.image].into_iter().chain(&mut parts.kernel) {
            place(path)?;
        }
        parts.files.values_mut().try_for_each(&mut place)?;
        for program in [&mut parts.strace, &mut parts.jailer].into_iter().flatten() {
            place(program)?;
        }
    }
    Ok(())
}

fn readable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| data.mode() & 0o004 != 0)
}

/// Anybody may read `path` and pass through the folders that it lies in.
fn reachable(path: &Path) -> bool {
    let Ok(path) = fs::canonicalize(path) else { return false };
    readable(&path)
        && path.ancestors().skip(1).all(|folder| fs::metadata(folder).is_ok_and(|data| data.mode() & 0o001 != 0))
}

/// The processes below `pid`, a parent before its children (`/proc/PID/task/TID/children`, proc(5)).
#[must_use]
pub fn descendants(pid: u32) -> Vec<u32> {
    let children = |pid: u32| -> Vec<u32> {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let texts = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        texts
            .flat_map(|text| text.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<_>>())
            .collect()
    };
    let mut found = children(pid);
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        found.extend(children(pid));
        next += 1;
    }
    found
}

/// The largest resident set of a process so far, bytes, from the text of `/proc/PID/status`. Unlike what `wait4(2)` accounts it leaves out
/// what the process was before it executed its program: a fork of the runner.
#[must_use]
pub fn largest_resident_set(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Number of kinds of namespace (mount, PID, network ...) in which process `pid` is not where this one is.
///
/// # Errors
/// When /proc does not say; a process that has ended, for instance.
pub fn own_namespaces(pid: u32) -> std::io::Result<u32> {
    let mut own = 0;
    for entry in fs::read_dir("/proc/self/ns")? {
        let entry = entry?;
        // What the process's children will be in is no namespace of its own.
        if entry.file_name().to_string_lossy().ends_with("_for_children") {
            continue;
        }
        let its = fs::read_link(Path::new("/proc").join(pid.to_string()).join("ns").join(entry.file_name()))?;
        own += u32::from(its != fs::read_link(entry.path())?);
    }
    Ok(own)
}

/// What the kernel says of the isolation of process `pid`, from the text of `/proc/PID/status`: user, effective capabilities, seccomp
/// mode, `no_new_privs`; `None` for a line that is not there.
#[must_use]
pub fn read(status: &str) -> [Option<u64>; 4] {
    let word = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
    let number = |name: &str| word(name)?.parse().ok();
    [
        number("Uid:"),
        word("CapEff:").and_then(|digits| u64::from_str_radix(digits, 16).ok()),
        number("Seccomp:"),
        number("NoNewPrivs:"),
    ]
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_kernels_words_are_read_as_numbers() {
        let status = "Name:\tqemu\nUid:\t5\t5\t5\t5\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\nCapEff:\t00000000a80425fb\n";
        assert_eq!(read(status), [Some(5), Some(0xa804_25fb), Some(2), Some(1)]);
        assert_eq!(read("Name: x"), [None; 4]);
        assert_eq!(largest_resident_set("Name:\tx\nVmHWM:\t    1380 kB\nVmRSS:\t 900 kB\n"), Some(1380 * 1024));
        assert_eq!(largest_resident_set(status), None);
    }

    #[test]
    fn a_child_is_among_the_descendants_until_it_is_reaped() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        assert!(descendants(std::process::id()).contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!descendants(std::process::id()).contains(&child.id()));
    }

    #[test]
    fn a_process_has_no_namespace_that_is_not_its_own() {
        assert_eq!(own_namespaces(std::process::id()).unwrap(), 0);
        assert!(own_namespaces(u32::MAX).is_err());
    }

    #[test]
    fn a_file_below_a_closed_folder_is_not_reachable() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        for (mode, expected) in [(0o700, false), (0o711, true)] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(reachable(&file), expected, "{mode:o}");
        }
    }
}
