//! Verdicts as text.

use std::fmt::Write as _;

use microbench_formats::claim::{Comparison, Subject};
use microbench_formats::terminal::{OutputWidth, wrapped_to};

use super::{Outcome, Verdict};
use crate::number::{self, Estimate, bare_decimals, declared_percent, fixed};
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
            Subject::Equivalence(margin) => format!("equivalent within {}", declared_percent(margin)),
            Subject::EveryValue => format!("every value {limits}"),
            Subject::Share(share) => format!("{} of values {limits}", declared_percent(share)),
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
                None if self.bound().is_none() => Ok(()),
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
        let value = match self.value {
            Some(value) if self.claim.subject == Subject::EveryValue => self.extreme_text(value) + &self.suffix(),
            Some(_) => format!("{}{}", self.estimate().value(), self.suffix()),
            None => self.estimate().range(&self.suffix())?,
        };
        Some(match (&self.claim.comparison, self.claim.subject) {
            (_, Subject::EveryValue) if self.claim.least.is_some() && self.value == self.extreme_low => {
                format!("smallest value {value}")
            }
            (_, Subject::EveryValue) => format!("largest value {value}"),
            (_, Subject::Share(_)) => format!("{value} of VMs"),
            (Some(Comparison::Ratio(..)), _) => format!("ratio {value}"),
            (Some(Comparison::Difference(..)), _) => format!("difference {value}"),
            _ => value,
        })
    }

    /// The value that decides about `every value`, with the digits that show on which side of the limits it is.
    fn extreme_text(&self, value: f64) -> String {
        let limits = || [self.claim.least, self.claim.most].into_iter().flatten();
        let shows_side = |text: &str| {
            let shown: f64 = text.parse().unwrap_or(value);
            limits().all(|limit| shown.total_cmp(&limit) == value.total_cmp(&limit))
        };
        let least = bare_decimals(value);
        (least..least + 12)
            .map(|decimals| fixed(value, decimals))
            .find(|text| shows_side(text))
            .unwrap_or_else(|| value.to_string())
    }

    /// The value with the expectation: `ratio 1.79, expected at least 2`. `None` without a value or bound.
    pub(super) fn against_expectation(&self) -> Option<String> {
        Some(format!("{}, expected {}", self.value_text()?, self.expectation()))
    }

    /// The interval with its unit, for example `1.07 to 1.11`; with one censored end `at least 3.2`. `None` without an
    /// interval.
    #[must_use]
    pub fn interval_text(&self) -> Option<String> {
        self.estimate().range(&self.suffix())
    }

    /// Value and interval in the unit of the texts: a share as percentage.
    pub(crate) fn estimate(&self) -> Estimate {
        let scale = if matches!(self.claim.subject, Subject::Share(_)) { 100.0 } else { 1.0 };
        let ends = self.interval.as_ref().map(|(interval, _)| [interval.low, interval.high].map(|end| end * scale));
        let value = self.value.map(|value| value * scale);
        if self.is_ratio() {
            return Estimate::of_ratio(value, ends);
        }
        Estimate::new(value, ends)
    }

    /// The unit of the texts, after a space.
    fn suffix(&self) -> String {
        match self.claim.subject {
            Subject::Share(_) => " %".to_owned(),
            _ => number::unit_suffix(&self.unit),
        }
    }
}

/// The verdicts as text that fits `width`, with a line that counts them.
#[must_use]
pub fn render<'a>(verdicts: impl IntoIterator<Item = &'a Verdict> + Clone, width: OutputWidth) -> String {
    let mut out = String::new();
    for verdict in verdicts.clone() {
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
pub fn count_outcomes<'a>(verdicts: impl IntoIterator<Item = &'a Verdict>) -> String {
    let outcomes: Vec<Outcome> = verdicts.into_iter().map(|verdict| verdict.outcome).collect();
    let count = |outcome| outcomes.iter().filter(|found| **found == outcome).count();
    format!(
        "{}: {}, {} contradicted, {} inconclusive, {}{} not measured",
        number::count(outcomes.len(), "claim"),
        match count(Outcome::Holds) {
            1 => "1 holds".to_owned(),
            several => format!("{several} hold"),
        },
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
    let published = verdict.claim.published.map_or_else(String::new, |value| value.to_string());
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
