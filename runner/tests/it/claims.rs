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
        "100.0 % of VMs, 95 % interval 91.2 to 100.0 % (Clopper-Pearson), n = 40 trials",
        "contradicted every:",
        "inconclusive mean:",
        "the interval of a mean needs 100 trials of each cell; the smallest cell has 40",
        "4 claims: 2 hold, 1 contradicted, 1 inconclusive, 0 not measured",
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

/// A study with claims that a gate judges. `expect` is the limit for the start-up, in ms.
fn with_gate(bench: &Bench, expect: &str, more: &str) {
    let path = bench.study(&["ok"], "trials = 1", "");
    let study = std::fs::read_to_string(&path).unwrap();
    let claim = format!(
        "[[claims]]\nname = \"slo\"\ntext = \"It starts in time.\"\nmetric = \"webservice_startup_time\"\nvalue = {{}}\n\
         expect = \"{expect}\"\ngate = true\n{more}"
    );
    bench.file("study.toml", &format!("{study}{claim}"));
}

/// Imports start-up times from 100 to about 101 ms as a run of this name.
fn import(bench: &Bench, name: &str, trials: u32) {
    let row = |n: u32| format!("webservice_startup_time,{},ms\n", 100.0 + f64::from(n % 10) * 0.1);
    bench.file("values.csv", &format!("metric,value,unit\n{}", (0..trials).map(row).collect::<String>()));
    let imported = bench.run(&["import", "study.toml", "values.csv", "--out", name]);
    assert!(imported.status.success(), "{}", text(&imported.stderr));
}

fn gate(bench: &Bench, arguments: &[&str]) -> (Option<i32>, String, String) {
    let done = bench.run(arguments);
    (done.status.code(), text(&done.stdout), text(&done.stderr))
}

#[test]
fn gate_fails_if_a_claim_is_contradicted_and_says_why_it_is_inconclusive() {
    let bench = Bench::new();
    with_gate(&bench, "< 105", "");
    import(&bench, "run", 12);
    assert_eq!(gate(&bench, &["analyze", "run", "--gate"]).0, Some(0));
    with_gate(&bench, "< 100.05", "");
    import(&bench, "slow", 12);
    let (code, _, message) = gate(&bench, &["analyze", "slow", "--gate"]);
    assert_eq!(code, Some(4), "{message}");
    assert!(message.contains("claim slo is contradicted: 100."), "{message}");
    // Without `--gate` the claim is only printed.
    assert_eq!(gate(&bench, &["analyze", "slow"]).0, Some(0));
    with_gate(&bench, "< 105", "statistic = \"p99\"\n");
    import(&bench, "few", 12);
    let (code, _, message) = gate(&bench, &["analyze", "few", "--gate"]);
    assert_eq!(code, Some(0), "{message}");
    assert!(message.contains("claim slo is inconclusive") && message.contains("needs 299 trials"), "{message}");
}

/// 8 of 20 VMs of each trial take 5 s; the median of each trial is 100 ms.
#[test]
fn a_percentile_is_over_vms_and_not_over_medians_of_trials() {
    let bench = Bench::new();
    let claims = "[[claims]]\nname = \"p90\"\ntext = \"9 of 10 VMs start in time.\"\n\
                  metric = \"webservice_startup_time\"\nvalue = { where = { concurrency = 20 } }\n\
                  statistic = \"p90\"\nexpect = \"< 500\"\ngate = true\n\
                  [[claims]]\nname = \"share\"\ntext = \"9 of 10 VMs start in time.\"\n\
                  metric = \"webservice_startup_time\"\nvalue = { where = { concurrency = 20 } }\n\
                  expect = \"90 % of values < 500\"\ngate = true\n";
    bench.study(&["ok"], "concurrency = [20]\ntrials = 3", claims);
    let row = |trial: u32, vm: u32| {
        let value = if vm < 8 { 5000.0 } else { 100.0 + f64::from(trial) };
        format!("webservice_startup_time,ok,20,{trial},{vm},{value}\n")
    };
    let rows: String = (0..40).flat_map(|trial| (0..20).map(move |vm| row(trial, vm))).collect();
    bench.file("table.csv", &format!("metric,variant,concurrency,trial,vm,value\n{rows}"));
    let imported = bench.run(&["import", "study.toml", "table.csv", "--out", "out"]);
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    let (code, out, message) = gate(&bench, &["analyze", "out", "--gate"]);
    assert_eq!(code, Some(4), "{out}{message}");
    assert!(out.contains("contradicted    p90") && out.contains("contradicted    share"), "{out}");
    assert!(out.contains("60.0 % of VMs") || out.contains("60 % of VMs"), "{out}");
}

#[test]
fn compare_judges_the_claims_of_the_second_run() {
    let bench = Bench::new();
    with_gate(&bench, "< 105", "");
    let import = |name| {
        import(&bench, name, 12);
        assert!(bench.run(&["analyze", name]).status.success());
    };
    import("base");
    import("same");
    let margin = ["--margin", "0.02", "--gate"];
    let (code, out, message) = gate(&bench, &[&["compare", "base", "same"][..], &margin].concat());
    assert_eq!((code, message.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("claims with a gate:\nholds           slo: It starts in time.\n"), "{out}");
    with_gate(&bench, "< 100.05", "");
    import("strict");
    for (format, expected) in [
        ("text", "contradicted    slo"),
        ("markdown", "| It starts in time. | contradicted |"),
        ("github", "::error title=slo%3A contradicted::100."),
        ("json", "\"outcome\": \"contradicted\""),
    ] {
        let (code, out, message) =
            gate(&bench, &[&["compare", "base", "strict", "--format", format][..], &margin].concat());
        assert_eq!(code, Some(4), "{out}{message}");
        assert!(out.contains(expected), "{format}: {out}");
        assert!(message.contains("claim slo is contradicted"), "{message}");
    }
}

#[test]
fn gate_without_a_claim_or_data_does_not_pass_in_silence() {
    let bench = Bench::new();
    with_gate(&bench, "< 105", "");
    let study = std::fs::read_to_string(bench.path("study.toml")).unwrap();
    bench.file("study.toml", &study.replace("gate = true\n", ""));
    import(&bench, "without", 12);
    let (code, _, message) = gate(&bench, &["analyze", "without", "--gate"]);
    assert_eq!(code, Some(1), "{message}");
    assert!(message.contains("no claim of the study has a gate"), "{message}");
    // A claim on a metric that the table does not have.
    bench.file("study.toml", &study.replace("webservice_startup_time\"\nvalue", "shutdown_time\"\nvalue"));
    import(&bench, "missing", 12);
    let (code, _, message) = gate(&bench, &["analyze", "missing", "--gate"]);
    assert_eq!(code, Some(4), "{message}");
    assert!(message.contains("claim slo is not measured"), "{message}");
    let (code, _, message) = gate(&bench, &["analyze", "missing", "--gate", "--allow-missing"]);
    assert_eq!(code, Some(1), "{message}");
}

#[test]
fn gate_of_a_claim_that_is_not_measured_is_refused() {
    let bench = Bench::new();
    let path = bench.study(&["ok"], "trials = 1", "");
    let study = std::fs::read_to_string(&path).unwrap();
    let claim = "[[claims]]\nname = \"a\"\ntext = \"A.\"\nunmeasured = \"no such data\"\ngate = true\n";
    bench.file("study.toml", &format!("{study}{claim}"));
    let (code, _, message) = gate(&bench, &["plan", "study.toml"]);
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("a gate cannot judge a claim that is not measured"), "{message}");
}
