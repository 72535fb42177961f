//! A VMM's process, its API socket, and how it ended. A container runtime's with the container's processes below it.

use std::fs::File;
use std::io::PipeWriter;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use microbench_formats::event;
use microbench_formats::record::FailureReason;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::failed::Failed;
use crate::guest::console::{Console, Consoles};
use crate::probe;
use crate::sandbox::isolation::Isolation;
use crate::sys::clock::Instant;
use crate::sys::processes;
use crate::sys::program;
use crate::sys::spawn::Program;
use crate::sys::{self, Exit};

/// What is started as a VMM.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start<'a> {
    /// Its program and arguments.
    pub(crate) argv: &'a [String],
    pub(crate) isolation: Isolation,
    /// It leaves root itself: a jailer, a container's runtime.
    pub(crate) as_root: bool,
    /// It leads a process group of its own: what runs below it ends with it as one group.
    pub(crate) leads: bool,
    /// What runs below it is in a session of its own, and ends with it.
    pub(crate) contains: bool,
    pub(crate) console_log: &'a Path,
    pub(crate) nonce: &'a str,
}

/// A VMM of which all is there but its process.
#[derive(Debug)]
pub(crate) struct Ready {
    name: String,
    program: Program,
    input: Arc<File>,
    output: PipeWriter,
    console: Console,
    leads: bool,
    contains: bool,
}

impl Start<'_> {
    /// Makes everything that can be made before the release. `input` is what it reads, `consoles` who reads what it writes.
    pub(crate) fn ready(self, input: &Arc<File>, consoles: &Consoles) -> anyhow::Result<Ready> {
        let Self { argv, isolation, as_root, leads, contains, console_log, nonce } = self;
        let name = argv.first().context("the engine's argv is empty")?.clone();
        let context = || format!("cannot start {name}");
        let path = program::find_program(&name).with_context(context)?;
        let program = Program::new(&path, argv, isolation.user(as_root), leads).with_context(context)?;
        // Standard error joins the console: a VMM that refuses to start says why there.
        let (reader, output) = std::io::pipe().context("cannot make a pipe")?;
        let console = consoles.read(reader, console_log, nonce)?;
        Ok(Ready { program, input: Arc::clone(input), output, console, leads, contains, name })
    }
}

impl Ready {
    /// Starts it.
    ///
    /// # Errors
    /// What the kernel says, with the program's name.
    pub(crate) fn go(mut self) -> anyhow::Result<(Process, Console)> {
        let spawned = self.program.spawn(self.input.as_fd(), self.output.as_fd());
        let (id, pidfd) = spawned.with_context(|| format!("cannot start {}", self.name))?;
        // The pipe's write end is dropped here: the VMM alone has it.
        Ok((Process { id, leads: self.leads, contains: self.contains, pidfd, reaped: false }, self.console))
    }
}

/// A running VMM, with its instrument if it has one; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    id: u32,
    /// It leads a process group of its own.
    leads: bool,
    /// What runs below it ends with it.
    contains: bool,
    pidfd: OwnedFd,
    reaped: bool,
}

impl Process {
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Readable once the process has ended.
    pub(super) fn exited(&self) -> std::os::fd::BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub(super) fn kill(&self) {
        if self.leads && !self.reaped {
            let _ = killpg(Pid::from_raw(self.id.cast_signed()), Signal::SIGKILL);
        }
        let below = if self.contains && !self.reaped { processes::descendants(self.id) } else { Vec::new() };
        drop(sys::pidfd_kill(self.pidfd.as_fd()));
        // In a session of its own: no group reaches it. Its parent's end makes it an orphan, and so this process's to reap.
        for pid in below.iter().map(|pid| Pid::from_raw(pid.cast_signed())) {
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
        }
    }

    pub(crate) fn reap(&mut self) -> std::io::Result<Exit> {
        self.reaped = true;
        let exit = sys::reap(self.id);
        // The VMM below an instrument that was killed is an orphan, and so this process's to reap.
        while self.leads && waitpid(Pid::from_raw(-self.id.cast_signed()), None).is_ok() {}
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

/// What wakes when a file appears in `folder`.
pub(super) fn watch(folder: &Path) -> anyhow::Result<Inotify> {
    let watch = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).context(
        "cannot have an inotify, of which each VM with an API takes one (`sysctl -w fs.inotify.max_user_instances=8192` allows more)",
    )?;
    watch.add_watch(folder, AddWatchFlags::IN_CREATE).with_context(|| format!("cannot watch {}", folder.display()))?;
    Ok(watch)
}

/// Waits until something listens on the unix socket `path`: woken by `watch`, the folder's change, not by time.
pub(super) fn wait_for_socket(
    path: &Path,
    watch: Option<&Inotify>,
    process: &Process,
    deadline: Instant,
) -> Result<(), Failed> {
    let watch =
        watch.ok_or_else(|| Failed::new(FailureReason::Host, event::API_READY, "nobody watches for the socket"))?;
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
