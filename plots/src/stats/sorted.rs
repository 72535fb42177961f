//! A sample that is sorted once, for several rank-based statistics.

use super::median::{self, Interval};
use super::outlier::Outliers;
use super::quantile;

/// Values in ascending order (`f64::total_cmp`), with the position of each in the original sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sorted {
    values: Vec<f64>,
    positions: Vec<u32>,
}

impl Sorted {
    /// Sorts at most 2^32 values.
    #[must_use]
    pub fn new(values: &[f64]) -> Self {
        // Integers in the order of `total_cmp`: they sort without a branch for each comparison.
        let key = |value: f64| {
            let bits = value.to_bits().cast_signed();
            bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
        };
        let mut pairs: Vec<(i64, u32)> = values.iter().map(|value| key(*value)).zip(0..).collect();
        // The sort is stable, because the positions of equal values differ.
        pairs.sort_unstable();
        let positions: Vec<u32> = pairs.iter().map(|(_, position)| *position).collect();
        Self { values: positions.iter().map(|position| values[*position as usize]).collect(), positions }
    }

    /// The values, in ascending order.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The position of each of [`Self::values`] in the original sample, from 0.
    #[must_use]
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// See [`median::median`].
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        let middle = self.values.len() / 2;
        match self.values.len() {
            0 => None,
            n if n % 2 == 1 => Some(self.values[middle]),
            _ => Some(f64::midpoint(self.values[middle - 1], self.values[middle])),
        }
    }

    /// See [`median::interval`].
    #[must_use]
    pub fn median_interval(&self, level: f64) -> Option<Interval> {
        let n = self.values.len();
        let (k, level) = median::interval_rank(n, level)?;
        Some(Interval { low: self.values[k - 1], high: self.values[n - k], level })
    }

    /// See [`quantile::quantile`].
    #[must_use]
    pub fn quantile(&self, p: f64) -> Option<f64> {
        let last = self.values.len().checked_sub(1)?;
        let place = last as f64 * p.clamp(0.0, 1.0);
        let below = place.floor() as usize;
        let above = (below + 1).min(last);
        let (low, high) = (self.values[below], self.values[above]);
        Some(low + (high - low) * (place - place.floor()))
    }

    /// See [`quantile::quantile_interval`].
    #[must_use]
    pub fn quantile_interval(&self, p: f64, level: f64) -> Option<Interval> {
        let (low, high, level) = quantile::interval_ranks(self.values.len(), p, level)?;
        Some(Interval { low: self.values[low - 1], high: self.values[high - 1], level })
    }

    /// See [`super::outlier::outliers`].
    #[must_use]
    pub fn outliers(&self) -> Outliers {
        let (Some(low), Some(high)) = (self.quantile(0.25), self.quantile(0.75)) else { return Outliers::default() };
        let range = high - low;
        if !range.is_finite() {
            return Outliers::default();
        }
        let beyond = |fences: f64| {
            let below = self.values.partition_point(|&value| value < low - fences * range);
            below + self.values.len() - self.values.partition_point(|&value| value <= high + fences * range)
        };
        let severe = beyond(3.0);
        Outliers { mild: beyond(1.5) - severe, severe }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn infinite_values_and_signed_zeros_are_sorted() {
        let sorted = Sorted::new(&[f64::INFINITY, 0.0, -1.0, -0.0, f64::NEG_INFINITY]);
        assert_eq!(sorted.positions(), [4, 2, 3, 1, 0]);
        assert_eq!(
            sorted.values()[1..4].iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
            [-1.0, -0.0, 0.0].map(f64::to_bits)
        );
    }

    proptest! {
        #[test]
        fn sorts_like_the_standard_library(values in prop::collection::vec(any::<f64>(), 0..200)) {
            let mut expected = values.clone();
            expected.sort_by(f64::total_cmp);
            let found = Sorted::new(&values);
            prop_assert_eq!(found.values().iter().map(|v| v.to_bits()).collect::<Vec<_>>(), expected.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
            for (value, position) in found.values().iter().zip(found.positions()) {
                prop_assert_eq!(value.to_bits(), values[*position as usize].to_bits());
            }
        }
    }
}
