//! Isolation: VMMs inherit nothing from the caller of microbench, and nothing starts if VMMs cannot be isolated.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use microbench_formats::record::FailureReason;
use microbench_measure::sys;
use microbench_testing::{program, require};
use serde_json::Value;

use crate::containers::bench as containers;
use crate::support::{Bench, in_namespaces, is_root, mounts, root, text, trials, variables};

/// Runs `command` from a shell that has the file `secret` open as descriptor 7 and a secret environment variable.
fn with_secrets(bench: &Bench, command: &Command) -> Output {
    bench.file("secret", "a secret");
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec 7<secret; exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
    shell.current_dir(bench.path(".")).envs(variables(command)).env("SECRET_TOKEN", "a secret").stdin(Stdio::null());
    shell.output().unwrap()
}

#[test]
fn vmm_inherits_no_descriptor_variable_folder_terminal_or_keyring() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["print-environment"], "concurrency = [2]\ntrials = 1\nwarmup = false", "");
    // The session keyring of this thread, which its child processes inherit.
    sys::join_empty_session_keyring().unwrap();
    let own = sys::session_keyring().ok();
    let output = with_secrets(&bench, &bench.command(&["run", "study.toml", "--host", "fake", "--out", "run"]));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed = |vm: u32| {
        let log = fs::read_to_string(bench.path(&format!("run/console/t0000-a0-vm{vm:03}.log"))).unwrap();
        let said = log.lines().find_map(|line| line.strip_prefix("fake-vmm: has "));
        said.unwrap_or_else(|| panic!("{log}")).to_owned()
    };
    let said = printed(0);
    let has: Value = serde_json::from_str(&said).unwrap();
    let words = |name: &str| -> Vec<String> {
        has[name].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let files = words("files");
    assert!(files.len() == 3 && files[0] == "/dev/null" && files[1..].iter().all(|f| f.starts_with("pipe:")), "{said}");
    let passed = sys::environment::PASSED_VARIABLES;
    assert!(words("variables").iter().all(|name| passed.contains(&name.as_str())), "{said}");
    assert_eq!((has["folder"].as_str(), has["session"].as_u64()), (Some("/"), Some(0)), "{said}");
    let other: Value = serde_json::from_str(&printed(1)).unwrap();
    let keyrings = [own, has["keyring"].as_i64(), other["keyring"].as_i64()];
    assert!(own.is_none() || BTreeSet::from(keyrings).len() == 3, "keyrings are shared: {keyrings:?}");
}

#[test]
fn version_command_inherits_no_descriptor_and_no_variable() {
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 1\nwarmup = false", "");
    let study = fs::read_to_string(bench.path("study.toml")).unwrap();
    let study = study.replace("engine = \"fake\"\nmode = \"ok\"", "engine = \"qemu-microvm\"");
    bench.file("study.toml", &study);
    let printed = bench.path("printed");
    let script = format!(
        "#!/bin/sh\n(env; readlink /proc/$$/fd/*) > '{}'\necho 'QEMU emulator version 7.2.0'\n",
        printed.display()
    );
    let qemu = bench.file("bin/qemu-system-x86_64", &script);
    fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = bench.command(&["artifacts", "study.toml"]);
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", bench.path("bin").display()));
    let output = with_secrets(&bench, &command);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed = fs::read_to_string(printed).unwrap();
    assert!(
        printed.contains("PATH=") && !printed.contains("SECRET_TOKEN") && !printed.contains("/secret"),
        "{printed}"
    );
}

/// `command` as root without CAP_MKNOD, on a host where only root can open /dev/net/tun.
fn without_mknod(command: &Command) -> Command {
    let mut limited = Command::new("setpriv");
    limited.args(["--bounding-set=-mknod", "--inh-caps=-mknod", "--"]);
    limited.arg(command.get_program()).args(command.get_args());
    limited.current_dir(command.get_current_dir().unwrap()).envs(variables(command));
    in_namespaces(&limited, "mount -t tmpfs none /dev/net; mknod -m 600 /dev/net/tun c 10 200")
}

/// `command` as root of a new user namespace.
fn as_root_of_a_namespace(command: &Command) -> Command {
    let mut outer = Command::new("unshare");
    outer.args(["--user", "--map-root-user", "--"]).arg(command.get_program()).args(command.get_args());
    outer.current_dir(command.get_current_dir().unwrap()).envs(variables(command)).stdin(Stdio::null());
    outer
}

/// Asserts that `run` in the environment `limited` is refused with the reason `why` unless `--allow-unisolated` is
/// given, and that the results of such a run say so.
fn assert_run_needs_allow_unisolated(limited: fn(&Command) -> Command, why: &str) {
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 2\nwarmup = false", "");
    let run = |arguments: &[&str]| limited(&bench.command(arguments)).output().unwrap();
    for host in ["fake", "auto"] {
        let output = run(&["run", "study.toml", "--host", host, "--out", "run"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("error[MB1006]") && said.contains(why) && said.contains("--allow-unisolated"), "{said}");
        assert!(!bench.path("run").exists());
    }
    let output = run(&["run", "study.toml", "--host", "fake", "--out", "runs/run", "--allow-unisolated"]);
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("VMMs are not isolated") && said.contains(why), "{said}");
    // A resumed session needs the option again.
    let resumed = run(&["run", "--resume", "runs/run"]);
    assert_eq!(resumed.status.code(), Some(3), "{}", text(&resumed.stderr));
    let resumed = run(&["run", "--resume", "runs/run", "--allow-unisolated"]);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));

    let journal = microbench_plots::journal::read(&bench.path("runs/run/journal.ndjson")).unwrap();
    assert!(journal.unisolated().unwrap().contains(why));
    let vm = &journal.executions[0].vms[&0];
    assert_eq!((vm.failure.as_ref(), vm.readings["vmm.user"].0.as_ref()), (None, Ok(&0.0)));
    let says = |arguments: &[&str], words: &str| {
        let output = bench.run(arguments);
        let said = text(&output.stdout);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(output.status.success() && said.contains(words), "{arguments:?}: {said} {}", text(&output.stderr));
    };
    says(&["analyze", "runs/run"], &format!("VMMs were not isolated from the host: {}", journal.unisolated().unwrap()));
    says(&["analyze", "runs/run", "--json"], "\"unisolated\": \"");
    says(&["show", "runs/run"], "VMMs were not isolated from the host: ");
    says(&["runs"], "fake, not isolated");
    for command in ["plot", "report"] {
        assert!(bench.run(&[command, "runs/run"]).status.success());
    }
    let caption = fs::read_to_string(bench.path("runs/run/figures/startup.caption.txt")).unwrap();
    assert!(caption.trim().ends_with("VMMs were not isolated from the host."), "{caption}");
    let report = fs::read_to_string(bench.path("runs/run/report.html")).unwrap();
    assert!(
        report.contains("<strong>Not isolated.</strong>") && report.contains("VMMs were not isolated from the host.")
    );
}

#[test]
fn root_without_cap_mknod_needs_allow_unisolated() {
    require!(trials(), root());
    assert_run_needs_allow_unisolated(without_mknod, "CAP_MKNOD");
}

#[test]
fn root_of_a_user_namespace_needs_allow_unisolated() {
    require!(trials(), root());
    assert_run_needs_allow_unisolated(as_root_of_a_namespace, "root of a user namespace only");
}

#[test]
fn isolated_run_is_not_marked_as_unisolated() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 1\nwarmup = false", "");
    let output = bench.run(&["run", "study.toml", "--host", "fake", "--out", "run", "--allow-unisolated"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains("not isolated"));
    assert_eq!(bench.journal().unisolated(), None);
    assert!(!fs::read_to_string(bench.path("run/journal.ndjson")).unwrap().contains("unisolated"));
}

#[test]
fn vmms_of_an_unprivileged_user_have_no_capability() {
    require!(trials());
    let bench = Bench::new();
    // Without a network, because the fake VMM would enter a user namespace for it.
    bench.study(&["ok"], "concurrency = [2]\ntrials = 1\nwarmup = false", "disk = \"clone\"\nnetwork = false");
    let given = bench.command(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    let output = if is_root() {
        fs::copy(env!("CARGO_BIN_EXE_microbench"), bench.path("microbench")).unwrap();
        let fake = fs::read_to_string(bench.path("engines/fake.toml")).unwrap();
        let program = crate::support::example("fake-vmm");
        fs::copy(&program, bench.path("fake-vmm")).unwrap();
        let own = bench.path("fake-vmm").display().to_string();
        bench.file("engines/fake.toml", &fake.replace(&program.display().to_string(), &own));
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65533", "--regid", "65533", "--clear-groups", "--"]).arg(bench.path("microbench"));
        command.args(given.get_args()).current_dir(bench.path(".")).envs(variables(&given));
        let devices =
            "mount -t tmpfs none /dev/net; mknod -m 666 /dev/net/tun c 10 200; chown -R 65533:65533 \"$BENCH\"";
        in_namespaces(&command, devices).output().unwrap()
    } else {
        { given }.output().unwrap()
    };
    assert!(output.status.success(), "{}", text(&output.stderr));
    let journal = bench.journal();
    assert_eq!(journal.unisolated(), None);
    for vm in journal.executions[0].vms.values() {
        assert_eq!(vm.failure, None);
        let reading = |name: &str| vm.readings[name].0.clone();
        assert_eq!((reading("vmm.capabilities"), reading("vmm.no_new_privileges")), (Ok(0.0), Ok(1.0)));
    }
}

/// The built-in description of crun with a container that runs as root.
fn root_container() -> String {
    let crun = include_str!("../../study/engines/crun.toml");
    let rooted = crun.replace("name = \"crun\"", "name = \"rooted\"").replace("\"uid\": {{user}}", "\"uid\": 0");
    assert!(rooted.contains("\"uid\": 0"));
    rooted
}

#[test]
fn container_that_runs_as_root_fails_with_the_reason() {
    require!(mounts(), program("crun", "crun"));
    let bench = containers(&["rooted"], "trials = 1\nwarmup = false", "");
    bench.file("engines/rooted.toml", &root_container());
    bench.run_study();
    let failure = bench.counted()[&0].vms[&0].failure.clone().expect("a failure");
    assert_eq!((failure.reason, failure.stage.as_str()), (FailureReason::Host, "isolation"));
    assert!(failure.message.contains("it runs as root"), "{}", failure.message);
}
