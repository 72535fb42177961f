//! A VMM's process, its API socket and its exit status. The process of a container runtime includes the
//! container's processes below it.

use std::fs::File;
use std::io::{ErrorKind, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use microbench_formats::event;
use microbench_formats::record::FailureReason;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::failure::VmFailure;
use super::socket;
use crate::guest::console::{Console, ConsoleReader};
use crate::probe;
use crate::sandbox::isolation::Isolation;
use crate::sandbox::vm_namespaces::{ChildrenGuard, VmNamespaces};
use crate::sys::clock::Instant;
use crate::sys::program;
use crate::sys::spawn::{Descriptors, Limits, Program};
use crate::sys::{self, Exit};

/// Most processes and threads of a VM whose user is its own.
const MOST_PROCESSES: u64 = 4096;

/// Command that starts a VMM.
#[derive(Debug)]
pub(crate) struct VmmCommand<'a> {
    /// Program and its arguments.
    pub(crate) argv: &'a [String],
    pub(crate) isolation: Isolation,
    /// The process starts as root and drops its privileges itself: a jailer, a container runtime.
    pub(crate) as_root: bool,
    pub(crate) namespaces: VmNamespaces,
    /// Descriptors 3, 4 ... of the process.
    pub(crate) inherited: Vec<OwnedFd>,
    /// Largest size of a file that the VM writes, bytes.
    pub(crate) file_limit: u64,
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
    namespaces: VmNamespaces,
    inherited: Vec<OwnedFd>,
}

impl VmmCommand<'_> {
    /// Does everything that can be done before the release. `stdin` is the VMM's standard input; `consoles`
    /// reads its output.
    pub(crate) fn prepare(self, stdin: &Arc<File>, consoles: &ConsoleReader) -> anyhow::Result<PreparedProcess> {
        let Self { argv, isolation, as_root, namespaces, inherited, file_limit, console_log, nonce } = self;
        let name = argv.first().context("the engine's command line is empty")?.clone();
        let context = || format!("cannot start {name}");
        let path = program::find_program(&name).with_context(context)?;
        let limits = Limits {
            file_bytes: Some(file_limit),
            // The limit counts all processes of the user on the host, whose number is unknown for a shared user.
            processes: (isolation.has_own_user() && !as_root).then_some(MOST_PROCESSES),
        };
        let program = Program::new(&path, argv, isolation.user(as_root)).with_context(context)?.with_limits(limits);
        // Standard error is part of the console: a VMM that does not start reports the reason there.
        let (reader, output) = std::io::pipe().context("cannot make a pipe")?;
        let console = consoles.read(reader, console_log, nonce)?;
        Ok(PreparedProcess { program, stdin: Arc::clone(stdin), output, console, namespaces, inherited, name })
    }
}

impl PreparedProcess {
    /// Makes the VM's PID namespace that of the calling thread's next child process, until the guard is dropped.
    ///
    /// # Errors
    /// The error of `setns(2)`.
    pub(crate) fn enter_for_children(&self) -> std::io::Result<ChildrenGuard> {
        self.namespaces.enter_for_children()
    }

    /// Starts the process. The calling thread has [entered](Self::enter_for_children) the VM's PID namespace.
    ///
    /// # Errors
    /// Fails if the kernel cannot start the program.
    pub(crate) fn spawn(mut self) -> anyhow::Result<(VmmProcess, Console)> {
        let inherited: Vec<BorrowedFd<'_>> = self.inherited.iter().map(AsFd::as_fd).collect();
        let spawned = self.program.spawn_with(Descriptors {
            input: self.stdin.as_fd(),
            output: self.output.as_fd(),
            namespaces: &self.namespaces.descriptors(),
            inherited: &inherited,
        });
        let (id, pidfd) = spawned.with_context(|| format!("cannot start {}", self.name))?;
        // The write end of the pipe is dropped here, so that only the VMM has it open.
        let Self { console, mut namespaces, .. } = self;
        namespaces.close_unneeded();
        Ok((VmmProcess { id, pidfd, namespaces, reaped: false }, console))
    }
}

/// Running VMM with its instrument, if it has one; killed on drop.
#[derive(Debug)]
pub(crate) struct VmmProcess {
    id: u32,
    pidfd: OwnedFd,
    namespaces: VmNamespaces,
    reaped: bool,
}

impl VmmProcess {
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Returns the process's pidfd, which is readable once the process has exited.
    pub(crate) fn exited(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Kills the VMM and all other processes of the VM.
    pub(crate) fn kill(&self) {
        drop(sys::pidfd_kill(self.pidfd.as_fd()));
        self.namespaces.kill();
    }

    pub(crate) fn reap(&mut self) -> std::io::Result<Exit> {
        self.reaped = true;
        sys::reap(self.id)
    }

    /// Kills the processes that the VMM has left, and waits for their end. The VMM has been reaped.
    ///
    /// # Errors
    /// See [`VmNamespaces::end`].
    pub(crate) fn end(&mut self) -> std::io::Result<()> {
        self.namespaces.end()
    }
}

impl VmmProcess {
    /// Kills the VMM and all other processes of the VM, and waits for their end.
    pub(crate) fn end_all(&mut self) {
        if !self.reaped {
            self.kill();
            drop(self.reap());
        }
        drop(self.end());
    }
}

impl Drop for VmmProcess {
    fn drop(&mut self) {
        self.end_all();
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

/// Waits until the VMM listens on the unix socket `path` and returns its file. `watch` wakes it when a file appears in the
/// socket's folder.
pub(super) fn wait_for_socket(
    path: &Path,
    watch: Option<&Inotify>,
    process: &VmmProcess,
    deadline: Instant,
) -> Result<OwnedFd, VmFailure> {
    let watch =
        watch.ok_or_else(|| VmFailure::new(FailureReason::Host, event::API_READY, "the API socket is not watched"))?;
    loop {
        let connected = socket::open(path).and_then(|file| socket::try_connect(&file).map(|()| file));
        match connected {
            Ok(file) => return Ok(file),
            Err(error) if is_no_socket(&error) => {
                let message = format!("the API socket is not used: {error}");
                return Err(VmFailure::new(FailureReason::Protocol, event::API_READY, message));
            }
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
                let bound = [ErrorKind::ConnectionRefused, ErrorKind::WouldBlock].contains(&error.kind());
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

/// Whether the file at the path of a socket is a link or no socket.
fn is_no_socket(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(libc::ELOOP) || error.kind() == ErrorKind::InvalidInput
}

/// Returns the exit status as text, for example `exit code 1`.
pub(crate) fn describe_exit(exit: Exit) -> String {
    match (exit.code, exit.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}
