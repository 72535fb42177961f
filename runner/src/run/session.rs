//! Executes the trials of a run that are missing, in the plan's order, and journals each as it ends.

use std::collections::{BTreeMap, BTreeSet};
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
use microbench_formats::record::{FailureReason, Interference, ProbeError, Record};
use microbench_formats::terminal::wrapped_to;
use microbench_formats::version::FORMAT_VERSION;
use microbench_measure::errln;
use microbench_measure::guest::console::FILE_LIMIT;
use microbench_measure::sandbox;
use microbench_measure::sys::durable;
use microbench_measure::terminal::log;
use microbench_measure::terminal::progress::{Step, columns, format_remaining, print_line, render_bar};
use microbench_measure::terminal::screen::Stream;
use microbench_measure::trial::budget::{self, Budget};
use microbench_measure::trial::request::TrialRequest;
use tracing::{debug, info};

use super::estimate::Estimate;
use super::line::{Line, Status};
use super::pause;
use crate::store::directory::Directory;
use crate::store::journal::{self, Journal, Owner, Progress};
use crate::store::stages;

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
const GRACE: Duration = Duration::from_secs(30);

/// Asks the session to stop after the current trial, and ends the process after [`GRACE`], or at once when asked a second time: the
/// kernel then ends everything in the sandbox, and the trial is run again by the next session.
pub fn request_stop(signal: i32) {
    if STOPPED_BY.swap(signal, Ordering::SeqCst) != 0 {
        std::process::exit(128 + signal);
    }
    let grace = GRACE.as_secs();
    let again = if signal == libc::SIGINT { "Ctrl-C again" } else { "a second signal" };
    print_line(&wrapped_to(
        columns(),
        &format!(
            "microbench: stopping after this trial, which has {grace} s to end; {again} ends it at once, and it will be run again \
             (`--resume` goes on either way)"
        ),
        2,
    ));
    pause::over();
    let end = move || {
        std::thread::sleep(GRACE);
        print_line(&format!("microbench: the trial did not end within {grace} s: it will be run again"));
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

/// Listens for signals on a thread of its own. SIGHUP has no effect where it was ignored at the start (`nohup`).
///
/// # Errors
/// When no thread or runtime can be had.
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
                let [Ok(mut int), Ok(mut term), Ok(mut hup), Ok(mut stop), Ok(mut go_on)] = kinds.map(signal) else {
                    return;
                };
                loop {
                    tokio::select! {
                        // A stop and the end of it that are seen together came in this order.
                        biased;
                        _ = int.recv() => request_stop(libc::SIGINT),
                        _ = term.recv() => request_stop(libc::SIGTERM),
                        _ = hup.recv(), if hangs_up => request_stop(libc::SIGHUP),
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

/// How a stage goes: what is left, what runs, how long it takes.
#[derive(Debug)]
struct Stage {
    /// Trials, warm-ups among them.
    all: usize,
    /// Those that have not ended, in order.
    left: Vec<TrialRequest>,
    /// What runs now, the last begun last, each since when.
    now: Vec<(TrialRequest, Instant)>,
    begun: Instant,
    /// Share of the work that is done, and the time that the rest takes, as of the last trial's end.
    share: f64,
    until: Option<(Duration, Instant)>,
}

impl Stage {
    fn new(trials: &[TrialRequest]) -> Self {
        let begun = Instant::now();
        Self { all: trials.len(), left: trials.to_vec(), now: Vec::new(), begun, share: 0.0, until: None }
    }

    /// A trial has begun.
    fn begins(&mut self, trial: &TrialRequest) {
        self.now.retain(|(other, _)| other != trial);
        self.now.push((trial.clone(), Instant::now()));
    }

    /// A trial has ended.
    fn ends(&mut self, trial: &TrialRequest, estimate: &Estimate, plan: &Plan) {
        self.left.retain(|other| other != trial);
        self.now.retain(|(other, _)| other != trial);
        self.share = estimate.share(&self.left, plan);
        self.until = estimate.left(&self.left, plan, self.begun.elapsed()).map(|left| (left, Instant::now()));
    }

    fn ended(&self) -> usize {
        self.all - self.left.len()
    }

    /// The time that the rest takes.
    fn rest(&self) -> Option<Duration> {
        self.until.map(|(left, of)| left.saturating_sub(of.elapsed()))
    }

    /// The live line.
    fn line(&self, columns: usize) -> String {
        const WIDEST_BAR: usize = 24;
        let (ended, all) = (self.ended(), self.all);
        let now = self.now.last().map_or_else(String::new, |(trial, since)| {
            let warm = if trial.warmup { " (warm-up)" } else { "" };
            format!("  {}{warm} {} s", trial.cell, since.elapsed().as_secs())
        });
        let stopping = if stop_requested().is_some() { ", stopping" } else { "" };
        let bar = render_bar(self.share, (columns / 4).min(WIDEST_BAR));
        let rest = match self.rest() {
            Some(rest) if columns < 60 => format!("{:#} left", HumanDuration(rest)),
            rest => format!("{} left", format_remaining(rest)),
        };
        format!("[{bar}] {ended}/{all}, {rest}{stopping}{now}")
    }
}

/// A session in progress: the journal, what is done and what is not, the live line.
#[derive(Debug)]
pub struct Session<'a> {
    plan: &'a Plan,
    journal: Journal,
    run: Directory,
    step: Option<Step>,
    stage: Arc<Mutex<Stage>>,
    estimate: Estimate,
    /// Trials that have ended in this session, by how.
    counts: BTreeMap<Status, u32>,
    failed: u32,
    progress: Progress,
    /// What this stage has still to execute.
    todo: Vec<TrialRequest>,
    /// What the stopping rule waits for: blocks before its next look, or `None` when it has looked for the last time.
    horizon: Option<u32>,
}

impl<'a> Session<'a> {
    /// Opens the journal, and works out what is missing.
    ///
    /// # Errors
    /// When the journal is damaged or in use, or the plan is not the one that the run was begun with.
    pub fn open(run: &Directory, plan: &'a Plan, owner: &Owner) -> anyhow::Result<Self> {
        let progress = journal::progress(run.path(), plan.give_up_after)?;
        run.verify(&progress.digests)?;
        let journal = Journal::open(run.path(), owner)?;
        // Again, now that nobody else can write.
        let progress = Progress { torn: progress.torn, ..journal::progress(run.path(), plan.give_up_after)? };
        if let Some(line) = progress.torn {
            errln!(
                "microbench: line {line} of the journal was cut off by the end of an earlier session, and is dropped"
            );
        }
        if journal.owner_was_lost() {
            errln!(
                "microbench: {} is empty or damaged, and is written again; no trial is lost, only who \
                 executed the last session",
                run.path().join(journal::OWNER).display()
            );
        }
        let horizon = stages::first(plan, &progress);
        let mut session = Self {
            plan,
            journal,
            run: run.clone(),
            step: None,
            stage: Arc::new(Mutex::new(Stage::new(&[]))),
            estimate: Estimate::default(),
            counts: BTreeMap::new(),
            failed: 0,
            progress,
            todo: Vec::new(),
            horizon,
        };
        session.stage()?;
        Ok(session)
    }

    /// Goes on to the next trials: those up to the next look of the stopping rule, which is taken first when the trials before it
    /// have ended, and with them those that something disturbed. [`Self::todo`] is empty when nothing is left.
    ///
    /// # Errors
    /// When the journal cannot be read or written.
    pub fn stage(&mut self) -> anyhow::Result<()> {
        self.refuse_beyond_limit()?;
        loop {
            self.todo = stages::due(self.plan, stages::missing(self.plan, &self.progress, self.horizon));
            let (Some(rule), Some(blocks)) = (&self.plan.precision, self.horizon) else { return Ok(()) };
            if !self.todo.is_empty() {
                return Ok(());
            }
            let cells = stages::look(self.plan, rule, self.run.path())?;
            if self.step.is_some() {
                print_line(&wrapped_to(columns(), &stages::said(rule, blocks, &cells), 2));
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

    /// Journals the trials that are beyond the plan's limit as not run, each VM with the reason.
    fn refuse_beyond_limit(&mut self) -> anyhow::Result<()> {
        let beyond = stages::beyond(self.plan, self.run.path())?;
        if beyond.is_empty() {
            return Ok(());
        }
        let mut cells = BTreeMap::new();
        for trial in stages::missing(self.plan, &self.progress, None) {
            let Some(reason) = beyond.get(&trial.cell).filter(|_| trial.instrument.is_none()) else { continue };
            let records = budget::skipped_records(&trial, vms(&trial, self.plan), FailureReason::BeyondLimit, reason);
            self.journal.append(&records)?;
            self.progress.ended(trial.index, trial.attempt, false);
            *self.counts.entry(Status::Skip).or_default() += 1;
            cells.insert(trial.cell, reason);
        }
        if self.step.is_some() {
            for (cell, reason) in cells {
                print_line(&wrapped_to(columns(), &format!("{cell} is not run: {reason}"), 2));
            }
        }
        Ok(())
    }
}

impl Session<'_> {
    /// Journals on what and how this session executes. `hosts` is the number of hosts that share the trials, `machine`
    /// the name of the host within which trials are compared, `unisolated` why VMMs are not isolated from it, which is
    /// said on the terminal as well.
    ///
    /// # Errors
    /// When an earlier session executed on another kind of host: their times do not compare. When the disk refuses.
    pub fn begin(
        &mut self,
        host: HostKind,
        hosts: u32,
        machine: &str,
        unisolated: Option<String>,
    ) -> anyhow::Result<()> {
        if let Some(earlier) = self.progress.host.filter(|earlier| *earlier != host) {
            bail!(Code::OtherHostKind.says(format!(
                "this run was begun on the host {earlier}, whose times do not compare with those of {host}"
            )));
        }
        self.progress.host = Some(host);
        info!(%host, hosts, machine, trials = self.todo.len(), "session of {} begins", self.run.name());
        if let Some(why) = &unisolated {
            let words =
                format!("warning: VMMs are not isolated from this machine: {why}; --allow-unisolated permits it");
            print_line(&wrapped_to(columns(), &words, 2));
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
            shard: self.progress.shard,
            machine: if self.progress.shard.is_some() { machine.to_owned() } else { String::new() },
            unisolated,
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
    pub fn todo(&self) -> &[TrialRequest] {
        &self.todo
    }

    /// Shows progress from here on, of `trials`, warm-ups among them, on so many hosts.
    pub fn show(&mut self, trials: &[TrialRequest], hosts: usize) {
        let host = self.progress.host.map_or_else(|| "unknown".to_owned(), |host| host.to_string());
        let warm = trials.iter().filter(|trial| trial.warmup).count();
        let vms = trials.iter().map(|trial| vms(trial, self.plan) as usize).sum();
        let cells: BTreeSet<&str> = trials.iter().map(|trial| trial.cell.as_str()).collect();
        let of = |n: usize, one: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") };
        let warm_ups = if warm == 0 { String::new() } else { format!(" and {}", of(warm, "warm-up")) };
        let clock = if self.progress.host == Some(HostKind::Emulated) { "virtual time" } else { "wall time" };
        let words = format!(
            "{}{warm_ups} of {}, {}, on {} ({host}); in brackets the {clock} from a trial's first event to its last",
            of(trials.len() - warm, "trial"),
            of(cells.len(), "cell"),
            of(vms, "VM"),
            of(hosts, "host"),
        );
        if let Some(step) = self.step.take() {
            step.clear();
        }
        print_line(&wrapped_to(columns(), &words, 2));
        self.stage = Arc::new(Mutex::new(Stage::new(trials)));
        let stage = Arc::clone(&self.stage);
        self.step =
            Some(Step::live("run", move |columns| stage.lock().unwrap_or_else(PoisonError::into_inner).line(columns)));
    }

    /// Takes note that a trial begins.
    pub fn begins(&self, trial: &TrialRequest) {
        debug!(trial = trial.index, attempt = trial.attempt, warmup = trial.warmup, "{} begins", trial.cell);
        if trial.attempt > 0 && !trial.warmup {
            info!(trial = trial.index, attempt = trial.attempt, "{} is executed again", trial.cell);
        }
        self.stage.lock().unwrap_or_else(PoisonError::into_inner).begins(trial);
    }

    /// Journals a trial that has ended, and says so; `took` is this machine's time.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn ended(
        &mut self,
        trial: &TrialRequest,
        records: &[Record],
        logs: &BTreeMap<String, String>,
        took: Duration,
    ) -> anyhow::Result<()> {
        for (name, text) in logs {
            if !name.contains('/') && !name.starts_with('.') {
                durable::write_lazily(&self.run.console().join(name), text.as_bytes())?;
            }
        }
        self.journal.append(records)?;
        log_end(trial, records, took);
        self.progress.budget.observe(records);
        let disturbed = records.iter().any(|record| matches!(record, Record::Invalid { .. }));
        let failures = records.iter().filter(|record| matches!(record, Record::Failure { .. })).count();
        if !trial.warmup {
            self.failed += u32::try_from(failures).unwrap_or(u32::MAX);
        }
        self.todo.retain(|todo| todo != trial);
        if !trial.warmup {
            self.progress.ended(trial.index, trial.attempt, disturbed);
        }
        let line = Line::of(self.plan, trial, records, self.run.path());
        if !trial.warmup {
            *self.counts.entry(line.status).or_default() += 1;
        }
        if line.status != Status::Skip {
            self.estimate.saw(trial, self.plan, took);
        }
        self.tell(trial, &line);
        Ok(())
    }

    /// Shows a trial that has ended.
    fn tell(&self, trial: &TrialRequest, line: &Line) {
        let (ended, all, rest) = {
            let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
            stage.ends(trial, &self.estimate, self.plan);
            (stage.ended(), stage.all, stage.rest())
        };
        let widest = self.plan.cells.iter().map(|cell| cell.id.chars().count()).max().unwrap_or(0);
        let mut lines = line.text(columns(), widest, |status, word| Stream::Err.paint(&style(status), word));
        if let (Some(first), Some(false)) = (lines.first_mut(), self.step.as_ref().map(Step::is_live)) {
            // What the live line says, where there is none.
            first.push_str(&format!(" ({ended}/{all}, {} left)", format_remaining(rest)));
        }
        if self.step.is_some() {
            print_line(&lines.join("\n"));
        }
    }

    /// Journals a trial that the emulated host took down with it; it is run again as a disturbed one is.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn lost(&mut self, trial: &TrialRequest, vms: u32, message: &str, took: Duration) -> anyhow::Result<()> {
        let mut records = budget::skipped_records(trial, vms, FailureReason::EmulatedHost, message);
        let end = records.len() - 1;
        records.insert(end, Record::Invalid { reason: Interference::EmulatedHost, message: message.to_owned() });
        self.ended(trial, &records, &BTreeMap::new(), took)
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
            debug!("every trial has ended");
            self.journal.append(&[Record::RunEnd { ended: jiff::Timestamp::now().to_string() }])?;
        }
        if let Some(step) = self.step.take() {
            let left = stages::missing(self.plan, &self.progress, None).len();
            let counts = (self.counts.iter())
                .map(|(status, count)| format!("{count} {}", status.word().to_lowercase()))
                .collect::<Vec<_>>()
                .join(", ");
            step.done(&match (complete, self.failed) {
                (true, 0) => format!("complete, no VM failed; trials: {counts}"),
                (true, failed) => {
                    format!("complete, {failed} VMs failed (recorded with their reasons); trials: {counts}")
                }
                (false, _) => format!("stopped with {left} trials to go; trials: {counts}"),
            });
        }
        info!(complete, failed_vms = self.failed, dropped = log::dropped_events(), "session ends");
        match (complete, stop_requested()) {
            (false, Some(signal)) => Ok(Ended::Stopped { signal }),
            _ => Ok(Ended::Complete { failed: self.failed }),
        }
    }
}

/// Logs a trial that has ended: its records in short, and why it is executed again or was not.
fn log_end(trial: &TrialRequest, records: &[Record], took: Duration) {
    let (index, attempt) = (trial.index, trial.attempt);
    let (ok, failed) = match records.last() {
        Some(Record::TrialEnd { ok, failed, .. }) => (*ok, *failed),
        _ => (0, 0),
    };
    let (n, ms) = (records.len(), took.as_millis());
    debug!(trial = index, attempt, ok, failed, records = n, ms, "{} ended", trial.cell);
    for record in records {
        match record {
            Record::Invalid { reason, message } => {
                info!(trial = index, attempt, "{} was disturbed and does not count: {reason}: {message}", trial.cell);
            }
            Record::Failure { vm, reason, stage, message } => {
                info!(trial = index, attempt, vm, "{} failed: {reason} at {stage}: {message}", trial.cell);
            }
            _ => {}
        }
    }
}

/// The colour of a status.
fn style(status: Status) -> Style {
    match status {
        Status::Pass => Style::new().green().bold(),
        Status::Fail => Style::new().red().bold(),
        Status::Invalid => Style::new().magenta().bold(),
        Status::Skip => Style::new().yellow().bold(),
        Status::Warm => Style::new().dim(),
    }
}

/// Number of VMs that a trial starts.
#[must_use]
pub fn vms(trial: &TrialRequest, plan: &Plan) -> u32 {
    let cell = plan.cells.iter().find(|cell| cell.id == trial.cell);
    if trial.warmup { 1 } else { cell.map_or(1, |cell| cell.concurrency) }
}

/// `trials` as one host executes them: each distinct machine is preceded by one warm-up, if the plan asks for it.
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
