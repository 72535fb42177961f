//! Statistics that go by rank, of samples of which only some ranks are asked for: nothing is sorted.

use std::collections::BTreeSet;

use super::median::{self, Interval};

/// Values of which those that were asked for are where sorting (`f64::total_cmp`) would put them. What it says is what
/// [`Ascending`](super::ascending::Ascending) says.
#[derive(Clone, Debug)]
pub struct Ranks {
    values: Vec<f64>,
    placed: BTreeSet<usize>,
}

impl Ranks {
    /// Of these values.
    #[must_use]
    pub fn of(values: Vec<f64>) -> Self {
        Self { values, placed: BTreeSet::new() }
    }

    /// The values, in whatever order they are by now.
    #[must_use]
    pub fn into_values(self) -> Vec<f64> {
        self.values
    }

    /// The value at a rank from 0, which there must be. It divides what lies on both sides of it, so that the next one has less to do.
    fn at(&mut self, rank: usize) -> f64 {
        if self.placed.insert(rank) {
            let from = self.placed.range(..rank).next_back().map_or(0, |below| below + 1);
            let to = self.placed.range(rank + 1..).next().map_or(self.values.len(), |above| *above);
            self.values[from..to].select_nth_unstable_by(rank - from, f64::total_cmp);
        }
        self.values[rank]
    }

    /// The median; `None` of nothing.
    pub fn median(&mut self) -> Option<f64> {
        let middle = self.values.len() / 2;
        match self.values.len() {
            0 => None,
            n if n % 2 == 1 => Some(self.at(middle)),
            _ => Some(f64::midpoint(self.at(middle - 1), self.at(middle))),
        }
    }

    /// As [`median::interval`].
    pub fn median_interval(&mut self, level: f64) -> Option<Interval> {
        let n = self.values.len();
        let (k, level) = median::rank(n, level)?;
        Some(Interval { low: self.at(k - 1), high: self.at(n - k), level })
    }

    /// As [`super::quantile::quantile`].
    pub fn quantile(&mut self, p: f64) -> Option<f64> {
        let last = self.values.len().checked_sub(1)?;
        let place = last as f64 * p.clamp(0.0, 1.0);
        let below = place.floor() as usize;
        let (low, high) = (self.at(below), self.at((below + 1).min(last)));
        Some(low + (high - low) * (place - place.floor()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::ascending::Ascending;

    proptest! {
        /// In whatever order they are asked for, and with values that are the same or infinite.
        #[test]
        fn what_is_asked_for_is_what_sorting_gives(
            values in prop::collection::vec(prop_oneof![-9_i32..9, Just(i32::MAX)], 0..200),
            asked in prop::collection::vec((0_usize..3, 0.0_f64..1.0), 1..9),
        ) {
            let value = |value: i32| if value == i32::MAX { f64::INFINITY } else { f64::from(value) / 4.0 };
            let values: Vec<f64> = values.into_iter().map(value).collect();
            let (sorted, mut ranks) = (Ascending::of(&values), Ranks::of(values));
            let bits = |value: Option<f64>| value.map(f64::to_bits);
            for (what, p) in asked {
                match what {
                    0 => prop_assert_eq!(bits(ranks.median()), bits(sorted.median())),
                    1 => prop_assert_eq!(ranks.median_interval(p), sorted.median_interval(p)),
                    _ => {
                        let (found, wanted) = (ranks.quantile(p), sorted.quantile(p));
                        prop_assert!(bits(found) == bits(wanted) || found.is_some_and(f64::is_nan) && wanted.is_some_and(f64::is_nan));
                    }
                }
            }
        }
    }
}
