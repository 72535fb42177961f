//! The append-only record of a run. A trial's lines are written together once it has ended and are on disk before the
//! next one starts, so that a killed run loses the trial that it was in and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use microbench_formats::code::{Code, Coded};
use microbench_formats::digests::Digests;
use microbench_formats::host::HostKind;
pub use microbench_formats::journal::FILE;
use microbench_formats::journal::{self, Chain, Damage};
use microbench_formats::precision::Look;
use microbench_formats::record::Record;
use microbench_formats::shard::Shard;
use microbench_measure::sys::durable;
use microbench_measure::trial::budget::Budget;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::cluster::Job;
use crate::store::directory::{SHARD, shard_of};
use crate::store::merge;

/// Times that a trial is executed at most, when something disturbs it each time.
pub const ATTEMPTS: u32 = 3;

/// File of a run directory that says which process had the journal open last.
pub const OWNER: &str = "session.json";

/// A process that executes a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// Its PID, as seen outside the sandbox.
    pub pid: u32,
    /// Name of its machine.
    pub machine: String,
    /// When it began, RFC 3339.
    pub since: String,
    /// Which boot of its machine: containers of one machine have different names and the same boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// The job of Slurm that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
    /// Whether it has closed the journal; one that was killed has not.
    #[serde(default)]
    pub ended: bool,
}

impl Owner {
    /// This process, now. To be taken before the sandbox is entered.
    #[must_use]
    pub fn this() -> Self {
        let machine = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        Self {
            pid: std::process::id(),
            machine,
            since: jiff::Timestamp::now().strftime("%FT%TZ").to_string(),
            boot: boot.map(|boot| boot.trim().to_owned()),
            job: Job::this(),
            ended: false,
        }
    }

    /// Whether it was on the machine of `other`, or one of the same name: what locks a file there is known here.
    fn is_near(&self, other: &Self) -> bool {
        self.machine == other.machine || (self.boot.is_some() && self.boot == other.boot)
    }

    /// Whether it is over for certain, as seen by `successor`, which holds the journal's lock. A lock is seen by every process of its
    /// machine; by another machine only where the file system tells, which not every one does.
    fn is_over(&self, successor: &Self) -> bool {
        let requeued = || self.job.as_ref().zip(successor.job.as_ref()).is_some_and(|(old, new)| new.succeeds(old));
        self.ended || self.is_near(successor) || requeued() || self.job.as_ref().is_some_and(Job::is_gone)
    }
}

/// The journal of one run directory, open for appending.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Flock<File>,
    /// Where the next line goes.
    chain: Chain,
    owner: Owner,
    owner_was_lost: bool,
}

/// What a journal says has been done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Trials (no warm-ups) that have ended.
    pub ended: BTreeSet<u32>,
    /// Attempts begun, by trial.
    pub attempts: BTreeMap<u32, u32>,
    /// Blocks at the stopping rule's last look.
    pub looked: Option<u32>,
    /// Blocks at the look at which it had enough.
    pub enough: Option<u32>,
    /// The kind of host that the last session executed on.
    pub host: Option<HostKind>,
    /// The files that each session began with.
    pub digests: Vec<Digests>,
    /// The part of the plan that the run executes; `None` for all of it.
    pub shard: Option<Shard>,
    /// The part of the plan that each session executed.
    pub executed: Vec<Option<Shard>>,
    /// What the cells' last trials came to.
    pub budget: Budget,
    /// Number of the last line, when it is torn and was left out.
    pub torn: Option<usize>,
}

impl Progress {
    /// Execution number `attempt` of `trial` has ended. One that was disturbed is executed again, up to [`ATTEMPTS`] times.
    pub fn ended(&mut self, trial: u32, attempt: u32, disturbed: bool) {
        self.attempts.insert(trial, attempt.saturating_add(1));
        if !disturbed || attempt.saturating_add(1) >= ATTEMPTS {
            self.ended.insert(trial);
        }
    }
}

impl Journal {
    /// Opens the journal of `run` for appending on behalf of `owner`, and cuts off a torn last line that a killed session left.
    ///
    /// # Errors
    /// When the file cannot be opened or written; when another process has it open, which the message names, or had it open on another
    /// machine and did not end it.
    pub fn open(run: &Path, owner: &Owner) -> anyhow::Result<Self> {
        let path = run.join(FILE);
        let context = || format!("cannot open {}", path.display());
        let file = OpenOptions::new().create(true).append(true).open(&path).with_context(context)?;
        let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => file,
            Err((_, Errno::EWOULDBLOCK)) => {
                bail!(Code::RunInUse.says(format!("{} is in use by another microbench{}", run.display(), who(run))))
            }
            Err((_, error)) => return Err(error).with_context(context),
        };
        let before = self::owner(run);
        let owner_was_lost = before.is_none() && run.join(OWNER).exists();
        if let Some(before) = before.filter(|before| !before.is_over(owner)) {
            bail!(Code::RunInUse.says(format!(
                "{} was begun on by PID {} on {}, since {}, which did not end it, and whether it lives cannot be seen from {}: make \
                 sure that it does not, then remove {}",
                run.display(),
                before.pid,
                before.machine,
                before.since,
                owner.machine,
                run.join(OWNER).display()
            )));
        }
        let text = std::fs::read(&path).with_context(context)?;
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            file.set_len(whole as u64).with_context(context)?;
        }
        // The journal's own name is on disk with the owner's.
        durable::write(&run.join(OWNER), &serde_json::to_vec(owner).context("cannot write the owner as JSON")?)?;
        Ok(Self { path, file, chain: Chain::after(&text), owner: owner.clone(), owner_was_lost })
    }

    /// The file of the last session's owner was there and could not be understood. It decides only whether a session of
    /// another machine may still execute the run, and a session whose file a power cut emptied does not.
    #[must_use]
    pub fn owner_was_lost(&self) -> bool {
        self.owner_was_lost
    }

    /// Appends `records` in one write and waits until they are on disk.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn append(&mut self, records: &[Record]) -> anyhow::Result<()> {
        let mut chain = self.chain.clone();
        let text: String = records.iter().map(|record| chain.encode(record)).collect();
        let before = self.file.metadata().map(|data| data.size());
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        match (&written, before) {
            (Ok(()), _) => self.chain = chain,
            // What did not get through whole is not there.
            (Err(_), Ok(before)) => drop(self.file.set_len(before)),
            (Err(_), Err(_)) => {}
        }
        written.with_context(|| {
            Code::NoRoom.says(format!(
                "cannot append {} bytes to {}; the trial will be run again: make room, then go on with --resume",
                text.len(),
                self.path.display()
            ))
        })
    }
}

impl Drop for Journal {
    /// Says that the session has ended, for another machine that goes on with it. One that was killed says nothing.
    fn drop(&mut self) {
        let owner = Owner { ended: true, ..self.owner.clone() };
        if let Ok(text) = serde_json::to_vec(&owner) {
            drop(durable::write(&self.path.with_file_name(OWNER), &text));
        }
    }
}

/// The process that executes `run` now; `None` when nobody does. It is asked by its PID first, and only of a live one by its lock:
/// to try a lock is to hold it for a moment, in which a session could not begin.
#[must_use]
pub fn holder(run: &Path) -> Option<Owner> {
    let owner = owner(run)?;
    if owner.ended || owner.machine == Owner::this().machine && !Path::new("/proc").join(owner.pid.to_string()).exists()
    {
        return None;
    }
    let file = File::open(run.join(FILE)).ok()?;
    matches!(Flock::lock(file, FlockArg::LockSharedNonblock), Err((_, Errno::EWOULDBLOCK))).then_some(owner)
}

/// The process that had the journal of `run` open last.
fn owner(run: &Path) -> Option<Owner> {
    std::fs::read(run.join(OWNER)).ok().and_then(|text| serde_json::from_slice(&text).ok())
}

/// `: PID 12 on host, since 2026-01-01T00:00:00Z`, when the run directory says it.
fn who(run: &Path) -> String {
    owner(run).map_or_else(String::new, |Owner { pid, machine, since, .. }| {
        format!(": PID {pid} on {machine}, since {since}")
    })
}

/// What the journal of the run directory `run` says has been done; nothing when there is no journal yet. A torn last line does
/// not count. A cell is given up after `give_up_after` failed trials in a row.
///
/// # Errors
/// When the file cannot be read, or a whole line of it is damaged: the message names it.
pub fn progress(run: &Path, give_up_after: u32) -> anyhow::Result<Progress> {
    let (path, bytes) = read(run)?;
    let mut progress = progress_of(&bytes, give_up_after).map_err(|damage| damaged(&path, &damage))?;
    progress.shard = shard_of(run)?;
    let merged = run.join(merge::FILE).exists();
    if let Some(other) = progress.executed.iter().find(|executed| **executed != progress.shard && !merged) {
        let name = |shard: Option<Shard>| shard.map_or_else(|| "the whole plan".to_owned(), |shard| shard.to_string());
        bail!(Code::RunFileEdited.says(format!(
            "{SHARD} of {} is of {}, and a session of the run executed {}: restore the file from a copy",
            run.display(),
            name(progress.shard),
            name(*other)
        )));
    }
    Ok(progress)
}

/// The executions that the journal of `run` has, as the analysis takes them; none when there is no journal yet.
///
/// # Errors
/// As [`progress`].
pub fn executions(run: &Path) -> anyhow::Result<microbench_plots::journal::Journal> {
    let (path, bytes) = read(run)?;
    Ok(microbench_plots::journal::parse(&bytes).map_err(|damage| damaged(&path, &damage))?)
}

/// The journal's file with its bytes; none when it does not exist.
fn read(run: &Path) -> anyhow::Result<(PathBuf, Vec<u8>)> {
    let path = run.join(FILE);
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        bytes => bytes.with_context(|| format!("cannot read {}", path.display()))?,
    };
    Ok((path, bytes))
}

/// The error of a journal at `path` that cannot be read.
#[must_use]
pub fn damaged(path: &Path, damage: &Damage) -> Coded {
    let remedy = match damage.code() {
        Code::OtherFormat => "",
        _ => "; restore the file from a copy; the run's other files are as they were",
    };
    damage.code().says(format!("{}:{}: {}{remedy}", path.display(), damage.line, damage.cause))
}

/// As [`progress`], of a journal's bytes.
///
/// # Errors
/// The first whole line that is damaged.
pub fn progress_of(bytes: &[u8], give_up_after: u32) -> Result<Progress, Damage> {
    let mut progress =
        Progress { budget: Budget::new(give_up_after), torn: journal::torn_line(bytes), ..Progress::default() };
    let (mut warmup, mut disturbed) = (false, false);
    let mut trial_records = Vec::new();
    for record in journal::records(bytes) {
        let record = record?;
        if matches!(record, Record::TrialStart { .. }) {
            trial_records.clear();
        }
        trial_records.push(record.clone());
        if matches!(record, Record::TrialEnd { .. }) {
            progress.budget.observe(&trial_records);
        }
        progress.digests.extend(Digests::of(&record));
        match record {
            Record::TrialStart { trial, attempt, warmup: warm, .. } => {
                (warmup, disturbed) = (warm, false);
                if !warm {
                    progress.attempts.insert(trial, attempt.saturating_add(1));
                }
            }
            Record::Invalid { .. } => disturbed = true,
            Record::TrialEnd { trial, attempt, .. } if !warmup => progress.ended(trial, attempt, disturbed),
            Record::Look { blocks, cells } => {
                progress.looked = Some(blocks);
                let over = cells.values().all(|look| !matches!(look, Look::GoOn { .. }));
                progress.enough = over.then_some(blocks);
            }
            Record::RunStart { host, shard, .. } => {
                progress.host = Some(host);
                progress.executed.push(shard);
            }
            _ => {}
        }
    }
    Ok(progress)
}

#[cfg(test)]
mod tests {
    use microbench_plots::import as imports;

    use super::*;

    #[test]
    fn a_torn_last_line_is_cut_off_before_the_next_record() {
        let run = tempfile::tempdir().unwrap();
        let record = imports::run_start("run", Digests::default(), "2026-01-01T00:00:00Z", "0");
        let owner = Owner::this();
        Journal::open(run.path(), &owner).unwrap().append(std::slice::from_ref(&record)).unwrap();
        let path = run.path().join(FILE);
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}{}", &whole[..whole.len() / 2])).unwrap();
        assert_eq!(progress(run.path(), 0).unwrap().torn, Some(2));
        Journal::open(run.path(), &owner).unwrap().append(std::slice::from_ref(&record)).unwrap();
        let records: Vec<Record> = journal::records(&std::fs::read(&path).unwrap()).map(Result::unwrap).collect();
        assert_eq!(records, [record.clone(), record]);
    }

    #[test]
    fn the_largest_attempt_has_been_made_too() {
        let begun = imports::run_start("run", Digests::default(), "2026-01-01T00:00:00Z", "0");
        let start = Record::TrialStart { trial: 3, attempt: u32::MAX, cell: "c".into(), warmup: false };
        let end = Record::TrialEnd { trial: 3, attempt: u32::MAX, ok: 1, failed: 0 };
        let progress = progress_of(journal::encode([&begun, &start, &end]).as_bytes(), 0).unwrap();
        assert_eq!(progress.attempts[&3], u32::MAX);
        assert!(progress.ended.contains(&3));
    }
}
