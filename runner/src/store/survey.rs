//! What the files of a run say has become of it: its sessions, each trial's outcome, whether it is complete.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context;
use microbench_formats::digests::Digests;
use microbench_formats::host::HostKind;
use microbench_formats::journal::{Damage, records};
use microbench_formats::plan::Plan;
use microbench_formats::record::Record;
use microbench_formats::shard::Shard;
use microbench_study::plan::NOISE;
use serde::Serialize;

use super::directory::Directory;
use super::merge::Part;
use crate::store::journal::{self, Owner, Progress};
use crate::store::stages;

/// One session of a run: the first, or one that went on with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Session {
    /// When it began, RFC 3339.
    pub started: String,
    /// Where its trials executed.
    pub host: HostKind,
    /// Hosts that shared them.
    pub hosts: u32,
    /// Version of microbench.
    pub version: String,
    /// Trials that it ended, warm-ups left out.
    pub trials: u32,
    /// The part of the plan that it executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// Name of the host, of a shard.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub machine: String,
    /// Why its VMMs were not isolated from the host; `None` where they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unisolated: Option<String>,
}

/// Why VMMs of `sessions` were not isolated, by the first of which it is true; `None` where they were in each.
#[must_use]
pub fn unisolated(sessions: &[Session]) -> Option<&str> {
    sessions.iter().find_map(|session| session.unisolated.as_deref())
}

/// What a trial came to, by the execution of it that counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// VMs that completed their protocol.
    pub ok: u32,
    /// VMs that did not.
    pub failed: u32,
    /// Something disturbed it.
    pub invalid: bool,
}

/// What a journal says of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The sessions, in order.
    pub sessions: Vec<Session>,
    /// Trials that have ended, by index.
    pub outcomes: BTreeMap<u32, Outcome>,
    /// Trials that there will be: those of the plan, or as many as the stopping rule found to be enough.
    pub planned: usize,
    /// Those of them that are still to be executed, by index.
    pub missing: BTreeSet<u32>,
    /// The files that each session began with.
    pub digests: Vec<Digests>,
    /// Number of the journal's last line, when it is torn.
    pub torn: Option<usize>,
}

/// Reads the journal `bytes` of a run of this plan, or of a shard of it.
///
/// # Errors
/// The first whole line that is damaged.
pub fn survey(plan: &Plan, shard: Option<Shard>, bytes: &[u8]) -> Result<Survey, Damage> {
    let progress = Progress { shard, ..journal::progress_of(bytes, plan.give_up_after)? };
    let mut sessions: Vec<Session> = Vec::new();
    let mut outcomes: BTreeMap<u32, Outcome> = BTreeMap::new();
    let (mut warm, mut disturbed) = (false, false);
    for record in records(bytes) {
        match record? {
            Record::RunStart { host, hosts, started, version, shard, machine, unisolated, .. } => {
                sessions.push(Session { started, host, hosts, version, trials: 0, shard, machine, unisolated });
            }
            Record::TrialStart { warmup, .. } => (warm, disturbed) = (warmup, false),
            Record::Invalid { .. } => disturbed = true,
            Record::TrialEnd { trial, ok, failed, .. } if !warm => {
                if let Some(session) = sessions.last_mut() {
                    session.trials += 1;
                }
                // As samples have it: the execution that nothing disturbed counts, else the last.
                if outcomes.get(&trial).is_none_or(|held| held.invalid) {
                    outcomes.insert(trial, Outcome { ok, failed, invalid: disturbed });
                }
            }
            _ => {}
        }
    }
    let missing: BTreeSet<u32> = stages::missing(plan, &progress, None).iter().map(|trial| trial.index).collect();
    outcomes.retain(|trial, _| !missing.contains(trial));
    Ok(Survey {
        sessions,
        outcomes,
        planned: needed(plan, &progress),
        missing,
        digests: progress.digests,
        torn: progress.torn,
    })
}

/// Trials that there will be.
fn needed(plan: &Plan, progress: &Progress) -> usize {
    let blocks = progress.enough.unwrap_or(u32::MAX);
    let own = |block: u32| progress.shard.is_none_or(|shard| shard.contains_block(block));
    let needed = plan.trials.iter().filter(|trial| trial.instrument.is_some() || trial.block < blocks);
    needed.filter(|trial| own(trial.block)).count()
}

/// What kind of run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// VMs were measured.
    Measured,
    /// A table that somebody else measured.
    Imported,
    /// A cell against itself, by `selftest aa`.
    Noise,
}

/// Whether a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Every trial has ended.
    Complete,
    /// Trials are missing, and nobody executes them.
    Interrupted,
    /// A process executes it.
    Running,
    /// Its files cannot be read.
    Unreadable,
}

/// A run, in a list of runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its folder's name.
    pub name: String,
    /// Its folder.
    pub path: String,
    /// Its study; empty when its plan cannot be read.
    pub study: String,
    /// What kind of run it is.
    pub kind: Kind,
    /// The part of the plan that it executes; `None` for all of it.
    pub shard: Option<Shard>,
    /// Names of the shards that it was merged of; empty when it was not.
    pub merged: Vec<Part>,
    /// Where its trials executed; `None` before the first session.
    pub host: Option<HostKind>,
    /// When its first session began, or it was made, RFC 3339.
    pub begun: String,
    /// Whether it is over.
    pub state: State,
    /// The process that executes it.
    pub owner: Option<Owner>,
    /// Why it is unreadable.
    pub reason: Option<String>,
    /// Trials that have ended.
    pub trials_ended: usize,
    /// Trials that there will be.
    pub trials_planned: usize,
    /// VMs that failed, in the executions that count.
    pub failed_vms: u32,
    /// Bytes of all its files.
    pub bytes: u64,
    /// Its sessions, in order.
    pub sessions: Vec<Session>,
}

/// A run as it is on disk: its place in a list, and what is behind it when it can be read.
#[must_use]
pub fn entry(run: &Directory, begun: jiff::Timestamp) -> (Entry, Option<(Plan, Survey)>) {
    let mut entry = Entry {
        name: run.name(),
        path: run.path().display().to_string(),
        study: String::new(),
        kind: Kind::Measured,
        shard: run.shard().unwrap_or_default(),
        merged: super::merge::parts(run).unwrap_or_default(),
        host: None,
        begun: begun.strftime("%FT%TZ").to_string(),
        state: State::Unreadable,
        owner: None,
        reason: None,
        trials_ended: 0,
        trials_planned: 0,
        failed_vms: 0,
        bytes: bytes(run.path()),
        sessions: Vec::new(),
    };
    let (plan, survey) = match read(run) {
        Ok(found) => found,
        Err(error) => {
            entry.reason = Some(microbench_formats::describe::describe(error.as_ref()));
            return (entry, None);
        }
    };
    entry.study.clone_from(&plan.study);
    entry.host = survey.sessions.last().map(|session| session.host);
    entry.kind = match entry.host {
        Some(HostKind::Imported) => Kind::Imported,
        _ if plan.study.ends_with(NOISE) => Kind::Noise,
        _ => Kind::Measured,
    };
    entry.owner = journal::holder(run.path());
    entry.state = match (&entry.owner, survey.missing.len()) {
        (Some(_), _) => State::Running,
        (None, 0) => State::Complete,
        (None, _) => State::Interrupted,
    };
    entry.trials_planned = survey.planned;
    entry.trials_ended = survey.planned - survey.missing.len();
    entry.failed_vms = survey.outcomes.values().filter(|outcome| !outcome.invalid).map(|outcome| outcome.failed).sum();
    entry.sessions.clone_from(&survey.sessions);
    (entry, Some((plan, survey)))
}

fn read(run: &Directory) -> anyhow::Result<(Plan, Survey)> {
    let (plan, _) = run.plan()?;
    let path = run.path().join(journal::FILE);
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        bytes => bytes.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let survey = survey(&plan, run.shard()?, &bytes).map_err(|damage| journal::damaged(&path, &damage))?;
    run.verify(&survey.digests)?;
    Ok((plan, survey))
}

/// Bytes of every file below `folder`; what cannot be read counts nothing, a link counts itself.
#[must_use]
pub fn bytes(folder: &Path) -> u64 {
    files(folder).iter().map(|(_, bytes)| bytes).sum()
}

/// Every file below `folder` with its bytes, sorted; folders that are links are not followed.
#[must_use]
pub fn files(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
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
