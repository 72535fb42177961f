//! Reads `journal.ndjson` into the trials that count.
//!
//! Records between a `TrialStart` and its `TrialEnd` belong to that execution. One without its end was cut off and does not
//! count. A torn last line is what a killed writer leaves: it is dropped and said so. Any other damage is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use microbench_formats::precision::Look;
use microbench_formats::record::{
    DecodeError, FailureReason, HostKind, Interference, ProbeError, Record, Shard, decode_line,
};

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

/// The sessions alone of a journal's text: trials, of which there may be millions of lines, are not read.
pub(crate) fn sessions_of(text: &str) -> impl Iterator<Item = Session> {
    let begins = |line: &&str| line.contains("\"run_start\"");
    text.lines().filter(begins).filter_map(|line| match decode_line(line) {
        Ok(Record::RunStart { host, hosts, started, version, shard, machine, unisolated, .. }) => {
            Some(Session { started, host, hosts, version, shard, machine, unisolated })
        }
        _ => None,
    })
}

/// Reads the journal at `path`.
///
/// # Errors
/// When it cannot be read, or a line other than the last is damaged.
pub fn read(path: &Path) -> Result<Journal, Error> {
    let bytes = std::fs::read(path).map_err(at(path))?;
    parse_bytes(&bytes).map_err(|(line, source)| Error::Journal { path: path.to_path_buf(), line, source })
}

/// The journal of a file's bytes.
///
/// # Errors
/// The number (1-based) of the first line that is damaged, other than a torn last one, and what is wrong with it.
pub fn parse_bytes(bytes: &[u8]) -> Result<Journal, (usize, DecodeError)> {
    parse(&String::from_utf8_lossy(bytes))
}

fn parse(text: &str) -> Result<Journal, (usize, DecodeError)> {
    let mut journal = Journal::default();
    let (mut host, mut machine) = (HostKind::Kvm, String::new());
    let mut open: Option<Execution> = None;
    let mut counted = BTreeSet::new();
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        if !line.ends_with('\n') {
            // Even if it is whole by chance: its writer was not told that it is on disk, and will write it again.
            journal.torn = Some(number);
            break;
        }
        let record = decode_line(line).map_err(|error| (number, error))?;
        match record {
            Record::RunStart { host: now, hosts, started, version, shard, machine: name, unisolated, .. } => {
                (host, machine) = (now, name.clone());
                journal.sessions.push(Session { started, host, hosts, version, shard, machine: name, unisolated });
                journal.cut_off.extend(open.take().map(|execution| (execution.trial, execution.attempt)));
            }
            Record::TrialStart { trial, attempt, cell, warmup } => {
                journal.cut_off.extend(open.take().map(|execution| (execution.trial, execution.attempt)));
                let (machine, vms) = (machine.clone(), BTreeMap::new());
                open = Some(Execution { trial, attempt, cell, warmup, host, machine, vms, invalid: Vec::new() });
            }
            Record::TrialEnd { .. } => {
                // A trial that was ended already keeps its first valid execution: no sample counts twice.
                let kept = |e: &Execution| e.warmup || !e.invalid.is_empty() || counted.insert(e.trial);
                journal.executions.extend(open.take().filter(kept));
            }
            Record::Invalid { reason, message } => {
                if let Some(execution) = &mut open {
                    execution.invalid.push((reason, message));
                }
            }
            Record::Look { blocks, cells } => journal.looks.push((blocks, cells)),
            Record::RunEnd { ended } => journal.ended = Some(ended),
            Record::Probe(error) => journal.probe_errors.push(error),
            Record::Event { vm, name, t_ns } => {
                if let Some(execution) = &mut open {
                    execution.vms.entry(vm).or_default().events.entry(name).or_insert(t_ns);
                }
            }
            Record::Reading { vm, name, value, unit, reason } => {
                if let Some(execution) = &mut open {
                    let value = value.filter(|value| value.is_finite()).ok_or(reason);
                    execution.vms.entry(vm).or_default().readings.insert(name, (value, unit));
                }
            }
            Record::Failure { vm, reason, stage, message } => {
                if let Some(execution) = &mut open {
                    execution.vms.entry(vm).or_default().failure = Some(Failure { reason, stage, message });
                }
            }
        }
    }
    journal.cut_off.extend(open.map(|execution| (execution.trial, execution.attempt)));
    Ok(journal)
}

#[cfg(test)]
mod tests {
    use microbench_formats::record::encode_line;

    use super::*;

    fn trial(trial: u32, attempt: u32, t_ns: u64) -> [Record; 3] {
        [
            Record::TrialStart { trial, attempt, cell: "c".into(), warmup: false },
            Record::Event { vm: 0, name: "spawn".into(), t_ns },
            Record::TrialEnd { trial, attempt, ok: 1, failed: 0 },
        ]
    }

    fn lines(records: &[Record]) -> String {
        records.iter().map(encode_line).collect()
    }

    #[test]
    fn a_cut_off_trial_does_not_count_and_its_next_attempt_does() {
        let mut records = trial(0, 0, 5)[..2].to_vec();
        records.extend(trial(0, 1, 7));
        let journal = parse(&lines(&records)).unwrap();
        assert_eq!(journal.cut_off, BTreeSet::from([(0, 0)]));
        assert_eq!(journal.executions.len(), 1);
        assert_eq!(journal.executions[0].vms[&0].events["spawn"], 7);
    }

    #[test]
    fn a_trial_ended_twice_counts_once() {
        let journal = parse(&(lines(&trial(0, 0, 5)) + &lines(&trial(0, 1, 7)))).unwrap();
        assert_eq!(journal.executions.len(), 1);
        assert_eq!(journal.executions[0].attempt, 0);
    }

    #[test]
    fn a_journal_cut_at_every_byte_of_its_last_trial_loses_that_trial_alone() {
        let first = lines(&trial(0, 0, 5));
        let both = first.clone() + &lines(&trial(1, 0, 7));
        for end in first.len()..both.len() - 1 {
            assert_eq!(parse(&both[..end]).unwrap().executions.len(), 1, "cut at {end}");
        }
        assert_eq!(parse(&both).unwrap().executions.len(), 2);
    }

    #[test]
    fn damage_before_the_last_line_names_the_line() {
        let text = lines(&trial(0, 0, 5)).replacen("spawn", "spawm", 1);
        assert_eq!(parse(&text).unwrap_err().0, 2);
    }
}
