//! Intervals and tests over repetitions: runs or sessions of the same study, each with new hosts.
//!
//! Trials of one session share its hosts, so they show only the variation within it. The repetition is the top unit
//! (T. Kalibera and R. Jones, Rigorous Benchmarking in Reasonable Time, ISMM 2013, sections 6 and 7): a repetition gives
//! one value, the median or mean over its trials, and the spread of K values decides the width of the interval. It
//! includes the spread within repetitions, and no assumption about its share is needed.
//!
//! The interval of a value is `mean +- t(K - 1) sqrt(S^2 / K)`, with `S^2` the variance of the K values (Kalibera and
//! Jones, section 6.3). A comparison is the same with the difference of two sides, of their logarithms for a ratio.
//! Sides whose repetitions alternated, or which shared hosts, are paired: a repetition gives one difference. Others are
//! compared with the variances of both sides and the degrees of freedom of B. L. Welch (Biometrika 34, 1947).

use microbench_formats::plan::LEAST_REPETITIONS;
use microbench_formats::statistic::Statistic;
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::mean::{mean, standard_deviation};
use super::median::{Interval, median};

/// Smallest number of repetitions of an interval or test.
pub const SMALLEST: usize = LEAST_REPETITIONS as usize;

/// How the repetitions of two sides belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Design {
    /// Repetition r of both sides shared its hosts, or followed one after the other: variants of one run, or two
    /// interleaved runs.
    Paired,
    /// The repetitions of the sides are independent: two runs one after the other.
    Independent,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Second value divided by the first; the logarithms are compared.
    Ratio,
    /// Second value minus the first, in their unit.
    Difference,
}

/// Why repetitions are not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A side has too few repetitions with a value; with [`Design::Paired`], the number of pairs.
    #[error("{found} {} with values; an interval over repetitions needs {SMALLEST}", if *.found == 1 { "repetition" } else { "repetitions" })]
    TooFew {
        /// The smaller number of repetitions.
        found: usize,
    },
    /// The median of a repetition is censored, so its size is not known.
    #[error("the median of a repetition is censored")]
    Censored,
    /// A ratio of a value that is zero or negative.
    #[error("a repetition has a value of zero or less, of which no ratio is computed")]
    NotPositive,
}

/// A comparison of two sides over repetitions: an effect with the standard error and degrees of freedom of its t
/// distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RepetitionComparison {
    scale: Scale,
    /// Mean difference, of logarithms for [`Scale::Ratio`].
    effect: f64,
    standard_error: f64,
    /// Degrees of freedom.
    pub degrees: f64,
    /// Number of repetitions of each side that were compared.
    pub repetitions: [usize; 2],
}

/// The value of each repetition: median (or for [`Statistic::Mean`] the mean) over its trials. A repetition without a
/// trial has no value; one with more censored (infinite) trials than not is infinite.
#[must_use]
pub fn values(repetitions: &[Vec<f64>], statistic: Statistic) -> Vec<f64> {
    repetitions.iter().filter_map(|trials| value(trials, statistic)).collect()
}

fn value(trials: &[f64], statistic: Statistic) -> Option<f64> {
    if statistic == Statistic::Mean { mean(trials) } else { median(trials) }
}

/// The t interval of the mean of `values`, one for each repetition or run, in their unit. `None` below [`SMALLEST`]
/// values and if a value is not finite.
#[must_use]
pub fn interval(values: &[f64], level: f64) -> Option<Interval> {
    if values.len() < SMALLEST || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let standard_error = standard_deviation(values)? / (values.len() as f64).sqrt();
    let half = quantile(level, values.len() as f64 - 1.0)? * standard_error;
    let middle = mean(values)?;
    Some(Interval { low: middle - half, high: middle + half, level })
}

/// The two-sided quantile of Student's t distribution: the half width of an interval in standard errors.
fn quantile(level: f64, degrees: f64) -> Option<f64> {
    let t = StudentsT::new(0.0, 1.0, degrees).ok().filter(|_| level > 0.0 && level < 1.0)?;
    Some(t.inverse_cdf(0.5 + level / 2.0))
}

/// Compares the second side with the first. Each element of a side is a repetition: the values of its trials, infinite
/// if they are censored. With [`Design::Paired`] the element at the same position is the same repetition, and
/// repetitions without a value on a side are left out.
///
/// # Errors
/// [`Refusal`] if there are too few repetitions, or a value has no finite size or logarithm.
///
/// ```
/// use microbench_formats::statistic::Statistic;
/// use microbench_plots::stats::repetition::{Design, Scale, compare_repetitions};
///
/// // Three repetitions of two trials: the sessions differ by 10 %, the sides within a session by about 2 %.
/// let first = [vec![100.0, 101.0], vec![110.0, 111.0], vec![90.0, 91.0]];
/// let second = [vec![102.0, 103.0], vec![112.2, 113.2], vec![91.8, 92.9]];
/// let found = compare_repetitions(&first, &second, Statistic::Median, Design::Paired, Scale::Ratio)?;
/// assert!((found.estimate() - 1.02).abs() < 0.001);
/// assert!(found.interval(0.95).low > 1.01 && found.p() < 0.01);
/// // As independent sessions, they do not differ.
/// let apart = compare_repetitions(&first, &second, Statistic::Median, Design::Independent, Scale::Ratio)?;
/// assert!(apart.interval(0.95).low < 1.0 && apart.p() > 0.5);
/// # Ok::<(), microbench_plots::stats::repetition::Refusal>(())
/// ```
pub fn compare_repetitions(
    first: &[Vec<f64>],
    second: &[Vec<f64>],
    statistic: Statistic,
    design: Design,
    scale: Scale,
) -> Result<RepetitionComparison, Refusal> {
    let scaled = |value: f64| match scale {
        _ if !value.is_finite() => Err(Refusal::Censored),
        Scale::Ratio if value <= 0.0 => Err(Refusal::NotPositive),
        Scale::Ratio => Ok(value.ln()),
        Scale::Difference => Ok(value),
    };
    let side = |trials: &[f64]| value(trials, statistic).map(scaled).transpose();
    match design {
        Design::Paired => {
            let mut differences = Vec::new();
            for (first, second) in first.iter().zip(second) {
                if let (Some(first), Some(second)) = (side(first)?, side(second)?) {
                    differences.push(second - first);
                }
            }
            let k = differences.len();
            let effect = mean(&differences).filter(|_| k >= SMALLEST).ok_or(Refusal::TooFew { found: k })?;
            let deviation = standard_deviation(&differences).unwrap_or(0.0);
            let standard_error = deviation / (k as f64).sqrt();
            Ok(RepetitionComparison { scale, effect, standard_error, degrees: k as f64 - 1.0, repetitions: [k, k] })
        }
        Design::Independent => {
            let of = |side: &[Vec<f64>]| -> Result<Vec<f64>, Refusal> {
                values(side, statistic).into_iter().map(scaled).collect()
            };
            let (first, second) = (of(first)?, of(second)?);
            let found = first.len().min(second.len());
            let means = mean(&first).zip(mean(&second)).filter(|_| found >= SMALLEST);
            let (low, high) = means.ok_or(Refusal::TooFew { found })?;
            let variance = |values: &[f64]| standard_deviation(values).unwrap_or(0.0).powi(2) / values.len() as f64;
            let parts = [(variance(&first), first.len()), (variance(&second), second.len())];
            let total: f64 = parts.iter().map(|(part, _)| part).sum();
            let below: f64 = parts.iter().map(|(part, k)| part * part / (*k as f64 - 1.0)).sum();
            let degrees = if below > 0.0 { total * total / below } else { found as f64 - 1.0 };
            let repetitions = [first.len(), second.len()];
            Ok(RepetitionComparison { scale, effect: high - low, standard_error: total.sqrt(), degrees, repetitions })
        }
    }
}

impl RepetitionComparison {
    /// The ratio or difference of the second side to the first: of geometric means for [`Scale::Ratio`].
    #[must_use]
    pub fn estimate(&self) -> f64 {
        self.shown(self.effect)
    }

    /// The interval of the estimate at this confidence level.
    #[must_use]
    pub fn interval(&self, level: f64) -> Interval {
        let half = quantile(level, self.degrees).unwrap_or(f64::INFINITY) * self.standard_error;
        Interval { low: self.shown(self.effect - half), high: self.shown(self.effect + half), level }
    }

    /// Two-sided p-value of the hypothesis that the sides are equal. It agrees with the interval: p is at most 0.05
    /// exactly if the 95 % interval does not contain 1 (or 0 for a difference). It can be arbitrarily small.
    #[must_use]
    pub fn p(&self) -> f64 {
        let null = if self.scale == Scale::Ratio { 1.0 } else { 0.0 };
        let [above, below] = self.p_one_sided(null);
        (2.0 * above.min(below)).min(1.0)
    }

    /// One-sided p-values against `null`, a ratio or difference: of the hypothesis that the true value is at most
    /// `null`, and that it is at least `null`. With a margin, the first at `1 + margin` tests *beyond the margin*, and
    /// the larger of the first at `1 - margin` and the second at `1 + margin` tests *equivalent* (two one-sided tests;
    /// D. J. Schuirmann, J. Pharmacokinetics and Biopharmaceutics 15, 1987).
    #[must_use]
    pub fn p_one_sided(&self, null: f64) -> [f64; 2] {
        let null = if self.scale == Scale::Ratio { null.ln() } else { null };
        let distance = self.effect - null;
        if self.standard_error == 0.0 || distance.is_infinite() {
            let p = |is_against: bool| if is_against { 0.0 } else { 1.0 };
            return [p(distance > 0.0), p(distance < 0.0)];
        }
        let Ok(t) = StudentsT::new(0.0, 1.0, self.degrees) else { return [1.0, 1.0] };
        let score = distance / self.standard_error;
        [t.sf(score), t.cdf(score)]
    }

    fn shown(&self, effect: f64) -> f64 {
        if self.scale == Scale::Ratio { effect.exp() } else { effect }
    }
}

/// Number of trials of a repetition that gives the narrowest interval for a given total time (Kalibera and Jones 2013,
/// section 7.2): `ceil(sqrt(cost_of_repetition / cost_of_trial * within / between))`.
///
/// Costs are times in the same unit: of starting a repetition without its trials, and of one trial of each cell.
/// `within` is the variance of trials within repetitions, `between` the variance between repetitions without that part
/// ([`between_variance`]). `None` if `between` is zero or a value is not finite: then trials are as good as
/// repetitions.
#[must_use]
pub fn best_trials(cost_of_repetition: f64, cost_of_trial: f64, within: f64, between: f64) -> Option<f64> {
    let best = (cost_of_repetition / cost_of_trial * (within / between)).sqrt().ceil();
    (best.is_finite() && between > 0.0).then(|| best.max(1.0))
}

/// The variance between repetitions without the part that the trials within contribute: `S_2^2 - S_1^2 / n`, zero if
/// that is negative (Kalibera and Jones 2013, section 6.2). The first value is the mean variance within repetitions,
/// the second the variance between them. `None` below 2 repetitions of 2 trials.
#[must_use]
pub fn variances(repetitions: &[Vec<f64>]) -> Option<[f64; 2]> {
    let means: Vec<f64> = repetitions.iter().filter_map(|trials| mean(trials)).collect();
    let within: Vec<f64> = repetitions.iter().filter_map(|trials| Some(standard_deviation(trials)?.powi(2))).collect();
    let n = repetitions.iter().map(Vec::len).min()? as f64;
    let within = mean(&within)?;
    let between = standard_deviation(&means)?.powi(2) - within / n;
    Some([within, between.max(0.0)])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Computed by hand: mean 12, standard deviation 2, t(2) = 4.302653.
    #[test]
    fn the_interval_is_that_of_the_t_distribution() {
        let found = interval(&[10.0, 12.0, 14.0], 0.95).unwrap();
        let half = 4.302_653 * 2.0 / 3.0_f64.sqrt();
        assert!((found.low - (12.0 - half)).abs() < 1e-5 && (found.high - (12.0 + half)).abs() < 1e-5, "{found:?}");
        assert_eq!(interval(&[10.0, 12.0], 0.95), None);
        assert_eq!(interval(&[10.0, 12.0, f64::INFINITY], 0.95), None);
    }

    /// Computed by numeric integration of the density: t = 2.886751 with 4.959184 degrees of freedom, and
    /// t = 3.464102 with 2.
    #[test]
    fn p_values_are_those_of_the_t_distribution() {
        let repetitions = |values: &[f64]| values.iter().map(|value| vec![*value]).collect::<Vec<_>>();
        let (first, second) = (repetitions(&[10.0, 11.0, 12.0]), repetitions(&[12.0, 14.0, 13.0, 15.0]));
        let of = |design| compare_repetitions(&first, &second, Statistic::Median, design, Scale::Difference).unwrap();
        let (apart, paired) = (of(Design::Independent), of(Design::Paired));
        assert!((apart.p() - 0.034_648).abs() < 1e-6, "{}", apart.p());
        assert!((apart.degrees - 4.959_184).abs() < 1e-6, "{}", apart.degrees);
        assert!((paired.p() - 0.074_180).abs() < 1e-5, "{}", paired.p());
        assert_eq!((apart.repetitions, paired.repetitions), ([3, 4], [3, 3]));
    }

    #[test]
    fn repetitions_that_cannot_be_compared_are_refused_with_the_reason() {
        let (three, two) = (vec![vec![1.0]; 3], vec![vec![1.0]; 2]);
        let of = |first: &[Vec<f64>], second: &[Vec<f64>], scale| {
            compare_repetitions(first, second, Statistic::Median, Design::Independent, scale)
        };
        assert_eq!(of(&three, &two, Scale::Ratio), Err(Refusal::TooFew { found: 2 }));
        let censored = vec![vec![1.0], vec![f64::INFINITY], vec![1.0]];
        assert_eq!(of(&three, &censored, Scale::Ratio), Err(Refusal::Censored));
        let zero = vec![vec![0.0]; 3];
        assert_eq!(of(&zero, &three, Scale::Ratio), Err(Refusal::NotPositive));
        let exact = of(&three, &three, Scale::Ratio).unwrap();
        assert_eq!((exact.estimate(), exact.p(), exact.p_one_sided(1.01)), (1.0, 1.0, [1.0, 0.0]));
        // A repetition that failed on one side does not count as a pair.
        let gap = vec![vec![1.0], Vec::new(), vec![1.0]];
        let paired = compare_repetitions(&gap, &three, Statistic::Median, Design::Paired, Scale::Ratio);
        assert_eq!(paired, Err(Refusal::TooFew { found: 2 }));
        assert_eq!(
            Refusal::TooFew { found: 1 }.to_string(),
            "1 repetition with values; an interval over repetitions needs 3"
        );
    }

    /// Kalibera and Jones: with equal variances, a repetition that costs as much as 16 trials has 4 trials.
    #[test]
    fn the_best_number_of_trials_follows_costs_and_variances() {
        assert_eq!(best_trials(16.0, 1.0, 1.0, 1.0), Some(4.0));
        assert_eq!(best_trials(1.0, 1.0, 1.0, 100.0), Some(1.0));
        assert_eq!(best_trials(16.0, 1.0, 1.0, 0.0), None);
        let [within, between] = variances(&[vec![9.0, 11.0], vec![19.0, 21.0]]).unwrap();
        assert!((within - 2.0).abs() < 1e-12 && (between - 49.0).abs() < 1e-12, "{within} {between}");
    }

    proptest! {
        #[test]
        fn p_and_interval_agree(
            first in prop::collection::vec(90.0_f64..110.0, 3..8),
            second in prop::collection::vec(90.0_f64..110.0, 3..8),
            paired in any::<bool>(),
        ) {
            let side = |values: &[f64]| values.iter().map(|value| vec![*value]).collect::<Vec<_>>();
            let design = if paired { Design::Paired } else { Design::Independent };
            let found =
                compare_repetitions(&side(&first), &side(&second), Statistic::Median, design, Scale::Ratio).unwrap();
            let interval = found.interval(0.95);
            prop_assert!(interval.low <= found.estimate() && found.estimate() <= interval.high);
            prop_assert_eq!(found.p() <= 0.05, interval.low > 1.0 || interval.high < 1.0);
            // A shift beyond the interval is rejected at 2.5 %.
            prop_assert!((found.p_one_sided(interval.low)[0] - 0.025).abs() < 1e-6);
            prop_assert!((found.p_one_sided(interval.high)[1] - 0.025).abs() < 1e-6);
        }
    }
}
