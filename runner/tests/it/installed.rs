//! The installed program outside of any project and of its source tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::text;

/// An installed program with an empty home directory and an empty working directory.
struct Installed {
    folder: tempfile::TempDir,
}

impl Installed {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("microbench-test-").tempdir().expect("a temporary folder");
        for name in ["prefix/bin", "home", "work"] {
            fs::create_dir_all(folder.path().join(name)).expect("a folder");
        }
        for program in [env!("CARGO_BIN_EXE_microbench"), env!("CARGO_BIN_EXE_microbench-emulated-host")] {
            let name = Path::new(program).file_name().expect("a name");
            fs::copy(program, folder.path().join("prefix/bin").join(name)).expect("a copy");
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(self.path("prefix/bin/microbench"))
            .args(arguments)
            .current_dir(self.path("work"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .stdin(Stdio::null())
            .output()
            .expect("the program starts")
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }
}

#[test]
fn installed_program_works_in_an_empty_folder() {
    let installed = Installed::new();
    assert!(installed.ok(&["schema"]).contains("\"$schema\""));
    installed.ok(&["new", "mine", "--engines", "fc,qemu"]);
    installed.ok(&["plan", "mine.toml"]);
    let explained = installed.ok(&["plan", "mine.toml", "--explain", "fc/1"]);
    assert!(explained.contains("microvm-6.1") && explained.contains("minimal"), "{explained}");
    assert!(installed.path("work/microbench.schema.json").is_file());
    let doctor = installed.run(&["doctor"]);
    assert!(text(&doctor.stdout).contains("/dev/kvm"), "{}", text(&doctor.stderr));
    assert!(installed.ok(&["runs"]).lines().count() <= 1);
    assert!(!installed.path("home/.cache").exists(), "these commands must not use the cache");
}

#[test]
fn every_built_in_study_can_be_copied_and_planned() {
    let installed = Installed::new();
    let listed = installed.ok(&["new", "--list"]);
    assert!(listed.lines().any(|line| line.starts_with("paper-2019 ")), "{listed}");
    for name in listed.lines().filter_map(|line| line.split_whitespace().next()) {
        let file = format!("{name}.toml");
        installed.ok(&["new", name, "--from", name]);
        installed.ok(&["plan", &file]);
    }
    assert!(installed.path("work/reference/paper-2019.toml").is_file());
    let output = installed.run(&["new", "mine", "--from", "paper-2091"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("did you mean `paper-2019"), "{}", text(&output.stderr));
}

#[test]
fn kernels_of_the_project_are_added_to_the_built_in_kernels() {
    let installed = Installed::new();
    let work = installed.path("work");
    installed.ok(&["new", "mine", "--engines", "qemu"]);
    let kernel = work.join("kernels/mine-6.1");
    fs::create_dir_all(&kernel).unwrap();
    fs::write(kernel.join("kernel.toml"), "description = \"mine\"\nseries = \"6.1\"\nsources = []\n").unwrap();
    let study = fs::read_to_string(work.join("mine.toml")).unwrap();
    fs::write(work.join("mine.toml"), study.replace("kernel = \"microvm-6.1\"", "kernel = \"mine-6.1\"")).unwrap();
    assert!(installed.ok(&["plan", "mine.toml", "--explain", "qemu/1"]).contains("mine-6.1"));
    fs::write(work.join("other.toml"), study).unwrap();
    installed.ok(&["plan", "other.toml"]);
}

#[test]
fn installed_agent_is_found_and_a_missing_agent_is_reported_before_a_build() {
    let installed = Installed::new();
    installed.ok(&["new", "mine", "--engines", "qemu"]);
    let output = installed.run(&["artifacts", "mine.toml"]);
    let said = text(&output.stderr);
    assert!(said.contains("error[MB2001]") && said.contains("make build"), "{said}");
    assert!(!installed.path("home/.cache").exists(), "{said}");
    let agent = installed.path("prefix/libexec/microbench/microbench-agent");
    fs::create_dir_all(agent.parent().unwrap()).unwrap();
    fs::copy("/bin/false", &agent).unwrap();
    let output = installed.run(&["selftest", "workload"]);
    let said = text(&output.stderr);
    assert!(!output.status.success() && !said.contains("MB2001"), "{said}");
}
