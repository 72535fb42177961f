//! Settings of the paper's protocol, instruments, setting files and profiles, with the fake VMM.

use std::fs;

use microbench_formats::record::FailureReason;
use microbench_testing::{program, require};

use crate::support::{Bench, processes_of, text, trials};

/// Replaces the first occurrence of `from` in `study.toml`; panics if it is missing.
fn edit_study(bench: &Bench, from: &str, to: &str) {
    let path = bench.path("study.toml");
    let study = fs::read_to_string(&path).unwrap();
    assert!(study.contains(from), "{from}");
    fs::write(path, study.replacen(from, to, 1)).unwrap();
}

fn console_log(bench: &Bench) -> String {
    fs::read_to_string(bench.path("run/console/t0000-a0-vm000.log")).unwrap()
}

#[test]
fn without_a_console_only_the_console_marks_are_missing() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "trials = 1\nwarmup = false", "console = false\nprobe = \"busy\"\nneighbour = false");
    edit_study(&bench, "[metrics]", "[metrics]\nagent_time = { from = \"spawn\", to = \"agent.ready\" }");
    bench.run_study();
    assert_eq!(console_log(&bench), "");
    let vm = bench.counted()[&0].vms[&0].clone();
    assert_eq!(vm.failure, None);
    assert!(
        !vm.events.contains_key("agent.ready") && vm.events.contains_key("http.ok") && vm.events.contains_key("exit")
    );
    let analyzed = text(&bench.run(&["analyze", "run"]).stdout);
    assert!(analyzed.contains("4 samples, 1 missing"), "{analyzed}");
    assert!(fs::read_to_string(bench.path("run/samples.csv")).unwrap().contains("no event agent.ready"));
}

#[test]
fn study_overrides_the_reboot_parameter_of_the_engine() {
    require!(trials());
    for (guest, word) in [("", "console=ttyS0 reboot=t fake "), ("reboot = \"k\"", "console=ttyS0 reboot=k fake ")] {
        let bench = Bench::new();
        bench.study(&["ok"], "trials = 1\nwarmup = false", guest);
        bench.run_study();
        assert!(console_log(&bench).contains(word), "{}", console_log(&bench));
    }
}

#[test]
fn checksum_of_a_copy_workload_is_checked() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok", "wrong-digest"], "trials = 1\nwarmup = false", "");
    edit_study(&bench, "kind = \"sha256\"", "kind = \"copy\"");
    bench.run_study();
    let counted = bench.counted();
    let of = |mode: &str| counted.values().find(|execution| execution.cell.starts_with(mode)).unwrap().vms[&0].clone();
    assert_eq!(of("ok").failure, None);
    assert!(of("ok").readings.contains_key("workload.hashing_time.duration"));
    assert!(!of("ok").readings.contains_key("workload.hashing_time.sha_ni"), "a copy does not hash");
    let failure = of("wrong-digest").failure.unwrap();
    assert_eq!(failure.reason, FailureReason::Protocol);
    // The digest of zero bytes.
    assert!(failure.message.contains("instead of e3b0c44298fc1c14"), "{}", failure.message);
}

#[test]
fn as_coded_kernel_boot_time_is_not_available_on_new_kernels() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "trials = 1\nwarmup = false", "");
    edit_study(&bench, "seed = 1", "seed = 1\nprotocol = \"as-coded\"");
    bench.run_study();
    assert!(bench.run(&["analyze", "run"]).status.success());
    let samples = fs::read_to_string(bench.path("run/samples.csv")).unwrap();
    let row = samples.lines().find(|line| line.contains("kernel_boot_time")).unwrap();
    assert!(
        row.contains("not-available")
            && row.contains("Linux 5.18 and later do not print `random: fast init done`; the guest runs 6.1.0-fake"),
        "{row}"
    );
}

#[test]
fn system_calls_are_counted_in_separate_trials() {
    require!(trials(), program("strace", "strace"));
    let bench = Bench::new();
    bench.study(&["ok", "no-stop"], "concurrency = [1, 2]\ntrials = 1\nwarmup = true\ninstrument_trials = 2", "");
    edit_study(&bench, "[metrics]", "[metrics]\nvmm_system_calls = {}");
    bench.run_study();
    let counted = bench.counted();
    assert_eq!(counted.len(), 8);
    for (index, execution) in &counted {
        let vm = &execution.vms[&0];
        if *index < 4 {
            assert!(!vm.readings.contains_key("vmm.system_calls"), "trial {index} is timed");
            assert!(vm.readings.contains_key("vmm.cpu_time"));
        } else {
            assert!(execution.cell.ends_with("/1"));
            assert!(!vm.readings.contains_key("vmm.cpu_time"), "the CPU time would include strace");
            let counts = vm.readings.get("vmm.system_calls").map(|reading| reading.0.clone());
            match (execution.cell.as_str(), counts) {
                ("ok/1", Some(Ok(calls))) => assert!(calls > 50.0, "{calls}"),
                ("no-stop/1", None) => assert!(vm.failure.is_some()),
                (cell, counts) => panic!("{cell}: {counts:?}"),
            }
        }
    }
    // The VMM that timed out has been killed with its instrument.
    assert!(processes_of(&bench.path("run")).is_empty());
    let lock = fs::read_to_string(bench.path("run/lock.toml")).unwrap();
    assert!(lock.contains("name = \"strace\""), "{lock}");
}

#[test]
fn file_of_a_setting_is_locked_and_passed_to_the_vmm() {
    require!(trials());
    let bench = Bench::new();
    bench.file("templates/one.json", "{ \"a\": 1 }");
    bench.study(&["ok"], "trials = 1\nwarmup = false\nfile = [\"\", \"templates/one.json\"]", "");
    edit_study(&bench, "groups = \"concurrency\"", "groups = \"file\"");
    bench.run_study();
    let given: Vec<String> = bench
        .counted()
        .keys()
        .map(|trial| fs::read_to_string(bench.path(&format!("run/console/t{trial:04}-a0-vm000.log"))).unwrap())
        .collect();
    let path = bench.path("templates/one.json");
    assert!(given.iter().any(|log| log.contains(&format!("given {}: {{ \"a\": 1 }}", path.display()))), "{given:?}");
    assert!(given.iter().any(|log| log.contains("given : \n")), "{given:?}");
    let lock = fs::read_to_string(bench.path("run/lock.toml")).unwrap();
    let digest = "efc6fbbe835f02996e070d9b3f37ffc4153f8ed11590fbf555bff7021d271fe9";
    assert!(lock.contains("name = \"templates/one.json\"") && lock.contains(digest), "{lock}");

    bench.file("templates/one.json", "{ \"a\": 2 }");
    let output = bench.run(&["run", "--resume", "run", "--host", "fake"]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("the file `templates/one.json` has changed"), "{}", text(&output.stderr));
}

#[test]
fn profile_selects_cells_and_their_trials() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1, 2]\ntrials = 5\nwarmup = false", "");
    edit_study(&bench, "[metrics]", "[profiles.short]\ntrials = { 1 = 2 }\nwhere = { concurrency = 1 }\n[metrics]");
    let unknown = bench.run(&["plan", "study.toml", "--profile", "shrot"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("its profiles are `full`, `short`"), "{}", text(&unknown.stderr));
    let output = bench.run(&["run", "study.toml", "--host", "fake", "--out", "run", "--profile", "short"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(bench.counted().len(), 2);
    assert!(fs::read_to_string(bench.path("run/plan.json")).unwrap().contains("\"profile\": \"short\""));
}
