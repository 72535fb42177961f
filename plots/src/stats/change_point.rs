//! Change points of a series: the positions at which the level of its values changes.
//!
//! The statistic of a split is the standardised rank sum of the values before it, and that of a search is the largest
//! over all splits (A. N. Pettitt, Applied Statistics 28(2), 1979; D. M. Hawkins & Q. Deng, Journal of Quality
//! Technology 42(2), 2010). The p-value permutes the whole search: each permutation is searched like the series, so the
//! choice of the split needs no adjustment. The series is bisected recursively (L. Yu. Vostrikova, Soviet Mathematics
//! Doklady 24, 1981).
//!
//! Permutations assume that values are independent. Successive runs on a host are often not, which would cause false
//! alarms, so the statistic is reduced to that of the effective sample size (see [`search`]).

use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use statrs::distribution::{ContinuousCDF, Normal};

use super::bootstrap::generator;
use super::median::median;
use super::sorted::Sorted;

/// The smallest number of values on each side of a change point.
pub const MIN_SIDE: usize = 5;
/// The smallest number of values that are searched.
pub const MIN_VALUES: usize = 15;
/// The number of values after an alarm that decide whether it is confirmed.
pub const CONFIRM: usize = 2;
/// The number of permutations of a search, if the level is not too small for it.
pub const PERMUTATIONS: usize = 9_999;
/// The number of permutations that calibrate the autocorrelation.
const PILOT: usize = 499;
/// The largest autocorrelation that is corrected for.
const MAX_CORRELATION: f64 = 0.95;

/// A change of the level of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChangePoint {
    /// Index of the first value with the new level.
    pub at: usize,
    /// p-value of the search that found it, adjusted for autocorrelation and not for other series.
    pub p: f64,
    /// Median of the values from the previous change point to this one.
    pub before: f64,
    /// Median of the values from this change point to the next one.
    pub after: f64,
    /// The number of values from the start of the series with which the change point was found first.
    pub alarm: usize,
    pub support: Support,
}

/// Whether the values that were added after the alarm support a change point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Support {
    /// Fewer than [`CONFIRM`] values were added after the alarm and before the next change point.
    Unconfirmed,
    /// The median of the added values is nearer to the level after the change.
    Confirmed,
    /// The median of the added values is nearer to the level before the change.
    Unsupported,
}

/// The change points of a series of values in temporal order, ascending. Values may be infinite (censored), and then
/// rank last; a value that is NaN makes the result empty.
///
/// The false-alarm rate of a stationary series is at most `level` (simulated in the tests of this module). A split has
/// at least [`MIN_SIDE`] values on each side, and a part of the series with fewer than [`MIN_VALUES`] values is not
/// searched.
///
/// With an autocorrelation `r` of lag 1, the variance of a mean of `n` values is that of `n (1 - r) / (1 + r)`
/// independent values (G. V. Bayley & J. M. Hammersley, Journal of the Royal Statistical Society, Supplement 8(2), 1946),
/// so the statistic is multiplied by `sqrt((1 - r) / (1 + r))`. `r` is an upper limit, because an estimate of `r` from
/// few values is uncertain. It is estimated from the ranks after the best split, so that a change does not count as
/// autocorrelation, and the bias of that estimate is removed.
///
/// # Panics
/// Never for `0 < level < 1`.
#[must_use]
pub fn search(values: &[f64], level: f64, seed: u64) -> Vec<ChangePoint> {
    if values.iter().any(|value| value.is_nan()) {
        return Vec::new();
    }
    let mut found = Vec::new();
    bisect(values, 0..values.len(), level, seed, &mut found);
    found.sort_unstable_by_key(|split| split.at);
    let ends: Vec<usize> = [0].into_iter().chain(found.iter().map(|split| split.at)).chain([values.len()]).collect();
    let point = |(n, split): (usize, &Split)| {
        let (start, at, end) = (ends[n], split.at, ends[n + 2]);
        let before = median(&values[start..at]).unwrap_or(f64::NAN);
        let after = median(&values[at..end]).unwrap_or(f64::NAN);
        let alarm = alarm(values, split, level, seed).min(end);
        let support = support(before, &values[at..alarm], &values[alarm..end]);
        ChangePoint { at, p: split.p, before, after, alarm, support }
    };
    found.iter().enumerate().map(point).collect()
}

/// A change point and the range of the series whose search found it.
struct Split {
    at: usize,
    p: f64,
    range: Range<usize>,
}

/// Searches a range of `values`, and then both sides of a change point.
fn bisect(values: &[f64], range: Range<usize>, level: f64, seed: u64, found: &mut Vec<Split>) {
    let Some((at, p)) = best_split(&values[range.clone()], level, seed) else { return };
    let at = range.start + at;
    found.push(Split { at, p, range: range.clone() });
    bisect(values, range.start..at, level, seed, found);
    bisect(values, at..range.end, level, seed, found);
}

/// The number of values from the start of the series with which a search of the range of `split` finds a change point
/// first.
fn alarm(values: &[f64], split: &Split, level: f64, seed: u64) -> usize {
    let Range { start, end } = split.range;
    let from = (split.at + MIN_SIDE).max(start + MIN_VALUES).min(end);
    (from..end).find(|end| best_split(&values[start..*end], level, seed).is_some()).unwrap_or(end)
}

/// Whether the values `added` after the alarm support the change from the level `before` to that of the values
/// `after`, which raised the alarm.
fn support(before: f64, after: &[f64], added: &[f64]) -> Support {
    if added.len() < CONFIRM {
        return Support::Unconfirmed;
    }
    let (Some(after), Some(now)) = (median(after), median(added)) else { return Support::Unconfirmed };
    // With infinite levels a distance is infinite or undefined: the order decides.
    let middle = if before.is_finite() && after.is_finite() { f64::midpoint(before, after) } else { before };
    let is_new = if after > before { now > middle } else { now < middle };
    if is_new { Support::Confirmed } else { Support::Unsupported }
}

/// The best split of `values` and its p-value; `None` if the p-value exceeds `level` or there are too few values.
fn best_split(values: &[f64], level: f64, seed: u64) -> Option<(usize, f64)> {
    if values.len() < MIN_VALUES {
        return None;
    }
    let mut ranks = Ranks::new(values)?;
    let (statistic, at) = ranks.largest();
    let observed = ranks.residual_correlation(at);
    let mut random = generator(seed, values.len() as u64);
    let (mut sum, mut squares) = (0.0, 0.0);
    for _ in 0..PILOT {
        ranks.shuffle(&mut random);
        let (_, split) = ranks.largest();
        let correlation = ranks.residual_correlation(split);
        sum += correlation;
        squares += correlation * correlation;
    }
    let n = values.len() as f64;
    let bias = sum / PILOT as f64;
    let deviation = (squares / PILOT as f64 - bias * bias).max(0.0).sqrt();
    // The best split also takes a part of a true autocorrelation away. The factor, and the share of the deviation, are
    // those for which the simulated false-alarm rates of the tests stay below the level.
    let estimate = (observed - bias) / (1.0 - 4.0 / n);
    let margin = (0.5 + 6.0 / n) * Normal::standard().inverse_cdf(1.0 - level);
    let limit = (estimate + margin * deviation).clamp(0.0, MAX_CORRELATION);
    let reduced = statistic * ((1.0 - limit) / (1.0 + limit)).sqrt() * (1.0 - 1e-9);
    let permutations = PERMUTATIONS.max((2.0 / level).ceil() as usize);
    let most = (level * (permutations + 1) as f64) as usize;
    let mut reached = 0;
    for _ in 0..permutations {
        ranks.shuffle(&mut random);
        reached += usize::from(ranks.largest().0 >= reduced);
        if reached >= most {
            return None;
        }
    }
    Some((at, (reached + 1) as f64 / (permutations + 1) as f64))
}

/// The ranks of a series in some order. Their mean is 0.
struct Ranks {
    ranks: Vec<f64>,
    /// Sum of squares of the ranks.
    squares: f64,
}

impl Ranks {
    /// Mid-ranks of the values; `None` if all values are equal.
    fn new(values: &[f64]) -> Option<Self> {
        let sorted = Sorted::new(values);
        let mut ranks = vec![0.0; values.len()];
        let mut below = 0;
        for tied in sorted.values().chunk_by(|a, b| a == b) {
            let rank = below as f64 + (tied.len() as f64 - values.len() as f64) / 2.0;
            sorted.positions()[below..below + tied.len()].iter().for_each(|position| ranks[*position as usize] = rank);
            below += tied.len();
        }
        let squares: f64 = ranks.iter().map(|rank| rank * rank).sum();
        (squares > 0.0).then_some(Self { ranks, squares })
    }

    /// The largest statistic over all splits, and its split: the number of values before it.
    ///
    /// The statistic is the t of the rank sum `S` of the `k` first values: with `z^2 = S^2 n (n - 1) / (k (n - k) Q)`,
    /// where `Q` is the sum of squares of the ranks, `t^2 = z^2 (n - 2) / (n - 1 - z^2)` (W. J. Conover & R. L. Iman,
    /// The American Statistician 35(3), 1981). It grows with `z`, and unlike `z` it is not bounded by `sqrt(n - 1)`, so
    /// that a large change stays one when the statistic is reduced for autocorrelation.
    fn largest(&self) -> (f64, usize) {
        let n = self.ranks.len();
        let (mut sum, mut most, mut at) = (0.0, -1.0, MIN_SIDE);
        for (before, rank) in self.ranks.iter().take(n - MIN_SIDE).enumerate() {
            let k = before + 1;
            sum += rank;
            let share = sum * sum / (k * (n - k)) as f64;
            if k >= MIN_SIDE && share > most {
                (most, at) = (share, k);
            }
        }
        let n = n as f64;
        let explained = (most * n / self.squares).min(1.0 - 1e-9);
        ((explained * (n - 2.0) / (1.0 - explained)).sqrt(), at)
    }

    /// Autocorrelation of lag 1 of the ranks after subtraction of the mean of each side of the split `at`.
    fn residual_correlation(&self, at: usize) -> f64 {
        let mean = |side: &[f64]| side.iter().sum::<f64>() / side.len() as f64;
        let (before, after) = (mean(&self.ranks[..at]), mean(&self.ranks[at..]));
        let residual = |n: usize| self.ranks[n] - if n < at { before } else { after };
        let (mut products, mut squares, mut last) = (0.0, 0.0, 0.0);
        for n in 0..self.ranks.len() {
            let now = residual(n);
            products += last * now;
            squares += now * now;
            last = now;
        }
        if squares > 0.0 { products / squares } else { 0.0 }
    }

    /// Fisher-Yates shuffle.
    fn shuffle(&mut self, random: &mut ChaCha8Rng) {
        for at in (1..self.ranks.len()).rev() {
            self.ranks.swap(at, (random.next_u64() % (at as u64 + 1)) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rayon::prelude::*;

    use super::*;
    use crate::stats::coverage::normal;

    const LEVEL: f64 = 0.05;

    fn uniform(random: &mut ChaCha8Rng) -> f64 {
        (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A stationary series of `n` values with a scale of 1.
    #[derive(Clone, Copy, Debug)]
    enum Shape {
        Normal,
        Lognormal,
        Spikes,
        Autocorrelated(f64),
    }

    impl Shape {
        fn draw(self, n: usize, random: &mut ChaCha8Rng) -> Vec<f64> {
            let mut state = normal(random);
            let one = |random: &mut ChaCha8Rng, state: &mut f64| match self {
                Self::Normal => normal(random),
                Self::Lognormal => normal(random).exp(),
                Self::Spikes => normal(random) + if uniform(random) < 0.05 { 100.0 } else { 0.0 },
                Self::Autocorrelated(r) => {
                    *state = r * *state + (1.0 - r * r).sqrt() * normal(random);
                    *state
                }
            };
            (0..n).map(|_| 100.0 + one(random, &mut state)).collect()
        }
    }

    /// The share of `series` with a change point at `level` whose values from the middle on are `step` larger.
    fn found(series: u64, shape: Shape, n: usize, step: f64, level: f64) -> f64 {
        let is_found = |number: &u64| {
            let mut random = generator(2026, *number);
            let mut values = shape.draw(n, &mut random);
            values[n / 2..].iter_mut().for_each(|value| *value += step);
            best_split(&values, level, *number).is_some()
        };
        (0..series).into_par_iter().filter(is_found).count() as f64 / series as f64
    }

    const STATIONARY: [(Shape, &str); 4] = [
        (Shape::Normal, "normal"),
        (Shape::Lognormal, "lognormal, sigma 1"),
        (Shape::Spikes, "5 % spikes"),
        (Shape::Autocorrelated(0.5), "AR(1) 0.5"),
    ];

    #[test]
    fn at_most_5_of_100_stationary_series_have_a_change_point() {
        for (n, series) in [(50, 600), (200, 200)] {
            for (shape, name) in STATIONARY {
                let share = found(series, shape, n, 0.0, LEVEL);
                println!("n = {n}, {name}: {:.1} %", 100.0 * share);
                assert!(share <= 0.05, "n = {n}, {name}: {share}");
            }
        }
    }

    #[test]
    fn a_change_of_five_deviations_in_the_middle_of_50_values_is_found() {
        for (shape, step, least) in [
            (Shape::Normal, 5.0, 1.0),
            (Shape::Normal, 1.25, 0.7),
            (Shape::Autocorrelated(0.5), 5.0, 0.95),
            (Shape::Autocorrelated(0.5), 2.0, 0.65),
        ] {
            let share = found(200, shape, 50, step, LEVEL);
            println!("{shape:?}, {step} deviations: {:.1} %", 100.0 * share);
            assert!(share >= least, "{shape:?}, {step} deviations: {share}");
        }
    }

    /// The tables of docs/explanation/statistics.md.
    #[test]
    #[ignore = "takes minutes"]
    fn print_error_rates_and_power() {
        for n in [15, 20, 30, 50, 100, 200] {
            for (shape, name) in STATIONARY.into_iter().chain([(Shape::Autocorrelated(0.7), "AR(1) 0.7")]) {
                for level in [0.05, 0.0025] {
                    let share = found(3000, shape, n, 0.0, level);
                    println!("false alarms, n = {n}, {name}, level {level}: {:.2} %", 100.0 * share);
                }
            }
        }
        for n in [15, 20, 30, 50, 100] {
            for shape in [Shape::Normal, Shape::Autocorrelated(0.5)] {
                for level in [0.05, 0.0025] {
                    let shares = [0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0]
                        .map(|step| format!("{step}: {:.0} %", 100.0 * found(400, shape, n, step, level)));
                    println!("found, n = {n}, {shape:?}, level {level}: {}", shares.join(", "));
                }
            }
        }
    }

    /// The share of series with an alarm, and with a confirmed change, when a search follows each of 15 to 50 values.
    #[test]
    #[ignore = "takes minutes"]
    fn print_error_rates_of_repeated_looks() {
        for (shape, name) in STATIONARY {
            let confirmed = |number: &u64| {
                let values = shape.draw(50, &mut generator(2026, *number));
                // A search after each new value, as a user of `history` looks after each run.
                let looks = (MIN_VALUES..=values.len()).map(|n| search(&values[..n], LEVEL, *number));
                let (mut alarm, mut confirmed) = (false, false);
                for points in looks {
                    alarm |= !points.is_empty();
                    confirmed |= points.iter().any(|point| point.support == Support::Confirmed);
                }
                (alarm, confirmed)
            };
            let all: Vec<(bool, bool)> = (0..200_u64).into_par_iter().map(|number| confirmed(&number)).collect();
            let share = |of: fn(&&(bool, bool)) -> bool| all.iter().filter(of).count() as f64 / 2.0;
            println!(
                "looks after each of 15 to 50 values, {name}: alarm {:.1} %, confirmed {:.1} %",
                share(|found| found.0),
                share(|found| found.1)
            );
        }
    }

    /// Values around `level` with a period of 3 and a range of 2.
    fn around(level: f64, n: u32) -> Vec<f64> {
        (0..n).map(|n| level + f64::from(n * 2 % 3)).collect()
    }

    #[test]
    fn two_changes_are_found_with_their_levels() {
        let values = [around(100.0, 20), around(120.0, 20), around(90.0, 20)].concat();
        let found = search(&values, LEVEL, 1);
        assert_eq!(found.iter().map(|point| point.at).collect::<Vec<_>>(), [20, 40], "{found:?}");
        let levels: Vec<(f64, f64)> = found.iter().map(|point| (point.before.round(), point.after.round())).collect();
        assert_eq!(levels, [(101.0, 121.0), (121.0, 91.0)]);
        assert!(found.iter().all(|point| point.p <= LEVEL && point.support == Support::Confirmed), "{found:?}");
    }

    #[test]
    fn a_change_is_confirmed_by_values_after_the_alarm_only() {
        let before = around(100.0, 30);
        let all = [before.clone(), around(120.0, 20)].concat();
        let support = |n: usize| search(&all[..n], LEVEL, 1).first().map(|point| (point.alarm, point.support));
        let first = (30..=50).find(|n| support(*n).is_some()).unwrap();
        assert_eq!(support(first), Some((first, Support::Unconfirmed)));
        let confirmed = (first..=50).find(|n| matches!(support(*n), Some((_, Support::Confirmed)))).unwrap();
        assert!(confirmed >= first + CONFIRM && support(confirmed).unwrap().0 + CONFIRM <= confirmed, "{confirmed}");
        // The level returns after the alarm.
        let back = search(&[all[..36].to_vec(), around(100.0, 2)].concat(), LEVEL, 1);
        assert!(back.iter().all(|point| point.support != Support::Confirmed), "{back:?}");
    }

    #[test]
    fn few_equal_or_undefined_values_have_no_change_point() {
        let step = |n: u32| [around(0.0, n), around(100.0, n)].concat();
        assert!(search(&step(7), LEVEL, 1).is_empty(), "14 values");
        assert!(!search(&step(10), LEVEL, 1).is_empty(), "20 values");
        assert!(search(&[7.0; 40], LEVEL, 1).is_empty() && search(&[], LEVEL, 1).is_empty());
        assert!(search(&[step(10), vec![f64::NAN]].concat(), LEVEL, 1).is_empty());
    }

    #[test]
    fn censored_values_rank_last() {
        let values = [around(100.0, 20), vec![f64::INFINITY; 20]].concat();
        let found = search(&values, LEVEL, 1);
        assert_eq!((found.len(), found[0].at, found[0].after), (1, 20, f64::INFINITY));
        assert_eq!(found[0].support, Support::Confirmed);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn only_the_order_of_the_values_matters(values in prop::collection::vec(0.1_f64..1e3, 0..60), seed: u64) {
            let found = search(&values, LEVEL, seed);
            let logarithms: Vec<f64> = values.iter().map(|value| value.ln()).collect();
            let positions = |points: &[ChangePoint]| points.iter().map(|point| (point.at, point.p)).collect::<Vec<_>>();
            prop_assert_eq!(positions(&search(&logarithms, LEVEL, seed)), positions(&found));
            prop_assert!(found.is_sorted_by(|a, b| a.at + MIN_SIDE <= b.at));
            prop_assert!(found.iter().all(|point| point.alarm > point.at && point.alarm <= values.len()));
        }
    }
}
