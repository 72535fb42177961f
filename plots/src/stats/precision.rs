//! The stopping rule: stop when the interval is narrow enough, never on a p-value.
//!
//! A look after every few trials computes the interval of the statistic. It is narrow enough if its half width is at
//! most the declared share of the statistic. Stopping at the first such look costs up to 1.2 % of coverage
//! (fixed-width sequential intervals: Y. S. Chow & H. Robbins, Annals of Mathematical Statistics 36, 1965); two looks
//! in a row keep the coverage, which the tests of this module simulate.

use microbench_formats::precision::{Look, Precision};

use super::bca;
use super::mean::mean;
use super::median::{interval, median};
use super::quantile::{quantile, quantile_interval};

/// The half width of the interval divided by the statistic; `None` without an interval, or if the statistic is zero.
#[must_use]
pub fn half_width(rule: &Precision, values: &[f64], level: f64, seed: u64) -> Option<f64> {
    let (middle, found) = match rule.statistic.quantile() {
        None => (mean(values)?, bca::interval(values, level, seed, 0).ok()?),
        Some(0.5) => (median(values)?, interval(values, level)?),
        Some(p) => (quantile(values, p)?, quantile_interval(values, p, level)?),
    };
    let share = (found.high - found.low) / 2.0 / middle.abs();
    share.is_finite().then_some(share)
}

/// The result of a look at the values of one cell, in trial order.
#[must_use]
pub fn look(rule: &Precision, values: &[f64], level: f64, seed: u64) -> Look {
    let [n_min, every, n_max] = [rule.n_min, rule.every, rule.n_max].map(|n| n as usize);
    let narrow = |n: usize| half_width(rule, &values[..n], level, seed).filter(|width| *width <= rule.relative);
    let earlier = values.len().checked_sub(every).filter(|earlier| *earlier >= n_min);
    let half_width = if values.len() < n_min { None } else { half_width(rule, values, level, seed) };
    match (narrow(values.len()), earlier.and_then(narrow)) {
        (Some(half_width), Some(_)) => Look::Enough { half_width },
        _ if values.len() >= n_max => Look::AtMost { half_width },
        _ => Look::GoOn { half_width },
    }
}

#[cfg(test)]
mod tests {
    use microbench_formats::statistic::Statistic;

    use super::*;

    fn rule(statistic: Statistic) -> Precision {
        Precision { metric: "m".into(), statistic, relative: 0.02, n_min: 30, every: 10, n_max: 100 }
    }

    #[test]
    fn a_narrow_interval_stops_at_the_second_look_in_a_row() {
        let values: Vec<f64> = (0..100).map(|n| 100.0 + f64::from(n % 3)).collect();
        let at = |n: usize| look(&rule(Statistic::Median), &values[..n], 0.95, 1);
        assert_eq!(at(20), Look::GoOn { half_width: None });
        assert!(matches!(at(30), Look::GoOn { half_width: Some(_) }));
        assert!(matches!(at(40), Look::Enough { .. }));
    }

    #[test]
    fn a_wide_interval_stops_at_n_max_with_its_half_width() {
        let values: Vec<f64> = (0..100).map(|n| 100.0 + 50.0 * f64::from(n % 7)).collect();
        let at = |statistic, n: usize| look(&rule(statistic), &values[..n], 0.95, 1);
        assert!(matches!(at(Statistic::Median, 90), Look::GoOn { half_width: Some(_) }));
        // A mean has no interval below 100 trials.
        assert_eq!(at(Statistic::Mean, 90), Look::GoOn { half_width: None });
        for statistic in [Statistic::Median, Statistic::Mean] {
            assert!(matches!(at(statistic, 100), Look::AtMost { half_width: Some(_) }), "{statistic:?}");
        }
    }
}
