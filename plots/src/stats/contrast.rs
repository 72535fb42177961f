//! The statistic of one side, or the ratio or difference of two sides, with an interval.
//!
//! A side is the mean of its cells' statistics, so each cell has the same weight for any number of trials. The interval
//! depends on the statistic and on the number of trials in the smallest cell:
//!
//! | statistic | trials | interval |
//! | --- | --- | --- |
//! | median of one cell | 6 or more | order statistics |
//! | other quantile of one cell | [`smallest_n`] or more | order statistics |
//! | median or quantile, several cells or two sides | the same | stratified bootstrap over trials, percentile |
//! | mean of one cell | 100 or more | BCa (see [`bca`]) |
//! | mean, several cells or two sides | 100 or more | stratified bootstrap, wider ends of BCa and expanded percentile |
//!
//! Below 6 values even the whole range covers the median with less than 95 % (see [`super::median::interval`]). An
//! interval of resampled values cannot cover more. More trials in other cells do not help if the smallest cell is much
//! noisier than the others. Every verdict states the method of its interval.
//!
//! A mean of boots of which 5 % stall needs a sample that contains stalls: of samples of 60 boots, 5 % have none, and
//! no interval of them covers the mean. [`super::coverage`] simulates the coverage by the number of trials. The two
//! bootstrap intervals of a mean fail in different cases: the expanded percentile interval where the skewness of one
//! side is not cancelled by the other, BCa where it is.
//!
//! A censored value is infinite. If it makes a side infinite, the estimate has no value, but one end of the interval
//! can be finite: it is a bound of the estimate.

use microbench_formats::statistic::Statistic;
use statrs::distribution::{ContinuousCDF, Normal};

use super::bca;
use super::bootstrap::{
    RESAMPLES, contracted_tail, expanded_tail, generator, percentile, percentile_between, replicates,
};
use super::mean::{mean, standard_deviation};
use super::median::{self, Interval, median};
use super::no_interval::NoInterval;
use super::quantile::{quantile, quantile_interval, smallest_n};

/// The number of trials in the smallest cell from which on the interval of a median is a bootstrap interval.
pub const BOOTSTRAP_FROM: usize = CONTRAST_INTERVAL_FROM;
/// The number of trials in the smallest cell from which on a median has an interval.
pub const CONTRAST_INTERVAL_FROM: usize = median::MEDIAN_INTERVAL_FROM;

/// How the two sides are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The value of the first side alone.
    Value,
    /// The first side divided by the second.
    Ratio,
    /// The first side minus the second.
    Difference,
}

/// The values of the trials of one cell.
///
/// A cell on both sides has values for both, of the same trials in the same order. These are resampled together,
/// because they were measured together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stratum {
    /// Values for the first side; empty if the cell is not on it.
    pub first: Vec<f64>,
    /// Values for the second side; empty if the cell is not on it.
    pub second: Vec<f64>,
}

impl Stratum {
    /// The number of trials.
    #[must_use]
    pub fn trials(&self) -> usize {
        self.first.len().max(self.second.len())
    }
}

/// A value, ratio or difference of the statistics of cells.
///
/// ```
/// use microbench_formats::statistic::Statistic;
/// use microbench_plots::stats::contrast::{Contrast, Kind, Method, Stratum};
///
/// let first = Stratum { first: vec![10.0, 10.5, 11.0, 11.0, 11.5, 12.0], second: Vec::new() };
/// let second = Stratum { first: Vec::new(), second: vec![5.0, 5.25, 5.5, 5.5, 5.75, 6.0] };
/// let contrast = Contrast { kind: Kind::Ratio, statistic: Statistic::Median, strata: vec![first, second] };
/// let (interval, method) = contrast.interval(0.95, 1, 0).unwrap();
/// assert_eq!(contrast.estimate(), Some(2.0));
/// assert!(interval.low < 2.0 && interval.high > 2.0);
/// assert_eq!(method, Method::Bootstrap);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Contrast {
    pub kind: Kind,
    /// Statistic of each cell.
    pub statistic: Statistic,
    /// One stratum for each cell.
    pub strata: Vec<Stratum>,
}

/// The method of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Stratified bootstrap over trials: percentile interval; for means the wider end of BCa and expanded percentile.
    Bootstrap,
    /// BCa bootstrap interval of the mean of one cell.
    Bca,
    /// Order-statistic interval, exact; for a quantile of one cell.
    OrderStatistics,
    /// Clopper-Pearson interval of a share of trials, exact.
    Binomial,
}

impl Method {
    /// The name in a table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bootstrap => "bootstrap",
            Self::Bca => "BCa",
            Self::OrderStatistics => "order statistics",
            Self::Binomial => "Clopper-Pearson",
        }
    }
}

impl Contrast {
    /// The estimate; `None` if a needed side has no trial, if it is censored, or if the second side of a ratio is zero.
    #[must_use]
    pub fn estimate(&self) -> Option<f64> {
        let finite = |side: Option<f64>| side.filter(|value| value.is_finite());
        let [first, second] = self.sides();
        self.combined([finite(first), finite(second)]).filter(|value| value.is_finite())
    }

    /// Whether the first and the second side are censored, that is infinite.
    #[must_use]
    pub fn censored_sides(&self) -> [bool; 2] {
        self.sides().map(|side| side == Some(f64::INFINITY))
    }

    fn sides(&self) -> [Option<f64>; 2] {
        [self.side(|stratum| &stratum.first), self.side(|stratum| &stratum.second)]
    }

    fn combined(&self, [first, second]: [Option<f64>; 2]) -> Option<f64> {
        match self.kind {
            Kind::Value => first,
            Kind::Ratio => Some(first? / second?),
            Kind::Difference => Some(first? - second?),
        }
    }

    /// The number of trials in the smallest cell.
    #[must_use]
    pub fn fewest(&self) -> usize {
        self.strata.iter().map(Stratum::trials).min().unwrap_or(0)
    }

    /// The interval of [`Self::estimate`] and its method; `None` without an estimate or an interval.
    ///
    /// `seed` and `stream` select the random numbers of the bootstrap (see [`generator`]).
    #[must_use]
    pub fn interval(&self, level: f64, seed: u64, stream: u64) -> Option<(Interval, Method)> {
        self.estimate()?;
        self.interval_or_bound(level, seed, stream).ok()
    }

    /// The interval and its method. An end is infinite if it is censored; then the other end is a bound.
    ///
    /// `seed` and `stream` select the random numbers of the bootstrap (see [`generator`]).
    ///
    /// # Errors
    /// The reason why there is neither an interval nor a bound.
    pub fn interval_or_bound(&self, level: f64, seed: u64, stream: u64) -> Result<(Interval, Method), NoInterval> {
        self.resampled_interval(level, seed, stream, RESAMPLES)
    }

    pub(super) fn resampled_interval(
        &self,
        level: f64,
        seed: u64,
        stream: u64,
        resamples: usize,
    ) -> Result<(Interval, Method), NoInterval> {
        let (fewest, needed) = (self.fewest(), self.statistic.trials_for_interval());
        if fewest == 0 {
            return Err(NoInterval::NoTrial);
        }
        if fewest < needed {
            return Err(NoInterval::TooFewTrials { statistic: self.statistic, fewest, needed });
        }
        let sides = self.sides();
        let Some(combined) = self.combined(sides) else { return Err(NoInterval::NoTrial) };
        if self.kind == Kind::Ratio && sides[1] == Some(0.0) {
            return Err(NoInterval::ZeroDenominator);
        }
        let is_mean = self.statistic == Statistic::Mean;
        if is_mean && !combined.is_finite() {
            return Err(NoInterval::CensoredMean);
        }
        let (method, (low, high)) = match (is_mean, self.strata.as_slice()) {
            (true, [stratum]) if self.kind == Kind::Value => {
                let found = bca::resampled_or_analytic(&stratum.first, level, seed, stream, resamples);
                (Method::Bca, (found.low, found.high))
            }
            _ => match self.order_statistics(level) {
                Some(found) => (Method::OrderStatistics, found),
                None => {
                    let found = self.bootstrap(level, seed, stream, resamples);
                    (Method::Bootstrap, found.ok_or(NoInterval::NoResample)?)
                }
            },
        };
        // The percentile interval of a skewed sample may exclude the estimate; it is extended to it.
        let interval = match combined.is_nan() {
            true => Interval { low, high, level },
            false => Interval { low: low.min(combined), high: high.max(combined), level },
        };
        // The ends of an interval without a measured value: infinite, or a ratio with an infinite second side.
        let is_divided_by_infinity = self.kind == Kind::Ratio && self.censored_sides()[1] && interval.high == 0.0;
        let has_no_bound = interval.low == f64::INFINITY
            || interval.high == f64::NEG_INFINITY
            || (interval.low == f64::NEG_INFINITY && interval.high == f64::INFINITY);
        match is_divided_by_infinity || has_no_bound {
            true => Err(NoInterval::Censored),
            false => Ok((interval, method)),
        }
    }

    /// The exact interval of the median or another quantile of one cell; `None` for any other contrast.
    fn order_statistics(&self, level: f64) -> Option<(f64, f64)> {
        let [stratum] = self.strata.as_slice() else { return None };
        let found = match self.statistic.quantile().filter(|_| self.kind == Kind::Value)? {
            0.5 => median::interval(&stratum.first, level),
            p => quantile_interval(&stratum.first, p, level),
        };
        found.map(|found| (found.low, found.high))
    }

    fn bootstrap(&self, level: f64, seed: u64, stream: u64, resamples: usize) -> Option<(f64, f64)> {
        let replicates = self.replicates(seed, stream, resamples);
        let tail = (1.0 - level) / 2.0;
        match self.statistic {
            // Only means need the expansion: the plain percentile interval of a median covers enough.
            Statistic::Median | Statistic::P90 | Statistic::P95 | Statistic::P99 => {
                self.percentile_with_undefined(replicates, resamples, tail)
            }
            Statistic::Mean => {
                let Spread { degrees, shrink, acceleration } = self.spread()?;
                let expanded = percentile(&replicates, expanded_tail(level, degrees, shrink)?)?;
                let corrected = self.bias_corrected(&replicates, acceleration, tail)?;
                Some((expanded.0.min(corrected.0), expanded.1.max(corrected.1)))
            }
        }
    }

    /// The estimates of resamples, in ascending order.
    fn replicates(&self, seed: u64, stream: u64, resamples: usize) -> Vec<f64> {
        let sizes: Vec<usize> = self.strata.iter().map(Stratum::trials).collect();
        let mut drawn = self.clone();
        replicates(&sizes, resamples, &mut generator(seed, stream), |positions| {
            for ((to, from), positions) in drawn.strata.iter_mut().zip(&self.strata).zip(positions) {
                for (to, from) in [(&mut to.first, &from.first), (&mut to.second, &from.second)] {
                    for (value, &at) in to.iter_mut().zip(positions) {
                        *value = from[at];
                    }
                }
            }
            // A resample may be censored although the sample is not; its replicate is then infinite or left out.
            drawn.combined([drawn.side(|s| &s.first), drawn.side(|s| &s.second)]).unwrap_or(f64::NAN)
        })
    }

    /// The percentile interval of replicates in ascending order. A resample without a defined value (both sides are
    /// censored) can have any value, so it counts as the smallest one at the lower end and as infinite at the upper
    /// end.
    fn percentile_with_undefined(&self, replicates: Vec<f64>, resamples: usize, tail: f64) -> Option<(f64, f64)> {
        let undefined = resamples - replicates.len();
        if undefined == 0 {
            return percentile(&replicates, tail);
        }
        let mut values = self.strata.iter().flat_map(|stratum| stratum.first.iter().chain(&stratum.second));
        let is_never_negative = self.kind == Kind::Ratio && values.all(|value| *value >= 0.0);
        let smallest = if is_never_negative { 0.0 } else { f64::NEG_INFINITY };
        let below = [vec![smallest; undefined], replicates.clone()].concat();
        let above = [replicates, vec![f64::INFINITY; undefined]].concat();
        Some((percentile(&below, tail)?.0, percentile(&above, tail)?.1))
    }

    /// The BCa interval of replicates in ascending order (Davison & Hinkley 1997, section 5.3.2; for several samples
    /// p. 210).
    fn bias_corrected(&self, replicates: &[f64], acceleration: f64, tail: f64) -> Option<(f64, f64)> {
        let (normal, bias) = (Normal::standard(), self.bias(replicates)?);
        if !bias.is_finite() {
            return percentile(replicates, tail);
        }
        let share = |tail: f64| {
            let z = bias + normal.inverse_cdf(tail);
            normal.cdf(bias + z / (1.0 - acceleration * z))
        };
        percentile_between(replicates, share(tail), share(1.0 - tail))
    }

    /// The bias correction of BCa: the normal quantile of the share of replicates below the estimate. It is infinite if
    /// all are on one side.
    fn bias(&self, replicates: &[f64]) -> Option<f64> {
        let estimate = self.estimate()?;
        let below = replicates.partition_point(|value| *value < estimate);
        let same = replicates.partition_point(|value| *value <= estimate) - below;
        Some(Normal::standard().inverse_cdf((below as f64 + same as f64 / 2.0) / replicates.len() as f64))
    }

    /// The bootstrap of a contrast of means as a test: its one-sided p-values agree with [`Self::interval`]. `None` if
    /// the interval is not one of the bootstrap, and unless the statistic is the mean.
    #[must_use]
    pub fn mean_test(&self, seed: u64, stream: u64) -> Option<MeanTest> {
        let (_, method) = self.interval(0.95, seed, stream)?;
        let Spread { degrees, shrink, acceleration } = self.spread()?;
        let replicates = self.replicates(seed, stream, RESAMPLES);
        let bias = self.bias(&replicates)?;
        (method == Method::Bootstrap && self.statistic == Statistic::Mean).then_some(MeanTest {
            replicates,
            degrees,
            shrink,
            bias,
            acceleration,
        })
    }

    /// The degrees of freedom of the estimate's variance by the delta method (B. L. Welch, Biometrika 34, 1947; F. E.
    /// Satterthwaite, Biometrics Bulletin 2, 1946), the ratio of the bootstrap's standard error to the unbiased one,
    /// and the acceleration of BCa.
    fn spread(&self) -> Option<Spread> {
        let cells = |of: fn(&Stratum) -> &Vec<f64>| self.strata.iter().filter(|s| !of(s).is_empty()).count() as f64;
        let (to_first, to_second) = match self.kind {
            Kind::Value => (1.0, 0.0),
            Kind::Difference => (1.0, -1.0),
            Kind::Ratio => {
                let second = self.side(|stratum| &stratum.second)?;
                (1.0 / second, -self.estimate()? / second)
            }
        };
        let (first, second) = (to_first / cells(|s| &s.first), to_second / cells(|s| &s.second).max(1.0));
        let (mut variance, mut resampled, mut squares, mut cubes) = (0.0, 0.0, 0.0, 0.0);
        for stratum in &self.strata {
            let trials = stratum.trials();
            let value_at = |values: &[f64], at: usize| values.get(at).copied().unwrap_or(0.0);
            let changes: Vec<f64> = (0..trials)
                .map(|at| first * value_at(&stratum.first, at) + second * value_at(&stratum.second, at))
                .collect();
            let n = trials as f64;
            let own = standard_deviation(&changes)?.powi(2) / n;
            let middle = mean(&changes)?;
            variance += own;
            resampled += own * (n - 1.0) / n;
            squares += own * own / (n - 1.0);
            cubes += changes.iter().map(|change| (change - middle).powi(3)).sum::<f64>() / n.powi(3);
        }
        if variance > 0.0 {
            return Some(Spread {
                degrees: variance * variance / squares,
                shrink: (resampled / variance).sqrt(),
                acceleration: cubes / (6.0 * resampled.powf(1.5)),
            });
        }
        let n = self.fewest() as f64;
        Some(Spread { degrees: n - 1.0, shrink: ((n - 1.0) / n).sqrt(), acceleration: 0.0 })
    }

    fn side(&self, of: fn(&Stratum) -> &Vec<f64>) -> Option<f64> {
        let statistic = |values: &[f64]| match self.statistic.quantile() {
            None => mean(values),
            Some(0.5) => median(values),
            Some(p) => quantile(values, p).filter(|_| smallest_n(p, 0.95).is_some_and(|least| values.len() >= least)),
        };
        let values: Vec<f64> = self.strata.iter().filter_map(|stratum| statistic(of(stratum))).collect();
        mean(&values)
    }
}

/// The one-sided p-values of a contrast of means, by inversion of its bootstrap interval: the smallest tail at which the
/// interval excludes a limit (B. Efron & R. J. Tibshirani, An Introduction to the Bootstrap, 1993, section 15.4).
#[derive(Clone, Debug, PartialEq)]
pub struct MeanTest {
    /// In ascending order.
    replicates: Vec<f64>,
    degrees: f64,
    shrink: f64,
    /// Bias correction and acceleration of BCa.
    bias: f64,
    acceleration: f64,
}

impl MeanTest {
    /// The p-value of the hypothesis that the contrast is `limit` or less.
    #[must_use]
    pub fn p_above(&self, limit: f64) -> f64 {
        self.p(self.replicates.partition_point(|value| *value <= limit), End::Low)
    }

    /// The p-value of the hypothesis that the contrast is `limit` or more.
    #[must_use]
    pub fn p_below(&self, limit: f64) -> f64 {
        self.p(self.replicates.len() - self.replicates.partition_point(|value| *value < limit), End::High)
    }

    /// The p-value of the hypothesis that the contrast is more than `limit`.
    #[must_use]
    pub fn p_at_most(&self, limit: f64) -> f64 {
        self.p(self.replicates.len() - self.replicates.partition_point(|value| *value <= limit), End::High)
    }

    /// The p-value of the hypothesis that the contrast is less than `limit`.
    #[must_use]
    pub fn p_at_least(&self, limit: f64) -> f64 {
        self.p(self.replicates.partition_point(|value| *value < limit), End::Low)
    }

    /// The smallest two-sided p-value.
    #[must_use]
    pub fn smallest_p(&self) -> f64 {
        (2.0 * self.p(0, End::Low).min(self.p(0, End::High))).min(1.0)
    }

    /// The p-value if `against` replicates contradict the alternative; `end` is the end of the interval that must exclude
    /// the limit. The interval is the wider one of two, so the p-value is the larger one.
    fn p(&self, against: usize, end: End) -> f64 {
        let tail = (against + 1) as f64 / (self.replicates.len() + 1) as f64;
        if tail >= 1.0 {
            return 1.0;
        }
        let expanded = contracted_tail(tail, self.degrees, self.shrink).unwrap_or(1.0);
        let normal = Normal::standard();
        let share = if end == End::Low { tail } else { 1.0 - tail };
        // The inverse of the shares of BCa.
        let distance = normal.inverse_cdf(share) - self.bias;
        let score = distance / (1.0 + self.acceleration * distance) - self.bias;
        let corrected = if end == End::Low { normal.cdf(score) } else { normal.cdf(-score) };
        if corrected.is_nan() { expanded } else { expanded.max(corrected) }
    }
}

/// An end of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Low,
    High,
}

/// See [`Contrast::spread`].
struct Spread {
    degrees: f64,
    shrink: f64,
    acceleration: f64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::stats::coverage::normal;

    fn side(first: bool, cells: &[&[f64]]) -> Vec<Stratum> {
        let stratum = |values: &&[f64]| match first {
            true => Stratum { first: values.to_vec(), second: Vec::new() },
            false => Stratum { first: Vec::new(), second: values.to_vec() },
        };
        cells.iter().map(stratum).collect()
    }

    fn contrast(kind: Kind, statistic: Statistic, first: &[&[f64]], second: &[&[f64]]) -> Contrast {
        Contrast { kind, statistic, strata: [side(true, first), side(false, second)].concat() }
    }

    #[test]
    fn cells_have_equal_weight_for_any_number_of_trials() {
        let of = |kind, statistic| {
            contrast(kind, statistic, &[&[10.0, 10.0, 10.0, 14.0], &[20.0]], &[&[5.0], &[5.0, 5.0]]).estimate().unwrap()
        };
        assert_eq!(of(Kind::Value, Statistic::Mean), 15.5);
        assert_eq!(of(Kind::Value, Statistic::Median), 15.0);
        assert_eq!(of(Kind::Ratio, Statistic::Median), 3.0);
        assert_eq!(of(Kind::Difference, Statistic::Median), 10.0);
        assert_eq!(contrast(Kind::Ratio, Statistic::Mean, &[&[1.0]], &[]).estimate(), None);
        assert_eq!(contrast(Kind::Ratio, Statistic::Mean, &[&[1.0]], &[&[0.0]]).estimate(), None);
    }

    #[test]
    fn statistics_have_the_number_of_trials_of_their_interval() {
        for p in [Statistic::Median, Statistic::P90, Statistic::P95, Statistic::P99] {
            assert_eq!(Some(p.trials_for_interval()), smallest_n(p.quantile().unwrap(), 0.95));
        }
        assert_eq!(Statistic::Mean.trials_for_interval(), bca::MEAN_INTERVAL_FROM);
    }

    #[test]
    fn a_contrast_without_an_interval_has_a_true_reason() {
        let reason = |made: &Contrast| made.interval_or_bound(0.95, 1, 1).unwrap_err();
        let (six, seven) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        let few = |statistic, fewest, needed| NoInterval::TooFewTrials { statistic, fewest, needed };
        let one = contrast(Kind::Value, Statistic::Median, &[&seven, &six[..5]], &[]);
        assert_eq!(reason(&one), few(Statistic::Median, 5, 6));
        assert_eq!(reason(&contrast(Kind::Value, Statistic::Mean, &[&seven], &[])), few(Statistic::Mean, 7, 100));
        assert_eq!(reason(&contrast(Kind::Value, Statistic::P90, &[&seven], &[])), few(Statistic::P90, 7, 29));
        let zero = contrast(Kind::Ratio, Statistic::Median, &[&seven], &[&[0.0; 6]]);
        assert_eq!(reason(&zero), NoInterval::ZeroDenominator);
        assert_eq!(reason(&contrast(Kind::Ratio, Statistic::Median, &[&six], &[])), NoInterval::NoTrial);
        let never = contrast(Kind::Value, Statistic::Median, &[&[f64::INFINITY; 6]], &[]);
        assert_eq!(reason(&never), NoInterval::Censored);
    }

    /// 4 of 10 values are measured, so the median is censored. It is at least the second smallest value.
    #[test]
    fn a_censored_side_has_a_bound() {
        let censored = [12.0, 11.0, 13.0, 14.0].into_iter().chain([f64::INFINITY; 6]).collect::<Vec<f64>>();
        let plain = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5];
        let of = |kind, first: &[f64], second: &[&[f64]]| {
            let made = contrast(kind, Statistic::Median, &[first], second);
            assert_eq!((made.estimate(), made.interval(0.95, 1, 1)), (None, None));
            made.interval_or_bound(0.95, 1, 1).unwrap().0
        };
        let value = of(Kind::Value, &censored, &[]);
        assert_eq!((value.low, value.high), (12.0, f64::INFINITY));
        let ratio = of(Kind::Ratio, &censored, &[&plain]);
        assert!(ratio.low > 11.0 / 1.5 && ratio.low < 14.0 && ratio.high == f64::INFINITY, "{ratio:?}");
        let difference = of(Kind::Difference, &censored, &[&plain]);
        assert!(difference.low > 9.5 && difference.low < 13.0 && difference.high == f64::INFINITY, "{difference:?}");
        let inverse = contrast(Kind::Ratio, Statistic::Median, &[&plain], &[&censored]);
        let inverse = inverse.interval_or_bound(0.95, 1, 1).unwrap().0;
        assert!(inverse.low == 0.0 && inverse.high < 1.5 / 11.0, "{inverse:?}");
        let both = contrast(Kind::Ratio, Statistic::Median, &[&censored], &[&censored]);
        assert_eq!(both.interval_or_bound(0.95, 1, 1).unwrap().0.high, f64::INFINITY);
    }

    /// The two metrics are correlated, so their difference varies little; resampled separately, its interval is 30
    /// wide.
    #[test]
    fn a_cell_on_both_sides_is_resampled_as_one() {
        let first: Vec<f64> = (0..120).map(|n| 100.0 + 10.0 * f64::from(n)).collect();
        let second: Vec<f64> = first.iter().zip(0..).map(|(value, n)| value - 50.0 - f64::from(n % 2)).collect();
        let made =
            Contrast { kind: Kind::Difference, statistic: Statistic::Mean, strata: vec![Stratum { first, second }] };
        let (found, method) = made.interval(0.95, 1, 1).unwrap();
        assert_eq!(method, Method::Bootstrap);
        assert!(found.low >= 50.0 && found.high <= 51.0, "{found:?}");
    }

    #[test]
    fn equal_values_have_an_interval_of_zero_width() {
        for (statistic, n) in [(Statistic::Median, 6), (Statistic::Mean, 100)] {
            let made = contrast(Kind::Ratio, statistic, &[&vec![8.0; n]], &[&vec![4.0; n]]);
            let (found, _) = made.interval(0.95, 1, 1).unwrap();
            assert_eq!((found.low, found.high), (2.0, 2.0));
        }
    }

    /// The share of simulated studies whose interval contains the true ratio of 1 or the true value of 100.
    fn coverage(
        kind: Kind,
        statistic: Statistic,
        sizes: [&[usize]; 2],
        mut draw: impl FnMut(&mut ChaCha8Rng, usize) -> f64,
    ) -> f64 {
        const STUDIES: u64 = 1000;
        let mut covered = 0;
        for study in 0..STUDIES {
            let mut random = generator(2019, study);
            let mut cells = |sizes: &[usize], side: usize| -> Vec<Vec<f64>> {
                sizes.iter().map(|&n| (0..n).map(|_| draw(&mut random, side)).collect()).collect()
            };
            let (first, second) = (cells(sizes[0], 0), cells(sizes[1], 1));
            let (first, second): (Vec<&[f64]>, Vec<&[f64]>) =
                (first.iter().map(Vec::as_slice).collect(), second.iter().map(Vec::as_slice).collect());
            let (found, _) =
                contrast(kind, statistic, &first, &second).resampled_interval(0.95, study, 1, 499).unwrap();
            let truth = if kind == Kind::Value { 100.0 } else { 1.0 };
            covered += u64::from(found.low <= truth && truth <= found.high);
        }
        covered as f64 / STUDIES as f64
    }

    /// 95 % intervals contain the true value in 93 % to 99.9 % of studies (a thousand studies have an error of 1.4
    /// %).
    #[test]
    fn intervals_reach_their_level() {
        let even = |random: &mut ChaCha8Rng, _: usize| 100.0 + 5.0 * normal(random);
        let skewed = |random: &mut ChaCha8Rng, _: usize| 100.0 * (0.3 * normal(random)).exp();
        let unequal = |random: &mut ChaCha8Rng, side: usize| 100.0 + [5.0, 0.05][side] * normal(random);
        let (mean, median) = (Statistic::Mean, Statistic::Median);
        let studies = [
            ("value", coverage(Kind::Value, median, [&[6], &[]], skewed)),
            ("value of 3 cells", coverage(Kind::Value, median, [&[6, 7, 8], &[]], even)),
            ("ratio of medians", coverage(Kind::Ratio, median, [&[10, 10], &[8]], skewed)),
            ("ratio of medians, one side noisy", coverage(Kind::Ratio, median, [&[6], &[10, 10]], unequal)),
            ("mean", coverage(Kind::Value, mean, [&[100], &[]], even)),
            ("ratio of means", coverage(Kind::Ratio, mean, [&[100], &[100]], even)),
        ];
        for (study, share) in studies {
            println!("{study}: {share}");
        }
        for (study, share) in studies {
            assert!((0.93..=0.999).contains(&share), "{study}: {share}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn an_interval_contains_its_estimate_and_is_reproducible(
            first in prop::collection::vec(prop::collection::vec(1.0_f64..1e4, 6..14), 1..4),
            second in prop::collection::vec(prop::collection::vec(1.0_f64..1e4, 6..14), 1..4),
            seed: u64,
        ) {
            let of = |cells: &[Vec<f64>]| cells.to_vec();
            let (first, second) = (of(&first), of(&second));
            let (first, second): (Vec<&[f64]>, Vec<&[f64]>) =
                (first.iter().map(Vec::as_slice).collect(), second.iter().map(Vec::as_slice).collect());
            for kind in [Kind::Value, Kind::Ratio, Kind::Difference] {
                let second = if kind == Kind::Value { &[][..] } else { &second };
                let made = contrast(kind, Statistic::Median, &first, second);
                let (found, method) = made.resampled_interval(0.95, seed, 3, 199).unwrap();
                let estimate = made.estimate().unwrap();
                prop_assert!(found.low <= estimate && estimate <= found.high);
                prop_assert_eq!(made.resampled_interval(0.95, seed, 3, 199), Ok((found, method)));
            }
        }

        #[test]
        fn a_change_of_unit_scales_values_and_keeps_ratios(
            first in prop::collection::vec(1.0_f64..1e4, 6..14),
            second in prop::collection::vec(1.0_f64..1e4, 6..14),
        ) {
            let scaled = |values: &[f64]| values.iter().map(|value| value * 8.0).collect::<Vec<_>>();
            for (kind, factor) in [(Kind::Value, 8.0), (Kind::Difference, 8.0), (Kind::Ratio, 1.0)] {
                let one = contrast(kind, Statistic::Median, &[&first], if kind == Kind::Value { vec![] } else { vec![&second[..]] }.as_slice());
                let (a, b) = (scaled(&first), scaled(&second));
                let other = contrast(kind, Statistic::Median, &[&a], if kind == Kind::Value { vec![] } else { vec![&b[..]] }.as_slice());
                let (one, other) = (one.resampled_interval(0.95, 1, 1, 199).unwrap().0, other.resampled_interval(0.95, 1, 1, 199).unwrap().0);
                prop_assert!((one.low * factor - other.low).abs() <= 1e-9 * other.low.abs().max(1.0));
                prop_assert!((one.high * factor - other.high).abs() <= 1e-9 * other.high.abs().max(1.0));
            }
        }
    }
}
