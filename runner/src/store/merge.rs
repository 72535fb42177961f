//! Shards of one plan, joined to one run.
//!
//! A shard is a run of its own that executes every N-th block of the plan. Joined they are what one run of the whole plan would have
//! left, except that its trials may be of several hosts: each session in the journal says of which, and cells are compared within hosts.
//! What cannot be one run is refused: other plans, engines or artefacts, another kind of host, a shard or trial that is there twice, and,
//! unless it is asked for, one that is missing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::store::identity::{self, Identity};
use anyhow::{Context, bail, ensure};
use microbench_formats::code::Code;
use microbench_formats::files::emulated_host_log;
use microbench_formats::host::HostKind;
use microbench_formats::journal::{Chain, records};
use microbench_formats::plan::Plan;
use microbench_formats::record::Record;
use microbench_formats::shard::Shard;
use microbench_measure::artifacts::lock::{self, Lock};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::directory::{Directory, ENGINES, PLAN, PLAN_BEGUN, stamp};
use super::survey::{Survey, survey};
use crate::store::journal;

/// File of a merged run that says of which shards it is.
pub const FILE: &str = "merged.json";
/// Folder of a merged run with `host.json` of each shard.
pub const HOSTS: &str = "hosts";

/// A shard of a merged run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Which part of the plan it is.
    pub shard: Shard,
    /// The name that its run had.
    pub name: String,
    /// Names of the hosts that executed it.
    pub machines: Vec<String>,
    /// Trials of it that have ended.
    pub trials_ended: usize,
    /// Trials that it was to execute.
    pub trials_planned: usize,
    /// SHA-256 of its journal.
    pub journal_sha256: String,
}

/// What `merged.json` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Merged {
    shards: Vec<Part>,
}

/// The shards of which `run` was merged, in order; empty when it was not.
///
/// # Errors
/// When its file is there and cannot be understood.
pub fn parts(run: &Directory) -> anyhow::Result<Vec<Part>> {
    if !run.path().join(FILE).exists() {
        return Ok(Vec::new());
    }
    Ok(run.read::<Merged>(FILE)?.shards)
}

/// The hosts that executed `run`: `host.json`, or of a merged run whose hosts differ one of each fingerprint.
#[must_use]
pub fn identities(run: &Directory) -> Vec<Identity> {
    if let Ok(identity) = run.read::<Identity>(identity::FILE) {
        return vec![identity];
    }
    let mut all: Vec<Identity> = Vec::new();
    for path in inside(&run.path().join(HOSTS)) {
        let name = format!("{HOSTS}/{}", path.file_name().unwrap_or_default().to_string_lossy());
        let found = run.read::<Identity>(&name).ok();
        all.extend(found.filter(|one| all.iter().all(|known| known.fingerprint != one.fingerprint)));
    }
    all
}

/// A shard, read and checked by itself.
struct Read {
    run: Directory,
    shard: Shard,
    plan: Plan,
    sha256: String,
    engines: Vec<u8>,
    lock: Lock,
    identity: Option<Identity>,
    bytes: Vec<u8>,
    survey: Survey,
}

/// Joins `shards` to the run `out`, or to one beside the first shard. With `partial` some may be missing or incomplete: their trials are
/// then missing values with that reason.
///
/// # Errors
/// When a shard is damaged or in use, when they are no shards of one run, or one is missing; the message names it.
pub fn merge(shards: &[Directory], out: Option<&Path>, partial: bool) -> anyhow::Result<(Directory, Vec<Part>)> {
    let mut read = shards.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    read.sort_by_key(|one| one.shard);
    let Some(first) = read.first() else { bail!(Code::ShardMissing.says("no shard is given")) };
    for other in &read[1..] {
        alike(first, other)?;
    }
    one_kind(&read)?;
    for pair in read.windows(2) {
        let (one, other) = (&pair[0], &pair[1]);
        ensure!(
            one.shard != other.shard,
            Code::ShardTwice.says(format!(
                "{} and {} are both shard {}: its trials would be there twice; give one of them",
                one.run.path().display(),
                other.run.path().display(),
                one.shard
            ))
        );
    }
    let lacking = lacking(&read);
    ensure!(
        partial || lacking.is_empty(),
        Code::ShardMissing
            .says(format!("{}; `--partial` merges the others, and these are missing values then", lacking.join("; ")))
    );
    let parts: Vec<Part> = read.iter().map(part).collect();
    let beside = || {
        let folder = first.run.path().parent().unwrap_or(Path::new("/"));
        folder.join(format!("{}-{}-merged", first.plan.study, stamp()))
    };
    let out = out.map_or_else(beside, Path::to_path_buf);
    let run = Directory::make(&out, |half| fill(half, &read, &parts, lacking.is_empty()))?;
    Ok((run, parts))
}

fn read(run: &Directory) -> anyhow::Result<Read> {
    let named = run.path().display();
    let Some(shard) = run.shard()? else {
        bail!(Code::NotAShard.says(format!(
            "{named} is no shard but a run of a whole plan; shards are made by `run STUDY --shard K/N`"
        )));
    };
    let (plan, sha256) = run.plan()?;
    let path = run.path().join(journal::FILE);
    let bytes = match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        file => {
            let file = file.with_context(|| format!("cannot open {}", path.display()))?;
            let Ok(_held) = Flock::lock(file, FlockArg::LockSharedNonblock) else {
                bail!(Code::RunInUse.says(format!("{named} is being executed: merge it when it has ended")));
            };
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?
        }
    };
    let survey = survey(&plan, Some(shard), &bytes).map_err(|damage| journal::damaged(&path, &damage))?;
    run.verify(&survey.digests)?;
    for record in records(&bytes) {
        if let Record::TrialStart { trial, .. } = record? {
            let own = plan
                .trials
                .iter()
                .find(|planned| planned.index == trial)
                .is_some_and(|t| shard.contains_block(t.block));
            ensure!(own, Code::ShardTwice.says(format!("{}: trial {trial} is not of shard {shard}", path.display())));
        }
    }
    Ok(Read {
        shard,
        plan,
        sha256,
        engines: fs::read(run.path().join(ENGINES)).with_context(|| format!("cannot read {ENGINES} of {named}"))?,
        lock: Lock::read(run.path())?.unwrap_or_default(),
        identity: if run.path().join(identity::FILE).exists() { Some(run.read(identity::FILE)?) } else { None },
        run: run.clone(),
        bytes,
        survey,
    })
}

/// Whether two shards are of one plan, with the same engines and artefacts.
fn alike(first: &Read, other: &Read) -> anyhow::Result<()> {
    let names = [first, other].map(|one| one.run.path().display());
    let differ = |what: String| {
        let names = format!("{} and {} are not shards of one run", names[0], names[1]);
        Err(Code::ShardsDiffer.says(format!("{names}: {what}")).into())
    };
    if first.sha256 != other.sha256 {
        return differ(format!("their plans differ ({} and {})", &first.sha256[..12], &other.sha256[..12]));
    }
    if first.shard.of != other.shard.of {
        return differ(format!("they are {} and {}", first.shard, other.shard));
    }
    if first.engines != other.engines {
        return differ(format!("their engines differ ({ENGINES})"));
    }
    // One that has not begun may have none yet.
    if !first.lock.artifacts.is_empty() && !other.lock.artifacts.is_empty() {
        let digests = |lock: &Lock| -> BTreeMap<(String, String), String> {
            lock.artifacts.iter().map(|a| ((a.kind.to_string(), a.name.clone()), a.sha256.clone())).collect()
        };
        let (one, two) = (digests(&first.lock), digests(&other.lock));
        let changed = one.keys().chain(two.keys()).find(|key| one.get(*key) != two.get(*key));
        if let Some(key) = changed {
            let of = |all: &BTreeMap<(String, String), String>| all.get(key).map_or("none", String::as_str).to_owned();
            return differ(format!("the {} `{}` differs: {} and {}", key.0, key.1, of(&one), of(&two)));
        }
    }
    Ok(())
}

/// Refuses shards of several kinds of hosts.
fn one_kind(read: &[Read]) -> anyhow::Result<()> {
    let mut seen: Option<(HostKind, &Read)> = None;
    for one in read {
        for session in &one.survey.sessions {
            let (kind, of) = *seen.get_or_insert((session.host, one));
            ensure!(
                kind == session.host,
                Code::HostKindsDiffer.says(format!(
                    "{} is of {}, {} of {}: their times do not compare",
                    of.run.path().display(),
                    kind.note(),
                    one.run.path().display(),
                    session.host.note()
                ))
            );
        }
    }
    Ok(())
}

/// What is missing, in words: whole shards, and trials of shards that are there.
fn lacking(read: &[Read]) -> Vec<String> {
    const NAMED: usize = 8;
    let of = read.first().map_or(0, |one| one.shard.of);
    let mut words = Vec::new();
    let absent = (1..=of).filter(|index| read.iter().all(|one| one.shard.index != *index));
    let absent: Vec<String> = absent.map(|index| Shard { index, of }.to_string()).collect();
    if !absent.is_empty() {
        words.push(format!("shard {} is missing", absent.join(", ")));
    }
    for one in read.iter().filter(|one| !one.survey.missing.is_empty()) {
        let missing = one.survey.missing.len();
        let mut trials: Vec<String> = one.survey.missing.iter().take(NAMED).map(ToString::to_string).collect();
        if missing > NAMED {
            trials.push(format!("and {} more", missing - NAMED));
        }
        words.push(format!(
            "shard {} lacks {missing} of its {} trials ({}): `microbench run --resume {}` executes them",
            one.shard,
            one.survey.planned,
            trials.join(", "),
            one.run.path().display()
        ));
    }
    words
}

fn part(one: &Read) -> Part {
    let mut machines: Vec<String> = one.survey.sessions.iter().map(|session| session.machine.clone()).collect();
    machines.sort();
    machines.dedup();
    Part {
        shard: one.shard,
        name: one.run.name(),
        machines,
        trials_ended: one.survey.planned - one.survey.missing.len(),
        trials_planned: one.survey.planned,
        journal_sha256: hex::encode(Sha256::digest(&one.bytes)),
    }
}

/// Puts everything of the merged run into its folder.
fn fill(half: &Directory, read: &[Read], parts: &[Part], complete: bool) -> anyhow::Result<()> {
    let Some(first) = read.first() else { return Ok(()) };
    // The shards may be removed once they are merged: what the run cannot do without is on disk before.
    let keep = |from: &Directory, name: &str, to: &str| {
        let path = from.path().join(name);
        half.write(to, &fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?)
    };
    for name in ["manifest.toml", PLAN, PLAN_BEGUN, ENGINES] {
        keep(&first.run, name, name)?;
    }
    if let Some(locked) = read.iter().find(|one| !one.lock.artifacts.is_empty()) {
        keep(&locked.run, lock::FILE, lock::FILE)?;
    }
    let folder = |name: &str| {
        let path = half.path().join(name);
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display())).map(|()| path)
    };
    let console = folder("console")?;
    folder(HOSTS)?;
    let (mut journal, mut chain) = (String::new(), Chain::default());
    for one in read {
        let own = one.run.path();
        if one.identity.is_some() {
            keep(&one.run, identity::FILE, &format!("{HOSTS}/{}of{}.json", one.shard.index, one.shard.of))?;
        }
        for path in inside(&own.join("console")).into_iter().filter(|path| path.is_file()) {
            copy(&path, &console.join(path.file_name().unwrap_or_default()))?;
        }
        for path in inside(own) {
            // Each shard counts its emulated hosts from 0.
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(rest) = emulated_host_log(&name) {
                copy(&path, &half.path().join(format!("emulated-host-{}of{}-{rest}", one.shard.index, one.shard.of)))?;
            }
        }
        for record in records(&one.bytes) {
            let record = record?;
            if !matches!(record, Record::RunEnd { .. }) {
                journal.push_str(&chain.encode(&record));
            }
        }
    }
    let mut identities = read.iter().filter_map(|one| one.identity.as_ref());
    if let Some(identity) = identities.next().filter(|one| identities.all(|other| other.fingerprint == one.fingerprint))
    {
        let mut text = serde_json::to_vec_pretty(identity)?;
        text.push(b'\n');
        half.write(identity::FILE, &text)?;
    }
    if complete {
        journal.push_str(&chain.encode(&Record::RunEnd { ended: jiff::Timestamp::now().to_string() }));
    }
    let mut text = serde_json::to_vec_pretty(&Merged { shards: parts.to_vec() })?;
    text.push(b'\n');
    half.write(FILE, &text)?;
    half.write(journal::FILE, journal.as_bytes())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::copy(from, to).map(drop).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// What is in `folder`, sorted; nothing when it cannot be read.
fn inside(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}
