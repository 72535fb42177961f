//! The working directory is not trusted: nothing in it is executed unless the command line names it.

use microbench_testing::require;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::support::{Bench, processes_of, text, trials, wait_until};

/// Writes a shell script that appends its name to the file `executed`. Returns its path.
fn marking_script(bench: &Bench, name: &str) -> PathBuf {
    let marker = bench.path("executed");
    let path = bench.file(name, &format!("#!/bin/sh\necho {name} >> {}\nexit 1\n", marker.display()));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Names of the executed files of the working directory, one per line.
fn executed(bench: &Bench) -> String {
    fs::read_to_string(bench.path("executed")).unwrap_or_default()
}

#[test]
fn python_modules_of_the_working_directory_are_not_imported() {
    let bench = Bench::new();
    let study = fs::read_to_string(bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "")).unwrap();
    let firecracker = study.replace("engine = \"fake\"", "engine = \"firecracker\"").replace("mode = \"ok\"", "");
    bench.file("study.toml", &firecracker);
    let marker = bench.path("executed");
    for module in ["pip.py", "zipfile.py", "sitecustomize.py"] {
        bench.file(module, &format!("open({:?}, 'a').write('{module}\\n')\n", marker.display().to_string()));
    }
    let mut command = bench.command(&["artifacts", "study.toml"]);
    // Without an index and a network, pip starts and finds nothing.
    command.env("PYTHONPATH", bench.path(".")).env("PIP_NO_INDEX", "1").env("PIP_FIND_LINKS", bench.path("none"));
    let output = command.env("HTTPS_PROXY", "http://127.0.0.1:9").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("-m pip download") && said.contains("MB2003"), "{said}");
    assert_eq!(executed(&bench), "");
}

#[test]
fn programs_of_the_working_directory_are_not_executed() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 1\nwarmup = false", "");
    for name in ["mke2fs", "debugfs", "ldd", "dpkg-query", "python3", "sbatch"] {
        marking_script(&bench, name);
    }
    let path = format!(":.:{}:", std::env::var("PATH").unwrap());
    let run = ["run", "study.toml", "--host", "fake", "--out", "run"];
    let output = bench.command(&run).env("PATH", &path).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(executed(&bench), "");
}

#[test]
fn doctor_boots_no_guest_without_a_study() {
    let bench = Bench::new();
    let program = marking_script(&bench, "experiments/engine").display().to_string();
    let engine = fs::read_to_string(bench.path("engines/fake.toml")).unwrap();
    let given = engine.lines().find(|line| line.starts_with("program = ")).unwrap();
    bench.file("experiments/engines/fake.toml", &engine.replace(given, &format!("program = {program:?}")));
    let study = bench.study(&["ok"], "concurrency = [1]\ntrials = 1\nwarmup = false", "");
    fs::rename(study, bench.path("experiments/quick.toml")).unwrap();
    let said = text(&bench.run(&["doctor"]).stdout);
    let guest = said.lines().find(|line| line.contains("guest under KVM")).unwrap_or_else(|| panic!("{said}"));
    assert!(guest.ends_with("not tried"), "{guest}");
    assert!(!bench.path("cache").exists(), "doctor prepared the artefacts of the study");
    assert_eq!(executed(&bench), "");
}

#[test]
fn a_vmm_does_not_run_in_the_working_directory() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["silent"], "concurrency = [1]\ntrials = 1\nwarmup = false", "boot_deadline_s = 600");
    let mut runner = bench.start(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    let vmm = || processes_of(&bench.path("run")).into_iter().find(|(_, line)| line.contains(" silent "));
    wait_until("a VM", || vmm().is_some());
    let (pid, _) = vmm().unwrap();
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), PathBuf::from("/"));
    runner.kill().unwrap();
    runner.wait().unwrap();
}
