//! Logs: levels, files, and no log events while a trial is timed.

use std::fs;

use crate::support::{Bench, text};

/// Lines of the run's log that contain `what`.
fn logged(bench: &Bench, what: &str) -> Vec<String> {
    let log = fs::read_to_string(bench.path("run/run.log")).unwrap();
    log.lines().filter(|line| line.contains(what)).map(str::to_owned).collect()
}

#[test]
fn no_event_is_emitted_while_a_trial_is_timed() {
    let bench = Bench::new();
    // Successful guests, guests that fail in different stages, several VMs at once, and warm-ups.
    bench.study(&["ok", "exit-at-once", "garbage"], "concurrency = [1, 2]\ntrials = 2\nwarmup = true", "");
    let mut command = bench.command(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    let output = command.env("MICROBENCH_LOG", "trace").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let windows = logged(&bench, "timed window closed");
    assert!(windows.len() >= 12, "{windows:?}");
    let emitted: Vec<_> = windows.iter().filter(|line| !line.ends_with(" dropped=0")).collect();
    assert!(emitted.is_empty(), "events were emitted in timed windows: {emitted:#?}");
    assert!(logged(&bench, "session ends")[0].ends_with(" dropped=0"));
}

#[test]
fn run_log_contains_all_sessions() {
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 2", "");
    let first = bench.run(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    assert!(first.status.success() && !text(&first.stderr).contains("INFO"), "{}", text(&first.stderr));
    let begun = logged(&bench, "session of run begins");
    assert!(begun.len() == 1 && begun[0].contains(" INFO microbench::run::session: "), "{begun:?}");
    // A time stamp as in 2026-11-30T17:24:33.123456Z.
    let stamp = begun[0].split(' ').next().unwrap();
    assert!(stamp.len() == 27 && stamp.ends_with('Z') && stamp.starts_with("20"), "{begun:?}");
    // The log includes events before the folder of the run existed.
    assert_eq!(logged(&bench, "the host is fake, as requested").len(), 1);
    assert!(!logged(&bench, "kernel tiny").is_empty());
    assert!(bench.run(&["run", "--resume", "run", "--host", "fake"]).status.success());
    assert_eq!(logged(&bench, "the host is fake").len(), 2);
}

#[test]
fn each_v_option_logs_more_to_standard_error() {
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    bench.run_study();
    let shown = |arguments: &[&str]| {
        let output = bench.run(arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    assert!(!shown(&["analyze", "run", "-v"]).contains("journal.ndjson: "));
    let detailed = shown(&["analyze", "run", "-vv"]);
    assert!(
        detailed.contains("DEBUG microbench_plots::run: read ") && detailed.contains("journal.ndjson: "),
        "{detailed}"
    );
    let log = shown(&["-v", "run", "study.toml", "--host", "fake", "--out", "other"]);
    assert!(log.contains(" INFO microbench::run::session: session of other begins"), "{log}");
}

#[test]
fn microbench_log_sets_the_level_and_unknown_levels_are_refused() {
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    let plan = |levels: &str| bench.command(&["plan", "study.toml"]).env("MICROBENCH_LOG", levels).output().unwrap();
    assert!(text(&plan("debug").stderr).contains("DEBUG microbench::cli::run: "));
    assert!(text(&plan("off,microbench=debug").stderr).contains("DEBUG microbench::cli::run: "));
    assert_eq!(text(&plan("off").stderr), "");
    let refused = plan("inof");
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        text(&refused.stderr).contains("MICROBENCH_LOG: `inof` is not a level (off, error, warn, info, debug, trace)")
    );
}
