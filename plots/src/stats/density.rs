//! Kernel density estimates, for the outline of a violin plot.

use std::f64::consts::TAU;

use super::mean::standard_deviation;
use super::quantile::quantile;

/// B. W. Silverman's rule of thumb for the bandwidth of a Gaussian kernel, `0.9 min(s, IQR / 1.34) n^(-1/5)` (Density
/// Estimation for Statistics and Data Analysis, 1986, equation 3.31). If one measure of spread is zero, the other is
/// used; `None` if both are zero.
#[must_use]
pub fn silverman(values: &[f64]) -> Option<f64> {
    let deviation = standard_deviation(values)?;
    let range = (quantile(values, 0.75)? - quantile(values, 0.25)?) / 1.34;
    let spread = [deviation, range].into_iter().filter(|spread| *spread > 0.0).reduce(f64::min)?;
    Some(0.9 * spread * (values.len() as f64).powf(-0.2))
}

/// The density at `x`, estimated with a Gaussian kernel. `bandwidth` and `x` are in the unit of the values.
#[must_use]
pub fn density(values: &[f64], bandwidth: f64, x: f64) -> f64 {
    let kernel = |value: &f64| (-0.5 * ((x - value) / bandwidth).powi(2)).exp();
    values.iter().map(kernel).sum::<f64>() / (values.len() as f64 * bandwidth * TAU.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R 4: `bw.nrd0` of these values, and `mean(dnorm(x, v, bw))`.
    #[test]
    fn the_bandwidth_is_that_of_r_and_the_density_a_sum_of_normal_densities() {
        let values = [1.0, 2.0, 3.0, 4.0, 10.0];
        // s = 3.535534, IQR = 2: 0.9 * 2 / 1.34 * 5^-0.2.
        let bandwidth = silverman(&values).unwrap();
        assert!((bandwidth - 0.973_585).abs() < 1e-5, "{bandwidth}");
        let standard_normal = density(&[0.0], 1.0, 0.0);
        assert!((standard_normal - 0.398_942_28).abs() < 1e-8, "{standard_normal}");
        assert_eq!(density(&[-1.0, 1.0], 1.0, 0.5), density(&[-1.0, 1.0], 1.0, -0.5));
    }

    #[test]
    fn a_density_integrates_to_one() {
        let values = [3.0, 5.0, 5.5, 9.0];
        let bandwidth = silverman(&values).unwrap();
        let sum: f64 = (-2000..4000).map(|n| density(&values, bandwidth, f64::from(n) / 100.0) / 100.0).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    }

    #[test]
    fn equal_values_have_no_bandwidth() {
        assert_eq!(silverman(&[4.0; 12]), None);
        assert_eq!(silverman(&[4.0]), None);
        // The quartiles are equal, but the values are not.
        assert!(silverman(&[4.0, 4.0, 4.0, 4.0, 9.0]).is_some());
    }
}
