//! Verdicts of claims from limits and intervals.

use microbench_formats::axis::Level;
use microbench_formats::claim::{Claim, Clock, Comparison, Side, Subject};
use microbench_formats::figure::{Figure, FigureForm};
use microbench_formats::record::{CENSORED, FailureReason, Record};
use microbench_formats::statistic::Statistic;
use microbench_formats::terminal::OutputWidth;
use microbench_plots::claim::{ClaimGate, Outcome, render};
use microbench_plots::figure::description::Chart;
use microbench_plots::figure::{Data, describe};
use microbench_plots::{Analysis, analyze, journal, plot, report, samples, table};

use crate::support::{Run, bar, claim, figure, selection, text};

fn side(variant: &str, concurrency: i64) -> Side {
    let of = selection(&[("variant", vec![text(variant)]), ("concurrency", vec![Level::Int(concurrency)])]);
    Side { metric: "kernel_boot_time".into(), of }
}

/// The claim with limits that hold on any clock.
fn anywhere(claim: Claim) -> Claim {
    Claim { clock: Some(Clock::Any), ..claim }
}

fn difference() -> Comparison {
    Comparison::Difference(side("qemu", 1), side("fc", 1))
}

fn judged(trials: u32, claims: Vec<Claim>) -> (Run, Analysis) {
    let mut run = Run::new(trials, Vec::new());
    run.plan.claims = claims;
    run.write_plan();
    let analysis = analyze(run.folder()).unwrap();
    (run, analysis)
}

/// The fixture has 110 to 116 ms for `qemu` and 60 to 66 ms for `fc` over seven trials: ratio 113 / 63 = 1.794.
#[test]
fn the_interval_decides_the_verdict() {
    let ratio = || Some(Comparison::Ratio(side("qemu", 1), side("fc", 1)));
    let (run, analysis) = judged(
        7,
        vec![
            claim("more", ratio(), Some(1.0), None),
            claim("less", ratio(), None, Some(1.0)),
            claim("just", ratio(), Some(1.794), None),
            anywhere(claim("value", Some(Comparison::Value(side("fc", 1))), Some(50.0), Some(70.0))),
            anywhere(claim("difference", Some(difference()), Some(40.0), Some(60.0))),
            claim("wall", Some(difference()), Some(40.0), Some(60.0)),
            claim("not-here", Some(Comparison::Ratio(side("t2", 1), side("fc", 1))), Some(1.0), None),
            claim("unmeasured", None, None, None),
        ],
    );
    let outcomes: Vec<_> = analysis.verdicts.iter().map(|verdict| verdict.outcome).collect();
    use Outcome::{Contradicted, Holds, Inconclusive, NotComparable, NotMeasured};
    assert_eq!(outcomes, [Holds, Contradicted, Inconclusive, Holds, Holds, NotComparable, NotMeasured, NotMeasured]);
    let value = analysis.verdicts[0].value.unwrap();
    assert!((value - 113.0 / 63.0).abs() < 1e-12, "{value}");
    assert_eq!(analysis.verdicts[0].n, [7, 7]);
    // Both sides vary together, which the interval of the difference ignores; the limits are far enough apart.
    assert!((analysis.verdicts[4].value.unwrap() - 50.0).abs() < 1e-9);
    assert!(analysis.verdicts[6].remark.contains("no such template here"), "{}", analysis.verdicts[6].remark);
    assert_eq!(analysis.verdicts[7].remark, "not measurable");
    // Every output has the same words.
    plot(run.folder(), None).unwrap();
    report::save(run.folder()).unwrap();
    table::save(run.folder()).unwrap();
    for file in ["claims.md", "claims.csv", "tables/claims.md", "tables/claims.tex", "report.html"] {
        let text = run.read(file);
        for verdict in [Holds, Contradicted, Inconclusive, NotComparable, NotMeasured] {
            assert!(text.contains(&verdict.to_string()), "{file} has no {verdict}");
        }
    }
    assert!(run.read("claims.md").contains("virtual time"), "the host kind is missing");
    insta::assert_snapshot!(render(&analysis.verdicts, OutputWidth::ANY));
}

#[test]
fn a_claim_with_one_trial_is_inconclusive() {
    let ratio = Some(Comparison::Ratio(side("qemu", 10), side("fc", 10)));
    let (_, analysis) = judged(1, vec![claim("more", ratio, Some(1.0), None)]);
    let verdict = &analysis.verdicts[0];
    assert_eq!((verdict.outcome, verdict.interval), (Outcome::Inconclusive, None));
    assert_eq!(verdict.remark, "the interval of a median needs 6 trials of each cell; the smallest cell has 1");
}

#[test]
fn a_cell_that_is_not_applicable_is_left_out_and_named_in_the_remark() {
    let both = Side {
        metric: "kernel_boot_time".into(),
        of: selection(&[("engine", vec![text("firecracker")]), ("concurrency", vec![Level::Int(1)])]),
    };
    let (_, analysis) = judged(7, vec![anywhere(claim("value", Some(Comparison::Value(both)), Some(50.0), None))]);
    let verdict = &analysis.verdicts[0];
    assert_eq!((verdict.outcome, verdict.n.as_slice()), (Outcome::Holds, &[7][..]));
    assert!(verdict.remark.starts_with("without t2/1 ("), "{}", verdict.remark);
}

/// The verdicts of a run in which VMs have lost their value: for each of `lost` a cell, its number of first trials, and
/// whether the VMs are censored or failed.
fn judged_with_losses(trials: u32, lost: &[(&str, u32, bool)], claims: Vec<Claim>) -> (Run, Analysis) {
    let mut run = Run::new(trials, Vec::new());
    run.plan.claims = claims;
    run.write_plan();
    let mut records = Vec::new();
    let (mut cell_now, mut failed): (String, Option<bool>) = (String::new(), None);
    for record in run.records() {
        if let Record::TrialStart { trial, cell, .. } = &record {
            let block = run.plan.trials[*trial as usize].block;
            let loss = lost.iter().find(|(name, first, _)| *name == cell.as_str() && block < *first);
            (cell_now, failed) = (cell.clone(), loss.map(|(_, _, censored)| !censored));
        }
        match (record, failed) {
            (Record::Reading { vm, name, unit, .. }, Some(false)) => {
                let reason = format!("{CENSORED}larger than 60000 ms");
                records.push(Record::Reading { vm, name, value: None, unit, reason });
            }
            (Record::Reading { vm, name, .. }, Some(true)) => {
                if name == "kernel.init" {
                    let (reason, stage) = (FailureReason::Exited, "kernel".to_owned());
                    records.push(Record::Failure { vm, reason, stage, message: format!("{cell_now} exited") });
                }
            }
            (record, _) => records.push(record),
        }
    }
    run.write_journal(&records);
    let analysis = analyze(run.folder()).unwrap();
    (run, analysis)
}

fn ratio() -> Option<Comparison> {
    Some(Comparison::Ratio(side("qemu", 1), side("fc", 1)))
}

/// 6 of 10 VMs of `qemu` are censored, so its median is. The others take 116 to 119 ms, and `fc` 60 to 69 ms: the ratio
/// is at least 1.8.
#[test]
fn a_bound_of_a_censored_median_decides_a_claim() {
    let upper = |name: &str, most| claim(name, ratio(), None, Some(most));
    let claims = vec![
        claim("slower", ratio(), Some(1.2), None),
        upper("faster", 1.0),
        claim("much", ratio(), Some(5.0), None),
        anywhere(claim("value", Some(Comparison::Value(side("qemu", 1))), None, Some(100.0))),
        claim("inverse", Some(Comparison::Ratio(side("fc", 1), side("qemu", 1))), None, Some(0.9)),
    ];
    let (run, analysis) = judged_with_losses(10, &[("qemu/1", 6, true)], claims);
    use Outcome::{Contradicted, Holds, Inconclusive};
    let outcomes: Vec<_> = analysis.verdicts.iter().map(|verdict| verdict.outcome).collect();
    assert_eq!(outcomes, [Holds, Contradicted, Inconclusive, Contradicted, Holds]);
    let first = &analysis.verdicts[0];
    assert_eq!((first.value, first.n.as_slice()), (None, &[10, 10][..]));
    assert!(first.measured().starts_with("ratio at least 1.8"), "{}", first.measured());
    assert!(first.remark.contains("the median of qemu/1 is censored, so the result is a bound"), "{}", first.remark);
    assert!(first.remark.contains("qemu/1: 6 censored of 10 VMs"), "{}", first.remark);
    // A reader of the table cannot take a bound for a value.
    let csv = run.read("claims.csv");
    let mut rows = csv::Reader::from_reader(csv.as_bytes());
    let header = rows.headers().unwrap().clone();
    let at =
        |row: &csv::StringRecord, name: &str| row[header.iter().position(|column| column == name).unwrap()].to_owned();
    let rows: Vec<csv::StringRecord> = rows.records().map(Result::unwrap).collect();
    assert_eq!(
        (at(&rows[0], "value"), at(&rows[0], "high"), at(&rows[0], "bound")),
        ("".into(), "".into(), "at least".into())
    );
    assert!(at(&rows[0], "low").parse::<f64>().is_ok_and(f64::is_finite));
    assert_eq!((at(&rows[4], "value"), at(&rows[4], "bound")), ("".into(), "at most".into()));
    assert!(analysis.verdicts[4].measured().starts_with("ratio at most 0."), "{}", analysis.verdicts[4].measured());
    assert!(!csv.contains("inf"), "{csv}");
}

/// 4 of 9 VMs are censored: the median is known, the upper end of its interval is not.
#[test]
fn a_caption_states_that_a_censored_end_leaves_no_interval() {
    let (run, analysis) = judged_with_losses(9, &[("qemu/1", 4, true)], Vec::new());
    let samples = samples::samples(&run.plan, &journal::read(&run.path("journal.ndjson")).unwrap());
    let qemu = bar("QEMU", "qemu", &[("variant", vec![text("qemu")]), ("concurrency", vec![Level::Int(1)])]);
    let figure = Figure { bars: vec![qemu], ..figure("boot", FigureForm::Bars, &["kernel_boot_time"]) };
    let data = Data { plan: &run.plan, rows: &analysis.summary, samples: &samples };
    let caption = describe(data, &figure).unwrap().remove(0).caption;
    assert!(caption.contains("; no interval: its upper end is censored; points: single trials"), "{caption}");
}

/// 10 trials are too few for an interval of the 99th percentile, but all exceed the limit.
#[test]
fn a_percentile_of_few_trials_can_be_contradicted() {
    let of = |limit, lost: &[(&str, u32, bool)]| {
        let value = Some(Comparison::Value(side("fc", 1)));
        let claim = Claim { statistic: Statistic::P99, ..anywhere(claim("p99", value, None, Some(limit))) };
        judged_with_losses(10, lost, vec![claim]).1.verdicts[0].clone()
    };
    // The values are 60 to 69 ms.
    let verdict = of(50.0, &[]);
    assert_eq!(verdict.outcome, Outcome::Contradicted, "{}", verdict.remark);
    assert!(verdict.measured().starts_with("at least 68"), "{}", verdict.measured());
    assert_eq!(of(500.0, &[]).outcome, Outcome::Inconclusive);
    assert_eq!(of(500.0, &[("fc/1", 10, true)]).outcome, Outcome::Contradicted);
    assert_eq!(of(50.0, &[("fc/1", 10, false)]).outcome, Outcome::NotMeasured);
}

#[test]
fn a_forest_plot_has_a_row_for_each_ratio() {
    let claims = vec![
        claim("slower", ratio(), Some(1.2), None),
        claim("faster", ratio(), None, Some(1.0)),
        anywhere(claim("value", Some(Comparison::Value(side("qemu", 1))), None, Some(100.0))),
        claim("said", None, None, None),
    ];
    let (run, analysis) = judged(7, claims);
    let samples = samples::samples(&run.plan, &journal::read(&run.path("journal.ndjson")).unwrap());
    let figure = figure("claims", FigureForm::Forest, &[]);
    let description =
        describe(Data { plan: &run.plan, rows: &analysis.summary, samples: &samples }, &figure).unwrap().remove(0);
    let Chart::Forest(forest) = &description.chart else { panic!("{:?}", description.chart) };
    let rows: Vec<_> = forest.rows.iter().map(|row| (row.outcome, row.limits, row.published)).collect();
    assert_eq!(
        rows,
        [(Outcome::Holds, (Some(1.2), None), Some(1.18)), (Outcome::Contradicted, (None, Some(1.0)), Some(1.18)),]
    );
    assert_eq!(forest.rows[0].value, analysis.verdicts[0].value);
    let low = analysis.verdicts[0].interval.unwrap().0.low;
    assert!(forest.rows[0].interval.is_some_and(|(own, _)| (own - low).abs() < 1e-12));
    assert!(description.caption.contains("n = 7 trials of each side. Host: emulated host"), "{}", description.caption);
}

/// 2 of 10 VMs failed. Their values could be anything, so that the 99 ms of the others decide no upper limit.
#[test]
fn vms_without_a_value_leave_a_claim_open_and_fail_its_gate() {
    let claims = vec![
        Claim { gate: true, ..anywhere(claim("median", Some(Comparison::Value(side("qemu", 1))), None, Some(200.0))) },
        claim("ratio", ratio(), Some(1.2), None),
        anywhere(claim("far", Some(Comparison::Value(side("qemu", 1))), Some(20.0), None)),
    ];
    let (_, analysis) = judged_with_losses(10, &[("qemu/1", 2, false)], claims.clone());
    let outcomes: Vec<_> = analysis.verdicts.iter().map(|verdict| verdict.outcome).collect();
    assert_eq!(outcomes, [Outcome::Inconclusive, Outcome::Inconclusive, Outcome::Inconclusive]);
    let first = &analysis.verdicts[0];
    assert!(first.remark.contains("VMs without a value as the smallest and as the largest"), "{}", first.remark);
    let gate = |verdicts, allow_missing| ClaimGate::new(verdicts, allow_missing).passes();
    assert_eq!([false, true].map(|allowed| gate(&analysis.verdicts, allowed)), [false, true]);
    // One failed VM of 12 moves the ends by one rank.
    let (_, analysis) = judged_with_losses(12, &[("qemu/1", 1, false)], claims);
    assert_eq!(analysis.verdicts[0].outcome, Outcome::Holds, "{}", analysis.verdicts[0].measured());
    assert!(gate(&analysis.verdicts, false));
}

/// All VMs of `qemu` are censored: it exceeds every upper limit. A lower limit could be larger than the time that was
/// waited.
#[test]
fn a_side_without_any_measured_value_contradicts_upper_limits_only() {
    let claims = vec![
        claim("less", ratio(), None, Some(2.0)),
        claim("more", ratio(), Some(1.0), None),
        anywhere(claim("value", Some(Comparison::Value(side("qemu", 1))), None, Some(100.0))),
    ];
    let (_, analysis) = judged_with_losses(7, &[("qemu/1", 7, true)], claims);
    let outcomes: Vec<_> = analysis.verdicts.iter().map(|verdict| verdict.outcome).collect();
    assert_eq!(outcomes, [Outcome::Contradicted, Outcome::Inconclusive, Outcome::Contradicted]);
    assert!(analysis.verdicts[1].remark.contains("no measured value is a bound"), "{}", analysis.verdicts[1].remark);
}

#[test]
fn a_mean_of_censored_or_failed_vms_is_withheld_everywhere() {
    let mean =
        |name: &str, comparison| Claim { statistic: Statistic::Mean, ..claim(name, comparison, Some(1.0), None) };
    let (run, analysis) =
        judged_with_losses(7, &[("qemu/1", 1, true), ("fc/1", 2, false)], vec![mean("mean", ratio())]);
    let verdict = &analysis.verdicts[0];
    assert_eq!((verdict.outcome, verdict.value), (Outcome::Inconclusive, None));
    assert!(verdict.remark.starts_with("the mean of qemu/1 is withheld: 1 VM censored"), "{}", verdict.remark);
    for row in analysis.summary.iter().filter(|row| row.cell == "qemu/1" || row.cell == "fc/1") {
        assert_eq!((row.mean(), row.mean_interval(1).is_ok()), (None, false), "{}", row.cell);
    }
    table::save(run.folder()).unwrap();
    let summary = run.read("summary.csv");
    let line = summary.lines().find(|line| line.starts_with("fc/1,")).unwrap();
    assert!(line.contains("2 VMs failed"), "{line}");
    assert!(run.read("tables/summary.md").contains("withheld"));
}

/// `fc` takes 60 to 66 ms.
#[test]
fn a_claim_on_values_counts_trials() {
    let of = |name: &str, subject, most| Claim {
        subject,
        ..anywhere(claim(name, Some(Comparison::Value(side("fc", 1))), None, Some(most)))
    };
    let claims = || {
        vec![
            of("every", Subject::EveryValue, 66.0),
            of("not-every", Subject::EveryValue, 65.9),
            of("half", Subject::Share(0.5), 66.0),
            of("most", Subject::Share(0.9), 66.0),
            of("few", Subject::Share(0.9), 60.0),
            claim("every-wall", Some(Comparison::Value(side("fc", 1))), None, Some(66.0)),
        ]
    };
    let (_, analysis) = judged(7, claims());
    use Outcome::{Contradicted, Holds, Inconclusive, NotComparable};
    let outcomes: Vec<_> = analysis.verdicts.iter().map(|verdict| verdict.outcome).collect();
    assert_eq!(outcomes, [Holds, Contradicted, Holds, Inconclusive, Contradicted, NotComparable]);
    insta::assert_snapshot!(render(&analysis.verdicts, OutputWidth::ANY));
    // One VM failed, and its value is not known.
    let (_, analysis) = judged_with_losses(7, &[("fc/1", 1, false)], claims());
    let verdicts: Vec<_> = analysis.verdicts.iter().map(|verdict| (verdict.outcome, verdict.remark.as_str())).collect();
    assert_eq!(verdicts[0].0, Inconclusive, "{verdicts:?}");
    assert!(verdicts[0].1.contains("1 VM has no value"), "{verdicts:?}");
    // One VM timed out.
    let (_, analysis) = judged_with_losses(7, &[("fc/1", 1, true)], claims());
    assert_eq!(analysis.verdicts[0].outcome, Contradicted);
}

#[test]
fn a_claim_of_equivalence_needs_the_whole_interval() {
    let of = |margin: f64| Claim {
        subject: Subject::Equivalence(margin),
        ..claim("same", ratio(), Some(1.0 / (1.0 + margin)), Some(1.0 + margin))
    };
    let (_, analysis) = judged(7, vec![of(1.0), of(0.8), of(0.05)]);
    let outcomes: Vec<_> = analysis.verdicts.iter().map(|verdict| verdict.outcome).collect();
    assert_eq!(outcomes, [Outcome::Holds, Outcome::Inconclusive, Outcome::Contradicted]);
    assert_eq!(analysis.verdicts[2].expectation(), "equivalent within 5 %");
}

/// The plan of a run of an older format names the statistic, and has neither `subject` nor `clock`.
#[test]
fn claims_of_older_plans_keep_their_statistic() {
    let mean = Claim { statistic: Statistic::Mean, ..claim("mean", ratio(), Some(1.0), None) };
    let (run, _) = judged(7, vec![mean]);
    let mut plan: serde_json::Value = serde_json::from_str(&run.read("plan.json")).unwrap();
    plan["format"] = 8.into();
    assert!(plan["claims"][0].get("subject").is_none() && plan["claims"][0].get("clock").is_none());
    std::fs::write(run.path("plan.json"), serde_json::to_vec(&plan).unwrap()).unwrap();
    let records: Vec<Record> =
        microbench_formats::journal::records(&std::fs::read(run.path("journal.ndjson")).unwrap())
            .map(Result::unwrap)
            .collect();
    run.write_journal(&records);
    let verdict = analyze(run.folder()).unwrap().verdicts.remove(0);
    assert_eq!((verdict.claim.statistic, verdict.outcome), (Statistic::Mean, Outcome::Inconclusive));
    assert!(verdict.remark.contains("the interval of a mean needs 100 trials"), "{}", verdict.remark);
}
