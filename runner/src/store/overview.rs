//! One run from all sides: what was run and where, what each cell came to, what its files are, what can be done next.

use std::collections::BTreeMap;
use std::path::Path;

use crate::store::identity::Identity;
use microbench_formats::cell::Cell;
use microbench_formats::files::describe_entry;
use microbench_formats::plan::{Plan, Protocol};
use microbench_formats::shard::Shard;
use microbench_measure::artifacts::Artifact;
use microbench_measure::artifacts::lock::Lock;
use serde::Serialize;

use super::directory::Directory;
use super::survey::{Entry, Kind, State, Survey, files};

/// A run from all sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overview {
    /// Its place in the list of runs.
    pub run: Entry,
    /// The study's title.
    pub title: String,
    /// The protocol that it follows.
    pub protocol: Protocol,
    /// The manifest's profile; empty for none.
    pub profile: String,
    /// Seed of the order.
    pub seed: u64,
    /// SHA-256 of the plan, as the first session executed it.
    pub plan_sha256: Option<String>,
    /// The machine, in a line; `None` where no host was recorded.
    pub machine: Option<String>,
    /// Fingerprint of the host.
    pub fingerprint: Option<String>,
    /// What each cell came to, in plan order.
    pub cells: Vec<CellCount>,
    /// What ran: kernels, images, programs.
    pub artifacts: Vec<Artifact>,
    /// Its files; those of a folder together.
    pub files: Vec<FileEntry>,
    /// Commands that go on from here, each with what it does.
    pub next: Vec<[String; 2]>,
}

/// What a cell came to, in trials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CellCount {
    /// [`Cell::id`].
    pub cell: String,
    /// The variant's label.
    pub label: String,
    /// Every VM completed its protocol.
    pub ok: usize,
    /// A VM failed.
    pub failed: usize,
    /// Something disturbed it, each time.
    pub invalid: usize,
    /// Still to be executed.
    pub missing: usize,
}

/// A file of a run, or a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileEntry {
    /// Its name; a folder's ends in `/`.
    pub name: String,
    /// How many files it is.
    pub files: usize,
    /// Bytes of all of them.
    pub bytes: u64,
    /// What it is.
    pub what: String,
}

impl Overview {
    /// Puts together what is known of `run`, which the commands of [`Self::next`] name as `named`.
    #[must_use]
    pub fn new(run: &Directory, entry: Entry, plan: &Plan, survey: &Survey, named: &str) -> Self {
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
            protocol: plan.protocol,
            profile: plan.profile.clone(),
            seed: plan.seed,
            plan_sha256: survey.digests.first().map(|digests| digests.plan.clone()),
            machine: joined(Identity::line),
            fingerprint: joined(|identity| identity.fingerprint.clone()),
            cells: cells(plan, survey),
            artifacts: lock.artifacts,
            run: entry,
            files,
            next,
        }
    }
}

/// What each cell of `plan` came to.
#[must_use]
pub fn cells(plan: &Plan, survey: &Survey) -> Vec<CellCount> {
    let mut counts: BTreeMap<&str, CellCount> = BTreeMap::new();
    for trial in &plan.trials {
        let count = counts.entry(&trial.cell).or_default();
        match survey.outcomes.get(&trial.index) {
            Some(outcome) if outcome.invalid => count.invalid += 1,
            Some(outcome) if outcome.failed > 0 => count.failed += 1,
            Some(_) => count.ok += 1,
            None => count.missing += usize::from(survey.missing.contains(&trial.index)),
        }
    }
    let of = |cell: &Cell| CellCount {
        cell: cell.id.to_string(),
        label: cell.label.to_string(),
        ..counts.get(cell.id.as_str()).cloned().unwrap_or_default()
    };
    plan.cells.iter().map(of).collect()
}

/// The files of the run in `folder`, those of a folder together: first what was recorded, then what was made of it.
fn file_entries(folder: &Path) -> Vec<FileEntry> {
    let mut found: BTreeMap<(usize, String), FileEntry> = BTreeMap::new();
    for (path, bytes) in files(folder) {
        let Ok(inside) = path.strip_prefix(folder) else { continue };
        let mut parts = inside.components();
        let Some(first) = parts.next().map(|part| part.as_os_str().to_string_lossy().into_owned()) else { continue };
        let name = if parts.next().is_some() { format!("{first}/") } else { first };
        let (rank, what) = describe_entry(&name);
        let entry = found.entry((rank, name.clone())).or_insert_with(|| FileEntry {
            name,
            files: 0,
            bytes: 0,
            what: what.to_owned(),
        });
        entry.files += 1;
        entry.bytes += bytes;
    }
    found.into_values().collect()
}

/// What another shard is called, where its name ends as ours does.
fn sibling(named: &str, shard: Shard, index: u32) -> String {
    let end = |index: u32| format!("{index}of{}", shard.of);
    named.strip_suffix(&end(shard.index)).map_or_else(
        || if index == shard.index { named.to_owned() } else { format!("SHARD{index}") },
        |base| base.to_owned() + &end(index),
    )
}

/// Commands that go on from here.
fn next(entry: &Entry, files: &[FileEntry], plan: &Plan, named: &str) -> Vec<[String; 2]> {
    let has = |name: &str| files.iter().any(|file| file.name == name);
    let mut next: Vec<(String, &str)> = Vec::new();
    match entry.state {
        State::Running => return Vec::new(),
        State::Interrupted if !entry.merged.is_empty() => {}
        State::Interrupted => {
            next.push((format!("microbench run --resume {named}"), "executes the trials that are missing"))
        }
        State::Complete | State::Unreadable => {}
    }
    if let (State::Complete, Some(shard)) = (entry.state, entry.shard) {
        let all: Vec<String> = (1..=shard.of).map(|index| sibling(named, shard, index)).collect();
        next.push((format!("microbench merge {}", all.join(" ")), "joins the shards, when all are complete"));
    }
    if has("samples.parquet") {
        next.push((format!("microbench plot {named}"), "draws its figures again"));
    } else {
        next.push((format!("microbench analyze {named}"), "makes samples and summary of its journal"));
    }
    let several = plan.cells.iter().any(|cell| cell.variant != plan.cells[0].variant);
    if several && has("samples.parquet") && entry.kind == Kind::Measured {
        next.push((format!("microbench compare {named}"), "compares its variants"));
    }
    next.push((format!("microbench export {named}"), "packs it into one archive"));
    next.into_iter().map(|(command, does)| [command, does.to_owned()]).collect()
}
