//! A killed, stopped or doubled runner.

use std::collections::BTreeSet;
use std::fs;

use crate::support::{Bench, processes_of, text, wait_until};

/// A run of eight trials, cut off by SIGKILL in the middle of a trial of four VMs that never answer.
#[test]
fn after_kill_9_nothing_is_left_and_resume_completes_the_plan() {
    let bench = Bench::new();
    bench.study(&["ok", "silent"], "concurrency = [4]\ntrials = 2\nwarmup = 0", "");
    let mut runner = bench.start(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    let silent = || processes_of(&bench.path("run")).iter().filter(|(_, line)| line.contains(" silent ")).count();
    wait_until("four silent VMs", || silent() == 4);
    runner.kill().unwrap();
    runner.wait().unwrap();
    wait_until("every process of the run to end", || processes_of(&bench.path("run")).is_empty());
    assert_eq!(fs::read_dir(bench.path("run/scratch")).unwrap().count(), 0, "files are left in the scratch folder");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&bench.path("run").display().to_string()), "a mount is left");
    let taps = fs::read_to_string("/proc/net/dev").unwrap();
    assert!(!taps.contains("mb0:"), "a tap is left");

    let before = bench.counted();
    let output = bench.run(&["run", "--resume", "run", "--host", "fake"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let after = bench.counted();
    assert_eq!(after.keys().copied().collect::<BTreeSet<_>>(), BTreeSet::from([0, 1, 2, 3]));
    for (trial, execution) in before {
        assert_eq!(after[&trial], execution, "an acknowledged trial changed");
    }
    assert!(bench.journal().cut_off.len() <= 1);
}

#[test]
fn a_second_runner_is_refused() {
    let bench = Bench::new();
    bench.study(&["silent"], "concurrency = [1]\ntrials = 3\nwarmup = 0", "");
    let mut first = bench.start(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    wait_until("a VM", || processes_of(&bench.path("run")).iter().any(|(_, line)| line.contains(" silent ")));
    let second = bench.run(&["run", "--resume", "run", "--host", "fake"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("in use by another microbench"), "{}", text(&second.stderr));
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn an_interrupted_run_ends_its_trial_says_so_and_can_be_resumed() {
    let bench = Bench::new();
    bench.study(&["silent"], "concurrency = [1]\ntrials = 3\nwarmup = 0", "");
    let mut runner = bench.start(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    wait_until("a VM", || processes_of(&bench.path("run")).iter().any(|(_, line)| line.contains(" silent ")));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(runner.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(runner.wait().unwrap().code(), Some(130));
    let ended = bench.counted().len();
    assert!((1..3).contains(&ended), "{ended} trials ended");
    assert!(bench.run(&["run", "--resume", "run", "--host", "fake"]).status.success());
    assert_eq!(bench.counted().len(), 3);
}

#[test]
fn a_changed_artefact_stops_a_resumed_run_and_names_both_digests() {
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 1\nwarmup = 0", "");
    bench.run_study();
    bench.file("kernels/tiny/image", "another kernel");
    let output = bench.run(&["run", "--resume", "run", "--host", "fake"]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("the kernel `tiny` has changed"), "{}", text(&output.stderr));
}
