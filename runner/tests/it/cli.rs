//! Plans, wrong manifests and output of the command line.

use microbench_testing::{program, require};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::{Bench, text, trials};

#[test]
fn plan_prints_the_plan_and_writes_nothing() {
    let bench = Bench::new();
    bench.study(&["ok", "silent"], "concurrency = [1, 3]\ntrials = { 1 = 2, 3 = 1 }", "");
    let before = fs::read_dir(bench.path("")).unwrap().count();
    let output = bench.run(&["plan", "study.toml"]);
    assert!(output.status.success());
    insta::assert_snapshot!(text(&output.stdout));
    assert_eq!(fs::read_dir(bench.path("")).unwrap().count(), before);
}

/// As in `microbench schema | head -1`.
#[test]
fn closed_pipe_ends_the_program_silently_by_sigpipe() {
    let bench = Bench::new();
    let bytes = bench.run(&["schema"]).stdout.len();
    assert!(bytes > 1 << 16, "{bytes} bytes fit into the buffer of a pipe");
    let mut command = bench.command(&["schema"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("an end");
    assert_eq!((text(&output.stderr).as_str(), output.status.signal()), ("", Some(libc::SIGPIPE)));
}

#[test]
fn wrong_manifest_is_refused_with_every_error() {
    require!(trials());
    let bench = Bench::new();
    let path = bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    let wrong = fs::read_to_string(&path).unwrap().replace("\"fake\"", "\"fakr\"").replace("seed", "sede");
    fs::write(&path, wrong).unwrap();
    for command in [&["plan", "study.toml"][..], &["run", "study.toml", "--host", "fake", "--out", "run"]] {
        let output = bench.run(command);
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        insta::assert_snapshot!("wrong manifest", text(&output.stderr));
    }
    assert!(!bench.path("run").exists() && !bench.path("cache").exists());
}

#[test]
fn seed_determines_the_order_of_the_plan() {
    let bench = Bench::new();
    bench.study(&["ok", "silent"], "concurrency = [1, 2, 3]\ntrials = 4", "");
    let plan = |seed: &str| text(&bench.run(&["plan", "study.toml", "--json", "--seed", seed]).stdout);
    assert_eq!(plan("5"), plan("5"));
    assert_ne!(plan("5"), plan("6").replace("\"seed\": 6", "\"seed\": 5"));
}

fn experiments() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments")
}

#[test]
fn every_study_of_this_project_can_be_planned() {
    let bench = Bench::new();
    let mut planned = 0;
    for entry in fs::read_dir(experiments()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let output = bench.run(&["plan", &path.display().to_string()]);
            assert!(output.status.success(), "{}", text(&output.stderr));
            planned += 1;
        }
    }
    assert!(planned >= 3, "{planned} studies");
}

#[test]
fn study_of_the_paper_is_planned_as_recorded() {
    // Without QEMU, the plan contains a note about cells that are not applicable.
    require!(program("qemu-system-x86_64", "qemu-system-x86"));
    let study = experiments().join("paper-2019.toml").display().to_string();
    let bench = Bench::new();
    let short = bench.run(&["plan", &study, "--profile", "short"]);
    insta::assert_snapshot!(text(&short.stdout));
    let full = text(&bench.run(&["plan", &study, "--profile", "full"]).stdout);
    assert_eq!(full, text(&bench.run(&["plan", &study]).stdout));
    assert!(full.contains("qemu-host/20         QEMU host     qemu-microvm      20"), "{full}");
    // The protocol can be changed in one line of the manifest.
    for protocol in ["as-written", "as-coded"] {
        let manifest = fs::read_to_string(&study).unwrap();
        let changed = manifest.replace("protocol = \"corrected\"", &format!("protocol = \"{protocol}\""));
        assert_ne!(manifest, changed);
        for folder in ["reference", "templates"] {
            for entry in fs::read_dir(experiments().join(folder)).unwrap() {
                let entry = entry.unwrap();
                let name = format!("{folder}/{}", entry.file_name().display());
                bench.file(&name, &fs::read_to_string(entry.path()).unwrap());
            }
        }
        bench.file("paper.toml", &changed);
        let project = experiments().join("..").display().to_string();
        let output = bench.run(&["plan", "paper.toml", "--project", &project]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains(&format!("protocol {protocol}: ")), "{}", text(&output.stdout));
    }
}

#[test]
fn run_without_a_study_prints_the_usage_of_run_and_exits_2() {
    let bench = Bench::new();
    let output = bench.run(&["run"]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("microbench run [OPTIONS] <STUDY>"), "{message}");
    assert!(message.contains("microbench run [OPTIONS] --resume <RUN>"), "{message}");
    assert!(message.contains("required arguments were not provided") && message.contains("<STUDY>"), "{message}");
    for command in [&["plan"][..], &["host"], &["artifacts"], &["import"], &["selftest", "noise-floor"]] {
        let output = bench.run(command);
        let usage = format!("Usage: microbench {} ", command.join(" "));
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        assert!(text(&output.stderr).contains(&usage), "{command:?}: {}", text(&output.stderr));
    }
}

#[test]
fn a_study_is_found_by_its_name_and_an_existing_path_wins() {
    let bench = Bench::new();
    let manifest = bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    let manifest = fs::read_to_string(manifest).unwrap();
    // Engines are searched for next to the manifest.
    bench.file("experiments/engines/fake.toml", &fs::read_to_string(bench.path("engines/fake.toml")).unwrap());
    bench.file("experiments/small.toml", &manifest.replace("A test", "By name"));
    let title = |study: &str| -> String {
        let output = bench.run(&["plan", study, "--json"]);
        assert!(output.status.success(), "{study}: {}", text(&output.stderr));
        let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        plan["title"].as_str().unwrap().to_owned()
    };
    assert_eq!(title("small"), "By name");
    assert_eq!(title("experiments/small.toml"), "By name");
    bench.file("small", &manifest.replace("A test", "By path").replace("engines/", ""));
    assert_eq!(title("small"), "By path");
    for command in [&["plan", "smal"][..], &["run", "smal", "--host", "fake"], &["host", "smal"], &["doctor", "smal"]] {
        let output = bench.run(command);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command:?}: {message}");
        assert!(message.contains("study `smal` not found") && message.contains("did you mean `small`?"), "{message}");
    }
    let built_in = text(&bench.run(&["plan", "quick"]).stderr);
    assert!(built_in.contains("`microbench new NAME --from quick` copies the built-in study"), "{built_in}");
}

#[test]
fn the_last_line_of_an_error_names_every_code() {
    let bench = Bench::new();
    let path = bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    let mut wrong = fs::read_to_string(&path).unwrap();
    for (right, replacement) in [
        ("\"fake\"", "\"fakr\""),
        ("seed = 1", "sede = 1"),
        ("kernel = \"tiny\"", "kernel = \"tinny\""),
        ("rootfs = \"tiny\"", "rootfs = 3"),
        ("kernel_boot_time = {}", "kernel_boot_tyme = {}"),
        ("trials = 1", "trials = 0"),
        ("groups = \"concurrency\"", "groups = \"memory_mib\""),
    ] {
        wrong = wrong.replacen(right, replacement, 1);
    }
    fs::write(&path, wrong).unwrap();
    let message = text(&bench.run(&["plan", "study.toml"]).stderr);
    let codes: std::collections::BTreeSet<&str> =
        message.lines().filter_map(|line| line.strip_prefix("error[")?.split(']').next()).collect();
    assert!(codes.len() > 4, "{message}");
    let last = message.lines().last().unwrap();
    assert!(codes.iter().all(|code| last.contains(code)), "{last}\nof\n{message}");
}
