//! The sandbox: namespaces of a run, whose end removes everything that the run created.
//!
//! [`enter`] forks once, while the program has a single thread. The parent stays outside, forwards signals and waits.
//! The child is PID 1 of new namespaces (user, network, mount, PID, IPC, UTS) and continues the program. When the child ends,
//! for any reason, the kernel kills all processes in its PID namespace and removes its tap interfaces and mounts. When
//! the parent is killed, the kernel kills the child. This module therefore needs no code that cleans up.

pub mod isolation;
pub mod vm_namespaces;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use microbench_formats::code::Code;
use microbench_study::engine::description::GuestKind;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, getgid, getuid};
use tracing::debug;

use crate::host::resources::net;
use crate::parts::Parts;
use crate::requirement::{self, MissingRequirements};
use crate::sandbox::isolation::DEVICES;
use crate::sys;

/// Mount point of [`mount_scratch`], in the sandbox's mount namespace. It exists on every host, every user may enter
/// it, and its path is short enough for Unix sockets.
const SCRATCH: &str = "/dev/shm";

/// Forks into the sandbox. Returns in the child only. The parent exits with the child's exit code, or with 128 + the
/// number of the signal that killed the child.
///
/// Root enters a network, mount, PID, IPC and UTS namespace. Other users, and root without `CAP_SYS_ADMIN`, also enter a user
/// namespace in which they are root.
///
/// # Errors
/// [`MissingRequirements`] if a namespace cannot be created.
///
/// ```no_run
/// # fn main() -> anyhow::Result<()> {
/// use microbench_measure::sandbox::{self, isolation};
///
/// sandbox::enter()?;
/// isolation::require(false)?;
/// let scratch = sandbox::mount_scratch()?;
/// // Start VMs whose files are in `scratch`. Nothing needs to be removed.
/// # Ok(())
/// # }
/// ```
pub fn enter() -> anyhow::Result<()> {
    requirement::require_supported_platform()?;
    let (uid, gid) = (getuid(), getgid());
    let outer = OuterProcess::this().context("cannot open a pidfd of this process")?;
    let spaces = CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    let as_root = uid.is_root() && unshare(spaces).is_ok();
    if !as_root {
        // Root of a container may have no CAP_SYS_ADMIN and still be allowed to create a user namespace.
        unshare(CloneFlags::CLONE_NEWUSER).map_err(|error| namespace_error("user", error))?;
        map_to_root(uid.as_raw(), gid.as_raw())?;
        unshare(spaces).map_err(|error| namespace_error("network, mount, PID, IPC and UTS", error))?;
    }
    // Opened now: the child will mount its own /proc over it, in the mount namespace that it shares with this process.
    let processes = fs::File::open("/proc").context("cannot open /proc")?;
    let guard = forwarded_signals();
    guard.thread_block().context("cannot block signals")?;
    if let Some(child) = sys::fork().context("cannot fork into the sandbox")? {
        std::process::exit(wait_and_forward_signals(child, &guard, &processes));
    }
    guard.thread_unblock().context("cannot unblock signals")?;
    outer.end_child_with_parent()?;
    sys::join_empty_session_keyring().context("cannot leave the user's session keyring, which VMMs would inherit")?;
    sys::drop_ambient_capabilities().context("cannot drop ambient capabilities, which VMMs would inherit")?;
    nix::sys::prctl::set_no_new_privs().context("cannot set no_new_privs")?;
    make_mounts_private()?;
    if as_root {
        open_devices_to_all_users();
    } else {
        sys::drop_root_capabilities_on_exec().context("cannot set SECBIT_NOROOT, which drops capabilities of VMMs")?;
    }
    net::set_up_namespace().context("cannot set up the sandbox's network")?;
    sys::spawn::raise_descriptor_limit().context("cannot raise the limit of open files")?;
    debug!("entered the sandbox {}", if as_root { "as root" } else { "with a user namespace" });
    Ok(())
}

/// The process outside the sandbox, as a pidfd. `getppid` does not help: in a new PID namespace it returns 0, whether
/// the parent is alive or not.
#[derive(Debug)]
struct OuterProcess(OwnedFd);

impl OuterProcess {
    /// This process, before it forks.
    fn this() -> io::Result<Self> {
        sys::pidfd_open(std::process::id()).map(Self)
    }

    /// In the child: makes it a session leader that the kernel kills when the outer process ends.
    ///
    /// # Errors
    /// If the outer process has ended already: the kernel would not kill this child.
    fn end_child_with_parent(&self) -> anyhow::Result<()> {
        sys::die_with_parent().context("cannot tie the sandbox to its parent process")?;
        // A new session, so that the child gets a terminal's signals once, forwarded by the parent: a second SIGINT
        // means to stop at once. The session has no controlling terminal, whose input a VMM could read.
        nix::unistd::setsid().context("cannot create a session")?;
        // Checked last: the kernel ends a process while it holds the lock that `setsid` needs. So the parent either
        // ends after this point, and the kernel kills the child, or the check sees that it has ended.
        let mut parent = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        if poll(&mut parent, PollTimeout::ZERO).context("cannot poll the sandbox's parent process")? != 0 {
            bail!("the parent process ended while the sandbox was set up");
        }
        Ok(())
    }
}

fn namespace_error(which: &str, error: nix::errno::Errno) -> anyhow::Error {
    MissingRequirements::single(
        Code::NoNamespace,
        format!("cannot create a {which} namespace: {error}"),
        "run as root, or allow user namespaces: sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000",
    )
    .into()
}

/// Mounts an empty tmpfs in the sandbox's mount namespace and returns its path. It contains the VMs' sockets,
/// configuration files and disk clones, and is removed with the namespace.
///
/// Every user may enter the folder, but only this user may list it. Each VM has its own folder in it.
///
/// # Errors
/// The error of `mount(2)`.
pub fn mount_scratch() -> anyhow::Result<PathBuf> {
    let folder = Path::new(SCRATCH);
    // Without MS_NODEV: a jailer creates device files in it.
    mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=0711"))
        .with_context(|| format!("cannot mount a tmpfs on {SCRATCH}"))?;
    Ok(folder.to_path_buf())
}

/// Prepares the sandbox, or the emulated host, for the containers in `parts`; does nothing without containers.
///
/// Mounts a read-only cgroup file system over the host's, in this mount namespace only. Container runtimes require one,
/// and cgroups that they created in the host's would outlive a killed runner. Containers require VMMs with their own
/// users.
///
/// # Errors
/// The error of `mount(2)`.
pub fn prepare_for_containers(parts: &BTreeMap<String, Parts>) -> anyhow::Result<()> {
    if !isolation::can_become_any_user() || parts.values().all(|parts| parts.engine.guest != GuestKind::Container) {
        return Ok(());
    }
    let (place, none) = (Path::new("/sys/fs/cgroup"), None::<&str>);
    let context = || format!("cannot mount a read-only cgroup2 on {}", place.display());
    mount(Some("cgroup2"), place, Some("cgroup2"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, none)
        .with_context(context)?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(none, place, none, flags, none).with_context(context)
}

/// Bind-mounts device files that every user may open over those of the host, which are often restricted to root, in the
/// sandbox's mount namespace only.
///
/// Errors are ignored: [`crate::sandbox::isolation::why_not_isolated`] checks the mode of the devices.
fn open_devices_to_all_users() {
    let open_devices = || -> anyhow::Result<()> {
        let folder = Path::new(SCRATCH);
        let none: Option<&str> = None;
        mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=0711"))?;
        for device in DEVICES.map(Path::new).into_iter().filter(|device| device.exists()) {
            let number = std::os::unix::fs::MetadataExt::rdev(&fs::metadata(device)?);
            let copy = folder.join(device.file_name().context("a device has a name")?);
            let all = nix::sys::stat::Mode::from_bits_truncate(0o666);
            nix::sys::stat::mknod(&copy, nix::sys::stat::SFlag::S_IFCHR, all, number)?;
            // The umask may have cleared bits of the mode.
            fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
            mount(Some(&copy), device, none, MsFlags::MS_BIND, none)?;
        }
        Ok(())
    };
    drop(open_devices());
}

fn map_to_root(uid: u32, gid: u32) -> anyhow::Result<()> {
    let write = |file: &str, text: String| {
        fs::write(Path::new("/proc/self").join(file), text).with_context(|| format!("cannot write /proc/self/{file}"))
    };
    write("setgroups", "deny".into())?;
    write("uid_map", format!("0 {uid} 1"))?;
    write("gid_map", format!("0 {gid} 1"))
}

fn make_mounts_private() -> anyhow::Result<()> {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("cannot make the mounts private")?;
    // /proc must show the PIDs of the sandbox's PID namespace.
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC, none)
        .context("cannot mount /proc of the sandbox's PID namespace")
}

/// Signals that the outer process forwards: those that a user or a service manager sends. SIGHUP is excluded if it is
/// ignored (`nohup`).
fn forwarded_signals() -> SigSet {
    let mut set = SigSet::empty();
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGTSTP,
        Signal::SIGCONT,
        Signal::SIGCHLD,
    ] {
        set.add(signal);
    }
    if ignores_hangup() {
        set.remove(Signal::SIGHUP);
    }
    set
}

/// Whether SIGHUP is ignored, for example because the program was started by `nohup`.
pub fn ignores_hangup() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| in_mask(&status, "SigIgn:", Signal::SIGHUP))
}

/// Waits for the sandbox's PID 1 and forwards signals to it. Returns its exit code, or 128 + the number of the signal
/// that killed it.
fn wait_and_forward_signals(child: u32, set: &SigSet, processes: &fs::File) -> i32 {
    let child_pid = Pid::from_raw(child.cast_signed());
    loop {
        match set.wait() {
            Ok(Signal::SIGCHLD) => {
                if let Ok(nix::sys::wait::WaitStatus::StillAlive) = nix::sys::wait::waitpid(
                    child_pid,
                    Some(nix::sys::wait::WaitPidFlag::WNOHANG | nix::sys::wait::WaitPidFlag::WNOWAIT),
                ) {
                    continue;
                }
                return match sys::reap(child) {
                    Ok(exit) => exit.code.unwrap_or_else(|| 128 + exit.signal.unwrap_or(0)),
                    Err(_) => 1,
                };
            }
            // The shell waits for this process to stop; the child gets the signal and pauses the run.
            Ok(Signal::SIGTSTP) => {
                let _ = kill(child_pid, Signal::SIGTSTP);
                let _ = nix::sys::signal::raise(Signal::SIGSTOP);
            }
            // Signals are sent to this process only, also those of a terminal. PID 1 of a PID namespace ignores a
            // signal that it has no handler for. This process then exits instead, and the kernel kills the child.
            Ok(signal) if signal == Signal::SIGCONT || has_handler(processes, child, signal) => {
                let _ = kill(child_pid, signal);
            }
            Ok(signal) => return 128 + signal as i32,
            Err(_) => {}
        }
    }
}

/// Whether process `pid` handles `signal` (`SigCgt` in its status); `processes` is the folder /proc.
fn has_handler(processes: &fs::File, pid: u32, signal: Signal) -> bool {
    let (flags, mode) = (nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty());
    let Ok(file) = nix::fcntl::openat(processes, format!("{pid}/status").as_str(), flags, mode) else { return false };
    let status = io::read_to_string(fs::File::from(file)).unwrap_or_default();
    in_mask(&status, "SigCgt:", signal)
}

/// Whether `signal` is in the signal mask `field` of a process's `status` (proc_pid_status(5)).
fn in_mask(status: &str, field: &str, signal: Signal) -> bool {
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix(field)?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal as i32 - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Forks as [`enter`] does, from a new process. The child ties itself to its parent after `ready`, which gets the
    /// parent's pidfd. Returns whether that succeeded; `None` if no PID namespace can be created. The parent exits at
    /// once if `parent_exits`, else after its child.
    fn tie_in_child(parent_exits: bool, ready: fn(&OuterProcess)) -> Option<bool> {
        let (mut reader, writer) = io::pipe().unwrap();
        // SAFETY: the test's other threads do not exist in the child. The only lock that the child may take and that
        // they may have held is that of glibc's allocator, which `fork` leaves unlocked in the child.
        let parent = unsafe { libc::fork() };
        if parent == 0 {
            let spaces = if getuid().is_root() { CloneFlags::empty() } else { CloneFlags::CLONE_NEWUSER };
            let outer = OuterProcess::this();
            let outer = outer.ok().filter(|_| unshare(spaces | CloneFlags::CLONE_NEWPID).is_ok());
            // SAFETY: this process is a child of `fork` and has a single thread.
            let child = outer.as_ref().map_or(-1, |_| unsafe { libc::fork() });
            if let (0, Some(outer)) = (child, &outer) {
                ready(outer);
                drop(io::Write::write_all(&mut &writer, &[u8::from(outer.end_child_with_parent().is_ok())]));
            } else if child > 0 && !parent_exits {
                let _ = nix::sys::wait::waitpid(Pid::from_raw(child), None);
            }
            // SAFETY: `_exit` runs no code of this process, so that no destructor or exit handler of the test runs
            // twice.
            unsafe { libc::_exit(0) };
        }
        drop(writer);
        let mut result = Vec::new();
        io::Read::read_to_end(&mut reader, &mut result).unwrap();
        nix::sys::wait::waitpid(Pid::from_raw(parent), None).unwrap();
        result.first().map(|tied| *tied == 1)
    }

    #[test]
    fn sandbox_is_not_entered_if_its_parent_has_ended() {
        let parent_has_ended = |outer: &OuterProcess| {
            let mut parent = [PollFd::new(outer.0.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut parent, PollTimeout::NONE);
        };
        match [tie_in_child(true, parent_has_ended), tie_in_child(false, |_| ())] {
            [None, None] => println!("skipped: cannot create a PID namespace on this host"),
            found => assert_eq!(found, [Some(false), Some(true)]),
        }
    }
}
