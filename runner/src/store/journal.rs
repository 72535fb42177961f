//! The journal of a run, which is append-only. The records of a trial are written together after the trial has ended,
//! and are on disk before the next trial starts. A run that is killed therefore loses only the current trial.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use microbench_formats::code::{Code, CodedError};
use microbench_formats::digests::Digests;
use microbench_formats::host::HostKind;
use microbench_formats::input;
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

/// Largest number of executions of a trial: a disturbed execution is repeated until then.
pub const ATTEMPTS: u32 = 3;

/// File of a run folder that names the last process that opened the journal.
pub const OWNER: &str = "session.json";

/// A process that executes a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// PID outside of the sandbox.
    pub pid: u32,
    /// Host name of its machine.
    pub machine: String,
    /// Start of the process, RFC 3339.
    pub since: String,
    /// Boot identifier of its machine. Containers of one machine have different host names and the same boot
    /// identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// The Slurm job of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
    /// Whether the process has closed the journal. A process that was killed has not.
    #[serde(default)]
    pub ended: bool,
}

impl Owner {
    /// This process. Call it before the sandbox is entered, because the PID is another one in the sandbox.
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

    /// Whether both processes see the same file locks: they are on the same machine, or on machines with the same name.
    fn is_on_machine_of(&self, other: &Self) -> bool {
        self.machine == other.machine || (self.boot.is_some() && self.boot == other.boot)
    }

    /// Whether this process has certainly ended, as seen by `successor`, which holds the lock of the journal. All
    /// processes of one machine see the lock. Processes on other machines see it only on some network file systems.
    fn is_over(&self, successor: &Self) -> bool {
        let requeued = || self.job.as_ref().zip(successor.job.as_ref()).is_some_and(|(old, new)| new.succeeds(old));
        self.ended || self.is_on_machine_of(successor) || requeued() || self.job.as_ref().is_some_and(Job::has_ended)
    }
}

/// The journal of a run, opened for appending.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Flock<File>,
    /// Sequence number and checksum of the next line.
    chain: Chain,
    owner: Owner,
    owner_was_lost: bool,
}

/// The progress of a run, from its journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Indices of the trials that have ended, without warm-ups.
    pub ended: BTreeSet<u32>,
    /// Number of executions that have begun, by trial.
    pub attempts: BTreeMap<u32, u32>,
    /// Number of blocks at the last look of the stopping rule.
    pub looked: Option<u32>,
    /// Number of blocks at which the stopping rule stopped the run; `None` while it has not.
    pub enough: Option<u32>,
    /// The kind of host of the last session.
    pub host: Option<HostKind>,
    /// Digests of the run's files at the start of each session.
    pub digests: Vec<Digests>,
    /// The part of the plan that the run executes; `None` for the whole plan.
    pub shard: Option<Shard>,
    /// The repetition to which this session is restricted; `None` for all trials.
    pub repetition: Option<u32>,
    /// The part of the plan that each session executed.
    pub executed: Vec<Option<Shard>>,
    /// Failed trials in a row, by cell.
    pub budget: Budget,
    /// Number of the last line when that line is cut off; it is ignored.
    pub torn: Option<usize>,
}

impl Progress {
    /// Records that execution number `attempt` of `trial`, counted from 0, has ended. The trial has ended with it
    /// unless the execution was disturbed and executions are left: see [`ATTEMPTS`].
    pub fn ended(&mut self, trial: u32, attempt: u32, disturbed: bool) {
        self.attempts.insert(trial, attempt.saturating_add(1));
        if !disturbed || attempt.saturating_add(1) >= ATTEMPTS {
            self.ended.insert(trial);
        }
    }
}

impl Journal {
    /// Opens the journal of `run` for appending on behalf of `owner`, and truncates an incomplete last line that a
    /// killed session left.
    ///
    /// # Errors
    /// When the file cannot be opened or written. [`Code::RunInUse`] when another process has the journal open, or a
    /// process on another machine may have.
    pub fn open(run: &Path, owner: &Owner) -> anyhow::Result<Self> {
        let path = run.join(FILE);
        let context = || format!("cannot open {}", path.display());
        let file = input::append_in(run, FILE).with_context(context)?;
        let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => file,
            Err((_, Errno::EWOULDBLOCK)) => {
                bail!(Code::RunInUse.with_message(format!(
                    "{} is in use by another microbench process{}",
                    run.display(),
                    owner_note(run)
                )))
            }
            Err((_, error)) => return Err(error).with_context(context),
        };
        let before = self::owner(run);
        let owner_was_lost = before.is_none() && run.join(OWNER).exists();
        if let Some(before) = before.filter(|before| !before.is_over(owner)) {
            bail!(Code::RunInUse.with_message(format!(
                "{} is locked by PID {} on {} since {}, whose state cannot be checked from {}: make sure that the process has ended, \
                 then remove {}",
                run.display(),
                before.pid,
                before.machine,
                before.since,
                owner.machine,
                run.join(OWNER).display()
            )));
        }
        let text = input::read_in(run, FILE).with_context(context)?;
        let complete_length = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        if complete_length < text.len() {
            file.set_len(complete_length as u64).with_context(context)?;
        }
        // This also flushes the directory entry of the journal.
        durable::write(&run.join(OWNER), &serde_json::to_vec(owner).context("cannot write the owner as JSON")?)?;
        Ok(Self { path, file, chain: Chain::after(&text), owner: owner.clone(), owner_was_lost })
    }

    /// Whether [`OWNER`] existed and could not be parsed, for example because a power failure emptied the file. The
    /// file only tells whether a session on another machine may still execute the run, which is then not the case.
    #[must_use]
    pub fn owner_was_lost(&self) -> bool {
        self.owner_was_lost
    }

    /// Appends `records` with one write. They are on disk on return.
    ///
    /// # Errors
    /// [`Code::DiskFull`] when the disk is full or fails. The journal is then as before.
    pub fn append(&mut self, records: &[Record]) -> anyhow::Result<()> {
        let mut chain = self.chain.clone();
        let text: String = records.iter().map(|record| chain.encode(record)).collect();
        let before = self.file.metadata().map(|data| data.size());
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        match (&written, before) {
            (Ok(()), _) => self.chain = chain,
            // A partial write is undone.
            (Err(_), Ok(before)) => drop(self.file.set_len(before)),
            (Err(_), Err(_)) => {}
        }
        written.with_context(|| {
            Code::DiskFull.with_message(format!(
                "cannot append {} bytes to {}; free disk space, then resume the run with --resume, which repeats the trial",
                text.len(),
                self.path.display()
            ))
        })
    }
}

impl Drop for Journal {
    /// Records in [`OWNER`] that the session has ended, so that another machine can resume the run.
    fn drop(&mut self) {
        let owner = Owner { ended: true, ..self.owner.clone() };
        if let Ok(text) = serde_json::to_vec(&owner) {
            drop(durable::write(&self.path.with_file_name(OWNER), &text));
        }
    }
}

/// The process that executes `run`; `None` when no process does. The lock is tried only if the process with the
/// recorded PID exists, because a session could not start while this function holds the lock.
#[must_use]
pub fn lock_owner(run: &Path) -> Option<Owner> {
    let owner = owner(run)?;
    if owner.ended || owner.machine == Owner::this().machine && !Path::new("/proc").join(owner.pid.to_string()).exists()
    {
        return None;
    }
    let file = input::open_in(run, FILE).ok()?;
    matches!(Flock::lock(file, FlockArg::LockSharedNonblock), Err((_, Errno::EWOULDBLOCK))).then_some(owner)
}

/// The last process that opened the journal of `run`.
fn owner(run: &Path) -> Option<Owner> {
    input::read_in(run, OWNER).ok().and_then(|text| serde_json::from_slice(&text).ok())
}

/// `: PID 12 on host, since 2026-01-01T00:00:00Z`; empty when the owner is unknown.
fn owner_note(run: &Path) -> String {
    owner(run).map_or_else(String::new, |Owner { pid, machine, since, .. }| {
        format!(": PID {pid} on {machine}, since {since}")
    })
}

/// The progress of the run in the folder `run`; the default value before the first session. An incomplete last line is
/// ignored. A cell is given up after `give_up_after` failed trials in a row.
///
/// # Errors
/// When the file cannot be read, or a complete line is damaged. The message has the line's number.
pub fn progress(run: &Path, give_up_after: u32) -> anyhow::Result<Progress> {
    let (path, bytes) = read(run)?;
    let mut progress = progress_of(&bytes, give_up_after).map_err(|damage| damage_error(&path, &damage))?;
    progress.shard = shard_of(run)?;
    let merged = run.join(merge::FILE).exists();
    if let Some(other) = progress.executed.iter().find(|executed| **executed != progress.shard && !merged) {
        let name = |shard: Option<Shard>| shard.map_or_else(|| "the whole plan".to_owned(), |shard| shard.to_string());
        bail!(Code::RunFileEdited.with_message(format!(
            "{SHARD} of {} specifies {}, but a session of the run executed {}: restore the file from a copy",
            run.display(),
            name(progress.shard),
            name(*other)
        )));
    }
    Ok(progress)
}

/// The executions in the journal of `run`, for analysis; empty before the first session.
///
/// # Errors
/// As [`progress`].
pub fn executions(run: &Path) -> anyhow::Result<microbench_plots::journal::Journal> {
    let (path, bytes) = read(run)?;
    Ok(microbench_plots::journal::parse(&bytes).map_err(|damage| damage_error(&path, &damage))?)
}

/// Path and content of the journal; the content is empty when the file does not exist.
fn read(run: &Path) -> anyhow::Result<(PathBuf, Vec<u8>)> {
    let path = run.join(FILE);
    let bytes = match input::read_in(run, FILE) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        bytes => bytes.with_context(|| format!("cannot read {}", path.display()))?,
    };
    Ok((path, bytes))
}

/// The error for a damaged journal at `path`.
#[must_use]
pub fn damage_error(path: &Path, damage: &Damage) -> CodedError {
    let remedy = match damage.code() {
        Code::OtherFormat => "",
        _ => "; restore the file from a copy; the other files of the run are unchanged",
    };
    damage.code().with_message(format!("{}:{}: {}{remedy}", path.display(), damage.line, damage.cause))
}

/// [`progress`] from the bytes of a journal, without the shard.
///
/// # Errors
/// The first complete line that is damaged.
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
        progress.digests.extend(Digests::from_record(&record));
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
    fn an_incomplete_last_line_is_truncated_before_the_next_record() {
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
    fn the_largest_attempt_number_does_not_overflow() {
        let begun = imports::run_start("run", Digests::default(), "2026-01-01T00:00:00Z", "0");
        let start =
            Record::TrialStart { trial: 3, attempt: u32::MAX, cell: "c".into(), warmup: false, emulated_host: None };
        let end = Record::TrialEnd { trial: 3, attempt: u32::MAX, ok: 1, failed: 0 };
        let progress = progress_of(journal::encode([&begun, &start, &end]).as_bytes(), 0).unwrap();
        assert_eq!(progress.attempts[&3], u32::MAX);
        assert!(progress.ended.contains(&3));
    }
}
