//! Namespaces of a run: what lives in them dies with them.
//!
//! [`enter`] forks once, before the program has a second thread. The parent stays outside, forwards signals and waits;
//! the child is PID 1 of a new user, network, mount and PID namespace and goes on with the program. When the child ends
//! for any reason, the kernel kills every process in its PID namespace and drops its taps and mounts; when the parent is
//! killed, the child is too. Nothing here deletes anything: there is nothing left to delete.

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, getgid, getppid, getuid};

use crate::{host, sys};

/// Forks into the sandbox. Returns in the child only; the parent exits with the child's exit code
/// (128 + the signal, when one killed it).
///
/// # Errors
/// When a namespace cannot be had: the context names which and the remedy.
pub fn enter() -> anyhow::Result<()> {
    let (uid, gid) = (getuid(), getgid());
    // The parent's own PID, to tell a parent that died between the fork and prctl.
    let outside = nix::unistd::getpid();
    match unshare(CloneFlags::CLONE_NEWUSER) {
        Ok(()) => map_to_root(uid.as_raw(), gid.as_raw())?,
        // A machine without user namespaces: root needs none.
        Err(_) if uid.is_root() => {}
        Err(error) => bail!(
            "cannot enter a user namespace: {error} (run as root, or allow user namespaces: \
             sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000)"
        ),
    }
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID)
        .context("cannot enter a network, mount and PID namespace (run as root, or allow user namespaces)")?;
    let guard = signals();
    guard.thread_block().context("cannot block signals")?;
    if let Some(child) = sys::fork().context("cannot fork into the sandbox")? {
        std::process::exit(wait_outside(child, &guard));
    }
    guard.thread_unblock().context("cannot unblock signals")?;
    sys::die_with_parent().context("cannot tie the sandbox to its parent")?;
    // In the new PID namespace a living parent outside shows as 0; a dead one as 0 too, so ask the parent's /proc.
    if getppid() != Pid::from_raw(0) && getppid() != outside {
        bail!("the parent ended while the sandbox was made");
    }
    private_mounts()?;
    host::net::loopback_up().context("cannot bring the sandbox's loopback interface up")?;
    Ok(())
}

/// Mounts a fresh tmpfs in the sandbox's mount namespace on `folder` (made if need be): sockets and configuration files of
/// the VMs go there and vanish with the namespace.
///
/// # Errors
/// When the mount is refused.
pub fn scratch(folder: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=0700"))
        .with_context(|| format!("cannot mount a tmpfs on {}", folder.display()))?;
    Ok(folder.to_path_buf())
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

/// Signals that the outer process passes on: those that a user or a service manager sends.
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
    set
}

/// Waits for the sandbox's first process; passes signals on. Returns the exit code.
fn wait_outside(child: u32, set: &SigSet) -> i32 {
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
            // From a terminal the whole foreground group has the signal already; from `kill` only this process.
            Ok(signal) => drop(kill(child_pid, signal)),
            Err(_) => {}
        }
    }
}

/// The path of a program on `PATH`, or `name` itself when it holds a slash.
///
/// # Errors
/// When no such executable file exists.
pub fn find_program(name: &str) -> io::Result<PathBuf> {
    let candidates: Vec<PathBuf> = if name.contains('/') {
        vec![PathBuf::from(name)]
    } else {
        std::env::var_os("PATH")
            .iter()
            .flat_map(std::env::split_paths)
            .chain(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from))
            .map(|folder| folder.join(name))
            .collect()
    };
    candidates
        .into_iter()
        .find(|path| {
            path.is_file()
                && CString::new(path.as_os_str().as_encoded_bytes())
                    .is_ok_and(|_| nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok())
        })
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no program {name} on PATH")))
}
