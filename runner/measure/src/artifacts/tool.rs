//! Runs external programs that build artefacts, captures their output, and reports their failure as [`ToolError`].
//!
//! A tool runs in `/`, unless it is given a folder, and with an absolute `PATH`. Many programs read code or settings
//! from the working directory, which may belong to another user while microbench runs as root.

use microbench_formats::code::Code;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use tracing::debug;

use crate::sys::environment;
use crate::sys::program::{find_program, program_path};
use crate::terminal::progress::Step;

/// Most bytes of a tool's output in its error: the last ones.
const TAIL: usize = 4096;

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
}

impl Tool {
    /// The program `name` on `PATH` (see [`find_program`]), without arguments.
    #[must_use]
    pub fn new(name: impl AsRef<OsStr>) -> Self {
        Self { argv: vec![name.as_ref().to_owned()], folder: None, environment: Vec::new(), clean_environment: false }
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

    /// Runs the program, shows each line of its standard output on `step`, and returns its standard output.
    ///
    /// # Errors
    /// [`ToolError`] if the program cannot be started or fails.
    pub fn run(self, step: Option<&Step>) -> Result<String, ToolError> {
        let command_text = || self.argv.iter().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let start = |cause| ToolError::Start {
            command: command_text(),
            cause,
            remedy: "install the tools that microbench needs with `make deps`".into(),
        };
        let program = find_program(&self.argv[0].to_string_lossy()).map_err(start)?;
        let mut command = Command::new(program);
        command.args(&self.argv[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.clean_environment {
            command.env_clear().envs(environment::passed_variables());
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value))).env("LC_ALL", "C.UTF-8");
        command.current_dir(self.folder.as_deref().unwrap_or(Path::new("/")));
        // Programs that the tool starts itself must be found there too.
        command.env("PATH", program_path());
        debug!("starting `{}`", command_text());
        let started_at = Instant::now();
        let mut child = command.spawn().map_err(start)?;
        let errors = child.stderr.take().map(|stream| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                drop(BufReader::new(stream).read_to_end(&mut bytes));
                String::from_utf8_lossy(&bytes).into_owned()
            })
        });
        let mut output = String::new();
        if let Some(stream) = child.stdout.take() {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line);
                if let Some(step) = step {
                    step.detail(text.trim());
                }
                output.push_str(&text);
                line.clear();
            }
        }
        let errors = errors.and_then(|thread| thread.join().ok()).unwrap_or_default();
        let status = child.wait().map_err(start)?;
        debug!("`{}` ended after {:.1} s: {status}", command_text(), started_at.elapsed().as_secs_f64());
        if status.success() {
            return Ok(output);
        }
        let mut text = format!("{output}{errors}");
        if text.len() > TAIL {
            let cut = (text.len() - TAIL..).find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            text.drain(..cut);
        }
        Err(ToolError::Failed { command: command_text(), status: status.to_string(), output: text })
    }
}
