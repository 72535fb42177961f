//! Sweeps of concurrency: the limit on failures, VMs held for a steady state, and resource readings.

use std::collections::BTreeMap;

use microbench_formats::record::FailureReason;
use microbench_plots::journal::{Execution, Vm};
use microbench_testing::{program, require};

use crate::support::{Bench, processes_of, text, trials, wait_until};

/// Levels of a sweep with a limit on failures.
const SWEEP: &str =
    "concurrency = [1, 2, 4, 8]\ntrials = 2\nwarmup = false\nlimit = { failures = 0.4 }\nmax_consecutive_failures = 0";

/// Failure reasons of the VMs of each cell.
fn failures(counted: &BTreeMap<u32, Execution>) -> BTreeMap<String, Vec<FailureReason>> {
    let mut cells: BTreeMap<String, Vec<FailureReason>> = BTreeMap::new();
    for execution in counted.values() {
        let reasons = execution.vms.values().filter_map(|vm| vm.failure.as_ref().map(|failure| failure.reason));
        cells.entry(execution.cell.clone()).or_default().extend(reasons);
    }
    cells
}

/// Asserts that cells beyond the limit failed with its reason, and that the other variant is not affected.
fn assert_limit_applied(counted: &BTreeMap<u32, Execution>) {
    assert_eq!(counted.len(), 16, "trials without an end");
    let failures = failures(counted);
    assert_eq!(failures["two-at-most/2"], []);
    assert_eq!(failures["two-at-most/4"], [FailureReason::Exited; 4], "expected half of two trials of four VMs");
    assert_eq!(failures["two-at-most/8"], [FailureReason::BeyondLimit; 16]);
    assert_eq!(failures["ok/8"], [], "the limit of a variant applied to another variant");
    let beyond = counted.values().find(|execution| execution.cell == "two-at-most/8").unwrap();
    let failure = beyond.vms[&7].failure.as_ref().unwrap();
    assert_eq!(failure.message, "beyond the limit: 50.0 % of 4 VMs at once failed (`failures` is 40 %)");
}

#[test]
fn cells_beyond_the_limit_are_skipped_with_the_reason() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok", "two-at-most"], SWEEP, "");
    let journal = bench.run_study();
    let level = |cell: &str| cell.rsplit('/').next().unwrap().parse::<u32>().unwrap();
    let levels: Vec<u32> = journal.executions.iter().map(|execution| level(&execution.cell)).collect();
    assert!(levels.iter().filter(|level| **level < 8).is_sorted(), "levels are not in ascending order: {levels:?}");
    assert_limit_applied(&bench.counted());

    let analyzed = bench.run(&["analyze", "run"]);
    assert!(analyzed.status.success());
    let said = text(&analyzed.stdout);
    assert!(!said.contains("--resume"), "cells beyond the limit are reported as resumable: {said}");
    let query = "select distinct status, reason from samples where cell = 'two-at-most/8'";
    let rows = text(&bench.run(&["query", "run", query]).stdout);
    assert!(rows.contains("beyond-limit") && rows.contains("beyond the limit: 50.0 % of 4 VMs at once"), "{rows}");
}

#[test]
fn resumed_run_applies_the_same_limit() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok", "two-at-most"], SWEEP, "");
    let mut runner = bench.start(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    let journal = || std::fs::read_to_string(bench.path("run/journal.ndjson")).unwrap_or_default();
    wait_until("a trial of four VMs", || journal().contains("two-at-most/4"));
    runner.kill().unwrap();
    runner.wait().unwrap();
    wait_until("every process of the run to end", || processes_of(&bench.path("run")).is_empty());
    let output = bench.run(&["run", "--resume", "run", "--host", "fake"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_limit_applied(&bench.counted());
}

#[test]
fn held_vms_start_their_hold_together_and_respond_after_it() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok", "two-at-most"], "concurrency = [4]\ntrials = 1\nwarmup = false", "hold_s = 1");
    bench.run_study();
    for execution in bench.counted().values() {
        let held: Vec<&Vm> = execution.vms.values().filter(|vm| vm.failure.is_none()).collect();
        assert_eq!(held.len(), if execution.cell == "ok/4" { 4 } else { 2 });
        let begin = held[0].events["steady.begin"];
        for vm in &held {
            let at = |name: &str| vm.events[name];
            assert_eq!(at("steady.begin"), begin);
            assert!(at("http.ok") <= begin);
            assert!(at("steady.end") >= begin + 1_000_000_000);
            assert!(at("steady.end") < at("steady.response") && at("steady.response") < at("stop.requested"));
            let used = |vm: &Vm| vm.readings["host.memory_used"].0.clone();
            assert_eq!(used(vm), used(held[0]), "VMs of a trial differ in host memory");
            let missing = vm.readings["vmm.memory_overhead_pss"].0.clone().unwrap_err();
            assert!(missing.contains("no mapping of the VMM has the size"), "{missing}");
            let end = vm.readings["vmm.memory_overhead_pss.end"].0.clone().unwrap_err();
            assert_eq!(end, "not read: other VMs of the trial may still run their workloads");
        }
        let completed: Vec<f64> =
            execution.vms.values().map(|vm| vm.readings["vm.completed"].0.clone().unwrap()).collect();
        assert_eq!(completed, if execution.cell == "ok/4" { [1.0; 4] } else { [1.0, 1.0, 0.0, 0.0] });
    }
}

#[test]
fn resource_readings_are_recorded_for_every_vm() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [2]\ntrials = 1\nwarmup = false", "");
    bench.run_study();
    for vm in bench.counted()[&0].vms.values() {
        let value = |name: &str| vm.readings[name].0.clone().unwrap();
        assert!(value("runner.cpu_time") > 0.0 && value("runner.vm_cpu_time") > 0.0);
        assert!(value("runner.startup_cpu_time") > 0.0);
        assert!(value("runner.startup_cpu_time") <= value("runner.window_cpu_time"));
        assert!(value("runner.window_cpu_time") < value("runner.cpu_time"), "the window includes the preparation");
        assert!(value("vmm.minor_faults") > 0.0);
        assert_eq!(value("vmm.cpu_time.user") + value("vmm.cpu_time.system"), value("vmm.cpu_time"));
        assert!(vm.events["tap.begin"] < vm.events["tap.end"] && vm.events["clone.end"] <= vm.events["tap.begin"]);
        let missing = vm.readings["vmm.memory_overhead_pss"].0.clone().unwrap_err();
        assert_eq!(missing, "not read: other VMs of the trial may still boot; set `hold_s` to hold them");
        assert!(!vm.events.contains_key("steady.begin"), "`steady.begin` is recorded without `hold_s`");
    }
}

#[test]
fn share_of_the_runner_is_its_cpu_time_in_the_window_over_that_of_all_vmms() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok", "two-at-most"], "concurrency = [4]\ntrials = 1\nwarmup = false", "");
    bench.run_study();
    for execution in bench.counted().values() {
        let values = |name: &str| -> Vec<f64> {
            execution.vms.values().map(|vm| vm.readings[name].0.clone().unwrap()).collect()
        };
        // A VMM that exits early has used CPU time, too.
        let (runner, vmms) = (values("runner.window_cpu_time"), values("vmm.cpu_time").iter().sum::<f64>());
        assert_eq!(values("runner.share"), [runner[0] / vmms; 4], "{}", execution.cell);
        assert_eq!(runner, [runner[0]; 4]);
    }
}

#[test]
fn share_of_the_runner_is_missing_with_its_reason_if_a_vmm_is_measured_by_an_instrument() {
    require!(trials());
    require!(program("strace", "strace"));
    let bench = Bench::new();
    let study = bench.study(&["ok"], "trials = 1\nwarmup = false", "");
    let text = std::fs::read_to_string(&study).unwrap();
    std::fs::write(&study, text.replace("[metrics]\n", "[metrics]\nvmm_system_calls = {}\nrunner_share = {}\n"))
        .unwrap();
    let journal = bench.run_study();
    let shares: Vec<Result<f64, String>> =
        journal.executions.iter().map(|execution| execution.vms[&0].readings["runner.share"].0.clone()).collect();
    assert_eq!(shares.iter().filter(|share| share.is_ok()).count(), 1, "{shares:?}");
    assert!(shares.contains(&Err("`vmm.cpu_time` of VM 0 is missing".into())), "{shares:?}");
}
