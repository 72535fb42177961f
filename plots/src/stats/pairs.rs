//! The comparisons of all pairs of values of two samples, counted and selected without listing them.
//!
//! A list of all pairs grows with the product of the sample sizes. Both samples are sorted instead; a count of the
//! pairs above a limit is then linear, and an order statistic is found by bisection.

/// The comparison of a value of the second sample with one of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The second value divided by the first. Every value of the first sample is above zero, and none of the second
    /// is below.
    Ratio,
    /// The second value minus the first, in the unit of the values.
    Difference,
}

/// The values of both samples in one stratum: a host, or the whole run.
pub type Stratum = (Vec<f64>, Vec<f64>);

/// All pairs of a first and a second value of the same stratum.
///
/// An infinite value is censored: it is larger than every finite value, by an unknown amount. A pair of two censored
/// values is undecided: it is neither above nor below any limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Pairs {
    effect: Effect,
    /// In ascending order.
    strata: Vec<Stratum>,
}

impl Pairs {
    /// The pairs of the strata that have a value on both sides.
    #[must_use]
    pub fn new(effect: Effect, strata: &[Stratum]) -> Self {
        let sorted = |values: &[f64]| {
            let mut values = values.to_vec();
            values.sort_by(f64::total_cmp);
            values
        };
        let both = strata.iter().filter(|(first, second)| !first.is_empty() && !second.is_empty());
        Self { effect, strata: both.map(|(first, second)| (sorted(first), sorted(second))).collect() }
    }

    /// The sizes of the samples in each stratum.
    pub fn sizes(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.strata.iter().map(|(first, second)| (first.len(), second.len()))
    }

    fn of(&self, first: f64, second: f64) -> f64 {
        match self.effect {
            Effect::Ratio => second / first,
            Effect::Difference => second - first,
        }
    }

    /// The number of pairs above `limit` if `above`, else below it. Within a stratum, the effect rises with the second
    /// value and falls with the first, so the matching first values of each second value are the smallest (or largest).
    fn count(&self, limit: f64, above: bool) -> usize {
        let in_stratum = |(first, second): &Stratum| {
            let (mut matching, mut count) = (0, 0);
            for at in 0..second.len() {
                let second = second[if above { at } else { second.len() - 1 - at }];
                let next = |matching: usize| first[if above { matching } else { first.len() - 1 - matching }];
                while matching < first.len() {
                    let effect = self.of(next(matching), second);
                    if !(if above { effect > limit } else { effect < limit }) {
                        break;
                    }
                    matching += 1;
                }
                count += matching;
            }
            count
        };
        self.strata.iter().map(in_stratum).sum()
    }
}

impl Comparisons for Pairs {
    fn total(&self) -> usize {
        self.sizes().map(|(first, second)| first * second).sum()
    }

    fn undecided(&self) -> usize {
        self.strata.iter().map(|(first, second)| count_of(first, f64::INFINITY) * count_of(second, f64::INFINITY)).sum()
    }

    fn above(&self, limit: f64) -> usize {
        self.count(limit, true)
    }

    fn below(&self, limit: f64) -> usize {
        self.count(limit, false)
    }
}

/// The Walsh averages of a sample: the means of all pairs of its values, each value with itself included. On values
/// that are logarithms of ratios, undo the logarithm.
#[derive(Clone, Debug, PartialEq)]
pub struct WalshAverages {
    /// In ascending order.
    values: Vec<f64>,
}

impl WalshAverages {
    /// Of these values; an undecided pair of two censored values is [`f64::NAN`] and counts as zero, which is neither
    /// above nor below.
    #[must_use]
    pub fn new(values: &[f64]) -> Self {
        let mut values: Vec<f64> = values.iter().map(|value| if value.is_nan() { 0.0 } else { *value }).collect();
        values.sort_by(f64::total_cmp);
        Self { values }
    }

    /// The number of values.
    #[must_use]
    pub fn n(&self) -> usize {
        self.values.len()
    }

    fn count(&self, ascending: impl DoubleEndedIterator<Item = f64> + ExactSizeIterator, limit: f64) -> usize {
        // `ascending` is the sample or its mirror image; the average of the i-th and j-th, i <= j, is above the limit.
        let values: Vec<f64> = ascending.collect();
        let (mut from, mut count) = (values.len(), 0);
        for i in 0..values.len() {
            while from > 0 && f64::midpoint(values[i], values[from - 1]) > limit {
                from -= 1;
            }
            count += values.len() - from.max(i);
        }
        count
    }
}

impl Comparisons for WalshAverages {
    fn total(&self) -> usize {
        self.values.len() * (self.values.len() + 1) / 2
    }

    fn undecided(&self) -> usize {
        count_of(&self.values, f64::NEG_INFINITY) * count_of(&self.values, f64::INFINITY)
    }

    fn above(&self, limit: f64) -> usize {
        self.count(self.values.iter().copied(), limit)
    }

    fn below(&self, limit: f64) -> usize {
        self.count(self.values.iter().rev().map(|value| -value), -limit)
    }
}

fn count_of(values: &[f64], value: f64) -> usize {
    values.iter().filter(|other| **other == value).count()
}

/// A set of comparisons in which those above and below a limit can be counted.
pub trait Comparisons {
    /// The number of comparisons.
    fn total(&self) -> usize;

    /// The number of comparisons of two censored values.
    fn undecided(&self) -> usize;

    /// The number of comparisons above `limit`, without undecided ones.
    fn above(&self, limit: f64) -> usize;

    /// The number of comparisons below `limit`, without undecided ones.
    fn below(&self, limit: f64) -> usize;

    /// The comparison with rank `rank`, from 1, in ascending order; undecided ones have the lowest ranks.
    fn rank_from_below(&self, rank: usize) -> f64 {
        smallest(|limit| self.total() - self.above(limit) >= rank)
    }

    /// The comparison with rank `rank`, from 1, in descending order; undecided ones have the highest ranks.
    fn rank_from_above(&self, rank: usize) -> f64 {
        -smallest(|limit| self.total() - self.below(-limit) >= rank)
    }

    /// The two middle comparisons, which are the same one if their number is odd. Of the undecided ones, one half counts
    /// as above and one as below. `None` without a comparison; an infinite value is censored.
    fn middle(&self) -> Option<[f64; 2]> {
        let (half, undecided) = (self.total() / 2, self.undecided() / 2);
        (self.total() > 0).then(|| {
            let low = smallest(|limit| self.above(limit) + undecided <= half);
            let high = -smallest(|limit| self.below(-limit) + undecided <= half);
            [low, high]
        })
    }
}

/// The smallest number for which `is_enough`, which is true for infinity and for every number above this one.
fn smallest(is_enough: impl Fn(f64) -> bool) -> f64 {
    // Integers in the order of `total_cmp`; the mapping is its own inverse.
    let mirrored = |bits: i64| bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed();
    let number = |key: i64| f64::from_bits(mirrored(key).cast_unsigned());
    let key = |number: f64| mirrored(number.to_bits().cast_signed());
    let (mut too_small, mut enough) = (key(f64::NEG_INFINITY) - 1, key(f64::INFINITY));
    while enough - 1 > too_small {
        let middle = i64::midpoint(too_small, enough);
        if is_enough(number(middle)) { enough = middle } else { too_small = middle }
    }
    // The sum turns a negative zero into zero.
    number(enough) + 0.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const X: [f64; 12] = [12.1, 11.8, 13.4, 12.9, 12.1, 14.0, 11.2, 12.5, 13.1, 12.8, 12.1, 13.9];
    const Y: [f64; 10] = [12.9, 13.8, 14.2, 13.1, 12.5, 15.0, 14.4, 13.6, 12.8, 14.9];

    /// SciPy 1.17: the median of `numpy.subtract.outer(y, x)`, and its values with rank 30 from both ends.
    #[test]
    fn order_statistics_are_those_of_the_listed_pairs() {
        let pairs = Pairs::new(Effect::Difference, &[(X.to_vec(), Y.to_vec())]);
        let [low, high] = pairs.middle().unwrap();
        assert!((f64::midpoint(low, high) - 1.0).abs() < 1e-9, "{low} {high}");
        assert!((pairs.rank_from_below(30) - 0.2).abs() < 1e-9 && (pairs.rank_from_above(30) - 1.9).abs() < 1e-9);
    }

    #[test]
    fn censored_values_are_larger_than_all_others_and_undecided_among_themselves() {
        let censored = f64::INFINITY;
        let pairs = Pairs::new(Effect::Ratio, &[(vec![1.0, 2.0, censored], vec![4.0, censored])]);
        assert_eq!((pairs.total(), pairs.undecided()), (6, 1));
        // 4/1, 4/2, inf/1, inf/2 are above 1, 4/inf is below.
        assert_eq!((pairs.above(1.0), pairs.below(1.0)), (4, 1));
        assert_eq!(
            (pairs.rank_from_below(1), pairs.rank_from_below(3), pairs.rank_from_above(1)),
            (0.0, 2.0, censored)
        );
        let every = Pairs::new(Effect::Ratio, &[(vec![1.0, 2.0], vec![censored])]);
        assert_eq!(every.middle(), Some([censored, censored]));
        assert_eq!(Pairs::new(Effect::Ratio, &[(vec![], vec![1.0])]).middle(), None);
    }

    fn listed(values: &mut [f64]) -> [f64; 2] {
        values.sort_by(f64::total_cmp);
        [values[(values.len() - 1) / 2] + 0.0, values[values.len() / 2] + 0.0]
    }

    proptest! {
        #[test]
        fn counts_and_ranks_are_those_of_the_listed_pairs(
            x in prop::collection::vec(1_u8..20, 1..12), y in prop::collection::vec(0_u8..20, 1..12), limit in 0_u8..30,
        ) {
            let (x, y): (Vec<f64>, Vec<f64>) = (x.into_iter().map(f64::from).collect(), y.into_iter().map(f64::from).collect());
            for effect in [Effect::Ratio, Effect::Difference] {
                let pairs = Pairs::new(effect, &[(x.clone(), y.clone())]);
                let mut all: Vec<f64> = x.iter().flat_map(|x| y.iter().map(|y| pairs.of(*x, *y)).collect::<Vec<_>>()).collect();
                let limit = f64::from(limit) / 3.0 - 2.0;
                prop_assert_eq!(pairs.above(limit), all.iter().filter(|value| **value > limit).count());
                prop_assert_eq!(pairs.below(limit), all.iter().filter(|value| **value < limit).count());
                prop_assert_eq!(pairs.middle().unwrap(), listed(&mut all));
                for rank in 1..=all.len() {
                    prop_assert_eq!(pairs.rank_from_below(rank), all[rank - 1] + 0.0);
                    prop_assert_eq!(pairs.rank_from_above(rank), all[all.len() - rank] + 0.0);
                }
            }
        }

        #[test]
        fn walsh_averages_are_those_of_the_listed_pairs(values in prop::collection::vec(-20_i8..20, 1..14), limit in -20_i8..20) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let averages = WalshAverages::new(&values);
            let mut all: Vec<f64> =
                (0..values.len()).flat_map(|i| values[i..].iter().map(|other| f64::midpoint(values[i], *other)).collect::<Vec<_>>()).collect();
            let limit = f64::from(limit) / 2.0;
            prop_assert_eq!(averages.total(), all.len());
            prop_assert_eq!(averages.above(limit), all.iter().filter(|value| **value > limit).count());
            prop_assert_eq!(averages.below(limit), all.iter().filter(|value| **value < limit).count());
            prop_assert_eq!(averages.middle().unwrap(), listed(&mut all));
        }
    }
}
