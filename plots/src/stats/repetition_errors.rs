//! False alarms and coverage over repetitions, simulated with fixed seeds.
//!
//! Each repetition has an effect of its own, normal with a standard deviation of 0.2, 0.5 or 1 % of the value, and 10
//! trials that spread by 1 % around it. Both sides have the same true value.

use microbench_formats::statistic::Statistic;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::bootstrap::generator;
use super::coverage::normal;
use super::median;
use super::pairs::Effect;
use super::repetition::{Design, Scale, compare_repetitions, interval, values};
use super::shift::Shift;

/// Standard deviation between repetitions over that within them.
const RATIOS: [f64; 3] = [0.2, 0.5, 1.0];
const TRIALS: usize = 10;
const STUDIES: u64 = 2000;

/// The trials of `count` repetitions, whose effects come from `effect`.
fn repetitions(random: &mut ChaCha8Rng, ratio: f64, count: usize, effect: fn(&mut ChaCha8Rng) -> f64) -> Vec<Vec<f64>> {
    let repetition = |_| {
        let middle = 100.0 + ratio * effect(random);
        (0..TRIALS).map(|_| middle + normal(random)).collect()
    };
    (0..count).map(repetition).collect()
}

/// The share of studies of which `is_wrong` is true.
fn share(mut is_wrong: impl FnMut(&mut ChaCha8Rng) -> bool) -> f64 {
    let wrong = (0..STUDIES).filter(|study| is_wrong(&mut generator(2019, *study))).count();
    wrong as f64 / STUDIES as f64
}

/// Whether the trials of both sides, pooled over repetitions, differ by the Mann-Whitney test.
fn pooled_differ(random: &mut ChaCha8Rng, ratio: f64, count: usize) -> bool {
    let [first, second] = [(); 2].map(|()| repetitions(random, ratio, count, normal).concat());
    let shift = Shift::rank_sum(Effect::Ratio, &[(first, second)]);
    2.0 * shift.p_above(1.0).min(shift.p_below(1.0)) <= 0.05
}

fn differ(first: &[Vec<f64>], second: &[Vec<f64>], design: Design) -> bool {
    compare_repetitions(first, second, Statistic::Median, design, Scale::Ratio).unwrap().p() <= 0.05
}

/// Upper limit of a nominal share of 5 % over [`STUDIES`] studies: three standard errors above.
const NOMINAL: f64 = 0.065;

#[test]
fn two_runs_with_repetitions_differ_in_at_most_5_of_100_studies() {
    for ratio in RATIOS {
        let single = share(|random| pooled_differ(random, ratio, 1));
        println!("between/within {ratio}: one run a side, trials as units: {:.1} %", single * 100.0);
        for count in [3, 5, 10] {
            let pooled = share(|random| pooled_differ(random, ratio, count));
            let apart = share(|random| {
                let sides = [(); 2].map(|()| repetitions(random, ratio, count, normal));
                differ(&sides[0], &sides[1], Design::Independent)
            });
            println!(
                "between/within {ratio}, {count} repetitions: trials as units {:.1} %, repetitions {:.1} %",
                pooled * 100.0,
                apart * 100.0
            );
            assert!(apart <= NOMINAL, "{ratio}, {count}: {apart}");
            // Trials as units are wrong where repetitions vary as much as trials.
            assert!(ratio < 1.0 || pooled > 0.35, "{ratio}, {count}: {pooled}");
        }
    }
}

/// Interleaved runs, and variants of one run, share the effect of a repetition; a drift adds to all effects.
#[test]
fn paired_sides_differ_in_at_most_5_of_100_studies_and_a_change_of_2_percent_is_found() {
    for ratio in RATIOS {
        for count in [3, 5, 10] {
            let drifting = |random: &mut ChaCha8Rng, change: f64, shared: f64| {
                let mut sides = [Vec::new(), Vec::new()];
                for at in 0..count {
                    let drift = at as f64 + shared * normal(random);
                    for (side, scale) in sides.iter_mut().zip([1.0, change]) {
                        let middle = (100.0 + drift + ratio * normal(random)) * scale;
                        side.push((0..TRIALS).map(|_| middle + normal(random)).collect());
                    }
                }
                differ(&sides[0], &sides[1], Design::Paired)
            };
            let wrong = share(|random| drifting(random, 1.0, 3.0));
            let power = share(|random| drifting(random, 1.02, 3.0));
            println!(
                "between/within {ratio}, {count} pairs under a drift: false alarms {:.1} %, 2 % found {:.1} %",
                wrong * 100.0,
                power * 100.0
            );
            assert!(wrong <= NOMINAL, "{ratio}, {count}: {wrong}");
            assert!(count < 10 || power > 0.95, "{ratio}, {count}: {power}");
        }
    }
}

#[test]
fn the_interval_over_runs_covers_in_at_least_94_of_100_studies() {
    for ratio in RATIOS {
        for count in [3, 5, 10] {
            let covers = |random: &mut ChaCha8Rng, over_runs: bool| {
                let runs = repetitions(random, ratio, count, normal);
                let found = if over_runs {
                    interval(&values(&runs, Statistic::Median), 0.95)
                } else {
                    median::interval(&runs.concat(), 0.95)
                };
                found.is_some_and(|found| found.low <= 100.0 && 100.0 <= found.high)
            };
            let (pooled, over) = (share(|random| covers(random, false)), share(|random| covers(random, true)));
            println!(
                "between/within {ratio}, {count} runs: trials pooled {:.1} %, over runs {:.1} %",
                pooled * 100.0,
                over * 100.0
            );
            assert!((0.935..=0.965).contains(&over), "{ratio}, {count}: {over}");
            assert!(ratio < 1.0 || pooled < 0.75, "{ratio}, {count}: {pooled}");
        }
    }
}

/// The t distribution assumes that effects are about normal. Hosts of two kinds that are far apart, each equally likely,
/// are the worst case: all repetitions are of one kind in 2^(1 - K) of cases. A comparison still gives few false alarms,
/// because both sides would have to be of different kinds.
#[test]
fn hosts_of_two_kinds_need_six_repetitions() {
    let kinds = |random: &mut ChaCha8Rng| if random.next_u64().is_multiple_of(2) { 5.0 } else { -5.0 };
    for count in [3, 5, 6, 10] {
        let wrong = share(|random| {
            let sides = [(); 2].map(|()| repetitions(random, 1.0, count, kinds));
            differ(&sides[0], &sides[1], Design::Independent)
        });
        let covered = share(|random| {
            let runs = repetitions(random, 1.0, count, kinds);
            interval(&values(&runs, Statistic::Median), 0.95).is_some_and(|i| i.low <= 100.0 && 100.0 <= i.high)
        });
        println!(
            "two kinds of hosts, {count} repetitions: false alarms {:.1} %, coverage {:.1} %",
            wrong * 100.0,
            covered * 100.0
        );
        assert!(wrong <= NOMINAL, "{count}: {wrong}");
        assert!(count < 6 || covered >= 0.92, "{count}: {covered}");
    }
}
