//! Runs with the fake VMM: records and failures of a trial.

use microbench_formats::record::FailureReason;
use microbench_plots::journal::Vm;
use microbench_testing::require;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::support::{Bench, in_namespaces, text, trials};

#[test]
fn run_records_every_event_and_reading_and_derives_every_file() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1, 4]\ntrials = 2", "");
    let journal = bench.run_study();
    assert_eq!(journal.executions.iter().filter(|execution| execution.warmup).count(), 1);
    let counted = bench.counted();
    assert_eq!(counted.len(), 4);
    for execution in counted.values() {
        let expected = if execution.cell.contains("/4") { 4 } else { 1 };
        assert_eq!(execution.vms.len(), expected);
        execution.vms.values().for_each(assert_complete_life);
    }
    for file in ["manifest.toml", "plan.json", "lock.toml", "journal.ndjson"] {
        assert!(bench.path("run").join(file).is_file(), "{file}");
    }
    let analyzed = bench.run(&["analyze", "run"]);
    assert!(analyzed.status.success(), "{}", text(&analyzed.stderr));
    assert!(text(&analyzed.stdout).contains("40 samples, 0 missing"), "{}", text(&analyzed.stdout));
    let plotted = bench.run(&["plot", "run"]);
    assert!(plotted.status.success(), "{}", text(&plotted.stderr));
    for file in ["samples.parquet", "samples.csv", "summary.csv", "figures/startup.svg", "figures/startup.png"] {
        assert!(bench.path("run").join(file).is_file(), "{file}");
    }
    for (arguments, files) in [(["--sequence", "ok/4"].as_slice(), 20), (&["--sequences"], 40)] {
        let drawn = bench.run(&[&["plot", "run"], arguments].concat());
        assert_eq!(text(&drawn.stdout).lines().count(), files, "{arguments:?}: {}", text(&drawn.stderr));
    }
    assert!(bench.path("run/figures/sequence-ok--4-shutdown_time.png").is_file());
    let unknown = bench.run(&["plot", "run", "--sequence", "ok/5"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("no cell `ok/5`; it has ok/1, ok/4"), "{}", text(&unknown.stderr));
}

#[test]
fn eighty_vms_run_with_a_limit_of_640_descriptors() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [80]\ntrials = 1\nwarmup = false", "");
    let run = bench.command(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    // Seven descriptors per VM before its start, and 80 for the runner itself.
    let output = in_namespaces(&run, "ulimit -n 640").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let journal = bench.journal();
    assert_eq!(journal.executions[0].vms.len(), 80);
    journal.executions[0].vms.values().for_each(|vm| assert_eq!(vm.failure, None));
}

/// Asserts that every event exists and that the readings are those of the fake guest. Two threads record events, one
/// for the VM and one for its console, so only the order within each thread is checked.
fn assert_complete_life(vm: &Vm) {
    assert_eq!(vm.failure, None);
    let life = [
        "clone.begin",
        "clone.end",
        "spawn",
        "http.ok",
        "workload.begin",
        "workload.end",
        "stop.requested",
        "stop.acknowledged",
        "exit",
    ];
    for order in [&life[..], &["spawn", "console.first", "agent.ready", "guest.restart"]] {
        let instants: Vec<u64> =
            order.iter().map(|name| *vm.events.get(*name).unwrap_or_else(|| panic!("{name}"))).collect();
        assert!(instants.is_sorted(), "{order:?}: {instants:?}");
    }
    let reading = |name: &str| vm.readings[name].0.clone();
    assert_eq!(reading("kernel.init"), Ok(1_000_000.0));
    assert_eq!(reading("kernel.messages"), Ok(42.0));
    assert_eq!(reading("workload.hashing_time.duration"), Ok(500_000.0));
    assert!(reading("kernel.random_fast_init").is_err());
    assert!(reading("vmm.peak_rss").is_ok_and(|bytes| bytes > 0.0));
}

/// Runs one VM in the failing mode `mode` and returns its records.
fn run_failing_vm(mode: &str) -> Vm {
    let bench = Bench::new();
    bench.study(&[mode], "concurrency = [1]\ntrials = 1\nwarmup = false", "");
    bench.run_study();
    let counted = bench.counted();
    let vm = counted[&0].vms[&0].clone();
    let analyzed = text(&bench.run(&["analyze", "run"]).stdout);
    let failure = vm.failure.as_ref().unwrap_or_else(|| panic!("{mode} has no failure"));
    if failure.reason == FailureReason::NotApplicable {
        assert!(analyzed.contains("1 VM not-applicable"), "{analyzed}");
    } else {
        assert!(analyzed.contains("1 VM failed") || analyzed.contains("1 VM censored"), "{analyzed}");
    }
    assert!(bench.run(&["plot", "run"]).status.success());
    vm
}

fn assert_failed(mode: &str, reason: FailureReason, stage: &str, message: &str) {
    let vm = run_failing_vm(mode);
    let failure = vm.failure.expect("a failure");
    assert_eq!((failure.reason, failure.stage.as_str()), (reason, stage), "{mode}: {}", failure.message);
    assert!(failure.message.contains(message), "{mode}: {}", failure.message);
}

#[test]
fn vmm_that_exits_at_once_is_recorded_with_its_message() {
    require!(trials());
    assert_failed("exit-at-once", FailureReason::Exited, "http.ok", "cannot start");
}

#[test]
fn vmm_that_does_not_support_a_level_is_not_applicable() {
    require!(trials());
    assert_failed("refuse", FailureReason::NotApplicable, "http.ok", "lacks the level");
}

#[test]
fn vmm_crash_during_boot_is_recorded_with_its_exit_code() {
    require!(trials());
    assert_failed("crash", FailureReason::Exited, "http.ok", "exit code 9");
}

#[test]
fn guest_that_never_responds_is_killed_at_the_deadline() {
    require!(trials());
    assert_failed("silent", FailureReason::Timeout, "http.ok", "deadline is 2 s");
}

#[test]
fn guest_that_floods_the_console_is_killed_at_the_deadline() {
    require!(trials());
    assert_failed("flood-console", FailureReason::Timeout, "http.ok", "deadline is 2 s");
}

#[test]
fn first_response_with_the_nonce_of_another_vm_is_rejected() {
    require!(trials());
    assert_failed("wrong-nonce", FailureReason::Protocol, "http.ok", "another VM's nonce");
}

#[test]
fn response_that_is_not_http_is_rejected() {
    require!(trials());
    assert_failed("garbage", FailureReason::Protocol, "stats", "GET /stats");
}

#[test]
fn truncated_json_is_rejected() {
    require!(trials());
    assert_failed("half-json", FailureReason::Protocol, "stats", "the response is not valid");
}

#[test]
fn endless_body_is_rejected_at_the_size_limit() {
    require!(trials());
    assert_failed("endless-body", FailureReason::Protocol, "stats", "more than 262144 bytes");
}

#[test]
fn guest_that_accepts_a_connection_and_sends_nothing_times_out() {
    require!(trials());
    assert_failed("mute", FailureReason::Timeout, "http.ok", "deadline is 2 s");
    assert_failed("mute-later", FailureReason::Timeout, "stats", "no response within 10 s");
}

#[test]
fn response_sent_byte_by_byte_times_out() {
    require!(trials());
    assert_failed("drip", FailureReason::Timeout, "http.ok", "deadline is 2 s");
    assert_failed("drip-later", FailureReason::Timeout, "stats", "no response within 10 s");
}

#[test]
fn response_head_of_a_gigabyte_is_rejected() {
    require!(trials());
    assert_failed("big-head", FailureReason::Protocol, "http.ok", "has more than 8192 bytes");
    assert_failed("big-head-later", FailureReason::Protocol, "stats", "GET /stats");
}

#[test]
fn later_response_with_the_nonce_of_another_vm_is_rejected() {
    require!(trials());
    assert_failed("wrong-nonce-later", FailureReason::Protocol, "stats", "another VM's nonce");
}

#[test]
fn stopped_vmm_is_killed_at_the_deadline() {
    require!(trials());
    assert_failed("stopped", FailureReason::Timeout, "http.ok", "deadline is 2 s");
}

#[test]
fn redirect_is_not_followed() {
    require!(trials());
    assert_failed("redirect", FailureReason::Protocol, "stats", "302");
}

#[test]
fn wrong_checksum_is_rejected() {
    require!(trials());
    assert_failed("wrong-digest", FailureReason::Protocol, "workload.end", "the checksum is");
}

#[test]
fn guest_that_does_not_stop_is_killed_at_the_deadline() {
    require!(trials());
    assert_failed("no-stop", FailureReason::Timeout, "exit", "did not exit within 1 s");
}

#[test]
fn vmm_that_exits_with_an_error_keeps_its_samples() {
    require!(trials());
    let vm = run_failing_vm("bad-exit");
    assert!(vm.failure.unwrap().message.contains("exit code 7"));
    assert!(!vm.events.contains_key("exit"), "a failed exit must not be recorded as `exit`");
    assert!(vm.events.contains_key("http.ok"));
}

/// Reading certificates takes longer than all other work for a VM, and HTTP to guests and VMMs needs no certificate.
#[test]
fn certificates_are_not_read_for_each_vm() {
    require!(trials());
    let bench = Bench::new();
    let certificates = bench.file("certificates", "");
    let watch = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
    watch.add_watch(&certificates, AddWatchFlags::IN_OPEN | AddWatchFlags::IN_CLOSE).unwrap();
    let opened = |trials: u32| {
        bench.study(&["ok"], &format!("concurrency = [2]\ntrials = {trials}"), "");
        let mut command = bench.command(&["run", "study.toml", "--host", "fake", "--out", &format!("run-{trials}")]);
        let output = command.env("SSL_CERT_FILE", &certificates).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        std::iter::from_fn(|| watch.read_events().ok()).map(|events| events.len()).sum::<usize>()
    };
    assert_eq!(opened(1), opened(3));
}
