//! Faults during a run: signals, a second runner, damaged journals and changed artefacts.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::time::Duration;

use microbench_formats::record::FailureReason;
use microbench_plots::journal;
use microbench_testing::require;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::kills;
use crate::support::{Bench, processes_of, text, trials, wait_until};

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}

/// SIGKILL ends the run during a trial of four VMs that never respond.
#[test]
fn resume_completes_the_plan_after_kill_9() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok", "silent"], "concurrency = [4]\ntrials = 2\nwarmup = false", "");
    let mut runner = bench.start(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    let silent = || processes_of(&bench.path("run")).iter().filter(|(_, line)| line.contains(" silent ")).count();
    wait_until("four silent VMs", || silent() == 4);
    runner.kill().unwrap();
    runner.wait().unwrap();
    wait_until("every process of the run to end", || processes_of(&bench.path("run")).is_empty());
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
fn second_runner_of_a_run_is_refused() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["silent"], "concurrency = [1]\ntrials = 3\nwarmup = false", "");
    let mut first = bench.start(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    wait_until("a VM", || processes_of(&bench.path("run")).iter().any(|(_, line)| line.contains(" silent ")));
    let second = bench.run(&["run", "--resume", "run", "--host", "fake"]);
    assert_eq!(second.status.code(), Some(1));
    let said = text(&second.stderr);
    assert!(said.contains(&format!("in use by another microbench process: PID {} on ", first.id())), "{said}");
    assert!(said.contains(", since 20"), "{said}");
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn interrupted_run_ends_its_trial_and_can_be_resumed() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["silent"], "concurrency = [1]\ntrials = 3\nwarmup = false", "");
    let mut runner = bench.start(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    wait_until("a VM", || processes_of(&bench.path("run")).iter().any(|(_, line)| line.contains(" silent ")));
    kill(pid(&runner), Signal::SIGINT).unwrap();
    assert_eq!(runner.wait().unwrap().code(), Some(130));
    let ended = bench.counted().len();
    assert!((1..3).contains(&ended), "{ended} trials ended");
    assert!(bench.run(&["run", "--resume", "run", "--host", "fake"]).status.success());
    assert_eq!(bench.counted().len(), 3);
}

#[test]
fn each_signal_has_its_exit_code_and_a_killed_trial_is_not_recorded() {
    require!(trials());
    let begun = [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129)].map(|(signal, code)| {
        let bench = Bench::new();
        bench.study(&["silent"], "concurrency = [1]\ntrials = 2\nwarmup = false", "boot_deadline_s = 600");
        let runner = bench.start(&["run", "study.toml", "--host", "fake", "--out", "run"]);
        wait_until("a VM", || processes_of(&bench.path("run")).iter().any(|(_, line)| line.contains(" silent ")));
        kill(pid(&runner), signal).unwrap();
        (bench, runner, code)
    });
    for (bench, mut runner, code) in begun {
        assert_eq!(runner.wait().unwrap().code(), Some(code));
        wait_until("every process of the run to end", || processes_of(&bench.path("run")).is_empty());
        assert_eq!(bench.journal().executions.len(), 0, "a trial that did not end is recorded");
        assert!(bench.run(&["analyze", "run"]).status.success(), "the partial run cannot be analysed");
    }
}

#[test]
fn second_interrupt_ends_the_run_at_once() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["silent"], "concurrency = [1]\ntrials = 2\nwarmup = false", "boot_deadline_s = 600");
    let mut command = bench.command(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    let mut runner = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("a VM", || processes_of(&bench.path("run")).iter().any(|(_, line)| line.contains(" silent ")));
    kill(pid(&runner), Signal::SIGINT).unwrap();
    let mut said = BufReader::new(runner.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("stopping after the current trial") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "the run did not report that it stops");
    }
    kill(pid(&runner), Signal::SIGINT).unwrap();
    assert_eq!(runner.wait().unwrap().code(), Some(130));
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("did not end within"), "the run waited for the grace period: {rest}");
    wait_until("every process of the run to end", || processes_of(&bench.path("run")).is_empty());
}

#[test]
fn kernel_replaced_during_the_run_fails_its_cell() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 30\nwarmup = false", "");
    let mut runner = bench.start(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    let journal = || fs::read_to_string(bench.path("run/journal.ndjson")).unwrap_or_default();
    wait_until("a trial to end", || journal().contains("\"trial_end\""));
    // The new content has the same length, and the file keeps its inode.
    let lock: toml::Table = fs::read_to_string(bench.path("run/lock.toml")).unwrap().parse().unwrap();
    let kernel =
        lock["artifacts"].as_array().unwrap().iter().find(|artifact| artifact["kind"].as_str() == Some("kernel"));
    fs::write(kernel.unwrap()["path"].as_str().unwrap(), "other kernel!").unwrap();
    assert!(runner.wait().unwrap().success());
    let counted = bench.counted();
    assert_eq!(counted.len(), 30);
    let failures: Vec<_> = counted.values().filter_map(|e| e.vms[&0].failure.clone()).collect();
    assert!((1..30).contains(&failures.len()), "{} of 30 trials failed", failures.len());
    assert_eq!(failures.iter().filter(|failure| failure.reason == FailureReason::Artifact).count(), 1);
    assert!(failures.iter().all(|f| f.message.contains("the kernel `tiny` has changed since the run began")));
    assert_eq!(counted.values().filter(|e| e.vms[&0].failure.is_none()).count(), 30 - failures.len());
}

#[test]
fn failing_cell_is_given_up_and_the_next_cell_runs() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["crash", "ok"], "concurrency = [1]\ntrials = 4\nwarmup = false\nmax_consecutive_failures = 2", "");
    bench.run_study();
    let counted = bench.counted();
    assert_eq!(counted.len(), 8);
    let reasons = |cell: &str| -> Vec<_> {
        let of = counted.values().filter(|execution| execution.cell == cell);
        of.map(|execution| execution.vms[&0].failure.as_ref().map(|failure| failure.reason)).collect()
    };
    assert_eq!(reasons("ok/1"), [None; 4]);
    let mut crash = reasons("crash/1");
    crash.sort_by_key(|reason| reason.map(|reason| reason.to_string()));
    let (exited, given_up) = (Some(FailureReason::Exited), Some(FailureReason::GivenUp));
    assert_eq!(crash, [exited, exited, given_up, given_up]);
    let analyzed = text(&bench.run(&["analyze", "run"]).stdout);
    assert!(analyzed.contains("given-up") || analyzed.contains("2 failed"), "{analyzed}");
}

#[test]
fn plan_edited_after_the_start_is_refused_with_a_diff() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 2\nwarmup = false", "");
    bench.run_study();
    let plan = fs::read_to_string(bench.path("run/plan.json")).unwrap();
    let edited = bench.file("run/plan.json", &plan.replacen("\"seed\": 1", "\"seed\": 2", 1));
    let output = bench.run(&["run", "--resume", "run", "--host", "fake"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("was edited after the run began"), "{said}");
    assert!(said.contains("-  \"seed\": 1,") && said.contains("+  \"seed\": 2,"), "{said}");
    fs::write(edited, plan).unwrap();
    assert!(bench.run(&["run", "--resume", "run", "--host", "fake"]).status.success());
}

/// Exit code and messages of `analyze` with this journal.
fn analyzed(bench: &Bench, journal: &[u8]) -> (Option<i32>, String) {
    fs::write(bench.path("run/journal.ndjson"), journal).unwrap();
    let output = bench.run(&["analyze", "run"]);
    (output.status.code(), text(&output.stderr) + &text(&output.stdout))
}

#[test]
fn damaged_journal_loses_at_most_one_record_or_is_refused_with_its_line() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 2\nwarmup = false", "");
    bench.run_study();
    let path = bench.path("run/journal.ndjson");
    let whole = fs::read(&path).unwrap();
    let lines: Vec<usize> = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
    // Truncate the journal at every byte of the last record.
    let last = lines[lines.len() - 2] + 1;
    let full = journal::read(&path).unwrap().executions;
    for end in last..whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        let journal = journal::read(&path).unwrap_or_else(|error| panic!("cut at {end}: {error}"));
        assert_eq!(journal.executions, full, "the last record must be `run_end`, which has no sample");
        assert_eq!(journal.torn, (end > last).then_some(lines.len()), "cut at {end}");
    }
    // Flip a random bit: changed records must not be accepted.
    let mut random = ChaCha8Rng::seed_from_u64(5);
    for _ in 0..300 {
        let (at, bit) = (random.next_u64() as usize % whole.len(), random.next_u64() % 8);
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << bit;
        fs::write(&path, &damaged).unwrap();
        let line = lines.iter().filter(|end| **end < at).count() + 1;
        match journal::read(&path) {
            // Only a flip in the last line is not an error: the line counts as torn.
            Ok(journal) => assert_eq!((journal.torn, line), (Some(lines.len()), lines.len()), "bit {bit} of byte {at}"),
            Err(error) => assert!(error.to_string().contains(&format!("journal.ndjson:{line}")), "{error}"),
        }
    }
    // The same faults in the output of commands.
    let (code, said) = analyzed(&bench, &whole[..whole.len() - 3]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("the journal's last line ({}) is torn", lines.len())), "{said}");
    let mut damaged = whole.clone();
    damaged[lines[2] + 30] ^= 1;
    let (code, said) = analyzed(&bench, &damaged);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("journal.ndjson:4"), "{said}");
    let resumed = bench.run(&["run", "--resume", "run", "--host", "fake"]);
    assert_eq!(resumed.status.code(), Some(1));
    assert!(text(&resumed.stderr).contains("journal.ndjson:4"), "{}", text(&resumed.stderr));
    let (code, said) = analyzed(&bench, &whole);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn changed_artefact_stops_a_resumed_run() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 1\nwarmup = false", "");
    bench.run_study();
    bench.file("kernels/tiny/image", "another kernel");
    let output = bench.run(&["run", "--resume", "run", "--host", "fake"]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("the kernel `tiny` has changed"), "{}", text(&output.stderr));
}

#[test]
fn kills_at_random_instants_leak_and_lose_nothing() {
    require!(trials());
    let found = kills::kill_and_resume(8, 12, Duration::from_secs(4), 1);
    assert_eq!((found.kills, found.leaks, found.lost, found.duplicated), (8, 0, 0, 0), "{found:?}");
}

/// The files of this name in the cache of the project.
fn cached(bench: &Bench, kind: &str, name: &str) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(bench.path(&format!("cache/{kind}"))).unwrap().flatten();
    entries.map(|entry| entry.path().join(name)).filter(|path| path.is_file()).collect()
}

/// A flipped bit, and an image that lost its content, are found before a trial and by `artifacts --verify`.
#[test]
fn damaged_artefact_of_the_cache_is_refused() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "trials = 1", "");
    let run = |name: &str| bench.run(&["run", "study.toml", "--host", "fake", "--out", name]);
    let verify = || bench.run(&["artifacts", "--verify"]);
    assert!(run("before").status.success());
    assert!(verify().status.success(), "{}", text(&verify().stdout));
    let flip = |bytes: &mut Vec<u8>| bytes[3] ^= 1;
    for (kind, file, damage) in [
        ("kernels", "vmlinux", &flip as &dyn Fn(&mut Vec<u8>)),
        ("kernels", "vmlinux", &|bytes| bytes.clear()),
        ("rootfs", "rootfs.ext4", &flip),
        ("rootfs", "rootfs.ext4", &|bytes| bytes.clear()),
    ] {
        let [path] = cached(&bench, kind, file).try_into().unwrap();
        let bytes = fs::read(&path).unwrap();
        let mut damaged = bytes.clone();
        damage(&mut damaged);
        fs::write(&path, damaged).unwrap();
        let refused = run("after");
        let message = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{message}");
        assert!(
            message.contains("is damaged: it has the SHA-256") && message.contains("delete the folder"),
            "{message}"
        );
        assert!(!message.contains("size_mib"), "{message}");
        let found = verify();
        assert_eq!(found.status.code(), Some(1));
        assert!(text(&found.stdout).contains("1 damaged"), "{}", text(&found.stdout));
        fs::write(&path, bytes).unwrap();
    }
    assert!(run("after").status.success());
}

#[test]
fn empty_kernel_is_refused() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "trials = 1", "");
    bench.file("kernels/tiny/image", "");
    let refused = bench.run(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    let message = text(&refused.stderr);
    assert!(!refused.status.success() && message.contains("vmlinux is empty"), "{message}");
}
