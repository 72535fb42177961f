//! Whole processes: timed from spawn to reap, or asked what they measured themselves.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use microbench_measure::sys;
use serde::de::DeserializeOwned;

/// What a process cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// From before the spawn to after the reap.
    pub(crate) wall: Duration,
    /// User and system time, its waited-for children's included.
    pub(crate) cpu: Duration,
    /// Largest resident set of the process itself, bytes.
    pub(crate) peak_bytes: u64,
}

/// Runs `command` to its end, its output dropped.
///
/// # Errors
/// When it cannot be started or fails; its standard error is shown then.
pub(crate) fn whole(command: &mut Command) -> Result<Cost> {
    let name = format!("{command:?}");
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let mut errors = String::new();
    if let Some(mut stream) = child.stderr.take() {
        let _ = io::Read::read_to_string(&mut stream, &mut errors);
    }
    let exit = sys::reap(child.id()).with_context(|| format!("cannot reap {name}"))?;
    let wall = begun.elapsed();
    anyhow::ensure!(exit.code == Some(0), "{name} failed:\n{errors}");
    let cpu = Duration::from_nanos(exit.user_time_ns + exit.system_time_ns);
    Ok(Cost { wall, cpu, peak_bytes: exit.peak_rss_bytes })
}

/// What `command` prints.
///
/// # Errors
/// When it cannot be started or fails, or prints no text.
pub(crate) fn printed(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{command:?} failed:\n{errors}");
    String::from_utf8(output.stdout).context("it prints no text")
}

/// A Python that runs the text of a script, as it would be if nothing told its linear algebra what the processor is.
pub(crate) fn python(program: &Path, script: &str, arguments: &[String]) -> Command {
    let mut command = Command::new(program);
    // Isolated: no module of the working directory.
    command.args(["-I", "-c", script]).args(arguments).env_remove("OPENBLAS_CORETYPE").env_remove("OPENBLAS_L2_SIZE");
    command
}

/// What `command` prints, read as JSON.
///
/// # Errors
/// When it cannot be started, fails, or prints something else.
pub(crate) fn json<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    serde_json::from_str(&printed(command)?).with_context(|| format!("cannot read what {command:?} printed"))
}
