//! Guests that attack the host or other guests: network access, floods, privileges and memory.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use microbench_formats::record::FailureReason;
use microbench_measure::sandbox::isolation;
use microbench_testing::require;

use crate::support::{Bench, control_group, in_namespaces, is_root, processes_of, text, trials, wait_until};

#[test]
fn guest_reaches_neither_other_guests_nor_the_host() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["scan-network"], "concurrency = [2]\ntrials = 1\nwarmup = false", "");
    // With IP forwarding enabled on the host.
    let run = bench.command(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    let output = in_namespaces(&run, "echo 1 > /proc/sys/net/ipv4/ip_forward").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    for entry in fs::read_dir(bench.path("run/console")).unwrap() {
        let log = fs::read_to_string(entry.unwrap().path()).unwrap();
        let said = log.lines().find(|line| line.contains("scanned")).unwrap_or_else(|| panic!("{log}"));
        assert!(said.contains("scanned 65565 addresses, reached 0: "), "{said}");
    }
    assert!(bench.counted()[&0].vms.values().all(|vm| vm.failure.is_none()));
}

#[test]
fn guest_that_floods_its_tap_fails_no_other_trial() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["flood-tap", "ok"], "concurrency = [1]\ntrials = 1\nwarmup = false", "boot_deadline_s = 60");
    bench.run_study();
    assert!(bench.counted().values().all(|execution| execution.vms[&0].failure.is_none()));
}

#[test]
fn vmm_runs_without_privileges_as_its_own_user() {
    require!(trials());
    let bench = Bench::new();
    // This mode changes nothing in its process, so the test sees what the process was given.
    bench.study(&["idle"], "concurrency = [2]\ntrials = 1\nwarmup = false", "disk = \"clone\"\nboot_deadline_s = 60");
    let mut runner = bench.start(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    let vms = || -> Vec<u32> {
        let all = processes_of(&bench.path("run")).into_iter();
        all.filter(|(_, line)| line.contains("fake-vmm idle ")).map(|(pid, _)| pid).collect()
    };
    wait_until("two VMMs", || vms().len() == 2);
    let mut users = BTreeSet::new();
    for pid in vms() {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let [user, capabilities, _, no_new_privileges] = isolation::parse_status(&status);
        assert_eq!((capabilities, no_new_privileges), (Some(0), Some(1)), "{status}");
        users.insert(user.unwrap());
    }
    if is_root() {
        assert_eq!(users, BTreeSet::from([0x7000_0000, 0x7000_0001]));
    }
    let mode = fs::metadata(bench.path("run")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "other users can access the folder of an executing run");
    runner.kill().unwrap();
    runner.wait().unwrap();
}

#[test]
fn out_of_memory_vmm_is_recorded_and_the_run_continues() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["exhaust-memory", "ok"], "concurrency = [1]\ntrials = 1\nwarmup = false", "boot_deadline_s = 60");
    let group = control_group(512 << 20);
    require!(group.as_ref().map(|_| ()).map_err(Clone::clone));
    let group = group.expect("it was required");
    let mut run = bench.command(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    let output = group.run_in_group(&mut run).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let counted = bench.counted();
    for execution in counted.values() {
        let failure = &execution.vms[&0].failure;
        match (execution.cell.as_str(), failure) {
            ("exhaust-memory/1", Some(failure)) => {
                assert_eq!(failure.reason, FailureReason::Memory, "{}", failure.message);
            }
            ("ok/1", None) => {}
            (cell, failure) => panic!("{cell}: {failure:?}"),
        }
    }
}
