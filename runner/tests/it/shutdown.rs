//! The end of a VM: reset pulses and counts, with the fake VMM.
//!
//! The fake VMM has no guest, so KVM's tracepoints record nothing of it, and many hosts of these tests do not permit perf
//! events. Therefore these tests check only what is recorded without pulses; `emulated.rs` has a guest that sends them.

use std::fs;

use microbench_formats::record::FailureReason;
use microbench_plots::samples::{self, Sample, Status};
use microbench_testing::require;

use crate::support::{Bench, text, trials};

const METRICS: &str = "[metrics]\nshutdown_poll_time = {}\n\
                       calls = { reading = \"vmm.system_calls_counted\" }\n\
                       polls = { reading = \"guest.keyboard_polls\" }";

/// Runs a study with one VM in `mode` and the settings `guest`, and returns its samples.
fn measured(bench: &Bench, mode: &str, guest: &str) -> Vec<Sample> {
    let study = bench.study(&[mode], "concurrency = [1]\ntrials = 1\nwarmup = false", guest);
    let manifest = fs::read_to_string(&study).unwrap().replace("[metrics]", METRICS);
    fs::write(&study, manifest).unwrap();
    bench.run_study();
    let analyzed = bench.run(&["analyze", "run"]);
    assert!(analyzed.status.success(), "{}", text(&analyzed.stderr));
    samples::load(&bench.path("run")).unwrap()
}

fn sample<'a>(samples: &'a [Sample], metric: &str) -> &'a Sample {
    samples.iter().find(|sample| sample.metric == metric).unwrap_or_else(|| panic!("no sample of {metric}"))
}

#[test]
fn vm_that_exits_before_its_reset_pulses_passes() {
    require!(trials());
    let bench = Bench::new();
    let samples = measured(&bench, "ok", "stop_at = \"reset-pulses\"");
    let vm = &bench.counted()[&0].vms[&0];
    assert_eq!(vm.failure, None);
    assert!(vm.events.contains_key("exit"));
    for event in ["guest.reset_pulse", "guest.reset_pulse_last"] {
        let reason = vm.readings[event].0.clone().unwrap_err();
        assert!(reason.contains("trace"), "{event}: {reason}");
    }
    assert_eq!(sample(&samples, "shutdown_time").status, Status::Ok);
    assert_eq!(sample(&samples, "shutdown_poll_time").status, Status::NotAvailable);
}

#[test]
fn perf_events_count_in_separate_trials() {
    require!(trials());
    let bench = Bench::new();
    let samples = measured(&bench, "ok", "");
    let counted = bench.counted();
    assert_eq!(counted.len(), 2);
    assert!(!counted[&0].vms[&0].readings.contains_key("vmm.system_calls_counted"), "trial 0 is timed");
    // The value of a host that permits perf events, or the reason of one that does not.
    match &counted[&1].vms[&0].readings["vmm.system_calls_counted"].0 {
        Ok(calls) => assert!(*calls > 50.0, "{calls}"),
        Err(reason) => assert!(reason.contains("raw_syscalls/sys_enter"), "{reason}"),
    }
    match &counted[&1].vms[&0].readings["guest.keyboard_polls"].0 {
        Ok(polls) => assert!(*polls == 0.0, "{polls}"),
        Err(reason) => assert!(reason.contains("kvm/kvm_pio"), "{reason}"),
    }
    for metric in ["calls", "polls"] {
        let sample = sample(&samples, metric);
        assert!([Status::Ok, Status::NotAvailable].contains(&sample.status), "{metric}: {}", sample.reason);
    }
}

#[test]
fn polls_of_an_untraced_vm_that_does_not_stop_are_not_censored() {
    require!(trials());
    let bench = Bench::new();
    let samples = measured(&bench, "no-stop", "");
    let polls = sample(&samples, "shutdown_poll_time");
    assert_eq!((polls.status, polls.reason.as_str()), (Status::NotAvailable, "the VM was not traced"));
    assert_eq!(sample(&samples, "shutdown_time").status, Status::Censored);
}

#[test]
fn vm_without_reset_pulses_times_out() {
    require!(trials());
    let bench = Bench::new();
    let samples = measured(&bench, "no-stop", "stop_at = \"reset-pulses\"");
    let vm = &bench.counted()[&0].vms[&0];
    let failure = vm.failure.clone().expect("a failure");
    assert_eq!((failure.reason, failure.stage.as_str()), (FailureReason::Timeout, "exit"), "{}", failure.message);
    let polls = sample(&samples, "shutdown_poll_time");
    if failure.message.contains("its reset pulses are unknown: ") {
        assert_eq!(polls.status, Status::NotAvailable, "{}", polls.reason);
    } else {
        // This host permits tracing: the pulses were yet to come.
        assert_eq!(polls.status, Status::Censored, "{}", polls.reason);
    }
}
