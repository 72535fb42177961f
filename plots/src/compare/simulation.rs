//! Error rates and power of verdicts, simulated with fixed seeds: each study compares a family of metrics of two cells.

use microbench_formats::direction::Better;
use microbench_formats::statistic::Statistic;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::{Comparison, Settings, contrast, set_verdicts};
use crate::stats::bootstrap::generator;
use crate::stats::coverage::normal;
use crate::summary::{Row, Trial};

/// Metrics of a study.
const FAMILY: usize = 20;

/// The shape of the values of a trial, with a median near 100.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Normal, standard deviation 1 %.
    Smooth,
    /// As above, and one in twenty trials takes three times as long.
    Stalling,
    /// Two modes 2 % apart, three in ten values in the upper one, with a standard deviation of 0.4 % in each.
    Bimodal,
}

impl Shape {
    const ALL: [Self; 3] = [Self::Smooth, Self::Stalling, Self::Bimodal];

    fn draw(self, random: &mut ChaCha8Rng) -> f64 {
        let share = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        match self {
            Self::Smooth => 100.0 + normal(random),
            Self::Stalling => 100.0 + normal(random) + if share < 0.05 { 200.0 } else { 0.0 },
            Self::Bimodal => 100.0 + 0.4 * normal(random) + if share < 0.3 { 2.0 } else { 0.0 },
        }
    }
}

/// The studies of a case.
#[derive(Clone, Copy, Debug)]
struct Case {
    shape: Shape,
    n: usize,
    margin: Option<f64>,
    /// The true ratio of the first `changed` metrics; it is 1 for the others.
    ratio: f64,
    changed: usize,
    /// Standard deviation of the drift that all trials of a block share, as a share of the value.
    drift: f64,
}

const CASE: Case = Case { shape: Shape::Smooth, n: 10, margin: None, ratio: 1.0, changed: 0, drift: 0.0 };

impl Case {
    fn study(&self, random: &mut ChaCha8Rng) -> Vec<Comparison> {
        let settings = Settings {
            statistic: Statistic::Median,
            margin: self.margin,
            seed: 1,
            family: Vec::new(),
            blocks: true,
            alternating: true,
            pooled: false,
            across_host_cpus: false,
        };
        let drift: Vec<f64> = (0..self.n).map(|_| 1.0 + self.drift * normal(random)).collect();
        let row = |cell: &str, ratio: f64, random: &mut ChaCha8Rng| Row {
            cell: cell.into(),
            unit: "ms".into(),
            machines: vec![String::new()],
            trials: (0..).zip(&drift).map(|(at, drift)| trial(at, drift * ratio * self.shape.draw(random))).collect(),
            vms: self.n,
            ..Row::default()
        };
        let mut found: Vec<Comparison> = (0..FAMILY)
            .map(|metric| {
                let ratio = if metric < self.changed { self.ratio } else { 1.0 };
                let (a, b) = (row("a", 1.0, random), row("b", ratio, random));
                contrast::contrast(&a, &b, Better::Lower, None, &settings, FAMILY, 0)
            })
            .collect();
        set_verdicts(&mut found, &settings);
        found
    }

    /// The share of `studies` in which `is_found`.
    fn share(&self, studies: u64, is_found: impl Fn(&[Comparison]) -> bool) -> f64 {
        let found = (0..studies).filter(|study| is_found(&self.study(&mut generator(2021, *study))));
        found.count() as f64 / studies as f64
    }

    /// The share of studies with a difference in an unchanged metric.
    fn false_differences(&self) -> f64 {
        self.share(400, |found| found[self.changed..].iter().any(|row| row.verdict.is_difference()))
    }

    /// The share of studies in which the first metric differs.
    fn power(&self) -> f64 {
        self.share(500, |found| found[0].verdict.is_difference())
    }
}

fn trial(at: u32, value: f64) -> Trial {
    Trial { index: at, block: at, repetition: 0, machine: 0, median: value, mean: Some(value) }
}

/// The nominal family-wise error rate is 5 %; of 400 studies, 7.5 % are within 2.3 standard errors of it.
#[test]
fn at_most_5_of_100_studies_without_a_change_have_a_difference() {
    for shape in Shape::ALL {
        for (margin, drift) in [(None, 0.0), (None, 0.03), (Some(0.001), 0.0)] {
            let share = Case { shape, margin, drift, ..CASE }.false_differences();
            println!("false difference, {shape:?}, margin {margin:?}, drift {drift}: {:.1} %", share * 100.0);
            assert!(share <= 0.075, "{shape:?} {margin:?} {drift}: {share}");
        }
    }
}

/// Every metric is changed by exactly the margin: neither a difference beyond it nor equivalence is true.
#[test]
fn a_change_as_large_as_the_margin_is_wrongly_decided_in_at_most_5_of_100_studies() {
    for shape in Shape::ALL {
        let case = Case { shape, margin: Some(0.02), ratio: 1.02, changed: FAMILY, ..CASE };
        let share = case.share(400, |found| found.iter().any(|row| row.verdict != super::Verdict::Inconclusive));
        println!("wrong at the margin, {shape:?}: {:.1} %", share * 100.0);
        assert!(share <= 0.075, "{shape:?}: {share}");
    }
}

#[test]
fn a_change_of_5_percent_is_found_in_80_of_100_studies_with_10_trials() {
    for shape in Shape::ALL {
        for margin in [None, Some(0.02)] {
            let share = Case { shape, margin, ratio: 1.05, changed: 1, ..CASE }.power();
            println!("power, {shape:?}, margin {margin:?}: {:.1} %", share * 100.0);
            assert!(share >= 0.8, "{shape:?} {margin:?}: {share}");
        }
    }
}

/// Six trials reach p <= 0.05 over 20 tests, if the values do not overlap.
#[test]
fn a_tenfold_slowdown_is_found_with_6_trials() {
    let share = Case { n: 6, ratio: 10.0, changed: 1, ..CASE }.power();
    assert!(share > 0.99, "{share}");
}
