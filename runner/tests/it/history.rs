//! Labels of runs, and the history of a study over many runs.

use std::fs;
use std::path::PathBuf;

use microbench_formats::host::HostKind;
use microbench_formats::journal::{encode, records};
use microbench_formats::record::Record;
use microbench_testing::require;
use serde_json::Value;

use crate::support::{Bench, text, trials};

const METRIC: &str = "webservice_startup_time";

/// A project with the study `test` and an imported run `first` of six trials around 100 ms.
fn project() -> Bench {
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 6", "");
    let rows: String =
        (0..6).map(|trial| format!("{METRIC},1,{trial},{}\n", 100.0 + f64::from(trial) / 10.0)).collect();
    bench.file("table.csv", &format!("metric,concurrency,trial,value\n{rows}"));
    let imported = bench.run(&["import", "study.toml", "table.csv", "--out", "first"]);
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    bench
}

/// What differs between the runs of a history.
#[derive(Clone, Copy)]
struct Made<'a> {
    /// Factor of all values.
    scale: f64,
    label: Option<&'a str>,
    fingerprint: Option<&'a str>,
    host: HostKind,
}

const PLAIN: Made<'_> = Made { scale: 1.0, label: None, fingerprint: None, host: HostKind::Imported };

/// Makes the analyzed run of day `day` of 2026 from the run `first`.
fn add_run(bench: &Bench, day: u32, made: Made<'_>) -> PathBuf {
    let date = format!("2026-{:02}-{:02}T12:00:00Z", 1 + day / 28, 1 + day % 28);
    let folder = bench.path(&format!("runs/test-{}", &date[..10]));
    fs::create_dir_all(&folder).unwrap();
    for file in ["plan.json", "engines.json", "manifest.toml"] {
        fs::copy(bench.path("first").join(file), folder.join(file)).unwrap();
    }
    let bytes = fs::read(bench.path("first/journal.ndjson")).unwrap();
    let mut all: Vec<Record> = records(&bytes).map(|record| record.unwrap()).collect();
    for record in &mut all {
        match record {
            Record::RunStart { started, label, host, .. } => {
                (*started, *label, *host) = (date.clone(), made.label.map(|label| label.parse().unwrap()), made.host);
            }
            Record::Reading { value: Some(value), .. } => *value *= made.scale,
            _ => {}
        }
    }
    fs::write(folder.join("journal.ndjson"), encode(&all)).unwrap();
    if let Some(fingerprint) = made.fingerprint {
        let host = serde_json::json!({ "fingerprint": fingerprint, "matters": {} });
        fs::write(folder.join("host.json"), host.to_string()).unwrap();
    }
    microbench_plots::analyze(&folder).unwrap();
    folder
}

/// A factor that differs between runs by at most 1 %.
fn noise(day: u32) -> f64 {
    1.0 + f64::from(day * 37 % 21) / 2100.0 - 0.005
}

fn history(bench: &Bench, arguments: &[&str]) -> String {
    let output = bench.run(&[&["history", "test"], arguments].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// The text of a history without its line breaks.
fn words(bench: &Bench, arguments: &[&str]) -> String {
    history(bench, arguments).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn json(bench: &Bench, arguments: &[&str]) -> Value {
    serde_json::from_str(&history(bench, &[arguments, &["--format", "json"]].concat())).unwrap()
}

#[test]
fn label_of_an_imported_run_is_recorded_and_shown() {
    let bench = project();
    let import =
        |label: &str, out: &str| bench.run(&["import", "study.toml", "table.csv", "--out", out, "--label", label]);
    assert!(import("fc 1.13", "runs/labelled").status.success());
    assert_eq!(fs::read_to_string(bench.path("runs/labelled/label.json")).unwrap(), "\"fc 1.13\"");
    let listed: Value = serde_json::from_slice(&bench.run(&["runs", "--json"]).stdout).unwrap();
    assert_eq!(listed[0]["sessions"][0]["label"], "fc 1.13");
    assert!(text(&bench.run(&["runs"]).stdout).contains("fc 1.13"));
    assert!(text(&bench.run(&["show", "labelled"]).stdout).contains("label      fc 1.13"));
    assert!(bench.run(&["analyze", "labelled"]).status.success());
    assert!(bench.run(&["report", "labelled"]).status.success());
    assert!(fs::read_to_string(bench.path("runs/labelled/report.html")).unwrap().contains("fc 1.13"));
    for (label, why) in [
        ("", "a label must not be empty"),
        ("a\u{1b}[2J", "a label must not contain control characters"),
        (&"x".repeat(65), "a label has at most 64 characters"),
    ] {
        let refused = import(label, "runs/refused");
        assert_eq!(refused.status.code(), Some(2), "{label:?}");
        assert!(text(&refused.stderr).contains(why), "{label:?}: {}", text(&refused.stderr));
    }
    assert!(!bench.path("runs/refused").exists());
}

#[test]
fn resumed_run_keeps_its_label() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 1\nwarmup = false", "");
    let run = bench.run(&["run", "study.toml", "--host", "fake", "--out", "run", "--label", "v1"]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    let label_of = |journal: microbench_plots::journal::Journal| {
        journal.sessions.iter().map(|session| session.label.as_ref().map(ToString::to_string)).collect::<Vec<_>>()
    };
    assert_eq!(label_of(bench.journal()), [Some("v1".to_owned())]);
    // Only the start of the first session is left, so that the trial is executed again.
    let path = bench.path("run/journal.ndjson");
    let first = fs::read_to_string(&path).unwrap().lines().next().unwrap().to_owned() + "\n";
    fs::write(&path, first).unwrap();
    let refused = bench.run(&["run", "--resume", "run", "--label", "v2"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    let resumed = bench.run(&["run", "--resume", "run", "--host", "fake"]);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    assert_eq!(label_of(bench.journal()), [Some("v1".to_owned()), Some("v1".to_owned())]);
}

#[test]
fn history_finds_a_change_and_asks_for_its_confirmation() {
    let bench = project();
    for day in 0..26 {
        let scale = noise(day) * if day < 20 { 1.0 } else { 1.06 };
        add_run(&bench, day, Made { scale, label: (day == 20).then_some("v2"), ..PLAIN });
    }
    let early = json(&bench, &[]);
    let change = |history: &Value| history["series"][0]["changes"][0].clone();
    assert_eq!((change(&early)["point"].as_u64(), change(&early)["support"].as_str()), (Some(20), Some("unconfirmed")));
    let said = words(&bench, &[]);
    assert!(
        said.contains("change at v2 (2026-01-21)") && said.contains("confirm: microbench run test --label"),
        "{said}"
    );
    for day in 26..30 {
        add_run(&bench, day, Made { scale: noise(day) * 1.06, ..PLAIN });
    }
    let late = json(&bench, &[]);
    assert_eq!((change(&late)["point"].as_u64(), change(&late)["support"].as_str()), (Some(20), Some("confirmed")));
    assert_eq!(late["level"], 0.05);
    assert_eq!((late["runs"].as_array().unwrap().len(), late["series"].as_array().unwrap().len()), (30, 1));
    insta::assert_snapshot!("history", history(&bench, &[]).replace(&bench.path("").display().to_string(), "PROJECT/"));

    let csv = history(&bench, &["--format", "csv", "--metric", METRIC, "--cell", "ok/1"]);
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let headers: Vec<String> = reader.headers().unwrap().iter().map(ToOwned::to_owned).collect();
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.unwrap()).collect();
    let of = |row: usize, name: &str| rows[row][headers.iter().position(|header| header == name).unwrap()].to_owned();
    assert_eq!(rows.len(), 30);
    assert_eq!([of(20, "label"), of(20, "support"), of(19, "change"), of(20, "n")], ["v2", "confirmed", "", "6"]);
    assert!((of(20, "change").parse::<f64>().unwrap() - 0.06).abs() < 0.01);

    let files: Vec<&str> = late["figures"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(files.len(), 5, "{files:?}");
    let svg = fs::read_to_string(bench.path(&format!("runs/test-history/{METRIC}-imported.svg"))).unwrap();
    for words in ["change, confirmed", "2026-01-01", "level", "ok/1"] {
        assert!(svg.contains(words), "{words}");
    }
    assert!(json(&bench, &["--out", "elsewhere"])["figures"][0].as_str().unwrap().starts_with("elsewhere/"));
}

#[test]
fn change_of_the_host_is_marked_and_ends_a_search() {
    let bench = project();
    for day in 0..40 {
        let (scale, fingerprint) = if day < 20 { (1.0, "0123456789abcdef") } else { (1.2, "fedcba9876543210") };
        add_run(&bench, day, Made { scale: scale * noise(day), fingerprint: Some(fingerprint), ..PLAIN });
    }
    let found = json(&bench, &[]);
    let series = &found["series"][0];
    assert_eq!(series["changes"], Value::Array(Vec::new()));
    let marked = |key: &str| {
        let points = series["points"].as_array().unwrap().iter().enumerate();
        points.filter(|(_, point)| point[key] == true).map(|(at, _)| at).collect::<Vec<_>>()
    };
    assert_eq!((marked("host_changed"), marked("settings_changed")), (vec![20], vec![]));
    assert_eq!(found["level"], 0.025);
    let said = words(&bench, &[]);
    assert!(said.contains("fedcba9876 *") && said.contains("host changed"), "{said}");
    let across = words(&bench, &["--across-hosts"]);
    assert!(across.contains("the host changed at this run"), "{across}");
}

#[test]
fn virtual_time_and_wall_time_are_in_different_series() {
    let bench = project();
    for day in 0..4 {
        add_run(&bench, day, Made { host: if day < 2 { HostKind::Kvm } else { HostKind::Emulated }, ..PLAIN });
    }
    let found = json(&bench, &[]);
    let hosts: Vec<(&str, usize)> = found["series"]
        .as_array()
        .unwrap()
        .iter()
        .map(|series| (series["host"].as_str().unwrap(), series["points"].as_array().unwrap().len()))
        .collect();
    assert_eq!(hosts, [("emulated", 2), ("kvm", 2)]);
    let said = words(&bench, &[]);
    assert!(said.contains("not searched for changes: 2 runs with a value, and a search needs 15"), "{said}");
    assert!(said.contains("no series was searched for changes"), "{said}");
}

#[test]
fn runs_without_samples_and_damaged_runs_are_left_out_with_the_reason() {
    let bench = project();
    for day in 0..3 {
        add_run(&bench, day, PLAIN);
    }
    fs::remove_file(bench.path("runs/test-2026-01-02/samples.parquet")).unwrap();
    fs::write(bench.path("runs/test-2026-01-03/samples.parquet"), "damaged").unwrap();
    let found = json(&bench, &[]);
    let left_out: Vec<&str> =
        found["left_out"].as_array().unwrap().iter().filter_map(|run| run["name"].as_str()).collect();
    assert_eq!(left_out, ["test-2026-01-02", "test-2026-01-03"]);
    assert_eq!(found["runs"].as_array().unwrap().len(), 1);
    let said = words(&bench, &[]);
    assert!(said.contains("left out: test-2026-01-02: it has not been analyzed"), "{said}");
}

#[test]
fn unknown_study_metric_or_cell_is_refused() {
    let bench = project();
    let refused = |arguments: &[&str]| {
        let output = bench.run(&[&["history"], arguments].concat());
        assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
        (output.status.code(), text(&output.stderr))
    };
    let (code, said) = refused(&["study.toml"]);
    assert!(code == Some(1) && said.contains("contains no run of the study `test`"), "{said}");
    add_run(&bench, 0, PLAIN);
    let (code, said) = refused(&["tset"]);
    assert!(code == Some(2) && said.contains("study `tset` not found"), "{said}");
    let (code, said) = refused(&["study.toml", "--metric", "webservice_startup_tim"]);
    assert!(code == Some(2) && said.contains(&format!("did you mean `{METRIC}`")), "{said}");
    let (code, said) = refused(&["test", "--cell", "ok/2"]);
    assert!(code == Some(2) && said.contains("no cell `ok/2`") && said.contains("ok/1"), "{said}");
    assert!(!bench.path("runs/test-history").exists());
}
