//! The framing of `journal.ndjson`: one [`Record`] per line, with a checksum, a sequence number and a link to the line
//! before.
//!
//! A line of the formats 6 and 7 is `{"crc":"467cf3f3","seq":12,"prev":"0badcafe","record":{...}}` and a line feed.
//!
//! - `crc` is the CRC-32 (IEEE 802.3) of the bytes between `{"crc":"........",` and the last `}`, as 8 hex digits.
//! - `seq` is the index of the line, from 0.
//! - `prev` is the `crc` of the line before, `00000000` in the first line.
//!
//! A line of format 5 has `crc` and `record` only, and `crc` covers the text of the record. A run that was started in
//! format 5 and resumed in format 9 has lines of format 5, followed by lines of format 8.
//!
//! A last line without a line feed is torn: the writer was killed. Readers ignore it. `docs/reference/journal.md`
//! specifies the format for other programs.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cell::Cell;
use crate::code::Code;
use crate::describe::one_line;
use crate::plan::Plan;
use crate::record::Record;
use crate::version::{FORMAT_VERSION, OLDEST_FORMAT, other_format};

/// Name of the journal in a run folder.
pub const FILE: &str = "journal.ndjson";

/// Length of `{"crc":"........",` in bytes.
const HEAD: usize = 18;

/// Value of `prev` in the first line.
const NONE: &str = "00000000";

/// Why a line of a journal is invalid.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The line is not a frame of the journal, or not UTF-8.
    #[error("not a journal line: {0}")]
    Frame(String),
    /// The checksum does not match the text.
    #[error("checksum mismatch: the line states {stated}, the checksum of its text is {actual}")]
    Checksum {
        /// The checksum that the line states.
        stated: String,
        /// The checksum of the text.
        actual: String,
    },
    /// The sequence number is wrong: lines were removed, added, repeated or moved.
    #[error("its sequence number is that of line {written}: {}", missing(*.written, *.found))]
    Sequence {
        /// The line number at which it was written, from 1.
        written: u64,
        /// The line number at which it was found, from 1.
        found: u64,
    },
    /// The link does not match the line before.
    #[error(
        "it links to a line with the checksum {stated}, but the line before it has {actual}: that line was replaced"
    )]
    Link {
        /// The checksum that the line states for the line before.
        stated: String,
        /// The checksum of the line before.
        actual: String,
    },
    /// The checksum matches, but the text is not a record.
    #[error("not a record of the formats {OLDEST_FORMAT} to {FORMAT_VERSION}: {0}")]
    Record(String),
    /// The line starts a session in a format that this program does not read.
    #[error("{}", other_format(*.found))]
    Format {
        /// The format version of the session.
        found: u64,
    },
    /// The record contradicts the plan of the run.
    #[error("{0}")]
    Plan(String),
    /// The first line does not start a session.
    #[error("the first record is not `run_start`, which states where the trials execute")]
    NoStart,
}

fn missing(written: u64, found: u64) -> String {
    match written.checked_sub(found) {
        Some(1) => "the line before it is missing".to_owned(),
        Some(lines) => format!("the {lines} lines before it are missing"),
        None => "lines were added before it, or it is repeated".to_owned(),
    }
}

/// An invalid line of a journal.
#[derive(Debug)]
pub struct Damage {
    /// The line number, from 1.
    pub line: usize,
    pub cause: Cause,
}

impl Damage {
    #[must_use]
    pub fn code(&self) -> Code {
        match self.cause {
            Cause::Format { .. } => Code::OtherFormat,
            _ => Code::JournalDamaged,
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.cause)
    }
}

impl std::error::Error for Damage {}

/// A complete line whose framing is valid.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    number: usize,
    record: &'a str,
}

impl Line<'_> {
    /// Whether the record is a `run_start`, which starts a session.
    #[must_use]
    pub fn is_start(&self) -> bool {
        self.record.starts_with("{\"run_start\":")
    }

    /// Parses the record.
    ///
    /// # Errors
    /// If the text is not a record of a supported format.
    pub fn decode(&self) -> Result<Record, Damage> {
        serde_json::from_str(self.record)
            .map_err(|error| Damage { line: self.number, cause: Cause::Record(error.to_string()) })
    }
}

/// The fields of a line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Frame<'a> {
    crc: &'a str,
    seq: Option<u64>,
    prev: Option<&'a str>,
    #[serde(borrow)]
    record: &'a RawValue,
}

/// Parses a line without its line feed, and verifies its checksum.
fn frame(text: &[u8]) -> Result<Frame<'_>, Cause> {
    let text = std::str::from_utf8(text).map_err(|error| Cause::Frame(error.to_string()))?;
    let frame: Frame<'_> = serde_json::from_str(text).map_err(|error| Cause::Frame(error.to_string()))?;
    let covered = match (frame.seq, frame.prev) {
        (None, None) => frame.record.get().as_bytes(),
        (Some(_), Some(_)) if text.starts_with("{\"crc\":\"") => {
            text.as_bytes().get(HEAD..text.len() - 1).unwrap_or_default()
        }
        _ => return Err(Cause::Frame("the fields must be `crc`, `seq`, `prev` and `record`".to_owned())),
    };
    let actual = checksum(covered);
    if actual != frame.crc {
        return Err(Cause::Checksum { stated: frame.crc.chars().take(64).collect(), actual });
    }
    Ok(frame)
}

fn checksum(bytes: &[u8]) -> String {
    format!("{:08x}", crc32fast::hash(bytes))
}

/// Iterator over the complete lines of a journal. It checks each line, and its link to the line before.
///
/// The line after a damaged line is checked against the checksum that the damaged line states, so that one error is
/// reported once.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    rest: &'a [u8],
    read: u64,
    last: Option<&'a str>,
    linked: bool,
}

/// The complete lines of a journal, without parsing their records.
#[must_use]
pub fn lines(bytes: &[u8]) -> Lines<'_> {
    Lines { rest: bytes, read: 0, last: Some(NONE), linked: false }
}

impl<'a> Lines<'a> {
    fn check(&mut self, text: &'a [u8]) -> Result<Line<'a>, Cause> {
        let before = self.last.take();
        let frame = frame(text)?;
        self.last = Some(frame.crc);
        match (frame.seq, frame.prev) {
            (Some(seq), Some(prev)) => {
                self.linked = true;
                if seq != self.read {
                    return Err(Cause::Sequence { written: seq.saturating_add(1), found: self.read + 1 });
                }
                if let Some(before) = before.filter(|before| *before != prev) {
                    return Err(Cause::Link { stated: prev.to_owned(), actual: before.to_owned() });
                }
            }
            _ if self.linked => {
                return Err(Cause::Frame("it has no sequence number, but a line before it has one".to_owned()));
            }
            _ => {}
        }
        let line = Line {
            number: usize::try_from(self.read).unwrap_or(usize::MAX).saturating_add(1),
            record: frame.record.get(),
        };
        match format_of(&line) {
            Some(found) if !(u64::from(OLDEST_FORMAT)..=u64::from(FORMAT_VERSION)).contains(&found) => {
                Err(Cause::Format { found })
            }
            None if self.read == 0 => Err(Cause::NoStart),
            _ => Ok(line),
        }
    }
}

/// The format version in a `run_start`. It is readable even if the other fields are of an unknown format.
fn format_of(line: &Line<'_>) -> Option<u64> {
    #[derive(Deserialize)]
    struct Start {
        run_start: Format,
    }
    #[derive(Deserialize)]
    struct Format {
        format: u64,
    }
    let start = line.is_start().then(|| serde_json::from_str::<Start>(line.record));
    start?.ok().map(|start| start.run_start.format)
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<Line<'a>, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') else {
            let last = std::mem::take(&mut self.rest);
            let line = usize::try_from(self.read).unwrap_or(usize::MAX).saturating_add(1);
            let cause = Cause::Frame("it has no line feed, and it is not a truncated journal line".to_owned());
            return (!is_truncated_line(last)).then_some(Err(Damage { line, cause }));
        };
        let (text, rest) = (&self.rest[..end], &self.rest[end + 1..]);
        let checked = self.check(text);
        (self.rest, self.read) = (rest, self.read + 1);
        let line = usize::try_from(self.read).unwrap_or(usize::MAX);
        Some(checked.map_err(|cause| Damage { line, cause }))
    }
}

/// Whether the bytes after the last line feed can result from a killed writer or a power failure. Such bytes are the
/// beginning of a line, zero bytes, or both in this order. In a line, all control characters are escaped.
fn is_truncated_line(bytes: &[u8]) -> bool {
    const BEGIN: &[u8] = b"{\"crc\":\"";
    let zeros = bytes.iter().rev().take_while(|&&byte| byte == 0).count();
    let text = &bytes[..bytes.len() - zeros];
    (BEGIN.starts_with(text) || text.starts_with(BEGIN)) && !text.iter().any(u8::is_ascii_control)
}

/// The records of the complete lines of a journal, in order.
///
/// ```
/// use microbench_formats::journal::{encode, records};
/// use microbench_formats::record::Record;
///
/// let start: Record = serde_json::from_str(
///     r#"{"run_start": {"format": 9, "run": "quick", "plan_sha256": "", "host": "kvm", "hosts": 1,
///         "started": "2026-01-01T00:00:00Z", "version": "0.1.0"}}"#,
/// )
/// .unwrap();
/// let event = Record::Event { vm: 0, name: "http.ok".into(), t_ns: 1_500_000 };
/// let text = encode([&start, &event]);
///
/// let read: Vec<Record> = records(text.as_bytes()).collect::<Result<_, _>>().unwrap();
/// assert_eq!(read, [start, event]);
///
/// let edited = text.replace("1500000", "1400000");
/// let damage = records(edited.as_bytes()).find_map(Result::err).unwrap();
/// assert_eq!(damage.line, 2);
/// ```
///
/// # Errors
/// An item is an error if its line is invalid. A caller that requires an intact journal stops at the first error.
pub fn records(bytes: &[u8]) -> impl Iterator<Item = Result<Record, Damage>> {
    lines(bytes).map(|line| line?.decode())
}

/// Like [`records`], and checks each start of a trial against `plan`: its cell, and the CPU of its emulated host.
///
/// # Errors
/// Like [`records`]; also [`Cause::Plan`].
pub fn records_of_plan<'a>(bytes: &'a [u8], plan: &'a Plan) -> impl Iterator<Item = Result<Record, Damage>> + 'a {
    let cells: HashMap<&str, &Cell> = plan.cells.iter().map(|cell| (cell.id.as_str(), cell)).collect();
    lines(bytes).map(move |line| {
        let line = line?;
        let record = line.decode()?;
        match contradiction(&record, plan, &cells) {
            Some(problem) => Err(Damage { line: line.number, cause: Cause::Plan(problem) }),
            None => Ok(record),
        }
    })
}

/// What contradicts the plan in a start of a trial.
fn contradiction(record: &Record, plan: &Plan, cells: &HashMap<&str, &Cell>) -> Option<String> {
    const LONGEST: usize = 200;
    let Record::TrialStart { trial, cell, emulated_host, .. } = record else { return None };
    let at = usize::try_from(*trial).ok()?;
    if let Some(planned) =
        plan.trials.get(at).filter(|planned| planned.index == *trial && planned.cell.as_str() != cell)
    {
        let cell = one_line(cell, LONGEST);
        return Some(format!("trial {trial} starts in the cell {cell}, but its cell in the plan is {}", planned.cell));
    }
    let (cell, host) = (cells.get(cell.as_str())?, emulated_host.as_ref()?);
    (cell.host_cpu() != host.host_cpu).then(|| {
        format!(
            "trial {trial} starts on an emulated host with the CPU {}, but `host_cpu` of its cell {} is {}",
            one_line(&host.host_cpu, LONGEST),
            cell.id,
            cell.host_cpu()
        )
    })
}

/// The line number, from 1, of a torn last line; `None` if the last line is complete.
#[must_use]
pub fn torn_line(bytes: &[u8]) -> Option<usize> {
    let last = bytes.last()?;
    (*last != b'\n').then(|| bytes.iter().filter(|&&byte| byte == b'\n').count() + 1)
}

/// The sequence number and the link of the next line that a writer appends to a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    next: u64,
    last: String,
}

impl Default for Chain {
    fn default() -> Self {
        Self { next: 0, last: NONE.to_owned() }
    }
}

impl Chain {
    /// The chain that continues after the complete lines of `bytes`.
    #[must_use]
    pub fn after(bytes: &[u8]) -> Self {
        let complete = bytes.iter().rposition(|&byte| byte == b'\n').map_or(&[][..], |end| &bytes[..end]);
        if complete.is_empty() {
            return Self::default();
        }
        let next = complete.iter().filter(|&&byte| byte == b'\n').count() as u64 + 1;
        let last = complete.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
        Self { next, last: frame(last).map_or_else(|_| NONE.to_owned(), |frame| frame.crc.to_owned()) }
    }

    /// The next line of the journal, including the line feed.
    ///
    /// # Panics
    /// Never: the maps of a `Record` have string keys, and serde_json writes a float that is not finite as `null`.
    #[must_use]
    pub fn encode(&mut self, record: &Record) -> String {
        let json = serde_json::to_string(record).expect("a record serialises");
        let text = format!("\"seq\":{},\"prev\":\"{}\",\"record\":{json}", self.next, self.last);
        self.next += 1;
        self.last = checksum(text.as_bytes());
        format!("{{\"crc\":\"{}\",{text}}}\n", self.last)
    }
}

/// The text of a journal with these records.
#[must_use]
pub fn encode<'a>(records: impl IntoIterator<Item = &'a Record>) -> String {
    let mut chain = Chain::default();
    records.into_iter().map(|record| chain.encode(record)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostKind;

    fn start(format: u32) -> Record {
        Record::RunStart {
            format,
            run: "r".into(),
            plan_sha256: "p".into(),
            engines_sha256: None,
            lock_sha256: None,
            host: HostKind::Emulated,
            hosts: 1,
            started: "2026-01-01T00:00:00Z".into(),
            version: "0".into(),
            build: None,
            shard: None,
            machine: String::new(),
            unisolated: None,
            repetition: None,
            interleaved_with: None,
            label: None,
        }
    }

    fn event(t_ns: u64) -> Record {
        Record::Event { vm: 3, name: "http.ok".into(), t_ns }
    }

    fn journal() -> Vec<Record> {
        vec![start(FORMAT_VERSION), event(1), event(2), event(3)]
    }

    /// The lines of `journal` as format 5 has them.
    fn old(records: &[Record]) -> String {
        let line = |record| {
            let json = serde_json::to_string(record).unwrap();
            format!("{{\"crc\":\"{}\",\"record\":{json}}}\n", checksum(json.as_bytes()))
        };
        records.iter().map(line).collect()
    }

    fn read(text: &str) -> Result<Vec<Record>, Damage> {
        records(text.as_bytes()).collect()
    }

    #[test]
    fn encoded_journal_reads_back_unchanged() {
        let text = encode(&journal());
        assert_eq!(read(&text).unwrap(), journal());
        insta::assert_snapshot!(
            text.lines().nth(1).unwrap(),
            @r#"{"crc":"a271c776","seq":1,"prev":"32430562","record":{"event":{"vm":3,"name":"http.ok","t_ns":1}}}"#
        );
    }

    #[test]
    fn removed_replaced_repeated_or_moved_line_is_detected() {
        let text = encode(&journal());
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let at = |order: &[usize]| read(&order.iter().map(|&n| lines[n]).collect::<String>()).unwrap_err();
        for (order, line) in [(&[0, 2, 3][..], 2), (&[0, 1, 3], 3), (&[0, 2, 1, 3], 2), (&[0, 1, 1, 2], 3)] {
            let damage = at(order);
            assert!(damage.line == line && matches!(damage.cause, Cause::Sequence { .. }), "{order:?}: {damage}");
        }
        assert!(at(&[0, 2, 3]).to_string().contains("the line before it is missing"), "{}", at(&[0, 2, 3]));
        // A line of another journal with a matching sequence number.
        let other = encode(&[start(FORMAT_VERSION), event(9), event(2), event(3)]);
        let other: Vec<&str> = other.split_inclusive('\n').collect();
        let damage = read(&[lines[0], other[1], lines[2], lines[3]].concat()).unwrap_err();
        assert!(damage.line == 3 && matches!(damage.cause, Cause::Link { .. }), "{damage}");
    }

    #[test]
    fn changed_digit_fails_the_checksum() {
        for (old, new) in [("\"t_ns\":2", "\"t_ns\":7"), ("\"seq\":2", "\"seq\":7")] {
            let damage = read(&encode(&journal()).replace(old, new)).unwrap_err();
            assert!(damage.line == 3 && matches!(damage.cause, Cause::Checksum { .. }), "{damage}");
        }
    }

    #[test]
    fn truncated_last_line_is_ignored() {
        let text = encode(&journal());
        let whole = encode(&journal()[..3]).len();
        for end in whole + 1..text.len() {
            assert_eq!(read(&text[..end]).unwrap().len(), 3, "cut at {end}");
            assert_eq!(torn_line(&text.as_bytes()[..end]), Some(4));
        }
        assert_eq!((torn_line(text.as_bytes()), torn_line(b"")), (None, None));
    }

    #[test]
    fn incomplete_last_line_with_foreign_text_is_damage() {
        let text = encode(&journal());
        for last in ["\0\0\0", "{", "{\"crc\":\"0\0"] {
            assert_eq!(read(&(text.clone() + last)).unwrap().len(), 4, "{last:?}");
        }
        for last in ["{\"a\":1}", "x", " ", "{\"crc\":\"0\r"] {
            assert_eq!(read(&(text.clone() + last)).unwrap_err().line, 5, "{last:?}");
        }
        assert_eq!(read(&text.replace('\n', "\r")).unwrap_err().line, 1);
    }

    #[test]
    fn previous_format_is_read_and_resumed_in_current_format() {
        let mut records = journal();
        records[0] = start(OLDEST_FORMAT);
        let mut text = old(&records);
        assert_eq!(read(&text).unwrap(), records);
        let mut chain = Chain::after(text.as_bytes());
        text.push_str(&chain.encode(&start(FORMAT_VERSION)));
        text.push_str(&chain.encode(&event(4)));
        assert_eq!(read(&text).unwrap().len(), 6);
        // A line of format 5 is missing.
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        assert!(read(&[&lines[..2], &lines[3..]].concat().concat()).is_err());
        // A line without a sequence number after lines with one.
        assert!(read(&(text + &old(&[event(5)]))).is_err());
    }

    #[test]
    fn unsupported_formats_are_rejected_with_their_own_code() {
        for format in [0, OLDEST_FORMAT - 1, FORMAT_VERSION + 1] {
            let damage = read(&encode(&[start(format), event(1)])).unwrap_err();
            assert_eq!((damage.line, damage.code()), (1, Code::OtherFormat), "{damage}");
        }
        // A future format may have unknown fields.
        let text = encode(&[start(FORMAT_VERSION + 1)]);
        let json = text[text.find("\"seq\"").unwrap()..text.len() - 2].replace("\"hosts\"", "\"computers\"");
        let damage = read(&format!("{{\"crc\":\"{}\",{json}}}\n", checksum(json.as_bytes()))).unwrap_err();
        assert_eq!(damage.code(), Code::OtherFormat, "{damage}");
    }

    #[test]
    fn journal_without_run_start_is_rejected() {
        let damage = read(&encode(&[event(1)])).unwrap_err();
        assert!(matches!(damage.cause, Cause::NoStart), "{damage}");
        assert!(read("").unwrap().is_empty());
    }

    #[test]
    fn chain_continues_after_the_complete_lines() {
        let text = encode(&journal());
        let mut chain = Chain::after((text.clone() + "{\"crc\":\"0").as_bytes());
        assert_eq!(read(&(text.clone() + &chain.encode(&event(4)))).unwrap().len(), 5);
        assert_eq!(Chain::after(b"{\"crc\""), Chain::default());
    }
}
