//! The effect of a second sample relative to a first one, by ranks: one statistic gives the estimate, the interval and
//! the p-value.
//!
//! Independent samples: the comparisons are all pairs of a second and a first value. The estimate is their median (J. L.
//! Hodges & E. L. Lehmann, Annals of Mathematical Statistics 34, 1963), the test is that of Mann and Whitney, the
//! interval contains every effect that the test does not reject (L. E. Moses; M. Hollander & D. A. Wolfe, Nonparametric
//! Statistical Methods, 2nd ed., 1999, section 4.3). In several strata (hosts), only values of the same stratum are
//! compared.
//!
//! Paired samples: the comparisons are the Walsh averages of the pairs, with Wilcoxon's signed-rank test (section 3.3).
//!
//! A ratio is compared as a ratio, so both samples may have different scales but one shape. Nothing is assumed about
//! this shape: a stall moves one rank and no mean.

use serde::Serialize;

use super::median::{Interval, median};
use super::null::Null;
use super::pairs::{Comparisons, Effect, Pairs, Stratum, WalshAverages};

/// The test that the estimate and the interval belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Test {
    /// Mann and Whitney's rank-sum test.
    RankSum,
    /// Wilcoxon's signed-rank test over blocks.
    SignedRank,
    /// The bootstrap of a contrast of means.
    Bootstrap,
    /// Student's t test over repetitions.
    Repetitions,
}

impl Test {
    /// The name within a sentence.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RankSum => "Mann-Whitney test",
            Self::SignedRank => "signed-rank test over blocks",
            Self::Bootstrap => "bootstrap test of means",
            Self::Repetitions => "t test over repetitions",
        }
    }
}

/// The effect of a second sample relative to a first one.
///
/// ```
/// use microbench_plots::stats::pairs::Effect;
/// use microbench_plots::stats::shift::Shift;
///
/// let (old, new) = (vec![100.0, 101.0, 99.0, 100.5, 98.5, 102.0], vec![104.0, 105.5, 106.0, 103.5, 105.0, 104.5]);
/// let slower = Shift::rank_sum(Effect::Ratio, &[(old, new)]);
/// let interval = slower.interval(0.95).unwrap();
/// assert!((slower.estimate().unwrap() - 1.045).abs() < 0.002);
/// assert!(interval.low > 1.0 && slower.p_above(1.0) < 0.0011);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Shift {
    effect: Effect,
    comparisons: Kind,
    null: Null,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Pairs(Pairs),
    Averages(WalshAverages),
}

impl Shift {
    /// The effect of independent samples, given as the values of both sides in each stratum.
    #[must_use]
    pub fn rank_sum(effect: Effect, strata: &[Stratum]) -> Self {
        let pairs = Pairs::new(effect, strata);
        let null = Null::rank_sum(&pairs.sizes().collect::<Vec<_>>());
        Self { effect, comparisons: Kind::Pairs(pairs), null }
    }

    /// The effect of paired samples, given as the first and the second value of each block.
    #[must_use]
    pub fn signed_rank(effect: Effect, pairs: &[(f64, f64)]) -> Self {
        let averages = WalshAverages::new(&pairs.iter().map(|pair| effect_of_pair(effect, *pair)).collect::<Vec<_>>());
        let null = Null::signed_rank(averages.n());
        Self { effect, comparisons: Kind::Averages(averages), null }
    }

    /// The test.
    #[must_use]
    pub fn test(&self) -> Test {
        match self.comparisons {
            Kind::Pairs(_) => Test::RankSum,
            Kind::Averages(_) => Test::SignedRank,
        }
    }

    fn comparisons(&self) -> &dyn Comparisons {
        match &self.comparisons {
            Kind::Pairs(pairs) => pairs,
            Kind::Averages(averages) => averages,
        }
    }

    /// Whether the comparisons are logarithms of the effect.
    fn is_logarithm(&self) -> bool {
        self.effect == Effect::Ratio && self.test() == Test::SignedRank
    }

    fn to_comparison(&self, effect: f64) -> f64 {
        if self.is_logarithm() { effect.ln() } else { effect }
    }

    fn effect_of_comparison(&self, comparison: f64) -> f64 {
        if self.is_logarithm() { comparison.exp() } else { comparison }
    }

    /// The Hodges-Lehmann estimate: a ratio, or a difference in the unit of the values. Infinite if more than half of
    /// the comparisons are with a censored second value. `None` without a comparison.
    #[must_use]
    pub fn estimate(&self) -> Option<f64> {
        let [low, high] = self.comparisons().middle()?.map(|comparison| self.effect_of_comparison(comparison));
        // The estimate of the exchanged samples is the reciprocal of a ratio.
        Some(match self.effect {
            Effect::Ratio if low > 0.0 && high.is_finite() && low < high => (low * high).sqrt(),
            _ => f64::midpoint(low, high),
        })
    }

    /// The interval of the estimate; its upper end is infinite if it is censored. `None` if the samples are too small
    /// for `level`.
    #[must_use]
    pub fn interval(&self, level: f64) -> Option<Interval> {
        let (rank, level) = self.null.interval_rank(level)?;
        let [low, high] = [self.comparisons().rank_from_below(rank), self.comparisons().rank_from_above(rank)];
        Some(Interval { low: self.effect_of_comparison(low), high: self.effect_of_comparison(high), level })
    }

    /// The one-sided p-value of the hypothesis that the effect is `limit` or less.
    #[must_use]
    pub fn p_above(&self, limit: f64) -> f64 {
        self.null.at_least(self.comparisons().above(self.to_comparison(limit)))
    }

    /// The one-sided p-value of the hypothesis that the effect is `limit` or more.
    #[must_use]
    pub fn p_below(&self, limit: f64) -> f64 {
        self.null.at_least(self.comparisons().below(self.to_comparison(limit)))
    }

    /// The one-sided p-value of the hypothesis that the effect is more than `limit`.
    #[must_use]
    pub fn p_at_most(&self, limit: f64) -> f64 {
        let comparisons = self.comparisons();
        let above = comparisons.above(self.to_comparison(limit)) + comparisons.undecided();
        self.null.at_least(comparisons.total() - above)
    }

    /// The one-sided p-value of the hypothesis that the effect is less than `limit`.
    #[must_use]
    pub fn p_at_least(&self, limit: f64) -> f64 {
        let comparisons = self.comparisons();
        let below = comparisons.below(self.to_comparison(limit)) + comparisons.undecided();
        self.null.at_least(comparisons.total() - below)
    }

    /// The smallest two-sided p-value that samples of this size can have.
    #[must_use]
    pub fn smallest_p(&self) -> f64 {
        self.null.smallest_p()
    }

    /// Vargha and Delaney's A12: the probability that a second value exceeds a first one, where a tie counts half (A.
    /// Vargha & H. D. Delaney, Journal of Educational and Behavioral Statistics 25, 2000). 0.5 means no difference. `None`
    /// without a comparison, and for pairs.
    #[must_use]
    pub fn a12(&self) -> Option<f64> {
        let Kind::Pairs(pairs) = &self.comparisons else { return None };
        let same = if self.effect == Effect::Ratio { 1.0 } else { 0.0 };
        let (above, below, total) = (pairs.above(same) as f64, pairs.below(same) as f64, pairs.total() as f64);
        (total > 0.0).then(|| 0.5 + (above - below) / (2.0 * total))
    }
}

/// The difference of a pair, or the logarithm of its ratio; [`f64::NAN`] if both values are censored.
fn effect_of_pair(effect: Effect, (first, second): (f64, f64)) -> f64 {
    match effect {
        Effect::Ratio => (second / first).ln(),
        Effect::Difference => second - first,
    }
}

/// Whether blocks explain so much of the spread that pairs within blocks decide more than independent samples: the sums
/// of the pairs spread more than twice as much as their differences from zero (medians of absolute values).
///
/// Neither spread changes when the two values of a block are exchanged, which is what a randomised block does if there
/// is no effect. Choosing the test by them therefore does not change its level.
#[must_use]
pub fn blocks_matter(effect: Effect, pairs: &[(f64, f64)]) -> bool {
    let scale = |value: f64| if effect == Effect::Ratio { value.ln() } else { value };
    let finite = |values: Vec<f64>| values.into_iter().filter(|value| value.is_finite()).collect::<Vec<_>>();
    let sums = finite(pairs.iter().map(|(first, second)| scale(*first) + scale(*second)).collect());
    let differences = finite(pairs.iter().map(|pair| effect_of_pair(effect, *pair).abs()).collect());
    let Some((middle, difference)) = median(&sums).zip(median(&differences)) else { return false };
    median(&sums.iter().map(|sum| (sum - middle).abs()).collect::<Vec<_>>())
        .is_some_and(|spread| spread > 2.0 * difference)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const X: [f64; 12] = [12.1, 11.8, 13.4, 12.9, 12.1, 14.0, 11.2, 12.5, 13.1, 12.8, 12.1, 13.9];
    const Y: [f64; 10] = [12.9, 13.8, 14.2, 13.1, 12.5, 15.0, 14.4, 13.6, 12.8, 14.9];

    fn differences(x: &[f64], y: &[f64]) -> Shift {
        Shift::rank_sum(Effect::Difference, &[(x.to_vec(), y.to_vec())])
    }

    /// SciPy 1.17: U / (n m), the median of `numpy.subtract.outer(y, x)`.
    #[test]
    fn estimate_and_a12_are_those_of_scipy() {
        let found = differences(&X, &Y);
        assert!((found.a12().unwrap() - 0.8).abs() < 1e-9 && (found.estimate().unwrap() - 1.0).abs() < 1e-9);
        assert_eq!(differences(&[], &Y).estimate(), None);
        assert_eq!(differences(&[3.0; 4], &[3.0; 6]).a12(), Some(0.5));
        assert_eq!(differences(&[3.0; 4], &[3.0; 6]).p_above(0.0), 1.0);
    }

    /// Blocks drift by 10 % each, which hides a difference of 1 % from a test that ignores blocks.
    #[test]
    fn drift_between_blocks_does_not_hide_a_difference() {
        let pairs: Vec<(f64, f64)> =
            (0..12).map(|block| 100.0 * (1.0 + 0.1 * f64::from(block))).map(|level| (level, level * 1.01)).collect();
        assert!(blocks_matter(Effect::Ratio, &pairs));
        let paired = Shift::signed_rank(Effect::Ratio, &pairs);
        assert!((paired.estimate().unwrap() - 1.01).abs() < 1e-9 && 2.0 * paired.p_above(1.0) < 0.001);
        let (first, second) = pairs.into_iter().unzip();
        assert!(Shift::rank_sum(Effect::Ratio, &[(first, second)]).p_above(1.0) > 0.2);
    }

    /// Half of the second values are censored, and the others are smaller than the first ones.
    #[test]
    fn a_sample_with_many_censored_values_is_not_smaller() {
        let second = [vec![89.0; 4], vec![f64::INFINITY; 5]].concat();
        let found = Shift::rank_sum(
            Effect::Ratio,
            &[(vec![100.0, 101.0, 99.0, 98.0, 102.0, 100.5, 99.5, 98.5, 101.5], second)],
        );
        assert_eq!(found.estimate(), Some(f64::INFINITY));
        assert_eq!(found.interval(0.95).unwrap().high, f64::INFINITY);
        assert!(found.p_below(1.0) > 0.5);
    }

    proptest! {
        /// The interval excludes an effect exactly if the test rejects it.
        #[test]
        fn interval_and_p_value_agree(
            x in prop::collection::vec(1_u8..60, 3..16), y in prop::collection::vec(1_u8..60, 3..16), level in 0.5_f64..0.999,
        ) {
            let of = |values: &[u8]| values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>();
            let pairs: Vec<(f64, f64)> = of(&x).into_iter().zip(of(&y)).collect();
            let shifts = [
                Shift::rank_sum(Effect::Ratio, &[(of(&x), of(&y))]),
                Shift::rank_sum(Effect::Difference, &[(of(&x), of(&y))]),
                Shift::signed_rank(Effect::Difference, &pairs),
            ];
            for shift in shifts {
                let Some(interval) = shift.interval(level) else {
                    prop_assert!(shift.smallest_p() > 1.0 - level - 1e-9);
                    continue;
                };
                prop_assert!(interval.level >= level - 1e-9);
                let estimate = shift.estimate().unwrap();
                prop_assert!(interval.low <= estimate && estimate <= interval.high);
                for limit in [interval.low, interval.high, estimate, 1.0, 0.0] {
                    let p = 2.0 * shift.p_above(limit).min(shift.p_below(limit));
                    let excluded = limit < interval.low || limit > interval.high;
                    prop_assert_eq!(excluded, p <= 1.0 - level + 1e-9, "{} of {:?}: {}", limit, interval, p);
                }
            }
        }

        #[test]
        fn exchanging_the_samples_mirrors_every_result(
            x in prop::collection::vec(1_i32..100, 1..25), y in prop::collection::vec(1_i32..100, 1..25),
        ) {
            let (x, y): (Vec<f64>, Vec<f64>) = (x.into_iter().map(f64::from).collect(), y.into_iter().map(f64::from).collect());
            let [one, other] = [(x.clone(), y.clone()), (y, x)].map(|strata| Shift::rank_sum(Effect::Ratio, &[strata]));
            prop_assert!((one.a12().unwrap() + other.a12().unwrap() - 1.0).abs() < 1e-9);
            prop_assert!((one.estimate().unwrap() * other.estimate().unwrap() - 1.0).abs() < 1e-9);
            prop_assert!((one.p_above(1.0) - other.p_below(1.0)).abs() < 1e-9);
        }
    }
}
