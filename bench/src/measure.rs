//! Runs programs as whole processes: their cost from spawn to reap, or their output.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use microbench_measure::sys;
use serde::de::DeserializeOwned;

/// Cost of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Wall time from just before the spawn to just after the reap.
    pub(crate) wall: Duration,
    /// User and system time, including that of children that it has waited for.
    pub(crate) cpu: Duration,
    /// Peak resident set of the process itself, bytes.
    pub(crate) peak_bytes: u64,
}

/// Runs `command` to its exit and discards its output.
///
/// # Errors
/// Fails if the program cannot be started or fails; the error contains its standard error.
pub(crate) fn run(command: &mut Command) -> Result<Cost> {
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

/// Runs `command` and returns its standard output.
///
/// # Errors
/// Fails if the program cannot be started or fails, or if its output is not UTF-8.
pub(crate) fn stdout(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{command:?} failed:\n{errors}");
    String::from_utf8(output.stdout).context("its output is not UTF-8")
}

/// Returns a command that runs the text of a script in Python, without the variables that tell OpenBLAS what
/// the processor is.
pub(crate) fn python(program: &Path, script: &str, arguments: &[String]) -> Command {
    let mut command = Command::new(program);
    // Isolated mode: no modules of the working directory.
    command.args(["-I", "-c", script]).args(arguments).env_remove("OPENBLAS_CORETYPE").env_remove("OPENBLAS_L2_SIZE");
    command
}

/// Runs `command` and parses its standard output as JSON.
///
/// # Errors
/// Fails if the program cannot be started or fails, or if its output is not valid.
pub(crate) fn json<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    serde_json::from_str(&stdout(command)?).with_context(|| format!("the output of {command:?} is not valid"))
}
