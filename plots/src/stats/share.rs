//! The exact interval of a share.

use statrs::distribution::{Beta, ContinuousCDF};

use super::median::Interval;

/// The interval of the probability of a success, from `successes` of `trials` independent trials: exact, so that it
/// covers with at least `level` (C. J. Clopper & E. S. Pearson, Biometrika 26, 1934). Its ends are quantiles of beta
/// distributions. `None` without a trial, and unless `0 < level < 1`.
///
/// ```
/// use microbench_plots::stats::share::clopper_pearson;
///
/// let found = clopper_pearson(30, 30, 0.95).unwrap();
/// assert!((found.low - 0.8843).abs() < 1e-4 && found.high == 1.0);
/// ```
#[must_use]
pub fn clopper_pearson(successes: usize, trials: usize, level: f64) -> Option<Interval> {
    if trials == 0 || successes > trials || !(level > 0.0 && level < 1.0) {
        return None;
    }
    let tail = (1.0 - level) / 2.0;
    let (k, n) = (successes as f64, trials as f64);
    let low = if successes == 0 { 0.0 } else { quantile(k, n - k + 1.0, tail)? };
    let high = if successes == trials { 1.0 } else { quantile(k + 1.0, n - k, 1.0 - tail)? };
    Some(Interval { low, high, level })
}

/// The quantile `p` of a beta distribution, by bisection to the precision of a double.
fn quantile(a: f64, b: f64, p: f64) -> Option<f64> {
    let beta = Beta::new(a, b).ok()?;
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if beta.cdf(middle) < p { low = middle } else { high = middle }
    }
    Some(f64::midpoint(low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R: `binom.test(7, 10)$conf.int` and `binom.test(0, 10)$conf.int`.
    #[test]
    fn intervals_are_those_of_r() {
        for (k, n, low, high) in [(7, 10, 0.347_547_1, 0.933_260_5), (0, 10, 0.0, 0.308_497_1)] {
            let found = clopper_pearson(k, n, 0.95).unwrap();
            assert!((found.low - low).abs() < 1e-6 && (found.high - high).abs() < 1e-6, "{k} of {n}: {found:?}");
        }
        assert_eq!((clopper_pearson(0, 0, 0.95), clopper_pearson(2, 1, 0.95)), (None, None));
    }

    /// The ends are the probabilities at which the observed number is in the tail.
    #[test]
    fn the_interval_covers_with_at_least_its_level() {
        use statrs::distribution::{Binomial, Discrete};
        for n in [6, 20, 50] {
            for share in [0.05, 0.3, 0.9, 0.98] {
                let binomial = Binomial::new(share, n as u64).unwrap();
                let covers = |k: &usize| {
                    let found = clopper_pearson(*k, n, 0.95).unwrap();
                    found.low <= share && share <= found.high
                };
                let covered: f64 = (0..=n).filter(covers).map(|k| binomial.pmf(k as u64)).sum();
                assert!(covered >= 0.95 - 1e-12, "n = {n}, share {share}: {covered}");
            }
        }
    }
}
