//! The expectation of a claim: a limit, a range, an equivalence or a share of values.

use microbench_formats::claim::Subject;
use microbench_formats::code::Code;

use super::diagnostic::{Diagnostics, ManifestError};
use super::nearest::quote;
use super::raw;
use super::read::At;

/// The syntax of an expectation, for help texts.
pub(super) const SYNTAX: &str = "an expectation is a limit (`> 1`, `>= 1`, `< 2`, `<= 2`), a range (`1.0 .. 1.3`), \
                                 `equivalent within 5 %` of a ratio, or a limit of values (`every value < 100`, `90 % \
                                 of values < 100`)";

/// A parsed expectation. Without a limit on a side, that side is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Expectation {
    pub(super) least: Option<f64>,
    pub(super) most: Option<f64>,
    /// Whether the limits themselves are excluded.
    pub(super) strict: bool,
    pub(super) subject: Subject,
}

/// The expectation of `claim`; `None` after an error.
pub(super) fn check(text: &At<String>, claim: &raw::Claim, errors: &mut Diagnostics) -> Option<Expectation> {
    let error = |message: String| ManifestError::new(Code::BadExpectation, text.span.clone(), message);
    let found = match parse(&text.value) {
        Ok(found) => found,
        Err(why) => {
            errors.push(error(format!("{} is not an expectation: {why}", quote(&text.value))).help(SYNTAX));
            return None;
        }
    };
    match found.subject {
        Subject::Equivalence(_) if claim.value.is_some() || claim.difference.is_some() => errors.push(
            error("`equivalent` needs a `ratio`".to_owned())
                .help("compare two sides with `ratio`, or give a range, for instance `-2 .. 2`"),
        ),
        Subject::EveryValue | Subject::Share(_) if claim.ratio.is_some() || claim.difference.is_some() => errors.push(
            error("a limit of values needs a `value`".to_owned())
                .help("select the cells with `value`; a ratio or difference has no value of each trial"),
        ),
        Subject::EveryValue | Subject::Share(_) => {
            if let Some(statistic) = &claim.statistic {
                let message = "`statistic` has no effect: the limit applies to single values".to_owned();
                errors.push(
                    ManifestError::new(Code::BadExpectation, statistic.span.clone(), message)
                        .related(text.span.clone(), "the expectation")
                        .help("remove `statistic`"),
                );
            }
        }
        Subject::Statistic | Subject::Equivalence(_) => {}
    }
    Some(found)
}

/// Parses an expectation; the error is the reason as a clause.
fn parse(text: &str) -> Result<Expectation, String> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix("equivalent") {
        let margin = rest.trim_start().strip_prefix("within").ok_or("`within` must follow `equivalent`")?;
        let margin = percent(margin.trim(), 100.0)?;
        return Ok(Expectation {
            least: Some(1.0 / (1.0 + margin)),
            most: Some(1.0 + margin),
            strict: false,
            subject: Subject::Equivalence(margin),
        });
    }
    if let Some(rest) = text.strip_prefix("every value") {
        return Ok(Expectation { subject: Subject::EveryValue, ..limits(rest.trim())? });
    }
    if let Some((share, rest)) = text.split_once("of values") {
        let share = percent(share.trim(), 100.0)
            .map_err(|why| if share.trim().starts_with("100") { "100 % is `every value`".to_owned() } else { why })?;
        return Ok(Expectation { subject: Subject::Share(share), ..limits(rest.trim())? });
    }
    limits(text)
}

/// A percentage such as `5 %`, above 0 and below `most`, as a share.
fn percent(text: &str, most: f64) -> Result<f64, String> {
    let number = text.strip_suffix('%').ok_or_else(|| format!("{} has no `%`", quote(text)))?;
    let value = parse_number(number)?;
    match value > 0.0 && value < most {
        true => Ok(value / 100.0),
        false => Err(format!("{} is not above 0 % and below {most} %", quote(text))),
    }
}

/// A limit or a range.
fn limits(text: &str) -> Result<Expectation, String> {
    if let Some((least, most)) = text.split_once("..") {
        let (least, most) = (parse_number(least)?, parse_number(most)?);
        return match least <= most {
            true => Ok(Expectation { least: Some(least), most: Some(most), ..Expectation::default() }),
            false => Err(format!("{least} is larger than {most}")),
        };
    }
    let limit = |rest: &str| -> Result<(f64, bool), String> {
        let equal = rest.strip_prefix('=');
        Ok((parse_number(equal.unwrap_or(rest))?, equal.is_none()))
    };
    if let Some(rest) = text.strip_prefix('>') {
        let (least, strict) = limit(rest)?;
        return Ok(Expectation { least: Some(least), strict, ..Expectation::default() });
    }
    let Some(rest) = text.strip_prefix('<') else {
        return Err("it has neither `>`, `<` nor `..`".to_owned());
    };
    let (most, strict) = limit(rest)?;
    Ok(Expectation { most: Some(most), strict, ..Expectation::default() })
}

fn parse_number(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let found = text.parse::<f64>().ok().filter(|value| value.is_finite());
    found.ok_or_else(|| {
        if text.is_empty() { "a number is missing".into() } else { format!("{} is not a number", quote(text)) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(least: Option<f64>, most: Option<f64>, strict: bool, subject: Subject) -> Result<Expectation, String> {
        Ok(Expectation { least, most, strict, subject })
    }

    #[test]
    fn an_expectation_is_a_limit_a_range_an_equivalence_or_a_share() {
        let plain = Subject::Statistic;
        for (text, expected) in [
            ("> 1", of(Some(1.0), None, true, plain)),
            (">=1.5", of(Some(1.5), None, false, plain)),
            ("< 2", of(None, Some(2.0), true, plain)),
            (" <= -2e3 ", of(None, Some(-2000.0), false, plain)),
            ("1.0 .. 1.3", of(Some(1.0), Some(1.3), false, plain)),
            ("-1..1", of(Some(-1.0), Some(1.0), false, plain)),
            ("equivalent within 5 %", of(Some(1.0 / 1.05), Some(1.05), false, Subject::Equivalence(0.05))),
            ("equivalent within 0.5%", of(Some(1.0 / 1.005), Some(1.005), false, Subject::Equivalence(0.005))),
            ("every value < 100", of(None, Some(100.0), true, Subject::EveryValue)),
            ("every value 1 .. 2", of(Some(1.0), Some(2.0), false, Subject::EveryValue)),
            ("90 % of values <= 100", of(None, Some(100.0), false, Subject::Share(0.9))),
            ("99.5% of values > 3", of(Some(3.0), None, true, Subject::Share(0.995))),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn an_invalid_expectation_has_a_reason() {
        for (text, why) in [
            ("", "neither"),
            ("1", "neither"),
            ("= 1", "neither"),
            (">", "a number is missing"),
            ("> x", "`x` is not a number"),
            ("2 .. 1", "2 is larger than 1"),
            ("1 ..", "a number is missing"),
            ("> nan", "`nan` is not a number"),
            ("< inf", "`inf` is not a number"),
            ("about 1", "neither"),
            ("equivalent", "`within` must follow"),
            ("equivalent within 5", "`5` has no `%`"),
            ("equivalent within 0 %", "not above 0 %"),
            ("every value", "neither"),
            ("100 % of values < 1", "100 % is `every value`"),
            ("90 of values < 1", "`90` has no `%`"),
            ("90 % of values", "neither"),
        ] {
            let found = parse(text).unwrap_err();
            assert!(found.contains(why), "{text}: {found}");
        }
    }
}
