//! External programs that the artefacts are built with: argv arrays, output captured, one structured error.
//!
//! A tool runs in `/` unless it is given a folder, and with an absolute `PATH`: many programs read code or settings
//! from their working directory, which may belong to another user while microbench runs as root.

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

/// Bytes of a failed tool's output that the error keeps.
const TAIL: usize = 4096;

/// Why an external program's run failed.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It could not be started.
    #[error("cannot start `{command}`: {cause} ({remedy})")]
    Start {
        /// The argument vector.
        command: String,
        /// Cause.
        cause: std::io::Error,
        /// What installs it.
        remedy: String,
    },
    /// It ended with a failure.
    #[error("`{command}` ended with {status}:\n{output}")]
    Failed {
        /// The argument vector.
        command: String,
        /// Exit code or signal.
        status: String,
        /// End of its standard output and error.
        output: String,
    },
}

impl ToolError {
    /// The error's code.
    #[must_use]
    pub fn code(&self) -> Code {
        Code::ToolFailed
    }
}

/// One run of an external program.
#[derive(Debug)]
pub struct Tool {
    argv: Vec<OsString>,
    folder: Option<PathBuf>,
    environment: Vec<(OsString, OsString)>,
    foreign: bool,
}

impl Tool {
    /// The program `name` from the absolute folders of `PATH`.
    #[must_use]
    pub fn new(name: impl AsRef<OsStr>) -> Self {
        Self { argv: vec![name.as_ref().to_owned()], folder: None, environment: Vec::new(), foreign: false }
    }

    /// Appends one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.argv.push(argument.as_ref().to_owned());
        self
    }

    /// Appends arguments.
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

    /// Runs it with the variables of [`environment::PASSED`] alone, as it is started in a run: a VMM that is asked for
    /// its version.
    #[must_use]
    pub fn foreign(mut self) -> Self {
        self.foreign = true;
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Runs to the end, shows each line of output on `step`, and returns the standard output.
    ///
    /// # Errors
    /// [`ToolError`] when it cannot be started or fails.
    pub fn run(self, step: Option<&Step>) -> Result<String, ToolError> {
        let command_text = || self.argv.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let start = |cause| ToolError::Start {
            command: command_text(),
            cause,
            remedy: "`make deps` installs what microbench needs".into(),
        };
        let program = find_program(&self.argv[0].to_string_lossy()).map_err(start)?;
        let mut command = Command::new(program);
        command.args(&self.argv[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.foreign {
            command.env_clear().envs(environment::passed());
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value))).env("LC_ALL", "C.UTF-8");
        command.current_dir(self.folder.as_deref().unwrap_or(Path::new("/")));
        // What the tool starts itself is looked up there too.
        command.env("PATH", program_path());
        debug!("starting `{}`", command_text());
        let begun = Instant::now();
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
        debug!("`{}` ended after {:.1} s: {status}", command_text(), begun.elapsed().as_secs_f64());
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
