//! Plans and wrong input.

use microbench_testing::{program, require};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::{Bench, text, trials};

#[test]
fn a_plan_is_shown_and_nothing_is_written() {
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
fn a_reader_that_has_enough_ends_what_writes_for_it_in_silence() {
    let bench = Bench::new();
    let bytes = bench.run(&["schema"]).stdout.len();
    assert!(bytes > 1 << 16, "{bytes} bytes fit into a pipe that nobody reads");
    let mut command = bench.command(&["schema"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("an end");
    assert_eq!((text(&output.stderr).as_str(), output.status.signal()), ("", Some(libc::SIGPIPE)));
}

#[test]
fn a_wrong_manifest_is_refused_with_every_error_and_nothing_is_started() {
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
fn the_same_seed_gives_the_same_plan_and_another_one_another_order() {
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
fn every_study_of_this_project_is_right() {
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
fn the_papers_study_is_planned_as_shown() {
    // Without it, the plan says which cells are not applicable here.
    require!(program("qemu-system-x86_64", "qemu-system-x86"));
    let study = experiments().join("paper-2019.toml").display().to_string();
    let bench = Bench::new();
    let short = bench.run(&["plan", &study, "--profile", "short"]);
    insta::assert_snapshot!(text(&short.stdout));
    let full = text(&bench.run(&["plan", &study, "--profile", "full"]).stdout);
    assert_eq!(full, text(&bench.run(&["plan", &study]).stdout));
    assert!(full.contains("qemu-host/20         QEMU host     qemu-microvm      20"), "{full}");
    // A protocol is a line of the manifest: the rest of the study stays.
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
