//! What VMMs inherit from whoever starts microbench, and that they are isolated from the machine, or nothing is
//! started.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use microbench::sys;
use serde_json::Value;

use crate::support::{Bench, text, variables};

/// `command` started by a shell that has the file `secret` open as descriptor 7, with a variable that is nobody else's
/// business.
fn with_secrets(bench: &Bench, command: &Command) -> Output {
    bench.file("secret", "a secret");
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec 7<secret; exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
    shell.current_dir(bench.path(".")).envs(variables(command)).env("SECRET_TOKEN", "a secret").stdin(Stdio::null());
    shell.output().unwrap()
}

#[test]
fn a_vmm_inherits_no_descriptor_variable_folder_terminal_or_keyring() {
    let bench = Bench::new();
    bench.study(&["tells"], "concurrency = [1]\ntrials = 1\nwarmup = 0", "");
    // This thread's session keyring, which is what the programs inherit that it starts.
    sys::leave_session_keyring().unwrap();
    let own = sys::session_keyring().ok();
    let output = with_secrets(&bench, &bench.command(&["run", "study.toml", "--host", "fake", "--out", "run"]));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let log = fs::read_to_string(bench.path("run/console/t0000-a0-vm000.log")).unwrap();
    let said = log.lines().find_map(|line| line.strip_prefix("fake-vmm: has ")).unwrap_or_else(|| panic!("{log}"));
    let has: Value = serde_json::from_str(said).unwrap();
    let words = |name: &str| -> Vec<String> {
        has[name].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let files = words("files");
    assert!(files.len() == 3 && files[0] == "/dev/null" && files[1..].iter().all(|f| f.starts_with("pipe:")), "{said}");
    let passed = microbench::environment::PASSED;
    assert!(words("variables").iter().all(|name| passed.contains(&name.as_str())), "{said}");
    assert_eq!((has["folder"].as_str(), has["session"].as_u64()), (Some("/"), Some(1)), "{said}");
    assert!(own.is_none() || has["keyring"].as_i64() != own, "{said}");
}

#[test]
fn a_program_that_is_asked_for_its_version_inherits_no_descriptor_and_no_variable() {
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 1\nwarmup = 0", "");
    let study = fs::read_to_string(bench.path("study.toml")).unwrap();
    let study = study.replace("engine = \"fake\"\nmode = \"ok\"", "engine = \"qemu-microvm\"");
    bench.file("study.toml", &study);
    let told = bench.path("told");
    let script = format!(
        "#!/bin/sh\n(env; readlink /proc/$$/fd/*) > '{}'\necho 'QEMU emulator version 7.2.0'\n",
        told.display()
    );
    let qemu = bench.file("bin/qemu-system-x86_64", &script);
    fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = bench.command(&["artifacts", "study.toml"]);
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", bench.path("bin").display()));
    let output = with_secrets(&bench, &command);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told = fs::read_to_string(told).unwrap();
    assert!(told.contains("PATH=") && !told.contains("SECRET_TOKEN") && !told.contains("/secret"), "{told}");
}
