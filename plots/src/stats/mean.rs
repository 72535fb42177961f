//! Mean, standard deviation, coefficient of variation.

/// The arithmetic mean; `None` for an empty sample.
#[must_use]
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The sample standard deviation (divisor n - 1), by the two-pass formula; `None` below two values.
#[must_use]
pub fn standard_deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|_| values.len() > 1)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// The standard deviation divided by the mean; `None` below two values or for a mean of zero.
#[must_use]
pub fn coefficient_of_variation(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|mean| *mean != 0.0)?;
    Some(standard_deviation(values)? / mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed by hand: mean 3, variance 2.5.
    #[test]
    fn values_are_those_computed_by_hand() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0];
        assert_eq!(mean(&values), Some(3.0));
        assert_eq!(standard_deviation(&values), Some(2.5_f64.sqrt()));
        assert_eq!(coefficient_of_variation(&values), Some(2.5_f64.sqrt() / 3.0));
        assert_eq!((mean(&[]), standard_deviation(&[1.0])), (None, None));
    }
}
