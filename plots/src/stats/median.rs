//! The median and its distribution-free order-statistic interval.

use serde::Serialize;
use statrs::distribution::{Binomial, DiscreteCDF};

use super::sorted::Sorted;

/// The number of values from which on the median has a 95 % interval (see [`smallest_n`](super::quantile::smallest_n)).
pub const MEDIAN_INTERVAL_FROM: usize = 6;

/// A confidence interval, in the unit of the values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
    /// Confidence level. For an order-statistic interval the exact coverage for continuous data, at least the requested
    /// level.
    pub level: f64,
}

/// The sample median; for an even number of values the mean of the two middle ones. `None` for an empty sample.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    Sorted::new(values).median()
}

/// The order-statistic interval of the population median: the narrowest symmetric interval `[x(k), x(n+1-k)]` whose
/// coverage is at least `level`. The coverage is `1 - 2 P(B <= k - 1)` with B binomial(n, 1/2) (W. J. Conover,
/// Practical Nonparametric Statistics, 3rd ed., 1999, section 3.2; Hahn & Meeker, Statistical Intervals, 1991,
/// section 5.2).
///
/// `None` if the coverage of the whole range is below `level`: below 6 values for 95 %.
#[must_use]
pub fn interval(values: &[f64], level: f64) -> Option<Interval> {
    Sorted::new(values).median_interval(level)
}

/// The rank k, from 1, of the lower end of [`interval`] in a sample of `n` values, and the coverage of the interval.
pub(super) fn interval_rank(n: usize, level: f64) -> Option<(usize, f64)> {
    let binomial = Binomial::new(0.5, n as u64).ok()?;
    let coverage = |k: usize| 1.0 - 2.0 * binomial.cdf(k as u64 - 1);
    // Coverage falls with k; the largest sufficient k is in `enough..too_far`.
    let (mut enough, mut too_far) = (0, n / 2 + 1);
    while too_far - enough > 1 {
        let middle = usize::midpoint(enough, too_far);
        if coverage(middle) >= level { enough = middle } else { too_far = middle }
    }
    (enough > 0).then(|| (enough, coverage(enough)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Ranks and coverage of the 95 % interval of the median, from the binomial sums in Conover, table A3.
    #[test]
    fn ranks_and_coverage_are_those_of_the_binomial_table() {
        let ramp = |n: u32| (1..=n).map(f64::from).collect::<Vec<_>>();
        assert_eq!(interval(&ramp(5), 0.95), None);
        for (n, low, high, level) in
            [(6, 1.0, 6.0, 0.96875), (10, 2.0, 9.0, 0.978_515_625), (30, 10.0, 21.0, 0.957_226)]
        {
            let found = interval(&ramp(n), 0.95).unwrap();
            assert_eq!((found.low, found.high), (low, high), "n = {n}");
            assert!((found.level - level).abs() < 1e-6, "n = {n}: {}", found.level);
        }
    }

    proptest! {
        #[test]
        fn the_interval_contains_the_median_and_is_within_the_data(values in prop::collection::vec(-1e6_f64..1e6, 6..200)) {
            let (middle, found) = (median(&values).unwrap(), interval(&values, 0.95).unwrap());
            prop_assert!(found.low <= middle && middle <= found.high);
            prop_assert!(values.contains(&found.low) && values.contains(&found.high));
            prop_assert!(found.level >= 0.95 && found.level <= 1.0);
        }

        #[test]
        fn the_median_moves_with_the_data(values in prop::collection::vec(-1e6_f64..1e6, 1..50), shift in -1e3_f64..1e3) {
            let moved: Vec<f64> = values.iter().map(|value| value + shift).collect();
            prop_assert!((median(&moved).unwrap() - median(&values).unwrap() - shift).abs() < 1e-6);
        }
    }
}
