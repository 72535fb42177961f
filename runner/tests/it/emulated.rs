//! Real Firecracker and QEMU guests in the emulated host, with the kernels, images and programs of this project.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use microbench_formats::host::HostKind;
use microbench_formats::record::{FailureReason, Interference};
use microbench_plots::journal::{self, Journal};
use microbench_testing::require;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{MARK, counted, emulated, processes_of, text, wait_until};

/// Two trials of one VM with each engine, on the smallest root file system.
const STUDY: &str = r#"
[variants.fc]
label = "Firecracker"
engine = "firecracker"
[variants.qemu]
label = "QEMU microvm"
engine = "qemu-microvm"
[matrix]
trials = 2
warmup = false
[metrics]
kernel_boot_time = {}
webservice_startup_time = {}
hashing_time = { workload = { kind = "sha256", bytes = "64 KiB", rounds = 1 } }
shutdown_time = {}
[figures.startup]
form = "grouped-bars"
title = "Start-up"
metric = "webservice_startup_time"
"#;

/// Settings that the study of the paper uses in addition.
const PAPER_SETTINGS: &str = r#"
[variants.fc-custom]
engine = "firecracker"
cpu_config = "template.json"
console = false
[variants.fc-t2]
engine = "firecracker"
cpu_template = "T2"
[variants.qemu]
engine = "qemu-microvm"
console = false
[variants.qemu-k]
engine = "qemu-microvm"
reboot = "k"
stop_deadline_s = 1
[matrix]
trials = 1
warmup = false
[metrics]
webservice_startup_time = {}
shutdown_time = {}
vmm_system_calls = {}
copy = { workload = { kind = "copy", bytes = "64 KiB", rounds = 2 } }
"#;

/// One guest of each machine type that runs in the emulated host, most with the same kernel; some without a network.
const MACHINES: &str = r#"
[variants.fc]
engine = "firecracker"
[variants.fc-alone]
engine = "firecracker"
network = false
[variants.fc-huge]
engine = "firecracker"
huge_pages = true
aio = "io_uring"
[variants.qemu]
engine = "qemu-microvm"
[variants.qemu-acpi]
engine = "qemu-microvm"
acpi = true
huge_pages = true
[variants.qemu-pci]
engine = "qemu-microvm"
acpi = true
transport = "pci"
[variants.qemu-mmio-kernel]
engine = "qemu-microvm"
acpi = true
transport = "pci"
kernel = "microvm-6.1"
[variants.qemu-cold]
engine = "qemu-microvm"
page_cache = "cold"
[variants.fc-traced]
engine = "firecracker"
kernel = "marks-6.1"
trace = true
[variants.pc]
engine = "qemu-pc"
trace = true
[variants.pc-off]
engine = "qemu-pc"
reboot = "power-off"
[variants.q35-alone]
engine = "qemu-q35"
network = false
[matrix]
trials = 1
warmup = false
[metrics]
webservice_startup_time = {}
kernel_boot_time = {}
shutdown_time = {}
"#;

/// Guests that restart by a keyboard controller: one with it, and one without it, which sends each reset pulse in vain.
const RESET_PULSES: &str = r#"
[variants.fc]
engine = "firecracker"
trace = true
[variants.qemu]
engine = "qemu-microvm"
reboot = "k"
stop_at = "reset-pulses"
stop_deadline_s = 20
[matrix]
trials = 1
warmup = false
[metrics]
shutdown_poll_time = {}
shutdown_time = {}
polls = { reading = "guest.keyboard_polls" }
calls = { reading = "vmm.system_calls_counted" }
"#;

/// A process, a container and a VM with the same agent.
const GUEST_KINDS: &str = r#"
[variants.process]
engine = "process"
[variants.crun]
engine = "crun"
[variants.fc]
engine = "firecracker"
[matrix]
concurrency = [2]
trials = 1
warmup = false
[metrics]
kernel_boot_time = {}
webservice_startup_time = {}
phase_kernel = {}
phase_agent = {}
hashing_time = { workload = { kind = "sha256", bytes = "64 KiB", rounds = 1 } }
shutdown_time = {}
"#;

/// A temporary folder with a study and its run.
struct Real {
    folder: tempfile::TempDir,
}

impl Real {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("microbench-real-").tempdir().expect("a temporary folder");
        let real = Self { folder };
        real.write("microvm-6.1", STUDY);
        real
    }

    /// Writes a study whose guests use `kernel`; `rest` follows the last key of `[guest]`.
    fn write(&self, kernel: &str, rest: &str) {
        let head = "[study]\nname = \"real\"\ntitle = \"Real guests\"\nseed = 1\n[guest]\nrootfs = \"minimal\"\nmemory_mib = 128";
        let study = format!("{head}\nkernel = \"{kernel}\"\n{rest}");
        fs::write(self.folder.path().join("study.toml"), study).expect("a file");
    }

    /// A folder with another study and a custom CPU template.
    fn with(kernel: &str, rest: &str) -> Self {
        let real = Self::new();
        real.write(kernel, rest);
        let template = include_str!("../../../experiments/templates/no-avx512.json");
        fs::write(real.folder.path().join("template.json"), template).expect("a file");
        real
    }

    fn run_folder(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// The program with this repository's kernels/ and rootfs/ and the cache of the user, so that nothing is built
    /// again.
    fn command(&self, arguments: &[&str]) -> Command {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        let mut command = Command::new(env!("CARGO_BIN_EXE_microbench"));
        command.args(arguments).current_dir(self.folder.path()).env(MARK, self.folder.path()).stdin(Stdio::null());
        if arguments[0] == "run" {
            command.args(["--host", "emulated", "--project"]).arg(project);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().expect("the program starts");
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        output
    }

    fn journal(&self) -> Journal {
        journal::read(&self.run_folder().join("journal.ndjson")).expect("a journal")
    }
}

#[test]
fn real_guests_of_both_engines_give_every_metric_in_virtual_time() {
    require!(emulated(&["microvm-6.1"], &["firecracker"]));
    let real = Real::new();
    real.run(&["run", "study.toml", "--out", "run"]);
    let counted = counted(real.journal());
    assert_eq!(counted.len(), 4);
    for execution in counted.values() {
        assert_eq!(execution.host, HostKind::Emulated);
        let vm = &execution.vms[&0];
        assert_eq!(vm.failure, None, "{}", execution.cell);
        assert!(vm.readings["kernel.init"].0.as_ref().is_ok_and(|ns| *ns > 0.0));
        let startup = vm.events["http.ok"] - vm.events["spawn"];
        // In virtual time one instruction takes 1 ns, independent of load on this machine. An ARP or SYN retry would
        // take a second.
        assert!(startup < 1_000_000_000, "{}: {startup} ns", execution.cell);
        // The guest's memory is separate from the memory of its VMM, and KVM counts exits by reason.
        let mib = |name: &str| vm.readings[name].0.clone().unwrap() / f64::from(1 << 20);
        let (overhead, touched) = (mib("vmm.memory_overhead_pss"), mib("vmm.guest_memory_rss"));
        assert!((1.0..100.0).contains(&overhead) && (10.0..128.0).contains(&touched), "{overhead}, {touched}");
        assert!(overhead <= mib("vmm.memory_overhead_rss"));
        let count = |name: &str| vm.readings[name].0.clone().unwrap();
        assert!(count("vmm.kvm_exits.io") > 0.0 && count("vmm.kvm_exits.halt") > 0.0);
        assert!(count("vmm.kvm_exits.io") + count("vmm.kvm_exits.halt") < count("vmm.kvm_exits"));
    }
    let analyzed = text(&real.run(&["analyze", "run"]).stdout);
    assert!(analyzed.contains("16 samples, 0 missing"), "{analyzed}");
    assert!(analyzed.contains("virtual time"), "{analyzed}");
    let host = fs::read_to_string(real.run_folder().join("host.json")).unwrap();
    let host: serde_json::Value = serde_json::from_str(&host).unwrap();
    // Virtual time depends only on the emulator, its kernel, its machine type and the programs.
    let matters: Vec<&String> = host["matters"].as_object().unwrap().keys().collect();
    let programs = ["program.microbench", "program.microbench-emulated-host"];
    assert_eq!(matters, [&["emulator", "kernel", "machine"], &programs[..]].concat());
    for digest in ["emulator", "kernel"] {
        assert_eq!(host["matters"][digest].as_str().map(str::len), Some(64), "{digest}");
    }
    // Not their digests, which change with each commit.
    for program in programs {
        assert!(host["matters"][program].as_str().is_some_and(|fact| fact.starts_with("sources ")), "{host}");
    }
    assert_eq!(host["emulated_host_sha256"].as_str().map(str::len), Some(64), "{host}");
    let memory = host["emulated_memory_mib"].as_u64().expect("the emulated host's memory");
    assert!(host["matters"]["machine"].as_str().is_some_and(|words| !words.contains("-m ")) && memory > 768, "{host}");
    real.run(&["plot", "run"]);
    assert!(real.run_folder().join("figures/startup.png").is_file());
}

#[test]
fn noise_floor_test_finds_no_difference_in_virtual_time() {
    require!(emulated(&["microvm-6.1"], &["firecracker"]));
    let real = Real::new();
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").display().to_string();
    let arguments =
        ["selftest", "aa", "study.toml", "--host", "emulated", "--cell", "fc/1", "--out", "run", "--project"];
    let size = ["--repetitions", "2", "--blocks", "5"];
    let mut command = real.command(&[&arguments[..], &[&project], &size].concat());
    let output = command.env("XDG_STATE_HOME", real.folder.path()).output().expect("the program starts");
    let table = text(&output.stdout);
    assert!(output.status.success(), "{table}{}", text(&output.stderr));
    let boot = table.lines().find(|line| line.starts_with("kernel_boot_time")).unwrap_or_else(|| panic!("{table}"));
    let words: Vec<&str> = boot.split_whitespace().collect();
    // Columns: metric, repetitions, difference (median and largest, with units), better, worse, differs, equivalent,
    // inconclusive.
    assert!(words[4].parse::<f64>().unwrap() <= 1.0, "{boot}");
    assert_eq!((words[1], &words[6..]), ("2", &["0", "0", "0", "2", "0"][..]), "{boot}");
}

#[test]
fn resume_completes_an_emulated_run_after_kill_9() {
    require!(emulated(&["microvm-6.1"], &["firecracker"]));
    let real = Real::new();
    let mut runner = real
        .command(&["run", "study.toml", "--out", "run"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let ended = || {
        let text = fs::read_to_string(real.run_folder().join("journal.ndjson")).unwrap_or_default();
        text.matches("\"trial_end\"").count()
    };
    wait_until("a trial to end", || ended() > 0);
    assert!(
        processes_of(&real.run_folder()).iter().any(|(_, line)| line.contains("-icount")),
        "no emulated host is running"
    );
    runner.kill().unwrap();
    runner.wait().unwrap();
    wait_until("every process of the run to end", || processes_of(&real.run_folder()).is_empty());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&real.run_folder().display().to_string()), "a mount is left");

    let before = counted(real.journal());
    real.run(&["run", "--resume", "run"]);
    let after = counted(real.journal());
    assert_eq!(after.len(), 4);
    for (trial, execution) in before {
        assert_eq!(after[&trial], execution, "an acknowledged trial changed");
    }
    assert!(after.values().all(|execution| execution.vms[&0].failure.is_none()));
}

/// Settings of isolation.
const ISOLATION: &str = r#"
disk = "clone"
[variants.fc]
engine = "firecracker"
[variants.fc-jailed]
engine = "firecracker"
jailer = true
[variants.qemu]
engine = "qemu-microvm"
[variants.qemu-sandboxed]
engine = "qemu-microvm"
sandbox = true
[matrix]
trials = 1
warmup = false
[metrics]
webservice_startup_time = {}
shutdown_time = {}
"#;

#[test]
fn real_vmms_have_no_privileges_with_and_without_jailer_or_sandbox() {
    require!(emulated(&["microvm-6.1"], &["firecracker"]));
    let real = Real::with("microvm-6.1", ISOLATION);
    real.run(&["run", "study.toml", "--out", "run"]);
    let counted = counted(real.journal());
    assert_eq!(counted.len(), 4);
    let mut users = BTreeSet::new();
    for execution in counted.values() {
        let (cell, vm) = (execution.cell.as_str(), &execution.vms[&0]);
        assert_eq!(vm.failure, None, "{cell}");
        let reading =
            |name: &str| vm.readings[name].0.clone().unwrap_or_else(|reason| panic!("{cell}: {name}: {reason}"));
        assert!(users.insert(reading("vmm.user") as u32), "{cell}: another VMM had the user");
        assert_eq!((reading("vmm.capabilities"), reading("vmm.no_new_privileges")), (0.0, 1.0), "{cell}");
        assert_eq!(reading("vmm.seccomp"), if cell == "qemu/1" { 0.0 } else { 2.0 }, "{cell}");
        let jailed = f64::from(u8::from(cell == "fc-jailed/1"));
        // Mount, PID and IPC namespace.
        assert_eq!((reading("vmm.own_root"), reading("vmm.own_namespaces")), (jailed, 3.0), "{cell}");
    }
}

/// Ways to start a guest other than API calls that boot it.
const BOOT_METHODS: &str = r#"
[variants.file]
engine = "firecracker"
api = false
[variants.file-jailed]
engine = "firecracker"
api = false
jailer = true
[variants.restored]
engine = "firecracker"
restore = true
[variants.restored-jailed]
engine = "firecracker"
restore = true
jailer = true
[variants.restored-clone]
engine = "firecracker"
restore = true
disk = "clone"
[matrix]
trials = 2
warmup = false
[metrics]
webservice_startup_time = {}
hashing_time = { workload = { kind = "sha256", bytes = "64 KiB", rounds = 1 } }
shutdown_time = {}
"#;

#[test]
fn real_guests_boot_from_a_config_file_or_a_snapshot() {
    require!(emulated(&["microvm-6.1"], &["firecracker"]));
    let real = Real::with("microvm-6.1", BOOT_METHODS);
    real.run(&["run", "study.toml", "--out", "run"]);
    let counted = counted(real.journal());
    assert_eq!(counted.len(), 10);
    for execution in counted.values() {
        let (cell, vm) = (execution.cell.as_str(), &execution.vms[&0]);
        assert_eq!(vm.failure, None, "{cell}");
        assert!(vm.events.contains_key("exit"), "{cell}");
        let restored = cell.starts_with("restored");
        assert_eq!(vm.events.contains_key("boot.acknowledged"), restored, "{cell}");
        assert_eq!(vm.events.contains_key("agent.listening"), !restored, "{cell}");
        if restored {
            assert_eq!(vm.readings["probe.attempts"].0, Ok(1.0), "{cell}");
        }
    }
}

/// A minimal workload of every kind.
const WORKLOADS: &str = r#"
disk = "clone"
[variants.fc]
engine = "firecracker"
[variants.qemu]
engine = "qemu-microvm"
[matrix]
trials = 1
warmup = false
[metrics]
hash = { workload = { kind = "sha256", bytes = "64 KiB", rounds = 1 } }
copy = { workload = { kind = "copy", bytes = "64 KiB", rounds = 1 } }
memory_read = { workload = { kind = "memory-read", bytes = "64 KiB", rounds = 2, warmup = 1 } }
memory_write = { workload = { kind = "memory-write", bytes = "64 KiB", rounds = 2, warmup = 1 } }
memory_copy = { workload = { kind = "memory-copy", bytes = "64 KiB", rounds = 2, warmup = 1 } }
touch = { workload = { kind = "page-touch", bytes = "256 KiB", rounds = 2 } }
disk_write = { workload = { kind = "disk-write", bytes = "64 KiB", rounds = 2, block = "4 KiB" } }
disk_write_cached = { workload = { kind = "disk-write", bytes = "1 MiB", rounds = 2, block = "1 MiB", direct = false } }
disk_read = { workload = { kind = "disk-read", bytes = "64 KiB", rounds = 2, block = "4 KiB", order = "random" } }
disk_read_cached = { workload = { kind = "disk-read", bytes = "1 MiB", rounds = 2, block = "1 MiB", direct = false } }
http = { workload = { kind = "http", bytes = "4 KiB", rounds = 20, warmup = 2, connections = 2, value = "rate" } }
send = { workload = { kind = "tcp-send", bytes = "128 KiB", rounds = 2, value = "throughput" } }
receive = { workload = { kind = "tcp-receive", bytes = "128 KiB", rounds = 2, value = "throughput" } }
"#;

#[test]
fn real_guests_run_every_workload() {
    require!(emulated(&["microvm-6.1"], &["firecracker"]));
    let real = Real::with("microvm-6.1", WORKLOADS);
    real.run(&["run", "study.toml", "--out", "run"]);
    let counted = counted(real.journal());
    assert_eq!(counted.len(), 2);
    for execution in counted.values() {
        let (cell, vm) = (execution.cell.as_str(), &execution.vms[&0]);
        assert_eq!(vm.failure, None, "{cell}");
        for metric in
            WORKLOADS.lines().filter(|line| line.contains("workload = {")).filter_map(|line| line.split(' ').next())
        {
            let value = vm.readings[&format!("workload.{metric}.duration")].0.clone();
            assert!(value.is_ok_and(|ns| ns > 0.0), "{cell}: {metric}");
        }
    }
}

#[test]
fn crashed_or_hung_emulated_host_is_recorded_and_its_trials_are_retried() {
    require!(emulated(&["microvm-6.1"], &["firecracker"]));
    let real = Real::new();
    let mut runner = real
        .command(&["run", "study.toml", "--out", "run", "--patience", "90"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let ended = || {
        let text = fs::read_to_string(real.run_folder().join("journal.ndjson")).unwrap_or_default();
        text.matches("\"trial_end\"").count()
    };
    let host = |not: Option<u32>| {
        let all = processes_of(&real.run_folder()).into_iter();
        all.filter(|(pid, line)| line.contains("-icount") && Some(*pid) != not).map(|(pid, _)| pid).next()
    };
    let send = |pid: u32, signal: Signal| kill(Pid::from_raw(pid.cast_signed()), signal).expect("a signal");
    wait_until("a trial to end", || ended() >= 1);
    let first = host(None).expect("an emulated host");
    send(first, Signal::SIGKILL);
    wait_until("another emulated host", || host(Some(first)).is_some());
    let so_far = ended();
    wait_until("a trial to end in it", || ended() > so_far);
    if let Some(second) = host(Some(first)) {
        send(second, Signal::SIGSTOP);
    }
    assert!(runner.wait().unwrap().success());
    let journal = real.journal();
    let lost =
        journal.executions.iter().filter(|e| e.invalid.iter().any(|(why, _)| *why == Interference::EmulatedHost));
    let said: Vec<&str> = lost.map(|execution| execution.invalid[0].1.as_str()).collect();
    assert!(said.iter().any(|words| words.starts_with("the emulated host exited")), "{said:?}");
    let counted = counted(real.journal());
    assert_eq!(counted.len(), 4);
    assert!(counted.values().all(|execution| execution.vms[&0].failure.is_none()));
    assert!(processes_of(&real.run_folder()).is_empty());
}

#[test]
fn settings_of_the_paper_apply_to_real_guests() {
    require!(emulated(&["microvm-6.1"], &["firecracker", "strace"]));
    let real = Real::with("microvm-6.1", PAPER_SETTINGS);
    real.run(&["run", "study.toml", "--out", "run"]);
    let counted = counted(real.journal());
    assert_eq!(counted.len(), 8);
    for (trial, execution) in &counted {
        let vm = &execution.vms[&0];
        match (execution.cell.as_str(), &vm.failure) {
            ("fc-custom/1" | "qemu/1", None) => {
                assert!(vm.events.contains_key("exit") && !vm.events.contains_key("agent.ready"));
                // Trials under strace follow the timed trials.
                let name = if *trial < 4 { "vmm.kvm_exits" } else { "vmm.system_calls" };
                let count = vm.readings[name].0.clone().unwrap_or_else(|reason| panic!("{name}: {reason}"));
                assert!(count > 500.0, "{name}: {count}");
            }
            ("fc-t2/1", Some(failure)) => {
                assert_eq!(failure.reason, FailureReason::NotApplicable);
                assert!(failure.message.contains("CPU vendor mismatched"), "{}", failure.message);
            }
            // The machine has no keyboard controller: the guest polls for it until after the deadline.
            ("qemu-k/1", Some(failure)) => assert_eq!(failure.reason, FailureReason::Timeout, "{}", failure.message),
            (cell, failure) => panic!("{cell}: {failure:?}"),
        }
    }
}

#[test]
fn guest_without_a_keyboard_controller_ends_at_its_last_reset_pulse() {
    require!(emulated(&["microvm-6.1"], &["firecracker"]));
    let real = Real::with("microvm-6.1", RESET_PULSES);
    real.run(&["run", "study.toml", "--out", "run"]);
    let counted = counted(real.journal());
    assert_eq!(counted.len(), 4);
    for (trial, execution) in &counted {
        let (cell, vm) = (execution.cell.as_str(), &execution.vms[&0]);
        assert_eq!(vm.failure, None, "{cell}");
        let (first, last) = (vm.events["guest.reset_pulse"], vm.events["guest.reset_pulse_last"]);
        let readings = ["guest.keyboard_polls", "vmm.system_calls_counted"].map(|name| {
            let reading = vm.readings.get(name).map(|reading| reading.0.clone());
            assert_eq!(reading.is_some(), *trial >= 2, "{cell}: {name} is counted in separate trials");
            reading.map_or(0.0, |value| value.unwrap_or_else(|reason| panic!("{cell}: {name}: {reason}")))
        });
        match cell {
            "fc/1" => {
                assert!(vm.events["stop.requested"] < first && first == last && last < vm.events["exit"]);
                assert!(*trial < 2 || (readings[0] < 1000.0 && readings[1] > 500.0), "{readings:?}");
            }
            "qemu/1" => {
                assert!(vm.events["stop.requested"] < first && first < last);
                let reason = vm.readings["exit"].0.clone().unwrap_err();
                assert!(reason.starts_with("not applicable: "), "{reason}");
                // Ten times 65,536 polls, and each is an exit to QEMU, which starts the guest again by a system call.
                assert!(*trial < 2 || (readings[0] >= 655_360.0 && readings[1] > 655_360.0), "{readings:?}");
            }
            cell => panic!("{cell}"),
        }
    }
}

#[test]
fn every_machine_type_boots_with_only_its_required_kernel_parameters() {
    require!(emulated(&["pci-6.1", "microvm-6.1", "marks-6.1"], &["firecracker"]));
    let real = Real::with("pci-6.1", MACHINES);
    real.run(&["run", "study.toml", "--out", "run"]);
    let counted = counted(real.journal());
    assert_eq!(counted.len(), 12);
    let mut added = BTreeMap::new();
    for execution in counted.values() {
        let (cell, vm) = (execution.cell.trim_end_matches("/1"), &execution.vms[&0]);
        let refused = |words: &str| {
            let failure = vm.failure.as_ref().unwrap_or_else(|| panic!("{cell} has no failure"));
            assert_eq!(failure.reason, FailureReason::NotApplicable, "{cell}: {}", failure.message);
            assert!(failure.message.contains(words), "{cell}: {}", failure.message);
        };
        match cell {
            "qemu-mmio-kernel" => refused("CONFIG_VIRTIO_PCI, which is missing in kernels/microvm-6.1"),
            // In the emulated host all files are in memory.
            "qemu-cold" => refused("is on a file system in memory"),
            _ => {
                assert_eq!(vm.failure, None, "{cell}");
                let startup =
                    vm.events[if cell.ends_with("-alone") { "agent.ready" } else { "http.ok" }] - vm.events["spawn"];
                assert!(startup < 2_000_000_000, "{cell}: {startup} ns");
                assert!(vm.events.contains_key("init.begin") && vm.events.contains_key("exit"), "{cell}");
                let count =
                    |name: &str| vm.readings[name].0.clone().unwrap_or_else(|why| panic!("{cell}: {name}: {why}"));
                assert_eq!(count("guest.parameters_missing"), 0.0, "{cell}");
                added.insert(cell, count("guest.parameters_added"));
                assert_trace_events(cell, vm);
            }
        }
    }
    // Without ACPI tables, each device needs a kernel parameter.
    let acpi = ["qemu-acpi", "qemu-pci", "pc", "pc-off", "q35-alone"].map(|cell| (cell, 0.0));
    let words = [("fc", 2.0), ("fc-alone", 1.0), ("fc-huge", 2.0), ("fc-traced", 2.0), ("qemu", 2.0)];
    assert_eq!(added, BTreeMap::from_iter(acpi.into_iter().chain(words)));
}

/// Asserts the trace events of a guest of [`MACHINES`]: all of them if it is traced and its kernel writes marks.
fn assert_trace_events(cell: &str, vm: &journal::Vm) {
    let marks = ["kernel.marked", "init.marked", "agent.marked"];
    let seen = |names: &[&str]| names.iter().filter(|name| vm.events.contains_key(**name)).count();
    let expected = match cell {
        "fc-traced" => 3,
        _ => 0,
    };
    assert_eq!(seen(&marks), expected, "{cell}: {:?}", vm.readings);
    assert_eq!(seen(&["guest.entered"]), usize::from(["fc-traced", "pc"].contains(&cell)), "{cell}");
    match cell {
        "fc-traced" => {
            let order = ["boot.requested", "guest.entered", "kernel.marked", "init.marked", "agent.marked", "http.ok"];
            assert!(order.windows(2).all(|two| vm.events[two[0]] < vm.events[two[1]]), "{:?}", vm.events);
        }
        "pc" => assert_eq!(vm.readings["init.marked"].0, Err("KVM's tracepoints recorded no such event".into())),
        _ => {}
    }
}

#[test]
fn process_container_and_vm_record_the_same_events() {
    require!(emulated(&["microvm-6.1"], &["firecracker", "crun"]));
    let real = Real::with("microvm-6.1", GUEST_KINDS);
    real.run(&["run", "study.toml", "--out", "run"]);
    let counted = counted(real.journal());
    assert_eq!(counted.len(), 3);
    for execution in counted.values() {
        assert_eq!((execution.host, execution.vms.len()), (HostKind::Emulated, 2));
        let own_kernel = execution.cell.starts_with("fc");
        for vm in execution.vms.values() {
            assert_eq!(vm.failure, None, "{}", execution.cell);
            assert_eq!(vm.events.contains_key("kernel.begin"), own_kernel, "{}", execution.cell);
            assert_eq!(vm.readings["kernel.init"].0.is_ok(), own_kernel, "{}", execution.cell);
            let reading = |name: &str| vm.readings[name].0.clone().expect("a reading");
            assert!(
                reading("vmm.user") >= f64::from(0x7000_0000) && reading("vmm.capabilities") == 0.0,
                "{}",
                execution.cell
            );
            let order = ["spawn", "agent.listening", "http.ok", "stop.requested", "exit"];
            assert!(order.windows(2).all(|two| vm.events[two[0]] < vm.events[two[1]]), "{}", execution.cell);
        }
    }
    let analyzed = text(&real.run(&["analyze", "run"]).stdout);
    // Six metrics of six guests; the four guests without their own kernel have no value for two of them.
    assert!(analyzed.contains("28 samples, 8 missing"), "{analyzed}");
}

/// Templates of both vendors, and a guest without one on each CPU.
const HOST_CPUS: &str = r#"
host_cpu = "Skylake-Server"
[variants.fc]
engine = "firecracker"
[variants.fc-t2]
engine = "firecracker"
cpu_template = "T2"
[variants.fc-c3]
engine = "firecracker"
cpu_template = "C3"
[variants.fc-t2a]
engine = "firecracker"
cpu_template = "T2A"
host_cpu = "EPYC-Milan"
[variants.fc-t2cl]
engine = "firecracker"
cpu_template = "T2CL"
host_cpu = "Cascadelake-Server"
[matrix]
trials = 1
[metrics]
webservice_startup_time = {}
"#;

#[test]
fn cpu_templates_of_both_vendors_boot_in_one_study() {
    require!(emulated(&["microvm-6.1"], &["firecracker"]));
    let real = Real::with("microvm-6.1", HOST_CPUS);
    real.run(&["run", "study.toml", "--out", "run"]);
    let journal = real.journal();
    // A warm-up of each configuration, on the CPU of its cell.
    assert_eq!(journal.executions.iter().filter(|execution| execution.warmup).count(), 5);
    for execution in &journal.executions {
        assert_eq!(execution.vms[&0].failure, None, "{}", execution.cell);
        let host = execution.emulated_host.as_ref().expect("an emulated host");
        let cpu = match execution.cell.as_str() {
            "fc-t2a/1" => "EPYC-Milan",
            "fc-t2cl/1" => "Cascadelake-Server",
            _ => "Skylake-Server",
        };
        assert_eq!(host.host_cpu, cpu, "{}", execution.cell);
        let log = real.run_folder().join(format!("emulated-host-{}.log", host.number));
        assert!(log.is_file() && host.memory_mib > 768, "{host:?}");
    }
    let host = fs::read_to_string(real.run_folder().join("host.json")).unwrap();
    let host: serde_json::Value = serde_json::from_str(&host).unwrap();
    // Comparisons check the CPU for each cell.
    assert!(host["matters"].get("host_cpus").is_none(), "{host}");
    real.run(&["analyze", "run"]);
    let compared = text(&real.run(&["compare", "run"]).stdout);
    let compared = compared.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        compared.contains("(fc-t2a/1 on EPYC-Milan; fc/1 on Skylake-Server); set `across_host_cpus = true`"),
        "{compared}"
    );
}
