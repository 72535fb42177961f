//! Claims of a run that is imported, with VMs that timed out.

use crate::support::{Bench, text};

const CLAIMS: &str = r#"
[[claims]]
name = "slower"
text = "Two VMs start more slowly than one."
metric = "webservice_startup_time"
ratio = [{ where = { concurrency = 2 } }, { where = { concurrency = 1 } }]
expect = "> 1.2"

[[claims]]
name = "limit"
text = "Nine of ten VMs start in less than 150 ms."
metric = "webservice_startup_time"
value = { where = { concurrency = 1 } }
expect = "90 % of values < 150"

[[claims]]
name = "every"
text = "Every VM starts in less than 150 ms."
metric = "webservice_startup_time"
value = { where = { concurrency = 2 } }
expect = "every value < 150"

[[claims]]
name = "mean"
text = "A VM starts in less than 150 ms on average."
metric = "webservice_startup_time"
statistic = "mean"
value = { where = { concurrency = 1 } }
expect = "< 150"
"#;

/// 40 trials of one VM from 100 ms on, and 10 of two VMs from 300 ms on, of which 6 timed out.
fn imported() -> Bench {
    let bench = Bench::new();
    let path = bench.study(&["ok"], "concurrency = [1, 2]\ntrials = 1", "");
    let study = std::fs::read_to_string(&path).unwrap();
    bench.file("study.toml", &format!("{study}{CLAIMS}"));
    let mut rows = String::from("metric,concurrency,trial,value,censored\n");
    for trial in 0..40 {
        rows.push_str(&format!("webservice_startup_time,1,{trial},{},\n", 100.0 + f64::from(trial) * 0.1));
    }
    for trial in 0..10 {
        for _ in 0..2 {
            let (value, censored) = if trial < 6 { (60_000.0, "true") } else { (300.0 + f64::from(trial), "") };
            rows.push_str(&format!("webservice_startup_time,2,{trial},{value},{censored}\n"));
        }
    }
    bench.file("table.csv", &rows);
    let made = bench.run(&["import", "study.toml", "table.csv", "--out", "out"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    bench
}

#[test]
fn vms_that_timed_out_decide_claims_and_withhold_the_mean() {
    let bench = imported();
    let said = text(&bench.run(&["analyze", "out"]).stdout);
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for expected in [
        "holds slower:",
        "ratio at least 3.0",
        "2: 12 censored of 20 VMs",
        "holds limit:",
        "100.0 % of trials, 95 % interval 91.2 to 100.0 % (Clopper-Pearson), n = 40 trials",
        "contradicted every:",
        "inconclusive mean:",
        "the interval of a mean needs 100 trials of each cell; the smallest cell has 40",
        "4 claims: 2 hold, 1 are contradicted, 1 inconclusive, 0 not measured",
    ] {
        assert!(words.contains(expected), "{expected:?} is missing in\n{said}");
    }
    // The mean of two VMs would be 308 ms without those that timed out.
    let summary = text(&bench.run(&["query", "out", "select mean, mean_withheld from summary", "--csv"]).stdout);
    assert!(summary.contains("12 VMs censored"), "{summary}");
    let csv = std::fs::read_to_string(bench.path("out/claims.csv")).unwrap();
    assert!(csv.contains("at least") && !csv.contains("inf"), "{csv}");
}

#[test]
fn plan_lists_claims_that_need_more_trials() {
    let bench = imported();
    let said = text(&bench.run(&["plan", "study.toml"]).stdout);
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let expected = "claims that need more trials for a verdict: slower (median of 1 trial, 6 are needed), mean (mean of \
                    1 trial, 100 are needed)";
    assert!(words.contains(expected), "{said}");
}
