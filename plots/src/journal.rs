//! The trials of a run that count, by its journal.
//!
//! Records between a `TrialStart` and its `TrialEnd` belong to that execution. One without its end was cut off and does not
//! count. A torn last line is what a killed writer leaves: it is dropped and said so. Any other damage is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use microbench_formats::digests::Digests;
use microbench_formats::host::HostKind;
use microbench_formats::journal::{Damage, lines, records, torn};
use microbench_formats::precision::Look;
use microbench_formats::record::{FailureReason, Interference, ProbeError, Record};
use microbench_formats::shard::Shard;

use crate::Error;
use crate::file::at;

/// One VM's records of one execution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vm {
    /// Events by name, ns; the first of each name counts.
    pub events: BTreeMap<String, u64>,
    /// Readings by name: value or the reason why there is none, and unit.
    pub readings: BTreeMap<String, (Result<f64, String>, String)>,
    /// Why it did not complete.
    pub failure: Option<Failure>,
}

/// Why a VM did not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Kind.
    pub reason: FailureReason,
    /// What was being waited for.
    pub stage: String,
    /// Detail.
    pub message: String,
}

/// One execution of a trial that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Execution {
    /// Index in the plan.
    pub trial: u32,
    /// 0 for the first execution.
    pub attempt: u32,
    /// The cell.
    pub cell: String,
    /// Never counted.
    pub warmup: bool,
    /// Where it executed.
    pub host: HostKind,
    /// Name of that host; empty where a run has but one.
    pub machine: String,
    /// By VM number.
    pub vms: BTreeMap<u32, Vm>,
    /// What disturbed it, so that it does not count; empty for nothing.
    pub invalid: Vec<(Interference, String)>,
}

/// A process that executed trials of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// When it began: wall clock, RFC 3339.
    pub started: String,
    /// Where its trials executed.
    pub host: HostKind,
    /// Hosts that shared them.
    pub hosts: u32,
    /// Version of microbench.
    pub version: String,
    /// The part of the plan that it executed; `None` for all of it.
    pub shard: Option<Shard>,
    /// Name of the host; empty where a run has but one.
    pub machine: String,
    /// Why its VMMs were not isolated from the host; `None` where they were.
    pub unisolated: Option<String>,
    /// The files that it began with.
    pub digests: Digests,
}

/// A journal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Journal {
    /// Sessions, the first one first.
    pub sessions: Vec<Session>,
    /// When every trial had ended: wall clock, RFC 3339; `None` while some have not.
    pub ended: Option<String>,
    /// Executions that have ended, in order: at most one of a trial that is neither a warm-up nor invalid.
    pub executions: Vec<Execution>,
    /// Trials that were begun and cut off, with the attempt; each was or will be run again.
    pub cut_off: BTreeSet<(u32, u32)>,
    /// The probe's error, by fake guests, at the start of each session on each host.
    pub probe_errors: Vec<ProbeError>,
    /// What the stopping rule found at its looks: blocks that had ended, and each cell's.
    pub looks: Vec<(u32, BTreeMap<String, Look>)>,
    /// A torn last line was dropped: its number (1-based).
    pub torn: Option<usize>,
}

/// The sentence on VMMs that were not isolated from the host, for readers of a run's results.
pub const UNISOLATED: &str = "VMMs were not isolated from the host";

impl Journal {
    /// Why VMMs of the run were not isolated, by the first session of which it is true; `None` where they were in each.
    #[must_use]
    pub fn unisolated(&self) -> Option<&str> {
        self.sessions.iter().find_map(|session| session.unisolated.as_deref())
    }
}

/// The sessions of a journal. Every line is checked, and no other record is taken apart, of which there may be millions.
///
/// # Errors
/// The first line that is damaged.
pub fn sessions(bytes: &[u8]) -> Result<Vec<Session>, Damage> {
    let mut sessions = Vec::new();
    for line in lines(bytes) {
        let line = line?;
        if line.is_start() {
            sessions.extend(Session::of(&line.decode()?));
        }
    }
    Ok(sessions)
}

impl Session {
    /// The session that `record` is the start of; `None` of another record.
    fn of(record: &Record) -> Option<Self> {
        let digests = Digests::of(record)?;
        let Record::RunStart { host, hosts, started, version, shard, machine, unisolated, .. } = record.clone() else {
            return None;
        };
        Some(Self { started, host, hosts, version, shard, machine, unisolated, digests })
    }
}

/// The journal in a file's bytes.
///
/// # Errors
/// The first whole line that is damaged.
pub fn parse(bytes: &[u8]) -> Result<Journal, Damage> {
    let mut reader = Reader::default();
    for record in records(bytes) {
        reader.take(record?);
    }
    Ok(Journal { torn: torn(bytes), ..reader.end() })
}

/// The journal in the file at `path` by itself; [`Run::open`](crate::run::Run::open) checks it against the run's other files.
///
/// # Errors
/// When it cannot be read, or a whole line is damaged.
pub fn read(path: &Path) -> Result<Journal, Error> {
    let bytes = std::fs::read(path).map_err(at(path))?;
    parse(&bytes).map_err(|source| Error::Journal { path: path.to_path_buf(), cause: source })
}

/// The execution that `records` are of, from its start to its end; `None` when they are of none.
#[must_use]
pub fn execution(records: &[Record]) -> Option<Execution> {
    let mut reader = Reader::default();
    records.iter().for_each(|record| reader.take(record.clone()));
    reader.end().executions.pop()
}

/// A journal while its records are read, in order.
#[derive(Default)]
struct Reader {
    journal: Journal,
    open: Option<Execution>,
    /// Trials of which an execution counts.
    counted: BTreeSet<u32>,
}

impl Reader {
    fn take(&mut self, record: Record) {
        let Self { journal, open, counted } = self;
        match record {
            Record::RunStart { .. } => {
                journal.sessions.extend(Session::of(&record));
                journal.cut_off.extend(open.take().map(|execution| (execution.trial, execution.attempt)));
            }
            Record::TrialStart { trial, attempt, cell, warmup } => {
                journal.cut_off.extend(open.take().map(|execution| (execution.trial, execution.attempt)));
                let session = journal.sessions.last();
                let host = session.map_or(HostKind::Fake, |session| session.host);
                let machine = session.map_or_else(String::new, |session| session.machine.clone());
                let vms = BTreeMap::new();
                *open = Some(Execution { trial, attempt, cell, warmup, host, machine, vms, invalid: Vec::new() });
            }
            Record::TrialEnd { .. } => {
                // A trial that was ended already keeps its first valid execution: no sample counts twice.
                let kept = |e: &Execution| e.warmup || !e.invalid.is_empty() || counted.insert(e.trial);
                journal.executions.extend(open.take().filter(kept));
            }
            Record::Invalid { reason, message } => {
                if let Some(execution) = open {
                    execution.invalid.push((reason, message));
                }
            }
            Record::Look { blocks, cells } => journal.looks.push((blocks, cells)),
            Record::RunEnd { ended } => journal.ended = Some(ended),
            Record::Probe(error) => journal.probe_errors.push(error),
            Record::Event { vm, name, t_ns } => {
                if let Some(execution) = open {
                    execution.vms.entry(vm).or_default().events.entry(name).or_insert(t_ns);
                }
            }
            Record::Reading { vm, name, value, unit, reason } => {
                if let Some(execution) = open {
                    let value = value.filter(|value| value.is_finite()).ok_or(reason);
                    execution.vms.entry(vm).or_default().readings.insert(name, (value, unit));
                }
            }
            Record::Failure { vm, reason, stage, message } => {
                if let Some(execution) = open {
                    execution.vms.entry(vm).or_default().failure = Some(Failure { reason, stage, message });
                }
            }
        }
    }

    fn end(mut self) -> Journal {
        self.journal.cut_off.extend(self.open.map(|execution| (execution.trial, execution.attempt)));
        self.journal
    }
}

#[cfg(test)]
mod tests {
    use microbench_formats::journal::encode;

    use super::*;

    fn start() -> Record {
        crate::import::run_start("run", Digests::default(), "2026-01-01T00:00:00Z", "0")
    }

    fn trial(trial: u32, attempt: u32, t_ns: u64) -> [Record; 3] {
        [
            Record::TrialStart { trial, attempt, cell: "c".into(), warmup: false },
            Record::Event { vm: 0, name: "spawn".into(), t_ns },
            Record::TrialEnd { trial, attempt, ok: 1, failed: 0 },
        ]
    }

    fn journal(records: &[Record]) -> Vec<u8> {
        encode(std::iter::once(&start()).chain(records)).into_bytes()
    }

    #[test]
    fn a_cut_off_trial_does_not_count_and_its_next_attempt_does() {
        let mut records = trial(0, 0, 5)[..2].to_vec();
        records.extend(trial(0, 1, 7));
        let journal = parse(&journal(&records)).unwrap();
        assert_eq!(journal.cut_off, BTreeSet::from([(0, 0)]));
        assert_eq!(journal.executions.len(), 1);
        assert_eq!(journal.executions[0].vms[&0].events["spawn"], 7);
    }

    #[test]
    fn a_trial_ended_twice_counts_once() {
        let journal = parse(&journal(&[trial(0, 0, 5), trial(0, 1, 7)].concat())).unwrap();
        assert_eq!(journal.executions.len(), 1);
        assert_eq!(journal.executions[0].attempt, 0);
    }

    #[test]
    fn a_journal_cut_at_every_byte_of_its_last_trial_loses_that_trial_alone() {
        let first = journal(&trial(0, 0, 5));
        let both = journal(&[trial(0, 0, 5), trial(1, 0, 7)].concat());
        for end in first.len()..both.len() - 1 {
            assert_eq!(parse(&both[..end]).unwrap().executions.len(), 1, "cut at {end}");
        }
        assert_eq!(parse(&both).unwrap().executions.len(), 2);
    }

    #[test]
    fn damage_before_the_last_line_names_the_line() {
        let text = String::from_utf8(journal(&trial(0, 0, 5))).unwrap().replacen("spawn", "spawm", 1);
        assert_eq!(parse(text.as_bytes()).unwrap_err().line, 3);
    }

    #[test]
    fn the_sessions_alone_are_those_of_the_journal() {
        let text = journal(&trial(0, 0, 5));
        assert_eq!(sessions(&text).unwrap(), parse(&text).unwrap().sessions);
    }
}
