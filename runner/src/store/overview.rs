//! The details of a run, as `show` prints them: plan, hosts, cells, failures, artefacts, files and next commands.

use std::collections::BTreeMap;
use std::path::Path;

use crate::store::identity::Identity;
use microbench_formats::attribution::Attribution;
use microbench_formats::cell::Cell;
use microbench_formats::files::describe_entry;
use microbench_formats::plan::{Plan, Protocol};
use microbench_formats::shard::Shard;
use microbench_measure::artifacts::Artifact;
use microbench_measure::artifacts::lock::Lock;
use serde::Serialize;

use super::directory::Directory;
use super::status::{Entry, FailureGroup, Kind, Outcome, RunStatus, State, TrialResult, files};

/// The details of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overview {
    /// The run, as in the list of runs.
    pub run: Entry,
    pub title: String,
    /// Authors, licence and DOI.
    #[serde(skip_serializing_if = "Attribution::is_empty")]
    pub attribution: Attribution,
    pub protocol: Protocol,
    /// The profile of the manifest; empty without a profile.
    pub profile: String,
    /// Seed of the run order.
    pub seed: u64,
    /// SHA-256 of the plan file at the start of the first session; `None` before the first session.
    pub plan_sha256: Option<String>,
    /// The host in one line; `None` before the first session.
    pub machine: Option<String>,
    /// Fingerprint of the host; `None` before the first session.
    pub fingerprint: Option<String>,
    /// Trials by result for each cell, in the order of the plan.
    pub cells: Vec<CellCount>,
    /// Failures of VMs, the most frequent first.
    pub failures: Vec<FailureGroup>,
    /// Kernels, images and programs of the run.
    pub artifacts: Vec<Artifact>,
    /// The files of the run; the files of a folder are one entry.
    pub files: Vec<FileEntry>,
    /// Useful next commands, each with a description.
    pub next: Vec<[String; 2]>,
}

/// Numbers of a cell's trials by result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CellCount {
    /// [`Cell::id`].
    pub cell: String,
    /// The variant's label.
    pub label: String,
    /// Trials in which every VM completed its protocol.
    pub ok: usize,
    /// Trials in which a VM failed.
    pub failed: usize,
    /// Trials whose executions were all disturbed.
    pub invalid: usize,
    /// Trials that were skipped: the host cannot run them, or the cell was given up or is beyond the limit.
    pub skipped: usize,
    /// Trials that have not ended.
    pub missing: usize,
}

/// A file of a run, or a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileEntry {
    /// Name; that of a folder ends in `/`.
    pub name: String,
    /// Number of files: 1 unless it is a folder.
    pub files: usize,
    /// Total size in bytes.
    pub bytes: u64,
    /// Description.
    pub what: String,
}

impl Overview {
    /// The details of `run`. The commands in [`Self::next`] refer to the run as `named`.
    #[must_use]
    pub fn new(run: &Directory, entry: Entry, plan: &Plan, status: &RunStatus, named: &str) -> Self {
        let identities = super::merge::identities(run);
        let joined = |of: fn(&Identity) -> String| {
            let all: Vec<String> = identities.iter().map(of).collect();
            (!all.is_empty()).then(|| all.join("; "))
        };
        let lock = Lock::read(run.path()).ok().flatten().unwrap_or_default();
        let files = file_entries(run.path());
        let next = next(&entry, &files, plan, named);
        Self {
            title: plan.title.clone(),
            attribution: plan.attribution.clone(),
            protocol: plan.protocol,
            profile: plan.profile.clone(),
            seed: plan.seed,
            plan_sha256: status.digests.first().map(|digests| digests.plan.clone()),
            machine: joined(Identity::line),
            fingerprint: joined(|identity| identity.fingerprint.clone()),
            cells: cells(plan, status),
            failures: status.failures.clone(),
            artifacts: lock.artifacts,
            run: entry,
            files,
            next,
        }
    }
}

/// Numbers of trials by result for each cell of `plan`.
#[must_use]
pub fn cells(plan: &Plan, status: &RunStatus) -> Vec<CellCount> {
    let mut counts: BTreeMap<&str, CellCount> = BTreeMap::new();
    for trial in &plan.trials {
        let count = counts.entry(&trial.cell).or_default();
        match status.outcomes.get(&trial.index).map(Outcome::result) {
            Some(TrialResult::Passed) => count.ok += 1,
            Some(TrialResult::Failed) => count.failed += 1,
            Some(TrialResult::Invalid) => count.invalid += 1,
            Some(TrialResult::Skipped) => count.skipped += 1,
            None => count.missing += usize::from(status.missing.contains(&trial.index)),
        }
    }
    let count_trials = |cell: &Cell| CellCount {
        cell: cell.id.to_string(),
        label: cell.label.to_string(),
        ..counts.get(cell.id.as_str()).cloned().unwrap_or_default()
    };
    plan.cells.iter().map(count_trials).collect()
}

/// The files of the run in `folder`: first those that sessions wrote, then those that were derived from them.
fn file_entries(folder: &Path) -> Vec<FileEntry> {
    let mut found: BTreeMap<(usize, String), FileEntry> = BTreeMap::new();
    for (path, bytes) in files(folder) {
        let Ok(inside) = path.strip_prefix(folder) else { continue };
        let mut parts = inside.components();
        let Some(first) = parts.next().map(|part| part.as_os_str().to_string_lossy().into_owned()) else { continue };
        let name = if parts.next().is_some() { format!("{first}/") } else { first };
        let (rank, description) = describe_entry(&name);
        let entry = found.entry((rank, name.clone())).or_insert_with(|| FileEntry {
            name,
            files: 0,
            bytes: 0,
            what: description.to_owned(),
        });
        entry.files += 1;
        entry.bytes += bytes;
    }
    found.into_values().collect()
}

/// The name of shard `index`, derived from the name of our own shard; `SHARD1` when our name does not end in `KofN`.
fn sibling(named: &str, shard: Shard, index: u32) -> String {
    let end = |index: u32| format!("{index}of{}", shard.of);
    named.strip_suffix(&end(shard.index)).map_or_else(
        || if index == shard.index { named.to_owned() } else { format!("SHARD{index}") },
        |base| base.to_owned() + &end(index),
    )
}

/// The next commands for a run, each with a description.
fn next(entry: &Entry, files: &[FileEntry], plan: &Plan, named: &str) -> Vec<[String; 2]> {
    let has = |name: &str| files.iter().any(|file| file.name == name);
    let mut next: Vec<(String, &str)> = Vec::new();
    match entry.state {
        State::Running => return Vec::new(),
        State::Interrupted if !entry.merged.is_empty() => {}
        State::Interrupted => next.push((format!("microbench run --resume {named}"), "execute the missing trials")),
        State::Complete | State::Unreadable => {}
    }
    if let (State::Complete, Some(shard)) = (entry.state, entry.shard) {
        let all: Vec<String> = (1..=shard.of).map(|index| sibling(named, shard, index)).collect();
        next.push((format!("microbench merge {}", all.join(" ")), "merge the shards, once all are complete"));
    }
    if has("samples.parquet") {
        next.push((format!("microbench plot {named}"), "draw the figures again"));
    } else {
        next.push((format!("microbench analyze {named}"), "compute samples and summary from the journal"));
    }
    let several = plan.cells.iter().any(|cell| cell.variant != plan.cells[0].variant);
    if several && has("samples.parquet") && entry.kind == Kind::Measured {
        next.push((format!("microbench compare {named}"), "compare the variants"));
    }
    next.push((format!("microbench export {named}"), "pack the run into an archive"));
    next.into_iter().map(|(command, description)| [command, description.to_owned()]).collect()
}
