//! Faults of the host: missing requirements, full disks, a jumping clock, name collisions.

use microbench_testing::{program, require};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Bench, emulated, example, in_namespaces, root, text, trials, variables};

const RUN: [&str; 6] = ["run", "study.toml", "--host", "fake", "--out", "run"];

fn one_trial() -> Bench {
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 1\nwarmup = false", "");
    bench
}

/// Shell commands that replace /dev by a folder with only /dev/null.
const EMPTY_DEV: &str =
    "cd \"$BENCH\"; mkdir dev; mount -t tmpfs none dev; touch dev/null; mount --bind /dev/null dev/null
mount --rbind dev /dev";

/// Asserts exit code 3, these words in the message, and that no run was created.
fn assert_missing_requirement(bench: &Bench, output: &Output, words: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    for word in words {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!bench.path("run").exists());
    let names: Vec<String> =
        fs::read_dir(bench.path(".")).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    assert!(!names.iter().any(|name| name.starts_with(".microbench")), "{names:?}");
}

#[test]
fn missing_tun_device_is_reported_with_a_fix() {
    require!(trials());
    let bench = one_trial();
    let output = in_namespaces(&bench.command(&RUN), "mount -t tmpfs none /dev/net").output().unwrap();
    assert_missing_requirement(&bench, &output, &["/dev/net/tun: No such file", "try: modprobe tun"]);
}

#[test]
fn missing_capability_for_networks_is_reported_with_a_fix() {
    require!(trials(), root(), program("setpriv", "util-linux"));
    let bench = one_trial();
    let given = bench.command(&RUN);
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-net_admin", "--inh-caps", "-net_admin", "--"]).arg(given.get_program());
    command.args(given.get_args()).current_dir(bench.path(".")).envs(variables(&given));
    let output = command.output().unwrap();
    assert_missing_requirement(
        &bench,
        &output,
        &["error[MB1", "network of the sandbox", "try: run with the capability"],
    );
}

#[test]
fn missing_namespaces_are_reported_with_a_fix() {
    require!(trials());
    let bench = one_trial();
    let none = "echo 0 > /proc/sys/user/max_user_namespaces; echo 0 > /proc/sys/user/max_pid_namespaces";
    // In a user namespace, which has separate limits.
    let mut outer = Command::new("unshare");
    let inner = in_namespaces(&bench.command(&RUN), none);
    outer.args(["--map-root-user", "--"]).arg(inner.get_program()).args(inner.get_args());
    outer.envs(variables(&inner));
    let output = outer.current_dir(bench.path(".")).output().unwrap();
    assert_missing_requirement(
        &bench,
        &output,
        &["cannot create a user namespace", "try: run as root, or allow user namespaces"],
    );
}

#[test]
fn missing_kvm_is_reported_when_kvm_is_requested() {
    require!(trials());
    let bench = one_trial();
    let mut arguments = RUN;
    arguments[3] = "kvm";
    let output = in_namespaces(&bench.command(&arguments), EMPTY_DEV).output().unwrap();
    assert_missing_requirement(
        &bench,
        &output,
        &["/dev/kvm: No such file", "modprobe kvm_intel", "--host emulated", "/dev/net/tun"],
    );
}

#[test]
fn missing_qemu_is_reported_with_its_package() {
    require!(trials(), emulated(&["microvm-6.1"], &["firecracker"]));
    let bench = one_trial();
    let qemu = microbench_measure::sys::program::find_program("qemu-system-x86_64").expect("it was required");
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let study = project.join("experiments/quick.toml");
    let cache = std::env::var_os("MICROBENCH_CACHE").unwrap_or_else(|| {
        let home = std::env::var_os("XDG_CACHE_HOME").map(std::path::PathBuf::from);
        let home = home.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".cache"));
        home.join("microbench").into_os_string()
    });
    let mut command = bench.command(&["run", &study.display().to_string(), "--host", "emulated", "--out", "run"]);
    command.env("MICROBENCH_CACHE", cache);
    let output = in_namespaces(&command, &format!("mount --bind /dev/null {}", qemu.display())).output().unwrap();
    assert_missing_requirement(
        &bench,
        &output,
        &["qemu-system-x86_64: not installed", "try: apt-get install qemu-system-x86"],
    );
}

#[test]
fn unprivileged_user_runs_a_study_if_devices_are_accessible() {
    // Without root, all other tests check this already.
    require!(trials(), root());
    let bench = one_trial();
    let own = |name: &str| bench.path(name).display().to_string();
    fs::copy(env!("CARGO_BIN_EXE_microbench"), bench.path("microbench")).unwrap();
    fs::copy(example("fake-vmm"), bench.path("fake-vmm")).unwrap();
    let description = fs::read_to_string(bench.path("engines/fake.toml")).unwrap();
    bench.file("engines/fake.toml", &description.replace(&example("fake-vmm").display().to_string(), &own("fake-vmm")));
    let given = bench.command(&RUN);
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65533", "--regid", "65533", "--clear-groups", "--"]).arg(own("microbench"));
    command.args(given.get_args()).current_dir(bench.path("."));
    command.envs(variables(&given));
    let devices = "mount -t tmpfs none /dev/net; mknod -m 666 /dev/net/tun c 10 200; chown -R 65533:65533 \"$BENCH\"";
    let output = in_namespaces(&command, devices).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let vm = &bench.counted()[&0].vms[&0];
    let reading = |name: &str| vm.readings[name].0.clone().unwrap();
    // The user is root in the sandbox. The capabilities are not checked: the fake guest has some in its own namespace.
    assert_eq!((reading("vmm.user"), reading("vmm.no_new_privileges")), (0.0, 1.0));
}

#[test]
fn missing_init_of_the_emulated_host_is_reported_before_a_run_is_created() {
    require!(trials());
    let bench = one_trial();
    let alone = bench.path("bin/microbench");
    fs::create_dir(alone.parent().unwrap()).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_microbench"), &alone).unwrap();
    let given = bench.command(&["run", "study.toml", "--host", "emulated", "--out", "run"]);
    let mut command = Command::new(&alone);
    command.args(given.get_args()).current_dir(bench.path(".")).envs(variables(&given));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = format!(
        "error[MB4001]: the init of the emulated host is missing: {} does not exist",
        alone.with_file_name("microbench-emulated-host").display()
    );
    assert!(text(&output.stderr).contains(&message), "{}", text(&output.stderr));
    assert!(!bench.path("run").exists());
}

#[test]
fn existing_tap_of_the_same_name_is_not_changed() {
    require!(trials(), program("ip", "iproute2"));
    let bench = one_trial();
    let script = "ip tuntap add mb0 mode tap; ip address add 10.0.0.1/24 dev mb0; ip -o address show mb0 > before";
    let mut command = Command::new("sh");
    let run = bench.command(&RUN);
    command
        .args(["-eu", "-c", "\"$@\"; ip -o address show mb0 > after", "sh"])
        .arg(run.get_program())
        .args(run.get_args());
    command.current_dir(bench.path("."));
    command.envs(variables(&run));
    let output = in_namespaces(&command, script).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let read = |name: &str| fs::read_to_string(bench.path(name)).unwrap();
    assert!(read("before").contains("10.0.0.1/24"));
    assert_eq!(read("before"), read("after"));
    assert!(bench.counted()[&0].vms[&0].failure.is_none());
}

#[test]
fn jumping_wall_clock_changes_no_duration() {
    require!(trials());
    let bench = one_trial();
    let mut command = bench.command(&RUN);
    let shim = example("libjumping_clock.so");
    let output = command.env("LD_PRELOAD", &shim).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let journal = fs::read_to_string(bench.path("run/journal.ndjson")).unwrap();
    let stamp = |key: &str| {
        let (_, rest) = journal.split_once(&format!("\"{key}\":\"")).unwrap();
        let words = rest.split_once('"').unwrap().0.to_owned();
        // 2026-01-01T00:00:00...
        words[8..10].parse::<i64>().unwrap() * 24 + words[11..13].parse::<i64>().unwrap()
    };
    assert_ne!(stamp("started"), stamp("ended"), "the wall clock has jumped");
    let vm = &bench.counted()[&0].vms[&0];
    let (first, last) = (vm.events.values().min().unwrap(), vm.events.values().max().unwrap());
    assert!(last - first < 1_800_000_000_000, "{} ns", last - first);
}

/// Runs `script` in a namespace with a tmpfs of 3 MiB at `small/`. `$1` in the script is the program.
fn on_a_small_disk(bench: &Bench, script: &str) -> Output {
    let command = {
        let run = bench.command(&[]);
        let mut shell = Command::new("sh");
        shell.args(["-u", "-c", script, "sh"]).arg(run.get_program()).current_dir(bench.path("."));
        shell.envs(variables(&run));
        shell
    };
    fs::create_dir(bench.path("small")).unwrap();
    in_namespaces(&command, "mount -t tmpfs -o size=3m none \"$BENCH/small\"").output().unwrap()
}

#[test]
fn full_disk_at_the_start_leaves_no_run() {
    require!(trials());
    let bench = one_trial();
    let script = "head -c 8m /dev/zero > small/filler; \"$1\" run study.toml --host fake --out small/run; echo \"code $?\"; ls -A small";
    let output = on_a_small_disk(&bench, script);
    let (printed, said) = (text(&output.stdout), text(&output.stderr));
    assert!(printed.contains("code 1\nfiller\n"), "{printed}{said}");
    assert!(said.contains("cannot ") && said.contains("small/") && said.contains("No space left on device"), "{said}");
}

#[test]
fn full_disk_stops_the_run_before_the_next_trial_and_resume_completes_it() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["large-console"], "concurrency = [1]\ntrials = 4\nwarmup = false", "");
    let script = "\"$1\" run study.toml --host fake --out small/run; echo \"code $?\"
cp small/run/journal.ndjson before
mount -o remount,size=64m none small
\"$1\" run --resume small/run --host fake; echo \"code $?\"
mkdir run; cp -r small/run/. run";
    let output = on_a_small_disk(&bench, script);
    let (printed, said) = (text(&output.stdout), text(&output.stderr));
    assert!(printed.contains("code 1\n") && printed.contains("code 0\n"), "{printed}{said}");
    assert!(
        said.contains("not enough disk space at ")
            && said.contains("bytes are free, and the next trial may need 2228224"),
        "{said}"
    );
    let before = fs::read_to_string(bench.path("before")).unwrap();
    assert!(before.contains("\"trial_end\""), "the journal has no trial");
    assert!(fs::read_to_string(bench.path("run/journal.ndjson")).unwrap().starts_with(&before), "a sample was lost");
    assert_eq!(bench.counted().len(), 4);
}

#[test]
fn full_disk_during_analysis_keeps_the_old_results() {
    require!(trials());
    let bench = one_trial();
    bench.run_study();
    let script = "cp -r run small/; \"$1\" analyze small/run > /dev/null; cp small/run/samples.csv before
head -c 8m /dev/zero > small/filler; \"$1\" analyze small/run; echo \"code $?\"; cp small/run/samples.csv after; ls -A small/run";
    let output = on_a_small_disk(&bench, script);
    let (printed, said) = (text(&output.stdout), text(&output.stderr));
    assert!(printed.contains("code 1\n"), "{printed}{said}");
    assert!(said.contains("small/run/") && said.contains("No space left on device"), "{said}");
    assert_eq!(fs::read(bench.path("before")).unwrap(), fs::read(bench.path("after")).unwrap());
    assert!(!printed.contains(".tmp"), "{printed}");
}
