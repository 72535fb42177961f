//! Adjustment of p-values for several tests, which bounds the family-wise error rate.

/// Holm's adjusted p-values, in the order given (S. Holm, Scandinavian Journal of Statistics 6, 1979): of `m` p-values,
/// the k-th smallest is multiplied by `m - k + 1`. The result is at least the adjusted value before it, and at most 1.
///
/// Rejecting every test whose adjusted value is at most alpha keeps the family-wise error rate at alpha, for any
/// dependence between the tests.
///
/// ```
/// use microbench_plots::stats::holm::holm;
///
/// assert_eq!(holm(&[0.25, 0.5]), [0.5, 0.5]);
/// ```
#[must_use]
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut adjusted = vec![0.0; p.len()];
    let mut largest = 0.0_f64;
    for (rank, &at) in order.iter().enumerate() {
        largest = largest.max(p[at] * (p.len() - rank) as f64);
        adjusted[at] = largest.min(1.0);
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") is 0.03 0.06 0.06 0.02.
    #[test]
    fn values_are_those_of_r() {
        let found = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in found.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        assert_eq!(holm(&[]), Vec::<f64>::new());
        assert_eq!(holm(&[0.7, 0.8]), vec![1.0, 1.0]);
    }

    proptest! {
        #[test]
        fn adjustment_keeps_the_order_and_never_lowers_a_p_value(p in prop::collection::vec(0.0_f64..1.0, 1..30)) {
            let adjusted = holm(&p);
            for (one, p_one) in adjusted.iter().zip(&p) {
                prop_assert!(one >= p_one && *one <= 1.0);
                prop_assert!(adjusted.iter().zip(&p).all(|(other, p_other)| p_one > p_other || one <= other));
            }
        }
    }
}
