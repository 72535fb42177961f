//! Drift: whether values change with the order in which they were measured.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::mean::mean;
use super::sorted::Sorted;

/// The correlation of values with their order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// Spearman's rank correlation of value and order, -1 to 1.
    pub rank_correlation: f64,
    /// Two-sided p-value of `rank_correlation`.
    pub p: f64,
    /// Autocorrelation at lag 1.
    pub lag_1: f64,
}

/// The drift of values in the order in which they were measured: Spearman's rank correlation with mid-ranks for ties,
/// its p-value by Student's t with n - 2 degrees of freedom (Conover 1999, section 5.4), and the lag-1
/// autocorrelation (G. E. P. Box, G. M. Jenkins & G. C. Reinsel, Time Series Analysis, 4th ed., 2008, section 2.1.5).
///
/// `None` below 5 values, if all values are equal, and if a value is not finite.
#[must_use]
pub fn drift(values: &[f64]) -> Option<Drift> {
    drift_of_sorted(values, &Sorted::new(values))
}

/// Like [`drift`], for values that are already sorted; `sorted` contains the same values.
#[must_use]
pub fn drift_of_sorted(values: &[f64], sorted: &Sorted) -> Option<Drift> {
    let n = values.len();
    if n < 5 || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let order: Vec<f64> = (0..n).map(|at| at as f64).collect();
    let r = correlation(&ranks(sorted), &order)?;
    let degrees = n as f64 - 2.0;
    let t = r.abs() * (degrees / (1.0 - r * r).max(f64::MIN_POSITIVE)).sqrt();
    let p = 2.0 * StudentsT::new(0.0, 1.0, degrees).ok()?.sf(t);
    Some(Drift { rank_correlation: r, p, lag_1: lag_1(values)? })
}

/// `sum (x(t) - m)(x(t + 1) - m) / sum (x(t) - m)^2`.
fn lag_1(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let all: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let next: f64 = values.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
    (all > 0.0).then(|| next / all)
}

/// The rank of each value, from 1; tied values share the mean of their ranks.
fn ranks(sorted: &Sorted) -> Vec<f64> {
    let mut ranks = vec![0.0; sorted.values().len()];
    let mut below = 0;
    for tied in sorted.values().chunk_by(|a, b| a == b) {
        for position in &sorted.positions()[below..below + tied.len()] {
            ranks[*position as usize] = below as f64 + f64::midpoint(1.0, tied.len() as f64);
        }
        below += tied.len();
    }
    ranks
}

/// Pearson's correlation; `None` if one side is constant.
fn correlation(x: &[f64], y: &[f64]) -> Option<f64> {
    let (mx, my) = (mean(x)?, mean(y)?);
    let sum = |of: &dyn Fn(f64, f64) -> f64| x.iter().zip(y).map(|(x, y)| of(x - mx, y - my)).sum::<f64>();
    let (xy, xx, yy) = (sum(&|x, y| x * y), sum(&|x, _| x * x), sum(&|_, y| y * y));
    (xx > 0.0 && yy > 0.0).then(|| (xy / (xx * yy).sqrt()).clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// SciPy 1.17: `spearmanr(range(12), x)`; the autocorrelation by NumPy.
    #[test]
    fn values_are_those_of_scipy() {
        let x = [12.1, 11.8, 13.4, 12.9, 12.1, 14.0, 11.2, 12.5, 13.1, 12.8, 12.1, 13.9];
        let found = drift(&x).unwrap();
        assert!((found.rank_correlation - 0.260_569_841_625_479_5).abs() < 1e-9, "{found:?}");
        assert!((found.p - 0.413_371_020_433_275_2).abs() < 1e-9, "{found:?}");
        assert!((found.lag_1 + 0.421_516_984_805_813_57).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn few_values_and_equal_values_have_no_drift() {
        assert_eq!((drift(&[1.0, 2.0, 3.0, 4.0]), drift(&[7.0; 20])), (None, None));
    }

    proptest! {
        #[test]
        fn reversing_the_order_only_negates_the_rank_correlation(values in prop::collection::vec(-1e3_f64..1e3, 5..40)) {
            let reversed: Vec<f64> = values.iter().rev().copied().collect();
            let (there, back) = (drift(&values), drift(&reversed));
            prop_assert_eq!(there.is_some(), back.is_some());
            if let (Some(there), Some(back)) = (there, back) {
                prop_assert!((there.rank_correlation + back.rank_correlation).abs() < 1e-9);
                prop_assert!((there.p - back.p).abs() < 1e-9 && (there.lag_1 - back.lag_1).abs() < 1e-9);
            }
        }
    }
}
