//! Mean, standard deviation, coefficient of variation.

/// Arithmetic mean; `None` of nothing.
#[must_use]
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Sample standard deviation (divisor n - 1), by the two-pass formula; `None` below two values.
#[must_use]
pub fn standard_deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|_| values.len() > 1)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// Standard deviation over mean; `None` below two values or at a mean of zero.
#[must_use]
pub fn coefficient_of_variation(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|mean| *mean != 0.0)?;
    Some(standard_deviation(values)? / mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NIST StRD, data set Michelson is long; these five are worked by hand: mean 3, variance 2.5.
    #[test]
    fn small_samples_have_the_values_worked_by_hand() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0];
        assert_eq!(mean(&values), Some(3.0));
        assert_eq!(standard_deviation(&values), Some(2.5_f64.sqrt()));
        assert_eq!(coefficient_of_variation(&values), Some(2.5_f64.sqrt() / 3.0));
        assert_eq!((mean(&[]), standard_deviation(&[1.0])), (None, None));
    }
}
