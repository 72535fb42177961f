//! Real containers and processes as engines: crun, runc and the agent, on this host and its clock. They need root; for
//! other users they are not applicable.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use microbench_formats::record::FailureReason;
use microbench_testing::{program, require};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Bench, agent, in_namespaces, is_root, mounts, processes_of, text, trials, variables, wait_until};

/// A project with the real agent in its root file system, and a study with a variant per engine.
pub(crate) fn bench(engines: &[&str], matrix: &str, guest: &str) -> Bench {
    let bench = Bench::new();
    fs::copy(agent().expect("a requirement of the test"), bench.path("agent")).expect("a copy");
    bench.file(
        "rootfs/tiny/rootfs.toml",
        "description = \"tiny\"\ninit = \"/sbin/init\"\nagent = \"/sbin/init\"\nsize_mib = 8\n\
         directories = [\"/dev\", \"/proc\", \"/sys\"]\n",
    );
    let variants: String =
        engines.iter().map(|name| format!("[variants.{name}]\nlabel = \"{name}\"\nengine = \"{name}\"\n")).collect();
    bench.file(
        "study.toml",
        &format!(
            "[study]\nname = \"test\"\ntitle = \"A test\"\nseed = 1\n[guest]\nkernel = \"tiny\"\nrootfs = \"tiny\"\n\
             memory_mib = 64\n{guest}\n{variants}[matrix]\n{matrix}\n[metrics]\nkernel_boot_time = {{}}\nphase_kernel = {{}}\n\
             webservice_startup_time = {{}}\nlistening = {{ from = \"spawn\", to = \"agent.listening\" }}\n\
             hashing_time = {{ workload = {{ kind = \"sha256\", bytes = \"64 KiB\", rounds = 2 }} }}\nshutdown_time = {{}}\n\
             [figures.startup]\nform = \"grouped-bars\"\nmetric = \"webservice_startup_time\"\ngroups = \"concurrency\"\n\
             [figures.boot]\nform = \"grouped-bars\"\nmetric = \"kernel_boot_time\"\ngroups = \"concurrency\"\n"
        ),
    );
    bench
}

/// Backing files of loop devices below `folder`.
fn loop_device_files(folder: &Path) -> Vec<String> {
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let files = devices.filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok());
    files.filter(|file| Path::new(file.trim()).starts_with(folder)).collect()
}

/// An engine defined only by its description: it runs the agent with `nice`.
const NICE: &str = r#"
name = "nice"
title = "A process of low priority"
program = "nice"
needs_kvm = false
guest = "process"
[command]
argv = ["{{program}}", "-n", "19", "{{root}}{{agent}}", "--shared-kernel", "--nonce", "{{nonce}}", "--index", "{{root}}/srv/index.bin"]
[version]
argv = ["{{program}}", "--version"]
prefix = "nice (GNU coreutils) "
"#;

/// The built-in description of crun as the engine `stuck`, with an agent that listens at `address`, where the runner
/// cannot reach it.
fn unreachable(address: &str) -> String {
    let crun = include_str!("../../study/engines/crun.toml");
    let stuck = crun
        .replace("name = \"crun\"", "name = \"stuck\"")
        .replace("\"--shared-kernel\"", &format!("\"--shared-kernel\", \"--listen\", \"{address}\""));
    assert!(stuck.contains(address));
    stuck
}

#[test]
fn polls_and_reset_pulses_are_not_applicable_without_a_guest_kernel() {
    require!(mounts());
    let bench = bench(&["process"], "concurrency = [1]\ntrials = 1\nwarmup = false", "stop_at = \"reset-pulses\"");
    let study = fs::read_to_string(bench.path("study.toml")).unwrap();
    let metrics = "[metrics]\npolls = { reading = \"guest.keyboard_polls\" }\nshutdown_poll_time = {}\n";
    bench.file("study.toml", &study.replace("[metrics]\n", metrics));
    bench.run_study();
    assert!(bench.run(&["analyze", "run"]).status.success());
    let samples = fs::read_to_string(bench.path("run/samples.csv")).unwrap();
    for metric in ["polls", "shutdown_poll_time"] {
        let own: Vec<&str> = samples.lines().filter(|row| row.contains(&format!(",{metric},"))).collect();
        assert_eq!(own.len(), 1, "{samples}");
        assert!(own[0].contains(",not-applicable,a process has no kernel of its own,"), "{}", own[0]);
    }
}

#[test]
fn processes_and_containers_have_every_metric_that_needs_no_kernel() {
    require!(mounts(), program("crun", "crun"), program("runc", "runc"));
    let engines = ["process", "crun", "runc", "nice"];
    let bench = bench(&engines, "concurrency = [1, 2]\ntrials = 1\nwarmup = false", "");
    bench.file("engines/nice.toml", NICE);
    bench.run_study();
    let counted = bench.counted();
    assert_eq!(counted.len(), 2 * engines.len());
    let mut users = BTreeSet::new();
    for execution in counted.values() {
        for (number, vm) in &execution.vms {
            let cell = &execution.cell;
            assert_eq!(vm.failure, None, "{cell}");
            let at = |name: &str| vm.events[name];
            assert!(at("spawn") < at("agent.listening") && at("agent.listening") <= at("http.ok"), "{cell}");
            assert!(at("stop.requested") < at("exit") && !vm.events.contains_key("kernel.begin"), "{cell}");
            let why = vm.readings["kernel.init"].0.clone().unwrap_err();
            assert!(why.ends_with("has no kernel of its own"), "{cell}: {why}");
            let reading = |name: &str| vm.readings[name].0.clone().unwrap();
            assert!(users.insert(reading("vmm.user") as u32), "{cell}/{number}: another VM had the user");
            assert_eq!((reading("vmm.capabilities"), reading("vmm.no_new_privileges")), (0.0, 1.0), "{cell}");
            let contained = f64::from(u8::from(cell.starts_with("crun") || cell.starts_with("runc")));
            assert!((1e6..100e6).contains(&reading("vmm.peak_rss")), "{cell}: {}", reading("vmm.peak_rss"));
            assert_eq!((reading("vmm.own_root"), reading("vmm.seccomp")), (contained, 2.0 * contained), "{cell}");
        }
    }
    assert_eq!(loop_device_files(&bench.path(".")), Vec::<String>::new());
    let output = bench.run(&["analyze", "run"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let samples = fs::read_to_string(bench.path("run/samples.csv")).unwrap();
    let rows = |metric: &str, status: &str| {
        samples.lines().filter(|row| row.contains(metric) && row.contains(&format!(",{status},"))).count()
    };
    let vms = 3 * engines.len();
    assert_eq!((rows("kernel_boot_time", "not-applicable"), rows("phase_kernel", "not-applicable")), (vms, vms));
    for metric in ["webservice_startup_time", "listening", "hashing_time", "shutdown_time"] {
        assert_eq!(rows(metric, "ok"), vms, "{metric}");
    }
    assert!(samples.contains("a process has no kernel of its own"), "{samples}");
}

/// `network` is a setting of guests with a kernel. With any value, processes and containers get their own network
/// namespace.
#[test]
fn processes_and_containers_have_their_own_network_and_are_held() {
    require!(mounts(), program("crun", "crun"));
    let bench =
        bench(&["process", "crun"], "concurrency = [2]\ntrials = 1\nwarmup = false", "network = false\nhold_s = 1");
    bench.run_study();
    for execution in bench.counted().values() {
        for vm in execution.vms.values() {
            assert_eq!(vm.failure, None, "{}", execution.cell);
            let held = vm.events["steady.end"] - vm.events["steady.begin"];
            assert!(vm.events.contains_key("http.ok") && held >= 1_000_000_000, "{}: {held}", execution.cell);
        }
    }
    let said = text(&bench.run(&["plan", "study.toml"]).stdout);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("network, trace are not applied to it") && !said.contains("hold_s"), "{said}");
}

#[test]
fn explain_lists_settings_that_do_not_apply_to_a_container() {
    require!(agent().map(drop), program("crun", "crun"));
    let bench = bench(&["crun"], "trials = 1", "");
    let output = bench.run(&["plan", "study.toml", "--explain", "crun/1"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.contains("has no kernel of its own, so these settings are not applied"), "{said}");
    let line =
        said.lines().find(|line| line.contains("memory_mib") && line.contains("vcpus")).expect("a line of settings");
    assert!(line.contains("kernel") && !line.contains("rootfs") && !line.contains("probe"), "{line}");
    let output = bench.run(&["plan", "study.toml"]);
    assert!(text(&output.stdout).contains("no kernel of its own"), "{}", text(&output.stdout));
}

#[test]
fn container_that_never_responds_leaves_no_loop_device() {
    require!(mounts(), program("crun", "crun"));
    let matrix = "trials = 2\nwarmup = false";
    let bench = bench(&["stuck"], matrix, "boot_deadline_s = 2");
    bench.file("engines/stuck.toml", &unreachable("127.0.0.1:81"));
    bench.run_study();
    for execution in bench.counted().values() {
        let failure = execution.vms[&0].failure.clone().expect("a failure");
        assert_eq!(failure.reason, FailureReason::Timeout, "{}", failure.message);
    }
    assert_eq!(loop_device_files(&bench.path(".")), Vec::<String>::new());
}

#[test]
fn killed_runner_leaves_no_container_mount_or_loop_device() {
    require!(mounts(), program("crun", "crun"));
    let bench = bench(&["stuck"], "concurrency = [2]\ntrials = 1\nwarmup = false", "boot_deadline_s = 300");
    bench.file("engines/stuck.toml", &unreachable("127.0.0.1:82"));
    let run = bench.path("run");
    let mut runner = bench.start(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    let folder = bench.path(".").canonicalize().expect("a folder");
    let agents = || {
        let all = fs::read_dir("/proc").expect("/proc").flatten();
        let lines = all.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
        lines.filter(|line| line.contains("127.0.0.1:82")).count()
    };
    wait_until("both containers", || agents() == 2 && loop_device_files(&folder).len() == 2);
    kill(Pid::from_raw(runner.id().cast_signed()), Signal::SIGKILL).expect("a signal");
    runner.wait().expect("an end");
    wait_until("the end of everything", || {
        agents() == 0 && loop_device_files(&folder).is_empty() && processes_of(&run).is_empty()
    });
}

#[test]
fn containers_are_not_applicable_for_an_unprivileged_user() {
    require!(trials(), agent().map(drop), program("crun", "crun"));
    let bench = bench(&["process", "crun"], "concurrency = [1]\ntrials = 1\nwarmup = false", "");
    let output = if is_root() {
        fs::copy(env!("CARGO_BIN_EXE_microbench"), bench.path("microbench")).unwrap();
        let given = bench.command(&["run", "study.toml", "--host", "fake", "--out", "run"]);
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65533", "--regid", "65533", "--clear-groups", "--"]).arg(bench.path("microbench"));
        command.args(given.get_args()).current_dir(bench.path(".")).envs(variables(&given));
        let devices =
            "mount -t tmpfs none /dev/net; mknod -m 666 /dev/net/tun c 10 200; chown -R 65533:65533 \"$BENCH\"";
        in_namespaces(&command, devices).output().unwrap()
    } else {
        bench.run(&["run", "study.toml", "--host", "fake", "--out", "run"])
    };
    assert!(output.status.success(), "{}", text(&output.stderr));
    for execution in bench.counted().values() {
        let failure = execution.vms[&0].failure.clone().expect("a failure");
        assert_eq!(failure.reason, FailureReason::NotApplicable, "{}", failure.message);
        assert!(failure.message.contains("mounting the guest's file system requires root"), "{}", failure.message);
    }
}
