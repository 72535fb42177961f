//! Outliers by Tukey's fences: counted, never dropped.

use super::sorted::Sorted;

/// The number of values beyond Tukey's fences, 1.5 and 3 interquartile ranges from the quartiles (J. W. Tukey,
/// Exploratory Data Analysis, 1977, section 2D), with the quartiles of [`quantile`](super::quantile::quantile).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outliers {
    /// Values between the inner and the outer fences.
    pub mild: usize,
    /// Values beyond the outer fences.
    pub severe: usize,
}

/// Counts the outliers among `values`; none if all values are equal.
#[must_use]
pub fn outliers(values: &[f64]) -> Outliers {
    Sorted::new(values).outliers()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The quartiles are 2 and 4, so the inner fences are -1 and 7, the outer fences -4 and 10.
    #[test]
    fn fences_are_those_computed_by_hand() {
        assert_eq!(outliers(&[1.0, 2.0, 3.0, 4.0, 7.0]), Outliers { mild: 0, severe: 0 });
        assert_eq!(outliers(&[1.0, 2.0, 3.0, 4.0, 10.0]), Outliers { mild: 1, severe: 0 });
        assert_eq!(outliers(&[1.0, 2.0, 3.0, 4.0, 10.1]), Outliers { mild: 0, severe: 1 });
        assert_eq!(outliers(&[]), Outliers::default());
        assert_eq!(outliers(&[5.0; 9]), Outliers::default());
    }

    proptest! {
        #[test]
        fn a_change_of_unit_changes_no_count(values in prop::collection::vec(-1e3_f64..1e3, 1..60)) {
            let moved: Vec<f64> = values.iter().map(|value| value * 8.0).collect();
            prop_assert_eq!(outliers(&values), outliers(&moved));
            prop_assert!(outliers(&values).severe + outliers(&values).mild <= values.len() / 2);
        }
    }
}
