//! Long tests, run by `make soak`. Each prints the figures of docs/explanation/reliability.md.

#[path = "../it/support.rs"]
#[expect(dead_code, reason = "shared with the short tests, which use all of it")]
mod support;

#[path = "../it/kills.rs"]
mod kills;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use microbench_plots::journal::{self, Execution};
use tempfile::TempDir;

use crate::support::{Bench, MARK, counted, left_behind, text, wait_until};

#[test]
#[ignore = "ten minutes"]
fn one_hundred_kills_leak_and_lose_nothing() {
    let found = kills::kill_and_resume(100, 200, Duration::from_secs(5), 2019);
    println!(
        "kill -9 at {} random instants: leaks {}, lost {}, duplicated {}, last process gone after {} ms at most",
        found.kills,
        found.leaks,
        found.lost,
        found.duplicated,
        found.slowest.as_millis()
    );
    assert_eq!((found.leaks, found.lost, found.duplicated), (0, 0, 0));
}

/// Resident memory (KiB) and open descriptors of a runner, and the size of its run on disk (KiB). `None` if it has
/// exited.
fn resources_of(runner: u32, run: &Path) -> Option<[f64; 3]> {
    let status = fs::read_to_string(format!("/proc/{runner}/status")).ok()?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()?;
    let descriptors = fs::read_dir(format!("/proc/{runner}/fd")).ok()?.count() as f64;
    let size = |folder: &Path| -> u64 {
        let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
    };
    Some([rss, descriptors, (size(run) + size(&run.join("console"))) as f64 / 1024.0])
}

/// Least-squares slope of `values` over `at`.
fn slope(at: &[f64], values: &[f64]) -> f64 {
    let n = at.len() as f64;
    let (mean_x, mean_y) = (at.iter().sum::<f64>() / n, values.iter().sum::<f64>() / n);
    let cross: f64 = at.iter().zip(values).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    cross / at.iter().map(|x| (x - mean_x).powi(2)).sum::<f64>()
}

/// Samples the resources of a runner every ten trials until it exits. Ignores the first `skipped` trials.
#[expect(clippy::print_stdout, reason = "the figures of docs/explanation/reliability.md")]
fn watch_resources(runner: &mut Child, run: &Path, skipped: usize) {
    let journal = run.join("journal.ndjson");
    let (mut at, mut held_then) = (Vec::new(), Vec::new());
    let mut last = 0;
    let inside = |runner: &Child| {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", runner.id())).unwrap_or_default();
        children.split_whitespace().next().and_then(|pid| pid.parse().ok())
    };
    while runner.try_wait().unwrap().is_none() {
        let ended = fs::read_to_string(&journal).unwrap_or_default().matches("\"trial_end\"").count();
        if ended >= last + 10 {
            last = ended;
            if let Some(now) = inside(runner).and_then(|pid| resources_of(pid, run)).filter(|_| ended >= skipped) {
                at.push(ended as f64);
                held_then.push(now);
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    for (n, (name, unit)) in [("memory", "KiB"), ("descriptors", ""), ("disk", "KiB")].into_iter().enumerate() {
        let values: Vec<f64> = held_then.iter().map(|held| held[n]).collect();
        println!(
            "{name}: {:.0} {unit} after {} trials, {:.0} {unit} after {}; slope {:.4} {unit} a trial",
            values[0],
            at[0],
            values[values.len() - 1],
            at[at.len() - 1],
            slope(&at, &values)
        );
    }
    // Memory is not checked: it grows with the number of trials, because the runner keeps a record of each.
    let descriptors: Vec<f64> = held_then.iter().map(|held| held[1]).collect();
    assert!(slope(&at, &descriptors).abs() < 0.01, "descriptors leak");
}

#[test]
#[ignore = "ten minutes"]
fn resources_of_the_runner_do_not_grow_over_two_thousand_trials() {
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 2000\nwarmup = false", "disk = \"clone\"");
    let mut runner = bench.start(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    watch_resources(&mut runner, &bench.path("run"), 100);
    assert!(runner.wait().unwrap().success());
    let counted = bench.counted();
    let failed = counted.values().filter(|execution| execution.vms[&0].failure.is_some()).count();
    println!("{} trials of a fake VMM, {failed} failed", counted.len());
    assert_eq!((counted.len(), failed), (2000, 0));
}

#[test]
#[ignore = "a minute"]
fn one_hundred_trials_that_leave_everything_behind_leave_nothing() {
    let bench = Bench::new();
    bench.study(&["leave-behind"], "concurrency = [1]\ntrials = 100\nwarmup = false", "");
    let output = bench.run(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    let left = left_behind(&bench);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let journal = bench.journal();
    let invalid: Vec<_> = journal.executions.iter().flat_map(|execution| &execution.invalid).collect();
    let failed = journal.executions.iter().filter(|execution| execution.vms[&0].failure.is_some()).count();
    println!(
        "{} trials that leave 3 processes, shared memory and 2 files: {} invalid, {failed} failed, {} things left",
        journal.executions.len(),
        invalid.len(),
        left.len()
    );
    assert_eq!((journal.executions.len(), invalid.len(), failed, left.len()), (100, 0, 0, 0), "{invalid:?} {left:?}");
}

/// Boots guests with `kernel` in emulated hosts, `trials` times with each of two VMMs, and samples the runner's
/// resources from trial 10 on.
///
/// # Returns
/// The run's folder, and the counted executions by trial.
fn boot_real_guests(kernel: &str, trials: u32) -> (TempDir, BTreeMap<u32, Execution>) {
    let study = format!(
        "[study]\nname = \"soak\"\ntitle = \"Real boots\"\nseed = 1\n[guest]\nkernel = \"{kernel}\"\nrootfs = \"minimal\"\n\
         memory_mib = 128\n[variants.fc]\nengine = \"firecracker\"\n[variants.qemu]\nengine = \"qemu-microvm\"\n[matrix]\n\
         trials = {trials}\n[metrics]\nwebservice_startup_time = {{}}\n"
    );
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = tempfile::Builder::new().prefix("microbench-soak-").tempdir().unwrap();
    fs::write(folder.path().join("study.toml"), study).unwrap();
    let mut runner = Command::new(env!("CARGO_BIN_EXE_microbench"))
        .args(["run", "study.toml", "--host", "emulated", "--out", "run", "--project"])
        .arg(project)
        .current_dir(folder.path())
        .env(MARK, folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let run = folder.path().join("run");
    wait_until("a trial", || run.join("journal.ndjson").exists());
    watch_resources(&mut runner, &run, 10);
    assert!(runner.wait().unwrap().success());
    let counted = counted(journal::read(&run.join("journal.ndjson")).unwrap());
    (folder, counted)
}

#[test]
#[ignore = "ten minutes"]
fn resources_of_the_runner_do_not_grow_over_a_hundred_real_boots() {
    let (_folder, counted) = boot_real_guests("microvm-6.1", 50);
    let failed = counted.values().filter(|execution| execution.vms[&0].failure.is_some()).count();
    println!("{} real boots, {failed} failed (emulated host)", counted.len());
    assert_eq!((counted.len(), failed), (100, 0));
}

/// QEMU 7.2 sets wrong flags after CMPXCHG16B: 7 of 545 boots of this kernel faulted, and 0 of 590 boots of
/// `microvm-6.1`. The test reads the journal, because an execution with a kernel error is invalid and is retried.
#[test]
#[ignore = "twenty minutes"]
fn six_hundred_boots_report_no_kernel_error() {
    let (folder, counted) = boot_real_guests("firecracker-6.1", 300);
    let failed = counted.values().filter(|execution| execution.vms[&0].failure.is_some()).count();
    let journal = journal::read(&folder.path().join("run/journal.ndjson")).unwrap();
    let faults: Vec<_> = journal.executions.iter().flat_map(|execution| &execution.invalid).collect();
    println!("{} real boots, {failed} failed, {} invalid: {faults:?} (emulated host)", counted.len(), faults.len());
    assert_eq!((counted.len(), failed, faults.len()), (600, 0, 0));
}
