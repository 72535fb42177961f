//! The journal of a run as sessions and trial executions.
//!
//! Records between a `TrialStart` and its `TrialEnd` belong to one trial execution. An execution without a `TrialEnd`
//! was cut off and does not count. A killed writer leaves a torn last line, which is ignored and reported in
//! [`Journal::torn`]. Any other damage is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use microbench_formats::build::Build;
use microbench_formats::digests::Digests;
use microbench_formats::host::HostKind;
use microbench_formats::input;
use microbench_formats::journal::{Damage, lines, records, records_of_plan, torn_line};
use microbench_formats::label::Label;
use microbench_formats::plan::Plan;
use microbench_formats::precision::Look;
use microbench_formats::record::{EmulatedHost, FailureReason, Interference, ProbeError, Record};
use microbench_formats::shard::Shard;

use crate::Error;
use crate::file::io_error_at;

/// The records of one VM in one trial execution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vm {
    /// Time of each event by name, ns; of several events with one name the first.
    pub events: BTreeMap<String, u64>,
    /// Readings by name: the value, or the reason why it is missing, and the unit.
    pub readings: BTreeMap<String, (Result<f64, String>, String)>,
    /// `None` if the VM completed.
    pub failure: Option<Failure>,
}

/// Why a VM did not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: FailureReason,
    /// The event or step that was waited for.
    pub stage: String,
    pub message: String,
}

/// One trial execution that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Execution {
    /// Index of the trial in the plan.
    pub trial: u32,
    /// 0 for the first execution of the trial.
    pub attempt: u32,
    pub cell: String,
    /// Whether it is a warm-up, which never counts.
    pub warmup: bool,
    pub host: HostKind,
    /// Name of the host; empty if the run has a single host.
    pub machine: String,
    /// The emulated host that executed it; `None` on other kinds of host and before format 8.
    pub emulated_host: Option<Arc<EmulatedHost>>,
    /// The VMs, by number.
    pub vms: BTreeMap<u32, Vm>,
    /// The disturbances, each with its message. An execution with a disturbance does not count.
    pub invalid: Vec<(Interference, String)>,
}

/// One process that executed trials of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Name of the run when the session started; its folder may have been renamed since.
    pub run: String,
    /// Start time by the wall clock, RFC 3339.
    pub started: String,
    pub host: HostKind,
    /// Number of hosts that shared the trials.
    pub hosts: u32,
    pub version: String,
    /// Sources and compiler of the program; `None` in formats 5 to 7.
    pub build: Option<Build>,
    /// The shard of the plan that it executed; `None` for the whole plan.
    pub shard: Option<Shard>,
    /// Name of the host; empty if the run has a single host.
    pub machine: String,
    /// Why the VMMs were not isolated from the host; `None` if they were.
    pub unisolated: Option<String>,
    /// The repetition, from 0, whose trials it executed; `None` for a plan without repetitions.
    pub repetition: Option<u32>,
    /// Name of the run whose repetitions alternate with those of this run; `None` if no run was interleaved.
    pub interleaved_with: Option<String>,
    /// The run's label; `None` without one.
    pub label: Option<Label>,
    /// Digests of the run's files at the start of the session.
    pub digests: Digests,
}

/// The contents of a journal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Journal {
    /// Sessions, in order.
    pub sessions: Vec<Session>,
    /// When the last trial ended, by the wall clock, RFC 3339; `None` while trials are left.
    pub ended: Option<String>,
    /// Trial executions that have ended, in order; for each trial at most one that is neither a warm-up nor disturbed.
    pub executions: Vec<Execution>,
    /// Trials that were cut off, with the attempt; each was or will be executed again.
    pub cut_off: BTreeSet<(u32, u32)>,
    /// The error of the probe, measured with fake guests at the start of each session on each host.
    pub probe_errors: Vec<ProbeError>,
    /// The looks of the stopping rule: the number of blocks that had ended, and the result for each cell.
    pub looks: Vec<(u32, BTreeMap<String, Look>)>,
    /// Number of the torn last line, from 1; `None` if the last line is whole.
    pub torn: Option<usize>,
}

/// The reason of a reading without a value whose record states none.
const NO_REASON: &str = "the journal does not state why";

/// The remark on a run whose VMMs were not isolated from the host.
pub const UNISOLATED: &str = "VMMs were not isolated from the host";

impl Journal {
    /// Why VMMs were not isolated, from the first session in which they were not; `None` if they were in every session.
    #[must_use]
    pub fn unisolated(&self) -> Option<&str> {
        self.sessions.iter().find_map(|session| session.unisolated.as_deref())
    }

    /// The run's label, that of the first session with one; `None` without a label.
    #[must_use]
    pub fn label(&self) -> Option<&Label> {
        self.sessions.iter().find_map(|session| session.label.as_ref())
    }
}

/// Whether the repetitions of two runs alternated (`microbench ab`): every session of each names the other run. The
/// repetitions with the same number are then pairs.
#[must_use]
pub fn are_interleaved(first: &[Session], second: &[Session]) -> bool {
    let names = |own: &[Session], other: &[Session]| {
        let name = other.first().map(|session| session.run.as_str());
        name.is_some() && !own.is_empty() && own.iter().all(|session| session.interleaved_with.as_deref() == name)
    };
    names(first, second) && names(second, first)
}

/// The sessions of a journal, without decoding its other records, of which there may be millions. The checksum of
/// every line is verified.
///
/// # Errors
/// The first damaged line.
pub fn sessions(bytes: &[u8]) -> Result<Vec<Session>, Damage> {
    let mut sessions = Vec::new();
    for line in lines(bytes) {
        let line = line?;
        if line.is_start() {
            sessions.extend(Session::from_record(&line.decode()?));
        }
    }
    Ok(sessions)
}

impl Session {
    /// The session that `record` starts; `None` if it is not a `RunStart`.
    fn from_record(record: &Record) -> Option<Self> {
        let digests = Digests::from_record(record)?;
        let Record::RunStart {
            run,
            host,
            hosts,
            started,
            version,
            build,
            shard,
            machine,
            unisolated,
            repetition,
            interleaved_with,
            label,
            ..
        } = record.clone()
        else {
            return None;
        };
        Some(Self {
            run,
            started,
            host,
            hosts,
            version,
            build: build.map(|build| *build),
            shard,
            machine,
            unisolated,
            repetition,
            interleaved_with,
            label,
            digests,
        })
    }
}

/// Parses the bytes of a journal file.
///
/// # Errors
/// The first damaged line, other than a torn last line.
pub fn parse(bytes: &[u8]) -> Result<Journal, Damage> {
    read_records(bytes, records(bytes))
}

/// Like [`parse`], and checks each start of a trial against the plan of the run.
///
/// # Errors
/// Like [`parse`]; also the first trial whose cell, or the CPU of whose emulated host, is not that of the plan.
pub fn parse_with_plan(bytes: &[u8], plan: &Plan) -> Result<Journal, Damage> {
    read_records(bytes, records_of_plan(bytes, plan))
}

fn read_records(bytes: &[u8], records: impl Iterator<Item = Result<Record, Damage>>) -> Result<Journal, Damage> {
    let mut reader = Reader::default();
    for record in records {
        reader.apply(record?);
    }
    Ok(Journal { torn: torn_line(bytes), ..reader.finish() })
}

/// Reads the journal at `path` without the run's other files; [`Run::open`](crate::run::Run::open) checks it against
/// them.
///
/// # Errors
/// If the file cannot be read, or a line other than a torn last line is damaged.
pub fn read(path: &Path) -> Result<Journal, Error> {
    let bytes = input::read_no_link(path).map_err(io_error_at(path))?;
    parse(&bytes).map_err(|source| Error::Journal { path: path.to_path_buf(), cause: source })
}

/// The trial execution in `records`, which begin with its `TrialStart` and end with its `TrialEnd`; `None` if they do
/// not contain one.
#[must_use]
pub fn execution(records: &[Record]) -> Option<Execution> {
    let mut reader = Reader::default();
    records.iter().for_each(|record| reader.apply(record.clone()));
    reader.finish().executions.pop()
}

/// A journal that is being built from records in order.
#[derive(Default)]
struct Reader {
    journal: Journal,
    open: Option<Execution>,
    /// Trials that have an execution that counts.
    counted: BTreeSet<u32>,
}

impl Reader {
    fn apply(&mut self, record: Record) {
        let Self { journal, open, counted } = self;
        match record {
            Record::RunStart { .. } => {
                journal.sessions.extend(Session::from_record(&record));
                journal.cut_off.extend(open.take().map(|execution| (execution.trial, execution.attempt)));
            }
            Record::TrialStart { trial, attempt, cell, warmup, emulated_host } => {
                journal.cut_off.extend(open.take().map(|execution| (execution.trial, execution.attempt)));
                let session = journal.sessions.last();
                let host = session.map_or(HostKind::Fake, |session| session.host);
                let machine = session.map_or_else(String::new, |session| session.machine.clone());
                let emulated_host = emulated_host.map(Arc::new);
                let (vms, invalid) = (BTreeMap::new(), Vec::new());
                *open = Some(Execution { trial, attempt, cell, warmup, host, machine, emulated_host, vms, invalid });
            }
            Record::TrialEnd { .. } => {
                // Only the first valid execution of a trial is kept, so that no sample counts twice.
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
                    let without = |reason: String| if reason.is_empty() { NO_REASON.to_owned() } else { reason };
                    let value = value.filter(|value| value.is_finite()).ok_or_else(|| without(reason));
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

    fn finish(mut self) -> Journal {
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
            Record::TrialStart { trial, attempt, cell: "c".into(), warmup: false, emulated_host: None },
            Record::Event { vm: 0, name: "spawn".into(), t_ns },
            Record::TrialEnd { trial, attempt, ok: 1, failed: 0 },
        ]
    }

    fn journal(records: &[Record]) -> Vec<u8> {
        encode(std::iter::once(&start()).chain(records)).into_bytes()
    }

    #[test]
    fn a_cut_off_execution_does_not_count_and_the_next_attempt_does() {
        let mut records = trial(0, 0, 5)[..2].to_vec();
        records.extend(trial(0, 1, 7));
        let journal = parse(&journal(&records)).unwrap();
        assert_eq!(journal.cut_off, BTreeSet::from([(0, 0)]));
        assert_eq!(journal.executions.len(), 1);
        assert_eq!(journal.executions[0].vms[&0].events["spawn"], 7);
    }

    #[test]
    fn a_reading_without_a_value_has_a_reason() {
        let reading = |value, reason: &str| Record::Reading {
            vm: 0,
            name: "runner.share".into(),
            value,
            unit: "1".into(),
            reason: reason.into(),
        };
        for (value, reason, expected) in [(None, "", NO_REASON), (None, "why", "why"), (Some(f64::NAN), "", NO_REASON)]
        {
            let [start, _, end] = trial(0, 0, 5);
            let execution = execution(&[start, reading(value, reason), end]).unwrap();
            assert_eq!(execution.vms[&0].readings["runner.share"].0, Err(expected.to_owned()));
        }
    }

    #[test]
    fn a_trial_with_two_ends_counts_once() {
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
    fn damage_before_the_last_line_is_an_error_with_the_line_number() {
        let text = String::from_utf8(journal(&trial(0, 0, 5))).unwrap().replacen("spawn", "spawm", 1);
        assert_eq!(parse(text.as_bytes()).unwrap_err().line, 3);
    }

    #[test]
    fn sessions_reads_the_same_sessions_as_parse() {
        let text = journal(&trial(0, 0, 5));
        assert_eq!(sessions(&text).unwrap(), parse(&text).unwrap().sessions);
    }
}
