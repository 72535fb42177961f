//! A VMM's process, its API socket, and how it ended. A container runtime's with the container's processes below it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use anyhow::Context as _;
use microbench_plots::record::FailureReason;
use nix::sys::inotify::Inotify;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::failed::Failed;
use crate::clock::Instant;
use crate::event;
use crate::host::isolation;
use crate::probe;
use crate::sys::{self, Exit};

/// A running VMM, with its instrument if it has one; killed when dropped.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) child: Child,
    /// It leads a process group of its own.
    leads: bool,
    /// What runs below it ends with it.
    contains: bool,
    pidfd: OwnedFd,
    reaped: bool,
}

impl Process {
    pub(super) fn new(child: Child, leads: bool, contains: bool) -> anyhow::Result<Self> {
        let pidfd = sys::pidfd_open(child.id()).context("cannot watch the VMM's process")?;
        Ok(Self { child, leads, contains, pidfd, reaped: false })
    }

    /// Readable once the process has ended.
    pub(super) fn exited(&self) -> std::os::fd::BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub(super) fn kill(&self) {
        if self.leads && !self.reaped {
            let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGKILL);
        }
        let below = if self.contains && !self.reaped { isolation::descendants(self.child.id()) } else { Vec::new() };
        drop(sys::pidfd_kill(self.pidfd.as_fd(), libc::SIGKILL));
        // In a session of its own: no group reaches it. Its parent's end makes it an orphan, and so this process's to reap.
        for pid in below.iter().map(|pid| Pid::from_raw(pid.cast_signed())) {
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
        }
    }

    pub(super) fn reap(&mut self) -> std::io::Result<Exit> {
        self.reaped = true;
        let exit = sys::reap(self.child.id());
        // The VMM below an instrument that was killed is an orphan, and so this process's to reap.
        while self.leads && waitpid(Pid::from_raw(-self.child.id().cast_signed()), None).is_ok() {}
        exit
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
            drop(self.reap());
        }
    }
}

/// Waits until something listens on the unix socket `path`: woken by `watch`, the folder's change, not by time.
pub(super) fn wait_for_socket(
    path: &Path,
    watch: &Inotify,
    process: &Process,
    deadline: Instant,
) -> Result<(), Failed> {
    loop {
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Ok(()),
            Err(_) if deadline.passed() => {
                return Err(Failed::new(
                    FailureReason::Timeout,
                    event::API_READY,
                    "the VMM's API socket did not appear",
                ));
            }
            Err(error) => {
                // There but not listening yet: bind and listen are two calls, a moment apart.
                let bound = error.kind() == std::io::ErrorKind::ConnectionRefused;
                let time = if bound { Duration::from_micros(100) } else { deadline.remaining() };
                let polled = probe::wait_either(process.exited(), watch.as_fd(), time)
                    .map_err(|error| Failed::new(FailureReason::Host, event::API_READY, error))?;
                if polled {
                    return Err(Failed::new(
                        FailureReason::Exited,
                        event::API_READY,
                        "the VMM ended before its API socket appeared",
                    ));
                }
                drop(watch.read_events());
            }
        }
    }
}

pub(super) fn ended(exit: Exit) -> String {
    match (exit.code, exit.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}
