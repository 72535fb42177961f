//! User and privileges of a VMM.
//!
//! | runner | VMM runs as |
//! | --- | --- |
//! | root | a user of its own, without capabilities |
//! | ordinary user | the user of the sandbox's user namespace, without capabilities |
//! | root that can do neither | refused, unless `--allow-unisolated` is given |
//!
//! No VMM can gain privileges: the sandbox sets `no_new_privs`. Each VMM has a folder that other VMMs may not enter.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;
use microbench_formats::code::Code;
use microbench_study::engine::context::FIRST_USER;
use tracing::{debug, info};

use crate::parts::Parts;
use crate::requirement::{MissingRequirement, MissingRequirements};
use crate::sys;
use crate::sys::mount;

/// Number of user IDs of VMMs; the last one is the largest that fits in a signed integer.
const USERS: u32 = 1 << 28;

/// User and required privileges of a VMM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isolation {
    /// User and group ID of the VMM; `None` for those of the runner.
    uid: Option<u32>,
    /// Whether the VMM must be isolated. False if the runner cannot isolate VMMs, which the user has allowed.
    required: bool,
}

impl Isolation {
    /// The isolation of the next VM, by the privileges of this process. No other VM of this process has its user, so
    /// that a process which outlives its VM cannot signal a later one. User IDs are reused after 2^28 VMs.
    #[must_use]
    pub fn of_next_vm() -> Self {
        Self::of_process_with(&Privileges::of_this_process())
    }

    /// The isolation of the emulator of an emulated host, by the privileges of this process. Unlike VMMs, it opens no
    /// device.
    #[must_use]
    pub fn of_emulator() -> Self {
        Self::of_process_with(&Privileges { restricted_device: None, ..Privileges::of_this_process() })
    }

    fn of_process_with(privileges: &Privileges) -> Self {
        Self {
            uid: privileges.can_become_any_user().then(next_user),
            required: privileges.why_not_isolated().is_none(),
        }
    }

    /// ID of the user that the VMM runs as, who must own its files and its tap interface.
    #[must_use]
    pub fn owner(self) -> u32 {
        self.uid.unwrap_or_else(|| nix::unistd::geteuid().as_raw())
    }

    /// Whether the VMM runs as a user of its own.
    #[must_use]
    pub fn has_own_user(self) -> bool {
        self.uid.is_some()
    }

    /// User and group ID with which the VMM's process starts; `None` for those of the runner. A program that drops its
    /// privileges itself, such as a jailer, starts `as_root`.
    #[must_use]
    pub fn user(self, as_root: bool) -> Option<u32> {
        self.uid.map(|uid| if as_root { 0 } else { uid })
    }

    /// Checks that a VMM is isolated, by the status of its process ([`parse_status`]). `own_namespace`: the process is
    /// in its own user namespace, where capabilities have no effect on the host.
    ///
    /// # Errors
    /// The privilege that the VMM has although it must be isolated, or that the status does not contain it.
    pub fn check(
        self,
        [user, capabilities, _, no_new_privileges]: [Option<u64>; 4],
        own_namespace: bool,
    ) -> Result<(), String> {
        let not_isolated = |why: String| Err(format!("the VMM is not isolated from the host: {why}"));
        match (user, capabilities, no_new_privileges) {
            _ if !self.required => Ok(()),
            (None, ..) | (_, None, _) | (.., None) => {
                Err("cannot check the isolation of the VMM: /proc/PID/status is incomplete".to_owned())
            }
            (Some(0), ..) if self.has_own_user() => not_isolated("it runs as root".to_owned()),
            (_, Some(held), _) if held != 0 && !own_namespace => {
                not_isolated(format!("it has the capabilities {held:#x}"))
            }
            (.., Some(0)) => not_isolated("it can gain privileges".to_owned()),
            _ => Ok(()),
        }
    }

    /// Makes the VMM's user the owner of `path`; does nothing if the VMM runs as the runner's user.
    ///
    /// # Errors
    /// The error of `chown(2)`.
    pub fn chown_to_vmm(self, path: &Path) -> anyhow::Result<()> {
        let Some(uid) = self.uid else { return Ok(()) };
        chown(path, Some(uid), Some(uid))
            .with_context(|| format!("cannot change the owner of {} to user {uid}", path.display()))
    }

    /// Makes root the owner of `path` again; does nothing if the VMM runs as the runner's user.
    ///
    /// # Errors
    /// The error of `chown(2)`.
    pub fn chown_to_root(self, path: &Path) -> anyhow::Result<()> {
        if self.uid.is_none() {
            return Ok(());
        }
        chown(path, Some(0), Some(0)).with_context(|| format!("cannot change the owner of {} to root", path.display()))
    }
}

/// A user ID that no earlier VM has had, or none of the last [`USERS`].
fn next_user() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    FIRST_USER + NEXT.fetch_add(1, Ordering::Relaxed) % USERS
}

/// Device files that VMMs open.
pub(crate) const DEVICES: [&str; 2] = ["/dev/kvm", "/dev/net/tun"];
/// Capabilities that root needs to start VMMs as other users, to kill them and to change the owner of their files. Each
/// has its number (capabilities(7)).
const NEEDED: [(&str, u32); 4] = [("CAP_CHOWN", 0), ("CAP_KILL", 5), ("CAP_SETGID", 6), ("CAP_SETUID", 7)];

/// Privileges of a process that decide whether it can isolate VMMs.
#[derive(Clone, Debug)]
struct Privileges {
    /// The user is root, at least in the process's user namespace.
    is_root: bool,
    /// Executed programs have no capabilities although their user is root.
    exec_drops_capabilities: bool,
    /// Content of `/proc/self/uid_map`.
    uid_map: String,
    capabilities: u64,
    /// A device file that exists and that not every user may open.
    restricted_device: Option<&'static str>,
}

impl Privileges {
    fn of_this_process() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let open = |device: &str| fs::metadata(device).map_or(true, |data| data.mode() & 0o006 == 0o006);
        Self {
            is_root: nix::unistd::geteuid().is_root(),
            exec_drops_capabilities: sys::exec_drops_root_capabilities().unwrap_or(false),
            uid_map: text("/proc/self/uid_map"),
            capabilities: parse_status(&text("/proc/self/status"))[1].unwrap_or(0),
            restricted_device: DEVICES.into_iter().find(|device| !open(device)),
        }
    }

    /// Whether the process is in the host's initial user namespace (or one that maps all users).
    fn has_all_users(&self) -> bool {
        self.uid_map.lines().any(|line| line.split_whitespace().eq(["0", "0", "4294967295"]))
    }

    /// Why the process cannot start VMMs as other users; `None` if it can.
    fn why_not_other_users(&self) -> Option<String> {
        let has = |number: u32| self.capabilities >> number & 1 == 1;
        if !self.is_root {
            Some("microbench is not root".to_owned())
        } else if !self.has_all_users() {
            Some("microbench is root of a user namespace only and cannot start VMMs as other users".to_owned())
        } else if let Some((name, _)) = NEEDED.into_iter().find(|(_, number)| !has(*number)) {
            Some(format!("microbench is root without {name}"))
        } else {
            self.restricted_device.map(|device| {
                format!(
                    "{device} is not open to every user, and microbench cannot create a device file that is (CAP_MKNOD)"
                )
            })
        }
    }

    fn can_become_any_user(&self) -> bool {
        self.why_not_other_users().is_none()
    }

    /// Why VMMs cannot be isolated; `None` if they can.
    fn why_not_isolated(&self) -> Option<String> {
        let why = self.why_not_other_users()?;
        if !self.exec_drops_capabilities {
            return Some(why);
        }
        // In the sandbox's user namespace VMMs run as the user who started microbench: the second field of the map.
        let host_user = self.uid_map.split_whitespace().nth(1);
        (host_user.is_none_or(|user| user == "0"))
            .then(|| "microbench is root but may not create namespaces as root (CAP_SYS_ADMIN)".to_owned())
    }
}

/// Whether this process can start VMMs as users of their own.
#[must_use]
pub fn can_become_any_user() -> bool {
    Privileges::of_this_process().can_become_any_user()
}

/// Why VMMs that this process starts are not isolated; `None` if they are. Call it in the sandbox or in the emulated
/// host.
#[must_use]
pub fn why_not_isolated() -> Option<String> {
    Privileges::of_this_process().why_not_isolated()
}

/// The missing requirement of VMMs that cannot be isolated because of `why` (see [`why_not_isolated`]).
#[must_use]
pub fn missing_requirement(why: &str) -> MissingRequirement {
    MissingRequirement {
        code: Code::NotIsolated,
        what: format!("VMMs cannot be isolated from this machine: {why}"),
        fix:
            "run as an ordinary user, or as root with CAP_SYS_ADMIN and CAP_MKNOD; or use --host emulated, where VMMs \
are isolated; or --allow-unisolated, which gives VMMs the privileges of this user and is recorded"
                .to_owned(),
    }
}

/// Checks that VMMs are isolated. Returns why they are not if `allow_unisolated`; `None` if they are.
///
/// # Errors
/// [`MissingRequirements`] if they are not isolated, unless `allow_unisolated`.
pub fn require(allow_unisolated: bool) -> Result<Option<String>, MissingRequirements> {
    let why = why_not_isolated();
    match &why {
        None => debug!("VMMs are isolated from this machine"),
        Some(why) => info!(allow_unisolated, "VMMs are not isolated from this machine: {why}"),
    }
    match why {
        Some(why) if !allow_unisolated => Err(MissingRequirements::new(missing_requirement(&why))),
        why => Ok(why),
    }
}

/// Makes the files of `parts` readable to VMMs. A file that other users cannot reach, for example in root's home, is
/// bind-mounted or copied into `folder`. Its path in `parts` is replaced.
///
/// # Errors
/// If a file cannot be mounted or copied.
pub fn make_files_readable(parts: &mut BTreeMap<String, Parts>, folder: &Path) -> anyhow::Result<()> {
    if !can_become_any_user() {
        // VMMs have the file permissions of this process.
        return Ok(());
    }
    let mut replaced: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    let mut make_readable = |path: &mut PathBuf| -> anyhow::Result<()> {
        if is_reachable_by_all(path) {
            return Ok(());
        }
        let next = replaced.len();
        if let Some(place) = replaced.get(path) {
            path.clone_from(place);
            return Ok(());
        }
        let name = path.file_name().context("a file has a name")?.to_string_lossy().into_owned();
        let place = folder.join(format!("{next}-{name}"));
        if is_readable_by_all(path) {
            // Kept for the whole run: the mount ends with the sandbox's mount namespace.
            std::mem::forget(mount::bind_read_only(path, &place)?);
        } else {
            // A copy, because the mode of the user's file must not be changed.
            fs::copy(&*path, &place).with_context(|| format!("cannot copy {}", path.display()))?;
            fs::set_permissions(&place, fs::Permissions::from_mode(0o755))?;
        }
        replaced.insert(std::mem::replace(path, place.clone()), place);
        Ok(())
    };
    for parts in parts.values_mut().filter(|parts| parts.not_applicable.is_none()) {
        for path in [&mut parts.program, &mut parts.image].into_iter().chain(&mut parts.kernel) {
            make_readable(path)?;
        }
        parts.files.values_mut().try_for_each(&mut make_readable)?;
        for program in [&mut parts.strace, &mut parts.jailer].into_iter().flatten() {
            make_readable(program)?;
        }
    }
    Ok(())
}

fn is_readable_by_all(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| data.mode() & 0o004 != 0)
}

/// Whether every user may read `path` and enter the folders above it.
fn is_reachable_by_all(path: &Path) -> bool {
    let Ok(path) = fs::canonicalize(path) else { return false };
    is_readable_by_all(&path)
        && path.ancestors().skip(1).all(|folder| fs::metadata(folder).is_ok_and(|data| data.mode() & 0o001 != 0))
}

/// Number of namespace types (mount, PID, network ...) in which process `pid` has another namespace than this process.
///
/// # Errors
/// If /proc cannot be read, for example because the process has ended.
pub fn count_own_namespaces(pid: u32) -> std::io::Result<u32> {
    let mut own = 0;
    for entry in fs::read_dir("/proc/self/ns")? {
        let entry = entry?;
        // The namespaces of future children are not the process's own.
        if entry.file_name().to_string_lossy().ends_with("_for_children") {
            continue;
        }
        let its = fs::read_link(Path::new("/proc").join(pid.to_string()).join("ns").join(entry.file_name()))?;
        own += u32::from(its != fs::read_link(entry.path())?);
    }
    Ok(own)
}

/// Whether process `pid` is in another user namespace than this process. That namespace is a descendant of this
/// process's, because a process without capabilities can enter no other. False if /proc cannot be read.
#[must_use]
pub fn has_own_user_namespace(pid: u32) -> bool {
    let namespace_of = |process: &str| fs::read_link(format!("/proc/{process}/ns/user"));
    matches!((namespace_of("self"), namespace_of(&pid.to_string())), (Ok(own), Ok(its)) if own != its)
}

/// The fields of `/proc/PID/status` about isolation: real user ID, effective capabilities, seccomp mode,
/// `no_new_privs`; `None` for a missing field.
#[must_use]
pub fn parse_status(status: &str) -> [Option<u64>; 4] {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
    let number = |name: &str| field(name)?.parse().ok();
    [
        number("Uid:"),
        field("CapEff:").and_then(|digits| u64::from_str_radix(digits, 16).ok()),
        number("Seccomp:"),
        number("NoNewPrivs:"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_fields_are_parsed_and_missing_fields_are_none() {
        let status = "Name:\tqemu\nUid:\t5\t5\t5\t5\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\nCapEff:\t00000000a80425fb\n";
        assert_eq!(parse_status(status), [Some(5), Some(0xa804_25fb), Some(2), Some(1)]);
        assert_eq!(parse_status("Name: x"), [None; 4]);
    }

    const ALL_CAPABILITIES: u64 = 0x1ff_ffff_ffff;

    fn root() -> Privileges {
        Privileges {
            is_root: true,
            exec_drops_capabilities: false,
            uid_map: "         0          0 4294967295\n".to_owned(),
            capabilities: ALL_CAPABILITIES,
            restricted_device: None,
        }
    }

    #[test]
    fn root_needs_all_users_capabilities_and_open_devices_to_isolate_vmms() {
        assert_eq!(root().why_not_isolated(), None);
        // Started with SECBIT_NOROOT set.
        assert_eq!(Privileges { exec_drops_capabilities: true, ..root() }.why_not_isolated(), None);
        let without = |number: u32| Privileges { capabilities: ALL_CAPABILITIES & !(1 << number), ..root() };
        for (privileges, why) in [
            (Privileges { uid_map: "0 1000 1".to_owned(), ..root() }, "root of a user namespace only"),
            (without(7), "without CAP_SETUID"),
            (without(0), "without CAP_CHOWN"),
            (Privileges { restricted_device: Some("/dev/kvm"), ..root() }, "/dev/kvm is not open to every user"),
            (Privileges { is_root: false, ..root() }, "not root"),
            (Privileges { uid_map: String::new(), ..root() }, "root of a user namespace only"),
        ] {
            let reason = privileges.why_not_isolated().unwrap();
            assert!(reason.contains(why) && !privileges.can_become_any_user(), "{reason}");
        }
    }

    #[test]
    fn user_namespace_isolates_vmms_of_an_ordinary_user_but_not_of_root() {
        let in_namespace =
            |uid_map: &str| Privileges { exec_drops_capabilities: true, uid_map: uid_map.to_owned(), ..root() };
        assert_eq!(in_namespace("0 1000 1").why_not_isolated(), None);
        assert!(!in_namespace("0 1000 1").can_become_any_user());
        for uid_map in ["0 0 1", ""] {
            assert!(in_namespace(uid_map).why_not_isolated().unwrap().contains("CAP_SYS_ADMIN"), "{uid_map}");
        }
    }

    #[test]
    fn vmm_that_is_root_or_has_a_capability_is_not_isolated() {
        let own = Isolation { uid: Some(FIRST_USER), required: true };
        let shared = Isolation { uid: None, required: true };
        let status = |user, capabilities, no_new| [Some(user), Some(capabilities), Some(2), Some(no_new)];
        assert_eq!(own.check(status(u64::from(FIRST_USER), 0, 1), false), Ok(()));
        // In a user namespace of its own.
        assert_eq!(own.check(status(u64::from(FIRST_USER), ALL_CAPABILITIES, 1), true), Ok(()));
        // User 0 of the sandbox's user namespace, without capabilities.
        assert_eq!(shared.check(status(0, 0, 1), false), Ok(()));
        for (isolation, status, why) in [
            (own, status(0, 0, 1), "runs as root"),
            (own, status(5, 1 << 21, 1), "has the capabilities 0x200000"),
            (shared, status(0, 1, 1), "has the capabilities 0x1"),
            (own, status(5, 0, 0), "gain privileges"),
            (own, [Some(5), None, None, Some(1)], "incomplete"),
        ] {
            let error = isolation.check(status, false).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert_eq!(Isolation { uid: None, required: false }.check(status(0, ALL_CAPABILITIES, 1), false), Ok(()));
    }

    #[test]
    fn this_process_has_no_namespace_other_than_its_own() {
        assert_eq!(count_own_namespaces(std::process::id()).unwrap(), 0);
        assert!(count_own_namespaces(u32::MAX).is_err());
    }

    #[test]
    fn file_below_a_folder_that_others_may_not_enter_is_not_reachable() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        for (mode, expected) in [(0o700, false), (0o711, true)] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_reachable_by_all(&file), expected, "{mode:o}");
        }
    }
}
