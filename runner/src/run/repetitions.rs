//! Repetitions: each is executed by a child process, so that it has a new sandbox, new hosts and new warm-ups.
//!
//! The repetitions of two runs alternate (A B, B A, A B, ...), so that a drift of the machine affects both alike.

use std::collections::BTreeSet;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command};

use anyhow::{Context, bail};
use microbench_formats::exit;
use microbench_measure::sandbox;
use microbench_measure::sys;
use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::{Pid, getppid};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tracing::info;

/// Executes the missing repetitions of one run, or of two runs alternately, in the order of [`sequence`]. `command` is
/// the command that executes a repetition of the run with this index. Returns 0 when every repetition has ended, else
/// the exit code of the first that failed or was stopped; the others are then not executed.
///
/// # Errors
/// When a child process cannot be started or awaited, and the errors of `command`.
pub fn execute(
    missing: &[BTreeSet<u32>],
    mut command: impl FnMut(usize, u32) -> anyhow::Result<Command>,
) -> anyhow::Result<i32> {
    let mut supervisor = Supervisor::new()?;
    for (run, repetition) in sequence(missing) {
        info!(run, repetition, "a repetition starts");
        let code = supervisor.execute(&mut command(run, repetition)?)?;
        if code != 0 {
            return Ok(code);
        }
    }
    Ok(0)
}

/// The order in which missing repetitions are executed, as index of the run and repetition. The run that comes first
/// alternates.
///
/// ```
/// use std::collections::BTreeSet;
///
/// let both = [BTreeSet::from([0, 1, 2]), BTreeSet::from([0, 1, 2])];
/// let order = microbench::run::repetitions::sequence(&both);
/// assert_eq!(order, [(0, 0), (1, 0), (1, 1), (0, 1), (0, 2), (1, 2)]);
/// ```
#[must_use]
pub fn sequence(missing: &[BTreeSet<u32>]) -> Vec<(usize, u32)> {
    let all: BTreeSet<u32> = missing.iter().flatten().copied().collect();
    let mut order = Vec::new();
    for repetition in all {
        let mut runs: Vec<usize> = (0..missing.len()).filter(|run| missing[*run].contains(&repetition)).collect();
        if repetition % 2 == 1 {
            runs.reverse();
        }
        order.extend(runs.into_iter().map(|run| (run, repetition)));
    }
    order
}

/// Ties this process to its parent, which must be the process `supervisor`: the kernel kills it when the parent ends.
///
/// # Errors
/// When the parent has ended already.
pub fn end_with(supervisor: u32) -> anyhow::Result<()> {
    sys::die_with_parent().context("cannot tie the session to its parent process")?;
    if getppid().as_raw().cast_unsigned() != supervisor {
        bail!("the parent process ended before the session started");
    }
    Ok(())
}

/// Executes child processes one after the other and forwards signals to them.
#[derive(Debug)]
struct Supervisor {
    runtime: Runtime,
    signals: Vec<(Signal, Signals)>,
    ended: Signals,
    /// The signal that requested a stop.
    stopped_by: Option<Signal>,
}

/// The signals that request a stop.
const STOP: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

impl Supervisor {
    fn new() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("cannot start tokio")?;
        let entered = runtime.enter();
        let listen = |number: Signal| signal(SignalKind::from_raw(number as i32)).context("cannot handle signals");
        let hangs_up = !sandbox::ignores_hangup();
        let forwarded = STOP.into_iter().filter(|signal| *signal != Signal::SIGHUP || hangs_up);
        let signals = (forwarded.chain([Signal::SIGTSTP, Signal::SIGCONT]))
            .map(|signal| Ok((signal, listen(signal)?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let ended = listen(Signal::SIGCHLD)?;
        drop(entered);
        Ok(Self { runtime, signals, ended, stopped_by: None })
    }

    /// Executes `command` and returns its exit code, 128 + signal if a signal killed it or requested a stop.
    fn execute(&mut self, command: &mut Command) -> anyhow::Result<i32> {
        // A process group of its own, so that a terminal's signals reach the child once: forwarded.
        let mut child = command.process_group(0).spawn().context("cannot start a session")?;
        loop {
            let Self { runtime, signals, ended, .. } = self;
            let next = runtime.block_on(next_signal(signals, ended));
            match next {
                Some(signal) => self.forward(signal, &child),
                None => {
                    if let Some(status) = child.try_wait().context("cannot wait for a session")? {
                        let code = status.code().unwrap_or_else(|| exit::SIGNAL + status.signal().unwrap_or(0));
                        let stopped = self.stopped_by.filter(|_| code == 0);
                        return Ok(stopped.map_or(code, |signal| exit::SIGNAL + signal as i32));
                    }
                }
            }
        }
    }

    fn forward(&mut self, signal: Signal, child: &Child) {
        if STOP.contains(&signal) {
            self.stopped_by = Some(signal);
        }
        let _ = kill(Pid::from_raw(child.id().cast_signed()), signal);
        if signal == Signal::SIGTSTP {
            // The shell waits for this process to stop.
            let _ = raise(Signal::SIGSTOP);
        }
    }
}

/// Waits for a signal to forward; `None` for SIGCHLD.
async fn next_signal(signals: &mut [(Signal, Signals)], ended: &mut Signals) -> Option<Signal> {
    std::future::poll_fn(|context| {
        for (number, stream) in signals.iter_mut() {
            if stream.poll_recv(context).is_ready() {
                return std::task::Poll::Ready(Some(*number));
            }
        }
        ended.poll_recv(context).map(|_| None)
    })
    .await
}
