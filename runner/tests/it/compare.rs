//! Comparison of runs, the gate, and verification against a reference, with runs imported from known values.

use crate::support::{Bench, text, trials};
use microbench_testing::require;

const CLAIM: &str = "[[claims]]\nname = \"quick\"\ntext = \"It starts in less than 105 ms.\"\n\
                     metric = \"webservice_startup_time\"\nvalue = { where = { concurrency = 1 } }\nexpect = \"< 105\"\n";

/// Imports start-up times as a run of this name, and analyses it.
fn import_startup_times(bench: &Bench, name: &str, values: impl Iterator<Item = f64>) {
    let rows: String = values.map(|value| format!("webservice_startup_time,1,{value},ms\n")).collect();
    bench.file(&format!("{name}.csv"), &format!("metric,concurrency,value,unit\n{rows}"));
    let imported = bench.run(&["import", "study.toml", &format!("{name}.csv"), "--out", name]);
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    assert!(bench.run(&["analyze", name]).status.success());
}

fn bench() -> Bench {
    let bench = Bench::new();
    let path = bench.study(&["ok"], "concurrency = [1, 2]\ntrials = 1", "");
    let study = std::fs::read_to_string(&path).unwrap();
    bench.file("study.toml", &format!("{study}{CLAIM}"));
    let around = |middle: f64| (0..12).map(move |n| middle + f64::from(n) * 0.1);
    import_startup_times(&bench, "a", around(100.0));
    import_startup_times(&bench, "same", around(100.1));
    import_startup_times(&bench, "worse", around(110.0));
    bench
}

#[test]
fn gate_fails_beyond_the_margin_and_passes_within_it() {
    let bench = bench();
    let same = bench.run(&["compare", "a", "same", "--margin", "0.02", "--gate"]);
    assert!(same.status.success(), "{}", text(&same.stderr));
    insta::assert_snapshot!(text(&same.stdout));
    let worse = bench.run(&["compare", "a", "worse", "--margin", "0.02", "--gate"]);
    assert_eq!(worse.status.code(), Some(4));
    // The table is printed even if the gate fails.
    assert!(text(&worse.stdout).contains("0 better, 1 worse"), "{}", text(&worse.stdout));
    assert_eq!(text(&worse.stderr), "microbench: regression: 1 metric is worse beyond the 2 % margin\n");
    let better = bench.run(&["compare", "worse", "a", "--margin", "0.02", "--gate"]);
    assert!(better.status.success() && text(&better.stdout).contains("1 better, 0 worse"));
    let undeclared = text(&bench.run(&["compare", "a", "a"]).stdout);
    assert!(undeclared.contains("0 equivalent, 1 inconclusive"), "{undeclared}");
    assert_eq!(
        bench.run(&["compare", "a", "worse", "--gate"]).status.code(),
        Some(2),
        "a gate without a margin must fail"
    );
}

/// Additional metrics: a throughput, a rate, a share, and a count without a better direction.
const METRICS: &str = "bandwidth = { workload = { kind = \"memory-read\", bytes = \"64 KiB\", rounds = 2, value = \
\"throughput\" } }\n\
     requests = { workload = { kind = \"http\", bytes = \"4 KiB\", rounds = 10, value = \"rate\" } }\n\
     vms_completed = {}\nkernel_log_messages = {}\n";

/// A project whose study has additional metrics, with one variant per mode.
fn with_metrics(modes: &[&str], metrics: &str) -> Bench {
    let bench = Bench::new();
    let path = bench.study(modes, "concurrency = [1, 2]\ntrials = 1", "");
    let study = std::fs::read_to_string(&path).unwrap();
    bench.file("study.toml", &study.replace("[figures.startup]", &format!("{metrics}[figures.startup]")));
    bench
}

/// Rows of a table to import: one trial of one VM per value.
fn rows(variant: &str, concurrency: u32, metric: &str, values: &[f64]) -> String {
    let row = |value: &f64| format!("{metric},{variant},{concurrency},{value},\n");
    values.iter().map(row).collect()
}

/// Rows of trials without a value, with this reason.
fn failed(variant: &str, concurrency: u32, metric: &str, reason: &str, trials: usize) -> String {
    format!("{metric},{variant},{concurrency},,{reason}\n").repeat(trials)
}

/// Imports the rows as a run of this name, and analyses it.
fn import_table(bench: &Bench, name: &str, rows: &str) {
    bench.file(&format!("{name}.csv"), &format!("metric,variant,concurrency,value,reason\n{rows}"));
    let imported = bench.run(&["import", "study.toml", &format!("{name}.csv"), "--out", name]);
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    assert!(bench.run(&["analyze", name]).status.success());
}

/// Twelve values from `middle` to 1.1 % above it.
fn around(middle: f64) -> Vec<f64> {
    (0..12).map(|n| middle * (1.0 + f64::from(n) * 0.001)).collect()
}

/// Exit code, standard output and standard error of the gate with these arguments.
fn gate(bench: &Bench, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = bench.run(&[&["compare", "--margin", "0.02", "--gate"], arguments].concat());
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn gate_fails_when_throughput_or_rate_drops_and_passes_when_it_rises() {
    let bench = with_metrics(&["ok"], METRICS);
    for metric in ["bandwidth", "requests"] {
        let run = |name: &str, middle| {
            let name = format!("{metric}-{name}");
            import_table(&bench, &name, &rows("ok", 1, metric, &around(middle)));
            name
        };
        let (base, half, double) = (run("base", 100.0), run("half", 50.0), run("double", 200.0));
        let (code, table, message) = gate(&bench, &[&base, &half]);
        assert_eq!(code, Some(4), "{table}{message}");
        assert!(table.contains("1 compared: 0 better, 1 worse"), "{table}");
        assert_eq!(message, "microbench: regression: 1 metric is worse beyond the 2 % margin\n");
        let (code, table, message) = gate(&bench, &[&base, &double]);
        assert_eq!((code, message.as_str()), (Some(0), ""), "{table}");
        assert!(table.contains("1 compared: 1 better, 0 worse"), "{table}");
        // A plan of an earlier version has no direction: it follows from the source, and in an imported run from the
        // unit.
        for name in [&base, &half] {
            let plan = std::fs::read_to_string(bench.path(&format!("{name}/plan.json"))).unwrap();
            assert!(plan.contains("\"better\""), "{plan}");
            let mut plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
            for metric in plan["metrics"].as_array_mut().unwrap() {
                metric.as_object_mut().unwrap().remove("better");
            }
            bench.file(&format!("{name}/plan.json"), &plan.to_string());
            bench.update_digests(name);
        }
        assert_eq!(gate(&bench, &[&base, &half]).0, Some(4));
        assert_eq!(gate(&bench, &[&half, &base]).0, Some(0));
    }
}

#[test]
fn gate_judges_values_that_fall_to_zero_or_rise_from_it() {
    let bench = with_metrics(&["ok"], METRICS);
    for n in [4, 6] {
        let (ones, zeros) = (format!("ones-{n}"), format!("zeros-{n}"));
        import_table(&bench, &ones, &rows("ok", 1, "vms_completed", &vec![1.0; n]));
        import_table(&bench, &zeros, &rows("ok", 1, "vms_completed", &vec![0.0; n]));
        let (code, table, message) = gate(&bench, &[&ones, &zeros]);
        assert_eq!(code, Some(4), "{table}{message}");
        assert!(table.contains("1 worse"), "{table}");
        let (code, table, message) = gate(&bench, &[&zeros, &ones]);
        assert_eq!(code, Some(0), "{table}{message}");
        assert!(table.contains("+1 (zero width)") && table.contains("1 better"), "{table}");
        let (code, table, message) = gate(&bench, &[&zeros, &zeros]);
        assert_eq!(code, Some(0), "{table}{message}");
        assert!(table.contains("1 equivalent"), "{table}");
        let both = text(&bench.run(&["compare", &zeros, &ones, "--json"]).stdout);
        let both: serde_json::Value = serde_json::from_str(&both).unwrap();
        assert_eq!((&both[0]["ratio"], both[0]["difference"].as_f64()), (&serde_json::Value::Null, Some(1.0)));
    }
}

#[test]
fn a_difference_of_a_metric_without_a_better_direction_passes_the_gate() {
    let bench = with_metrics(&["ok"], METRICS);
    import_table(&bench, "a", &rows("ok", 1, "kernel_log_messages", &around(100.0)));
    import_table(&bench, "b", &rows("ok", 1, "kernel_log_messages", &around(200.0)));
    let (code, table, message) = gate(&bench, &["a", "b"]);
    assert_eq!((code, message.as_str()), (Some(0), ""), "{table}");
    assert!(table.contains("0 better, 0 worse, 0 equivalent, 0 inconclusive, 1 differs"), "{table}");
}

/// 110 messages instead of 100 are beyond the margin of 2 %, but within the floor of 20.
#[test]
fn a_floor_is_named_where_it_decides() {
    let bench = with_metrics(&["ok"], "kernel_log_messages = { gate = { floor = 20 } }\n");
    import_table(&bench, "a", &rows("ok", 1, "kernel_log_messages", &around(100.0)));
    import_table(&bench, "b", &rows("ok", 1, "kernel_log_messages", &around(110.0)));
    let stated = "a difference up to the floor is equivalent: kernel_log_messages 20";
    for format in ["text", "markdown"] {
        let (code, out, message) = gate(&bench, &["a", "b", "--format", format]);
        assert_eq!(code, Some(0), "{out}{message}");
        assert!(out.contains("1 equivalent") && out.replace('\n', " ").contains(stated), "{out}");
    }
    let (_, out, _) = gate(&bench, &["a", "b", "--format", "json"]);
    let out: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(out["rows"][0]["floor"].as_f64(), Some(20.0), "{out}");
}

/// A floor alone is a rule for the gate.
#[test]
fn gate_accepts_a_floor_without_a_margin() {
    let bench = with_metrics(&["ok"], "kernel_log_messages = { better = \"lower\", gate = { floor = 20 } }\n");
    let run = |name: &str, middle| import_table(&bench, name, &rows("ok", 1, "kernel_log_messages", &around(middle)));
    run("base", 100.0);
    run("near", 110.0);
    run("far", 130.0);
    let of = |second| bench.run(&["compare", "base", second, "--gate"]).status.code();
    assert_eq!([of("near"), of("far")], [Some(0), Some(4)]);
}

/// VMs without a value are not a reason to be better.
#[test]
fn rows_with_a_reason_make_no_side_better() {
    let bench = with_metrics(&["ok"], "");
    let metric = "webservice_startup_time";
    import_table(&bench, "base", &rows("ok", 1, metric, &around(100.0)));
    let fast = rows("ok", 1, metric, &around(95.0)[..8]) + &failed("ok", 1, metric, "no response", 4);
    import_table(&bench, "fast", &fast);
    let table = text(&bench.run(&["compare", "base", "fast"]).stdout);
    assert!(table.contains("0 better") && table.contains("1 dropped"), "{table}");
    assert!(table.contains("VMs of B without a value count as the worst in p"), "{table}");
    let sentences = text(
        &bench.run(&["compare", "base", "fast", "--means", "--margin", "0.02", "--gate", "--allow-missing"]).stdout,
    );
    assert!(sentences.contains("1 dropped"), "{sentences}");
}

#[test]
fn direction_in_the_manifest_overrides_the_default() {
    let own = "faults = { reading = \"vmm.minor_faults\", better = \"higher\" }\n";
    let bench = with_metrics(&["ok"], own);
    let plan = text(&bench.run(&["plan", "study.toml"]).stdout);
    assert!(plan.contains("metrics, better when higher: faults\n"), "{plan}");
    import_table(&bench, "a", &rows("ok", 1, "faults", &around(100.0)));
    import_table(&bench, "b", &rows("ok", 1, "faults", &around(200.0)));
    assert_eq!((gate(&bench, &["a", "b"]).0, gate(&bench, &["b", "a"]).0), (Some(0), Some(4)));
}

#[test]
fn gate_fails_when_a_cell_or_a_metric_is_missing_unless_that_is_allowed() {
    let bench = with_metrics(&["ok"], "");
    let startup = |concurrency| rows("ok", concurrency, "webservice_startup_time", &around(100.0));
    let boot = rows("ok", 1, "kernel_boot_time", &around(50.0));
    import_table(&bench, "whole", &[startup(1), startup(2), boot.clone()].concat());
    import_table(&bench, "cell", &[startup(1), boot.clone()].concat());
    import_table(&bench, "metric", &[startup(1), startup(2)].concat());
    import_table(&bench, "slow", &[rows("ok", 1, "webservice_startup_time", &around(150.0)), boot].concat());
    for (sides, said, row) in [
        (["whole", "cell"], "1 cell is missing in B", "every metric of ok/2: B: the plan has no cell ok/2"),
        (["cell", "whole"], "1 cell is missing in A", "every metric of ok/2: A: the plan has no cell ok/2"),
        (["whole", "metric"], "1 metric is missing in B", "B: 12 of 12 VMs not-available: not in the imported table"),
        (["metric", "whole"], "1 metric is missing in A", "A: 12 of 12 VMs not-available: not in the imported table"),
    ] {
        let (code, table, message) = gate(&bench, &sides);
        assert_eq!(code, Some(4), "{table}{message}");
        assert!(message.contains(&format!("the gate does not pass: {said} (`--allow-missing`")), "{message}");
        assert!(table.contains(row) && table.contains(", 1 missing (A test)"), "{table}");
        let (code, table, message) = gate(&bench, &[&sides[..], &["--allow-missing"]].concat());
        assert_eq!((code, message.as_str()), (Some(0), ""), "{table}");
    }
    // Cells and metrics of both sides are still compared.
    let (code, _, message) = gate(&bench, &["whole", "slow"]);
    assert_eq!(code, Some(4));
    let both = "microbench: regression: 1 metric is worse beyond the 2 % margin; 1 cell is missing in B\n";
    assert_eq!(message, both);
    assert_eq!(gate(&bench, &["whole", "slow", "--allow-missing"]).0, Some(4));
    assert_eq!(
        bench.run(&["compare", "whole", "cell", "--allow-missing"]).status.code(),
        Some(2),
        "--allow-missing without --gate must fail"
    );
    insta::assert_snapshot!("missing", text(&bench.run(&["compare", "whole", "slow", "--margin", "0.02"]).stdout));
}

#[test]
fn gate_fails_when_every_vm_of_a_cell_crashed() {
    let bench = with_metrics(&["ok"], "");
    let startup = |concurrency, middle| rows("ok", concurrency, "webservice_startup_time", &around(middle));
    let crashed = failed("ok", 2, "webservice_startup_time", "the VMM died", 1);
    import_table(&bench, "a", &[startup(1, 100.0), startup(2, 100.0)].concat());
    import_table(&bench, "b", &[startup(1, 100.0), crashed.clone()].concat());
    let (code, table_of, message) = gate(&bench, &["a", "b"]);
    assert_eq!(code, Some(4), "{table_of}{message}");
    assert!(table_of.contains("every metric of ok/2: B: 1 of 1 VMs not-available: the VMM died"), "{table_of}");
    assert_eq!(gate(&bench, &["a", "b", "--allow-missing"]).0, Some(0));
    let json = text(&bench.run(&["compare", "a", "b", "--json"]).stdout);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let row = json.as_array().unwrap().iter().find(|row| row["cell"] == "ok/2").unwrap();
    assert_eq!(row["verdict"], "missing");
    assert_eq!(row["missing"], serde_json::json!({ "what": "cell", "side": "b", "planned": true }));
    assert!(row["remark"].as_str().unwrap().contains("the VMM died"), "{row}");
    // If all VMs crashed on both sides, the cell has a row and is not a regression.
    let (code, table_of, message) = gate(&bench, &["b", "b"]);
    assert_eq!((code, message.as_str()), (Some(0), ""), "{table_of}");
    assert!(table_of.contains("A: 1 of 1 VMs not-available: the VMM died; B: 1 of 1"), "{table_of}");
    // If no cell has a value on both sides, the gate cannot decide.
    import_table(&bench, "none", &crashed);
    assert_eq!(gate(&bench, &["none", "none"]).0, Some(1));
    assert_eq!(gate(&bench, &["a", "none"]).0, Some(4));
}

#[test]
fn metric_not_applicable_on_both_sides_has_no_row() {
    let bench = with_metrics(&["ok"], "");
    let startup = rows("ok", 1, "webservice_startup_time", &around(100.0));
    let without = failed("ok", 1, "kernel_boot_time", "not applicable: the guest has no kernel of its own", 12);
    import_table(&bench, "a", &[startup, without].concat());
    let (code, table, message) = gate(&bench, &["a", "a"]);
    assert_eq!((code, message.as_str()), (Some(0), ""), "{table}");
    assert!(!table.contains("kernel_boot_time"), "{table}");
}

#[test]
fn gate_fails_when_a_level_of_a_variant_is_missing() {
    let bench = with_metrics(&["ok", "late"], "");
    let startup = |variant, concurrency| rows(variant, concurrency, "webservice_startup_time", &around(100.0));
    import_table(&bench, "late", &[startup("ok", 1), startup("ok", 2), startup("late", 1)].concat());
    let (code, table_of, message) = gate(&bench, &["late"]);
    assert_eq!(code, Some(4), "{table_of}{message}");
    assert!(
        message.contains("1 cell is missing in B") && table_of.contains("B: the plan has no cell late/2"),
        "{table_of}"
    );
    let (code, table_of, message) = gate(&bench, &["late", "--baseline", "late"]);
    assert_eq!(code, Some(4), "{table_of}{message}");
    assert!(
        message.contains("1 cell is missing in A") && table_of.contains("A: the plan has no cell late/2"),
        "{table_of}"
    );
    assert_eq!(gate(&bench, &["late", "--allow-missing"]).0, Some(0));
}

#[test]
fn gate_fails_when_a_smaller_share_of_vms_completed() {
    let bench = with_metrics(&["ok"], "");
    let startup = rows("ok", 1, "webservice_startup_time", &around(100.0));
    import_table(&bench, "a", &startup);
    import_table(&bench, "b", &[startup, failed("ok", 1, "webservice_startup_time", "the VMM died", 3)].concat());
    let (code, table, message) = gate(&bench, &["a", "b"]);
    assert_eq!(code, Some(4), "{table}{message}");
    assert_eq!(message, "microbench: regression: 1 cell completes a smaller share of its VMs in B\n");
    assert!(table.contains("1 equivalent, 0 inconclusive, 1 dropped"), "{table}");
    assert!(table.contains("VMs completed of ok/1: B: the VMM died"), "{table}");
    insta::assert_snapshot!("dropped", table);
    assert_eq!(gate(&bench, &["a", "b", "--allow-missing"]).0, Some(4), "--allow-missing must not allow dropped VMs");
    assert_eq!(gate(&bench, &["b", "a"]).0, Some(0));
}

#[test]
fn gate_fails_when_a_smaller_share_of_vms_gives_a_value() {
    let bench = with_metrics(&["ok"], "");
    let startup = rows("ok", 1, "webservice_startup_time", &around(100.0));
    let of = |values: &str| [startup.as_str(), values].concat();
    import_table(&bench, "a", &of(&rows("ok", 1, "shutdown_time", &around(50.0))));
    let few = rows("ok", 1, "shutdown_time", &around(50.0)[..2]);
    import_table(&bench, "b", &of(&[few, failed("ok", 1, "shutdown_time", "the guest did not stop", 10)].concat()));
    let (code, table, message) = gate(&bench, &["a", "b"]);
    assert_eq!(code, Some(4), "{table}{message}");
    assert_eq!(message, "microbench: regression: 1 metric has values of a smaller share of VMs in B\n");
    assert!(
        table.contains("12 of 12") && table.contains("2 of 12") && table.contains("the guest did not stop"),
        "{table}"
    );
    assert_eq!(gate(&bench, &["b", "a"]).0, Some(0));
}

#[test]
fn gate_fails_when_a_variant_crashes_or_fails_at_times() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok", "crash"], "concurrency = [1]\ntrials = 6\nwarmup = false", "");
    bench.run_study();
    assert!(bench.run(&["analyze", "run"]).status.success());
    let (code, table, message) = gate(&bench, &["run"]);
    assert_eq!(code, Some(4), "{table}{message}");
    assert!(table.contains("crash/1  every metric") && table.contains("VMs failed: "), "{table}");
    assert!(message.contains("1 cell is missing in B"), "{message}");
    // Without the crashed variant nothing is left to compare.
    assert_eq!(gate(&bench, &["run", "--allow-missing"]).0, Some(1));

    let bench = Bench::new();
    bench.study(&["ok", "two-at-most"], "concurrency = [3]\ntrials = 6\nwarmup = false", "");
    bench.run_study();
    assert!(bench.run(&["analyze", "run"]).status.success());
    let (code, table, message) = gate(&bench, &["run"]);
    assert_eq!(code, Some(4), "{table}{message}");
    assert!(message.contains("1 cell completes a smaller share of its VMs in B"), "{message}");
    let json = text(&bench.run(&["compare", "run", "--json"]).stdout);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let dropped = json.as_array().unwrap().iter().find(|row| row["verdict"] == "dropped").unwrap();
    let count = |side: usize, of: &str| dropped["completed"][side][of].as_u64().unwrap();
    assert_eq!(count(0, "completed"), count(0, "of"), "{dropped}");
    assert_eq!(count(1, "completed") * 3, count(1, "of") * 2, "{dropped}");
}

#[test]
fn gate_reports_no_decision_and_fails_without_common_cells() {
    let bench = with_metrics(&["ok"], "");
    import_table(&bench, "few", &rows("ok", 1, "webservice_startup_time", &[100.0, 101.0]));
    import_table(&bench, "other", &rows("ok", 2, "webservice_startup_time", &[100.0, 101.0]));
    let (code, _, message) = gate(&bench, &["few", "few"]);
    let undecided = "microbench: the gate passes, but nothing is decided: the only comparison is inconclusive; more \
    trials make the \
                     intervals narrower\n";
    assert_eq!((code, message.as_str()), (Some(0), undecided));
    let (code, table, message) = gate(&bench, &["few", "other"]);
    assert_eq!((code, table.as_str()), (Some(1), ""), "{message}");
    assert!(message.contains("MB5005") && message.contains("have no cell and metric in common"), "{message}");
}

#[test]
fn verify_succeeds_when_every_claim_has_the_same_verdict() {
    let bench = bench();
    assert!(bench.run(&["verify", "same", "--against", "a"]).status.success());
    let worse = bench.run(&["verify", "worse", "--against", "a"]);
    assert_eq!(worse.status.code(), Some(1));
    insta::assert_snapshot!(text(&worse.stdout));
}

#[test]
fn noise_floor_test_of_a_cell_finds_no_difference() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok", "late"], "concurrency = [1, 2]\ntrials = 1", "");
    let arguments = ["selftest", "noise-floor", "study.toml", "--cell", "late/1", "--host", "fake", "--out", "aa"];
    // A wide margin, so that load on this machine cannot make a difference.
    let output = bench.run(&[&arguments[..], &["--repetitions", "2", "--blocks", "5", "--margin", "0.99"]].concat());
    let table = text(&output.stdout);
    assert!(table.contains("A/A test of late: each repetition has 5 trials under each label"), "{table}");
    // The fake guest reports a constant kernel boot time, independent of load on this machine.
    let row = |metric: &str| {
        let row = table.lines().find(|line| line.starts_with(metric)).unwrap_or_else(|| panic!("{table}"));
        row.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("kernel_boot_time"), ["2", "0", "%", "0", "%", "0", "0", "0", "2", "0"]);
    assert_eq!(row("webservice_startup_time")[0], "2");
    // Two labels, two repetitions of five trials, and one warm-up.
    assert_eq!(microbench_plots::journal::read(&bench.path("aa/journal.ndjson")).unwrap().executions.len(), 21);
    // Every later run on this host reports the noise floor.
    bench.run_study();
    let analyzed = text(&bench.run(&["analyze", "run"]).stdout);
    let line = "noise floor of this host (A/A test of late of test, largest of 2 comparisons of 5 trials):";
    assert!(analyzed.contains(line), "{analyzed}");
    let unknown = bench.run(&["selftest", "noise-floor", "study.toml", "--cell", "none/1", "--host", "fake"]);
    assert!(text(&unknown.stderr).contains("it has ok/1, ok/2, late/1, late/2"), "{}", text(&unknown.stderr));
}

/// Cells of a table can have different numbers of trials, also on both sides.
#[test]
fn trials_that_an_imported_table_does_not_have_are_not_failures() {
    let bench = with_metrics(&["ok", "late"], METRICS);
    let table = |name: &str, trials: usize, failures: usize| {
        let first = rows("ok", 1, "webservice_startup_time", &around(100.0)[..trials]);
        let failed = failed("ok", 1, "webservice_startup_time", "timed out", failures);
        let second = rows("late", 1, "webservice_startup_time", &around(110.0));
        import_table(&bench, name, &format!("{first}{failed}{second}"));
    };
    table("twelve", 12, 0);
    table("eight", 8, 0);
    let (code, out, message) = gate(&bench, &["twelve", "eight"]);
    assert_eq!((code, message.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("2 compared: 0 better, 0 worse, 2 equivalent"), "{out}");
    // The test of failures counts the 12 and 10 trials of the table: Fisher's exact p of 0 in 12 and 2 in 10.
    table("failing", 8, 2);
    let json = text(&bench.run(&["compare", "twelve", "failing", "--margin", "0.02", "--format", "json"]).stdout);
    let found: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    let dropped = found.iter().find(|row| row["verdict"] == "dropped").unwrap();
    assert!((dropped["p"].as_f64().unwrap() - 45.0 / 231.0).abs() < 1e-9, "{dropped}");
}
