//! Verdicts as text.

use std::fmt::Write as _;

use microbench_formats::claim::{Comparison, Subject};
use microbench_formats::terminal::{OutputWidth, wrapped_to};

use super::{Bound, Outcome, Verdict};
use crate::number;
use crate::summary::LEVEL;

impl Verdict {
    /// The expectation of the claim, for example `at least 2 ms` or `every value less than 100 ms`; empty without
    /// limits.
    #[must_use]
    pub fn expectation(&self) -> String {
        let unit = if self.limit_unit.is_empty() { String::new() } else { format!(" {}", self.limit_unit) };
        let limits = match (self.claim.least, self.claim.most) {
            (Some(least), Some(most)) => format!("{least} to {most}{unit}"),
            (Some(least), None) if self.claim.strict => format!("more than {least}{unit}"),
            (Some(least), None) => format!("at least {least}{unit}"),
            (None, Some(most)) if self.claim.strict => format!("less than {most}{unit}"),
            (None, Some(most)) => format!("at most {most}{unit}"),
            (None, None) => return String::new(),
        };
        match self.claim.subject {
            Subject::Statistic => limits,
            Subject::Equivalence(margin) => format!("equivalent within {}", percent(margin)),
            Subject::EveryValue => format!("every value {limits}"),
            Subject::Share(share) => format!("{} of values {limits}", percent(share)),
        }
    }

    /// Value or bound, interval, method and number of trials; empty if the claim was not measured.
    #[must_use]
    pub fn measured(&self) -> String {
        let Some(value) = self.value_text() else { return String::new() };
        let mut text = value;
        let level = LEVEL * 100.0;
        if let Some((_, method)) = &self.interval {
            let _ = match self.value {
                Some(_) => {
                    write!(
                        text,
                        ", {level} % interval {} ({})",
                        self.interval_text().unwrap_or_default(),
                        method.name()
                    )
                }
                None => write!(text, " with {level} % confidence ({})", method.name()),
            };
        }
        let n: Vec<String> = self.n.iter().map(ToString::to_string).collect();
        let _ = write!(text, ", n = {} trials", n.join(" and "));
        text
    }

    /// The value or its bound with its unit, for example `ratio 1.79` or `at least 12.1 ms`. `None` without either.
    #[must_use]
    pub fn value_text(&self) -> Option<String> {
        let number = |value: f64| self.number(value);
        let value = match (self.value, self.bound()) {
            (Some(value), _) => number(value),
            (None, Some(Bound::AtLeast(value))) => format!("at least {}", number(value)),
            (None, Some(Bound::AtMost(value))) => format!("at most {}", number(value)),
            (None, None) => return None,
        };
        Some(match (&self.claim.comparison, self.claim.subject) {
            (_, Subject::EveryValue) if self.claim.least.is_some() && self.value == self.extreme_low => {
                format!("smallest value {value}")
            }
            (_, Subject::EveryValue) => format!("largest value {value}"),
            (_, Subject::Share(_)) => format!("{value} of trials"),
            (Some(Comparison::Ratio(..)), _) => format!("ratio {value}"),
            (Some(Comparison::Difference(..)), _) => format!("difference {value}"),
            _ => value,
        })
    }

    /// The interval with its unit, for example `1.07 to 1.11`; with one censored end `more than 3.2`. `None` without an
    /// interval.
    #[must_use]
    pub fn interval_text(&self) -> Option<String> {
        let (interval, _) = self.interval.as_ref()?;
        Some(match (interval.low.is_finite(), interval.high.is_finite()) {
            (true, true) if matches!(self.claim.subject, Subject::Share(_)) => {
                format!("{:.1} to {}", interval.low * 100.0, self.number(interval.high))
            }
            (true, true) => format!("{} to {}", format_number(interval.low), self.number(interval.high)),
            (true, false) => format!("{} or more", self.number(interval.low)),
            (false, _) => format!("{} or less", self.number(interval.high)),
        })
    }

    /// A number in the unit of the value.
    fn number(&self, value: f64) -> String {
        match self.claim.subject {
            Subject::Share(_) => format!("{:.1} %", value * 100.0),
            _ if self.unit.is_empty() => format_number(value),
            _ => format!("{} {}", format_number(value), self.unit),
        }
    }
}

/// A share as a percentage, for example `2.5 %`.
fn percent(share: f64) -> String {
    let text = format!("{:.6}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// `value` with three or four significant digits.
pub(crate) fn format_number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The verdicts as text that fits `width`, with a line that counts them.
#[must_use]
pub fn render(verdicts: &[Verdict], width: OutputWidth) -> String {
    let mut out = String::new();
    for verdict in verdicts {
        let _ = writeln!(out, "{:14}  {}: {}", verdict.outcome, verdict.claim.name, verdict.claim.text.trim());
        for (label, text) in details(verdict) {
            let _ = writeln!(out, "                {label}: {text}");
        }
    }
    let _ = writeln!(out, "{}", count_outcomes(verdicts));
    out.lines().fold(String::new(), |all, line| all + &wrapped_to(width.prose, line, 18) + "\n")
}

/// The number of claims with each verdict, as one line.
#[must_use]
pub fn count_outcomes(verdicts: &[Verdict]) -> String {
    let count = |outcome| verdicts.iter().filter(|verdict| verdict.outcome == outcome).count();
    format!(
        "{}: {} hold, {} are contradicted, {} inconclusive, {}{} not measured",
        number::count(verdicts.len(), "claim"),
        count(Outcome::Holds),
        count(Outcome::Contradicted),
        count(Outcome::Inconclusive),
        match count(Outcome::NotComparable) {
            0 => String::new(),
            several => format!("{several} not comparable, "),
        },
        count(Outcome::NotMeasured)
    )
}

/// The details of a verdict as label and text; entries without text are left out.
pub(crate) fn details(verdict: &Verdict) -> Vec<(&'static str, String)> {
    let published = verdict.claim.published.map_or_else(String::new, format_number);
    [
        ("measured", verdict.measured()),
        ("expected", verdict.expectation()),
        ("published", published),
        ("in the paper's data", verdict.claim.data.clone()),
        ("remark", verdict.remark.clone()),
    ]
    .into_iter()
    .filter(|(_, text)| !text.is_empty())
    .collect()
}
