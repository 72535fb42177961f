//! Sample quantiles and their distribution-free order-statistic intervals.

use statrs::distribution::{Binomial, Discrete};

use super::median::Interval;
use super::sorted::Sorted;

/// The `p`-quantile by linear interpolation between order statistics, `x(1 + (n - 1) p)`: type 7 of R. J. Hyndman &
/// Y. Fan, Sample quantiles in statistical packages, The American Statistician 50 (1996). `None` for an empty sample.
#[must_use]
pub fn quantile(values: &[f64], p: f64) -> Option<f64> {
    Sorted::new(values).quantile(p)
}

/// The smallest sample size at which the range of the sample covers the `p`-quantile with at least `level`. This is the
/// smallest `n` with `1 - p^n - (1 - p)^n >= level` (W. J. Conover, Practical Nonparametric Statistics, 3rd ed., 1999,
/// section 3.2).
///
/// At 95 % it is 6 for the median, 29 for the 90th percentile, 59 for the 95th, 299 for the 99th. `None` unless `0 <
/// p < 1` and `0 < level < 1`.
#[must_use]
pub fn smallest_n(p: f64, level: f64) -> Option<usize> {
    let inside = |value: f64| value > 0.0 && value < 1.0;
    if !(inside(p) && inside(level)) {
        return None;
    }
    // A lower bound: the larger of the two powers alone must be at most 1 - level.
    let at_least = ((1.0 - level).ln() / p.max(1.0 - p).ln()).floor() as i32;
    let n = (at_least.max(1)..).find(|&n| 1.0 - p.powi(n) - (1.0 - p).powi(n) >= level)?;
    usize::try_from(n).ok()
}

/// The order-statistic interval `[x(l), x(u)]` that covers the population's `p`-quantile with at least `level`. Its
/// coverage is `P(l <= B < u)` with B binomial(n, p) (Conover 1999, section 3.2; Hahn & Meeker, Statistical
/// Intervals, 1991, section 5.2). The ranks are extended from the quantile's own rank, each time on the side that
/// adds more coverage.
///
/// `None` below [`smallest_n`] values.
#[must_use]
pub fn quantile_interval(values: &[f64], p: f64, level: f64) -> Option<Interval> {
    Sorted::new(values).quantile_interval(p, level)
}

/// The ranks, from 1, of the ends of [`quantile_interval`] in a sample of `n` values, and the coverage of the interval.
pub(super) fn interval_ranks(n: usize, p: f64, level: f64) -> Option<(usize, usize, f64)> {
    if n < smallest_n(p, level)? {
        return None;
    }
    let binomial = Binomial::new(p, n as u64).ok()?;
    let middle = ((n as f64 * p).floor() as usize).clamp(1, n - 1);
    let first = binomial.pmf(middle as u64);
    // Neighbouring probabilities have a known ratio: P(k + 1) / P(k) = (n - k) p / ((k + 1) (1 - p)).
    let odds = p / (1.0 - p);
    let down = |k: usize, at_k: f64| at_k * k as f64 / ((n - k + 1) as f64 * odds);
    let up = |k: usize, at_k: f64| at_k * (n - k) as f64 * odds / (k + 1) as f64;
    let (mut low, mut high, mut coverage) = (middle, middle + 1, first);
    let (mut at_low, mut at_high) = (down(middle, first), up(middle, first));
    while coverage < level {
        let below = if low > 1 { at_low } else { -1.0 };
        let above = if high < n { at_high } else { -1.0 };
        if below < 0.0 && above < 0.0 {
            return None;
        }
        if below >= above {
            low -= 1;
            coverage += below;
            at_low = down(low, below);
        } else {
            coverage += above;
            at_high = up(high, above);
            high += 1;
        }
    }
    Some((low, high, coverage))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quartiles_are_those_of_r() {
        // R: quantile(c(1, 2, 3, 4, 10)) and quantile(c(7, 15, 36, 39, 40, 41)).
        let five = [10.0, 1.0, 3.0, 2.0, 4.0];
        assert_eq!([0.25, 0.5, 0.75].map(|p| quantile(&five, p).unwrap()), [2.0, 3.0, 4.0]);
        let six = [7.0, 15.0, 36.0, 39.0, 40.0, 41.0];
        assert_eq!([0.25, 0.5, 0.75].map(|p| quantile(&six, p).unwrap()), [20.25, 37.5, 39.75]);
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn smallest_n_is_that_of_the_tables() {
        let found = [0.5, 0.9, 0.95, 0.99, 0.1].map(|p| smallest_n(p, 0.95).unwrap());
        assert_eq!(found, [6, 29, 59, 299, 29]);
        assert_eq!((smallest_n(0.0, 0.95), smallest_n(0.5, 1.0)), (None, None));
    }

    /// Coverage by SciPy 1.17: `binom.cdf(u - 1, n, p) - binom.cdf(l - 1, n, p)`.
    #[test]
    fn coverage_is_that_of_the_binomial_distribution() {
        let ramp = |n: u32| (1..=n).map(f64::from).collect::<Vec<_>>();
        for (n, p, low, high, level) in [
            (30, 0.5, 10.0, 21.0, 0.957226054743),
            (29, 0.9, 21.0, 29.0, 0.951348526189),
            (100, 0.9, 84.0, 96.0, 0.955690107191),
            (59, 0.95, 50.0, 59.0, 0.950861863836),
            (200, 0.95, 184.0, 197.0, 0.967152163857),
            (299, 0.99, 289.0, 299.0, 0.950206303456),
            (1000, 0.99, 984.0, 997.0, 0.963536309818),
        ] {
            let found = quantile_interval(&ramp(n), p, 0.95).unwrap();
            assert_eq!((found.low, found.high), (low, high), "n = {n}, p = {p}");
            assert!((found.level - level).abs() < 1e-9, "n = {n}, p = {p}: {}", found.level);
        }
        assert_eq!(quantile_interval(&ramp(28), 0.9, 0.95), None);
    }

    proptest! {
        #[test]
        fn an_interval_exists_from_smallest_n_on_and_reaches_its_level(n in 1_u32..400, p in 0.02_f64..0.98) {
            let ramp: Vec<f64> = (1..=n).map(f64::from).collect();
            let found = quantile_interval(&ramp, p, 0.95);
            prop_assert_eq!(found.is_some(), n as usize >= smallest_n(p, 0.95).unwrap());
            if let Some(found) = found {
                prop_assert!(found.level >= 0.95 && found.level <= 1.0 + 1e-9 && found.low < found.high);
            }
        }

        #[test]
        fn quantiles_rise_with_p_and_are_within_the_data(values in prop::collection::vec(-1e6_f64..1e6, 1..50), p in 0.0_f64..1.0, q in 0.0_f64..1.0) {
            let (low, high) = (p.min(q), p.max(q));
            let (a, b) = (quantile(&values, low).unwrap(), quantile(&values, high).unwrap());
            prop_assert!(a <= b + 1e-9);
            prop_assert_eq!(quantile(&values, 0.0), values.iter().copied().reduce(f64::min));
            prop_assert_eq!(quantile(&values, 1.0), values.iter().copied().reduce(f64::max));
        }
    }
}
