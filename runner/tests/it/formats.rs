//! The format of a run: supported versions, and edited or damaged files that every reader must refuse.

use std::fs;
use std::path::Path;
use std::process::Command;

use microbench_formats::journal::{encode, records};
use microbench_formats::record::Record;
use microbench_formats::version::{FORMAT_VERSION, OLDEST_FORMAT};
use sha2::{Digest as _, Sha256};

use crate::support::{Bench, text};

/// An analysed run of three trials.
fn analysed() -> Bench {
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 3", "");
    bench.run_study();
    assert!(bench.run(&["analyze", "run"]).status.success());
    bench
}

/// Commands that read the run.
const READERS: [&[&str]; 8] = [
    &["analyze", "run"],
    &["plot", "run"],
    &["table", "run"],
    &["report", "run"],
    &["query", "run", "select count(*) from samples"],
    &["compare", "run", "run"],
    &["export", "run", "--out", "run.tar.zst"],
    &["run", "--resume", "run", "--host", "fake"],
];

/// Asserts that every reader refuses the run with this error code and does not change its samples.
#[track_caller]
fn refused_by_all(bench: &Bench, code: &str, says: &str) {
    let samples = fs::read(bench.path("run/samples.csv")).unwrap();
    for arguments in READERS {
        let output = bench.run(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains(&format!("error[{code}]")), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
    assert_eq!(fs::read(bench.path("run/samples.csv")).unwrap(), samples);
    assert!(!bench.path("run.tar.zst").exists());
}

fn edit(path: &Path, change: impl FnOnce(String) -> String) {
    let before = fs::read_to_string(path).unwrap();
    let after = change(before.clone());
    assert_ne!(before, after, "the edit changed nothing");
    fs::write(path, after).unwrap();
}

fn journal(bench: &Bench, run: &str) -> Vec<Record> {
    records(&fs::read(bench.path(run).join("journal.ndjson")).unwrap()).map(Result::unwrap).collect()
}

#[test]
fn edited_plan_is_refused_by_every_reader() {
    let bench = analysed();
    edit(&bench.path("run/plan.json"), |plan| plan.replace("\"label\": \"ok\"", "\"label\": \"other\""));
    refused_by_all(&bench, "MB3005", "plan.json");
}

#[test]
fn edited_or_removed_engines_and_lock_are_refused_by_every_reader() {
    for file in ["engines.json", "lock.toml"] {
        let bench = analysed();
        edit(&bench.path("run").join(file), |content| content + "\n");
        refused_by_all(&bench, "MB3021", file);
        fs::remove_file(bench.path("run").join(file)).unwrap();
        let output = bench.run(&["analyze", "run"]);
        assert!(text(&output.stderr).contains("was removed"), "{}", text(&output.stderr));
    }
}

#[test]
fn removed_record_is_refused_by_every_reader() {
    let bench = analysed();
    edit(&bench.path("run/journal.ndjson"), |journal| {
        let removed = journal.lines().position(|line| line.contains("\"trial_end\"")).unwrap();
        let kept = journal.lines().enumerate().filter(|(number, _)| *number != removed);
        kept.map(|(_, line)| format!("{line}\n")).collect()
    });
    refused_by_all(&bench, "MB3006", "the line before it is missing");
}

#[test]
fn journal_without_a_session_is_refused_and_results_are_kept() {
    let bench = analysed();
    let without: Vec<Record> =
        journal(&bench, "run").into_iter().filter(|record| !matches!(record, Record::RunStart { .. })).collect();
    fs::write(bench.path("run/journal.ndjson"), encode(&without)).unwrap();
    refused_by_all(&bench, "MB3006", "the first record is not `run_start`");
    // A power cut may leave an empty journal, or one of zero bytes. Such a run can be resumed.
    for content in [&b""[..], &[0; 4096]] {
        fs::write(bench.path("run/journal.ndjson"), content).unwrap();
        let samples = fs::read(bench.path("run/samples.csv")).unwrap();
        for arguments in &READERS[..READERS.len() - 1] {
            let said = text(&bench.run(arguments).stderr);
            assert!(said.contains("error[MB3022]"), "{arguments:?}: {said}");
        }
        assert_eq!(fs::read(bench.path("run/samples.csv")).unwrap(), samples);
    }
}

#[test]
fn unsupported_formats_are_refused_by_every_reader() {
    let bench = analysed();
    let plan = fs::read_to_string(bench.path("run/plan.json")).unwrap();
    let of = |format: u32| plan.replace(&format!("\"format\": {FORMAT_VERSION}"), &format!("\"format\": {format}"));
    for format in [OLDEST_FORMAT - 1, FORMAT_VERSION + 1] {
        fs::write(bench.path("run/plan.json"), of(format)).unwrap();
        refused_by_all(&bench, "MB3008", &format!("format {format} is not supported"));
    }
    fs::write(bench.path("run/plan.json"), plan).unwrap();
    let mut records = journal(&bench, "run");
    for other in [OLDEST_FORMAT - 1, FORMAT_VERSION + 1] {
        if let Record::RunStart { format, .. } = &mut records[0] {
            *format = other;
        }
        fs::write(bench.path("run/journal.ndjson"), encode(&records)).unwrap();
        refused_by_all(&bench, "MB3008", &format!("format {other} is not supported"));
    }
}

/// `runs` and `show` do not combine a plan with sessions of another plan, and `prune` keeps such a run.
#[test]
fn run_with_mismatched_files_is_listed_as_unreadable() {
    let bench = analysed();
    edit(&bench.path("run/plan.json"), |plan| plan.replace("\"label\": \"ok\"", "\"label\": \"other\""));
    fs::create_dir(bench.path("runs")).unwrap();
    fs::rename(bench.path("run"), bench.path("runs/run")).unwrap();
    let listed = text(&bench.run(&["runs", "--json"]).stdout);
    assert!(listed.contains("\"state\": \"unreadable\"") && listed.contains("plan.json was edited"), "{listed}");
    let shown = bench.run(&["show", "run"]);
    assert_eq!(shown.status.code(), Some(1), "{}", text(&shown.stdout));
    bench.run(&["prune", "--keep", "0", "--yes"]);
    assert!(bench.path("runs/run/journal.ndjson").exists());
}

#[test]
fn samples_of_an_edited_plan_are_not_pooled() {
    let bench = analysed();
    edit(&bench.path("run/plan.json"), |plan| plan.replace("\"label\": \"ok\"", "\"label\": \"other\""));
    for arguments in [&["analyze", "run", "run"][..], &["analyze", "run/samples.parquet"]] {
        let said = text(&bench.run(arguments).stderr);
        assert!(said.contains("error[MB3005]"), "{arguments:?}: {said}");
    }
}

/// A refused resume neither writes a lock file nor truncates a torn line.
#[test]
fn refused_resume_changes_no_file() {
    let bench = analysed();
    let journal = bench.path("run/journal.ndjson");
    fs::remove_file(bench.path("run/lock.toml")).unwrap();
    let said = text(&bench.run(&["run", "--resume", "run", "--host", "fake"]).stderr);
    assert!(said.contains("error[MB3021]") && !bench.path("run/lock.toml").exists(), "{said}");
    edit(&journal, |journal| journal.replace('\n', "\r"));
    let before = fs::read(&journal).unwrap();
    let said = text(&bench.run(&["run", "--resume", "run", "--host", "fake"]).stderr);
    assert!(said.contains("error[MB3006]") && fs::read(&journal).unwrap() == before, "{said}");
}

/// The text with the names of events and readings that formats 5 and 6 use.
fn with_old_names(text: &str) -> String {
    let names = [
        ("agent.ready_datagram", "agent.announced"), // phrases: allow
        ("guest.parameters_", "guest.words_"),
        ("probe.after_console_mark", "probe.witness"), // phrases: allow
        ("steady.response", "steady.answered"),
        ("\"workload.", "\"work."),
    ];
    names.iter().fold(text.to_owned(), |text, (new, old)| text.replace(new, old))
}

/// Rewrites the run in format 5: no line numbers, no links, no digest except the plan's, old names of events and
/// readings.
fn convert_to_oldest_format(bench: &Bench, run: &str) {
    let path = bench.path(run).join("plan.json");
    edit(&path, |plan| {
        let plan = with_old_names(&plan);
        plan.replace(&format!("\"format\": {FORMAT_VERSION}"), &format!("\"format\": {OLDEST_FORMAT}"))
    });
    let sha256 = hex::encode(Sha256::digest(fs::read(&path).unwrap()));
    let mut records = journal(bench, run);
    if let Record::RunStart { format, plan_sha256, engines_sha256, lock_sha256, .. } = &mut records[0] {
        (*format, *plan_sha256, *engines_sha256, *lock_sha256) = (OLDEST_FORMAT, sha256, None, None);
    }
    let line = |record: &Record| {
        let json = with_old_names(&serde_json::to_string(record).unwrap());
        format!("{{\"crc\":\"{:08x}\",\"record\":{json}}}\n", crc32fast::hash(json.as_bytes()))
    };
    fs::write(bench.path(run).join("journal.ndjson"), records.iter().map(line).collect::<String>()).unwrap();
}

#[test]
fn oldest_supported_format_is_analysed_and_resumed() {
    let bench = Bench::new();
    let study = bench.study(&["ok"], "concurrency = [1]\ntrials = 3", "");
    edit(&study, |study| {
        study.replace(
            "shutdown_time = {}\n",
            "shutdown_time = {}\nagent_time = { from = \"spawn\", to = \"agent.ready_datagram\" }\n\
             parameters = { reading = \"guest.parameters_added\" }\n",
        )
    });
    bench.run_study();
    assert!(bench.run(&["analyze", "run"]).status.success());
    let samples = fs::read(bench.path("run/samples.csv")).unwrap();
    convert_to_oldest_format(&bench, "run");
    for arguments in READERS {
        let output = bench.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    }
    assert_eq!(fs::read(bench.path("run/samples.csv")).unwrap(), samples);
    // Remove the last trial, which a session of the present version then executes.
    edit(&bench.path("run/journal.ndjson"), |journal| {
        let ends: Vec<usize> = journal.match_indices("\"trial_end\"").map(|(at, _)| at).collect();
        let end = journal[..ends[ends.len() - 2]].len() + journal[ends[ends.len() - 2]..].find('\n').unwrap() + 1;
        journal[..end].to_owned()
    });
    let resumed = bench.run(&["run", "--resume", "run", "--host", "fake"]);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    assert_eq!(bench.counted().len(), 3);
    let analysed = bench.run(&["analyze", "run"]);
    assert!(analysed.status.success(), "{}", text(&analysed.stderr));
}

#[test]
fn shards_of_the_oldest_format_merge_into_a_journal_of_the_present_format() {
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 2", "");
    for (shard, run) in [("1/2", "one"), ("2/2", "two")] {
        let output = bench.run(&["run", "study.toml", "--host", "fake", "--shard", shard, "--out", run]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        convert_to_oldest_format(&bench, run);
    }
    let merged = bench.run(&["merge", "one", "two", "--out", "all"]);
    assert!(merged.status.success(), "{}", text(&merged.stderr));
    // The records have the names of the present format, so a program that reads older formats only must refuse them.
    let formats = journal(&bench, "all").into_iter().filter_map(|record| match record {
        Record::RunStart { format, .. } => Some(format),
        _ => None,
    });
    assert_eq!(formats.collect::<Vec<_>>(), [FORMAT_VERSION; 2]);
    let analysed = text(&bench.run(&["analyze", "all"]).stdout);
    assert!(analysed.contains(", 0 missing"), "{analysed}");
}

/// The decoder in docs/reference/journal.md.
fn documented_decoder() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/journal.md");
    let page = fs::read_to_string(path).unwrap();
    let (_, rest) = page.split_once("```python\n").expect("a program");
    rest.split_once("```").expect("its end").0.to_owned()
}

#[test]
fn documented_decoder_prints_the_values_of_the_samples() {
    let bench = analysed();
    let run = |bench: &Bench| {
        let output = Command::new("python3")
            .args(["-I", "-c", &documented_decoder(), "run"])
            .current_dir(bench.path(""))
            .output()
            .expect("python3 starts");
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    let (decodes, found, said) = run(&bench);
    assert!(decodes, "{said}");
    let values: Vec<f64> = found.lines().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    let mut samples: Vec<f64> = csv::Reader::from_path(bench.path("run/samples.csv"))
        .unwrap()
        .deserialize::<std::collections::BTreeMap<String, String>>()
        .map(Result::unwrap)
        .filter(|row| row["metric"] == "webservice_startup_time" && row["warmup"] == "false")
        .map(|row| row["value"].parse().unwrap())
        .collect();
    samples.sort_by(f64::total_cmp);
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    assert_eq!(sorted.len(), 3);
    assert!(sorted.iter().zip(&samples).all(|(a, b)| (a - b).abs() < 1e-5), "{sorted:?} {samples:?}");
    convert_to_oldest_format(&bench, "run");
    assert_eq!(run(&bench).1, found);
    edit(&bench.path("run/journal.ndjson"), |journal| journal.replacen("spawn", "spawm", 1));
    assert!(run(&bench).2.contains("the checksum is wrong"));
}
