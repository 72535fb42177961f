//! The coverage of intervals, simulated with fixed seeds: each case draws studies with a known true value.

use microbench_formats::precision::{Look, Precision};
use microbench_formats::statistic::Statistic;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::bootstrap::generator;
use super::contrast::{Contrast, Kind, Stratum};
use super::mean::mean;
use super::median::{Interval, interval, median};
use super::precision::look;

/// A standard normal value by the method of Box and Muller.
pub(crate) fn normal(random: &mut ChaCha8Rng) -> f64 {
    let mut uniform = || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    (-2.0 * (1.0 - uniform()).ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()
}

/// The share of `studies` whose interval contains `truth`.
fn share(studies: u64, truth: f64, mut study: impl FnMut(u64, &mut ChaCha8Rng) -> Interval) -> f64 {
    let covered = (0..studies).filter(|&number| {
        let found = study(number, &mut generator(2019, number));
        found.low <= truth && truth <= found.high
    });
    covered.count() as f64 / studies as f64
}

fn within(low: f64, high: f64, cases: &[(&str, f64)]) {
    for (case, share) in cases {
        println!("{case}: {:.1} %", share * 100.0);
    }
    for (case, share) in cases {
        assert!((low..=high).contains(share), "{case}: {share}");
    }
}

fn draw(n: usize, mut one: impl FnMut() -> f64) -> Vec<f64> {
    (0..n).map(|_| one()).collect()
}

/// A boot time: about normal, and one in twenty boots stalls for twice its time. The median is 100.198.
fn boot(random: &mut ChaCha8Rng) -> f64 {
    let value = 100.0 + 3.0 * normal(random);
    if random.next_u64().is_multiple_of(20) { value + 200.0 } else { value }
}

/// A tail does not lower the coverage of the median.
#[test]
fn the_interval_of_the_median_covers_it_in_94_to_98_of_100_studies() {
    let skewed = |n: usize| {
        share(20_000, 100.0, |_, random| interval(&draw(n, || 100.0 * (0.3 * normal(random)).exp()), 0.95).unwrap())
    };
    let stalling = |n: usize| share(20_000, 100.198, |_, random| interval(&draw(n, || boot(random)), 0.95).unwrap());
    within(
        0.94,
        0.98,
        &[
            ("median, skewed, n = 6", skewed(6)),
            ("median, skewed, n = 15", skewed(15)),
            ("median, skewed, n = 30", skewed(30)),
            ("median, stalls, n = 10", stalling(10)),
            ("median, stalls, n = 30", stalling(30)),
        ],
    );
}

/// The value of a trial of twenty VMs that share half of their variance.
fn trial(random: &mut ChaCha8Rng, statistic: Statistic) -> f64 {
    let common = normal(random);
    let vms = draw(20, || 100.0 * (0.1 * (0.5_f64.sqrt() * common + 0.5_f64.sqrt() * normal(random))).exp());
    if statistic == Statistic::Mean { mean(&vms).unwrap() } else { median(&vms).unwrap() }
}

#[test]
fn the_interval_of_a_ratio_covers_it_in_93_to_97_of_100_studies() {
    let ratio = |statistic, trials: usize| {
        share(3000, 1.0, |study, random| {
            let first = draw(trials, || trial(random, statistic));
            let second = draw(trials, || trial(random, statistic));
            let strata = vec![Stratum { first, second: Vec::new() }, Stratum { first: Vec::new(), second }];
            Contrast { kind: Kind::Ratio, statistic, strata }.resampled_interval(0.95, study, 1, 499).unwrap().0
        })
    };
    within(
        0.93,
        0.97,
        &[
            ("ratio of means, 6 trials of 20 VMs", ratio(Statistic::Mean, 6)),
            ("ratio of means, 10 trials of 20 VMs", ratio(Statistic::Mean, 10)),
            ("ratio of means, 30 trials of 20 VMs", ratio(Statistic::Mean, 30)),
            ("ratio of medians, 10 trials of 20 VMs", ratio(Statistic::Median, 10)),
            ("ratio of medians, 30 trials of 20 VMs", ratio(Statistic::Median, 30)),
        ],
    );
}

/// The unit of analysis is the trial: its mean is one value for any number of VMs. With VMs as units, the coverage is
/// less than half.
#[test]
fn the_interval_of_batch_means_covers_the_mean_in_93_to_97_of_100_studies() {
    let vms = |random: &mut ChaCha8Rng| {
        let common = normal(random);
        draw(20, || 100.0 + 5.0 * (0.5_f64.sqrt() * common + 0.5_f64.sqrt() * normal(random)))
    };
    let value = |first: Vec<f64>, study| {
        let strata = vec![Stratum { first, second: Vec::new() }];
        let made = Contrast { kind: Kind::Value, statistic: Statistic::Mean, strata };
        made.resampled_interval(0.95, study, 1, 799).unwrap().0
    };
    let batches =
        |trials: usize| share(1500, 100.0, |study, random| value(draw(trials, || mean(&vms(random)).unwrap()), study));
    let naive = share(300, 100.0, |study, random| value((0..10).flat_map(|_| vms(random)).collect(), study));
    println!("every VM a unit: {:.1} %", naive * 100.0);
    assert!(naive < 0.6, "{naive}");
    within(
        0.93,
        0.97,
        &[
            ("batch means, 6 trials", batches(6)),
            ("batch means, 10 trials", batches(10)),
            ("batch means, 30 trials", batches(30)),
        ],
    );
}

/// 30 to 200 trials, a look after every 10, until the half width is 2 % of the median at two looks in a row.
#[test]
fn the_stopping_rule_keeps_a_coverage_of_94_to_97_of_100_studies() {
    let (metric, statistic) = ("startup".to_owned(), Statistic::Median);
    let rule = Precision { metric, statistic, relative: 0.02, n_min: 30, every: 10, n_max: 200 };
    let mut taken = Vec::new();
    let mut sequential = |spread: f64| {
        share(3000, 100.0, |study, random| {
            let mut values = draw(30, || 100.0 * (spread * normal(random)).exp());
            while matches!(look(&rule, &values, 0.95, study), Look::GoOn { .. }) {
                values.extend(draw(10, || 100.0 * (spread * normal(random)).exp()));
            }
            taken.push(values.len() as f64);
            interval(&values, 0.95).unwrap()
        })
    };
    let cases = [
        ("stopping rule, spread 4 %", sequential(0.04)),
        ("stopping rule, spread 8 %", sequential(0.08)),
        ("stopping rule, spread 12 %", sequential(0.12)),
    ];
    println!("trials taken: {:?} (mean)", mean(&taken));
    within(0.94, 0.97, &cases);
}
