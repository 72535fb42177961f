//! Quantiles and shares over the VMs of trials. VMs of one trial run at the same time and may depend on each other, so
//! that a trial is one independent observation of several values.

use statrs::distribution::{Binomial, DiscreteCDF};

use super::median::Interval;
use super::quantile::{quantile as sample_quantile, quantile_interval, smallest_n};
use super::share::clopper_pearson;

/// The VMs of one trial.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrialVms {
    /// The values, in any order; a censored one is infinite.
    pub values: Vec<f64>,
    /// The number of VMs without a known value: it can be any number.
    pub unknown: usize,
}

impl TrialVms {
    /// The number of VMs.
    #[must_use]
    pub fn vms(&self) -> usize {
        self.values.len() + self.unknown
    }

    /// The value of rank `rank`, from 1, with `unknown` as the value of each VM without one.
    fn ranked(&self, rank: usize, unknown: f64) -> f64 {
        let mut all = self.values.clone();
        all.resize(self.vms(), unknown);
        all.sort_by(f64::total_cmp);
        all[rank - 1]
    }
}

/// The number of VMs of every trial; `None` if it differs, or without a VM.
fn vms_of_each(trials: &[&TrialVms]) -> Option<usize> {
    let first = trials.first()?.vms();
    (first > 0 && trials.iter().all(|trial| trial.vms() == first)).then_some(first)
}

/// The `p`-quantile of the known values of all VMs.
#[must_use]
pub fn quantile(trials: &[&TrialVms], p: f64) -> Option<f64> {
    sample_quantile(&trials.iter().flat_map(|trial| trial.values.iter().copied()).collect::<Vec<_>>(), p)
}

/// How the `p`-quantile over `k` VMs of each trial is bounded by quantiles over trials.
struct Bounds {
    /// Rank of the value of a trial that bounds it from below, from 1.
    rank: usize,
    /// The quantile of this value over trials.
    lower: f64,
    /// Level of each of the two intervals over trials.
    level: f64,
}

impl Bounds {
    fn new(k: usize, p: f64, level: f64) -> Self {
        let size = k as f64;
        let rank = ((size * p - 1e-9).ceil() as usize).clamp(1, k);
        let below = (rank - 1) as f64;
        let lower = (size * p - below) / (size - below);
        // With one VM, both ends are those of one interval. Otherwise each end may be wrong with half of the probability.
        let level = if k == 1 { level } else { 1.0 - (1.0 - level) / 2.0 };
        Self { rank, lower, level }
    }
}

/// The smallest number of trials of `k` VMs with which [`interval`] exists. `None` unless `0 < p < 1` and `0 < level <
/// 1`, and without VMs.
#[must_use]
pub fn smallest_trials(k: usize, p: f64, level: f64) -> Option<usize> {
    if k == 0 || !(p > 0.0 && p < 1.0) {
        return None;
    }
    let bounds = Bounds::new(k, p, level);
    Some(smallest_n(p, bounds.level)?.max(smallest_n(bounds.lower, bounds.level)?))
}

/// An interval that covers the `p`-quantile over VMs with at least `level` for any dependence of VMs of one trial.
///
/// Let `k` be the number of VMs of a trial, `x(r)` its `r`-th smallest value, `F` the distribution of a VM. A trial has
/// all its VMs at or below `x` if `x(k) <= x`, and at most `r - 1` if `x(r) > x`. As `F(x)` is the mean of this share,
/// `P(x(k) <= x) <= F(x) <= c + (1 - c) P(x(r) <= x)` with `c = (r - 1) / k`. The `p`-quantile of `F` is therefore at
/// most that of `x(k)`, and at least the `(p - c) / (1 - c)`-quantile of `x(r)`, here with `r = ceil(k p)`. Both are
/// bounded by order statistics over trials ([`quantile_interval`]). With one VM this is that interval itself.
///
/// `None` if trials differ in their number of VMs, and below [`smallest_trials`].
#[must_use]
pub fn interval(trials: &[&TrialVms], p: f64, level: f64) -> Option<Interval> {
    let k = vms_of_each(trials)?;
    if trials.len() < smallest_trials(k, p, level)? {
        return None;
    }
    let bounds = Bounds::new(k, p, level);
    let ranked = |rank, unknown| trials.iter().map(|trial| trial.ranked(rank, unknown)).collect::<Vec<_>>();
    let low = quantile_interval(&ranked(bounds.rank, f64::NEG_INFINITY), bounds.lower, bounds.level)?;
    let high = quantile_interval(&ranked(k, f64::INFINITY), p, bounds.level)?;
    Some(Interval { low: low.low, high: high.high, level: if k == 1 { low.level } else { level } })
}

/// A lower bound of the `p`-quantile over VMs, for fewer trials than [`interval`] needs: the largest order statistic that
/// is at or below the quantile with a probability of at least `level` (Conover 1999, section 3.2).
///
/// `None` if no order statistic is a bound at this level, or if trials differ in their number of VMs.
#[must_use]
pub fn lower_bound(trials: &[&TrialVms], p: f64, level: f64) -> Option<f64> {
    let bounds = Bounds::new(vms_of_each(trials)?, p, level);
    let mut values: Vec<f64> = trials.iter().map(|trial| trial.ranked(bounds.rank, f64::NEG_INFINITY)).collect();
    values.sort_by(f64::total_cmp);
    // The value of rank l exceeds the quantile if fewer than l values are at or below it.
    let below = Binomial::new(bounds.lower, values.len() as u64).ok()?;
    let is_bound = |rank: &usize| below.cdf(*rank as u64 - 1) <= 1.0 - level;
    (1..=values.len()).take_while(is_bound).last().map(|rank| values[rank - 1])
}

/// The number of VMs of one trial that meet a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met {
    /// VMs that meet it.
    pub met: usize,
    /// VMs that may meet it.
    pub unknown: usize,
    /// All VMs, at least one.
    pub of: usize,
}

/// An interval for the share of VMs that meet a limit, which covers with at least `level`; `share` is the share that it is
/// compared with.
///
/// By the inequality of [`interval`], the share is at least the probability that all VMs of a trial meet the limit, and
/// at most `c + (1 - c) P(at least r meet it)` with `r = ceil(k share)` and `c = (r - 1) / k`. Both probabilities have
/// exact intervals ([`clopper_pearson`]). `None` without a trial.
#[must_use]
pub fn share_interval(trials: &[Met], share: f64, level: f64) -> Option<Interval> {
    let rank = |of: usize| ((of as f64 * share - 1e-9).ceil() as usize).clamp(1, of);
    let all = trials.iter().filter(|trial| trial.met == trial.of).count();
    let enough = trials.iter().filter(|trial| trial.met + trial.unknown >= rank(trial.of)).count();
    // The bound increases with c, so the largest one holds for trials with different numbers of VMs.
    let c = trials.iter().map(|trial| (rank(trial.of) - 1) as f64 / trial.of as f64).fold(0.0, f64::max);
    let low = clopper_pearson(all, trials.len(), level)?.low;
    let high = clopper_pearson(enough, trials.len(), level)?.high;
    Some(Interval { low, high: c + (1.0 - c) * high, level })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::bootstrap::generator;
    use crate::stats::coverage::normal;

    fn one(value: f64) -> TrialVms {
        TrialVms { values: vec![value], unknown: 0 }
    }

    fn refs(trials: &[TrialVms]) -> Vec<&TrialVms> {
        trials.iter().collect()
    }

    #[test]
    fn one_vm_of_each_trial_has_the_order_statistic_interval() {
        let values: Vec<f64> = (0..40).map(f64::from).collect();
        let trials: Vec<TrialVms> = values.iter().copied().map(one).collect();
        assert_eq!(interval(&refs(&trials), 0.9, 0.95), quantile_interval(&values, 0.9, 0.95));
        assert_eq!(quantile(&refs(&trials), 0.9), sample_quantile(&values, 0.9));
        assert_eq!([1, 8, 20].map(|k| smallest_trials(k, 0.99, 0.95)), [Some(299), Some(368), Some(368)]);
    }

    #[test]
    fn vms_that_are_slow_in_every_trial_are_in_the_interval() {
        let trial = TrialVms { values: (0..20).map(|n| if n < 12 { 100.0 } else { 5000.0 }).collect(), unknown: 0 };
        let found = interval(&vec![&trial; 400], 0.99, 0.95).unwrap();
        assert_eq!((found.low, found.high), (5000.0, 5000.0));
        assert_eq!(quantile(&[&trial], 0.99), Some(5000.0));
    }

    #[test]
    fn unknown_values_are_on_both_sides_of_the_interval() {
        let (known, unknown) = (one(100.0), TrialVms { values: vec![], unknown: 1 });
        let trials: Vec<&TrialVms> = (0..400).map(|n| if n % 10 == 0 { &unknown } else { &known }).collect();
        let found = interval(&trials, 0.99, 0.95).unwrap();
        assert_eq!((found.low, found.high), (100.0, f64::INFINITY));
        assert_eq!(interval(&[&known, &TrialVms::default()], 0.5, 0.5), None);
    }

    #[test]
    fn few_trials_have_a_lower_bound() {
        let trials: Vec<TrialVms> = (0..10).map(|n| one(600.0 + f64::from(n))).collect();
        assert_eq!(interval(&refs(&trials), 0.99, 0.95), None);
        // P(fewer than 10 of 10 values at or below the 99th percentile) = 1 - 0.99^10 = 9.6 %; fewer than 9: 0.4 %.
        assert_eq!(lower_bound(&refs(&trials), 0.99, 0.95), Some(608.0));
        let censored = vec![one(f64::INFINITY); 10];
        assert_eq!(lower_bound(&refs(&censored), 0.99, 0.95), Some(f64::INFINITY));
        // A single value exceeds the 90th percentile in one of ten cases.
        assert_eq!(lower_bound(&refs(&trials[..1]), 0.9, 0.95), None);
    }

    #[test]
    fn share_counts_trials_of_which_all_or_enough_vms_meet_the_limit() {
        let met = |met, unknown, of| Met { met, unknown, of };
        let one_each: Vec<Met> = (0..100).map(|n| met(usize::from(n >= 10), 0, 1)).collect();
        assert_eq!(share_interval(&one_each, 0.95, 0.95), clopper_pearson(90, 100, 0.95));
        // 12 of 20 VMs: less than 95 % of them in every trial.
        let found = share_interval(&[met(12, 0, 20); 400], 0.95, 0.95).unwrap();
        assert!(found.low == 0.0 && found.high < 0.95, "{found:?}");
        // One VM of one trial is unknown.
        let mut nearly = vec![met(20, 0, 20); 99];
        nearly.push(met(19, 1, 20));
        let found = share_interval(&nearly, 0.95, 0.95).unwrap();
        assert!(found.low > 0.94 && found.high == 1.0, "{found:?}");
        assert_eq!(share_interval(&[], 0.95, 0.95), None);
    }

    /// Trials that share most of their spread: the interval over VMs that ignores trials covers in few of them.
    #[test]
    fn interval_covers_for_dependent_vms() {
        let (k, p) = (8, 0.9);
        // The 0.9-quantile of a sum of two normal variables, of which one belongs to the trial.
        let truth = 1.281_551_565_5 * (1.0_f64 + 0.25).sqrt();
        let covered = (0..400_u64).filter(|study| {
            let mut random = generator(3, *study);
            let trials: Vec<TrialVms> = (0..60)
                .map(|_| {
                    let own = normal(&mut random);
                    TrialVms { values: (0..k).map(|_| own + 0.5 * normal(&mut random)).collect(), unknown: 0 }
                })
                .collect();
            let found = interval(&refs(&trials), p, 0.95).unwrap();
            (found.low..=found.high).contains(&truth)
        });
        let covered = covered.count() as f64 / 400.0;
        assert!(covered >= 0.95, "{covered}");
    }
}
