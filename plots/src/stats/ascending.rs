//! A sample sorted once, for the statistics that go by rank.

use super::median::{self, Interval};
use super::outlier::Outliers;
use super::quantile;

/// Values in ascending order (`f64::total_cmp`), with the place that each had before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ascending {
    values: Vec<f64>,
    places: Vec<u32>,
}

impl Ascending {
    /// Sorts at most 2^32 values.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        // As integers whose order is that of `total_cmp`, which sort without a branch each.
        let key = |value: f64| {
            let bits = value.to_bits().cast_signed();
            bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
        };
        let mut pairs: Vec<(i64, u32)> = values.iter().map(|value| key(*value)).zip(0..).collect();
        // Equal values keep their order, because their places differ.
        pairs.sort_unstable();
        let places: Vec<u32> = pairs.iter().map(|(_, place)| *place).collect();
        Self { values: places.iter().map(|place| values[*place as usize]).collect(), places }
    }

    /// The values, smallest first.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The place that each value had before they were sorted, as [`Self::values`].
    #[must_use]
    pub fn places(&self) -> &[u32] {
        &self.places
    }

    /// As [`median::median`].
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        let middle = self.values.len() / 2;
        match self.values.len() {
            0 => None,
            n if n % 2 == 1 => Some(self.values[middle]),
            _ => Some(f64::midpoint(self.values[middle - 1], self.values[middle])),
        }
    }

    /// As [`median::interval`].
    #[must_use]
    pub fn median_interval(&self, level: f64) -> Option<Interval> {
        let n = self.values.len();
        let (k, level) = median::rank(n, level)?;
        Some(Interval { low: self.values[k - 1], high: self.values[n - k], level })
    }

    /// As [`quantile::quantile`].
    #[must_use]
    pub fn quantile(&self, p: f64) -> Option<f64> {
        let last = self.values.len().checked_sub(1)?;
        let place = last as f64 * p.clamp(0.0, 1.0);
        let below = place.floor() as usize;
        let above = (below + 1).min(last);
        let (low, high) = (self.values[below], self.values[above]);
        Some(low + (high - low) * (place - place.floor()))
    }

    /// As [`quantile::quantile_interval`].
    #[must_use]
    pub fn quantile_interval(&self, p: f64, level: f64) -> Option<Interval> {
        let (low, high, level) = quantile::ranks(self.values.len(), p, level)?;
        Some(Interval { low: self.values[low - 1], high: self.values[high - 1], level })
    }

    /// As [`super::outlier::outliers`].
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
    fn infinite_values_and_zeros_of_both_signs_have_their_places() {
        let sorted = Ascending::of(&[f64::INFINITY, 0.0, -1.0, -0.0, f64::NEG_INFINITY]);
        assert_eq!(sorted.places(), [4, 2, 3, 1, 0]);
        assert_eq!(
            sorted.values()[1..4].iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
            [-1.0, -0.0, 0.0].map(f64::to_bits)
        );
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_the_standard_library(values in prop::collection::vec(any::<f64>(), 0..200)) {
            let mut wanted = values.clone();
            wanted.sort_by(f64::total_cmp);
            let found = Ascending::of(&values);
            prop_assert_eq!(found.values().iter().map(|v| v.to_bits()).collect::<Vec<_>>(), wanted.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
            for (value, place) in found.values().iter().zip(found.places()) {
                prop_assert_eq!(value.to_bits(), values[*place as usize].to_bits());
            }
        }
    }
}
