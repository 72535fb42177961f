//! Runs external programs that build artefacts, captures their output, and reports their failure as [`ToolError`].
//!
//! A tool runs in `/`, unless it is given a folder, and with an absolute `PATH`. Many programs read code or settings
//! from the working directory, which may belong to another user while microbench runs as root.
//!
//! A tool and its descendants run in a PID namespace of their own, which ends with the tool. The tool is killed when the
//! runner ends, when it makes no progress, and when it writes too much.

use microbench_formats::code::Code;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::debug;

use crate::sys::processes::cpu_ticks;
use crate::sys::program::{find_program, program_path};
use crate::sys::{ends_with_this_thread, environment, pidfd_open};
use crate::terminal::progress::Step;

/// Most bytes of a tool's output in its error: the last ones.
const TAIL: usize = 4096;
/// How often the progress of a silent tool is checked, milliseconds.
const CHECK_MS: u16 = 1000;
const CHECK: Duration = Duration::from_millis(CHECK_MS as u64);

/// The limits of a tool.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Longest time without progress: without output and without CPU time of the tool and its descendants.
    idle: Duration,
    /// Most bytes of standard output and error together.
    output: usize,
}

/// A stalled download ends after 10 minutes. The build of a kernel writes about 1 MB.
const LIMITS: Limits = Limits { idle: Duration::from_secs(600), output: 64 << 20 };

/// Failure of an external program.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The program could not be started.
    #[error("cannot start `{command}`: {cause} ({remedy})")]
    Start {
        /// The argument vector, joined by spaces.
        command: String,
        cause: std::io::Error,
        /// How to install the program.
        remedy: String,
    },
    /// The program ended with an exit code other than 0, or by a signal.
    #[error("`{command}` ended with {status}:\n{output}")]
    Failed {
        /// The argument vector, joined by spaces.
        command: String,
        /// Exit code or signal, as text.
        status: String,
        /// End of its standard output and error.
        output: String,
    },
    /// The program was killed.
    #[error("`{command}` was killed, because it {why}:\n{output}")]
    Killed {
        /// The argument vector, joined by spaces.
        command: String,
        /// What it did.
        why: String,
        /// End of its standard output and error.
        output: String,
    },
}

impl ToolError {
    #[must_use]
    pub fn code(&self) -> Code {
        Code::ToolFailed
    }
}

/// An external program to run, with its arguments.
///
/// ```
/// use microbench_measure::artifacts::tool::Tool;
///
/// let output = Tool::new("echo").args(["a", "b"]).run(None).unwrap();
/// assert_eq!(output, "a b\n");
/// assert!(Tool::new("false").run(None).is_err());
/// ```
#[derive(Debug)]
pub struct Tool {
    argv: Vec<OsString>,
    folder: Option<PathBuf>,
    environment: Vec<(OsString, OsString)>,
    clean_environment: bool,
    limits: Limits,
}

impl Tool {
    /// The program `name` on `PATH` (see [`find_program`]), without arguments.
    #[must_use]
    pub fn new(name: impl AsRef<OsStr>) -> Self {
        Self {
            argv: vec![name.as_ref().to_owned()],
            folder: None,
            environment: Vec::new(),
            clean_environment: false,
            limits: LIMITS,
        }
    }

    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.argv.push(argument.as_ref().to_owned());
        self
    }

    #[must_use]
    pub fn args<T: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.argv.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Runs in `folder` instead of `/`.
    #[must_use]
    pub fn folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_path_buf());
        self
    }

    /// Passes only the variables of [`environment::PASSED_VARIABLES`], for programs that are not part of the
    /// distribution's build tools: a VMM.
    #[must_use]
    pub fn clean_environment(mut self) -> Self {
        self.clean_environment = true;
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Runs the program, shows the last line of its standard output on `step`, and returns its standard output.
    ///
    /// # Errors
    /// [`ToolError`] if the program cannot be started, fails, makes no progress or writes too much.
    pub fn run(self, step: Option<&Step>) -> Result<String, ToolError> {
        let start = |cause| ToolError::Start {
            command: self.command_text(),
            cause,
            remedy: "install the tools that microbench needs with `make deps`".into(),
        };
        let program = find_program(&self.argv[0].to_string_lossy()).map_err(start)?;
        let mut command = match namespace() {
            Some(unshare) => {
                let mut command = Command::new(&unshare[0]);
                command.args(&unshare[1..]).arg("--").arg(program);
                command
            }
            None => Command::new(program),
        };
        command.args(&self.argv[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.clean_environment {
            command.env_clear().envs(environment::passed_variables());
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value))).env("LC_ALL", "C.UTF-8");
        command.current_dir(self.folder.as_deref().unwrap_or(Path::new("/")));
        // Programs that the tool starts itself must be found there too.
        command.env("PATH", program_path());
        debug!("starting `{}`", self.command_text());
        let started_at = Instant::now();
        let mut running = Running(ends_with_this_thread(&mut command).spawn().map_err(start)?);
        let mut output = Output::default();
        let ended = running.follow(self.limits, &mut output, step);
        let text = |output: &Output| output.tail();
        let status = match ended {
            Ok(status) => status,
            Err(Stop::Unknown(cause)) => return Err(start(cause)),
            Err(Stop::Killed(why)) => {
                return Err(ToolError::Killed { command: self.command_text(), why, output: text(&output) });
            }
        };
        debug!("`{}` ended after {:.1} s: {status}", self.command_text(), started_at.elapsed().as_secs_f64());
        if status.success() {
            return Ok(String::from_utf8_lossy(&output.out).into_owned());
        }
        Err(ToolError::Failed { command: self.command_text(), status: status.to_string(), output: text(&output) })
    }

    fn command_text(&self) -> String {
        self.argv.iter().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }
}

/// The arguments of `unshare` that run a program as PID 1 of a new PID namespace. When this process ends,
/// the kernel kills all others of the namespace, also those that left the process group. `None` if this user cannot
/// create one; then only the tool itself ends with the runner.
fn namespace() -> Option<&'static [OsString]> {
    static ARGV: OnceLock<Option<Vec<OsString>>> = OnceLock::new();
    let found = ARGV.get_or_init(|| {
        let unshare = find_program("unshare").ok()?;
        let of = |more: &[&str]| -> Vec<OsString> {
            let options = ["--pid", "--fork", "--kill-child"].iter().chain(more);
            std::iter::once(unshare.clone().into_os_string()).chain(options.map(OsString::from)).collect()
        };
        let works = |argv: &Vec<OsString>| {
            let mut command = Command::new(&argv[0]);
            command.args(&argv[1..]).args(["--", "/bin/true"]).stdin(Stdio::null()).stdout(Stdio::null());
            command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
        };
        [of(&[]), of(&["--user", "--map-current-user"])].into_iter().find(works)
    });
    found.as_deref()
}

/// A tool that is killed on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Why a tool has no exit status.
enum Stop {
    Killed(String),
    Unknown(std::io::Error),
}

/// What a tool wrote: all of its standard output, and the end of its standard error.
#[derive(Default)]
struct Output {
    out: Vec<u8>,
    errors: Vec<u8>,
    bytes: usize,
}

impl Output {
    fn add(&mut self, stream: Stream, bytes: &[u8]) {
        self.bytes += bytes.len();
        match stream {
            Stream::Out => self.out.extend_from_slice(bytes),
            Stream::Errors => {
                self.errors.extend_from_slice(bytes);
                let excess = self.errors.len().saturating_sub(TAIL);
                self.errors.drain(..excess);
            }
        }
    }

    fn last_line(&self) -> String {
        let end = &self.out[self.out.len().saturating_sub(TAIL)..];
        let text = String::from_utf8_lossy(end);
        text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
    }

    fn tail(&self) -> String {
        let out = &self.out[self.out.len().saturating_sub(TAIL)..];
        let all = [out, &self.errors].concat();
        String::from_utf8_lossy(&all[all.len().saturating_sub(TAIL)..]).into_owned()
    }
}

#[derive(Clone, Copy)]
enum Stream {
    Out,
    Errors,
}

/// Sends what a stream delivers until it ends or the receiver is gone.
fn forward(mut stream: impl Read + Send + 'static, kind: Stream, to: SyncSender<(Stream, Vec<u8>)>) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            if to.send((kind, buffer[..read].to_vec())).is_err() {
                return;
            }
        }
    });
}

impl Running {
    /// Collects the output until the tool ends, and returns its status.
    fn follow(&mut self, limits: Limits, output: &mut Output, step: Option<&Step>) -> Result<ExitStatus, Stop> {
        let (sender, receiver) = sync_channel(16);
        if let Some(stream) = self.0.stdout.take() {
            forward(stream, Stream::Out, sender.clone());
        }
        if let Some(stream) = self.0.stderr.take() {
            forward(stream, Stream::Errors, sender.clone());
        }
        drop(sender);
        let mut progress = Progress { since: Instant::now(), ticks: 0 };
        loop {
            match receiver.recv_timeout(CHECK) {
                Ok((stream, bytes)) => {
                    output.add(stream, &bytes);
                    progress.since = Instant::now();
                    if output.bytes > limits.output {
                        return Err(Stop::Killed(format!("wrote more than {} MiB", limits.output >> 20)));
                    }
                    if let Some(step) = step {
                        step.detail(&output.last_line());
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.check_progress(&mut progress, limits)?,
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // Usually the tool ends when it closes its output.
        let ended = pidfd_open(self.0.id()).map_err(Stop::Unknown)?;
        loop {
            match poll(&mut [PollFd::new(ended.as_fd(), PollFlags::POLLIN)], PollTimeout::from(CHECK_MS)) {
                Ok(0) => self.check_progress(&mut progress, limits)?,
                Ok(_) => return self.0.wait().map_err(Stop::Unknown),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(Stop::Unknown(error.into())),
            }
        }
    }

    /// Checks that a silent tool has used CPU time since the last check, or is not silent for too long.
    fn check_progress(&self, progress: &mut Progress, limits: Limits) -> Result<(), Stop> {
        let ticks = cpu_ticks(self.0.id());
        if ticks != progress.ticks {
            *progress = Progress { since: Instant::now(), ticks };
        }
        if progress.since.elapsed() > limits.idle {
            return Err(Stop::Killed(format!("made no progress for {} s", limits.idle.as_secs_f64())));
        }
        Ok(())
    }
}

/// The last progress of a tool: output, or CPU time.
struct Progress {
    since: Instant,
    ticks: u64,
}

#[cfg(test)]
mod tests {
    use microbench_testing::{Missing, require};

    use super::*;

    fn shell(script: &str) -> Tool {
        Tool::new("sh").args(["-c", script])
    }

    fn killed(tool: Tool) -> (String, String) {
        match tool.run(None) {
            Err(ToolError::Killed { why, output, .. }) => (why, output),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tool_without_progress_is_killed() {
        let idle = Limits { idle: Duration::from_millis(1), ..LIMITS };
        let (why, output) = killed(Tool { limits: idle, ..shell("echo started; sleep 1000") });
        assert_eq!((why.as_str(), output.as_str()), ("made no progress for 0.001 s", "started\n"));
    }

    #[test]
    fn tool_that_writes_too_much_is_killed() {
        let limits = Limits { output: 1 << 20, ..LIMITS };
        let (why, output) = killed(Tool { limits, ..shell("yes") });
        assert_eq!(why, "wrote more than 1 MiB");
        assert!(output.len() <= TAIL, "{}", output.len());
    }

    #[test]
    fn output_and_the_end_of_errors_are_returned() {
        assert_eq!(shell("echo a; echo b >&2").run(None).unwrap(), "a\n");
        let Err(ToolError::Failed { output, status, .. }) = shell("echo a; echo b >&2; exit 3").run(None) else {
            panic!("the tool fails")
        };
        assert_eq!((output.as_str(), status.as_str()), ("a\nb\n", "exit status: 3"));
        let many = shell("seq 1 20000 >&2; exit 1").run(None).unwrap_err().to_string();
        assert!(many.ends_with("20000\n") && many.len() < TAIL + 100, "{}", many.len());
    }

    /// A process that left its group and closed its output ends with the tool.
    #[test]
    fn descendants_end_with_the_tool() {
        let of_tools = || match namespace() {
            Some(_) => Ok(()),
            None => Err(Missing::machine("this user cannot create a PID namespace")),
        };
        require!(of_tools());
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let script =
            format!("setsid sh -c 'exec >{0} 2>&1; exec sleep 98765' & while [ ! -e {0} ]; do :; done", mark.display());
        shell(&script).run(None).unwrap();
        let left = std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == b"sleep\098765\0".to_vec())
        });
        assert!(!left, "a process of the tool is left");
    }
}
