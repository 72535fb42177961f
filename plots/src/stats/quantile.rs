//! Sample quantiles.

/// The `p`-quantile by linear interpolation between order statistics, `x(1 + (n - 1) p)`: type 7 of R. J. Hyndman & Y. Fan,
/// Sample quantiles in statistical packages, The American Statistician 50 (1996). `None` of nothing.
#[must_use]
pub fn quantile(values: &[f64], p: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let place = last as f64 * p.clamp(0.0, 1.0);
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    Some(sorted[below] + (sorted[above] - sorted[below]) * (place - place.floor()))
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

    proptest! {
        #[test]
        fn quantiles_rise_within_the_data(values in prop::collection::vec(-1e6_f64..1e6, 1..50), p in 0.0_f64..1.0, q in 0.0_f64..1.0) {
            let (low, high) = (p.min(q), p.max(q));
            let (a, b) = (quantile(&values, low).unwrap(), quantile(&values, high).unwrap());
            prop_assert!(a <= b + 1e-9);
            prop_assert_eq!(quantile(&values, 0.0), values.iter().copied().reduce(f64::min));
            prop_assert_eq!(quantile(&values, 1.0), values.iter().copied().reduce(f64::max));
        }
    }
}
