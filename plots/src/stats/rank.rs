//! Rank-based comparison of two samples: Mann-Whitney test, Vargha and Delaney's A12, Hodges-Lehmann shift.

use statrs::distribution::{ContinuousCDF, Normal};

use super::median::{Interval, median};

/// Size of the smaller sample up to which the exact distribution of U is used if there are no ties, as in SciPy.
const EXACT_UP_TO: usize = 8;

/// The two-sided p-value of the Mann-Whitney test that `first` and `second` have the same distribution (H. B. Mann &
/// D. R. Whitney, Annals of Mathematical Statistics 18, 1947).
///
/// It is exact, by the recurrence of that paper, if one sample has at most 8 values and there are no ties. Otherwise
/// it is the normal approximation with corrections for ties and continuity (Conover 1999, section 5.1). The test of
/// statrs 0.19 requires a linear algebra library and does not agree with SciPy.
///
/// `None` if a sample is empty.
#[must_use]
pub fn mann_whitney(first: &[f64], second: &[f64]) -> Option<f64> {
    let (n, m) = (first.len(), second.len());
    let u = a12(first, second)? * (n * m) as f64;
    let least = u.min((n * m) as f64 - u);
    let mut all = [first, second].concat();
    all.sort_by(f64::total_cmp);
    let ties: Vec<f64> = all.chunk_by(|a, b| a == b).map(|tied| tied.len() as f64).collect();
    let p = if ties.len() == all.len() && n.min(m) <= EXACT_UP_TO {
        2.0 * at_most(least.round() as usize, n, m)
    } else {
        let (n, m, total) = (n as f64, m as f64, (n + m) as f64);
        let tied: f64 = ties.iter().map(|t| t * t * t - t).sum();
        let variance = n * m / 12.0 * (total + 1.0 - tied / (total * (total - 1.0)));
        if variance <= 0.0 {
            return Some(1.0);
        }
        2.0 * Normal::standard().cdf((least - n * m / 2.0 + 0.5) / variance.sqrt())
    };
    Some(p.min(1.0))
}

/// The smallest p-value that [`mann_whitney`] can return for samples of these sizes with these values: that of samples
/// that do not overlap. `None` if a sample is empty.
#[must_use]
pub fn smallest_mann_whitney(first: &[f64], second: &[f64]) -> Option<f64> {
    let mut all = [first, second].concat();
    all.sort_by(f64::total_cmp);
    let split_at = |n: usize| mann_whitney(&all[..n], &all[n..]);
    Some(split_at(first.len())?.min(split_at(second.len())?))
}

/// `P(U <= u)` for samples of `n` and `m` values without ties. With probability `n / (n + m)` the largest value is of
/// the first sample and exceeds all `m` values of the second.
fn at_most(u: usize, n: usize, m: usize) -> f64 {
    let most = n * m;
    // table[j][k] is P(U = k) for i and j values; rows are overwritten as i grows.
    let mut table = vec![vec![0.0; most + 1]; m + 1];
    table.iter_mut().for_each(|row| row[0] = 1.0);
    for i in 1..=n {
        for j in 1..=m {
            let share = i as f64 / (i + j) as f64;
            let row: Vec<f64> = (0..=most)
                .map(|k| {
                    let last_of_first = if k >= j { table[j][k - j] } else { 0.0 };
                    share * last_of_first + (1.0 - share) * table[j - 1][k]
                })
                .collect();
            table[j] = row;
        }
    }
    table[m][..=u.min(most)].iter().sum()
}

/// Vargha and Delaney's A12: the probability that a value of `first` exceeds one of `second`, where a tie counts half
/// (A. Vargha & H. D. Delaney, Journal of Educational and Behavioral Statistics 25, 2000). 0.5 means no difference.
/// `None` if a sample is empty.
#[must_use]
pub fn a12(first: &[f64], second: &[f64]) -> Option<f64> {
    let pairs = first.len() * second.len();
    let score = |(a, b): (&f64, &f64)| match a.total_cmp(b) {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Less => 0.0,
    };
    let total: f64 = first.iter().flat_map(|a| second.iter().map(move |b| (a, b))).map(score).sum();
    (pairs > 0).then(|| total / pairs as f64)
}

/// The Hodges-Lehmann estimate of the shift from `second` to `first`, in the unit of the values: the median of all
/// differences `first - second` (J. L. Hodges & E. L. Lehmann, Annals of Mathematical Statistics 34, 1963). `None` if a
/// sample is empty.
#[must_use]
pub fn hodges_lehmann(first: &[f64], second: &[f64]) -> Option<f64> {
    median(&differences(first, second))
}

/// Moses' interval of [`hodges_lehmann`]: the differences with rank `C` from below and from above. `C` is from the
/// normal approximation of U, `C = nm/2 - z sqrt(nm(n + m + 1)/12)`, rounded outwards (M. Hollander & D. A. Wolfe,
/// Nonparametric Statistical Methods, 2nd ed., 1999, section 4.3). `None` if the samples are too small for `level`.
#[must_use]
pub fn moses_interval(first: &[f64], second: &[f64], level: f64) -> Option<Interval> {
    let mut differences = differences(first, second);
    differences.sort_by(f64::total_cmp);
    let (n, m) = (first.len() as f64, second.len() as f64);
    let z = Normal::standard().inverse_cdf(f64::midpoint(1.0, level));
    let rank = (n * m / 2.0 - z * (n * m * (n + m + 1.0) / 12.0).sqrt()).floor();
    if rank < 1.0 {
        return None;
    }
    let rank = rank as usize;
    Some(Interval { low: differences[rank - 1], high: differences[differences.len() - rank], level })
}

fn differences(first: &[f64], second: &[f64]) -> Vec<f64> {
    first.iter().flat_map(|a| second.iter().map(move |b| a - b)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const X: [f64; 12] = [12.1, 11.8, 13.4, 12.9, 12.1, 14.0, 11.2, 12.5, 13.1, 12.8, 12.1, 13.9];
    const Y: [f64; 10] = [12.9, 13.8, 14.2, 13.1, 12.5, 15.0, 14.4, 13.6, 12.8, 14.9];

    /// SciPy 1.17: `mannwhitneyu(x, y, method="asymptotic")`, `mannwhitneyu(a, b, method="exact")`, U / (n m), the
    /// median of `numpy.subtract.outer(x, y)`, and its values with rank 30 from both ends.
    #[test]
    fn values_are_those_of_scipy() {
        let near = |found: Option<f64>, expected: f64| assert!((found.unwrap() - expected).abs() < 1e-9, "{found:?}");
        near(mann_whitney(&X, &Y), 0.018_970_730_869_662_708);
        let a = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55];
        let b = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06001, 3.2];
        near(mann_whitney(&a, &b), 0.335_664_335_664_335_73);
        near(a12(&X, &Y), 0.2);
        near(hodges_lehmann(&X, &Y), -1.0);
        let moses = moses_interval(&X, &Y, 0.95).unwrap();
        assert!((moses.low + 1.9).abs() < 1e-9 && (moses.high + 0.2).abs() < 1e-9, "{moses:?}");
    }

    /// Without ties the smallest exact p-value is 2 / C(n + m, n).
    #[test]
    fn smallest_p_value_is_that_of_samples_that_do_not_overlap() {
        let smallest = smallest_mann_whitney(&[1.0, 5.0, 3.0], &[2.0, 4.0, 6.0]).unwrap();
        assert!((smallest - 0.1).abs() < 1e-12, "{smallest}");
        let smallest = smallest_mann_whitney(&[1.0, 5.0], &[2.0, 4.0, 6.0]).unwrap();
        assert!((smallest - 0.2).abs() < 1e-12, "{smallest}");
        assert!(smallest_mann_whitney(&X, &Y).unwrap() < mann_whitney(&X, &Y).unwrap());
        assert_eq!(smallest_mann_whitney(&[], &X), None);
    }

    #[test]
    fn empty_and_equal_samples_have_defined_results() {
        assert_eq!((mann_whitney(&[], &X), a12(&X, &[]), hodges_lehmann(&[], &[])), (None, None, None));
        assert_eq!((mann_whitney(&[3.0; 4], &[3.0; 6]), a12(&[3.0; 4], &[3.0; 6])), (Some(1.0), Some(0.5)));
        assert_eq!(moses_interval(&[1.0, 2.0], &[3.0, 4.0], 0.95), None);
    }

    proptest! {
        #[test]
        fn exchanging_the_samples_mirrors_every_result(
            x in prop::collection::vec(-100_i32..100, 1..25), y in prop::collection::vec(-100_i32..100, 1..25),
        ) {
            let (x, y): (Vec<f64>, Vec<f64>) = (x.into_iter().map(f64::from).collect(), y.into_iter().map(f64::from).collect());
            let (p, q) = (mann_whitney(&x, &y).unwrap(), mann_whitney(&y, &x).unwrap());
            prop_assert!((p - q).abs() < 1e-9 && (0.0..=1.0).contains(&p));
            prop_assert!((a12(&x, &y).unwrap() + a12(&y, &x).unwrap() - 1.0).abs() < 1e-9);
            prop_assert_eq!(hodges_lehmann(&x, &y).unwrap(), -hodges_lehmann(&y, &x).unwrap());
            if let Some(found) = moses_interval(&x, &y, 0.95) {
                prop_assert!(found.low <= hodges_lehmann(&x, &y).unwrap() && hodges_lehmann(&x, &y).unwrap() <= found.high);
            }
        }
    }
}
