//! `doctor` on fake hosts: folders with a /proc and a /sys.

use microbench_testing::require;
use std::path::PathBuf;

use crate::support::{Bench, text, trials};

/// Writes a fake host that fails most checks. Returns its folder.
fn unsuitable_host(bench: &Bench) -> PathBuf {
    for (path, content) in [
        ("proc/cpuinfo", "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: A processor\nflags\t\t: fpu vmx\n"),
        (
            "proc/meminfo",
            "MemTotal: 33554432 kB\nMemAvailable: 8388608 kB\nSwapTotal: 1048576 kB\nSwapFree: 524288 kB\n",
        ),
        ("proc/loadavg", "3.10 1.00 0.50 1/100 4242\n"),
        ("proc/stat", "cpu  800 0 100 5000 0 0 0 100 0 0\n"),
        ("proc/mounts", "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n"),
        ("proc/sys/user/max_user_namespaces", "0\n"),
        ("proc/sys/net/ipv4/neigh/default/gc_thresh3", "1024\n"),
        ("sys/devices/system/cpu/online", "0-3\n"),
        ("sys/devices/system/cpu/smt/active", "1\n"),
        ("sys/devices/system/cpu/smt/control", "on\n"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n"),
        ("sys/devices/system/cpu/intel_pstate/no_turbo", "0\n"),
        ("sys/kernel/mm/ksm/run", "1\n"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n"),
        ("usr/bin/qemu-system-x86_64", ""),
        ("usr/bin/strace", ""),
        ("dev/net/tun", ""),
    ] {
        bench.file(&format!("machine/{path}"), content);
    }
    bench.path("machine")
}

fn doctor(bench: &Bench, arguments: &[&str]) -> std::process::Output {
    let mut command = bench.command(&[&["doctor", "--root", "machine"], arguments].concat());
    command.env("XDG_STATE_HOME", bench.path("state")).output().unwrap()
}

#[test]
fn each_check_reports_finding_effect_and_fix() {
    let bench = Bench::new();
    unsuitable_host(&bench);
    let output = doctor(&bench, &[]);
    // mke2fs is missing, so nothing can be measured.
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(text(&output.stdout));
    let checks: serde_json::Value = serde_json::from_slice(&doctor(&bench, &["--json"]).stdout).unwrap();
    let of = |name: &str| checks.as_array().unwrap().iter().find(|check| check["name"] == name).unwrap().clone();
    assert_eq!(of("KSM")["state"], "warn");
    assert_eq!(of("KSM")["remedy"], "microbench doctor --tune");
}

/// Name, state and finding of each check of `doctor` with these arguments.
fn states(bench: &Bench, arguments: &[&str]) -> Vec<(String, String, String)> {
    let output = doctor(bench, &[arguments, &["--json"]].concat());
    let checks: Vec<serde_json::Value> =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    let word = |check: &serde_json::Value, key: &str| check[key].as_str().unwrap().to_owned();
    checks.iter().map(|check| (word(check, "name"), word(check, "state"), word(check, "found"))).collect()
}

#[test]
fn a_missing_program_is_bad_only_for_a_study_that_needs_it() {
    require!(trials());
    let bench = Bench::new();
    let machine = unsuitable_host(&bench);
    for program in ["qemu-system-x86_64", "strace"] {
        std::fs::remove_file(machine.join("usr/bin").join(program)).unwrap();
    }
    let state = |arguments: &[&str], name: &str| {
        let states = states(&bench, arguments);
        states.into_iter().find(|(check, ..)| check == name).map(|(_, state, _)| state).unwrap()
    };
    let programs = ["qemu-system-x86_64", "strace", "mke2fs"];
    let of = |arguments: &[&str]| programs.map(|name| state(arguments, name));
    // Without a study and without KVM, the emulated host needs QEMU.
    assert_eq!(of(&[]), ["bad", "warn", "bad"]);
    let study = bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    assert_eq!(of(&["study.toml"]), ["ok", "ok", "bad"]);
    assert_eq!(state(&["study.toml"], "/dev/kvm"), "ok", "the fake engine needs no KVM");
    // The root file system is now in the cache, so mke2fs is not needed.
    bench.run_study();
    assert_eq!(of(&["study.toml"]), ["ok", "ok", "ok"]);

    let firecracker = std::fs::read_to_string(&study).unwrap();
    let firecracker = firecracker.replace("engine = \"fake\"", "engine = \"firecracker\"").replace("mode = \"ok\"", "");
    let qemu = firecracker.replace("\"firecracker\"", "\"qemu-microvm\"");
    let strace = firecracker.replace("[metrics]", "[metrics]\nvmm_system_calls = {}");
    bench.file("firecracker.toml", &firecracker);
    bench.file("qemu.toml", &qemu);
    bench.file("strace.toml", &strace);
    // Without KVM, the emulated host is used, which needs QEMU.
    assert_eq!(of(&["firecracker.toml"]), ["bad", "ok", "ok"]);
    bench.file("machine/dev/kvm", "");
    assert_eq!(of(&[]), ["warn", "warn", "bad"]);
    assert_eq!(of(&["firecracker.toml"]), ["ok", "ok", "ok"]);
    assert_eq!(of(&["qemu.toml"]), ["bad", "ok", "ok"]);
    assert_eq!(of(&["strace.toml"]), ["ok", "bad", "ok"]);
    assert!(
        states(&bench, &["firecracker.toml"]).iter().any(|(.., found)| found.ends_with("the study does not need it"))
    );
}

#[test]
fn doctor_refuses_a_study_that_does_not_exist() {
    let bench = Bench::new();
    unsuitable_host(&bench);
    let output = doctor(&bench, &["none.toml"]);
    assert_ne!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains("none.toml"), "{}", text(&output.stderr));
}

#[test]
fn restore_resets_every_tuned_value() {
    let bench = Bench::new();
    let machine = unsuitable_host(&bench);
    let read = |path: &str| std::fs::read_to_string(machine.join(path)).unwrap();
    let files = ["proc/mounts", "sys/kernel/mm/ksm/run", "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"];
    let before = files.map(read);
    let tuned = doctor(&bench, &["--tune"]);
    assert!(tuned.status.success(), "{}", text(&tuned.stderr));
    assert!(text(&tuned.stdout).contains("/sys/kernel/mm/ksm/run: 0"), "{}", text(&tuned.stdout));
    assert_eq!(read(files[2]), "performance\n");
    let again = doctor(&bench, &["--tune"]);
    assert!(!again.status.success() && text(&again.stderr).contains("doctor --restore"), "{}", text(&again.stderr));
    let restored = doctor(&bench, &["--restore"]);
    assert!(text(&restored.stdout).contains("all previous values are restored"), "{}", text(&restored.stdout));
    assert_eq!(files.map(read), before);
    assert!(!doctor(&bench, &["--restore"]).status.success());
}

#[test]
fn runs_of_different_hosts_are_not_compared() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 3\nwarmup = false", "");
    bench.run_study();
    // Join the lines: their breaks depend on the name of this machine's processor.
    let analyzed = text(&bench.run(&["analyze", "run"]).stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(analyzed.contains("; fingerprint ") && analyzed.contains("(host.json)"), "{analyzed}");
    let facts = std::fs::read_to_string(bench.path("run/host.json")).unwrap();
    let found: serde_json::Value = serde_json::from_str(&facts).unwrap();
    let fingerprint = found["fingerprint"].as_str().unwrap();
    assert_eq!(fingerprint.len(), 16);
    assert!(found["artifacts"].as_array().unwrap().iter().all(|one| one["sha256"].as_str().unwrap().len() == 64));
    assert!(found["machine"]["kernel"]["release"].is_string());

    assert!(bench.run(&["run", "study.toml", "--host", "fake", "--out", "other"]).status.success());
    assert!(bench.run(&["analyze", "other"]).status.success());
    let same = bench.run(&["compare", "run", "other", "--margin", "0.5"]);
    assert!(same.status.success(), "{}", text(&same.stderr));
    std::fs::write(bench.path("other/host.json"), facts.replace(fingerprint, "0123456789abcdef")).unwrap();
    let refused = bench.run(&["compare", "run", "other", "--margin", "0.5"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("--across-hosts"), "{}", text(&refused.stderr));
    assert!(bench.run(&["compare", "run", "other", "--margin", "0.5", "--across-hosts"]).status.success());
    // A damaged file is an error, not an unknown host.
    std::fs::write(bench.path("other/host.json"), "").unwrap();
    let damaged = bench.run(&["compare", "run", "other", "--margin", "0.5"]);
    assert_eq!(damaged.status.code(), Some(1));
    assert!(text(&damaged.stderr).contains("MB3007") && text(&damaged.stderr).contains("host.json is damaged"));
    std::fs::write(bench.path("other/host.json"), facts.replace(fingerprint, "0123456789abcdef")).unwrap();
    // A run cannot be resumed on another host.
    let journal = bench.path("other/journal.ndjson");
    let cut: String =
        std::fs::read_to_string(&journal).unwrap().lines().take(30).map(|line| format!("{line}\n")).collect();
    std::fs::write(&journal, cut).unwrap();
    let resumed = bench.run(&["run", "--resume", "other", "--host", "fake"]);
    assert!(
        text(&resumed.stderr).contains("began on another host (fingerprint 0123456789abcdef"),
        "{}",
        text(&resumed.stderr)
    );
}
