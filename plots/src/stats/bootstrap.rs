//! The bootstrap: what a statistic would have been had other trials of the same cells been drawn.
//!
//! Draws are stratified: each stratum (a cell's trials) is resampled by itself, with replacement, to its own size, so that every
//! resample has the design of the run. The generator is ChaCha8, seeded by the caller: the same data and seed give the same interval
//! on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// Resamples of an interval: the tail of a 95 % interval rests on 250 of them (Davison & Hinkley, Bootstrap Methods and their
/// Application, 1997, section 5.2.1, ask for a thousand at least).
pub const RESAMPLES: usize = 10_000;

/// A generator for one interval: `stream` keeps the intervals of one seed independent of one another and of their number.
#[must_use]
pub fn generator(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(stream);
    generator
}

/// The statistic of `resamples` stratified resamples, ascending. `statistic` gets, for each stratum, the positions drawn;
/// resamples for which it is not a number are left out, an infinite one is kept.
pub fn replicates(
    sizes: &[usize],
    resamples: usize,
    generator: &mut ChaCha8Rng,
    mut statistic: impl FnMut(&[Vec<usize>]) -> f64,
) -> Vec<f64> {
    let mut drawn: Vec<Vec<usize>> = sizes.iter().map(|&size| vec![0; size]).collect();
    let mut found = Vec::with_capacity(resamples);
    for _ in 0..resamples {
        for (positions, &size) in drawn.iter_mut().zip(sizes) {
            positions.fill_with(|| below(generator, size));
        }
        found.push(statistic(&drawn));
    }
    found.retain(|value| !value.is_nan());
    found.sort_by(f64::total_cmp);
    found
}

/// A number below `bound` by the high half of a 96-bit product: what it favours, it favours by less than `bound` / 2^64.
fn below(generator: &mut ChaCha8Rng, bound: usize) -> usize {
    let product = u128::from(generator.next_u64()) * bound as u128;
    #[expect(clippy::cast_possible_truncation, reason = "it is below `bound`, which came from a usize")]
    return (product >> 64) as usize;
}

/// The percentile interval `[q(tail), q(1 - tail)]` of ascending replicates: the order statistics number `(B + 1) tail` and
/// `(B + 1) (1 - tail)` (Davison & Hinkley 1997, section 5.3.1), rounded outwards. `None` of nothing.
#[must_use]
pub fn percentile(ascending: &[f64], tail: f64) -> Option<(f64, f64)> {
    percentile_between(ascending, tail, 1.0 - tail)
}

/// As [`percentile`], between any two shares `low <= high`.
#[must_use]
pub fn percentile_between(ascending: &[f64], low: f64, high: f64) -> Option<(f64, f64)> {
    let last = ascending.len().checked_sub(1)?;
    // From above as from below, so that symmetric shares give symmetric ranks.
    let rank = |share: f64| (((ascending.len() + 1) as f64 * share).floor() as usize).saturating_sub(1).min(last);
    Some((ascending[rank(low)], ascending[last - rank(1.0 - high)]))
}

/// The tail that makes a percentile interval as wide as a t interval where data are normal: `Phi(-t / shrink)`, where `t` is
/// Student's quantile for the degrees of freedom and `shrink` the ratio of the bootstrap's standard error to the unbiased one,
/// `sqrt((n - 1) / n)` for one sample (T. Hesterberg, What Teachers Should Know About the Bootstrap, The American Statistician
/// 69(4), 2015, "expanded percentile interval"). The plain interval covers 86 % in place of 95 % for a mean of 6 normal values.
///
/// `None` unless `0 < level < 1` and both others are positive.
#[must_use]
pub fn expanded_tail(level: f64, degrees: f64, shrink: f64) -> Option<f64> {
    let t = student(level, degrees).filter(|_| shrink > 0.0)?;
    Some(Normal::standard().cdf(-t / shrink))
}

/// Student's two-sided quantile: the t beyond which, on both sides together, `1 - level` lies.
#[must_use]
pub fn student(level: f64, degrees: f64) -> Option<f64> {
    let t = StudentsT::new(0.0, 1.0, degrees).ok().filter(|_| level > 0.0 && level < 1.0)?;
    let below = f64::midpoint(1.0, level);
    // Beyond, the two differ by less than 3e-5, while the search of statrs loses digits and, from about 1e9, does not end.
    Some(if degrees > 1e5 { Normal::standard().inverse_cdf(below) } else { t.inverse_cdf(below) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::mean::mean;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (degrees, t) in [(1.0, 12.706), (2.0, 4.303), (5.0, 2.571), (9.0, 2.262), (30.0, 2.042)] {
            assert!((student(0.95, degrees).unwrap() - t).abs() < 1e-3, "{degrees} degrees of freedom");
        }
        assert_eq!((student(1.0, 5.0), student(0.95, 0.0), expanded_tail(0.95, 5.0, 0.0)), (None, None, None));
        // Without the two corrections it is the plain tail.
        assert!((expanded_tail(0.95, 1e9, 1.0).unwrap() - 0.025).abs() < 1e-6);
    }

    #[test]
    fn ranks_are_those_of_davison_and_hinkley() {
        let ramp: Vec<f64> = (1..=999).map(f64::from).collect();
        assert_eq!(percentile(&ramp, 0.025), Some((25.0, 975.0)));
        assert_eq!(percentile(&ramp, 0.0), Some((1.0, 999.0)));
        assert_eq!(percentile(&[], 0.025), None);
    }

    /// All 27 resamples of (1, 2, 3) are equally likely: the mean is 1 in one of them, 2 in seven.
    #[test]
    fn resamples_are_drawn_evenly() {
        let values = [1.0, 2.0, 3.0];
        let means = replicates(&[3], 27_000, &mut generator(7, 0), |drawn| {
            mean(&drawn[0].iter().map(|&at| values[at]).collect::<Vec<_>>()).unwrap()
        });
        for (value, times) in [(1.0, 1000), (2.0, 7000), (3.0, 1000)] {
            let found = means.iter().filter(|mean| **mean == value).count();
            assert!(found.abs_diff(times) < times / 8, "{value}: {found}");
        }
    }

    #[test]
    fn a_seed_and_a_stream_name_one_sequence() {
        let draw = |seed, stream| {
            replicates(&[9, 4], 50, &mut generator(seed, stream), |drawn| {
                drawn.concat().iter().fold(0.0, |sum, &at| sum * 3.0 + at as f64)
            })
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }

    proptest! {
        #[test]
        fn t_falls_with_the_degrees_of_freedom_towards_the_normal_quantile(exponent in 0.0_f64..7.0) {
            let degrees = 10_f64.powf(exponent);
            let (here, further) = (student(0.95, degrees).unwrap(), student(0.95, degrees * 2.0).unwrap());
            prop_assert!(here >= further - 1e-5 && further >= 1.959_96);
        }

        #[test]
        fn every_draw_is_a_position_of_its_stratum(sizes in prop::collection::vec(1_usize..20, 1..5), seed: u64) {
            let replicates = replicates(&sizes, 20, &mut generator(seed, 0), |drawn| {
                let fits = drawn.iter().zip(&sizes).all(|(at, &size)| at.len() == size && at.iter().all(|&at| at < size));
                if fits { 0.0 } else { 1.0 }
            });
            prop_assert_eq!(replicates, vec![0.0; 20]);
        }
    }
}
