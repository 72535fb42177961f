//! Rank-based statistics by selection instead of sorting, for samples of which few order statistics are needed.

use std::collections::BTreeSet;

use super::median::{self, Interval};

/// A partially sorted sample with the same results as [`Sorted`](super::sorted::Sorted).
///
/// Every order statistic that was requested is at its position in the order of `f64::total_cmp`; so a later request
/// only searches between known positions.
#[derive(Clone, Debug)]
pub struct Selection {
    values: Vec<f64>,
    placed: BTreeSet<usize>,
}

impl Selection {
    #[must_use]
    pub fn new(values: Vec<f64>) -> Self {
        Self { values, placed: BTreeSet::new() }
    }

    /// The values, in no particular order.
    #[must_use]
    pub fn into_values(self) -> Vec<f64> {
        self.values
    }

    /// The order statistic with this rank, from 0.
    ///
    /// # Panics
    /// If the sample has no such rank.
    fn order_statistic(&mut self, rank: usize) -> f64 {
        if self.placed.insert(rank) {
            let from = self.placed.range(..rank).next_back().map_or(0, |below| below + 1);
            let to = self.placed.range(rank + 1..).next().map_or(self.values.len(), |above| *above);
            self.values[from..to].select_nth_unstable_by(rank - from, f64::total_cmp);
        }
        self.values[rank]
    }

    /// See [`median::median`].
    pub fn median(&mut self) -> Option<f64> {
        let middle = self.values.len() / 2;
        match self.values.len() {
            0 => None,
            n if n % 2 == 1 => Some(self.order_statistic(middle)),
            _ => Some(f64::midpoint(self.order_statistic(middle - 1), self.order_statistic(middle))),
        }
    }

    /// See [`median::interval`].
    pub fn median_interval(&mut self, level: f64) -> Option<Interval> {
        let n = self.values.len();
        let (k, level) = median::interval_rank(n, level)?;
        Some(Interval { low: self.order_statistic(k - 1), high: self.order_statistic(n - k), level })
    }

    /// See [`super::quantile::quantile`].
    pub fn quantile(&mut self, p: f64) -> Option<f64> {
        let last = self.values.len().checked_sub(1)?;
        let place = last as f64 * p.clamp(0.0, 1.0);
        let below = place.floor() as usize;
        let (low, high) = (self.order_statistic(below), self.order_statistic((below + 1).min(last)));
        Some(low + (high - low) * (place - place.floor()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::sorted::Sorted;

    proptest! {
        /// For requests in any order, with equal and infinite values.
        #[test]
        fn results_are_those_of_a_sorted_sample(
            values in prop::collection::vec(prop_oneof![-9_i32..9, Just(i32::MAX)], 0..200),
            requests in prop::collection::vec((0_usize..3, 0.0_f64..1.0), 1..9),
        ) {
            let value = |value: i32| if value == i32::MAX { f64::INFINITY } else { f64::from(value) / 4.0 };
            let values: Vec<f64> = values.into_iter().map(value).collect();
            let (sorted, mut selection) = (Sorted::new(&values), Selection::new(values));
            let bits = |value: Option<f64>| value.map(f64::to_bits);
            for (statistic, p) in requests {
                match statistic {
                    0 => prop_assert_eq!(bits(selection.median()), bits(sorted.median())),
                    1 => prop_assert_eq!(selection.median_interval(p), sorted.median_interval(p)),
                    _ => {
                        let (found, expected) = (selection.quantile(p), sorted.quantile(p));
                        let both_nan = found.is_some_and(f64::is_nan) && expected.is_some_and(f64::is_nan);
                        prop_assert!(bits(found) == bits(expected) || both_nan);
                    }
                }
            }
        }
    }
}
