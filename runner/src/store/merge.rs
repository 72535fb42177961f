//! Merging the shards of one plan into one run.
//!
//! A shard is a run that executes every N-th block of the plan. The merged run has the same files as one run of the
//! whole plan, except that its trials may come from several hosts. Each session in the journal names its host, and
//! cells are compared within hosts.
//!
//! Shards are not merged when their plans, engines, artefacts or kinds of host differ, or when a shard or trial is
//! present twice. A missing shard prevents the merge too, unless `partial` is set.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::store::identity::{self, Identity};
use anyhow::{Context, bail, ensure};
use microbench_formats::code::Code;
use microbench_formats::files::emulated_host_log;
use microbench_formats::host::HostKind;
use microbench_formats::input;
use microbench_formats::journal::{Chain, records};
use microbench_formats::plan::Plan;
use microbench_formats::record::Record;
use microbench_formats::shard::Shard;
use microbench_formats::version::FORMAT_VERSION;
use microbench_measure::artifacts::lock::{self, Lock};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::directory::{Directory, ENGINES, PLAN, PLAN_AT_START, time_stamp};
use super::status::RunStatus;
use crate::store::journal;

/// File of a merged run that lists its shards.
pub const FILE: &str = "merged.json";
/// Folder of a merged run with the `host.json` of each shard.
pub const HOSTS: &str = "hosts";

/// A shard of a merged run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The part of the plan.
    pub shard: Shard,
    /// Name of the shard's run.
    pub name: String,
    /// Names of the hosts that executed the shard.
    pub machines: Vec<String>,
    /// Trials that have ended.
    pub trials_ended: usize,
    /// Trials that the shard executes.
    pub trials_planned: usize,
    pub journal_sha256: String,
}

/// Content of `merged.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Merged {
    shards: Vec<Part>,
}

/// The shards of a merged run, in order; empty for other runs.
///
/// # Errors
/// When [`FILE`] is damaged.
pub fn read_parts(run: &Directory) -> anyhow::Result<Vec<Part>> {
    if !run.path().join(FILE).exists() {
        return Ok(Vec::new());
    }
    Ok(run.read::<Merged>(FILE)?.shards)
}

/// The hosts that executed `run`, from `host.json`; of a merged run with different hosts, one for each fingerprint.
#[must_use]
pub fn identities(run: &Directory) -> Vec<Identity> {
    if let Ok(identity) = run.read::<Identity>(identity::FILE) {
        return vec![identity];
    }
    let mut all: Vec<Identity> = Vec::new();
    for path in entries(&run.path().join(HOSTS)) {
        let name = format!("{HOSTS}/{}", path.file_name().unwrap_or_default().to_string_lossy());
        let found = run.read::<Identity>(&name).ok();
        all.extend(found.filter(|shard| all.iter().all(|known| known.fingerprint != shard.fingerprint)));
    }
    all
}

/// A shard that was read and checked on its own.
struct ReadShard {
    run: Directory,
    shard: Shard,
    plan: Plan,
    sha256: String,
    engines: Vec<u8>,
    lock: Lock,
    identity: Option<Identity>,
    bytes: Vec<u8>,
    status: RunStatus,
}

/// Merges `shards` into the run `out`, by default a new folder next to the first shard. With `partial`, shards may be
/// missing or incomplete. Their trials are then missing values with that reason.
///
/// # Errors
/// When a shard is damaged, in use or missing, or the shards do not belong to one run. The message names the shard.
pub fn merge(shards: &[Directory], out: Option<&Path>, partial: bool) -> anyhow::Result<(Directory, Vec<Part>)> {
    let mut read = shards.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    read.sort_by_key(|first| first.shard);
    let Some(first) = read.first() else { bail!(Code::ShardMissing.with_message("no shard to merge")) };
    for second in &read[1..] {
        check_same_plan(first, second)?;
    }
    check_same_kind(&read)?;
    for pair in read.windows(2) {
        let (first, second) = (&pair[0], &pair[1]);
        ensure!(
            first.shard != second.shard,
            Code::DuplicateShard.with_message(format!(
                "{} and {} are both shard {}, so that its trials would be present twice; pass only one of them",
                first.run.path().display(),
                second.run.path().display(),
                first.shard
            ))
        );
    }
    let missing = missing(&read);
    ensure!(
        partial || missing.is_empty(),
        Code::ShardMissing.with_message(format!(
            "{}; `--partial` merges the rest and records these trials as missing values",
            missing.join("; ")
        ))
    );
    let parts: Vec<Part> = read.iter().map(shard_part).collect();
    let default = || {
        let folder = first.run.path().parent().unwrap_or(Path::new("/"));
        folder.join(format!("{}-{}-merged", first.plan.study, time_stamp()))
    };
    let out = out.map_or_else(default, Path::to_path_buf);
    let run = Directory::create_with(&out, |half| fill(half, &read, &parts, missing.is_empty()))?;
    Ok((run, parts))
}

fn read(run: &Directory) -> anyhow::Result<ReadShard> {
    let named = run.path().display();
    let Some(shard) = run.shard()? else {
        bail!(Code::NotAShard.with_message(format!(
            "{named} is a run of a whole plan, not a shard; `run STUDY --shard K/N` executes a shard"
        )));
    };
    let (plan, sha256) = run.plan()?;
    let path = run.path().join(journal::FILE);
    let bytes = match input::open_in(run.path(), journal::FILE) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        file => {
            let file = file.with_context(|| format!("cannot open {}", path.display()))?;
            let Ok(_held) = Flock::lock(file, FlockArg::LockSharedNonblock) else {
                bail!(Code::RunInUse.with_message(format!("{named} is being executed: wait until the run has ended")));
            };
            input::read_in(run.path(), journal::FILE).with_context(|| format!("cannot read {}", path.display()))?
        }
    };
    let status =
        RunStatus::from_journal(&plan, Some(shard), &bytes).map_err(|damage| journal::damage_error(&path, &damage))?;
    run.verify(&status.digests)?;
    for record in records(&bytes) {
        if let Record::TrialStart { trial, .. } = record? {
            let own = plan
                .trials
                .iter()
                .find(|planned| planned.index == trial)
                .is_some_and(|t| shard.contains_block(t.block));
            ensure!(
                own,
                Code::DuplicateShard
                    .with_message(format!("{}: trial {trial} does not belong to shard {shard}", path.display()))
            );
        }
    }
    Ok(ReadShard {
        shard,
        plan,
        sha256,
        engines: input::read_in(run.path(), ENGINES).with_context(|| format!("cannot read {ENGINES} of {named}"))?,
        lock: Lock::read(run.path())?.unwrap_or_default(),
        identity: if run.path().join(identity::FILE).exists() { Some(run.read(identity::FILE)?) } else { None },
        run: run.clone(),
        bytes,
        status,
    })
}

/// Checks that two shards belong to one plan, with the same engines and artefacts.
fn check_same_plan(first: &ReadShard, other: &ReadShard) -> anyhow::Result<()> {
    let names = [first, other].map(|first_digests| first_digests.run.path().display());
    let differ = |what: String| {
        let names = format!("{} and {} are not shards of the same run", names[0], names[1]);
        Err(Code::ShardsDiffer.with_message(format!("{names}: {what}")).into())
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
    // A shard without a session may not have artefacts yet.
    if !first.lock.artifacts.is_empty() && !other.lock.artifacts.is_empty() {
        let digests = |lock: &Lock| -> BTreeMap<(String, String), String> {
            lock.artifacts.iter().map(|a| ((a.kind.to_string(), a.name.clone()), a.sha256.clone())).collect()
        };
        let (first_digests, other_digests) = (digests(&first.lock), digests(&other.lock));
        let changed = first_digests
            .keys()
            .chain(other_digests.keys())
            .find(|key| first_digests.get(*key) != other_digests.get(*key));
        if let Some(key) = changed {
            let digest_of =
                |all: &BTreeMap<(String, String), String>| all.get(key).map_or("none", String::as_str).to_owned();
            return differ(format!(
                "the {} `{}` differs: {} and {}",
                key.0,
                key.1,
                digest_of(&first_digests),
                digest_of(&other_digests)
            ));
        }
    }
    Ok(())
}

/// Checks that all shards were executed on the same kind of host.
fn check_same_kind(read: &[ReadShard]) -> anyhow::Result<()> {
    let mut seen: Option<(HostKind, &ReadShard)> = None;
    for shard in read {
        for session in &shard.status.sessions {
            let (kind, of) = *seen.get_or_insert((session.host, shard));
            ensure!(
                kind == session.host,
                Code::HostKindsDiffer.with_message(format!(
                    "{} was executed on a host of kind {kind}, {} on a host of kind {}: their times are not comparable",
                    of.run.path().display(),
                    shard.run.path().display(),
                    session.host
                ))
            );
        }
    }
    Ok(())
}

/// Descriptions of the missing shards, and of the missing trials of the given shards.
fn missing(read: &[ReadShard]) -> Vec<String> {
    const MAX_LISTED: usize = 8;
    let count = read.first().map_or(0, |shard| shard.shard.of);
    let mut lines = Vec::new();
    let absent = (1..=count).filter(|index| read.iter().all(|shard| shard.shard.index != *index));
    let absent: Vec<String> = absent.map(|index| Shard { index, of: count }.to_string()).collect();
    if !absent.is_empty() {
        lines.push(format!("shard {} is missing", absent.join(", ")));
    }
    for shard in read.iter().filter(|shard| !shard.status.missing.is_empty()) {
        let missing = shard.status.missing.len();
        let mut trials: Vec<String> = shard.status.missing.iter().take(MAX_LISTED).map(ToString::to_string).collect();
        if missing > MAX_LISTED {
            trials.push(format!("and {} more", missing - MAX_LISTED));
        }
        lines.push(format!(
            "{missing} of the {} trials of shard {} are missing ({}): `microbench run --resume {}` executes them",
            shard.status.planned,
            shard.shard,
            trials.join(", "),
            shard.run.path().display()
        ));
    }
    lines
}

fn shard_part(shard: &ReadShard) -> Part {
    let mut machines: Vec<String> = shard.status.sessions.iter().map(|session| session.machine.clone()).collect();
    machines.sort();
    machines.dedup();
    Part {
        shard: shard.shard,
        name: shard.run.name(),
        machines,
        trials_ended: shard.status.ended(),
        trials_planned: shard.status.planned,
        journal_sha256: hex::encode(Sha256::digest(&shard.bytes)),
    }
}

/// Writes the files of the merged run into its folder.
fn fill(half: &Directory, read: &[ReadShard], parts: &[Part], complete: bool) -> anyhow::Result<()> {
    let Some(first) = read.first() else { return Ok(()) };
    // Users may remove the shards after the merge, so the essential files are flushed to disk.
    let keep = |from: &Directory, name: &str, to: &str| {
        let path = from.path().join(name);
        half.write(to, &input::read_in(from.path(), name).with_context(|| format!("cannot read {}", path.display()))?)
    };
    for name in ["manifest.toml", PLAN, PLAN_AT_START, ENGINES] {
        keep(&first.run, name, name)?;
    }
    if let Some(locked) = read.iter().find(|shard| !shard.lock.artifacts.is_empty()) {
        keep(&locked.run, lock::FILE, lock::FILE)?;
    }
    let folder = |name: &str| {
        let path = half.path().join(name);
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display())).map(|()| path)
    };
    let console = folder("console")?;
    folder(HOSTS)?;
    let (mut journal, mut chain) = (String::new(), Chain::default());
    for shard in read {
        let own = shard.run.path();
        if shard.identity.is_some() {
            keep(&shard.run, identity::FILE, &format!("{HOSTS}/{}of{}.json", shard.shard.index, shard.shard.of))?;
        }
        for path in entries(&own.join("console")) {
            copy(own, &path, &console.join(path.file_name().unwrap_or_default()))?;
        }
        for path in entries(own) {
            // Each shard numbers its emulated hosts from 0.
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(rest) = emulated_host_log(&name) {
                copy(
                    own,
                    &path,
                    &half.path().join(format!("emulated-host-{}of{}-{rest}", shard.shard.index, shard.shard.of)),
                )?;
            }
        }
        for record in records(&shard.bytes) {
            let mut record = record?;
            // A record of an older format has got the names of this format.
            if let Record::RunStart { format, .. } = &mut record {
                *format = FORMAT_VERSION;
            }
            if let Record::TrialStart { emulated_host: Some(host), .. } = &mut record {
                host.number = format!("{}of{}-{}", shard.shard.index, shard.shard.of, host.number);
            }
            if !matches!(record, Record::RunEnd { .. }) {
                journal.push_str(&chain.encode(&record));
            }
        }
    }
    let mut identities = read.iter().filter_map(|shard| shard.identity.as_ref());
    if let Some(identity) =
        identities.next().filter(|shard| identities.all(|other| other.fingerprint == shard.fingerprint))
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

/// Copies the file `from` of the run in the folder `run`.
fn copy(run: &Path, from: &Path, to: &Path) -> anyhow::Result<()> {
    let copied = || {
        let mut file = input::open_in(run, from.strip_prefix(run).unwrap_or(from))?;
        std::io::copy(&mut file, &mut fs::File::create_new(to)?)
    };
    copied().map(drop).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// The paths in `folder`, sorted; empty when it cannot be read or is a link.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter(|_| input::is_folder(folder))
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    paths
}
