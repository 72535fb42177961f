//! Who a VMM runs as: a user of its own without any capability, where the runner is root; the user of a user namespace
//! without any capability, where an ordinary user started the runner. Where the runner can do neither, nothing is
//! started unless the user allows it.
//!
//! No VMM may gain privileges (`no_new_privs`, which the sandbox sets), and each has a folder that no other one may enter.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::Context;
use microbench_formats::code::Code;
use microbench_study::engine::context::FIRST_USER;
use tracing::{debug, info};

use crate::parts::Parts;
use crate::requirement::{Lack, Lacking};
use crate::sys;
use crate::sys::mount;

/// Who a VMM runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isolation {
    /// User and group of its own; `None` for the runner's.
    uid: Option<u32>,
    /// It must not have a capability, whoever it runs as. False where the user allows VMMs that are not isolated.
    bare: bool,
}

impl Isolation {
    /// That of VM number `vm`.
    #[must_use]
    pub fn of(vm: u32) -> Self {
        let found = Found::here();
        Self { uid: found.may_become_any_user().then_some(FIRST_USER + vm), bare: found.missing().is_none() }
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

    /// Checks who a VMM runs as, by what the kernel says of its process ([`read`]). `outside`: the process is in a user
    /// namespace of its own, where capabilities are none over this machine.
    ///
    /// # Errors
    /// When it is not isolated although it should be: what it has.
    pub fn check(
        self,
        [user, capabilities, _, no_new_privileges]: [Option<u64>; 4],
        outside: bool,
    ) -> Result<(), String> {
        let says = |has: String| Err(format!("the VMM is not isolated from the host: it has {has}"));
        match (user, capabilities, no_new_privileges) {
            _ if !self.bare => Ok(()),
            (None, ..) | (_, None, _) | (.., None) => {
                Err("the kernel does not say whether the VMM is isolated".to_owned())
            }
            (Some(0), ..) if self.is_own() => says("the user root".to_owned()),
            (_, Some(held), _) if held != 0 && !outside => says(format!("the capabilities {held:#x}")),
            (.., Some(0)) => says("the right to gain privileges".to_owned()),
            _ => Ok(()),
        }
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

/// Device files that VMMs open.
pub(crate) const DEVICES: [&str; 2] = ["/dev/kvm", "/dev/net/tun"];
/// What root needs to start VMMs as other users, to end them, and to give them their files; each with its number
/// (capabilities(7)).
const NEEDED: [(&str, u32); 4] = [("CAP_CHOWN", 0), ("CAP_KILL", 5), ("CAP_SETGID", 6), ("CAP_SETUID", 7)];

/// What decides whether this process can isolate VMMs.
#[derive(Clone, Debug)]
struct Found {
    /// This process's user is root, of its user namespace at least.
    is_root: bool,
    /// What it executes has no capabilities though its user is root.
    programs_are_not_root: bool,
    /// `/proc/self/uid_map`.
    users: String,
    /// Effective capabilities.
    capabilities: u64,
    /// A device file that is there and not open to every user.
    closed: Option<&'static str>,
}

impl Found {
    fn here() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let open = |device: &str| fs::metadata(device).map_or(true, |data| data.mode() & 0o006 == 0o006);
        Self {
            is_root: nix::unistd::geteuid().is_root(),
            programs_are_not_root: sys::are_executed_programs_not_root().unwrap_or(false),
            users: text("/proc/self/uid_map"),
            capabilities: read(&text("/proc/self/status"))[1].unwrap_or(0),
            closed: DEVICES.into_iter().find(|device| !open(device)),
        }
    }

    /// It is root of the machine's own users.
    fn has_all_users(&self) -> bool {
        self.users.lines().any(|line| line.split_whitespace().eq(["0", "0", "4294967295"]))
    }

    /// What root lacks to start VMMs as users of their own, each with all that it needs.
    fn lacks(&self) -> Option<String> {
        let has = |number: u32| self.capabilities >> number & 1 == 1;
        if !self.is_root {
            Some("microbench is not root".to_owned())
        } else if !self.has_all_users() {
            Some("microbench is root of a user namespace only and cannot become other users".to_owned())
        } else if let Some((name, _)) = NEEDED.into_iter().find(|(_, number)| !has(*number)) {
            Some(format!("microbench is root without {name}"))
        } else {
            self.closed.map(|device| {
                format!(
                    "{device} is not open to every user, and microbench cannot make a device file that is (CAP_MKNOD)"
                )
            })
        }
    }

    fn may_become_any_user(&self) -> bool {
        self.lacks().is_none()
    }

    /// Why VMMs cannot be isolated; `None` where they are.
    fn missing(&self) -> Option<String> {
        let lacks = self.lacks()?;
        if !self.programs_are_not_root {
            return Some(lacks);
        }
        // In a user namespace of the sandbox's: VMMs are, outside of it, the user who started microbench.
        let outside = self.users.split_whitespace().nth(1);
        (outside.is_none_or(|user| user == "0"))
            .then(|| "microbench is root but may not make namespaces as root (CAP_SYS_ADMIN)".to_owned())
    }
}

/// Why VMMs that this process starts are not isolated: they have root's rights, or capabilities. `None` where they are
/// isolated. Asked in the sandbox, or in the emulated host.
#[must_use]
pub fn missing() -> Option<String> {
    Found::here().missing()
}

/// What is missing where VMMs cannot be isolated, for the reason `why`.
#[must_use]
pub fn lack(why: &str) -> Lack {
    Lack {
        code: Code::NotIsolated,
        what: format!("VMMs cannot be isolated from this machine: {why}"),
        mend: "run as an ordinary user, or as root with CAP_SYS_ADMIN and CAP_MKNOD; or --host emulated, where VMMs \
               are isolated; or --allow-unisolated, which gives VMMs the rights of this user and is recorded"
            .to_owned(),
    }
}

/// Requires that VMMs are isolated, unless the user allows that they are not.
///
/// # Returns
/// Why they are not; `None` where they are.
///
/// # Errors
/// [`Lacking`] where they are not and it is not allowed.
pub fn require(allowed: bool) -> Result<Option<String>, Lacking> {
    let missing = missing();
    match &missing {
        None => debug!("VMMs are isolated from this machine"),
        Some(why) => info!(allowed, "VMMs are not isolated from this machine: {why}"),
    }
    match missing {
        Some(why) if !allowed => Err(Lacking::of(lack(&why))),
        why => Ok(why),
    }
}

/// Shows the files of `parts` in `folder` to VMMs that may not read them where they are: in root's home, for instance.
///
/// # Errors
/// When a file cannot be shown.
pub fn show(parts: &mut BTreeMap<String, Parts>, folder: &Path) -> anyhow::Result<()> {
    if !Isolation::of(0).is_own() {
        // VMMs have the rights of this process's user on files.
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
            std::mem::forget(mount::show(path, &place)?);
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

/// Whether process `pid` is in another user namespace than this process: in one below it, because no other can be
/// entered without a capability. False when /proc does not say.
#[must_use]
pub fn has_own_users(pid: u32) -> bool {
    let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/user"));
    matches!((of("self"), of(&pid.to_string())), (Ok(own), Ok(its)) if own != its)
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

    use super::*;

    #[test]
    fn the_kernels_words_are_read_as_numbers() {
        let status = "Name:\tqemu\nUid:\t5\t5\t5\t5\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\nCapEff:\t00000000a80425fb\n";
        assert_eq!(read(status), [Some(5), Some(0xa804_25fb), Some(2), Some(1)]);
        assert_eq!(read("Name: x"), [None; 4]);
    }

    const ROOT: u64 = 0x1ff_ffff_ffff;

    fn root() -> Found {
        let users = "         0          0 4294967295\n".to_owned();
        Found { is_root: true, programs_are_not_root: false, users, capabilities: ROOT, closed: None }
    }

    #[test]
    fn root_isolates_vmms_with_every_user_capability_and_open_device_alone() {
        assert_eq!(root().missing(), None);
        // Started with SECBIT_NOROOT set.
        assert_eq!(Found { programs_are_not_root: true, ..root() }.missing(), None);
        let without = |number: u32| Found { capabilities: ROOT & !(1 << number), ..root() };
        for (found, why) in [
            (Found { users: "0 1000 1".to_owned(), ..root() }, "root of a user namespace only"),
            (without(7), "without CAP_SETUID"),
            (without(0), "without CAP_CHOWN"),
            (Found { closed: Some("/dev/kvm"), ..root() }, "/dev/kvm is not open to every user"),
            (Found { is_root: false, ..root() }, "not root"),
            (Found { users: String::new(), ..root() }, "root of a user namespace only"),
        ] {
            let said = found.missing().unwrap();
            assert!(said.contains(why) && !found.may_become_any_user(), "{said}");
        }
    }

    #[test]
    fn an_ordinary_user_isolates_vmms_by_a_user_namespace_and_root_does_not() {
        let within = |users: &str| Found { programs_are_not_root: true, users: users.to_owned(), ..root() };
        assert_eq!(within("0 1000 1").missing(), None);
        assert!(!within("0 1000 1").may_become_any_user());
        for users in ["0 0 1", ""] {
            assert!(within(users).missing().unwrap().contains("CAP_SYS_ADMIN"), "{users}");
        }
    }

    #[test]
    fn a_vmm_with_roots_user_or_a_capability_is_not_isolated() {
        let own = Isolation { uid: Some(FIRST_USER), bare: true };
        let shared = Isolation { uid: None, bare: true };
        let status = |user, capabilities, no_new| [Some(user), Some(capabilities), Some(2), Some(no_new)];
        assert_eq!(own.check(status(u64::from(FIRST_USER), 0, 1), false), Ok(()));
        // In a user namespace that it made itself.
        assert_eq!(own.check(status(u64::from(FIRST_USER), ROOT, 1), true), Ok(()));
        // Root of its user namespace by name only.
        assert_eq!(shared.check(status(0, 0, 1), false), Ok(()));
        for (isolation, found, has) in [
            (own, status(0, 0, 1), "the user root"),
            (own, status(5, 1 << 21, 1), "the capabilities 0x200000"),
            (shared, status(0, 1, 1), "the capabilities 0x1"),
            (own, status(5, 0, 0), "gain privileges"),
            (own, [Some(5), None, None, Some(1)], "does not say"),
        ] {
            let said = isolation.check(found, false).unwrap_err();
            assert!(said.contains(has), "{said}");
        }
        assert_eq!(Isolation { uid: None, bare: false }.check(status(0, ROOT, 1), false), Ok(()));
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
