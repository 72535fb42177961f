//! Statistics over trials.

use serde::{Deserialize, Serialize};

/// A statistic over the trials of a cell.
///
/// ```
/// use microbench_formats::statistic::Statistic;
///
/// let statistic: Statistic = "p90".parse().unwrap();
/// assert_eq!((statistic.label(), statistic.quantile()), ("90th percentile", Some(0.9)));
/// ```
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Statistic {
    Median,
    Mean,
    /// 90th percentile; its 95 % interval requires 29 trials.
    P90,
    /// 95th percentile; its 95 % interval requires 59 trials.
    P95,
    /// 99th percentile; its 95 % interval requires 299 trials.
    P99,
}

impl Statistic {
    /// The name in prose, for example `90th percentile`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Median => "median",
            Self::Mean => "mean",
            Self::P90 => "90th percentile",
            Self::P95 => "95th percentile",
            Self::P99 => "99th percentile",
        }
    }

    /// The number of trials of each cell from which on the statistic has a 95 % interval. For quantiles it is the exact
    /// number of an order-statistic interval; for the mean it is the number from which on the interval covers the mean
    /// of boots of which 5 % stall.
    #[must_use]
    pub fn trials_for_interval(self) -> usize {
        match self {
            Self::Median => 6,
            Self::Mean => 100,
            Self::P90 => 29,
            Self::P95 => 59,
            Self::P99 => 299,
        }
    }

    /// The order of the quantile, from 0 to 1; `None` for the mean.
    #[must_use]
    pub fn quantile(self) -> Option<f64> {
        match self {
            Self::Median => Some(0.5),
            Self::Mean => None,
            Self::P90 => Some(0.9),
            Self::P95 => Some(0.95),
            Self::P99 => Some(0.99),
        }
    }
}
