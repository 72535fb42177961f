//! When there are enough trials: stop on precision, never on a p-value.
//!
//! A look after every so many trials at the interval of the statistic: it is narrow when its half width is at most the stated
//! share of the statistic. One look that finds it narrow may owe it to luck, which costs up to 1.2 % of coverage (fixed-width
//! sequential intervals: Y. S. Chow & H. Robbins, Annals of Mathematical Statistics 36, 1965); two looks in a row keep it. The
//! coverage is simulated in the tests of this folder.

use serde::{Deserialize, Serialize};

use super::bca;
use super::mean::mean;
use super::median::{interval, median};
use super::quantile::{quantile, quantile_interval};
use crate::record::Statistic;

/// A stopping rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Precision {
    /// [`Metric::name`](crate::record::Metric::name) of the metric that is looked at.
    pub metric: String,
    /// Its statistic over trials.
    pub statistic: Statistic,
    /// Half width of the 95 % interval, as a share of the statistic, that is narrow enough.
    pub relative: f64,
    /// Trials before the first look.
    pub n_min: u32,
    /// Trials between looks: whole blocks.
    pub every: u32,
    /// Trials after which a cell stops anyway.
    pub n_max: u32,
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "look")]
pub enum Look {
    /// The interval was narrow at this look and the one before: its half width as a share of the statistic.
    Enough {
        /// The share.
        half_width: f64,
    },
    /// There are as many trials as there may be.
    AtMost {
        /// The share, if there is an interval.
        half_width: Option<f64>,
    },
    /// More trials are needed.
    GoOn {
        /// The share, if there is an interval.
        half_width: Option<f64>,
    },
}

impl Precision {
    /// Half the interval's width over the statistic; `None` when there is no interval, or the statistic is zero.
    #[must_use]
    pub fn half_width(&self, values: &[f64], level: f64, seed: u64) -> Option<f64> {
        let (middle, found) = match self.statistic.share() {
            None => (mean(values)?, bca::interval(values, level, seed, 0).ok()?),
            Some(0.5) => (median(values)?, interval(values, level)?),
            Some(p) => (quantile(values, p)?, quantile_interval(values, p, level)?),
        };
        let share = (found.high - found.low) / 2.0 / middle.abs();
        share.is_finite().then_some(share)
    }

    /// Looks at the values of one cell's trials, in their order.
    #[must_use]
    pub fn look(&self, values: &[f64], level: f64, seed: u64) -> Look {
        let [n_min, every, n_max] = [self.n_min, self.every, self.n_max].map(|n| n as usize);
        let narrow = |n: usize| self.half_width(&values[..n], level, seed).filter(|width| *width <= self.relative);
        let earlier = values.len().checked_sub(every).filter(|earlier| *earlier >= n_min);
        let half_width = if values.len() < n_min { None } else { self.half_width(values, level, seed) };
        match (narrow(values.len()), earlier.and_then(narrow)) {
            (Some(half_width), Some(_)) => Look::Enough { half_width },
            _ if values.len() >= n_max => Look::AtMost { half_width },
            _ => Look::GoOn { half_width },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(statistic: Statistic) -> Precision {
        Precision { metric: "m".into(), statistic, relative: 0.02, n_min: 30, every: 10, n_max: 100 }
    }

    #[test]
    fn a_narrow_interval_is_confirmed_by_the_next_look() {
        let values: Vec<f64> = (0..100).map(|n| 100.0 + f64::from(n % 3)).collect();
        let look = |n: usize| rule(Statistic::Median).look(&values[..n], 0.95, 1);
        assert_eq!(look(20), Look::GoOn { half_width: None });
        assert!(matches!(look(30), Look::GoOn { half_width: Some(_) }));
        assert!(matches!(look(40), Look::Enough { .. }));
    }

    #[test]
    fn a_wide_one_stops_at_the_most_and_says_how_wide_it_is() {
        let values: Vec<f64> = (0..100).map(|n| 100.0 + 50.0 * f64::from(n % 7)).collect();
        for statistic in [Statistic::Median, Statistic::Mean] {
            assert!(
                matches!(rule(statistic).look(&values[..90], 0.95, 1), Look::GoOn { half_width: Some(_) }),
                "{statistic:?}"
            );
            assert!(matches!(rule(statistic).look(&values, 0.95, 1), Look::AtMost { half_width: Some(_) }));
        }
    }
}
