//! Repetitions of a run, and two interleaved runs, with the fake VMM.

use std::fs;

use microbench_formats::plan::{self, Plan};
use microbench_plots::journal::{self, Journal, Session};
use microbench_plots::samples;
use microbench_testing::require;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Bench, processes_of, text, trials, wait_until};

fn read_journal(bench: &Bench, run: &str) -> Journal {
    journal::read(&bench.path(run).join("journal.ndjson")).unwrap()
}

fn repetitions(sessions: &[Session]) -> Vec<Option<u32>> {
    sessions.iter().map(|session| session.repetition).collect()
}

fn planned(bench: &Bench, arguments: &[&str]) -> Plan {
    let output = bench.run(&[&["plan", "study.toml", "--json"], arguments].concat());
    plan::read(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}

#[test]
fn plan_has_all_trials_in_each_repetition_and_the_first_is_the_plan_without_repetitions() {
    let bench = Bench::new();
    bench.study(&["ok", "exit-at-once"], "concurrency = [1, 2]\ntrials = 2\nrepetitions = 3", "");
    let (once, thrice) = (planned(&bench, &["--repetitions", "1"]), planned(&bench, &[]));
    assert_eq!((once.repetitions, thrice.repetitions), (1, 3));
    assert_eq!((once.trials.len(), thrice.trials.len()), (8, 24));
    assert_eq!(once.trials, thrice.trials[..8]);
    let places: Vec<[u32; 2]> = thrice.trials.iter().map(|trial| [trial.repetition, trial.block]).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert_eq!((places[8], places[23]), ([1, 2], [2, 5]));
    let order = |repetition: u32| -> Vec<String> {
        let own = thrice.trials.iter().filter(|trial| trial.repetition == repetition);
        own.map(|trial| trial.cell.to_string()).collect()
    };
    assert!(order(0) != order(1) || order(1) != order(2), "every repetition has the same order");
    let shown = text(&bench.run(&["plan", "study.toml", "--full"]).stdout);
    assert!(shown.contains("repetitions: 3 of 8 trials, each in a new session"), "{shown}");
    assert!(shown.contains("  repetition 3 of 3:"), "{shown}");
    let few = text(&bench.run(&["plan", "study.toml", "--repetitions", "2"]).stdout);
    assert!(few.contains("need at least 3"), "{few}");
}

#[test]
fn each_repetition_is_a_session_with_its_own_probe_error_and_warm_ups() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 2", "");
    let output = bench.run(&["run", "study.toml", "--host", "fake", "--out", "run", "--repetitions", "3"]);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(text(&output.stdout).lines().count(), 1, "{}", text(&output.stdout));
    assert!(said.contains("repetition 2 of 3: 2 trials of 1 cell"), "{said}");
    assert!(said.contains("repetition 2 of 3 is complete"), "{said}");
    let journal = bench.journal();
    assert_eq!(repetitions(&journal.sessions), [Some(0), Some(1), Some(2)]);
    assert_eq!(journal.executions.iter().filter(|execution| execution.warmup).count(), 3);
    assert_eq!(journal.probe_errors.len(), 3);
    assert!(journal.ended.is_some());
    assert_eq!(bench.counted().len(), 6);
    let analyzed = bench.run(&["analyze", "run"]);
    assert!(text(&analyzed.stdout).contains("over repetitions, 3 repetitions or more"), "{}", text(&analyzed.stdout));
    let samples = samples::load(&bench.path("run")).unwrap();
    let counted = samples.iter().filter(|sample| sample.counts() && sample.metric == "shutdown_time");
    assert_eq!(counted.map(|sample| sample.repetition).collect::<Vec<_>>(), [0, 0, 1, 1, 2, 2]);
    // A complete run has nothing to repeat.
    let again = bench.run(&["run", "--resume", "run", "--host", "fake"]);
    assert!(text(&again.stderr).contains("already complete (6 trials)"), "{}", text(&again.stderr));
    assert_eq!(bench.journal().sessions.len(), 3);
}

#[test]
fn resume_continues_the_repetition_that_was_interrupted() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["silent"], "concurrency = [1]\ntrials = 2\nrepetitions = 2\nwarmup = false", "");
    let mut runner = bench.start(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    wait_until("a VM", || processes_of(&bench.path("run")).iter().any(|(_, line)| line.contains(" silent ")));
    kill(Pid::from_raw(runner.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(runner.wait().unwrap().code(), Some(130));
    assert_eq!(repetitions(&bench.journal().sessions), [Some(0)]);
    assert_eq!(bench.counted().len(), 1);
    let resumed = bench.run(&["run", "--resume", "run", "--host", "fake"]);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    assert_eq!(repetitions(&bench.journal().sessions), [Some(0), Some(0), Some(1)]);
    assert_eq!(bench.counted().len(), 4);
}

#[test]
fn killed_run_with_repetitions_leaves_no_process() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["silent"], "concurrency = [1]\ntrials = 2\nrepetitions = 2", "boot_deadline_s = 600");
    let mut runner = bench.start(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    wait_until("a VM", || processes_of(&bench.path("run")).iter().any(|(_, line)| line.contains(" silent ")));
    runner.kill().unwrap();
    runner.wait().unwrap();
    wait_until("every process of the run to end", || processes_of(&bench.path("run")).is_empty());
}

#[test]
fn repetitions_that_cannot_be_executed_are_refused_before_the_run() {
    let bench = Bench::new();
    bench.study(&["ok"], "trials = 4\nrepetitions = 3", "");
    let run = |arguments: &[&str]| {
        let output = bench.run(&[&["run", "study.toml", "--host", "fake", "--out", "run"], arguments].concat());
        assert!(!bench.path("run").exists());
        (output.status.code(), text(&output.stderr))
    };
    let (code, said) = run(&["--shard", "1/2"]);
    assert!(code == Some(2) && said.contains("error[MB6009]") && said.contains("each repetition needs"), "{said}");
    let (code, said) = run(&["--repetitions", "0"]);
    assert!(code == Some(2) && said.contains("--repetitions"), "{said}");
    bench.study(&["ok"], "precision = { metric = \"kernel_boot_time\", relative = 0.02 }", "");
    let (code, said) = run(&["--repetitions", "3"]);
    assert!(code == Some(2) && said.contains("error[MB6008]") && said.contains("stopping rule"), "{said}");
    bench.study(&["ok"], "repetitions = 3\nprecision = { metric = \"kernel_boot_time\", relative = 0.02 }", "");
    let (code, said) = run(&[]);
    assert!(code == Some(2) && said.contains("`repetitions` and `precision` exclude each other"), "{said}");
    bench.study(&["ok"], "trials = 2\nrepetitions = 0", "");
    let (code, said) = run(&[]);
    assert!(code == Some(2) && said.contains("`repetitions` must be between 1 and 1000"), "{said}");
}

/// Writes a.toml and b.toml: one study, and the same with other settings of the only variant.
fn two_studies(matrix: &str, modes: [&str; 2]) -> Bench {
    let bench = Bench::new();
    let study = fs::read_to_string(bench.study(&["ok"], matrix, "")).unwrap();
    for (name, mode) in ["a.toml", "b.toml"].into_iter().zip(modes) {
        bench.file(name, &study.replace("mode = \"ok\"", &format!("mode = \"{mode}\"")));
    }
    bench
}

const AB: [&str; 7] = ["ab", "a.toml", "b.toml", "--host", "fake", "--out", "pair"];

#[test]
fn ab_alternates_the_repetitions_of_two_runs_and_compares_them() {
    require!(trials());
    let bench = two_studies("trials = 1", ["ok", "ok"]);
    let output = bench.run(&[&AB[..], &["--repetitions", "3"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("webservice_startup_time"), "{}", text(&output.stdout));
    let [a, b] = ["pair-a", "pair-b"].map(|run| read_journal(&bench, run));
    for journal in [&a, &b] {
        assert_eq!(repetitions(&journal.sessions), [Some(0), Some(1), Some(2)]);
        assert!(journal.ended.is_some());
    }
    assert!(journal::are_interleaved(&a.sessions, &b.sessions));
    let sides = a.sessions.iter().map(|session| (session, 'a')).chain(b.sessions.iter().map(|session| (session, 'b')));
    let mut order: Vec<(String, char)> = sides.map(|(session, side)| (session.started.clone(), side)).collect();
    order.sort();
    assert_eq!(order.into_iter().map(|(_, side)| side).collect::<String>(), "abbaab");
    // Both are ordinary runs.
    assert!(bench.run(&["compare", "pair-a", "pair-b", "--margin", "0.5"]).status.success());
    let exists = bench.run(&AB);
    assert_eq!(exists.status.code(), Some(1));
    assert!(text(&exists.stderr).contains("pair-a exists: pass another --out"), "{}", text(&exists.stderr));
}

#[test]
fn ab_has_the_exit_codes_of_compare() {
    require!(trials());
    let bench = two_studies("trials = 1\nrepetitions = 2", ["ok", "exit-at-once"]);
    let output = bench.run(&[&AB[..], &["--margin", "0.02", "--gate"]].concat());
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    assert_eq!(repetitions(&read_journal(&bench, "pair-b").sessions), [Some(0), Some(1)]);
}

#[test]
fn ab_resumes_both_runs_and_keeps_alternating() {
    require!(trials());
    let bench = two_studies("trials = 1\nwarmup = false", ["silent", "silent"]);
    let mut runner = bench.start(&[&AB[..], &["--repetitions", "2"]].concat());
    wait_until("a VM", || processes_of(&bench.path("pair-a")).iter().any(|(_, line)| line.contains(" silent ")));
    kill(Pid::from_raw(runner.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(runner.wait().unwrap().code(), Some(143));
    assert!(!bench.path("pair-b/journal.ndjson").exists(), "the second run was started after the stop");
    let output = bench.run(&["ab", "--resume", "pair-a", "pair-b", "--host", "fake"]);
    let [a, b] = ["pair-a", "pair-b"].map(|run| read_journal(&bench, run));
    assert!(a.ended.is_some() && b.ended.is_some(), "{}", text(&output.stderr));
    assert_eq!(repetitions(&b.sessions), [Some(0), Some(1)]);
    assert!(journal::are_interleaved(&a.sessions, &b.sessions));
    assert!(b.sessions[1].started < a.sessions.last().unwrap().started, "the order does not alternate");
}

#[test]
fn ab_refuses_wrong_studies_and_creates_nothing() {
    let bench = two_studies("trials = 1", ["ok", "ok"]);
    let study = fs::read_to_string(bench.path("b.toml")).unwrap();
    bench.file("b.toml", &study.replace("[variants.ok]", "[variants.other]"));
    let output = bench.run(&AB);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("error[MB5005]"), "{}", text(&output.stderr));
    let output = bench.run(&[&AB[..], &["--gate"]].concat());
    assert_eq!(output.status.code(), Some(2), "a gate without a margin must fail");
    bench.file("b.toml", "[study]\n");
    let output = bench.run(&AB);
    assert!(output.status.code() == Some(2) && text(&output.stderr).contains("b.toml"), "{}", text(&output.stderr));
    assert!(!bench.path("pair-a").exists() && !bench.path("pair-b").exists());
}
