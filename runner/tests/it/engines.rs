//! Missing engine programs, settings that an engine refuses, and guests without a network.

use std::fs;

use microbench_formats::record::FailureReason;
use microbench_testing::require;

use crate::support::{Bench, text, trials};

/// A project with the fake engine and an engine whose program is not installed.
fn with_a_missing_engine() -> Bench {
    let bench = Bench::new();
    let fake = fs::read_to_string(bench.path("engines/fake.toml")).unwrap();
    let program = fake.lines().find(|line| line.starts_with("program")).unwrap().to_owned();
    let absent = fake.replace("name = \"fake\"", "name = \"absent\"").replace("title = \"Fake\"", "title = \"Absent\"");
    bench.file("engines/absent.toml", &absent.replace(&program, "program = \"no-such-vmm\""));
    bench.study(&["ok"], "trials = 1\nwarmup = false", "");
    let study = fs::read_to_string(bench.path("study.toml")).unwrap();
    bench.file("study.toml", &study.replace("[matrix]", "[variants.absent]\nengine = \"absent\"\n[matrix]"));
    bench
}

#[test]
fn program_that_is_a_relative_path_is_refused() {
    let bench = Bench::new();
    bench.study(&["ok"], "trials = 1", "");
    let fake = fs::read_to_string(bench.path("engines/fake.toml")).unwrap();
    let program = fake.lines().find(|line| line.starts_with("program")).unwrap().to_owned();
    bench.file("engines/fake.toml", &fake.replace(&program, "program = \"bin/vmm\""));
    let output = bench.run(&["plan", "study.toml"]);
    let said = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!output.status.success() && said.contains("fake.toml has the relative path `bin/vmm`"), "{said}");
}

#[test]
fn missing_program_of_a_variant_does_not_stop_the_others() {
    require!(trials());
    let bench = with_a_missing_engine();
    let words = [
        "not applicable on this host",
        "absent/1: Absent (the engine's program `no-such-vmm`: not installed",
        "on PATH",
    ];
    let plan = bench.run(&["plan", "study.toml"]);
    assert!(plan.status.success());
    let run = bench.run(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    assert_eq!(run.status.code(), Some(0), "{}", text(&run.stderr));
    for said in [text(&plan.stdout), text(&run.stderr)] {
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
    for execution in bench.counted().values() {
        let vm = &execution.vms[&0];
        match (execution.cell.as_str(), &vm.failure) {
            ("ok/1", None) => {}
            ("absent/1", Some(failure)) => {
                assert_eq!(failure.reason, FailureReason::NotApplicable);
                assert!(
                    failure.message.contains("no-such-vmm") && failure.message.contains("to fix it"),
                    "{}",
                    failure.message
                );
            }
            (cell, failure) => panic!("{cell}: {failure:?}"),
        }
    }
    // The cell is not applicable in a resumed run and in the samples, too.
    assert!(bench.run(&["run", "--resume", "run", "--host", "fake"]).status.success());
    let analysed = bench.run(&["analyze", "run"]);
    assert!(analysed.status.success());
    let samples = fs::read_to_string(bench.path("run/samples.csv")).unwrap();
    assert!(samples.lines().any(|line| line.contains("absent/1") && line.contains("not-applicable")), "{samples}");
}

#[test]
fn run_is_refused_if_no_engine_is_installed() {
    require!(trials());
    let bench = with_a_missing_engine();
    let study = fs::read_to_string(bench.path("study.toml")).unwrap();
    bench.file("study.toml", &study.replace("engine = \"fake\"", "engine = \"absent\""));
    let run = bench.run(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    let said = text(&run.stderr);
    assert_eq!(run.status.code(), Some(3), "{said}");
    assert!(said.contains("`no-such-vmm`: not installed") && said.contains("try: install it"), "{said}");
    assert!(!bench.path("run").exists());
}

#[test]
fn refused_settings_are_not_applicable_with_the_reason() {
    require!(trials());
    let bench = Bench::new();
    let fake = fs::read_to_string(bench.path("engines/fake.toml")).unwrap();
    let refusal = "[[refuses]]\nwhen = \"{{#unless console}}yes{{/unless}}\"\nreason = \"it is deaf\"\n";
    bench.file("engines/fake.toml", &format!("{fake}\n{refusal}"));
    bench.study(&["ok"], "trials = 1\nwarmup = false", "");
    let study = fs::read_to_string(bench.path("study.toml")).unwrap();
    let deaf = "[variants.deaf]\nengine = \"fake\"\nconsole = false\n[matrix]";
    bench.file("study.toml", &study.replace("[matrix]", deaf));
    assert!(text(&bench.run(&["plan", "study.toml"]).stdout).contains("deaf/1: these settings: it is deaf"));
    bench.run_study();
    let counted = bench.counted();
    let failure =
        counted.values().find(|execution| execution.cell == "deaf/1").unwrap().vms[&0].failure.clone().unwrap();
    assert_eq!(failure.reason, FailureReason::NotApplicable);
    assert!(failure.message.contains("it is deaf"), "{}", failure.message);
    assert!(counted.values().any(|execution| execution.cell == "ok/1" && execution.vms[&0].failure.is_none()));
}

#[test]
fn plan_warns_of_a_guest_that_does_not_end_by_itself() {
    let bench = Bench::new();
    let path = bench.study(&["ok"], "trials = 1", "");
    let study = fs::read_to_string(path).unwrap();
    let plan = |settings: &str| {
        let variant = format!("[variants.qemu]\nengine = \"qemu-microvm\"\n{settings}\n[matrix]");
        bench.file("study.toml", &study.replace("[matrix]", &variant));
        let output = bench.run(&["plan", "study.toml"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let endless = plan("reboot = \"k\"");
    assert!(endless.contains("hint: qemu/1: a guest of qemu-microvm with `reboot = \"k\"` does not end"), "{endless}");
    assert!(endless.contains("`stop_at = \"reset-pulses\"` ends it"), "{endless}");
    for settings in ["", "reboot = \"t\"", "reboot = \"k\"\nstop_at = \"reset-pulses\""] {
        assert!(!plan(settings).contains("does not end by itself"), "{settings}");
    }
}

#[test]
fn guest_without_a_network_is_observed_on_its_console() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok", "mute", "wrong-nonce", "garbage"], "trials = 1\nwarmup = false", "network = false");
    bench.run_study();
    let counted = bench.counted();
    assert_eq!(counted.len(), 4);
    for execution in counted.values() {
        let vm = &execution.vms[&0];
        match (execution.cell.as_str(), &vm.failure) {
            ("ok/1", None) => {
                // Two threads record `agent.ready` and `exit`, so their order is not checked.
                assert!(vm.events["spawn"] < vm.events["agent.ready"] && vm.events["spawn"] < vm.events["exit"]);
                assert_eq!(vm.readings["kernel.messages"].0, Ok(42.0));
                for name in ["http.ok", "stop.requested", "workload.hashing_time.duration"] {
                    let reason = vm.readings[name].0.clone().unwrap_err();
                    assert!(reason.contains("no network"), "{name}: {reason}");
                }
            }
            ("mute/1" | "wrong-nonce/1", Some(failure)) => {
                assert_eq!(failure.reason, FailureReason::Protocol, "{}", failure.message);
                assert!(failure.message.contains("mark is not on the console"), "{}", failure.message);
            }
            ("garbage/1", Some(failure)) => {
                assert_eq!(failure.reason, FailureReason::Protocol, "{}", failure.message);
                assert!(failure.message.contains("statistics on the console are not valid"), "{}", failure.message);
            }
            (cell, failure) => panic!("{cell}: {failure:?}"),
        }
    }
}

#[test]
fn guest_without_a_network_that_never_ends_times_out() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["silent"], "trials = 1\nwarmup = false", "network = false");
    bench.run_study();
    let failure = bench.counted()[&0].vms[&0].failure.clone().unwrap();
    assert_eq!((failure.reason, failure.stage.as_str()), (FailureReason::Timeout, "agent.ready"));
}

#[test]
fn plan_with_an_unknown_value_of_a_guest_setting_is_refused() {
    let bench = Bench::new();
    bench.study(&["ok"], "trials = 1\nwarmup = false", "");
    bench.run_study();
    let plan = fs::read_to_string(bench.path("run/plan.json")).unwrap();
    for (known, unknown, code, permitted) in [
        ("\"page_cache\": \"warm\"", "\"page_cache\": \"frozen\"", "MB0204", "one of `warm`, `cold`"),
        ("\"disk\": \"shared\"", "\"disk\": \"own\"", "MB0204", "one of `shared`, `clone`"),
        ("\"probe\": \"exact\"", "\"probe\": \"rough\"", "MB0204", "one of `exact`, `paper`, `busy`"),
        ("\"reboot\": \"engine\"", "\"reboot\": \"h\"", "MB0204", "one of `engine`, `k`"),
        ("\"neighbour\": true", "\"neighbour\": \"off\"", "MB0104", "`true` or `false`"),
    ] {
        assert!(plan.contains(known), "{known}: {plan}");
        bench.file("run/plan.json", &plan.replace(known, unknown));
        // Without a journal, which would report that the plan was edited.
        drop(fs::remove_file(bench.path("run/journal.ndjson")));
        let output = bench.run(&["run", "--resume", "run", "--host", "fake"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{unknown}: {said}");
        for word in
            [&format!("error[{code}]"), "`ok/1`", &unknown.replace("\": ", "` = ").replacen('"', "`", 1), permitted]
        {
            assert!(said.split_whitespace().collect::<Vec<_>>().join(" ").contains(word), "{word}: {said}");
        }
        assert!(!bench.path("run/journal.ndjson").exists(), "{unknown}: a session was begun");
    }
}
