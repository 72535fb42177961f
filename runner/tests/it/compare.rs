//! Two runs side by side, the gate, and a run against a reference: CSVs of known truth imported as runs.

use crate::support::{Bench, text};

const CLAIM: &str = "[[claims]]\nname = \"quick\"\ntext = \"It starts in less than 105 ms.\"\n\
                     metric = \"webservice_startup_time\"\nvalue = { concurrency = 1 }\nexpect = \"< 105\"\n";

/// A run of start-up times, imported and analysed.
fn run(bench: &Bench, name: &str, values: impl Iterator<Item = f64>) {
    let rows: String = values.map(|value| format!("webservice_startup_time,1,{value},ms\n")).collect();
    bench.file(&format!("{name}.csv"), &format!("metric,concurrency,value,unit\n{rows}"));
    let imported = bench.run(&["import", "study.toml", &format!("{name}.csv"), "--out", name]);
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    assert!(bench.run(&["analyze", name]).status.success());
}

fn bench() -> Bench {
    let bench = Bench::new();
    let path = bench.study(&["ok"], "concurrency = [1, 2]\ntrials = 1", "");
    let study = std::fs::read_to_string(&path).unwrap();
    bench.file("study.toml", &format!("{study}{CLAIM}"));
    let around = |middle: f64| (0..12).map(move |n| middle + f64::from(n) * 0.1);
    run(&bench, "a", around(100.0));
    run(&bench, "same", around(100.1));
    run(&bench, "worse", around(110.0));
    bench
}

#[test]
fn a_difference_within_the_margin_is_none_and_one_beyond_it_closes_the_gate() {
    let bench = bench();
    let same = bench.run(&["compare", "a", "same", "--margin", "0.02", "--gate"]);
    assert!(same.status.success(), "{}", text(&same.stderr));
    insta::assert_snapshot!(text(&same.stdout));
    let worse = bench.run(&["compare", "a", "worse", "--margin", "0.02", "--gate"]);
    assert_eq!(worse.status.code(), Some(1));
    // The report is there although the gate is closed.
    assert!(text(&worse.stdout).contains("0 faster, 1 slower"), "{}", text(&worse.stdout));
    assert!(text(&worse.stderr).contains("the gate is closed"));
    let better = bench.run(&["compare", "worse", "a", "--margin", "0.02", "--gate"]);
    assert!(better.status.success() && text(&better.stdout).contains("1 faster, 0 slower"));
    let undeclared = text(&bench.run(&["compare", "a", "a"]).stdout);
    assert!(undeclared.contains("0 equivalent, 1 inconclusive"), "{undeclared}");
    assert_eq!(bench.run(&["compare", "a", "worse", "--gate"]).status.code(), Some(2), "a gate needs a margin");
}

#[test]
fn a_reference_is_confirmed_when_every_claim_has_the_same_verdict() {
    let bench = bench();
    assert!(bench.run(&["verify", "same", "--against", "a"]).status.success());
    let worse = bench.run(&["verify", "worse", "--against", "a"]);
    assert_eq!(worse.status.code(), Some(1));
    insta::assert_snapshot!(text(&worse.stdout));
}

#[test]
fn a_cell_against_itself_gives_the_noise_floor_and_no_difference() {
    let bench = Bench::new();
    bench.study(&["ok", "late"], "concurrency = [1, 2]\ntrials = 1", "");
    let arguments = ["selftest", "aa", "study.toml", "--cell", "late/1", "--host", "fake", "--out", "aa"];
    // A margin so wide that no load of this machine makes a difference of it.
    let output = bench.run(&[&arguments[..], &["--repetitions", "2", "--blocks", "3", "--margin", "0.99"]].concat());
    let table = text(&output.stdout);
    assert!(table.contains("late against itself: repetitions of 3 trials under each label"), "{table}");
    // What the fake guest reports is the same to the nanosecond, whatever this machine does.
    let row = |metric: &str| {
        let row = table.lines().find(|line| line.starts_with(metric)).unwrap_or_else(|| panic!("{table}"));
        row.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("kernel_boot_time"), ["2", "0.000", "%", "0.000", "%", "0", "0", "2", "0"]);
    assert_eq!(row("webservice_startup_time")[0], "2");
    // 2 labels, 2 repetitions of 3 trials, and the warm-up.
    assert_eq!(microbench_plots::journal::read(&bench.path("aa/journal.ndjson")).unwrap().executions.len(), 13);
    // Known from now on to every run of this host.
    bench.run_study();
    let analyzed = text(&bench.run(&["analyze", "run"]).stdout);
    let line = "noise floor of this host, late of test against itself, largest of 2 comparisons of 3 trials:";
    assert!(analyzed.contains(line), "{analyzed}");
    let unknown = bench.run(&["selftest", "aa", "study.toml", "--cell", "none/1", "--host", "fake"]);
    assert!(text(&unknown.stderr).contains("it has ok/1, ok/2, late/1, late/2"), "{}", text(&unknown.stderr));
}
