//! The framing of `journal.ndjson`: one [`Record`] a line, each line with a checksum, a number and a link to the line before.
//!
//! A line of format 6 is `{"crc":"467cf3f3","seq":12,"prev":"0badcafe","record":{...}}` and a line feed. `crc` is the CRC-32
//! (IEEE 802.3) of the bytes between `{"crc":"........",` and the last `}`, as 8 hex digits; `seq` counts the file's lines from 0;
//! `prev` is the `crc` of the line before, `00000000` in the first line. A line of format 5 has `crc` and `record` alone, and its
//! `crc` is that of the record's text. A run that was begun in format 5 and resumed in format 6 has lines of both, in this order.
//!
//! A last line without a line feed is torn: its writer was killed, and it does not count. `docs/reference/journal.md` is the
//! specification for readers of other programs.

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::code::Code;
use crate::record::Record;
use crate::version::{FORMAT_VERSION, OLDEST_FORMAT, other_format};

/// Name of the file in a run directory.
pub const FILE: &str = "journal.ndjson";

/// Bytes of `{"crc":"........",`.
const HEAD: usize = 18;

/// The link of a first line.
const NONE: &str = "00000000";

/// Why a line of a journal cannot be read, or cannot be where it is.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// It is no frame: foreign text, or not UTF-8.
    #[error("not a journal line: {0}")]
    Frame(String),
    /// The checksum does not fit the text.
    #[error("checksum mismatch: the line says {stated}, its text has {actual}")]
    Checksum {
        /// Checksum in the line.
        stated: String,
        /// Checksum of the text.
        actual: String,
    },
    /// Lines before it are missing, or it stands at another place than where it was written.
    #[error("it was written as line {written}: {}", missing(*.written, *.found))]
    Sequence {
        /// Its number when it was written, from 1.
        written: u64,
        /// Its number now, from 1.
        found: u64,
    },
    /// It was written after another line than the one before it.
    #[error(
        "it was written after a line with the checksum {stated}, and the line before it has {actual}: that line was replaced"
    )]
    Link {
        /// The checksum that it states.
        stated: String,
        /// The checksum of the line before.
        actual: String,
    },
    /// The text is intact but is no record of its format.
    #[error("not a record of the formats {OLDEST_FORMAT} to {FORMAT_VERSION}: {0}")]
    Record(String),
    /// A session wrote it in a format that this program does not read.
    #[error("{}", other_format(*.found))]
    Format {
        /// Its format.
        found: u64,
    },
    /// The first line is not the begin of a session.
    #[error("a journal begins with `run_start`, which says where its trials executed")]
    NoStart,
}

fn missing(written: u64, found: u64) -> String {
    match written.checked_sub(found) {
        Some(1) => "the line before it is missing".to_owned(),
        Some(lines) => format!("the {lines} lines before it are missing"),
        None => "lines were added before it, or it stands here twice".to_owned(),
    }
}

/// A line that cannot be read.
#[derive(Debug)]
pub struct Damage {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub cause: Cause,
}

impl Damage {
    /// The error's code.
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

/// One whole line whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    number: usize,
    record: &'a str,
}

impl Line<'_> {
    /// Whether it holds the begin of a session.
    #[must_use]
    pub fn is_start(&self) -> bool {
        self.record.starts_with("{\"run_start\":")
    }

    /// Its record.
    ///
    /// # Errors
    /// When its text is no record that this program knows.
    pub fn decode(&self) -> Result<Record, Damage> {
        serde_json::from_str(self.record)
            .map_err(|error| Damage { line: self.number, cause: Cause::Record(error.to_string()) })
    }
}

/// The fields of a line, its checksum left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Frame<'a> {
    crc: &'a str,
    seq: Option<u64>,
    prev: Option<&'a str>,
    #[serde(borrow)]
    record: &'a RawValue,
}

/// Takes a line without its line feed apart and compares its checksum.
fn frame(text: &[u8]) -> Result<Frame<'_>, Cause> {
    let text = std::str::from_utf8(text).map_err(|error| Cause::Frame(error.to_string()))?;
    let frame: Frame<'_> = serde_json::from_str(text).map_err(|error| Cause::Frame(error.to_string()))?;
    let covered = match (frame.seq, frame.prev) {
        (None, None) => frame.record.get().as_bytes(),
        (Some(_), Some(_)) if text.starts_with("{\"crc\":\"") => {
            text.as_bytes().get(HEAD..text.len() - 1).unwrap_or_default()
        }
        _ => return Err(Cause::Frame("its fields are not `crc`, `seq`, `prev` and `record`".to_owned())),
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

/// The whole lines of a journal's bytes, each checked by itself and against the line before. After a damaged line the next one is
/// checked against what that line states.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    rest: &'a [u8],
    read: u64,
    last: Option<&'a str>,
    linked: bool,
}

/// The lines of a journal.
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
                return Err(Cause::Frame("it has no number, and lines before it have one".to_owned()));
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

/// The format that a session states at its begin, whatever else it says.
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
            let cause = Cause::Frame("it has no line feed, and is no line that was cut off".to_owned());
            return (!is_cut_off(last)).then_some(Err(Damage { line, cause }));
        };
        let (text, rest) = (&self.rest[..end], &self.rest[end + 1..]);
        let checked = self.check(text);
        (self.rest, self.read) = (rest, self.read + 1);
        let line = usize::try_from(self.read).unwrap_or(usize::MAX);
        Some(checked.map_err(|cause| Damage { line, cause }))
    }
}

/// Whether the bytes after the last line feed are what a killed writer or a power cut leaves: the begin of a line, zero bytes, or the one
/// and then the other. In a line every control character is escaped.
fn is_cut_off(bytes: &[u8]) -> bool {
    const BEGIN: &[u8] = b"{\"crc\":\"";
    let zeros = bytes.iter().rev().take_while(|&&byte| byte == 0).count();
    let text = &bytes[..bytes.len() - zeros];
    (BEGIN.starts_with(text) || text.starts_with(BEGIN)) && !text.iter().any(u8::is_ascii_control)
}

/// The records of a journal's whole lines, in order, until one is damaged.
///
/// # Errors
/// Each item: the first line that is damaged, or stands at another place than where it was written.
pub fn records(bytes: &[u8]) -> impl Iterator<Item = Result<Record, Damage>> {
    lines(bytes).map(|line| line?.decode())
}

/// The number of the last line, from 1, when it is torn.
#[must_use]
pub fn torn(bytes: &[u8]) -> Option<usize> {
    let last = bytes.last()?;
    (*last != b'\n').then(|| bytes.iter().filter(|&&byte| byte == b'\n').count() + 1)
}

/// Where the next line of a journal goes: its number, and the checksum of the line before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    next: u64,
    last: String,
}

impl Default for Chain {
    /// The chain of an empty journal.
    fn default() -> Self {
        Self { next: 0, last: NONE.to_owned() }
    }
}

impl Chain {
    /// The chain after the whole lines of `bytes`.
    #[must_use]
    pub fn after(bytes: &[u8]) -> Self {
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(&[][..], |end| &bytes[..end]);
        if whole.is_empty() {
            return Self::default();
        }
        let next = whole.iter().filter(|&&byte| byte == b'\n').count() as u64 + 1;
        let last = whole.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
        Self { next, last: frame(last).map_or_else(|_| NONE.to_owned(), |frame| frame.crc.to_owned()) }
    }

    /// The next line of the journal, with its line feed.
    ///
    /// # Panics
    /// Never in practice: a `Record` always serialises (its maps have string keys and its floats come from readings,
    /// where a non-finite one becomes `null`).
    #[must_use]
    pub fn encode(&mut self, record: &Record) -> String {
        let json = serde_json::to_string(record).expect("a record serialises");
        let text = format!("\"seq\":{},\"prev\":\"{}\",\"record\":{json}", self.next, self.last);
        self.next += 1;
        self.last = checksum(text.as_bytes());
        format!("{{\"crc\":\"{}\",{text}}}\n", self.last)
    }
}

/// The text of a journal that holds `records`.
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
            shard: None,
            machine: String::new(),
            unisolated: None,
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
    fn a_journal_reads_back_as_what_was_written() {
        let text = encode(&journal());
        assert_eq!(read(&text).unwrap(), journal());
        insta::assert_snapshot!(
            text.lines().nth(1).unwrap(),
            @r#"{"crc":"3b6138af","seq":1,"prev":"897fd894","record":{"event":{"vm":3,"name":"http.ok","t_ns":1}}}"#
        );
    }

    #[test]
    fn a_removed_replaced_doubled_or_moved_line_is_noticed() {
        let text = encode(&journal());
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let at = |order: &[usize]| read(&order.iter().map(|&n| lines[n]).collect::<String>()).unwrap_err();
        for (order, line) in [(&[0, 2, 3][..], 2), (&[0, 1, 3], 3), (&[0, 2, 1, 3], 2), (&[0, 1, 1, 2], 3)] {
            let damage = at(order);
            assert!(damage.line == line && matches!(damage.cause, Cause::Sequence { .. }), "{order:?}: {damage}");
        }
        assert!(at(&[0, 2, 3]).to_string().contains("the line before it is missing"), "{}", at(&[0, 2, 3]));
        // Another journal's line, whose number fits.
        let other = encode(&[start(FORMAT_VERSION), event(9), event(2), event(3)]);
        let other: Vec<&str> = other.split_inclusive('\n').collect();
        let damage = read(&[lines[0], other[1], lines[2], lines[3]].concat()).unwrap_err();
        assert!(damage.line == 3 && matches!(damage.cause, Cause::Link { .. }), "{damage}");
    }

    #[test]
    fn a_changed_digit_is_refused_by_the_checksum() {
        for (old, new) in [("\"t_ns\":2", "\"t_ns\":7"), ("\"seq\":2", "\"seq\":7")] {
            let damage = read(&encode(&journal()).replace(old, new)).unwrap_err();
            assert!(damage.line == 3 && matches!(damage.cause, Cause::Checksum { .. }), "{damage}");
        }
    }

    #[test]
    fn a_line_cut_anywhere_is_torn_and_does_not_count() {
        let text = encode(&journal());
        let whole = encode(&journal()[..3]).len();
        for end in whole + 1..text.len() {
            assert_eq!(read(&text[..end]).unwrap().len(), 3, "cut at {end}");
            assert_eq!(torn(&text.as_bytes()[..end]), Some(4));
        }
        assert_eq!((torn(text.as_bytes()), torn(b"")), (None, None));
    }

    #[test]
    fn a_last_line_that_no_writer_left_is_damage() {
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
    fn the_previous_format_is_read_and_resumed_in_this_one() {
        let mut records = journal();
        records[0] = start(OLDEST_FORMAT);
        let mut text = old(&records);
        assert_eq!(read(&text).unwrap(), records);
        let mut chain = Chain::after(text.as_bytes());
        text.push_str(&chain.encode(&start(FORMAT_VERSION)));
        text.push_str(&chain.encode(&event(4)));
        assert_eq!(read(&text).unwrap().len(), 6);
        // A line of the old part is missing.
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        assert!(read(&[&lines[..2], &lines[3..]].concat().concat()).is_err());
        // Once lines are numbered, each is.
        assert!(read(&(text + &old(&[event(5)]))).is_err());
    }

    #[test]
    fn other_formats_are_refused_by_a_code_of_their_own() {
        for format in [0, OLDEST_FORMAT - 1, FORMAT_VERSION + 1] {
            let damage = read(&encode(&[start(format), event(1)])).unwrap_err();
            assert_eq!((damage.line, damage.code()), (1, Code::OtherFormat), "{damage}");
        }
        // A future format may have fields that are unknown here.
        let text = encode(&[start(FORMAT_VERSION + 1)]);
        let json = text[text.find("\"seq\"").unwrap()..text.len() - 2].replace("\"hosts\"", "\"computers\"");
        let damage = read(&format!("{{\"crc\":\"{}\",{json}}}\n", checksum(json.as_bytes()))).unwrap_err();
        assert_eq!(damage.code(), Code::OtherFormat, "{damage}");
    }

    #[test]
    fn a_journal_without_a_start_is_refused() {
        let damage = read(&encode(&[event(1)])).unwrap_err();
        assert!(matches!(damage.cause, Cause::NoStart), "{damage}");
        assert!(read("").unwrap().is_empty());
    }

    #[test]
    fn the_chain_goes_on_after_whole_lines_alone() {
        let text = encode(&journal());
        let mut chain = Chain::after((text.clone() + "{\"crc\":\"0").as_bytes());
        assert_eq!(read(&(text.clone() + &chain.encode(&event(4)))).unwrap().len(), 5);
        assert_eq!(Chain::after(b"{\"crc\""), Chain::default());
    }
}
