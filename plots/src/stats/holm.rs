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

/// Whether each test can be significant at `alpha` in a family of those that can, by the smallest p-value that each can
/// have (R. E. Tarone, Biometrics 46, 1990): with K the smallest number of tests for which at most K tests can reach
/// `alpha / K`, these tests are the family. The others can never be significant, and need no adjustment for.
///
/// ```
/// use microbench_plots::stats::holm::testable;
///
/// // A test of two values cannot be significant, and makes no other test less sensitive.
/// assert_eq!(testable(&[0.002, 1.0, 0.002], 0.05), [true, false, true]);
/// ```
#[must_use]
pub fn testable(smallest: &[f64], alpha: f64) -> Vec<bool> {
    let reach = |tests: usize| smallest.iter().filter(|p| **p <= alpha / tests as f64).count();
    let tests = (1..=smallest.len().max(1)).find(|tests| reach(*tests) <= *tests).unwrap_or(1);
    smallest.iter().map(|p| *p <= alpha / tests as f64).collect()
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

    #[test]
    fn tests_that_cannot_be_significant_are_not_in_the_family() {
        assert_eq!(testable(&[0.03; 2], 0.05), [false; 2]);
        assert_eq!(testable(&[0.03], 0.05), [true]);
        assert_eq!(testable(&[0.008, 0.008, 0.008, 1.0], 0.05), [true, true, true, false]);
        assert_eq!(testable(&[], 0.05), Vec::<bool>::new());
    }

    proptest! {
        #[test]
        fn every_testable_test_can_be_significant(smallest in prop::collection::vec(0.0_f64..0.1, 1..30)) {
            let testable = testable(&smallest, 0.05);
            let tests = testable.iter().filter(|is| **is).count();
            for (p, is) in smallest.iter().zip(&testable) {
                prop_assert!(!is || p * tests as f64 <= 0.05 + 1e-12);
            }
        }

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
