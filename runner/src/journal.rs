//! The append-only record of a run. A trial's lines are written together once it has ended and are on disk before the
//! next one starts, so that a killed run loses the trial that it was in and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use microbench_plots::record::{HostKind, Record, decode_line, encode_line};
use microbench_plots::stats::precision::Look;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::run::session::ATTEMPTS;

/// Name of the journal in a run directory.
pub const FILE: &str = "journal.ndjson";

/// The journal of one run directory, open for appending.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Flock<File>,
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
}

impl Progress {
    /// Execution number `attempt` of `trial` has ended. One that was disturbed is executed again, up to [`ATTEMPTS`] times.
    pub fn ended(&mut self, trial: u32, attempt: u32, disturbed: bool) {
        self.attempts.insert(trial, attempt + 1);
        if !disturbed || attempt + 1 >= ATTEMPTS {
            self.ended.insert(trial);
        }
    }
}

impl Journal {
    /// Opens the journal of `run` for appending, and cuts off a torn last line that a killed session left.
    ///
    /// # Errors
    /// When the file cannot be opened or written.
    pub fn open(run: &Path) -> anyhow::Result<Self> {
        let path = run.join(FILE);
        let context = || format!("cannot open {}", path.display());
        let file = OpenOptions::new().create(true).append(true).open(&path).with_context(context)?;
        let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => file,
            Err((_, Errno::EWOULDBLOCK)) => bail!("{} is in use by another microbench", run.display()),
            Err((_, error)) => return Err(error).with_context(context),
        };
        let text = std::fs::read(&path).with_context(context)?;
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            file.set_len(whole as u64).with_context(context)?;
        }
        // The name of a new file is data too.
        File::open(run).and_then(|folder| folder.sync_all()).with_context(context)?;
        Ok(Self { path, file })
    }

    /// Appends `records` in one write and waits until they are on disk.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn append(&mut self, records: &[Record]) -> anyhow::Result<()> {
        let text: String = records.iter().map(encode_line).collect();
        self.file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_data())
            .with_context(|| format!("cannot append to {}", self.path.display()))
    }
}

/// What the journal of the run directory `run` says has been done; nothing when there is no journal yet. A torn last line does
/// not count.
///
/// # Errors
/// When the file cannot be read, or a whole line of it is damaged: the message names it.
pub fn progress(run: &Path) -> anyhow::Result<Progress> {
    let path = run.join(FILE);
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        text => text.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let (mut progress, mut warmup, mut disturbed) = (Progress::default(), false, false);
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for (number, line) in (1..).zip(whole.lines()) {
        let record = decode_line(line).with_context(|| format!("{}:{number}", path.display()))?;
        match record {
            Record::TrialStart { trial, attempt, warmup: warm, .. } => {
                (warmup, disturbed) = (warm, false);
                if !warm {
                    progress.attempts.insert(trial, attempt + 1);
                }
            }
            Record::Invalid { .. } => disturbed = true,
            Record::TrialEnd { trial, attempt, .. } if !warmup => progress.ended(trial, attempt, disturbed),
            Record::Look { blocks, cells } => {
                progress.looked = Some(blocks);
                let over = cells.values().all(|look| !matches!(look, Look::GoOn { .. }));
                progress.enough = over.then_some(blocks);
            }
            Record::RunStart { host, .. } => progress.host = Some(host),
            _ => {}
        }
    }
    Ok(progress)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_cut_off_before_the_next_record() {
        let run = tempfile::tempdir().unwrap();
        let record = Record::RunEnd { ended: "2026-01-01T00:00:00Z".into() };
        Journal::open(run.path()).unwrap().append(std::slice::from_ref(&record)).unwrap();
        let path = run.path().join(FILE);
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}{}", &whole[..whole.len() / 2])).unwrap();
        Journal::open(run.path()).unwrap().append(&[record]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), whole.repeat(2));
    }
}
