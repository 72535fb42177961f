//! Terminal output of results: tree, sentences, hints.

use microbench_formats::direction::Better;
use microbench_formats::metric::MetricSource;
use microbench_formats::record::{ProbeError, Record};
use microbench_formats::terminal::OutputWidth;
use microbench_plots::sentence::{Finding, Sentence, sentences};
use microbench_plots::summary::results;
use microbench_plots::uncertainty::Component;
use microbench_plots::{analyze, hint, report, sentence, summary, uncertainty};

use crate::support::Run;

#[test]
fn results_tree_fits_the_terminal_width() {
    let run = Run::new(10, Vec::new());
    let analysis = analyze(run.folder()).unwrap();
    let of = |width| results::render_tree(&analysis.plan, &analysis.summary, width);
    insta::assert_snapshot!("tree", of(OutputWidth::ANY));
    for columns in [40, 60, 80] {
        let text = of(OutputWidth::from_columns(columns));
        assert!(text.lines().all(|line| line.chars().count() <= columns), "{columns}:\n{text}");
        // Missing values are reported at every width, without values.
        assert!(text.contains("t2: no value (10 VMs"), "{columns}:\n{text}");
        assert_eq!(text.contains("omitted to fit"), columns < 80, "{columns}:\n{text}");
    }
    insta::assert_snapshot!("tree of 40 columns", of(OutputWidth::from_columns(40)));
}

#[test]
fn detail_shows_quantiles_and_the_mean_at_every_width() {
    let run = Run::new(30, Vec::new());
    let analysis = analyze(run.folder()).unwrap();
    let of = |width| summary::render_detail(&analysis.summary, 1, width);
    let wide = of(OutputWidth::ANY);
    let header = wide.lines().find(|line| line.starts_with("cell ")).unwrap();
    assert!(
        header.contains(" p99 ") && header.contains(" mean, 95 % interval ") && header.ends_with("lag 1"),
        "{wide}"
    );
    for columns in [40, 60, 80] {
        let text = of(OutputWidth::from_columns(columns));
        assert!(text.lines().all(|line| line.chars().count() <= columns), "{columns}:\n{text}");
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        // One line for each of the four cells with values, and each of the two metrics; two cells have ten VMs at once.
        assert_eq!(words.matches("; p95 n too small (< 59); p99 n too small (< 299); mean, 95 %").count(), 4, "{text}");
        assert_eq!(words.matches("; p95 n too small (< 72); p99 n too small (< 368); mean, 95 %").count(), 4, "{text}");
        assert!(words.contains("fc/1, kernel_boot_time (ms): p90 "), "{columns}:\n{text}");
        assert!(columns < 80 || !text.contains("omitted to fit"), "{columns}:\n{text}");
    }
}

#[test]
fn sentences_compare_variants_only_with_an_interval() {
    let of = |trials| {
        let run = Run::new(trials, Vec::new());
        let analysis = analyze(run.folder()).unwrap();
        sentences(&analysis.plan, &analysis.summary)
    };
    let said = of(10);
    assert!(said.iter().all(|sentence| sentence.finding == Finding::Differs), "{said:?}");
    insta::assert_snapshot!("sentences", sentence::render(&said, "RUN", OutputWidth::ANY));
    let withheld = of(2);
    assert!(withheld.iter().all(|sentence| sentence.finding == Finding::Withheld), "{withheld:?}");
    insta::assert_snapshot!("sentences withheld", sentence::render(&withheld, "RUN", OutputWidth::ANY));
    let too_small = "but n is too small for this family of tests";
    let few = of(4);
    let undecided = |one: &Sentence| one.finding == Finding::NoDifferenceShown && one.text.contains(too_small);
    assert!(few.iter().all(undecided), "{few:?}");
}

#[test]
fn only_times_are_faster_or_slower_and_other_metrics_better_or_worse() {
    let mut run = Run::new(10, Vec::new());
    let text = |run: &Run| {
        run.write_plan();
        let analysis = analyze(run.folder()).unwrap();
        sentences(&analysis.plan, &analysis.summary).remove(0).text
    };
    for (better, end) in [
        (Better::Higher, " times QEMU host CPU's, which is worse, one VM at a time"),
        (Better::Lower, " times QEMU host CPU's, which is better, one VM at a time"),
        (Better::Neither, " times QEMU host CPU's, one VM at a time"),
    ] {
        run.plan.metrics[0].unit = "MB/s".into();
        run.plan.metrics[0].better = Some(better);
        let said = text(&run);
        assert!(said.starts_with("Firecracker's value of kernel boot is 0.56") && said.contains(end), "{said}");
        assert!(!said.contains("fast"), "{said}");
    }
}

#[test]
fn equal_values_show_no_difference() {
    let mut run = Run::new(8, Vec::new());
    run.plan.metrics.truncate(1);
    run.write_plan();
    // The variants have the same values in alternating blocks.
    let records: Vec<_> = (run.records().into_iter())
        .map(|record| match record {
            Record::Reading { vm, name, value, unit, reason } => {
                let value = value.map(|value| (value / 1e6 % 10.0 + 100.0) * 1e6);
                Record::Reading { vm, name, value, unit, reason }
            }
            other => other,
        })
        .collect();
    run.write_journal(&records);
    let analysis = analyze(run.folder()).unwrap();
    let said = sentences(&analysis.plan, &analysis.summary);
    assert!(!said.is_empty() && said.iter().all(|one| one.finding == Finding::NoDifferenceShown), "{said:?}");
    assert!(
        said[0].text.starts_with("no difference shown in kernel boot of Firecracker and QEMU host CPU"),
        "{}",
        said[0].text
    );
}

#[test]
fn hints_state_a_problem_and_a_remedy() {
    let run = Run::new(3, Vec::new());
    let analysis = analyze(run.folder()).unwrap();
    let few = hint::hints(&analysis.plan, &analysis.summary, &analysis.journal, &analysis.kernels);
    insta::assert_snapshot!("hints", hint::render(&few, "RUN", None, OutputWidth::ANY));
    // The values of the fixture grow from block to block, which is a drift if there are enough trials.
    let run = Run::new(12, Vec::new());
    let analysis = analyze(run.folder()).unwrap();
    let drifting = hint::hints(&analysis.plan, &analysis.summary, &analysis.journal, &analysis.kernels);
    assert!(
        drifting.iter().any(|hint| matches!(hint, hint::Hint::Drift { places } if places.len() == 8)),
        "{drifting:?}"
    );
    assert!(!drifting.iter().any(|hint| matches!(hint, hint::Hint::TooFewTrials { .. })), "{drifting:?}");
}

/// A complete run in which the start-ups of `fc/1` are 4 ms apart, with readings of the runner and the probe.
pub(crate) fn run_with_ticks(trials: u32) -> Run {
    let mut run = Run::new(trials, Vec::new());
    run.plan.metrics[1].source = MetricSource::Span { from: "spawn".into(), to: "http.ok".into() };
    run.write_plan();
    let mut records = vec![Run::start()];
    let (n, median_ms, p99_ms, max_ms, cpu_ms) = (20, 0.05, 0.2, 0.2, 0.1);
    records.push(Record::Probe(ProbeError { n, median_ms, p99_ms, max_ms, cpu_ms }));
    for trial in &run.plan.trials {
        let mut of_trial = run.trial(trial, 0, false);
        let end = of_trial.pop().unwrap();
        let startup = 89_000_000 + 4_000_000 * u64::from(trial.block % 2) + u64::from(trial.index) * 1000;
        if trial.cell == "fc/1" {
            for (name, t_ns) in [("spawn", 1_000), ("http.ok", 1_000 + startup)] {
                of_trial.push(Record::Event { vm: 0, name: name.into(), t_ns });
            }
            for (name, value) in [
                ("runner.startup_cpu_time", 1_140_000.0),
                ("runner.window_cpu_time", 6_500_000.0),
                ("probe.after_console_mark", 120_000.0),
            ] {
                let (name, unit) = (name.into(), "ns".into());
                of_trial.push(Record::Reading { vm: 0, name, value: Some(value), unit, reason: String::new() });
            }
        }
        records.extend(of_trial.into_iter().chain([end]));
    }
    run.write_journal(&records);
    run
}

#[test]
fn uncertainty_has_a_value_or_a_reason_for_each_component() {
    let run = run_with_ticks(6);
    std::fs::write(run.path("host.json"), r#"{"artifacts": [{"name": "microvm-6.1", "config_hz": 250}]}"#).unwrap();
    let analysis = analyze(run.folder()).unwrap();
    let budget = |cell: &str, metric: &str| {
        analysis.uncertainty.iter().find(|budget| budget.cell == cell && budget.metric == metric).unwrap()
    };
    let startup = budget("fc/1", "webservice_startup_time");
    let values = Component::ALL.iter().map(|component| startup.value(*component).map(|value| format!("{value:.1}")));
    let values: Vec<_> = values.collect();
    let known = |text: &str| Some(text.to_owned());
    assert_eq!(values, [known("2.0"), known("0.2"), known("0.1"), known("4.0"), known("1.1"), None]);
    // A run of an earlier version has no CPU time of the runner in the window; the other cells have no events.
    let boot = budget("qemu/1", "kernel_boot_time");
    let reasons: Vec<&str> = boot.entries.iter().map(|entry| entry.value.reason()).collect();
    assert!(reasons[4].contains("no reading `runner.startup_cpu_time`"), "{reasons:?}");
    assert_eq!(boot.value(Component::Tick), Some(4.0), "CONFIG_HZ of the kernel is not used");
    assert!(analysis.uncertainty.iter().all(|budget| !budget.cell.starts_with("t2")), "a cell without values");

    let table = run.read("uncertainty.csv");
    assert_eq!(table.lines().next(), Some("cell,metric,component,kind,value,unit,definition,source,reason"));
    assert_eq!(table.lines().count(), 1 + 6 * analysis.uncertainty.len());
    let text = uncertainty::render(&analysis.uncertainty, OutputWidth::ANY);
    assert!(text.contains("webservice_startup_time: tick, at most 4.00 ms in fc/1"), "{text}");
    let page = std::fs::read_to_string(report::save(run.folder()).unwrap()).unwrap();
    let section = page.split("id=\"uncertainty-h\"").nth(1).unwrap().split("</section>").next().unwrap();
    assert!(section.contains("Values lie one tick of a kernel apart: webservice_startup_time of fc/1 (4.01 ms apart"));
    assert!(section.contains("<dt>No between runs</dt><dd>one run;"), "{section}");
    let missing = section.split("<dt>No ").skip(1).map(|fact| fact.split("</dd>").next().unwrap());
    assert!(missing.clone().count() > 1 && !missing.clone().any(|fact| fact.contains('`')), "{section}");
}

#[test]
fn values_a_tick_apart_are_a_hint_of_their_own() {
    let run = run_with_ticks(12);
    let analysis = analyze(run.folder()).unwrap();
    let hints = hint::hints(&analysis.plan, &analysis.summary, &analysis.journal, &analysis.kernels);
    let ticks = hints.iter().find(|hint| matches!(hint, hint::Hint::Ticks { .. })).unwrap();
    assert_eq!(
        ticks.message(),
        "values lie one tick of a kernel apart: webservice_startup_time of fc/1 (4.01 ms apart, 6 and 6 values: \
         CONFIG_HZ=250)"
    );
    assert!(ticks.advice("RUN", None).contains("docs/explanation/virtual-time.md"));
    assert!(!hints.iter().any(|hint| matches!(hint, hint::Hint::TwoGroups { .. })), "{hints:?}");
}
