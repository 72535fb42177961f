//! Validity of samples: disturbed trials are kept and retried, stopping rules, comparison of variants within a run.

use microbench_formats::journal::records;
use microbench_formats::precision::Look;
use microbench_formats::record::{Interference, Record};
use microbench_testing::require;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Bench, processes_of, text, trials, wait_until};

/// Rows of a metric in `samples.csv`: trial, attempt, value and status.
fn samples(bench: &Bench, metric: &str) -> Vec<[String; 4]> {
    let table = std::fs::read_to_string(bench.path("run/samples.csv")).unwrap();
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let header = reader.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|column| column == name).unwrap();
    let wanted = ["trial", "attempt", "value", "status"].map(column);
    let rows = reader.records().map(Result::unwrap).filter(|row| &row[column("metric")] == metric);
    rows.map(|row| wanted.map(|at| row[at].to_owned())).collect()
}

#[test]
fn trial_with_a_kernel_error_is_kept_and_retried() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["kernel-error-once"], "concurrency = [2]\ntrials = 1\nwarmup = false", "");
    let output = bench.run(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    let said = text(&output.stderr);
    assert!(said.contains("kernel-error-once/2 invalid (guest-kernel): VM 0: [    1.0] BUG: soft lockup"), "{said}");
    assert!(said.split_whitespace().collect::<Vec<_>>().join(" ").contains("the trial will be retried"), "{said}");
    let executions = bench.journal().executions;
    assert_eq!(executions.iter().map(|e| (e.attempt, e.invalid.len())).collect::<Vec<_>>(), [(0, 2), (1, 0)]);
    assert_eq!(executions[0].invalid[0].0, Interference::GuestKernel);

    let analyzed = text(&bench.run(&["analyze", "run"]).stdout);
    assert!(analyzed.contains("8 samples, 0 missing"), "{analyzed}");
    assert!(analyzed.contains("disturbed: 1 of 2 trial executions (guest-kernel"), "{analyzed}");
    // The second execution counts; the values of the first stay in the table as invalid.
    let rows = samples(&bench, "kernel_boot_time");
    let row = |attempt: &str, status: &str| ["0", attempt, "1.0", status].map(str::to_owned);
    let shown: Vec<[String; 4]> =
        rows.into_iter().map(|[t, a, v, s]| [t, a, format!("{:.1}", v.parse::<f64>().unwrap()), s]).collect();
    assert_eq!(shown, [row("1", "ok"), row("1", "ok"), row("0", "invalid"), row("0", "invalid")]);
}

#[test]
fn trial_disturbed_in_every_attempt_is_missing_with_the_reason() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["kernel-error", "ok"], "concurrency = [1]\ntrials = 1\nwarmup = false", "");
    let output = bench.run(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    let said = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("the trial remains invalid"), "{said}");
    let analyzed = text(&bench.run(&["analyze", "run"]).stdout);
    assert!(analyzed.contains("invalid: guest-kernel: VM 0: [    1.0] BUG"), "{analyzed}");
    assert!(analyzed.contains("4 samples, 4 missing"), "{analyzed}");
    assert!(bench.run(&["plot", "run"]).status.success());
    // The run is complete: `--resume` executes nothing.
    let resumed = bench.run(&["run", "--resume", "run", "--host", "fake"]);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    assert_eq!(bench.journal().executions.len(), 4);
}

#[test]
fn paused_trial_is_invalid_and_retried() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["silent"], "concurrency = [1]\ntrials = 1\nwarmup = false", "");
    let mut runner = bench.start(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    wait_until("a VM", || processes_of(&bench.path("run")).iter().any(|(_, line)| line.contains(" silent ")));
    let pid = Pid::from_raw(i32::try_from(runner.id()).unwrap());
    kill(pid, Signal::SIGTSTP).unwrap();
    let stopped = || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T "));
    wait_until("the runner to stop", stopped);
    kill(pid, Signal::SIGCONT).unwrap();
    assert!(runner.wait().unwrap().success());
    let executions = bench.journal().executions;
    assert_eq!(executions[0].invalid[0].0, Interference::Paused);
    assert!(executions.len() >= 2 && executions[1].attempt == 1, "{executions:?}");
}

#[test]
fn stopping_rule_stops_after_whole_blocks_with_the_reason() {
    require!(trials());
    let bench = Bench::new();
    let rule = "precision = { metric = \"kernel_boot_time\", relative = 0.02, n_min = 6, every = 2, n_max = 20 }";
    bench.study(&["ok", "no-ready-datagram"], &format!("concurrency = [1]\n{rule}\nwarmup = false"), "");
    let output = bench.run(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stderr);
    assert!(said.contains("after 6 blocks: 0 of 2 cells are precise enough"), "{said}");
    assert!(said.contains("after 8 blocks: 2 of 2 cells are precise enough"), "{said}");
    let journal = bench.journal();
    assert_eq!(journal.executions.len(), 16);
    assert_eq!(journal.looks.iter().map(|(blocks, _)| *blocks).collect::<Vec<_>>(), [6, 8]);
    assert_eq!(journal.looks[1].1["ok/1"], Look::Enough { half_width: 0.0 });
    // Trials after the stop are not missing, and `--resume` executes nothing.
    let analyzed = text(&bench.run(&["analyze", "run", "--detail"]).stdout);
    assert!(analyzed.contains("64 samples, 0 missing"), "{analyzed}");
    assert!(analyzed.contains("n too small (< 29)") && analyzed.contains("withheld: n < 100"), "{analyzed}");
    assert!(analyzed.contains("stopped after 8 blocks"), "{analyzed}");
    let written = std::fs::read(bench.path("run/journal.ndjson")).unwrap();
    assert!(matches!(records(&written).last(), Some(Ok(Record::RunEnd { .. }))));
    assert!(bench.run(&["run", "--resume", "run", "--host", "fake"]).status.success());
    assert_eq!(bench.journal().executions.len(), 16);
}

#[test]
fn variants_of_a_run_are_compared_with_the_first() {
    require!(trials());
    let bench = Bench::new();
    let path = bench.study(&["ok", "late"], "concurrency = [1]\ntrials = 7\nwarmup = false", "");
    let study = std::fs::read_to_string(&path).unwrap();
    bench.file("study.toml", &study.replace("seed = 1", "seed = 1\nfamily = [\"webservice_startup_time\"]"));
    bench.run_study();
    assert!(bench.run(&["analyze", "run"]).status.success());
    let output = bench.run(&["compare", "run", "--json"]);
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |metric: &str| all.as_array().unwrap().iter().find(|one| one["metric"] == metric).unwrap().clone();
    let startup = of("webservice_startup_time");
    assert_eq!((startup["cell"].as_str(), startup["n"][0].as_u64()), (Some("late/1"), Some(7)));
    // The family has one test, so Holm's correction does not change its p. The other metrics are not in the family.
    assert_eq!(startup["p"], startup["adjusted_p"]);
    assert!(of("hashing_time")["adjusted_p"].is_null());
    // Equal samples on both sides: p is 1 and the shift is 0.
    let boot = of("kernel_boot_time");
    assert_eq!((boot["p"].as_f64(), boot["shift"].as_f64(), boot["ratio"].as_f64()), (Some(1.0), Some(0.0), Some(1.0)));
    let table = text(&bench.run(&["compare", "run", "--baseline", "late", "--detail"]).stdout);
    assert!(table.contains("A: late") && table.contains("Mann-Whitney test"), "{table}");
    let unknown = bench.run(&["compare", "run", "--baseline", "none"]);
    assert!(text(&unknown.stderr).contains("its variants: ok, late"), "{}", text(&unknown.stderr));
}

#[test]
fn load_during_a_trial_is_always_detected() {
    require!(trials());
    let bench = Bench::new();
    let output = bench.run(&["selftest", "load", "--windows", "6", "--length", "0.3"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    let row =
        table.lines().find(|line| line.starts_with("with a concurrent load")).unwrap_or_else(|| panic!("{table}"));
    // Other load on this machine can only add to the detected load.
    let words: Vec<&str> = row.split_whitespace().collect();
    let after = words.iter().position(|word| *word == "load").unwrap();
    assert!(words[after + 1] == words[after + 2] && words[after + 1] != "0", "{table}");
}
