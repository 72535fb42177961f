//! Statistics over trials.

use serde::{Deserialize, Serialize};

/// Statistic over trials.
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
    /// Sample median.
    Median,
    /// Arithmetic mean.
    Mean,
    /// 90th percentile; needs 29 trials.
    P90,
    /// 95th percentile; needs 59 trials.
    P95,
    /// 99th percentile; needs 299 trials.
    P99,
}

impl Statistic {
    /// As it stands in a sentence.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Median => "median",
            Self::Mean => "mean",
            Self::P90 => "90th percentile",
            Self::P95 => "95th percentile",
            Self::P99 => "99th percentile",
        }
    }

    /// The share of values below the quantile that it is; `None` for the mean.
    #[must_use]
    pub fn share(self) -> Option<f64> {
        match self {
            Self::Median => Some(0.5),
            Self::Mean => None,
            Self::P90 => Some(0.9),
            Self::P95 => Some(0.95),
            Self::P99 => Some(0.99),
        }
    }
}
