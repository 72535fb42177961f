//! Results for publication: tables, report and queries of a run.

use microbench_testing::require;
use std::fs;

use crate::support::{Bench, text, trials};

/// An analysed run of the fake engine.
fn analysed() -> Bench {
    let bench = Bench::new();
    bench.study(&["ok", "crash"], "concurrency = [1, 2]\ntrials = 2", "");
    bench.run_study();
    let output = bench.run(&["analyze", "run"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    bench
}

#[test]
fn run_has_tables_a_report_and_query_results() {
    require!(trials());
    let bench = analysed();
    let output = bench.run(&["table", "run"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for file in text(&output.stdout).lines() {
        assert!(fs::metadata(file).is_ok_and(|file| file.len() > 0), "{file}");
    }
    assert!(
        fs::read_to_string(bench.path("run/tables/numbers.tex")).unwrap().contains("\\mb@set{startup}{ok/1}{n}{2}")
    );

    let output = bench.run(&["report", "run"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let page = fs::read_to_string(text(&output.stdout).trim()).unwrap();
    let link =
        page.split("href=\"console/").nth(1).expect("no link to a console").split('"').next().unwrap().to_owned();
    assert!(bench.path("run/console").join(&link).is_file(), "{link} does not exist");
    assert!(page.contains("fake-vmm"), "the artefacts are not listed");

    let output = bench.run(&[
        "query",
        "run",
        "select cell, n_trials from summary where metric = 'webservice_startup_time' order by cell",
        "--csv",
    ]);
    assert_eq!(
        text(&output.stdout),
        "cell,n_trials\ncrash/1,0\ncrash/2,0\nok/1,2\nok/2,2\n",
        "{}",
        text(&output.stderr)
    );
    let events = "select count(*) as n from events where event = 'http.ok' and not warmup";
    assert_eq!(text(&bench.run(&["query", "run", events, "--json"]).stdout), "[\n  {\"n\":6}\n]\n");
}

#[test]
fn wrong_query_names_the_list_of_tables() {
    require!(trials());
    let bench = analysed();
    let output = bench.run(&["query", "run", "select boot from samples"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("`microbench query --tables` lists the tables"), "{}", text(&output.stderr));
    let output = bench.run(&["query", "run"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("RUN or SQL is missing"), "{}", text(&output.stderr));
    let output = bench.run(&["query", "--tables"]);
    assert!(text(&output.stdout).contains("censored"), "{}", text(&output.stdout));
}

/// The queries in docs/how-to/query.md.
#[test]
fn every_documented_query_succeeds() {
    require!(trials());
    let bench = analysed();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/how-to/query.md");
    let document = fs::read_to_string(path).unwrap();
    let whole = document.split("microbench query RUN \"").skip(1).map(|rest| rest.split('"').next().unwrap());
    let inline = document.split("`select ").skip(1).map(|rest| rest.split('`').next().unwrap());
    let queries: Vec<String> = whole.map(str::to_owned).chain(inline.map(|rest| format!("select {rest}"))).collect();
    assert!(queries.len() >= 3, "{queries:?}");
    for query in queries {
        let output = bench.run(&["query", "run", &query]);
        assert!(output.status.success(), "{query}: {}", text(&output.stderr));
    }
}
