//! Executes the trials of a run that are missing, in the plan's order, and journals each as it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::{Context, bail};
use microbench_plots::record::{FORMAT_VERSION, FailureReason, HostKind, Interference, Plan, ProbeError, Record};
use microbench_plots::stats::precision::Look;

use super::budget::{self, Budget};
use super::directory::Directory;
use super::{pause, stages};
use crate::console::FILE_LIMIT;
use crate::error::code::Code;
use crate::journal::{self, Journal, Owner, Progress};
use crate::progress::Step;
use crate::testbed::wire::JobTrial;

/// The signal that asked the run to stop; 0 for none.
static STOPPED_BY: AtomicI32 = AtomicI32::new(0);

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every trial of the plan has ended; so many VMs failed in this session.
    Complete {
        /// VMs that did not complete their protocol.
        failed: u32,
    },
    /// A signal asked it to stop; the rest can be resumed.
    Stopped {
        /// Its number.
        signal: i32,
    },
}

/// Time that the current trial may still take after a request to stop.
const GRACE: std::time::Duration = std::time::Duration::from_secs(30);

/// Asks the session to stop after the current trial, and ends the process after [`GRACE`], or at once when asked a second time: the
/// kernel then ends everything in the sandbox, and the trial is run again by the next session.
pub fn request_stop(signal: i32) {
    if STOPPED_BY.swap(signal, Ordering::SeqCst) != 0 {
        std::process::exit(128 + signal);
    }
    let grace = GRACE.as_secs();
    eprintln!(
        "microbench: stopping after this trial, in {grace} s at most; once more stops at once (`--resume` goes on either way)"
    );
    pause::over();
    let end = move || {
        std::thread::sleep(GRACE);
        eprintln!("microbench: the trial did not end within {grace} s: it will be run again");
        std::process::exit(128 + signal);
    };
    if std::thread::Builder::new().name("grace".into()).spawn(end).is_err() {
        std::process::exit(128 + signal);
    }
}

/// The signal that asked to stop, if any.
#[must_use]
pub fn stop_requested() -> Option<i32> {
    Some(STOPPED_BY.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
}

/// Listens for signals on a thread of its own.
///
/// # Errors
/// When no thread or runtime can be had.
pub fn listen_for_signals() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start tokio")?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            runtime.block_on(async {
                let kinds = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGTSTP, libc::SIGCONT];
                let kinds = kinds.map(SignalKind::from_raw);
                let [Ok(mut int), Ok(mut term), Ok(mut hup), Ok(mut stop), Ok(mut go_on)] = kinds.map(signal) else {
                    return;
                };
                loop {
                    tokio::select! {
                        // A stop and the end of it that are seen together came in this order.
                        biased;
                        _ = int.recv() => request_stop(libc::SIGINT),
                        _ = term.recv() => request_stop(libc::SIGTERM),
                        _ = hup.recv() => request_stop(libc::SIGHUP),
                        _ = stop.recv() => pause::set(true),
                        _ = go_on.recv() => pause::set(false),
                    }
                }
            });
        })
        .context("cannot start the signal thread")?;
    Ok(())
}

/// What one VM may leave in the run's folder at most, bytes: its console, its records.
const VM_LEAVES: u64 = FILE_LIMIT as u64 + (64 << 10);
/// Room for the run's other files, bytes.
const OTHER_FILES: u64 = 1 << 20;

/// Times that a trial is executed at most, when something disturbs it each time.
pub const ATTEMPTS: u32 = 3;

/// A session in progress: the journal, what is done and what is not, the live line.
#[derive(Debug)]
pub struct Session<'a> {
    plan: &'a Plan,
    journal: Journal,
    run: Directory,
    step: Option<Step>,
    failed: u32,
    progress: Progress,
    /// What this stage has still to execute.
    todo: Vec<JobTrial>,
    /// What the stopping rule waits for: blocks before its next look, or `None` when it has looked for the last time.
    horizon: Option<u32>,
}

impl<'a> Session<'a> {
    /// Opens the journal, and works out what is missing.
    ///
    /// # Errors
    /// When the journal is damaged or in use, or the plan is not the one that the run was begun with.
    pub fn open(run: &Directory, plan: &'a Plan, plan_sha256: &str, owner: &Owner) -> anyhow::Result<Self> {
        let progress = journal::progress(run.path(), plan.give_up_after)?;
        if progress.plan_sha256.as_deref().is_some_and(|begun| begun != plan_sha256) {
            bail!(Code::PlanEdited.says(run.plan_changed()));
        }
        let journal = Journal::open(run.path(), owner)?;
        // Again, now that nobody else can write.
        let progress = Progress { torn: progress.torn, ..journal::progress(run.path(), plan.give_up_after)? };
        if let Some(line) = progress.torn {
            eprintln!(
                "microbench: line {line} of the journal was cut off by the end of an earlier session, and is dropped"
            );
        }
        let horizon = stages::first(plan, &progress);
        let mut session =
            Self { plan, journal, run: run.clone(), step: None, failed: 0, progress, todo: Vec::new(), horizon };
        session.stage()?;
        Ok(session)
    }

    /// Goes on to the next trials: those up to the next look of the stopping rule, which is taken first when the trials before it
    /// have ended, and with them those that something disturbed. [`Self::todo`] is empty when nothing is left.
    ///
    /// # Errors
    /// When the journal cannot be read or written.
    pub fn stage(&mut self) -> anyhow::Result<()> {
        loop {
            self.todo = stages::missing(self.plan, &self.progress, self.horizon);
            let (Some(rule), Some(blocks)) = (&self.plan.precision, self.horizon) else { return Ok(()) };
            if !self.todo.is_empty() {
                return Ok(());
            }
            let cells = stages::look(self.plan, rule, self.run.path())?;
            if let Some(step) = &self.step {
                step.line(&stages::said(rule, blocks, &cells));
            }
            let open = cells.values().any(|look| matches!(look, Look::GoOn { .. }));
            let over = !open || blocks >= rule.n_max;
            self.journal.append(&[Record::Look { blocks, cells }])?;
            if over {
                self.progress.enough = Some(blocks);
            }
            self.horizon = if over { None } else { Some((blocks + rule.every).min(rule.n_max)) };
        }
    }
}

impl Session<'_> {
    /// Journals on what and how this session executes. `hosts` is the number of hosts that share the trials.
    ///
    /// # Errors
    /// When an earlier session executed on another kind of host: their times do not compare. When the disk refuses.
    pub fn begin(&mut self, plan_sha256: &str, host: HostKind, hosts: u32) -> anyhow::Result<()> {
        if let Some(earlier) = self.progress.host.filter(|earlier| *earlier != host) {
            bail!(Code::OtherHostKind.says(format!(
                "this run was begun on the host {earlier}, whose times do not compare with those of {host}"
            )));
        }
        self.journal.append(&[Record::RunStart {
            format: FORMAT_VERSION,
            run: self.run.name(),
            plan_sha256: plan_sha256.to_owned(),
            host,
            hosts,
            started: jiff::Timestamp::now().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }])
    }

    /// Journals the error of the probe on a host of this session.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn probe(&mut self, error: ProbeError) -> anyhow::Result<()> {
        self.journal.append(&[Record::Probe(error)])
    }

    /// Trials of this stage that are still to be executed, in order, without warm-ups.
    #[must_use]
    pub fn todo(&self) -> &[JobTrial] {
        &self.todo
    }

    /// Shows progress from here on, of `trials`, warm-ups among them. VMs are counted: a trial of 20 takes longer than one of 1.
    pub fn show(&mut self, trials: &[JobTrial]) {
        let all = trials.iter().map(|trial| u64::from(vms(trial, self.plan))).sum();
        self.step = Some(Step::counted("VMs", all, false));
    }

    /// Journals a trial that has ended.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn ended(
        &mut self,
        trial: &JobTrial,
        records: &[Record],
        logs: &BTreeMap<String, String>,
    ) -> anyhow::Result<()> {
        for (name, text) in logs {
            if !name.contains('/') && !name.starts_with('.') {
                self.run.write(&format!("console/{name}"), text.as_bytes())?;
            }
        }
        self.journal.append(records)?;
        self.progress.budget.saw(records);
        let (mut vms, mut disturbed) = (0, false);
        for record in records {
            match record {
                Record::Invalid { reason, message } => {
                    disturbed = true;
                    let again = if trial.warmup {
                        ""
                    } else if trial.attempt + 1 < ATTEMPTS {
                        "; it is run again"
                    } else {
                        "; it stays invalid"
                    };
                    if let Some(step) = &self.step {
                        step.line(&format!("{} invalid ({reason}): {message}{again}", trial.cell));
                    }
                }
                Record::Failure { vm, reason, stage, message } => {
                    let id = crate::trial::vm_id(trial.index, trial.warmup, trial.attempt, *vm);
                    let log = format!("console/{id}.log");
                    let place = if self.run.path().join(&log).exists() { format!(" ({log})") } else { String::new() };
                    let message: String = message.chars().take(400).collect();
                    if let Some(step) = &self.step {
                        step.line(&format!("{} vm {vm}: {reason} at {stage}: {message}{place}", trial.cell));
                    }
                    self.failed += u32::from(!trial.warmup);
                }
                Record::TrialEnd { ok, failed, .. } => vms = u64::from(ok + failed),
                _ => {}
            }
        }
        self.todo.retain(|todo| todo != trial);
        if !trial.warmup {
            self.progress.ended(trial.index, trial.attempt, disturbed);
        }
        if let Some(step) = &self.step {
            let what = if trial.warmup { "warm-up of " } else { "" };
            step.advance(vms, &format!("{what}{}", trial.cell));
        }
        Ok(())
    }

    /// Journals a trial that the emulated host took down with it; it is run again as a disturbed one is.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn lost(&mut self, trial: &JobTrial, vms: u32, message: &str) -> anyhow::Result<()> {
        let mut records = budget::not_run(trial, vms, FailureReason::Testbed, message);
        let end = records.len() - 1;
        records.insert(end, Record::Invalid { reason: Interference::Testbed, message: message.to_owned() });
        self.ended(trial, &records, &BTreeMap::new())
    }

    /// What the cells' last trials came to.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.progress.budget
    }

    /// The folder of the run has room for what a trial of `vms` VMs may leave.
    ///
    /// # Errors
    /// When it has not: how much there must be.
    pub fn room(&self, vms: u32) -> anyhow::Result<()> {
        let needed = u64::from(vms) * VM_LEAVES + OTHER_FILES;
        let path = self.run.path();
        let found =
            nix::sys::statvfs::statvfs(path).with_context(|| format!("cannot ask for room at {}", path.display()))?;
        let free = found.blocks_available() * found.fragment_size();
        if free < needed {
            bail!(Code::NoRoom.says(format!(
                "no room at {}: {free} bytes are free, the next trial may leave {needed}; make room, then go on with --resume",
                path.display()
            )));
        }
        Ok(())
    }

    /// Ends the session.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn end(mut self) -> anyhow::Result<Ended> {
        let complete = self.todo.is_empty() && stages::missing(self.plan, &self.progress, None).is_empty();
        if complete {
            self.journal.append(&[Record::RunEnd { ended: jiff::Timestamp::now().to_string() }])?;
        }
        if let Some(step) = self.step.take() {
            let left = stages::missing(self.plan, &self.progress, None).len();
            let failed = self.failed;
            step.done(&match (complete, failed) {
                (true, 0) => "complete, no VM failed".to_owned(),
                (true, _) => format!("complete, {failed} VMs failed (recorded with their reasons)"),
                (false, _) => format!("stopped with {left} trials to go"),
            });
        }
        match (complete, stop_requested()) {
            (false, Some(signal)) => Ok(Ended::Stopped { signal }),
            _ => Ok(Ended::Complete { failed: self.failed }),
        }
    }
}

/// Number of VMs that a trial starts.
#[must_use]
pub fn vms(trial: &JobTrial, plan: &Plan) -> u32 {
    let cell = plan.cells.iter().find(|cell| cell.id == trial.cell);
    if trial.warmup { 1 } else { cell.map_or(1, |cell| cell.concurrency) }
}

/// `trials` as one host executes them: each distinct machine is preceded by one warm-up, if the plan asks for it.
#[must_use]
pub fn with_warmups(trials: &[JobTrial], plan: &Plan) -> Vec<JobTrial> {
    let mut warm: BTreeSet<Vec<(String, String)>> = BTreeSet::new();
    let mut all = Vec::new();
    for trial in trials {
        let cell = plan.cells.iter().find(|cell| cell.id == trial.cell);
        // Cells that differ in concurrency alone share their programs, kernels and images.
        let machine = cell.map(|cell| {
            let settings = cell.settings.iter().map(|(name, level)| (name.clone(), level.to_string()));
            settings.chain([("engine".to_owned(), cell.engine.clone())]).collect::<Vec<_>>()
        });
        if plan.warmup && machine.is_some_and(|machine| warm.insert(machine)) {
            all.push(JobTrial { warmup: true, instrument: None, ..trial.clone() });
        }
        all.push(trial.clone());
    }
    all
}
