//! Numbers as text, with as many digits as their uncertainty justifies.
//!
//! [`Estimate`] is a number with an interval: the half-width of the interval decides the decimals. [`significant`] is a
//! number without one. `docs/explanation/statistics.md` describes the rules.

use crate::stats::median::Interval;

/// The text of an interval whose ends are equal.
pub(crate) const ZERO_WIDTH: &str = "zero width";
/// The text of a value or an interval that is only known to be larger than the time that was waited.
const CENSORED: &str = "censored";
/// Ends closer than this share of the larger one differ by rounding only.
const ROUNDING: f64 = 1e-12;
/// The largest number of significant digits of an estimate whose interval has zero width.
const MOST_DIGITS: i32 = 4;

/// An estimate with its interval, as texts with the same number of decimals.
///
/// The half-width of the interval has two significant digits, but no number is rounded to more than whole units. An
/// estimate whose interval has zero width has its own digits, at most four significant ones. Without an interval, it
/// has three significant digits. If one end is not finite, the distance of the estimate from the other end counts as
/// half-width, but the estimate keeps three significant digits.
///
/// ```
/// use microbench_plots::number::Estimate;
///
/// let ratio = Estimate::new(Some(1.1234), Some([1.1101, 1.1367]));
/// assert_eq!([ratio.value(), ratio.range("").unwrap()], ["1.123", "1.110 to 1.137"]);
/// let censored = Estimate::new(None, Some([307.0, f64::INFINITY]));
/// assert_eq!(censored.range(" ms").unwrap(), "at least 307 ms");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    value: Option<f64>,
    ends: Option<[f64; 2]>,
    decimals: usize,
    is_signed: bool,
}

impl Estimate {
    /// An estimate and the ends of its interval. A censored end is infinite.
    #[must_use]
    pub fn new(value: Option<f64>, ends: Option<[f64; 2]>) -> Self {
        let known = |value: &f64| !value.is_nan();
        let (value, ends) = (value.filter(known), ends.filter(|ends| ends.iter().all(known)));
        Self { value, ends, decimals: decimals(value, ends), is_signed: false }
    }

    /// [`Self::new`] for a ratio of positive numbers.
    ///
    /// Zero is the bound of every ratio: as the lower end of a censored ratio or interval, it says nothing.
    #[must_use]
    pub fn of_ratio(value: Option<f64>, ends: Option<[f64; 2]>) -> Self {
        let is_known = |low: f64, high: f64| low > 0.0 || (value.is_some() && high.is_finite());
        Self::new(value, ends.map(|[low, high]| [if is_known(low, high) { low } else { f64::NEG_INFINITY }, high]))
    }

    /// [`Self::new`] with an [`Interval`].
    pub(crate) fn with_interval(value: Option<f64>, interval: Option<Interval>) -> Self {
        Self::new(value, interval.map(|interval| [interval.low, interval.high]))
    }

    /// The same estimate with a sign before positive numbers.
    #[must_use]
    pub fn signed(self) -> Self {
        Self { is_signed: true, ..self }
    }

    /// The number of decimals of every text.
    #[must_use]
    pub fn decimals(&self) -> usize {
        self.decimals
    }

    /// The value; `-` without a value, `censored` if it is infinite.
    #[must_use]
    pub fn value(&self) -> String {
        self.value.map_or_else(|| "-".to_owned(), |value| self.fixed(value))
    }

    /// A number without an interval of its own, in the same unit. It has the decimals of the estimate, and at least three
    /// significant digits.
    #[must_use]
    pub fn beside(&self, value: f64) -> String {
        fixed(value, self.decimals.max(bare_decimals(value)))
    }

    /// The ends of the interval.
    pub(crate) fn ends(&self) -> Option<[f64; 2]> {
        self.ends
    }

    /// Whether the ends of the interval are equal.
    #[must_use]
    pub fn has_zero_width(&self) -> bool {
        self.ends.is_some_and(are_equal)
    }

    /// The interval, each end with the decimals of the value and the unit after the last number: `1.02 to 1.04 ms`. An
    /// interval with an infinite end is a bound: `at least 1.02 ms`. `None` without an interval. `unit` begins with a
    /// space or is empty.
    #[must_use]
    pub fn range(&self, unit: &str) -> Option<String> {
        let [low, high] = self.ends?;
        Some(match (low.is_finite(), high.is_finite()) {
            (true, true) if self.has_zero_width() => ZERO_WIDTH.to_owned(),
            (true, true) => format!("{} to {}{unit}", self.fixed(low), self.fixed(high)),
            (true, false) => format!("at least {}{unit}", self.fixed(low)),
            (false, true) => format!("at most {}{unit}", self.fixed(high)),
            (false, false) => CENSORED.to_owned(),
        })
    }

    /// Value and interval in prose: `1.03 (1.02 to 1.04)`. Without a value the bound alone: `at least 1.02`.
    #[must_use]
    pub fn with_range(&self) -> String {
        match (self.value.filter(|value| value.is_finite()), self.range("")) {
            (None, Some(range)) => range,
            (_, Some(_)) if self.has_zero_width() => format!("{} (interval of {ZERO_WIDTH})", self.value()),
            (_, Some(range)) => format!("{} ({range})", self.value()),
            (_, None) => self.value(),
        }
    }

    fn fixed(&self, value: f64) -> String {
        let text = fixed(value, self.decimals);
        let has_digit = || text.chars().any(|digit| ('1'..='9').contains(&digit));
        if self.is_signed && value > 0.0 && has_digit() { format!("+{text}") } else { text }
    }
}

/// The decimals of a value and of the ends of its interval.
fn decimals(value: Option<f64>, ends: Option<[f64; 2]>) -> usize {
    let finite = value.filter(|value| value.is_finite());
    let Some(ends) = ends else { return finite.map_or(0, bare_decimals) };
    match ends {
        [low, high] if low.is_finite() && high.is_finite() => match are_equal(ends) {
            true => own_decimals(finite.unwrap_or(low)),
            false => decimals_of_half_width(high / 2.0 - low / 2.0),
        },
        [one, other] => {
            let end = [one, other].into_iter().find(|end| end.is_finite());
            match (finite, end) {
                (Some(value), Some(end)) if !are_equal([value, end]) => {
                    decimals_of_half_width((value - end).abs()).max(bare_decimals(value))
                }
                (value, end) => end.or(value).map_or(0, bare_decimals),
            }
        }
    }
}

/// The decimals with which a half-width has two significant digits; 0 from 10 on.
pub(crate) fn decimals_of_half_width(half: f64) -> usize {
    decimals_of_digits(half, 2)
}

/// The decimals with which a number without an interval has three significant digits.
pub(crate) fn bare_decimals(value: f64) -> usize {
    decimals_of_digits(value, 3)
}

/// The decimals of the digits that a value has, at most [`MOST_DIGITS`] significant ones.
fn own_decimals(value: f64) -> usize {
    let text = fixed(value, decimals_of_digits(value, MOST_DIGITS));
    text.split_once('.').map_or(0, |(_, decimals)| decimals.trim_end_matches('0').len())
}

/// The decimals with which `value`, rounded, has `digits` significant digits. 0 for numbers that have them before the
/// decimal point, for zero, and for a value that is not finite.
fn decimals_of_digits(value: f64, digits: i32) -> usize {
    if value == 0.0 || !value.is_finite() {
        return 0;
    }
    // Rounding may carry: 9.96 has three significant digits as 9.96, but two as 10.
    let text = format!("{value:.*e}", (digits - 1).unsigned_abs() as usize);
    let exponent: i32 = text.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    (digits - 1 - exponent).max(0).unsigned_abs() as usize
}

/// Whether all values are whole numbers, such as counts.
pub(crate) fn are_whole(values: impl IntoIterator<Item = f64>) -> bool {
    values.into_iter().all(|value| !value.is_finite() || value.fract() == 0.0)
}

/// Whether two finite numbers are equal except for rounding errors.
fn are_equal([low, high]: [f64; 2]) -> bool {
    low == high || (low.is_finite() && high.is_finite() && (high - low).abs() <= ROUNDING * low.abs().max(high.abs()))
}

/// A number with `decimals` decimals; a negative zero loses its sign. `censored` if it is infinite, `-` if it is NaN.
pub(crate) fn fixed(value: f64, decimals: usize) -> String {
    match value {
        value if value.is_nan() => return "-".to_owned(),
        value if value.is_infinite() => return CENSORED.to_owned(),
        _ => {}
    }
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| matches!(c, '0' | '.')) => rest.to_owned(),
        _ => text,
    }
}

/// A number without an interval: three significant digits, or whole units from 100 on.
///
/// ```
/// use microbench_plots::number::significant;
///
/// assert_eq!([0.0123, 4.0, 1234.5].map(significant), ["0.0123", "4.00", "1234"]);
/// ```
#[must_use]
pub fn significant(value: f64) -> String {
    fixed(value, bare_decimals(value))
}

/// A share as percentage with three significant digits: `2.50 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{} %", significant(share * 100.0))
}

/// A relative change as percentage, with its sign and three significant digits: `+6.14 %`.
pub(crate) fn change_percent(share: f64) -> String {
    format!("{} %", Estimate::new(Some(share * 100.0), None).signed().value())
}

/// A share that a user declared as percentage, with the digits that it has: `2.5 %`.
#[must_use]
pub fn declared_percent(share: f64) -> String {
    let text = fixed(share * 100.0, 6);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A p-value with four decimals; one that rounds to zero as bound.
pub(crate) fn p_value(p: f64) -> String {
    if p < 5e-5 { "< 0.0001".to_owned() } else { fixed(p, 4) }
}

/// A unit after a number: a space and the unit, or nothing for a count.
pub(crate) fn unit_suffix(unit: &str) -> String {
    if matches!(unit, "1" | "") { String::new() } else { format!(" {unit}") }
}

/// A number and a noun: `1 claim`, `2 claims`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(value: f64, low: f64, high: f64) -> [String; 2] {
        let estimate = Estimate::new(Some(value), Some([low, high]));
        [estimate.value(), estimate.range("").unwrap()]
    }

    #[test]
    fn half_width_has_two_significant_digits() {
        assert_eq!(texts(1.123_4, 1.110_1, 1.136_7), ["1.123", "1.110 to 1.137"]);
        assert_eq!(texts(0.962, 0.951, 0.973), ["0.962", "0.951 to 0.973"]);
        assert_eq!(texts(160.25, 155.3, 165.9), ["160.2", "155.3 to 165.9"]);
        assert_eq!(texts(160.25, 120.0, 190.0), ["160", "120 to 190"]);
        // Rounded to two digits, the half-width is 0.10 and 10.
        assert_eq!(texts(5.0, 4.900_4, 5.099_6), ["5.00", "4.90 to 5.10"]);
        assert_eq!(texts(50.0, 40.04, 59.96), ["50", "40 to 60"]);
    }

    #[test]
    fn large_numbers_are_rounded_to_whole_units() {
        assert_eq!(texts(98_765.4, 97_531.4, 99_999.4), ["98765", "97531 to 99999"]);
    }

    #[test]
    fn interval_of_zero_width_is_no_range() {
        let value = |value: f64| texts(value, value, value)[0].clone();
        assert_eq!(
            [307.0, 1.5, 1.12, 160.257, 0.012_346, 0.1 + 0.2, 12_345.6].map(value),
            ["307", "1.5", "1.12", "160.3", "0.01235", "0.3", "12346"]
        );
        assert_eq!(texts(1.12, 1.12, 1.12)[1], "zero width");
        assert_eq!(texts(0.3, 0.1 + 0.2, 0.3)[1], "zero width");
        assert_eq!(Estimate::new(Some(1.12), Some([1.12; 2])).with_range(), "1.12 (interval of zero width)");
    }

    #[test]
    fn interval_with_an_open_end_is_a_bound() {
        let infinity = f64::INFINITY;
        assert_eq!(texts(320.0, 307.0, infinity), ["320", "at least 307"]);
        assert_eq!(texts(3.21, 3.18, infinity), ["3.210", "at least 3.180"]);
        assert_eq!(texts(307.0, 307.0, infinity), ["307", "at least 307"]);
        assert_eq!(texts(infinity, 2.125, infinity), ["censored", "at least 2.12"]);
        assert_eq!(texts(infinity, infinity, infinity), ["censored", "censored"]);
        assert_eq!(texts(1.0, f64::NEG_INFINITY, 2.0), ["1.00", "at most 2.00"]);
        assert_eq!(texts(0.96, 0.0, infinity), ["0.960", "at least 0.000"]);
        let ratio = |low, high| Estimate::of_ratio(None, Some([low, high])).with_range();
        assert_eq!(
            [ratio(0.0, infinity), ratio(0.0, 0.25), ratio(1.5, infinity)],
            ["censored", "at most 0.250", "at least 1.50"]
        );
        let bound = Estimate::new(None, Some([2.125, infinity]));
        assert_eq!([bound.value(), bound.with_range()], ["-", "at least 2.12"]);
        assert_eq!(Estimate::new(Some(f64::NAN), None).value(), "-");
    }

    #[test]
    fn numbers_without_an_interval_have_three_significant_digits() {
        let values = [4.0, 0.0123, 123.456, 1234.5, 0.0, 0.96, 1.234e-8, 9.996];
        assert_eq!(values.map(significant), ["4.00", "0.0123", "123", "1234", "0", "0.960", "0.0000000123", "10.0"]);
        assert_eq!(Estimate::new(Some(1.12), Some([1.0, 1.2])).beside(0.001_234), "0.00123");
        assert_eq!(Estimate::new(Some(1.1234), Some([1.1, 1.1468])).beside(120.0), "120.000");
        assert_eq!([0.025, 1e-9].map(percent), ["2.50 %", "0.000000100 %"]);
        assert_eq!([0.025, 0.02, 0.0].map(declared_percent), ["2.5 %", "2 %", "0 %"]);
        assert_eq!([0.0614, -0.0004, 0.0].map(change_percent), ["+6.14 %", "-0.0400 %", "0 %"]);
        assert_eq!([0.04, 1e-6].map(p_value), ["0.0400", "< 0.0001"]);
    }

    #[test]
    fn a_sign_is_shown_on_request_and_never_on_zero() {
        let difference = Estimate::new(Some(1.0), Some([-0.001, 20.0])).signed();
        assert_eq!(difference.range(" ms").unwrap(), "0 to +20 ms");
        assert_eq!(difference.value(), "+1");
    }

    fn decimals_of(text: &str) -> usize {
        text.split_once('.').map_or(0, |(_, decimals)| decimals.len())
    }

    proptest! {
        #[test]
        fn value_and_ends_have_the_same_decimals_and_differ(
            center in -1e6_f64..1e6,
            share in 0.0_f64..=1.0,
            exponent in -5.0_f64..6.0,
        ) {
            let width = 10.0_f64.powf(exponent);
            let (low, high) = (center, center + width);
            let [value, range] = texts(low + share * width, low, high);
            let (from, to) = range.split_once(" to ").expect("a range");
            prop_assert_eq!(decimals_of(&value), decimals_of(from));
            prop_assert_eq!(decimals_of(&value), decimals_of(to));
            let [value, from, to] = [&value, from, to].map(|text| text.parse::<f64>().unwrap());
            prop_assert!(from < to && from <= value && value <= to);
            // Rounding moves an end by at most 5 % of the half-width, or half of a unit.
            let most = (0.05 * width / 2.0).min(0.5) * (1.0 + 1e-6) + 1e-9;
            prop_assert!((from - low).abs() <= most && (to - high).abs() <= most);
        }

        #[test]
        fn a_number_without_an_interval_loses_at_most_half_a_percent(value in prop::num::f64::NORMAL) {
            let value = value % 1e9;
            prop_assume!(value.abs() > 1e-9);
            let shown: f64 = significant(value).parse().unwrap();
            prop_assert!((shown - value).abs() <= 0.005_001 * value.abs());
        }

        #[test]
        fn no_text_has_an_infinite_or_undefined_number(value in prop::num::f64::ANY, low in prop::num::f64::ANY, high in prop::num::f64::ANY) {
            let value = Estimate::new(Some(value), Some([low, high]));
            for text in [value.value(), value.with_range(), value.beside(low), significant(high)] {
                prop_assert!(!text.to_lowercase().contains("inf") && !text.to_lowercase().contains("nan"), "{}", text);
            }
        }
    }
}
