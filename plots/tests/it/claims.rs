//! Verdicts of claims from limits and intervals.

use microbench_formats::axis::Level;
use microbench_formats::claim::{Claim, Comparison, Side};
use microbench_formats::statistic::Statistic;
use microbench_formats::terminal::OutputWidth;
use microbench_plots::claim::{Outcome, render};
use microbench_plots::{Analysis, analyze};

use crate::support::{Run, selection, text};

fn side(variant: &str, concurrency: i64) -> Side {
    let of = selection(&[("variant", vec![text(variant)]), ("concurrency", vec![Level::Int(concurrency)])]);
    Side { metric: "kernel_boot_time".into(), of }
}

fn claim(name: &str, comparison: Option<Comparison>, least: Option<f64>, most: Option<f64>) -> Claim {
    Claim {
        name: name.into(),
        text: format!("What {name} says."),
        unmeasured: if comparison.is_none() { "not measurable".into() } else { String::new() },
        comparison,
        statistic: Statistic::Mean,
        least,
        most,
        strict: false,
        published: Some(1.18),
        data: "something else".into(),
    }
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
            claim("value", Some(Comparison::Value(side("fc", 1))), Some(50.0), Some(70.0)),
            claim("difference", Some(Comparison::Difference(side("qemu", 1), side("fc", 1))), Some(40.0), Some(60.0)),
            claim("not-here", Some(Comparison::Ratio(side("t2", 1), side("fc", 1))), Some(1.0), None),
            claim("unmeasured", None, None, None),
        ],
    );
    let outcomes: Vec<_> = analysis.verdicts.iter().map(|verdict| verdict.outcome).collect();
    use Outcome::{Contradicted, Holds, Inconclusive, NotMeasured};
    assert_eq!(outcomes, [Holds, Contradicted, Inconclusive, Holds, Holds, NotMeasured, NotMeasured]);
    let value = analysis.verdicts[0].value.unwrap();
    assert!((value - 113.0 / 63.0).abs() < 1e-12, "{value}");
    assert_eq!(analysis.verdicts[0].n, [7, 7]);
    // Both sides vary together, which the interval of the difference ignores; the limits are far enough apart.
    assert!((analysis.verdicts[4].value.unwrap() - 50.0).abs() < 1e-9);
    assert!(analysis.verdicts[5].remark.contains("no such template here"), "{}", analysis.verdicts[5].remark);
    assert_eq!(analysis.verdicts[6].remark, "not measurable");
    for file in ["claims.md", "claims.csv"] {
        assert!(run.read(file).contains("contradicted"), "{file}");
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
    assert!(verdict.remark.contains("an interval needs 3 trials of each cell"), "{}", verdict.remark);
}

#[test]
fn a_cell_that_is_not_applicable_is_left_out_and_named_in_the_remark() {
    let both = Side {
        metric: "kernel_boot_time".into(),
        of: selection(&[("engine", vec![text("firecracker")]), ("concurrency", vec![Level::Int(1)])]),
    };
    let (_, analysis) = judged(7, vec![claim("value", Some(Comparison::Value(both)), Some(50.0), None)]);
    let verdict = &analysis.verdicts[0];
    assert_eq!((verdict.outcome, verdict.n.as_slice()), (Outcome::Holds, &[7][..]));
    assert!(verdict.remark.starts_with("without t2/1 ("), "{}", verdict.remark);
}
