//! Why a statistic has no interval.

use microbench_formats::statistic::Statistic;

/// Why a value, ratio or difference has neither an interval nor a bound.
///
/// ```
/// use microbench_formats::statistic::Statistic;
/// use microbench_plots::stats::no_interval::NoInterval;
///
/// let why = NoInterval::TooFewTrials { statistic: Statistic::Mean, fewest: 7, needed: 100 };
/// assert_eq!(
///     why.to_string(),
///     "the interval of a mean needs 100 trials of each cell; the smallest cell has 7"
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoInterval {
    /// A needed side has no trial with a value.
    #[error("a side has no trial with a value")]
    NoTrial,
    /// The smallest cell has fewer trials than an interval of the statistic needs.
    #[error(
        "the interval of a {} needs {needed} trials of each cell; the smallest cell has {fewest}", statistic.label()
    )]
    TooFewTrials { statistic: Statistic, fewest: usize, needed: usize },
    /// The second side of a ratio is zero.
    #[error("the second side is zero, so the ratio is not defined")]
    ZeroDenominator,
    /// Too many values are censored: no measured value bounds the estimate.
    #[error("too many values are censored: no measured value is a bound")]
    Censored,
    /// The mean contains a censored value, which is only known to be larger than the time that was waited.
    #[error("the mean of censored values is not known")]
    CensoredMean,
    /// No resample of the trials has a defined value.
    #[error("no resample of the trials has a defined value")]
    NoResample,
}
