//! Values that lie whole ticks apart, because a wait of the guest kernel ends at its timer tick.
//!
//! A kernel that is built with `CONFIG_HZ=250` wakes a sleeping task at multiples of 4 ms. If the wait is on the path of
//! a duration, the durations form narrow clusters a tick apart, and the median is chance: it lies in one cluster, or
//! between two. The rule below is a heuristic; the tests of this module simulate how often it is wrong.

use serde::Serialize;

use super::sorted::Sorted;

/// The number of values from which on clusters are searched for.
pub const TICK_FROM: usize = 6;
/// Frequencies that a Linux kernel for x86 can be built with (`CONFIG_HZ`).
pub const FREQUENCIES: [u32; 4] = [100, 250, 300, 1000];
/// Largest width of a cluster, as a share of the tick.
const WIDTH: f64 = 0.1;
/// Largest deviation of a distance from a multiple of the tick, as a share of the tick, in addition to half the width of
/// the wider of the two clusters.
const DEVIATION: f64 = 0.02;

/// Clusters of values whose distances are multiples of a tick.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ticks {
    /// `CONFIG_HZ` of the kernel that has this tick.
    pub hz: u32,
    /// The clusters in ascending order, at least two.
    pub clusters: Vec<Cluster>,
}

/// Values that are close to each other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cluster {
    /// Number of values.
    pub n: usize,
    /// Median of the values, ms.
    pub median: f64,
}

impl Ticks {
    /// The tick, ms.
    #[must_use]
    pub fn period(&self) -> f64 {
        period(self.hz)
    }

    /// The measured distance of the first two clusters that are one tick apart, ms.
    #[must_use]
    pub fn distance(&self) -> f64 {
        let distances = self.clusters.windows(2).map(|pair| pair[1].median - pair[0].median);
        let deviation = |distance: &f64| (distance - self.period()).abs();
        distances.min_by(|a, b| deviation(a).total_cmp(&deviation(b))).unwrap_or_else(|| self.period())
    }
}

/// The number of clusters that a text has at most.
const MAX_NAMED: usize = 3;

impl Ticks {
    /// The clusters as text: `4 values at 72.56 ms, 2 at 76.58 ms`.
    #[must_use]
    pub fn describe(&self) -> String {
        let named = self.clusters.iter().take(MAX_NAMED).enumerate().map(|(at, cluster)| {
            format!("{}{} at {:.2} ms", cluster.n, if at == 0 { " values" } else { "" }, cluster.median)
        });
        let others = self.others().map(|(clusters, n)| format!("{n} in {clusters} more clusters"));
        named.chain(others).collect::<Vec<_>>().join(", ")
    }

    /// The numbers of values as text: `4 and 2 values`.
    #[must_use]
    pub fn counts(&self) -> String {
        let named: Vec<String> = self.clusters.iter().take(MAX_NAMED).map(|cluster| cluster.n.to_string()).collect();
        match (named.as_slice(), self.others()) {
            ([first @ .., last], None) => format!("{} and {last} values", first.join(", ")),
            (named, others) => {
                let (clusters, n) = others.unwrap_or_default();
                format!("{} values, and {n} in {clusters} more clusters", named.join(", "))
            }
        }
    }

    /// The number of clusters beyond [`MAX_NAMED`], and of their values; `None` up to [`MAX_NAMED`] clusters.
    fn others(&self) -> Option<(usize, usize)> {
        let others = self.clusters.get(MAX_NAMED..).filter(|others| !others.is_empty())?;
        Some((others.len(), others.iter().map(|cluster| cluster.n).sum()))
    }
}

/// The tick of a kernel with this `CONFIG_HZ`, ms.
#[must_use]
pub fn period(hz: u32) -> f64 {
    1000.0 / f64::from(hz)
}

/// The clusters of `values`, in ms, that lie ticks apart; `None` if they do not.
///
/// They do if a tick of [`FREQUENCIES`] explains all of the spread: each cluster is narrower than a tenth of the tick,
/// the distances of neighbouring clusters are multiples of the tick (within a fiftieth of it and half the width of the
/// wider cluster), and two neighbours are one tick apart. A cluster may have a single value.
///
/// `None` below [`TICK_FROM`] values, with a value that is not finite, and if all values of each cluster are equal:
/// they were rounded, for example in an imported table.
///
/// ```
/// use microbench_plots::stats::tick::ticks;
///
/// let found = ticks(&[72.53, 76.57, 72.58, 76.59, 72.55, 72.56]).unwrap();
/// assert_eq!((found.hz, found.clusters.len()), (250, 2));
/// assert_eq!(ticks(&[72.5, 73.1, 74.0, 74.9, 75.7, 76.6]), None);
/// ```
#[must_use]
pub fn ticks(values: &[f64]) -> Option<Ticks> {
    if values.len() < TICK_FROM || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let sorted = Sorted::new(values);
    FREQUENCIES.into_iter().find_map(|hz| clusters(sorted.values(), period(hz)).map(|clusters| Ticks { hz, clusters }))
}

/// The clusters of ascending values if `tick` explains their spread.
fn clusters(sorted: &[f64], tick: f64) -> Option<Vec<Cluster>> {
    let groups: Vec<&[f64]> = sorted.chunk_by(|low, high| high - low < WIDTH * tick).collect();
    let width = |group: &[f64]| group[group.len() - 1] - group[0];
    if groups.iter().any(|group| width(group) >= WIDTH * tick) || groups.iter().all(|group| width(group) <= 0.0) {
        return None;
    }
    let middle = |group: &[f64]| f64::midpoint(group[(group.len() - 1) / 2], group[group.len() / 2]);
    // For each pair of neighbours their distance and its tolerance, in ticks.
    let pairs: Vec<(f64, f64)> = (groups.windows(2))
        .map(|pair| {
            let wider = width(pair[0]).max(width(pair[1]));
            ((middle(pair[1]) - middle(pair[0])) / tick, DEVIATION + wider / tick / 2.0)
        })
        .collect();
    let is_multiple = |(distance, tolerance): &(f64, f64)| {
        distance.round() >= 1.0 && (distance - distance.round()).abs() <= *tolerance
    };
    let has_neighbours = pairs.iter().any(|(distance, _)| distance.round() <= 1.0);
    let clusters = groups.iter().map(|group| Cluster { n: group.len(), median: middle(group) });
    (has_neighbours && pairs.iter().all(is_multiple)).then(|| clusters.collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::Rng;

    use super::super::bootstrap::generator;
    use super::super::coverage::normal;
    use super::*;

    /// Kernel boots of Firecracker in the emulated host, ms: two clusters one tick of 250 Hz apart.
    const BOOTS: [f64; 6] = [72.53, 76.57, 72.58, 76.59, 72.55, 72.56];

    fn counts(found: &Ticks) -> Vec<usize> {
        found.clusters.iter().map(|cluster| cluster.n).collect()
    }

    #[test]
    fn boots_a_tick_apart_are_found_with_six_values() {
        let found = ticks(&BOOTS).unwrap();
        assert_eq!((found.hz, counts(&found)), (250, vec![4, 2]));
        assert!((found.distance() - 4.0).abs() < 0.05, "{found:?}");
        // One value of six is enough.
        let one = ticks(&[72.53, 72.54, 72.58, 72.57, 72.55, 76.58]).unwrap();
        assert_eq!((one.hz, counts(&one)), (250, vec![5, 1]));
        assert_eq!(ticks(&BOOTS[..5]), None, "too few");
    }

    #[test]
    fn each_frequency_is_found_and_not_its_multiples() {
        for hz in FREQUENCIES {
            let at = |ticks: f64, noise: f64| 100.0 + period(hz) * (ticks + noise);
            let values = [at(0.0, 0.01), at(1.0, 0.0), at(3.0, 0.02), at(1.0, -0.02), at(0.0, 0.0), at(3.0, 0.0)];
            assert_eq!(ticks(&values).map(|found| found.hz), Some(hz));
        }
    }

    #[test]
    fn other_spreads_are_not_ticks() {
        for (case, values) in [
            ("equal values", [72.5; 6]),
            ("one narrow cluster", [72.50, 72.51, 72.52, 72.53, 72.54, 72.55]),
            ("a distance of half a tick", [72.53, 72.54, 72.55, 74.53, 74.54, 74.55]),
            ("only two ticks of 4 ms apart", [72.53, 72.54, 72.55, 80.53, 80.54, 80.55]),
            ("a value between the clusters", [72.53, 72.54, 72.55, 76.53, 76.54, 74.1]),
            ("whole milliseconds of a table", [72.0, 73.0, 74.0, 73.0, 72.0, 76.0]),
            ("a censored value", [72.53, 76.57, 72.58, 76.59, 72.55, f64::INFINITY]),
        ] {
            assert_eq!(ticks(&values), None, "{case}");
        }
    }

    #[test]
    fn texts_name_at_most_three_clusters() {
        let found = ticks(&BOOTS).unwrap();
        assert_eq!(
            (found.counts().as_str(), found.describe().as_str()),
            ("4 and 2 values", "4 values at 72.56 ms, 2 at 76.58 ms")
        );
        let many: Vec<f64> = (0..400).map(|n| 4.0 * f64::from(n / 2) + 0.01 * f64::from(n % 2)).collect();
        let found = ticks(&many).unwrap();
        assert_eq!(found.counts(), "2, 2, 2 values, and 394 in 197 more clusters");
        assert!(found.describe().ends_with("2 at 8.00 ms, 394 in 197 more clusters"), "{}", found.describe());
    }

    fn uniform(random: &mut ChaCha8Rng) -> f64 {
        (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The share of 20,000 samples of `n` values of `one` in which ticks are found.
    fn share(n: usize, mut one: impl FnMut(&mut ChaCha8Rng) -> f64) -> f64 {
        let found = (0..20_000_u64).filter(|sample| {
            let random = &mut generator(2019, *sample);
            ticks(&(0..n).map(|_| one(random)).collect::<Vec<_>>()).is_some()
        });
        found.count() as f64 / 20_000.0
    }

    /// Distributions with one mode, with scales from far below to far above a tick.
    #[test]
    fn values_with_one_mode_are_ticks_in_at_most_one_of_1000_samples_and_with_a_heavy_tail_in_6() {
        let mut worst = [0.0_f64; 2];
        for n in [6, 10] {
            for scale in [0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0] {
                let light = [
                    share(n, |random| 100.0 + scale * normal(random)),
                    share(n, |random| 100.0 + scale * (0.5 * normal(random)).exp()),
                    share(n, |random| 100.0 + scale * uniform(random)),
                ];
                let heavy = share(n, |random| 100.0 + scale * normal(random).exp());
                println!("n = {n}, scale {scale} ms: normal, lognormal 0.5, uniform {light:?}, lognormal 1 {heavy}");
                worst = [light.into_iter().fold(worst[0], f64::max), worst[1].max(heavy)];
            }
        }
        println!("largest false positive rates: {:.3} %, heavy tail {:.3} %", worst[0] * 100.0, worst[1] * 100.0);
        assert!(worst[0] <= 0.001 && worst[1] <= 0.006, "{worst:?}");
    }

    /// A narrow cell with one stall is the case in which chance is most likely: the stall may be a tick long.
    #[test]
    fn one_stall_of_any_length_is_a_tick_in_at_most_one_of_10_samples() {
        for longest in [5.0, 20.0, 100.0] {
            let found = (0..20_000_u64).filter(|sample| {
                let random = &mut generator(2020, *sample);
                let mut values: Vec<f64> = (0..6).map(|_| 72.55 + 0.01 * normal(random)).collect();
                values[0] += longest * uniform(random);
                ticks(&values).is_some()
            });
            let share = found.count() as f64 / 20_000.0;
            println!("one stall of up to {longest} ms: {:.2} %", share * 100.0);
            assert!(share <= 0.1, "{longest}: {share}");
        }
    }

    /// Boots that end at one of two ticks, with the noise of the emulated host. All of them end at the same tick in
    /// `0.6^n + 0.4^n` of the samples.
    #[test]
    fn two_ticks_are_found_unless_every_value_is_at_one_of_them() {
        for (n, least) in [(6, 0.94), (10, 0.99)] {
            let value = |random: &mut ChaCha8Rng| {
                72.555 + 4.0 * f64::from(u8::from(uniform(random) < 0.4)) + 0.02 * normal(random)
            };
            let found = share(n, value);
            println!("two ticks, 40 % at the later one, n = {n}: {:.2} %", found * 100.0);
            assert!(found >= least, "n = {n}: {found}");
        }
    }

    proptest! {
        #[test]
        fn order_and_offset_do_not_matter(offset in 0.0_f64..1000.0, turn in 0_usize..6) {
            let mut values = BOOTS.map(|value| value + offset);
            values.rotate_left(turn);
            prop_assert_eq!(ticks(&values).map(|found| (found.hz, counts(&found))), Some((250, vec![4, 2])));
        }

        #[test]
        fn clusters_contain_every_value(values in prop::collection::vec(0.0_f64..20.0, 0..12)) {
            if let Some(found) = ticks(&values) {
                prop_assert_eq!(counts(&found).iter().sum::<usize>(), values.len());
                prop_assert!(found.clusters.len() >= 2);
            }
        }
    }
}
