//! The distribution of the number of comparisons above the true effect, if the samples differ by this effect only.

use statrs::distribution::{ContinuousCDF, Normal};

/// Size of a sample up to which the distribution is exact.
const EXACT_UP_TO: usize = 25;

/// The distribution of a count of comparisons: the statistic U of Mann and Whitney, or Wilcoxon's signed-rank statistic.
///
/// Ties count against a rejection (see [`Comparisons::above`](super::pairs::Comparisons::above)), so a p-value is exact
/// for continuous values and too large for others.
#[derive(Clone, Debug, PartialEq)]
pub struct Null {
    total: usize,
    shape: Shape,
}

#[derive(Clone, Debug, PartialEq)]
enum Shape {
    /// `P(count = k)` for each k.
    Exact(Vec<f64>),
    /// Normal approximation, by the standard deviation.
    Normal(f64),
}

impl Null {
    /// The distribution of the sum over strata of Mann and Whitney's U, by sizes of the two samples in each stratum (H.
    /// B. Mann & D. R. Whitney, Annals of Mathematical Statistics 18, 1947; the sum over strata by E. L. Lehmann,
    /// Nonparametrics, 1975, section 3.3).
    ///
    /// With a sample of more than 25 values it is the normal approximation with the correction for continuity.
    #[must_use]
    pub fn rank_sum(sizes: &[(usize, usize)]) -> Self {
        let total = sizes.iter().map(|(n, m)| n * m).sum();
        if total <= EXACT_UP_TO * EXACT_UP_TO && sizes.iter().all(|(n, m)| *n.max(m) <= EXACT_UP_TO) {
            let all = sizes.iter().fold(vec![1.0], |all, (n, m)| convolved(&all, &mann_whitney(*n, *m)));
            return Self { total, shape: Shape::Exact(all) };
        }
        let variance: f64 = sizes.iter().map(|(n, m)| (n * m * (n + m + 1)) as f64 / 12.0).sum();
        Self { total, shape: Shape::Normal(variance.sqrt()) }
    }

    /// The distribution of Wilcoxon's signed-rank statistic of `n` pairs (F. Wilcoxon, Biometrics Bulletin 1, 1945),
    /// which is the number of Walsh averages above zero (J. W. Tukey, 1949; M. Hollander & D. A. Wolfe, Nonparametric
    /// Statistical Methods, 2nd ed., 1999, section 3.1). With more than 25 pairs it is the normal approximation.
    #[must_use]
    pub fn signed_rank(n: usize) -> Self {
        let total = n * (n + 1) / 2;
        if n > EXACT_UP_TO {
            return Self { total, shape: Shape::Normal(((n * (n + 1) * (2 * n + 1)) as f64 / 24.0).sqrt()) };
        }
        // Each rank is added with probability 1/2.
        let step = |all: Vec<f64>, rank: usize| {
            let sign = [vec![0.5], vec![0.0; rank - 1], vec![0.5]].concat();
            convolved(&all, &sign)
        };
        Self { total, shape: Shape::Exact((1..=n).fold(vec![1.0], step)) }
    }

    /// The probability of a count of at least `count`.
    #[must_use]
    pub fn at_least(&self, count: usize) -> f64 {
        match &self.shape {
            _ if count == 0 => 1.0,
            // The distribution is symmetric; the sum over small probabilities loses no digits.
            Shape::Exact(all) => all.iter().take((self.total + 1).saturating_sub(count)).sum::<f64>().min(1.0),
            Shape::Normal(deviation) => {
                Normal::standard().cdf(-(count as f64 - 0.5 - self.total as f64 / 2.0) / deviation)
            }
        }
    }

    /// The smallest two-sided p-value: that of samples that do not overlap. 1 without a comparison.
    #[must_use]
    pub fn smallest_p(&self) -> f64 {
        if self.total == 0 { 1.0 } else { (2.0 * self.at_least(self.total)).min(1.0) }
    }

    /// The rank, from 1, of the comparisons from both ends that are the ends of an interval with a coverage of at least
    /// `level`, and this coverage; `None` if the range of all comparisons covers less.
    #[must_use]
    pub fn interval_rank(&self, level: f64) -> Option<(usize, f64)> {
        // The interval from rank k excludes the effect if at most k - 1 comparisons are on one side of it.
        let coverage = |rank: usize| 1.0 - 2.0 * self.at_least(self.total + 1 - rank);
        let (mut enough, mut too_far) = (0, self.total / 2 + 1);
        while too_far - enough > 1 {
            let middle = usize::midpoint(enough, too_far);
            // A level of 1 - p must contain the interval that excludes a limit with the p-value p.
            if coverage(middle) >= level - 1e-12 { enough = middle } else { too_far = middle }
        }
        (enough > 0).then(|| (enough, coverage(enough)))
    }
}

/// The distribution of the sum of two independent counts.
fn convolved(first: &[f64], second: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; first.len() + second.len() - 1];
    for (at, a) in first.iter().enumerate() {
        for (to, b) in sum[at..].iter_mut().zip(second) {
            *to += a * b;
        }
    }
    sum
}

/// `P(U = u)` for samples of `n` and `m` values without ties. With probability `n / (n + m)` the largest value is of the
/// first sample and exceeds all `m` values of the second.
fn mann_whitney(n: usize, m: usize) -> Vec<f64> {
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
    table.swap_remove(m)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }

    /// SciPy 1.17: `mannwhitneyu(a, b, method="exact").pvalue` is 2 `P(U >= 37)` for 7 and 8 values;
    /// `wilcoxon(d, method="exact").pvalue` is 2 `P(T >= 33)` for 8 pairs.
    #[test]
    fn tails_are_those_of_scipy() {
        near(2.0 * Null::rank_sum(&[(7, 8)]).at_least(37), 0.335_664_335_664_335_73);
        near(2.0 * Null::signed_rank(8).at_least(33), 0.039_062_5);
    }

    #[test]
    fn smallest_p_is_that_of_one_labelling_on_each_side() {
        near(Null::rank_sum(&[(6, 6)]).smallest_p(), 2.0 / 924.0);
        near(Null::rank_sum(&[(3, 3), (2, 2)]).smallest_p(), 2.0 / 120.0);
        near(Null::signed_rank(6).smallest_p(), 2.0 / 64.0);
        near(Null::rank_sum(&[]).smallest_p(), 1.0);
    }

    /// Hollander and Wolfe, table A.4 (rank sum, 5 and 6 values) and table A.3 (signed rank, 10 pairs): the ranks of
    /// the ends of 95 % intervals are 4 and 9.
    #[test]
    fn ranks_of_interval_ends_are_those_of_the_tables() {
        let (rank, coverage) = Null::rank_sum(&[(5, 6)]).interval_rank(0.95).unwrap();
        assert!(rank == 4 && coverage > 0.95, "{rank} {coverage}");
        let (rank, coverage) = Null::signed_rank(10).interval_rank(0.95).unwrap();
        assert!(rank == 9 && coverage > 0.95, "{rank} {coverage}");
        assert_eq!(Null::rank_sum(&[(3, 3)]).interval_rank(0.95), None);
        assert_eq!(Null::rank_sum(&[]).interval_rank(0.95), None);
    }

    #[test]
    fn normal_approximation_continues_the_exact_distribution() {
        let exact = Null::rank_sum(&[(25, 25)]);
        let normal = Null { shape: Shape::Normal((625.0_f64 * 51.0 / 12.0).sqrt()), ..exact.clone() };
        for count in [320, 380, 420, 450] {
            let (exact, normal) = (exact.at_least(count), normal.at_least(count));
            assert!((exact / normal - 1.0).abs() < 0.15, "{count}: {exact} {normal}");
        }
    }
}
