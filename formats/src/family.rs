//! The family of tests of a study: which comparisons its verdicts are adjusted for, and the trials that they need.

use std::collections::BTreeSet;

use crate::cell::Cell;
use crate::plan::Plan;

/// Family-wise error rate of the verdicts.
pub const ALPHA: f64 = 0.05;

/// The largest number of trials that [`trials_needed`] returns.
const MOST_TRIALS: usize = 40;

/// The metrics whose comparisons are one family of tests: those of `family` of the study, else those with a gate; empty
/// for all metrics.
#[must_use]
pub fn metrics(plan: &Plan) -> Vec<String> {
    let gated = plan.metrics.iter().filter(|metric| metric.gate.is_some()).map(|metric| metric.name.clone());
    if plan.family.is_empty() { gated.collect() } else { plan.family.clone() }
}

/// The number of tests if each other variant is compared with the first one at the same levels. Metrics that need an
/// instrument count only in cells of one VM.
#[must_use]
pub fn tests_of_variants(plan: &Plan) -> usize {
    let Some(baseline) = plan.cells.first().map(|cell| &cell.variant) else { return 0 };
    let family: BTreeSet<String> = metrics(plan).into_iter().collect();
    let others = plan.cells.iter().filter(|cell| cell.variant != *baseline);
    let has_baseline = |cell: &&Cell| {
        plan.cells.iter().any(|other| other.variant == *baseline && other.equals_except(cell, "variant"))
    };
    let is_member = |name: &str| family.is_empty() || family.contains(name);
    let measured = |cell: &Cell| {
        let metrics = plan.metrics.iter().filter(|metric| is_member(&metric.name));
        metrics.filter(|metric| metric.instrument.is_none() || cell.concurrency == 1).count()
    };
    others.filter(has_baseline).map(measured).sum()
}

/// The smallest number of trials on each side with which every one of `tests` rank-sum tests can be significant at
/// [`ALPHA`] after Holm's adjustment: the smallest p-value of `n` trials is 2 of `(2n choose n)` divisions. At most 40.
///
/// ```
/// use microbench_formats::family::trials_needed;
///
/// // Six values on each side have 924 divisions: 2 / 924 is at most 0.05 / 20.
/// assert_eq!((trials_needed(1), trials_needed(20), trials_needed(171)), (4, 6, 8));
/// ```
#[must_use]
pub fn trials_needed(tests: usize) -> usize {
    let smallest_p = |n: usize| (1..=n).fold(2.0, |p, k| p * k as f64 / (n + k) as f64);
    (1..MOST_TRIALS).find(|n| smallest_p(*n) * tests.max(1) as f64 <= ALPHA).unwrap_or(MOST_TRIALS)
}
