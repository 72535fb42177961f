//! A session executes the missing trials of a run in the order of the plan. It writes each trial to the journal when it
//! has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use console::Style;
use indicatif::HumanDuration;
use microbench_formats::code::Code;
use microbench_formats::host::HostKind;
use microbench_formats::plan::Plan;
use microbench_formats::precision::Look;
use microbench_formats::record::{self, FailureReason, Interference, ProbeError, Record};
use microbench_formats::shard::Shard;
use microbench_formats::terminal::wrapped_to;
use microbench_formats::version::FORMAT_VERSION;
use microbench_measure::errln;
use microbench_measure::guest::console::{END_LIMIT, FILE_LIMIT};
use microbench_measure::sandbox;
use microbench_measure::sys::durable;
use microbench_measure::terminal::log;
use microbench_measure::terminal::progress::{Step, columns, format_remaining, print_line, render_bar};
use microbench_measure::terminal::screen::Stream;
use microbench_measure::trial::budget::{self, Budget};
use microbench_measure::trial::request::TrialRequest;
use tracing::{debug, info};

use super::estimate::Estimate;
use super::pause;
use super::trial_line::{Line, Status};
use crate::build;
use crate::store::directory::Directory;
use crate::store::journal::{self, Journal, Owner, Progress};
use crate::store::schedule;
use crate::store::status::{self, RunStatus, TrialResult};

/// The signal that requested a stop; 0 for none.
static STOPPED_BY: AtomicI32 = AtomicI32::new(0);

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every trial of the plan has ended.
    Complete,
    /// A signal requested a stop. The run can be resumed.
    Stopped {
        /// Number of the signal.
        signal: i32,
    },
}

/// Time for the current trial to end after a stop was requested.
const GRACE: Duration = Duration::from_secs(30);

/// Requests that the session stops after the current trial. The process exits after [`GRACE`] at the latest, and at
/// once on the second request. The kernel then kills all processes in the sandbox, and the next session repeats the
/// trial.
pub fn request_stop(signal: i32) {
    if STOPPED_BY.swap(signal, Ordering::SeqCst) != 0 {
        std::process::exit(128 + signal);
    }
    let grace = GRACE.as_secs();
    let again = if signal == libc::SIGINT { "Ctrl-C again" } else { "a second signal" };
    print_line(&wrapped_to(
        columns(),
        &format!(
            "microbench: stopping after the current trial, which has {grace} s to end; {again} stops at once (in both cases, `run --resume` \
             continues the run)"
        ),
        2,
    ));
    pause::cancel();
    let end = move || {
        std::thread::sleep(GRACE);
        print_line(&format!("microbench: the trial did not end within {grace} s; `run --resume` will retry it"));
        std::process::exit(128 + signal);
    };
    if std::thread::Builder::new().name("grace".into()).spawn(end).is_err() {
        std::process::exit(128 + signal);
    }
}

/// The signal that requested a stop; `None` without a request.
#[must_use]
pub fn stop_requested() -> Option<i32> {
    Some(STOPPED_BY.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
}

/// Starts a thread that handles signals. SIGHUP is ignored if it was ignored at the start of the program (`nohup`).
///
/// # Errors
/// When the thread or its runtime cannot be created.
pub fn listen_for_signals() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let hangs_up = !sandbox::ignores_hangup();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start tokio")?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            runtime.block_on(async {
                let kinds = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGTSTP, libc::SIGCONT];
                let kinds = kinds.map(SignalKind::from_raw);
                let [Ok(mut int), Ok(mut term), Ok(mut hup), Ok(mut stop), Ok(mut cont)] = kinds.map(signal) else {
                    return;
                };
                loop {
                    tokio::select! {
                        // When SIGTSTP and SIGCONT are both pending, they arrived in this order.
                        biased;
                        _ = int.recv() => request_stop(libc::SIGINT),
                        _ = term.recv() => request_stop(libc::SIGTERM),
                        _ = hup.recv(), if hangs_up => request_stop(libc::SIGHUP),
                        _ = stop.recv() => pause::set_stopped(true),
                        _ = cont.recv() => pause::set_stopped(false),
                    }
                }
            });
        })
        .context("cannot start the signal thread")?;
    Ok(())
}

/// Largest disk space of one VM in the run's folder, bytes: its console log and its records.
const VM_BYTES: u64 = (FILE_LIMIT + END_LIMIT) as u64 + (64 << 10);
/// Disk space for the other files of the run, bytes.
const OTHER_FILES: u64 = 1 << 20;

/// Progress of a stage of the schedule.
#[derive(Debug)]
struct Stage {
    /// Trials of the run that have ended, without warm-ups: as in `microbench runs`.
    ended: usize,
    /// Trials that the run executes.
    planned: usize,
    /// Value of `ended` at the start of the stage, and number of trials of the stage.
    before: usize,
    trials: usize,
    /// Trials and warm-ups of the stage that have not ended, in order.
    left: Vec<TrialRequest>,
    /// Trials that are being executed, each with its start; the last one started last.
    current: Vec<(TrialRequest, Instant)>,
    started_at: Instant,
    /// Fraction of the expected duration of the stage that has passed, at the end of the last trial.
    share: f64,
    /// Remaining time, and the instant of that estimate, which is the end of the last trial.
    remaining: Option<(Duration, Instant)>,
}

impl Stage {
    fn new(trials: &[TrialRequest], ended: usize, planned: usize) -> Self {
        let (left, started_at) = (trials.to_vec(), Instant::now());
        let trials = trials.iter().filter(|trial| !trial.warmup).count();
        Self {
            ended,
            planned,
            before: ended,
            trials,
            left,
            current: Vec::new(),
            started_at,
            share: 0.0,
            remaining: None,
        }
    }

    fn trial_started(&mut self, trial: &TrialRequest) {
        self.current.retain(|(other, _)| other != trial);
        self.current.push((trial.clone(), Instant::now()));
    }

    /// Records the end of a trial; `ended` trials of the run have ended.
    fn trial_ended(&mut self, trial: &TrialRequest, ended: usize, estimate: &Estimate, plan: &Plan) {
        self.ended = ended;
        self.left.retain(|other| other != trial);
        self.current.retain(|(other, _)| other != trial);
        self.share = estimate.share(&self.left, plan);
        // Warm-ups alone are no basis for an estimate: their trials may take much longer.
        let has_estimate = self.ended > self.before;
        let remaining = estimate.remaining(&self.left, plan, self.started_at.elapsed()).filter(|_| has_estimate);
        self.remaining = remaining.map(|remaining| (remaining, Instant::now()));
    }

    /// Estimate of the remaining time of the stage; `None` before a trial has ended.
    fn remaining(&self) -> Option<Duration> {
        self.remaining.map(|(remaining, estimated)| remaining.saturating_sub(estimated.elapsed()))
    }

    /// Fraction of the run that is done, 0 to 1: within the stage by expected durations.
    fn share_of_run(&self) -> f64 {
        (self.before as f64 + self.share * self.trials as f64) / self.planned.max(1) as f64
    }

    /// The live line of a terminal with `columns` columns.
    fn line(&self, columns: usize) -> String {
        const WIDEST_BAR: usize = 24;
        let (ended, planned) = (self.ended, self.planned);
        let current = self.current.last().map_or_else(String::new, |(trial, since)| {
            let warm = if trial.warmup { " (warm-up)" } else { "" };
            format!("  {}{warm} {} s", trial.cell, since.elapsed().as_secs())
        });
        let stopping = if stop_requested().is_some() { ", stopping" } else { "" };
        let bar = render_bar(self.share_of_run(), (columns / 4).min(WIDEST_BAR));
        let remaining = match self.remaining() {
            Some(remaining) if columns < 60 => format!("{:#} left", HumanDuration(remaining)),
            remaining => format!("{} left", format_remaining(remaining)),
        };
        format!("[{bar}] {ended}/{planned}, {remaining}{stopping}{current}")
    }
}

/// A session in progress.
#[derive(Debug)]
pub struct Session<'a> {
    plan: &'a Plan,
    journal: Journal,
    run: Directory,
    step: Option<Step>,
    stage: Arc<Mutex<Stage>>,
    estimate: Estimate,
    started_at: Instant,
    progress: Progress,
    /// Trials of the current stage that have not ended.
    todo: Vec<TrialRequest>,
    /// Number of blocks before the next look of the stopping rule; `None` when no look follows.
    horizon: Option<u32>,
    /// Whether the repetitions of another run alternate with those of this run.
    interleaved: bool,
}

impl<'a> Session<'a> {
    /// Opens the journal and computes the first stage of the schedule: of all missing trials, or of those of one
    /// repetition.
    ///
    /// # Errors
    /// When the journal is damaged or in use, or the plan was edited after the run began.
    pub fn open(run: &Directory, plan: &'a Plan, owner: &Owner, repetition: Option<u32>) -> anyhow::Result<Self> {
        let progress = journal::progress(run.path(), plan.give_up_after)?;
        run.verify(&progress.digests)?;
        let journal = Journal::open(run.path(), owner)?;
        // Read again, because another process may have written before this one had the lock.
        let progress =
            Progress { torn: progress.torn, repetition, ..journal::progress(run.path(), plan.give_up_after)? };
        if let Some(line) = progress.torn {
            errln!(
                "microbench: line {line} of the journal is incomplete, because an earlier session was killed; the line is removed"
            );
        }
        if journal.owner_was_lost() {
            errln!(
                "microbench: {} is empty or damaged and is replaced; no trial is lost, only the record of \
                 the process that executed the last session",
                run.path().join(journal::OWNER).display()
            );
        }
        let horizon = schedule::next_look(plan, &progress);
        let mut session = Self {
            plan,
            journal,
            run: run.clone(),
            step: None,
            stage: Arc::new(Mutex::new(Stage::new(&[], 0, 0))),
            estimate: Estimate::default(),
            started_at: Instant::now(),
            progress,
            todo: Vec::new(),
            horizon,
            interleaved: false,
        };
        session.schedule()?;
        Ok(session)
    }

    /// Schedules the next stage, including trials to repeat because they were disturbed. When the trials before the
    /// next look of the stopping rule have ended, the rule is applied first. [`Self::todo`] is empty when no trial is
    /// left.
    ///
    /// # Errors
    /// When the journal cannot be read or written.
    pub fn schedule(&mut self) -> anyhow::Result<()> {
        self.skip_beyond_limit()?;
        loop {
            self.todo = schedule::due(self.plan, schedule::missing(self.plan, &self.progress, self.horizon));
            let (Some(rule), Some(blocks)) = (&self.plan.precision, self.horizon) else { return Ok(()) };
            if !self.todo.is_empty() {
                return Ok(());
            }
            let cells = schedule::look(self.plan, rule, self.run.path())?;
            if self.step.is_some() {
                print_line(&wrapped_to(columns(), &schedule::look_message(rule, blocks, &cells), 2));
            }
            let open = cells.values().any(|look| matches!(look, Look::GoOn { .. }));
            let over = !open || blocks >= rule.n_max;
            info!(blocks, over, "the stopping rule looked at {} cells", cells.len());
            self.journal.append(&[Record::Look { blocks, cells }])?;
            if over {
                self.progress.enough = Some(blocks);
            }
            self.horizon = if over { None } else { Some((blocks + rule.every).min(rule.n_max)) };
        }
    }

    /// Records the trials beyond the plan's limit as skipped, each VM with the reason.
    fn skip_beyond_limit(&mut self) -> anyhow::Result<()> {
        let beyond = schedule::beyond_limit(self.plan, self.run.path())?;
        if beyond.is_empty() {
            return Ok(());
        }
        let mut cells = BTreeMap::new();
        for trial in schedule::missing(self.plan, &self.progress, None) {
            let Some(reason) = beyond.get(&trial.cell).filter(|_| trial.instrument.is_none()) else { continue };
            let records = budget::skipped_records(&trial, vms(&trial, self.plan), FailureReason::BeyondLimit, reason);
            self.journal.append(&records)?;
            self.progress.ended(trial.index, trial.attempt, false);
            cells.insert(trial.cell, reason);
        }
        if self.step.is_some() {
            for (cell, reason) in cells {
                print_line(&wrapped_to(columns(), &format!("{cell} is skipped: {reason}"), 2));
            }
        }
        Ok(())
    }
}

impl Session<'_> {
    /// Writes the start of the session to the journal. `hosts` is the number of hosts among which the trials are
    /// divided. `machine` is the name of the host within which trials are compared. `unisolated` is the reason why VMMs
    /// are not isolated from the host, which is also printed as a warning. `interleaved_with` is the name of the run
    /// whose repetitions alternate with those of this run.
    ///
    /// # Errors
    /// When an earlier session executed on another kind of host, whose times are not comparable, or the journal cannot
    /// be written.
    pub fn begin(
        &mut self,
        host: HostKind,
        hosts: u32,
        machine: &str,
        unisolated: Option<String>,
        interleaved_with: Option<&str>,
    ) -> anyhow::Result<()> {
        if let Some(earlier) = self.progress.host.filter(|earlier| *earlier != host) {
            bail!(Code::OtherHostKind.with_message(format!(
                "this run began on a host of kind {earlier}, whose times are not comparable with those of kind {host}"
            )));
        }
        self.progress.host = Some(host);
        self.interleaved = interleaved_with.is_some();
        info!(%host, hosts, machine, trials = self.todo.len(), "session of {} begins", self.run.name());
        if let Some(why) = &unisolated {
            let warning =
                format!("warning: VMMs are not isolated from this machine: {why} (--allow-unisolated is set)");
            print_line(&wrapped_to(columns(), &warning, 2));
        }
        let digests = microbench_plots::run::digests(self.run.path())?;
        self.journal.append(&[Record::RunStart {
            format: FORMAT_VERSION,
            run: self.run.name(),
            plan_sha256: digests.plan,
            engines_sha256: digests.engines,
            lock_sha256: digests.lock,
            host,
            hosts,
            started: jiff::Timestamp::now().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            build: Some(Box::new(build::this_build())),
            shard: self.progress.shard,
            machine: if self.progress.shard.is_some() { machine.to_owned() } else { String::new() },
            unisolated,
            repetition: self.progress.repetition,
            interleaved_with: interleaved_with.map(str::to_owned),
            label: self.run.label()?,
        }])
    }

    /// Writes the error of the probe on a host of this session to the journal.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn probe(&mut self, error: ProbeError) -> anyhow::Result<()> {
        self.journal.append(&[Record::Probe(error)])
    }

    /// The trials of the current stage that have not ended, in order, without warm-ups.
    #[must_use]
    pub fn missing_trials(&self) -> &[TrialRequest] {
        &self.todo
    }

    /// Prints the size of the stage and starts the live line. `trials` includes warm-ups; `hosts` is the number of
    /// hosts.
    pub fn start_progress(&mut self, trials: &[TrialRequest], hosts: usize) {
        let host = self.progress.host.map_or_else(|| "unknown".to_owned(), |host| host.to_string());
        let warm = trials.iter().filter(|trial| trial.warmup).count();
        let vms = trials.iter().filter(|trial| !trial.warmup).map(|trial| vms(trial, self.plan) as usize).sum();
        let cells: BTreeSet<&str> = trials.iter().map(|trial| trial.cell.as_str()).collect();
        let count = |n: usize, noun: &str| if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") };
        let warm_ups = if warm == 0 { String::new() } else { format!(" and {}", count(warm, "warm-up")) };
        let clock = if self.progress.host == Some(HostKind::Emulated) { "virtual time" } else { "wall time" };
        let repetition = self.progress.repetition.map_or_else(String::new, |repetition| {
            format!("repetition {} of {}: ", repetition + 1, self.plan.repetitions)
        });
        let message = format!(
            "{repetition}{} of {} ({}){warm_ups} on {} ({host}); in brackets: {clock} from the first event of a trial to the last",
            count(trials.len() - warm, "trial"),
            count(cells.len(), "cell"),
            count(vms, "VM"),
            count(hosts, "host"),
        );
        if let Some(step) = self.step.take() {
            step.clear();
        }
        print_line(&wrapped_to(columns(), &message, 2));
        let planned = schedule::planned(self.plan, &self.progress);
        self.stage = Arc::new(Mutex::new(Stage::new(trials, self.progress.ended.len(), planned)));
        let stage = Arc::clone(&self.stage);
        self.step =
            Some(Step::live("run", move |columns| stage.lock().unwrap_or_else(PoisonError::into_inner).line(columns)));
    }

    /// Records in logs and live line that a trial has started.
    pub fn trial_started(&self, trial: &TrialRequest) {
        debug!(trial = trial.index, attempt = trial.attempt, warmup = trial.warmup, "{} starts", trial.cell);
        if trial.attempt > 0 && !trial.warmup {
            info!(trial = trial.index, attempt = trial.attempt, "{} is repeated", trial.cell);
        }
        self.stage.lock().unwrap_or_else(PoisonError::into_inner).trial_started(trial);
    }

    /// Writes a trial that has ended to the journal and prints its line. `logs` are console logs by file name;
    /// `duration` is time of this machine.
    ///
    /// # Errors
    /// When the journal or a console log cannot be written.
    pub fn trial_ended(
        &mut self,
        trial: &TrialRequest,
        records: &[Record],
        logs: &BTreeMap<String, String>,
        duration: Duration,
    ) -> anyhow::Result<()> {
        for (name, text) in logs {
            if !name.contains('/') && !name.starts_with('.') {
                durable::write_lazily(&self.run.console().join(name), text.as_bytes())?;
            }
        }
        self.journal.append(records)?;
        log_trial(trial, records, duration);
        self.progress.budget.observe(records);
        let disturbed = records.iter().any(|record| matches!(record, Record::Invalid { .. }));
        self.todo.retain(|todo| todo != trial);
        if !trial.warmup {
            self.progress.ended(trial.index, trial.attempt, disturbed);
        }
        let line = Line::from_records(self.plan, trial, records, self.run.path());
        if line.status != Status::Skip {
            self.estimate.add(trial, self.plan, duration);
        }
        self.print_trial(trial, &line);
        Ok(())
    }

    /// Prints the line of a trial that has ended.
    fn print_trial(&self, trial: &TrialRequest, line: &Line) {
        let (ended, planned, remaining) = {
            let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
            stage.trial_ended(trial, self.progress.ended.len(), &self.estimate, self.plan);
            (stage.ended, stage.planned, stage.remaining())
        };
        let widest = self.plan.cells.iter().map(|cell| cell.id.chars().count()).max().unwrap_or(0);
        let mut lines = line.render_lines(columns(), widest, |status, word| Stream::Err.paint(&style(status), word));
        if let (Some(first), Some(false)) = (lines.first_mut(), self.step.as_ref().map(Step::is_live)) {
            // Without a live line, its content is part of each trial's line.
            first.push_str(&format!(" ({})", count_text(ended, planned, remaining)));
        }
        if self.step.is_some() {
            print_line(&lines.join("\n"));
        }
    }

    /// Writes a trial to the journal whose emulated host `host` hung or exited. The trial is repeated like a disturbed
    /// one.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn trial_lost(
        &mut self,
        trial: &TrialRequest,
        vms: u32,
        message: &str,
        host: record::EmulatedHost,
        duration: Duration,
    ) -> anyhow::Result<()> {
        let mut records = budget::skipped_records(trial, vms, FailureReason::EmulatedHost, message);
        record_host(&mut records, &host);
        let end = records.len() - 1;
        records.insert(end, Record::Invalid { reason: Interference::EmulatedHost, message: message.to_owned() });
        self.trial_ended(trial, &records, &BTreeMap::new(), duration)
    }

    /// Failed trials in a row, by cell.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.progress.budget
    }

    /// Checks that the disk of the run has enough space for a trial of `vms` VMs.
    ///
    /// # Errors
    /// [`Code::DiskFull`] with the free and the required space.
    pub fn require_disk_space(&self, vms: u32) -> anyhow::Result<()> {
        let needed = u64::from(vms) * VM_BYTES + OTHER_FILES;
        let path = self.run.path();
        let found = nix::sys::statvfs::statvfs(path)
            .with_context(|| format!("cannot determine the free disk space at {}", path.display()))?;
        let free = found.blocks_available() * found.fragment_size();
        if free < needed {
            bail!(Code::DiskFull.with_message(format!(
                "not enough disk space at {}: {free} bytes are free, and the next trial may need {needed}; free disk space, then resume the run \
                 with --resume",
                path.display()
            )));
        }
        Ok(())
    }

    /// Prints that the run was complete before this session, and the next command.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn print_already_complete(&self) -> anyhow::Result<()> {
        let (_, status) = status::read_status(&self.run)?;
        print_line(&format!("run: already complete ({} trials); no trial was executed", status.planned));
        self.print_next_command(true);
        Ok(())
    }

    fn print_next_command(&self, complete: bool) {
        // Without an indent, because a path is not broken.
        print_line(&wrapped_to(columns(), &next_command(self.run.path(), complete, self.progress.shard), 0));
    }

    /// Ends the session, and prints the counts of the run, which are those of `microbench runs`.
    ///
    /// # Errors
    /// When the journal cannot be read or written.
    pub fn end(mut self) -> anyhow::Result<Ended> {
        let repetition = self.progress.repetition.take();
        let complete = self.todo.is_empty() && schedule::missing(self.plan, &self.progress, None).is_empty();
        if complete {
            debug!("every trial has ended");
            self.journal.append(&[Record::RunEnd { ended: jiff::Timestamp::now().to_string() }])?;
        }
        if let Some(step) = self.step.take() {
            step.clear();
            let (_, status) = status::read_status(&self.run)?;
            let lines = match repetition.filter(|_| !complete && stop_requested().is_none()) {
                Some(repetition) => vec![format!(
                    "repetition {} of {} is complete; wall time {}",
                    repetition + 1,
                    self.plan.repetitions,
                    wall_time(self.started_at.elapsed())
                )],
                None => summary(&status, self.started_at.elapsed()),
            };
            for line in lines {
                print_line(&Stream::Err.fold(&wrapped_to(columns(), &line, 4)));
            }
            // `ab` prints its own next command.
            if (complete || stop_requested().is_some()) && !self.interleaved {
                self.print_next_command(complete);
            }
        }
        info!(complete, dropped = log::dropped_events(), "session ends");
        match (complete, stop_requested()) {
            (false, Some(signal)) => Ok(Ended::Stopped { signal }),
            _ => Ok(Ended::Complete),
        }
    }
}

/// Adds the emulated host to the start of a trial.
pub(super) fn record_host(records: &mut [Record], host: &record::EmulatedHost) {
    if let Some(Record::TrialStart { emulated_host, .. }) = records.first_mut() {
        *emulated_host = Some(host.clone());
    }
}

/// Number of trials that have ended, and the remaining time unless it is unknown: `3/12, about 4s left`.
fn count_text(ended: usize, planned: usize, remaining: Option<Duration>) -> String {
    let left = remaining.map_or_else(String::new, |left| format!(", {} left", format_remaining(Some(left))));
    format!("{ended}/{planned}{left}")
}

/// The line that names the next command for a run: to resume it if it is not complete, to merge it if it is a shard,
/// else to analyse it.
fn next_command(run: &Path, complete: bool, shard: Option<Shard>) -> String {
    // The path works in every folder, unlike the run's name.
    let path = shell_quoted(&run.to_string_lossy());
    match shard {
        _ if !complete => format!("next: microbench run --resume {path}"),
        Some(shard) => format!("next: microbench merge with all {} shards, once all are complete", shard.of),
        None => format!("next: microbench analyze {path}"),
    }
}

/// The text as one word of a shell command.
fn shell_quoted(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._:@%+=,-".contains(letter);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Lines that a summary has at most for failures.
const MAX_FAILURES: usize = 8;

/// The last lines of a session that took the wall time `duration`: the counts of the run, and why VMs failed.
fn summary(status: &RunStatus, duration: Duration) -> Vec<String> {
    let counts = [
        (TrialResult::Passed, "pass"),
        (TrialResult::Failed, "fail"),
        (TrialResult::Invalid, "invalid"),
        (TrialResult::Skipped, "skip"),
    ];
    let counts = counts.map(|(result, name)| (status.count(result), name));
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, name)| format!("{count} {name}")).collect();
    let counts = if counts.is_empty() { "none ended".to_owned() } else { counts.join(", ") };
    let failed = match status.failed_vms() {
        0 => "no VM failed".to_owned(),
        1 => "1 VM failed".to_owned(),
        failed => format!("{failed} VMs failed"),
    };
    let repeated = match status.repeated {
        0 => String::new(),
        1 => "; 1 disturbed execution was retried".to_owned(),
        retried => format!("; {retried} disturbed executions were retried"),
    };
    let state = match status.missing.len() {
        0 => "complete".to_owned(),
        missing => format!("stopped with {missing} of {} trials missing", status.planned),
    };
    let time = wall_time(duration);
    let mut lines = vec![format!("run: {state}, {failed}; trials: {counts}{repeated}; wall time {time}")];
    lines.extend(status.failures.iter().take(MAX_FAILURES).map(|group| format!("  {}", group.line())));
    if let Some(more @ 1..) = status.failures.len().checked_sub(MAX_FAILURES) {
        lines.push(format!("  and {more} more reasons; `microbench show RUN` lists all of them"));
    }
    lines
}

/// A duration in at most two units: `42 s`, `12 min 34 s`, `3 h 05 min`.
fn wall_time(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, _) => format!("{:.1} s", time.as_secs_f64()),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

/// Logs a trial that has ended, with its failures and disturbances.
fn log_trial(trial: &TrialRequest, records: &[Record], duration: Duration) {
    let (index, attempt) = (trial.index, trial.attempt);
    let (ok, failed) = match records.last() {
        Some(Record::TrialEnd { ok, failed, .. }) => (*ok, *failed),
        _ => (0, 0),
    };
    let (n, ms) = (records.len(), duration.as_millis());
    debug!(trial = index, attempt, ok, failed, records = n, ms, "{} ended", trial.cell);
    for record in records {
        match record {
            Record::Invalid { reason, message } => {
                info!(trial = index, attempt, "{} was disturbed and is not counted: {reason}: {message}", trial.cell);
            }
            Record::Failure { vm, reason, stage, message } => {
                info!(trial = index, attempt, vm, "{} failed: {}: {message}", trial.cell, reason.with_event(stage));
            }
            _ => {}
        }
    }
}

fn style(status: Status) -> Style {
    match status {
        Status::Pass => Style::new().green().bold(),
        Status::Fail => Style::new().red().bold(),
        Status::Invalid => Style::new().magenta().bold(),
        Status::Skip => Style::new().yellow().bold(),
        Status::Warm => Style::new().dim(),
    }
}

/// Number of VMs of a trial; a warm-up has one.
#[must_use]
pub fn vms(trial: &TrialRequest, plan: &Plan) -> u32 {
    let cell = plan.cells.iter().find(|cell| cell.id == trial.cell);
    if trial.warmup { 1 } else { cell.map_or(1, |cell| cell.concurrency) }
}

/// `trials` with warm-ups for one host: if the plan enables warm-ups, one precedes the first trial of each distinct
/// machine.
#[must_use]
pub fn with_warmups(trials: &[TrialRequest], plan: &Plan) -> Vec<TrialRequest> {
    let mut warm: BTreeSet<String> = BTreeSet::new();
    let mut all = Vec::new();
    for trial in trials {
        let cell = plan.cells.iter().find(|cell| cell.id == trial.cell);
        if plan.warmup && cell.is_some_and(|cell| warm.insert(cell.configuration_key())) {
            all.push(TrialRequest { warmup: true, instrument: None, ..trial.clone() });
        }
        all.push(trial.clone());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::status::{Outcome, count_failure};

    #[test]
    fn the_summary_counts_trials_of_the_run_and_groups_failures() {
        let mut failures = Vec::new();
        for _ in 0..20 {
            count_failure(&mut failures, "crash/20", FailureReason::Exited, "http.ok", "exit code 9");
        }
        let outcome = |ok, failed, skipped| Outcome { ok, failed, skipped, invalid: false };
        let status = RunStatus {
            sessions: Vec::new(),
            outcomes: BTreeMap::from([(0, outcome(20, 0, 0)), (1, outcome(0, 20, 0)), (2, outcome(0, 0, 1))]),
            planned: 4,
            missing: BTreeSet::from([3]),
            failures,
            repeated: 1,
            digests: Vec::new(),
            torn: None,
        };
        assert_eq!(
            summary(&status, Duration::from_secs(754)),
            [
                "run: stopped with 1 of 4 trials missing, 20 VMs failed; trials: 1 pass, 1 fail, 1 skip; \
                 1 disturbed execution was retried; wall time 12 min 34 s",
                "  20 VMs of crash/20: exited before http.ok: exit code 9",
            ]
        );
    }

    #[test]
    fn no_remaining_time_is_shown_before_a_trial_has_ended() {
        let plan: Plan = serde_json::from_value(serde_json::json!({
            "format": FORMAT_VERSION, "study": "s", "title": "S", "protocol": "corrected", "profile": "",
            "seed": 1, "warmup": true, "give_up_after": 0, "axes": [], "trials": [], "workloads": [], "metrics": [],
            "figures": [], "claims": [], "reference": null, "excluded": [],
            "cells": [{
                "id": "a/1", "levels": {}, "variant": "a", "label": "a", "engine": "a", "concurrency": 1, "trials": 2,
                "settings": {},
            }],
        }))
        .unwrap();
        let trial = |index, warmup| TrialRequest { index, attempt: 0, warmup, cell: "a/1".into(), instrument: None };
        let all = [trial(0, true), trial(0, false), trial(1, false)];
        let mut stage = Stage::new(&all, 0, 2);
        let mut estimate = Estimate::default();
        for (at, (ended, is_known)) in [(0, false), (1, true)].into_iter().enumerate() {
            estimate.add(&all[at], &plan, Duration::from_secs(1));
            stage.trial_ended(&all[at], ended, &estimate, &plan);
            assert_eq!(stage.remaining().is_some(), is_known, "{ended} trials ended");
        }
        assert_eq!(count_text(0, 2, None), "0/2");
        assert_eq!(count_text(1, 2, Some(Duration::from_secs(4))), "1/2, about 4s left");
    }

    #[test]
    fn next_command_resumes_merges_or_analyses_the_run() {
        let run = Path::new("/p/runs/s-1");
        assert_eq!(next_command(run, true, None), "next: microbench analyze /p/runs/s-1");
        assert_eq!(next_command(Path::new("/p/it's"), true, None), r"next: microbench analyze '/p/it'\''s'");
        assert_eq!(next_command(run, false, None), "next: microbench run --resume /p/runs/s-1");
        let shard = Some(Shard { index: 1, of: 3 });
        assert_eq!(next_command(run, true, shard), "next: microbench merge with all 3 shards, once all are complete");
    }

    #[test]
    fn wall_time_has_two_units_at_most() {
        let times = [(0.25, "0.2 s"), (59.0, "59.0 s"), (61.0, "1 min 01 s"), (3_960.0, "1 h 06 min")];
        for (seconds, shown) in times {
            assert_eq!(wall_time(Duration::from_secs_f64(seconds)), shown);
        }
    }
}
