//! Sweeps of concurrency: how far they go, and VMs that are held until all are there.

use std::collections::BTreeMap;

use microbench_formats::record::FailureReason;
use microbench_plots::journal::{Execution, Vm};
use microbench_testing::require;

use crate::support::{Bench, processes_of, text, trials, wait_until};

/// Two VMs at once work, any more fail.
const SWEEP: &str =
    "concurrency = [1, 2, 4, 8]\ntrials = 2\nwarmup = false\nlimit = { failures = 0.4 }\nmax_consecutive_failures = 0";

/// Cells, each with the reasons of its VMs' failures.
fn failures(counted: &BTreeMap<u32, Execution>) -> BTreeMap<String, Vec<FailureReason>> {
    let mut cells: BTreeMap<String, Vec<FailureReason>> = BTreeMap::new();
    for execution in counted.values() {
        let reasons = execution.vms.values().filter_map(|vm| vm.failure.as_ref().map(|failure| failure.reason));
        cells.entry(execution.cell.clone()).or_default().extend(reasons);
    }
    cells
}

fn as_the_limit_says(counted: &BTreeMap<u32, Execution>) {
    assert_eq!(counted.len(), 16, "every trial of the plan has ended");
    let failures = failures(counted);
    assert_eq!(failures["two-at-most/2"], []);
    assert_eq!(failures["two-at-most/4"], [FailureReason::Exited; 4], "half of two trials of four VMs");
    assert_eq!(failures["two-at-most/8"], [FailureReason::BeyondLimit; 16]);
    assert_eq!(failures["ok/8"], [], "the limit of one variant is none of another's");
    let beyond = counted.values().find(|execution| execution.cell == "two-at-most/8").unwrap();
    let failure = beyond.vms[&7].failure.as_ref().unwrap();
    assert_eq!(failure.message, "beyond the limit: 50.0 % of 4 VMs at once failed (`failures` is 40.0 %)");
}

#[test]
fn beyond_the_limit_no_cell_is_run_and_every_vm_says_why() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok", "two-at-most"], SWEEP, "");
    let journal = bench.run_study();
    let level = |cell: &str| cell.rsplit('/').next().unwrap().parse::<u32>().unwrap();
    let levels: Vec<u32> = journal.executions.iter().map(|execution| level(&execution.cell)).collect();
    assert!(levels.iter().filter(|level| **level < 8).is_sorted(), "one level after the other: {levels:?}");
    as_the_limit_says(&bench.counted());

    let analyzed = bench.run(&["analyze", "run"]);
    assert!(analyzed.status.success());
    let said = text(&analyzed.stdout);
    assert!(!said.contains("--resume"), "what is beyond the limit is not still to be run: {said}");
    let query = "select distinct status, reason from samples where cell = 'two-at-most/8'";
    let rows = text(&bench.run(&["query", "run", query]).stdout);
    assert!(rows.contains("beyond-limit") && rows.contains("beyond the limit: 50.0 % of 4 VMs at once"), "{rows}");
}

#[test]
fn a_resumed_run_decides_as_one_that_nothing_cut_off() {
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
    as_the_limit_says(&bench.counted());
}

#[test]
fn vms_that_are_held_begin_together_and_answer_again_whether_all_came_up_or_not() {
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
            assert_eq!(used(vm), used(held[0]), "one number for all");
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
fn what_a_trial_takes_is_read_of_every_vm() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [2]\ntrials = 1\nwarmup = false", "");
    bench.run_study();
    for vm in bench.counted()[&0].vms.values() {
        let value = |name: &str| vm.readings[name].0.clone().unwrap();
        assert!(value("runner.cpu_time") > 0.0 && value("runner.vm_cpu_time") > 0.0);
        assert!(value("vmm.minor_faults") > 0.0);
        assert_eq!(value("vmm.cpu_time.user") + value("vmm.cpu_time.system"), value("vmm.cpu_time"));
        assert!(vm.events["tap.begin"] < vm.events["tap.end"] && vm.events["clone.end"] <= vm.events["tap.begin"]);
        let missing = vm.readings["vmm.memory_overhead_pss"].0.clone().unwrap_err();
        assert_eq!(missing, "not read: other VMs of the trial may still boot; set `hold_s` to hold them");
        assert!(!vm.events.contains_key("steady.begin"), "nobody asked for it");
    }
}
