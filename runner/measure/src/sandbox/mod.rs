//! Namespaces of a run: what lives in them dies with them.
//!
//! [`enter`] forks once, before the program has a second thread. The parent stays outside, forwards signals and waits;
//! the child is PID 1 of a new user, network, mount and PID namespace and goes on with the program. When the child ends
//! for any reason, the kernel kills every process in its PID namespace and drops its taps and mounts; when the parent is
//! killed, the child is too. Nothing here deletes anything: there is nothing left to delete.

pub mod isolation;

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
use crate::requirement::{self, Lacking};
use crate::sandbox::isolation::{DEVICES, Isolation};
use crate::sys;

/// Where [`scratch`] is, in the sandbox's own mount namespace: a folder that every machine has and any user may traverse, with a
/// path that is short enough for sockets.
const SCRATCH: &str = "/dev/shm";

/// Forks into the sandbox. Returns in the child only; the parent exits with the child's exit code
/// (128 + the signal, when one killed it).
///
/// Root enters a network, mount and PID namespace; anybody else a user namespace as well, in which the user is root.
///
/// # Errors
/// [`Lacking`] when a namespace cannot be had.
pub fn enter() -> anyhow::Result<()> {
    requirement::supported()?;
    let (uid, gid) = (getuid(), getgid());
    let outside = Outside::this().context("cannot watch this process")?;
    let spaces = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID;
    let as_root = uid.is_root() && unshare(spaces).is_ok();
    if !as_root {
        // A container's root may lack what it takes, and yet have a user namespace.
        unshare(CloneFlags::CLONE_NEWUSER).map_err(|error| no_namespace("user", error))?;
        map_to_root(uid.as_raw(), gid.as_raw())?;
        unshare(spaces).map_err(|error| no_namespace("network, mount and PID", error))?;
    }
    // The child will mount another one over it, in the namespace that it shares with this process.
    let processes = fs::File::open("/proc").context("cannot open /proc")?;
    let guard = signals();
    guard.thread_block().context("cannot block signals")?;
    if let Some(child) = sys::fork().context("cannot fork into the sandbox")? {
        std::process::exit(wait_outside(child, &guard, &processes));
    }
    guard.thread_unblock().context("cannot unblock signals")?;
    outside.tie()?;
    sys::leave_session_keyring().context("cannot leave the user's session keyring, which VMMs would have")?;
    sys::drop_ambient_capabilities().context("cannot take ambient capabilities from VMMs")?;
    nix::sys::prctl::set_no_new_privs().context("cannot give up new privileges")?;
    private_mounts()?;
    if as_root {
        lend_devices();
    } else {
        sys::executed_programs_are_not_root().context("cannot take capabilities from VMMs")?;
    }
    net::isolate().context("cannot set the sandbox's network up")?;
    sys::spawn::allow_descriptors().context("cannot allow more open files")?;
    debug!("in the sandbox: {}", if as_root { "namespaces of root's" } else { "a user namespace" });
    Ok(())
}

/// The process outside the sandbox, by a pidfd: its child in a new PID namespace gets 0 of `getppid`, whether it lives or not.
#[derive(Debug)]
struct Outside(OwnedFd);

impl Outside {
    /// This process, which is about to fork.
    fn this() -> io::Result<Self> {
        sys::pidfd_open(std::process::id()).map(Self)
    }

    /// In the child: makes it a session leader that the kernel kills when the process outside ends.
    ///
    /// # Errors
    /// When the process outside has ended already: nobody would kill this one.
    fn tie(&self) -> anyhow::Result<()> {
        sys::die_with_parent().context("cannot tie the sandbox to its parent")?;
        // What a terminal sends to the whole foreground group comes by the parent, and once: a second one means to end at
        // once. A session of its own has no controlling terminal, whose keys a VMM could read.
        nix::unistd::setsid().context("cannot make a session")?;
        // Asked last: a parent whose end the kernel is at work on holds the lock that `setsid` takes. It either ends after this
        // point, and its child is killed, or is seen to have ended.
        let mut parent = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        if poll(&mut parent, PollTimeout::ZERO).context("cannot watch the sandbox's parent")? != 0 {
            bail!("the parent ended while the sandbox was made");
        }
        Ok(())
    }
}

fn no_namespace(which: &str, error: nix::errno::Errno) -> anyhow::Error {
    Lacking::one(
        Code::NoNamespace,
        format!("a {which} namespace ({error})"),
        "run as root, or allow user namespaces: sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000",
    )
    .into()
}

/// Mounts a fresh tmpfs in the sandbox's mount namespace: sockets, configuration files and clones of the VMs go there and vanish with
/// the namespace. Anybody may pass through it, nobody but this user may list it; each VM's folder in it is the VM's own.
///
/// # Errors
/// When the mount is refused.
pub fn scratch() -> anyhow::Result<PathBuf> {
    let folder = Path::new(SCRATCH);
    // Device files work in it: a jailer makes some.
    mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=0711"))
        .with_context(|| format!("cannot mount a tmpfs on {SCRATCH}"))?;
    Ok(folder.to_path_buf())
}

/// Makes the sandbox, or the emulated host, ready for the containers among `parts`: a control group file system that nobody can
/// write to is put over the machine's, in this mount namespace alone. Runtimes want to see one, and what they made in the machine's would
/// outlive a killed runner. Where VMs have no users of their own there is no container either.
///
/// # Errors
/// When the mount is refused.
pub fn ready_for(parts: &BTreeMap<String, Parts>) -> anyhow::Result<()> {
    if !Isolation::of(0).is_own() || parts.values().all(|parts| parts.engine.guest != GuestKind::Container) {
        return Ok(());
    }
    let (place, none) = (Path::new("/sys/fs/cgroup"), None::<&str>);
    let context = || format!("cannot mount a read-only cgroup2 on {}", place.display());
    mount(Some("cgroup2"), place, Some("cgroup2"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, none)
        .with_context(context)?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(none, place, none, flags, none).with_context(context)
}

/// Puts device files that anybody may open over those of the machine, which often keeps them for root, in the sandbox's
/// mount namespace alone. Where it cannot be done VMMs are not isolated, which [`crate::sandbox::isolation::missing`]
/// finds by the devices.
fn lend_devices() {
    let lend = || -> anyhow::Result<()> {
        let folder = Path::new(SCRATCH);
        let none: Option<&str> = None;
        mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=0711"))?;
        for device in DEVICES.map(Path::new).into_iter().filter(|device| device.exists()) {
            let number = std::os::unix::fs::MetadataExt::rdev(&fs::metadata(device)?);
            let twin = folder.join(device.file_name().context("a device has a name")?);
            let all = nix::sys::stat::Mode::from_bits_truncate(0o666);
            nix::sys::stat::mknod(&twin, nix::sys::stat::SFlag::S_IFCHR, all, number)?;
            // The user's umask has a say in what is made.
            fs::set_permissions(&twin, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
            mount(Some(&twin), device, none, MsFlags::MS_BIND, none)?;
        }
        Ok(())
    };
    drop(lend());
}

fn map_to_root(uid: u32, gid: u32) -> anyhow::Result<()> {
    let write = |file: &str, text: String| {
        fs::write(Path::new("/proc/self").join(file), text).with_context(|| format!("cannot write /proc/self/{file}"))
    };
    write("setgroups", "deny".into())?;
    write("uid_map", format!("0 {uid} 1"))?;
    write("gid_map", format!("0 {gid} 1"))
}

fn private_mounts() -> anyhow::Result<()> {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("cannot make the mounts private")?;
    // VMMs reach nameless disk clones through /proc/<pid>/fd, with this namespace's PIDs.
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC, none)
        .context("cannot mount /proc of the sandbox's PID namespace")
}

/// Signals that the outer process passes on: those that a user or a service manager sends. SIGHUP is not among them
/// where it is ignored (`nohup`).
fn signals() -> SigSet {
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

/// This process was started with SIGHUP ignored, and has no handler for it yet.
pub fn ignores_hangup() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| in_mask(&status, "SigIgn:", Signal::SIGHUP))
}

/// Waits for the sandbox's first process; passes signals on. Returns the exit code.
fn wait_outside(child: u32, set: &SigSet, processes: &fs::File) -> i32 {
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
            // The shell waits for this process to stop; the one inside is told, and stops what it does.
            Ok(Signal::SIGTSTP) => {
                let _ = kill(child_pid, Signal::SIGTSTP);
                let _ = nix::sys::signal::raise(Signal::SIGSTOP);
            }
            // Whoever sends a signal, a terminal too, sends it to this process alone of the two. The first process of a PID namespace ignores what it has no handler for: without one, this process's end is its end.
            Ok(signal) if signal == Signal::SIGCONT || handles(processes, child, signal) => {
                let _ = kill(child_pid, signal);
            }
            Ok(signal) => return 128 + signal as i32,
            Err(_) => {}
        }
    }
}

/// Process `pid` has a handler for `signal` (`SigCgt` in its status, in the folder `processes`).
fn handles(processes: &fs::File, pid: u32, signal: Signal) -> bool {
    let (flags, mode) = (nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty());
    let Ok(file) = nix::fcntl::openat(processes, format!("{pid}/status").as_str(), flags, mode) else { return false };
    let status = io::read_to_string(fs::File::from(file)).unwrap_or_default();
    in_mask(&status, "SigCgt:", signal)
}

/// `signal` is in the mask `field` of a process's `status` (proc_pid_status(5)).
fn in_mask(status: &str, field: &str, signal: Signal) -> bool {
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix(field)?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal as i32 - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Forks as [`enter`] does, from a process of its own; the child ties itself once `ready` returns, which is given the parent's
    /// pidfd. True when it was tied, `None` where no PID namespace can be made. The parent ends at once when it is to `die`, else when its
    /// child has.
    fn tied(die: bool, ready: fn(&Outside)) -> Option<bool> {
        let (mut reader, writer) = io::pipe().unwrap();
        // SAFETY: the test's other threads are not in the child, which allocates nothing that they may hold a lock for but by glibc,
        // whose `fork` sees to its own locks.
        let starter = unsafe { libc::fork() };
        if starter == 0 {
            let spaces = if getuid().is_root() { CloneFlags::empty() } else { CloneFlags::CLONE_NEWUSER };
            let outside = Outside::this();
            let made = outside.ok().filter(|_| unshare(spaces | CloneFlags::CLONE_NEWPID).is_ok());
            // SAFETY: this process has one thread.
            let child = made.as_ref().map_or(-1, |_| unsafe { libc::fork() });
            if let (0, Some(outside)) = (child, &made) {
                ready(outside);
                drop(io::Write::write_all(&mut &writer, &[u8::from(outside.tie().is_ok())]));
            } else if child > 0 && !die {
                let _ = nix::sys::wait::waitpid(Pid::from_raw(child), None);
            }
            // SAFETY: nothing of the test's is to run in these processes.
            unsafe { libc::_exit(0) };
        }
        drop(writer);
        let mut answer = Vec::new();
        io::Read::read_to_end(&mut reader, &mut answer).unwrap();
        nix::sys::wait::waitpid(Pid::from_raw(starter), None).unwrap();
        answer.first().map(|tied| *tied == 1)
    }

    #[test]
    fn a_sandbox_whose_parent_died_before_it_was_tied_is_not_entered() {
        let parent_is_dead = |outside: &Outside| {
            let mut parent = [PollFd::new(outside.0.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut parent, PollTimeout::NONE);
        };
        match [tied(true, parent_is_dead), tied(false, |_| ())] {
            [None, None] => println!("skipped: no PID namespace can be made here"),
            found => assert_eq!(found, [Some(false), Some(true)]),
        }
    }
}
