//! Guests that attack the host or other guests: network access, floods, privileges and memory.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use microbench_formats::record::FailureReason;
use microbench_measure::sandbox::isolation;
use microbench_testing::require;
use serde_json::Value;

use crate::support::{
    Bench, control_group, in_namespaces, is_root, left_behind, processes_of, text, trials, wait_until,
};

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

/// What the VMMs of the mode `leave-behind` have found, by VM and in the order of trials.
fn found_by_vms(bench: &Bench) -> Vec<Value> {
    let mut logs: Vec<_> =
        fs::read_dir(bench.path("run/console")).unwrap().map(|entry| entry.unwrap().path()).collect();
    logs.sort();
    let found = |log: &std::path::PathBuf| {
        let text = fs::read_to_string(log).unwrap();
        let said = text.lines().find_map(|line| line.strip_prefix("fake-vmm: found "));
        serde_json::from_str(said.unwrap_or_else(|| panic!("{text}"))).unwrap()
    };
    logs.iter().map(found).collect()
}

#[test]
fn vm_finds_nothing_of_the_host_or_of_other_vms_and_leaves_nothing_behind() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["leave-behind"], "concurrency = [2]\ntrials = 3\nwarmup = false", "");
    bench.file("project/file", "");
    for name in ["host.sock", "project/host.sock"] {
        let path = bench.path(name);
        // Kept open until the end of this process.
        std::mem::forget(std::os::unix::net::UnixListener::bind(&path).unwrap());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let journal = bench.run_study();
    assert_eq!(journal.executions.len(), 3, "a trial was retried");
    let mut users = BTreeSet::new();
    for execution in &journal.executions {
        assert!(execution.invalid.is_empty(), "{:?}", execution.invalid);
        for vm in execution.vms.values() {
            assert_eq!(vm.failure, None);
            users.insert(vm.readings["vmm.user"].0.clone().map(|user| user as u64));
        }
    }
    assert!(!is_root() || users.len() == 6, "VMs share a user: {users:?}");
    let found = found_by_vms(&bench);
    assert_eq!(found.len(), 6);
    for found in found {
        // The init of the namespace, and the VMM.
        assert_eq!(found["processes"], 2, "{found}");
        for none in ["segments", "other_folders", "files"] {
            assert_eq!(found[none], 0, "{none}: {found}");
        }
        assert_eq!(found["sockets"], serde_json::json!([false, false]), "{found}");
        assert_eq!(found["hidden"], serde_json::json!([0, 0, 0]), "{found}");
        assert_eq!(found["core"], "0", "{found}");
    }
    assert_eq!(left_behind(&bench), Vec::<String>::new());
}

#[test]
fn vmm_of_a_wrapper_ends_with_it() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["wrap", "ok"], "concurrency = [1]\ntrials = 2\nwarmup = false", "");
    let journal = bench.run_study();
    assert_eq!(journal.executions.len(), 4, "a trial was retried");
    for execution in &journal.executions {
        assert!(execution.invalid.is_empty(), "{:?}", execution.invalid);
        let reason = execution.vms[&0].failure.as_ref().map(|failure| failure.reason);
        assert_eq!(reason, execution.cell.starts_with("wrap").then_some(FailureReason::Timeout));
    }
    assert_eq!(left_behind(&bench), Vec::<String>::new());
}

#[test]
fn vm_fills_its_own_share_of_memory_only() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["fill-folder"], "concurrency = [2]\ntrials = 1\nwarmup = false", "memory_mib = 32");
    bench.run_study();
    for vm in 0..2 {
        let log = fs::read_to_string(bench.path(&format!("run/console/t0000-a0-vm{vm:03}.log"))).unwrap();
        let said =
            log.lines().find_map(|line| line.strip_prefix("fake-vmm: wrote ")).unwrap_or_else(|| panic!("{log}"));
        let written: u32 = said.split(' ').next().unwrap().parse().unwrap();
        // The disk of 2 MiB, the memory, and 64 MiB.
        assert!((90..=98).contains(&written) && said.contains("No space left on device"), "{said}");
    }
    assert!(bench.counted()[&0].vms.values().all(|vm| vm.failure.is_none()));
}

/// What a guest reports, the stage at which its VM fails, and a part of the message.
type Report = (&'static str, &'static str, &'static str);

/// Runs a guest for each report, with these lines of `[guest]` and `[metrics]`, and checks that its VM fails as a
/// protocol error.
fn assert_refused(reports: &[Report], guest: &str, metrics: &str) {
    let bench = Bench::new();
    let names: Vec<String> = (0..reports.len()).map(|number| format!("guest{number}")).collect();
    let path = bench.study(
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
        "concurrency = [1]\ntrials = 1\nwarmup = false",
        guest,
    );
    let mut study = fs::read_to_string(&path).unwrap().replace("[metrics]\n", &format!("[metrics]\n{metrics}"));
    for (name, (report, ..)) in names.iter().zip(reports) {
        study = study.replace(&format!("mode = \"{name}\""), &format!("mode = 'report {report}'"));
    }
    fs::write(path, study).unwrap();
    bench.run_study();
    let counted = bench.counted();
    for (name, (report, stage, message)) in names.iter().zip(reports) {
        let execution = counted.values().find(|execution| execution.cell == format!("{name}/1")).unwrap();
        let vm = &execution.vms[&0];
        let failure = vm.failure.as_ref().unwrap_or_else(|| panic!("{report} is accepted: {:?}", vm.readings));
        assert_eq!((failure.reason, failure.stage.as_str()), (FailureReason::Protocol, *stage), "{failure:?}");
        assert!(failure.message.contains(message), "{report}: {}", failure.message);
        let (key, _) = report.split_once('=').unwrap();
        let readings = ["kernel.init", "guest.uptime", "guest.memory", "workload.hashing_time.duration"];
        let recorded: Vec<_> =
            readings.iter().filter(|name| vm.readings.get(**name).is_some_and(|r| r.0.is_ok())).collect();
        assert!(*stage == "workload.end" || recorded.is_empty(), "{key}: {recorded:?} are recorded");
        assert!(!vm.readings.contains_key("workload.hashing_time.duration"), "{key}");
    }
}

/// Statistics that no guest of the fake VMM can have.
const STATS: [(&str, &str); 11] = [
    // In microseconds, the largest number of 64 bits; and one that a product of 64 bits wraps to 0.4 ms.
    ("init_us=18446744073709551615", "kernel.init = 18446744073709551.6 ms, but the host saw the guest for "),
    ("last_message_us=18446744073709552", "kernel.last_message = 18446744073709.6 ms, but the host saw the guest for "),
    ("random_seeded_us=600000000", "kernel.random_seeded = 600000.0 ms, but the host saw the guest for "),
    ("random_fast_init_us=600000000", "kernel.random_fast_init = 600000.0 ms, but the host saw the guest for "),
    ("uptime_ms=3600000", "guest.uptime = 3600000.0 ms, but the host saw the guest for "),
    (
        "answered_ns=18446744073709551615",
        "the instant of its last response = 18446744073709.6 ms, but the host saw the guest for ",
    ),
    ("listening_ns=600000000000", "agent.listening = 600000.0 ms, but the host saw the guest for "),
    ("cpus=64", "guest.cpus = 64, but the VM has 1"),
    ("memory_bytes=1099511627776", "guest.memory = 1099511627776 bytes, but the VM has 536870912 bytes"),
    ("kernel_messages=9007199254740993", "kernel.messages = 9007199254740993, but a kernel log has at most 1048576"),
    ("cpus=0", "guest.cpus = 0, but the VM has 1"),
];

/// JSON that is no number of the protocol.
const NO_NUMBERS: [&str; 6] =
    ["init_us=NaN", "init_us=Infinity", "uptime_ms=-1", "uptime_ms=1e308", "memory_bytes=1e999", "answered_ns=0.5"];

#[test]
fn impossible_statistics_fail_the_vm() {
    require!(trials());
    let outside = STATS.map(|(report, message)| (report, "stats", message));
    let no_numbers = NO_NUMBERS.map(|report| (report, "stats", "GET /stats: the response is not valid"));
    assert_refused(&[&outside[..], &no_numbers].concat(), "", "");
}

#[test]
fn impossible_statistics_on_the_console_fail_the_vm() {
    require!(trials());
    let outside = STATS.map(|(report, message)| (report, "agent.ready", message));
    let no_numbers =
        NO_NUMBERS.map(|report| (report, "agent.ready", "the agent's statistics on the console are not valid"));
    assert_refused(&[&outside[..], &no_numbers].concat(), "network = false", "");
}

#[test]
fn impossible_results_of_a_workload_give_no_value() {
    require!(trials());
    let end = "workload.end";
    assert_refused(
        &[
            ("duration_ns=0", end, "duration = 0 ns, but 131072 bytes take at least 132 ns"),
            ("duration_ns=1", end, "POST /work: the guest reports workload.hashing_time.duration = 1 ns, but 131072"),
            // 31 years.
            ("duration_ns=1000000000000000000", end, "duration = 1000000000000.0 ms, but the response came after "),
            ("duration_ns=18446744073709551615", end, "duration = 18446744073709.6 ms, but the response came after "),
            // A throughput of 1e308 MB/s.
            ("duration_ns=1.3e-300", end, "POST /work: the response is not valid"),
            ("duration_ns=NaN", end, "POST /work: the response is not valid"),
            ("backend=null", end, "neither `sha-ni` nor `soft`"),
        ],
        "",
        "",
    );
}

#[test]
fn impossible_latency_of_disk_operations_gives_no_value() {
    require!(trials());
    let end = "workload.end";
    // Two rounds of 16 blocks. The guest reports 0.5 ms for all, and p50 and p99 of 1 and 2 us.
    assert_refused(
        &[
            ("duration_ns=319", end, "duration = 319 ns, but 131072 bytes in 32 operations take at least 320 ns"),
            ("p50_ns=1", end, "workload.read.p50 = 1 ns, but an operation takes at least 10 ns"),
            ("p50_ns=18446744073709551615", end, "read.p99 = 2000 ns, but p50 is 18446744073709.6 ms"),
            ("p99_ns=600000", end, "workload.read.p99 = 0.6 ms, but all 32 operations took 0.5 ms"),
        ],
        "disk = \"clone\"",
        "read = { workload = { kind = \"disk-read\", bytes = \"64 KiB\", rounds = 2 } }\n",
    );
}
