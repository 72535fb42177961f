//! What holds of every input from outside, whatever its bytes: the bodies of the fuzz targets, and of the test over `fuzz/seeds/`.
//!
//! A function here takes the bytes of one input and panics when something is wrong with what our code makes of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use microbench::catalog;
use microbench::store::journal::progress_of;
use microbench_agent::Stats;
use microbench_agent::kernel_log::KernelLog;
use microbench_agent::work::{StreamReply, WorkReply, WorkRequest};
use microbench_formats::digests::Digests;
use microbench_formats::journal;
use microbench_formats::plan::Plan;
use microbench_formats::precision::Look;
use microbench_formats::record::{ProbeError, Record};
use microbench_measure::artifacts::project::Project;
use microbench_measure::guest::{boot_events, kernel_errors, response};
use microbench_measure::probe;
use microbench_plots::import as imports;
use microbench_plots::journal as journals;
use microbench_study::manifest::{self, Catalog};
use microbench_study::plan::{self, Choice};

/// A study with more trials in all is not expanded, so that an input stays fast.
const MOST_TRIALS: u64 = 2000;

/// A cell is given up after so many failed trials in a row.
const GIVE_UP_AFTER: u32 = 2;

/// Work on more bytes is not done, so that an input stays fast.
const MOST_WORK: u64 = 1 << 20;

/// The path of the manifest: the project's own references and files stand beside it.
const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../experiments/fuzzed.toml");

/// What a manifest may name: the project's engines, kernels and root file systems.
static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let engines = catalog::engines(Path::new(MANIFEST)).expect("the engines are described");
    catalog::catalog(&engines, &Project::find(None, Path::new(MANIFEST)).expect("this is the project"))
});

/// A manifest is refused with errors that can be shown, or its plan can be made, written and read back.
pub(crate) fn manifest(bytes: &[u8]) {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let study = match manifest::parse(MANIFEST, source, &CATALOG) {
        Ok(study) => study,
        Err(errors) => {
            assert!(!errors.errors().is_empty(), "refused without a reason");
            assert!(!errors.plain().is_empty() && !errors.to_string().is_empty());
            return;
        }
    };
    assert_eq!(study.source, source);
    let trials = study.cells.iter().map(|cell| u64::from(cell.trials)).sum::<u64>();
    let instrumented = study.cells.len() as u64 * u64::from(study.instrument_trials);
    if trials + instrumented > MOST_TRIALS {
        return;
    }
    let profiles = study.profiles.iter().map(|profile| Some(profile.name.as_str()));
    for profile in [None].into_iter().chain(profiles) {
        let Ok(plan) = plan::expand(&study, Choice { profile, ..Choice::default() }) else { continue };
        let mut text = Vec::new();
        plan::write_json(&plan, &mut text).expect("a plan is written");
        let read: Plan = serde_json::from_slice(&text).expect("a plan reads back");
        assert_eq!(read, plan);
    }
}

/// A journal is read or refused; what is written reads back as it was, whole or cut anywhere.
pub(crate) fn journal(bytes: &[u8]) {
    let _ = (journals::parse(bytes), progress_of(bytes, GIVE_UP_AFTER), journals::sessions(bytes));
    let text = String::from_utf8_lossy(bytes);
    let records: Vec<Record> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    records.iter().filter(|record| !matches!(record, Record::RunStart { .. })).for_each(reads_back);
    numbers(bytes);
    if records.is_empty() {
        return;
    }
    let written = written(&records);
    let whole = journals::parse(written.as_bytes()).expect("what is written is a journal");
    assert_eq!(whole.torn, None);
    assert!(progress_of(written.as_bytes(), GIVE_UP_AFTER).is_ok());
    let cut = &written.as_bytes()[..bytes.len().wrapping_mul(0x9e37_79b1) % written.len()];
    let part = journals::parse(cut).expect("a cut journal is one still");
    assert!(whole.executions.starts_with(&part.executions), "a cut added an execution, or changed one");
}

/// The text of a journal of `records` after the begin of a session.
fn written(records: &[Record]) -> String {
    let begun = imports::run_start("run", Digests::default(), "2026-01-01T00:00:00Z", "0");
    // Starts of other formats are refused.
    let others = records.iter().filter(|record| !matches!(record, Record::RunStart { .. }));
    journal::encode(std::iter::once(&begun).chain(others))
}

fn last(text: &str) -> Record {
    journal::records(text.as_bytes()).last().expect("a record").expect("what is written decodes")
}

/// A record reads back as what was written.
fn reads_back(record: &Record) {
    let text = written(std::slice::from_ref(record));
    assert_eq!(&last(&text), record, "{text}");
}

/// So do the numbers that the first bytes are, in all records that have one.
fn numbers(bytes: &[u8]) {
    let Some(first) = bytes.first_chunk() else { return };
    let (t_ns, value) = (u64::from_le_bytes(*first), f64::from_le_bytes(*first));
    reads_back(&Record::Event { vm: 0, name: String::new(), t_ns });
    let reading =
        |value| Record::Reading { vm: 0, name: String::new(), value, unit: String::new(), reason: String::new() };
    if value.is_finite() {
        reads_back(&reading(Some(value)));
        let cells = BTreeMap::from([(String::new(), Look::Enough { half_width: value })]);
        reads_back(&Record::Look { blocks: 0, cells });
        reads_back(&Record::Probe(ProbeError { n: 0, median_ms: value, p99_ms: value, max_ms: value, cpu_ms: value }));
    } else {
        assert_eq!(last(&written(&[reading(Some(value))])), reading(None));
    }
}

/// What a guest answers is judged, read or refused; no instant that it tells lies outside its VM's life.
pub(crate) fn answer(bytes: &[u8]) {
    let nonce = "0123456789abcdef";
    let (open, ended) = (probe::check_response(bytes, false, nonce), probe::check_response(bytes, true, nonce));
    let ended = ended.expect("an answer that has ended has a verdict");
    assert!(open.is_none_or(|open| open.is_ok() == ended.is_ok()), "an end changed a verdict");
    if let Err(message) = ended {
        assert!(!message.contains(char::is_control), "a guest's control characters in a message: {message:?}");
    }
    if let Ok(stats) = serde_json::from_slice::<Stats>(bytes) {
        for (spawn, http_ok) in [(1_000_000_000, 9_000_000_000), (0, 0), (0, u64::MAX), (u64::MAX, u64::MAX)] {
            for (name, instant) in boot_events::derive_events(spawn, http_ok, &stats) {
                let Ok(instant) = instant else { continue };
                assert!((spawn..=http_ok).contains(&instant), "{name} at {instant}");
            }
        }
        same(&stats);
    }
    match response::parse_head(bytes, "GET /file", nonce) {
        Ok(Some(head)) => assert!((1..=bytes.len()).contains(&head.body), "a body at {}", head.body),
        Ok(None) => assert!(bytes.len() <= response::HEAD_LIMIT, "a head without end"),
        Err(message) => assert!(!message.contains(char::is_control), "control characters in a message: {message:?}"),
    }
    if let Ok(reply) = serde_json::from_slice::<WorkReply>(bytes) {
        same(&reply);
    }
    if let Ok(reply) = serde_json::from_slice::<StreamReply>(bytes) {
        same(&reply);
    }
    // What a host asks is read by the agent, which refuses it or can say what must come of it.
    if let Ok(request) = serde_json::from_slice::<WorkRequest>(bytes) {
        same(&request);
        if request.bytes <= MOST_WORK && request.check().is_ok() {
            assert!(!request.checksum().is_empty());
        }
    }
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some(complaint) = kernel_errors::find(&String::from_utf8_lossy(line)) else { continue };
        assert!(complaint.chars().count() <= 200 && !complaint.contains(char::is_control), "{complaint:?}");
    }
}

/// An answer that the agent would write as this one reads back as it.
fn same<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(answer: &T) {
    let text = serde_json::to_string(answer).expect("an answer serialises");
    assert_eq!(&serde_json::from_str::<T>(&text).expect("an answer reads back"), answer);
}

/// A kernel's log, its records separated by NUL, has stamps only of messages that were counted.
pub(crate) fn kernel_log(bytes: &[u8]) {
    let mut log = KernelLog::default();
    let mut records = 0;
    for record in bytes.split(|byte| *byte == 0) {
        log.take(&String::from_utf8_lossy(record));
        records += 1;
    }
    assert!(log.messages <= records);
    assert_eq!(log.last.is_some(), log.messages > 0);
    for stamp in [log.init, log.random_seeded, log.random_fast_init] {
        assert!(stamp.is_none() || log.messages > 0, "{log:?}");
    }
}
