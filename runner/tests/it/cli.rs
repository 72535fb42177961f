//! Plans and wrong input.

use crate::support::{Bench, text};

#[test]
fn a_plan_is_shown_and_nothing_is_written() {
    let bench = Bench::new();
    bench.study(&["ok", "silent"], "concurrency = [1, 3]\ntrials = { 1 = 2, 3 = 1 }", "");
    let before = std::fs::read_dir(bench.path("")).unwrap().count();
    let output = bench.run(&["plan", "study.toml"]);
    assert!(output.status.success());
    insta::assert_snapshot!(text(&output.stdout));
    assert_eq!(std::fs::read_dir(bench.path("")).unwrap().count(), before);
}

#[test]
fn a_wrong_manifest_is_refused_with_every_error_and_nothing_is_started() {
    let bench = Bench::new();
    let path = bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    let wrong = std::fs::read_to_string(&path).unwrap().replace("\"fake\"", "\"fakr\"").replace("seed", "sede");
    std::fs::write(&path, wrong).unwrap();
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
