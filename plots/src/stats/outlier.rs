//! Values far from the rest: classified, never dropped.

use super::ascending::Ascending;

/// Tukey's fences: the quartiles widened by 1.5 and by 3 interquartile ranges (J. W. Tukey, Exploratory Data Analysis, 1977,
/// section 2D), here with the quartiles of [`quantile`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outliers {
    /// Values beyond the inner fences, 1.5 interquartile ranges from the quartiles, and within the outer ones.
    pub mild: usize,
    /// Values beyond the outer fences, 3 interquartile ranges from the quartiles.
    pub severe: usize,
}

/// Counts the outliers among `values`. Values that are all the same have none.
#[must_use]
pub fn outliers(values: &[f64]) -> Outliers {
    Ascending::of(values).outliers()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Quartiles 2 and 4: inner fences -1 and 7, outer ones -4 and 10.
    #[test]
    fn fences_are_those_worked_by_hand() {
        assert_eq!(outliers(&[1.0, 2.0, 3.0, 4.0, 7.0]), Outliers { mild: 0, severe: 0 });
        assert_eq!(outliers(&[1.0, 2.0, 3.0, 4.0, 10.0]), Outliers { mild: 1, severe: 0 });
        assert_eq!(outliers(&[1.0, 2.0, 3.0, 4.0, 10.1]), Outliers { mild: 0, severe: 1 });
        assert_eq!(outliers(&[]), Outliers::default());
        assert_eq!(outliers(&[5.0; 9]), Outliers::default());
    }

    proptest! {
        #[test]
        fn a_change_of_unit_or_of_origin_changes_no_class(values in prop::collection::vec(-1e3_f64..1e3, 1..60)) {
            let moved: Vec<f64> = values.iter().map(|value| value * 8.0).collect();
            prop_assert_eq!(outliers(&values), outliers(&moved));
            prop_assert!(outliers(&values).severe + outliers(&values).mild <= values.len() / 2);
        }
    }
}
