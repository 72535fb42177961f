//! The status of a run, from its files: its sessions, the outcome of each trial, failures, and whether the run is
//! complete.
//!
//! [`RunStatus`] is the one source of the counts that `run`, `runs`, `show`, `status` and `merge` print.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context;
use microbench_formats::build::Build;
use microbench_formats::describe::{describe, one_line};
use microbench_formats::digests::Digests;
use microbench_formats::host::HostKind;
use microbench_formats::input;
use microbench_formats::journal::{Damage, records_of_plan};
use microbench_formats::label::Label;
use microbench_formats::plan::Plan;
use microbench_formats::record::{FailureReason, Record};
use microbench_formats::shard::Shard;
use microbench_study::plan::NOISE;
use serde::Serialize;

use super::directory::Directory;
use super::merge::Part;
use crate::store::journal::{self, Owner, Progress};
use crate::store::schedule;

/// Longest message of a failure, characters.
const MAX_MESSAGE: usize = 400;

/// One session of a run: the first one, or one that resumed the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Session {
    /// Start, RFC 3339.
    pub started: String,
    /// The kind of host that executed the trials.
    pub host: HostKind,
    /// Number of hosts among which the trials were divided.
    pub hosts: u32,
    /// Version of microbench.
    pub version: String,
    /// Sources and compiler of microbench; `None` for runs of formats 5 to 7 and imported runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
    /// Trials whose counted execution ended in this session, without warm-ups.
    pub trials: u32,
    /// The part of the plan that the session executed; `None` for the whole plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// Name of the host that executed a shard; empty for a run of a whole plan.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub machine: String,
    /// Why the VMMs were not isolated from the host; `None` when they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unisolated: Option<String>,
    /// The repetition, from 0, that the session executed; `None` for a plan without repetitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repetition: Option<u32>,
    /// The run's label; `None` without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
}

/// Why VMMs were not isolated, from the first session without isolation; `None` when every session had isolation.
#[must_use]
pub fn unisolated(sessions: &[Session]) -> Option<&str> {
    sessions.iter().find_map(|session| session.unisolated.as_deref())
}

/// The run's label, that of the first session with one; `None` without a label.
#[must_use]
pub fn label(sessions: &[Session]) -> Option<&Label> {
    sessions.iter().find_map(|session| session.label.as_ref())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialResult {
    /// Every VM completed its protocol.
    Passed,
    /// A VM failed.
    Failed,
    /// Every execution of the trial was disturbed.
    Invalid,
    /// No VM was measured: the host cannot run the cell, or the cell was given up or is beyond the limit.
    Skipped,
}

/// The outcome of a trial: that of its counted execution, in VMs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// VMs that completed their protocol.
    pub ok: u32,
    /// VMs that failed.
    pub failed: u32,
    /// VMs that were skipped: see [`is_skip`].
    pub skipped: u32,
    /// Whether the execution was disturbed.
    pub invalid: bool,
}

impl Outcome {
    #[must_use]
    pub fn result(&self) -> TrialResult {
        match self {
            Self { invalid: true, .. } => TrialResult::Invalid,
            Self { failed: 1.., .. } => TrialResult::Failed,
            Self { skipped: 1.., .. } => TrialResult::Skipped,
            _ => TrialResult::Passed,
        }
    }
}

/// Whether a failure with this reason means that the VM was skipped: the host cannot run it, or it was not started on
/// purpose.
#[must_use]
pub fn is_skip(reason: FailureReason) -> bool {
    matches!(reason, FailureReason::NotApplicable | FailureReason::GivenUp | FailureReason::BeyondLimit)
}

/// Failures of several VMs with the same reason, stage and message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailureGroup {
    /// Number of VMs.
    pub vms: u32,
    /// Their cells, in the order of the journal.
    pub cells: Vec<String>,
    /// Why they failed.
    pub reason: FailureReason,
    /// The event that they did not reach.
    pub stage: String,
    /// Message without the VM's console output.
    pub message: String,
}

impl FailureGroup {
    /// `20 VMs of crash/20: exited before http.ok: the VMM exited with code 9`.
    #[must_use]
    pub fn line(&self) -> String {
        let vms = if self.vms == 1 { "1 VM".to_owned() } else { format!("{} VMs", self.vms) };
        let cells = match self.cells.as_slice() {
            cells @ ([] | [_] | [_, _] | [_, _, _]) => cells.join(", "),
            [first, second, others @ ..] => format!("{first}, {second} and {} more cells", others.len()),
        };
        format!("{vms} of {cells}: {}: {}", self.reason.with_event(&self.stage), self.message)
    }
}

/// Counts `vms` VMs of `cell` that failed with this message into `groups`. Console output in the message, which differs
/// from VM to VM, is dropped.
pub fn count_failure(groups: &mut Vec<FailureGroup>, cell: &str, reason: FailureReason, stage: &str, message: &str) {
    let message = one_line(shared_message(message), MAX_MESSAGE);
    let is_same = |group: &&mut FailureGroup| {
        (group.reason, group.stage.as_str(), group.message.as_str()) == (reason, stage, message.as_str())
    };
    let Some(group) = groups.iter_mut().find(is_same) else {
        groups.push(FailureGroup { vms: 1, cells: vec![cell.to_owned()], reason, stage: stage.to_owned(), message });
        return;
    };
    group.vms += 1;
    if group.cells.iter().all(|known| known != cell) {
        group.cells.push(cell.to_owned());
    }
}

/// The part of a failure's message that VMs with the same failure have in common: everything before the console output.
///
/// ```
/// use microbench::store::status::shared_message;
///
/// let message = "the VMM exited with code 9; console: consoles/0-1.log";
/// assert_eq!(shared_message(message), "the VMM exited with code 9");
/// ```
#[must_use]
pub fn shared_message(message: &str) -> &str {
    message.split_once("; console:").map_or(message, |(shared, _)| shared)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunStatus {
    /// The sessions, in order.
    pub sessions: Vec<Session>,
    /// Outcomes of the trials that have ended, by index of the trial.
    pub outcomes: BTreeMap<u32, Outcome>,
    /// Number of trials that the run executes: see [`schedule::planned`].
    pub planned: usize,
    /// Indices of the trials that have not ended.
    pub missing: BTreeSet<u32>,
    /// Failures of the counted executions, the most frequent first.
    pub failures: Vec<FailureGroup>,
    /// Disturbed executions that were repeated.
    pub repeated: u32,
    /// Digests of the run's files at the start of each session.
    pub digests: Vec<Digests>,
    /// Number of the journal's last line when that line is cut off.
    pub torn: Option<usize>,
}

/// A VM's failure in the journal.
type Failure = (FailureReason, String, String);

impl RunStatus {
    /// The status of a run of `plan`, or of a shard of it, from the bytes of its journal.
    ///
    /// # Errors
    /// The first complete line that is damaged, or contradicts the plan.
    pub fn from_journal(plan: &Plan, shard: Option<Shard>, bytes: &[u8]) -> Result<Self, Damage> {
        let progress = Progress { shard, ..journal::progress_of(bytes, plan.give_up_after)? };
        let mut sessions: Vec<Session> = Vec::new();
        // By trial: the outcome, the session, the cell and the failures of the execution that counts.
        let mut counted: BTreeMap<u32, (Outcome, usize, String, Vec<Failure>)> = BTreeMap::new();
        let (mut cell, mut warmup, mut disturbed, mut repeated) = (String::new(), false, false, 0);
        let mut failures: Vec<Failure> = Vec::new();
        for record in records_of_plan(bytes, plan) {
            match record? {
                Record::RunStart {
                    host,
                    hosts,
                    started,
                    version,
                    build,
                    shard,
                    machine,
                    unisolated,
                    repetition,
                    label,
                    ..
                } => {
                    let trials = 0;
                    sessions.push(Session {
                        started,
                        host,
                        hosts,
                        version,
                        build: build.map(|build| *build),
                        trials,
                        shard,
                        machine,
                        unisolated,
                        repetition,
                        label,
                    });
                }
                Record::TrialStart { warmup: is_warmup, cell: name, .. } => {
                    (cell, warmup, disturbed) = (name, is_warmup, false);
                    failures.clear();
                }
                Record::Invalid { .. } => disturbed = true,
                Record::Failure { reason, stage, message, .. } => failures.push((reason, stage, message)),
                Record::TrialEnd { trial, ok, failed, .. } if !warmup => {
                    let skipped = failures.iter().filter(|(reason, ..)| is_skip(*reason)).count();
                    let skipped = u32::try_from(skipped).unwrap_or(u32::MAX).min(failed);
                    let outcome = Outcome { ok, failed: failed - skipped, skipped, invalid: disturbed };
                    // As in samples: the undisturbed execution counts, otherwise the last one.
                    let earlier = counted.get(&trial).map(|(outcome, ..)| outcome.invalid);
                    repeated += u32::from(earlier == Some(true));
                    if earlier.unwrap_or(true) {
                        let session = sessions.len().saturating_sub(1);
                        counted.insert(trial, (outcome, session, cell.clone(), std::mem::take(&mut failures)));
                    }
                }
                _ => {}
            }
        }
        let missing: BTreeSet<u32> = schedule::missing(plan, &progress, None).iter().map(|trial| trial.index).collect();
        counted.retain(|trial, _| !missing.contains(trial));
        let mut groups = Vec::new();
        for (outcome, session, cell, failures) in counted.values() {
            if let Some(session) = sessions.get_mut(*session) {
                session.trials += 1;
            }
            for (reason, stage, message) in failures.iter().filter(|_| !outcome.invalid) {
                count_failure(&mut groups, cell, *reason, stage, message);
            }
        }
        groups.sort_by_key(|group| std::cmp::Reverse(group.vms));
        Ok(Self {
            sessions,
            outcomes: counted.into_iter().map(|(trial, (outcome, ..))| (trial, outcome)).collect(),
            planned: schedule::planned(plan, &progress),
            missing,
            failures: groups,
            repeated,
            digests: progress.digests,
            torn: progress.torn,
        })
    }

    /// Number of trials that have ended.
    #[must_use]
    pub fn ended(&self) -> usize {
        self.planned - self.missing.len()
    }

    /// VMs that failed in valid trials; skipped VMs are not counted.
    #[must_use]
    pub fn failed_vms(&self) -> u32 {
        self.outcomes.values().filter(|outcome| !outcome.invalid).map(|outcome| outcome.failed).sum()
    }

    /// Number of trials with this result.
    #[must_use]
    pub fn count(&self, result: TrialResult) -> usize {
        self.outcomes.values().filter(|outcome| outcome.result() == result).count()
    }
}

/// The kind of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// microbench measured VMs.
    Measured,
    /// The values were imported from a table.
    Imported,
    /// An A/A test, by `selftest noise-floor`.
    Noise,
}

/// The state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Every trial has ended.
    Complete,
    /// Trials are missing, and no process executes them.
    Interrupted,
    /// A process executes the run.
    Running,
    /// The run's files cannot be read.
    Unreadable,
}

/// A run in the list of runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Name of the run's folder.
    pub name: String,
    /// Path of the run's folder.
    pub path: String,
    /// Name of the study; empty when the plan cannot be read.
    pub study: String,
    /// The kind of run.
    pub kind: Kind,
    /// The part of the plan that the run executes; `None` for the whole plan.
    pub shard: Option<Shard>,
    /// The shards of a merged run; empty for other runs.
    pub merged: Vec<Part>,
    /// The kind of host of the last session; `None` before the first session.
    pub host: Option<HostKind>,
    /// Start of the first session, or creation of the run, RFC 3339.
    pub begun: String,
    /// The state of the run.
    pub state: State,
    /// The process that executes the run.
    pub owner: Option<Owner>,
    /// Why the run is unreadable.
    pub reason: Option<String>,
    /// Number of trials that have ended.
    pub trials_ended: usize,
    /// Number of trials that the run executes.
    pub trials_planned: usize,
    /// VMs that failed in valid trials; skipped VMs are not counted.
    pub failed_vms: u32,
    /// Size of all files of the run, bytes.
    pub bytes: u64,
    /// The sessions, in order.
    pub sessions: Vec<Session>,
}

/// Reads the run: its entry in the list of runs, and its plan and status unless it is unreadable. `start` is the start
/// of the run, by [`lookup::start_time`](super::lookup::start_time).
#[must_use]
pub fn read_entry(run: &Directory, start: jiff::Timestamp) -> (Entry, Option<(Plan, RunStatus)>) {
    let mut entry = Entry {
        name: run.name(),
        path: run.path().display().to_string(),
        study: String::new(),
        kind: Kind::Measured,
        shard: run.shard().unwrap_or_default(),
        merged: super::merge::read_parts(run).unwrap_or_default(),
        host: None,
        begun: start.strftime("%FT%TZ").to_string(),
        state: State::Unreadable,
        owner: None,
        reason: None,
        trials_ended: 0,
        trials_planned: 0,
        failed_vms: 0,
        bytes: files(run.path()).iter().map(|(_, bytes)| bytes).sum(),
        sessions: Vec::new(),
    };
    let (plan, status) = match read_status(run) {
        Ok(found) => found,
        Err(error) => {
            entry.reason = Some(describe(error.as_ref()));
            return (entry, None);
        }
    };
    entry.study.clone_from(&plan.study);
    entry.host = status.sessions.last().map(|session| session.host);
    entry.kind = match entry.host {
        Some(HostKind::Imported) => Kind::Imported,
        _ if plan.study.ends_with(NOISE) => Kind::Noise,
        _ => Kind::Measured,
    };
    entry.owner = journal::lock_owner(run.path());
    entry.state = match (&entry.owner, status.missing.len()) {
        (Some(_), _) => State::Running,
        (None, 0) => State::Complete,
        (None, _) => State::Interrupted,
    };
    entry.trials_planned = status.planned;
    entry.trials_ended = status.ended();
    entry.failed_vms = status.failed_vms();
    entry.sessions.clone_from(&status.sessions);
    (entry, Some((plan, status)))
}

/// Reads plan and journal of the run, and checks that its files are those of its sessions.
///
/// # Errors
/// When a file cannot be read, is damaged, or was changed after a session.
pub fn read_status(run: &Directory) -> anyhow::Result<(Plan, RunStatus)> {
    let (plan, _) = run.plan()?;
    let path = run.path().join(journal::FILE);
    let bytes = match input::read_in(run.path(), journal::FILE) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        bytes => bytes.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let status =
        RunStatus::from_journal(&plan, run.shard()?, &bytes).map_err(|damage| journal::damage_error(&path, &damage))?;
    run.verify(&status.digests)?;
    Ok((plan, status))
}

/// Every file below `folder` with its size in bytes, sorted by path. Links to folders are not followed; unreadable
/// folders are left out.
#[must_use]
pub fn files(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries.filter_map(Result::ok) {
            match entry.metadata() {
                Ok(data) if data.is_dir() => folders.push(entry.path()),
                Ok(data) => found.push((entry.path(), data.len())),
                Err(_) => {}
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_with_the_same_reason_are_one_line_with_a_count() {
        let mut groups = Vec::new();
        for vm in 0..20 {
            let message = format!("the VMM exited with code 9; console: boot {vm}");
            count_failure(&mut groups, "crash/20", FailureReason::Exited, "http.ok", &message);
        }
        count_failure(&mut groups, "crash/1", FailureReason::Exited, "http.ok", "the VMM exited with code 9");
        count_failure(&mut groups, "late/1", FailureReason::Timeout, "http.ok", "no response");
        assert_eq!(
            groups.iter().map(FailureGroup::line).collect::<Vec<_>>(),
            [
                "21 VMs of crash/20, crash/1: exited before http.ok: the VMM exited with code 9",
                "1 VM of late/1: timeout at http.ok: no response"
            ]
        );
    }

    #[test]
    fn skipped_vms_do_not_make_a_trial_fail() {
        let outcome = |ok, failed, skipped, invalid| Outcome { ok, failed, skipped, invalid }.result();
        assert_eq!(outcome(2, 0, 0, false), TrialResult::Passed);
        assert_eq!(outcome(1, 1, 0, false), TrialResult::Failed);
        assert_eq!(outcome(0, 0, 2, false), TrialResult::Skipped);
        assert_eq!(outcome(0, 1, 1, false), TrialResult::Failed);
        assert_eq!(outcome(2, 0, 0, true), TrialResult::Invalid);
    }
}
