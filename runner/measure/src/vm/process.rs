//! A VMM's process, its API socket and its exit status. The process of a container runtime includes the
//! container's processes below it.

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

use super::failure::VmFailure;
use crate::guest::console::{Console, ConsoleReader};
use crate::probe;
use crate::sandbox::isolation::Isolation;
use crate::sys::clock::Instant;
use crate::sys::processes;
use crate::sys::program;
use crate::sys::spawn::Program;
use crate::sys::{self, Exit};

/// Command that starts a VMM.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VmmCommand<'a> {
    /// Program and its arguments.
    pub(crate) argv: &'a [String],
    pub(crate) isolation: Isolation,
    /// The process starts as root and drops its privileges itself: a jailer, a container runtime.
    pub(crate) as_root: bool,
    /// The process leads its own process group, which is killed as a whole.
    pub(crate) own_process_group: bool,
    /// The descendants run in their own session and are killed with the process.
    pub(crate) kills_descendants: bool,
    pub(crate) console_log: &'a Path,
    pub(crate) nonce: &'a str,
}

/// Everything that a VMM needs, before its process is started.
#[derive(Debug)]
pub(crate) struct PreparedProcess {
    name: String,
    program: Program,
    stdin: Arc<File>,
    output: PipeWriter,
    console: Console,
    own_process_group: bool,
    kills_descendants: bool,
}

impl VmmCommand<'_> {
    /// Does everything that can be done before the release. `stdin` is the VMM's standard input; `consoles`
    /// reads its output.
    pub(crate) fn prepare(self, stdin: &Arc<File>, consoles: &ConsoleReader) -> anyhow::Result<PreparedProcess> {
        let Self { argv, isolation, as_root, own_process_group, kills_descendants, console_log, nonce } = self;
        let name = argv.first().context("the engine's command line is empty")?.clone();
        let context = || format!("cannot start {name}");
        let path = program::find_program(&name).with_context(context)?;
        let program = Program::new(&path, argv, isolation.user(as_root), own_process_group).with_context(context)?;
        // Standard error is part of the console: a VMM that does not start reports the reason there.
        let (reader, output) = std::io::pipe().context("cannot make a pipe")?;
        let console = consoles.read(reader, console_log, nonce)?;
        Ok(PreparedProcess {
            program,
            stdin: Arc::clone(stdin),
            output,
            console,
            own_process_group,
            kills_descendants,
            name,
        })
    }
}

impl PreparedProcess {
    /// Starts the process.
    ///
    /// # Errors
    /// Fails if the kernel cannot start the program.
    pub(crate) fn spawn(mut self) -> anyhow::Result<(VmmProcess, Console)> {
        let spawned = self.program.spawn(self.stdin.as_fd(), self.output.as_fd());
        let (id, pidfd) = spawned.with_context(|| format!("cannot start {}", self.name))?;
        // The write end of the pipe is dropped here, so that only the VMM has it open.
        let Self { own_process_group, kills_descendants, console, .. } = self;
        Ok((VmmProcess { id, own_process_group, kills_descendants, pidfd, reaped: false }, console))
    }
}

/// Running VMM with its instrument, if it has one; killed on drop.
#[derive(Debug)]
pub(crate) struct VmmProcess {
    id: u32,
    own_process_group: bool,
    kills_descendants: bool,
    pidfd: OwnedFd,
    reaped: bool,
}

impl VmmProcess {
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Returns the process's pidfd, which is readable once the process has exited.
    pub(super) fn exited(&self) -> std::os::fd::BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub(super) fn kill(&self) {
        if self.own_process_group && !self.reaped {
            let _ = killpg(Pid::from_raw(self.id.cast_signed()), Signal::SIGKILL);
        }
        let descendants =
            if self.kills_descendants && !self.reaped { processes::descendants(self.id) } else { Vec::new() };
        drop(sys::pidfd_kill(self.pidfd.as_fd()));
        // The descendants are in their own session, which the process group does not include. When their
        // parent exits they are reparented to this process, which must reap them.
        for pid in descendants.iter().map(|pid| Pid::from_raw(pid.cast_signed())) {
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
        }
    }

    pub(crate) fn reap(&mut self) -> std::io::Result<Exit> {
        self.reaped = true;
        let exit = sys::reap(self.id);
        // When an instrument was killed, its VMM is reparented to this process, which must reap it.
        while self.own_process_group && waitpid(Pid::from_raw(-self.id.cast_signed()), None).is_ok() {}
        exit
    }
}

impl Drop for VmmProcess {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
            drop(self.reap());
        }
    }
}

/// Watches for new files in `folder`.
pub(super) fn watch_folder(folder: &Path) -> anyhow::Result<Inotify> {
    let watch = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).context(
        "cannot create an inotify instance, of which each VM with an API needs one \
         (`sysctl -w fs.inotify.max_user_instances=8192` raises the limit)",
    )?;
    watch.add_watch(folder, AddWatchFlags::IN_CREATE).with_context(|| format!("cannot watch {}", folder.display()))?;
    Ok(watch)
}

/// Waits until the VMM listens on the unix socket `path`. `watch` wakes it when a file appears in the
/// socket's folder.
pub(super) fn wait_for_socket(
    path: &Path,
    watch: Option<&Inotify>,
    process: &VmmProcess,
    deadline: Instant,
) -> Result<(), VmFailure> {
    let watch =
        watch.ok_or_else(|| VmFailure::new(FailureReason::Host, event::API_READY, "the API socket is not watched"))?;
    loop {
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Ok(()),
            Err(_) if deadline.passed() => {
                return Err(VmFailure::new(
                    FailureReason::Timeout,
                    event::API_READY,
                    "the VMM's API socket did not appear",
                ));
            }
            Err(error) => {
                // The socket exists but does not listen yet: bind and listen are two calls, shortly after
                // each other.
                let bound = error.kind() == std::io::ErrorKind::ConnectionRefused;
                let time = if bound { Duration::from_micros(100) } else { deadline.remaining() };
                let exited = probe::wait_exit_or_readable(process.exited(), &[watch.as_fd()], time)
                    .map_err(|error| VmFailure::new(FailureReason::Host, event::API_READY, error))?;
                if exited {
                    return Err(VmFailure::new(
                        FailureReason::Exited,
                        event::API_READY,
                        "the VMM exited before its API socket appeared",
                    ));
                }
                drop(watch.read_events());
            }
        }
    }
}

/// Returns the exit status as text, for example `exit code 1`.
pub(super) fn describe_exit(exit: Exit) -> String {
    match (exit.code, exit.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}
