//! Numbers as text.

/// A number with three significant digits, at most six decimals.
pub(crate) fn significant(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let exponent = value.abs().log10().floor() as i32;
    let decimals = (2 - exponent).clamp(0, 6).unsigned_abs() as usize;
    format!("{value:.decimals$}")
}

/// A number and a noun: `1 claim`, `2 claims`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// A number without unit: one decimal, or three significant digits below 1.
#[must_use]
pub fn without_unit(value: f64) -> String {
    if value != 0.0 && value.abs() < 1.0 { significant(value) } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_keep_three_significant_digits() {
        assert_eq!([4.0, 0.0123, 123.456, 0.0].map(significant), ["4.00", "0.0123", "123", "0"]);
        assert_eq!([4.0, 0.0123, 123.456, 0.0].map(without_unit), ["4.0", "0.0123", "123.5", "0.0"]);
    }
}
