//! Properties that every untrusted input must satisfy: the bodies of the fuzz targets and of the test over
//! `fuzz/seeds/`.
//!
//! Each function receives the bytes of one input and panics if the code under test violates a property.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use microbench::catalog;
use microbench::store::journal::progress_of;
use microbench_agent::Stats;
use microbench_agent::kernel_log::KernelLog;
use microbench_agent::workload::{StreamReply, WorkloadReply, WorkloadRequest};
use microbench_formats::digests::Digests;
use microbench_formats::journal;
use microbench_formats::plan::Plan;
use microbench_formats::precision::Look;
use microbench_formats::record::{ProbeError, Record};
use microbench_measure::artifacts::project::Project;
use microbench_measure::guest::bounds::{self, Amount, GuestLimits, Window};
use microbench_measure::guest::{boot_events, kernel_errors, response};
use microbench_measure::probe;
use microbench_measure::sys::clock::Instant;
use microbench_plots::import as imports;
use microbench_plots::journal as journals;
use microbench_study::manifest::{self, Catalog};
use microbench_study::plan::{self, Overrides};

/// Studies with more trials are not expanded, to keep each input fast.
const MAX_TRIALS: u64 = 2000;

/// Number of failed trials in a row after which a cell is given up.
const GIVE_UP_AFTER: u32 = 2;

/// Checksums of workloads with more bytes are not computed, to keep each input fast.
const MAX_WORKLOAD_BYTES: u64 = 1 << 20;

/// The path of the fuzzed manifest; the references and files of the project are next to it.
const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../experiments/fuzzed.toml");

/// The engines, kernels and root file systems of the project, which a manifest may name.
static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let engines = catalog::engines(Path::new(MANIFEST)).expect("the engine descriptions are valid");
    catalog::catalog(&engines, &Project::find(None, Path::new(MANIFEST)).expect("the project is found"))
});

/// A manifest is rejected with errors that can be printed, or its plan can be expanded, written and read back.
pub(crate) fn manifest(bytes: &[u8]) {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let study = match manifest::parse(MANIFEST, source, &CATALOG) {
        Ok(study) => study,
        Err(errors) => {
            assert!(!errors.errors().is_empty(), "rejected without an error");
            assert!(!errors.plain().is_empty() && !errors.to_string().is_empty());
            return;
        }
    };
    assert_eq!(study.source, source);
    let trials = study.cells.iter().map(|cell| u64::from(cell.trials)).sum::<u64>();
    let instrumented = 2 * study.cells.len() as u64 * u64::from(study.instrument_trials);
    if trials + instrumented > MAX_TRIALS {
        return;
    }
    let profiles = study.profiles.iter().map(|profile| Some(profile.name.as_str()));
    for profile in [None].into_iter().chain(profiles) {
        let Ok(plan) = plan::expand(&study, Overrides { profile, ..Overrides::default() }) else { continue };
        let mut text = Vec::new();
        plan::write_json(&plan, &mut text).expect("a plan is written");
        let read: Plan = serde_json::from_slice(&text).expect("a plan reads back");
        assert_eq!(read, plan);
    }
}

/// A journal is read or rejected. A written journal reads back unchanged, and a truncated journal reads back as its
/// beginning.
pub(crate) fn journal(bytes: &[u8]) {
    let _ = (journals::parse(bytes), progress_of(bytes, GIVE_UP_AFTER), journals::sessions(bytes));
    let text = String::from_utf8_lossy(bytes);
    let records: Vec<Record> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    records.iter().filter(|record| !matches!(record, Record::RunStart { .. })).for_each(assert_reads_back);
    assert_numbers_read_back(bytes);
    if records.is_empty() {
        return;
    }
    let written = encode_run(&records);
    let whole = journals::parse(written.as_bytes()).expect("a written journal is valid");
    assert_eq!(whole.torn, None);
    assert!(progress_of(written.as_bytes(), GIVE_UP_AFTER).is_ok());
    let truncated = &written.as_bytes()[..bytes.len().wrapping_mul(0x9e37_79b1) % written.len()];
    let part = journals::parse(truncated).expect("a truncated journal is valid");
    assert!(whole.executions.starts_with(&part.executions), "the truncation added or changed an execution");
}

/// The text of a journal with a session start and `records`.
fn encode_run(records: &[Record]) -> String {
    let start = imports::run_start("run", Digests::default(), "2026-01-01T00:00:00Z", "0");
    // Session starts in `records` are dropped: those of other formats would be rejected.
    let others = records.iter().filter(|record| !matches!(record, Record::RunStart { .. }));
    journal::encode(std::iter::once(&start).chain(others))
}

fn last_record(text: &str) -> Record {
    journal::records(text.as_bytes()).last().expect("a record").expect("a written record is valid")
}

/// Asserts that a record reads back unchanged.
fn assert_reads_back(record: &Record) {
    let text = encode_run(std::slice::from_ref(record));
    assert_eq!(&last_record(&text), record, "{text}");
}

/// Asserts that records with the number in the first 8 bytes read back unchanged.
fn assert_numbers_read_back(bytes: &[u8]) {
    let Some(first) = bytes.first_chunk() else { return };
    let (t_ns, value) = (u64::from_le_bytes(*first), f64::from_le_bytes(*first));
    assert_reads_back(&Record::Event { vm: 0, name: String::new(), t_ns });
    let reading =
        |value| Record::Reading { vm: 0, name: String::new(), value, unit: String::new(), reason: String::new() };
    if value.is_finite() {
        assert_reads_back(&reading(Some(value)));
        let cells = BTreeMap::from([(String::new(), Look::Enough { half_width: value })]);
        assert_reads_back(&Record::Look { blocks: 0, cells });
        assert_reads_back(&Record::Probe(ProbeError {
            n: 0,
            median_ms: value,
            p99_ms: value,
            max_ms: value,
            cpu_ms: value,
        }));
    } else {
        assert_eq!(last_record(&encode_run(&[reading(Some(value))])), reading(None));
    }
}

/// A response of a guest is accepted or rejected. No instant in it is outside of the life of the VM.
pub(crate) fn response(bytes: &[u8]) {
    let nonce = "0123456789abcdef";
    let (open, ended) = (probe::check_response(bytes, false, nonce), probe::check_response(bytes, true, nonce));
    let ended = ended.expect("a complete response has a verdict");
    assert!(open.is_none_or(|open| open.is_ok() == ended.is_ok()), "the end of the connection changed the verdict");
    if let Err(message) = ended {
        assert!(!message.contains(char::is_control), "control characters of a guest in a message: {message:?}");
    }
    if let Ok(stats) = serde_json::from_slice::<Stats>(bytes) {
        for (spawn, http_ok) in [(1_000_000_000, 9_000_000_000), (0, 0), (0, u64::MAX), (u64::MAX, u64::MAX)] {
            let window = Window::of_guest(Instant(spawn), Instant(http_ok));
            let limits = GuestLimits { cpus: 4, memory_bytes: 1 << 30 };
            let Ok(times) = bounds::check_boot(&stats, limits, window) else { continue };
            for (name, instant) in boot_events::derive_events(spawn, http_ok, &times) {
                let Ok(instant) = instant else { continue };
                assert!((spawn..=http_ok).contains(&instant), "{name} at {instant}");
            }
        }
        assert_json_reads_back(&stats);
    }
    match response::parse_head(bytes, "GET /file", nonce) {
        Ok(Some(head)) => assert!((1..=bytes.len()).contains(&head.body), "a body at {}", head.body),
        Ok(None) => assert!(bytes.len() <= response::HEAD_LIMIT, "a head beyond the limit"),
        Err(message) => assert!(!message.contains(char::is_control), "control characters in a message: {message:?}"),
    }
    if let Ok(reply) = serde_json::from_slice::<WorkloadReply>(bytes) {
        let (amount, window) =
            (Amount { bytes: 1 << 20, operations: Some(256) }, Window::of_request(Instant(0), Instant(1_000_000_000)));
        if amount.check_duration("duration", reply.duration_ns, window).is_ok() {
            assert!((2_560..=1_011_000_000).contains(&reply.duration_ns), "{} ns", reply.duration_ns);
        }
        if let Some(latency) = reply.operation
            && bounds::check_latency(str::to_owned, latency, 256, reply.duration_ns).is_ok()
        {
            assert!(latency.p50_ns <= latency.p99_ns && latency.p99_ns <= reply.duration_ns, "{latency:?}");
        }
        assert_json_reads_back(&reply);
    }
    if let Ok(reply) = serde_json::from_slice::<StreamReply>(bytes) {
        assert_json_reads_back(&reply);
    }
    // The agent rejects a request of the host, or the expected checksum can be computed.
    if let Ok(request) = serde_json::from_slice::<WorkloadRequest>(bytes) {
        assert_json_reads_back(&request);
        if request.bytes <= MAX_WORKLOAD_BYTES && request.check().is_ok() {
            assert!(!request.expected_checksum().is_empty());
        }
    }
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some(error) = kernel_errors::find(&String::from_utf8_lossy(line)) else { continue };
        assert!(error.chars().count() <= 200 && !error.contains(char::is_control), "{error:?}");
    }
}

/// Asserts that a value reads back unchanged from its JSON.
fn assert_json_reads_back<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    let text = serde_json::to_string(value).expect("the value serialises");
    assert_eq!(&serde_json::from_str::<T>(&text).expect("the JSON is valid"), value);
}

/// The time stamps of a kernel log, whose records are separated by NUL, belong to counted messages.
pub(crate) fn kernel_log(bytes: &[u8]) {
    let mut log = KernelLog::default();
    let mut records = 0;
    for record in bytes.split(|byte| *byte == 0) {
        log.add_record(&String::from_utf8_lossy(record));
        records += 1;
    }
    assert!(log.messages <= records);
    assert_eq!(log.last.is_some(), log.messages > 0);
    for stamp in [log.init, log.random_seeded, log.random_fast_init] {
        assert!(stamp.is_none() || log.messages > 0, "{log:?}");
    }
}
