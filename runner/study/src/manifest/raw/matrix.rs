//! `[matrix]` as it is written: axes, numbers of trials, lines of `exclude` and `include`.

use std::ops::Range;

use microbench_formats::axis::Level;
use microbench_formats::code::Code;
use microbench_formats::plan::Limit;

use super::{Levels, list, without_renamed};
use crate::manifest::diagnostic::{Diagnostics, ManifestError, line_of};
use crate::manifest::keys;
use crate::manifest::nearest::quote;
use crate::manifest::read::{At, Entry, Item, Table};
use crate::manifest::renamed::WARMUP;

/// Maximum number of lines of `exclude`, and of `include`.
pub(in crate::manifest) const MOST_LINES: usize = 1000;
/// Maximum number of trials of one cell.
pub(in crate::manifest) const MOST_TRIALS: i64 = 100_000;

#[derive(Default)]
pub(in crate::manifest) struct Matrix {
    pub(in crate::manifest) span: Range<usize>,
    pub(in crate::manifest) variant: Option<Vec<At<String>>>,
    pub(in crate::manifest) concurrency: Option<Vec<At<i64>>>,
    pub(in crate::manifest) axes: Vec<RawAxis>,
    /// An axis could not be read; references to axes cannot be checked then.
    pub(in crate::manifest) broken: bool,
    /// Every key that cells are made of could be read.
    pub(in crate::manifest) complete: bool,
    pub(in crate::manifest) trials: Option<Trials>,
    pub(in crate::manifest) exclude: Vec<Line>,
    pub(in crate::manifest) include: Vec<Line>,
    pub(in crate::manifest) repetitions: Option<i64>,
    pub(in crate::manifest) warmup: Option<bool>,
    pub(in crate::manifest) instrument_trials: Option<i64>,
    pub(in crate::manifest) max_consecutive_failures: Option<i64>,
    pub(in crate::manifest) precision: Option<Precision>,
    pub(in crate::manifest) limit: Option<At<Limit>>,
}

/// The stopping rule.
pub(in crate::manifest) struct Precision {
    pub(in crate::manifest) span: Range<usize>,
    pub(in crate::manifest) metric: Option<At<String>>,
    pub(in crate::manifest) statistic: Option<At<String>>,
    pub(in crate::manifest) relative: Option<At<f64>>,
    pub(in crate::manifest) n_min: i64,
    pub(in crate::manifest) every: i64,
    pub(in crate::manifest) n_max: i64,
}

/// An axis of a setting: a key of the matrix that is not one of [`keys::MATRIX`].
pub(in crate::manifest) struct RawAxis {
    pub(in crate::manifest) name: At<String>,
    pub(in crate::manifest) levels: Vec<At<Level>>,
    /// The error that the value is not a list. It is reported only if the name is valid.
    pub(in crate::manifest) wrong: Option<ManifestError>,
}

/// Trials of each cell: one number, or one for each level of concurrency.
pub(in crate::manifest) enum Trials {
    Each(i64, Range<usize>),
    ByConcurrency(Vec<(At<String>, i64)>, Range<usize>),
}

impl Trials {
    /// The source line with the number of trials for this concurrency.
    pub(in crate::manifest) fn line(&self, concurrency: u32, source: &str) -> u32 {
        let span = match self {
            Self::Each(_, span) => span,
            Self::ByConcurrency(entries, all) => {
                let own = entries.iter().find(|(key, _)| key.value.parse() == Ok(concurrency));
                own.map_or(all, |(key, _)| &key.span)
            }
        };
        line_of(source, span.start)
    }
}

/// One element of `exclude` or `include`.
pub(in crate::manifest) struct Line {
    pub(in crate::manifest) span: Range<usize>,
    pub(in crate::manifest) levels: Levels,
    pub(in crate::manifest) trials: Option<i64>,
}

/// Reads `[matrix]`.
pub(super) fn matrix(mut table: Table<'_>, errors: &mut Diagnostics) -> Matrix {
    let start = errors.count();
    if !table.has("precision") {
        table.require("trials", "set the number of trials of each cell, for instance `trials = 10`", errors);
    }
    let missing = errors.count() != start;
    let span = table.span.clone();
    let warmup = table.take("warmup").and_then(|entry| warmup(&entry, errors));
    let max_consecutive_failures = table.integer("max_consecutive_failures", keys::MATRIX, errors).map(|at| at.value);
    let repetitions = table.integer("repetitions", keys::MATRIX, errors);
    let instrument_trials = table.integer("instrument_trials", keys::MATRIX, errors).map(|at| at.value);
    let limit = table.take("limit").and_then(|entry| limit(&entry, errors));
    let before = errors.count();
    let variant = table.take("variant").and_then(|entry| list(&entry, errors, Item::string));
    let concurrency = table
        .take("concurrency")
        .and_then(|entry| list(&entry, errors, |item, errors| item.integer((1, 10_000), errors)));
    let own = errors.count();
    let trials = table.take("trials").and_then(|entry| trials(&entry, errors));
    let precision = table.take("precision").and_then(|entry| precision(&entry, errors));
    let trials = match (&precision, trials) {
        (Some(rule), Some(_)) => {
            errors.push(
                ManifestError::new(Code::Conflict, rule.span.clone(), "`trials` and `precision` exclude each other")
                    .help("remove `trials`: `n_max` of `precision` is the maximum number of trials"),
            );
            None
        }
        (Some(rule), None) => Some(Trials::Each(rule.n_max, rule.span.clone())),
        (None, trials) => trials,
    };
    let exclude = table.take("exclude").map_or_else(Vec::new, |entry| lines(&entry, false, errors));
    let include = table.take("include").map_or_else(Vec::new, |entry| lines(&entry, true, errors));
    let rest = errors.count();
    let place = table.place.clone();
    let entries = table.rest(keys::MATRIX);
    let axes: Vec<_> =
        without_renamed(&entries, keys::MATRIX, &place, errors).into_iter().map(|entry| axis(entry, errors)).collect();
    let broken = own != before || errors.count() != rest;
    let complete = !missing && errors.count() == before;
    if let (Some(rule), Some(limit)) = (&precision, &limit) {
        errors.push(
            ManifestError::new(Code::Conflict, limit.span.clone(), "`limit` and `precision` exclude each other")
                .related(rule.span.clone(), "the stopping rule")
                .help("`limit` runs each level of concurrency completely before the next: use `trials` with it"),
        );
    }
    if let (Some(rule), Some(repetitions)) = (&precision, repetitions.as_ref().filter(|at| at.value > 1)) {
        let message = "`repetitions` and `precision` exclude each other";
        errors.push(
            ManifestError::new(Code::Conflict, repetitions.span.clone(), message)
                .related(rule.span.clone(), "the stopping rule")
                .help("the stopping rule checks the trials of one repetition only: use `trials` with `repetitions`"),
        );
    }
    Matrix {
        span,
        variant,
        concurrency,
        axes,
        broken,
        complete,
        trials,
        exclude,
        include,
        repetitions: repetitions.map(|at| at.value),
        warmup,
        instrument_trials,
        max_consecutive_failures,
        precision,
        limit,
    }
}

/// `warmup`, with help for the number of earlier versions.
fn warmup(entry: &Entry<'_>, errors: &mut Diagnostics) -> Option<bool> {
    if entry.item().is_integer() {
        errors.push(entry.item().wrong_type("a boolean").help(WARMUP.form));
        return None;
    }
    entry.item().boolean(errors).map(|at| at.value)
}

fn precision(entry: &Entry<'_>, errors: &mut Diagnostics) -> Option<Precision> {
    let mut table = entry.table("`precision`", errors)?;
    let span = table.span.clone();
    table.require("metric", "name the metric of the rule, for instance `metric = \"webservice_startup_time\"`", errors);
    table.require("relative", "set the half width of the interval: `relative = 0.02` for ±2 %", errors);
    let metric = table.string("metric", errors);
    let statistic = table.string("statistic", errors);
    let relative = table.take("relative").and_then(|entry| entry.item().number(errors));
    let mut count = |key: &str, default: i64, errors: &mut Diagnostics| {
        table.integer(key, keys::PRECISION, errors).map_or(default, |at| at.value)
    };
    let n_min = count("n_min", 30, errors);
    let every = count("every", 10, errors);
    let n_max = count("n_max", 200, errors);
    table.deny_rest(keys::PRECISION, errors);
    Some(Precision { span, metric, statistic, relative, n_min, every, n_max })
}

/// `limit`, which must have at least one key.
fn limit(entry: &Entry<'_>, errors: &mut Diagnostics) -> Option<At<Limit>> {
    let mut table = entry.table("`limit`", errors)?;
    let span = table.span.clone();
    let before = errors.count();
    let mut number = |key: &str, most: f64| {
        let number = table.take(key)?.item().number(errors)?;
        if !(0.0..=most).contains(&number.value) {
            let message = format!("`{key}` is {}, which is not between 0 and {most}", number.value);
            errors.push(ManifestError::new(Code::OutOfRange, number.span, message).help(LIMIT_FORM));
            return None;
        }
        Some(number.value)
    };
    let failures = number("failures", 1.0);
    let memory_mib = number("memory_mib", 1e9);
    let startup_slope_ms = number("startup_slope_ms", 1e9);
    table.deny_rest(keys::LIMIT, errors);
    let value = Limit { failures, memory_mib, startup_slope_ms };
    if value == Limit::default() && errors.count() == before {
        errors.push(ManifestError::new(Code::Empty, span.clone(), "`limit` is empty").help(LIMIT_FORM));
    }
    (errors.count() == before).then_some(At { value, span })
}

const LIMIT_FORM: &str = "for instance `limit = { failures = 0.05, memory_mib = 6000, startup_slope_ms = 300 }`";

fn axis(entry: &Entry<'_>, errors: &mut Diagnostics) -> RawAxis {
    let (name, item) = (entry.name(), entry.item());
    if item.is_list() {
        RawAxis { name, levels: list(entry, errors, Item::level).unwrap_or_default(), wrong: None }
    } else {
        let help = "an axis is a list of levels: put the value in brackets, or set it in [guest] or in a variant";
        RawAxis { name, levels: Vec::new(), wrong: Some(item.wrong_type("a list").help(help)) }
    }
}

pub(super) fn trials(entry: &Entry<'_>, errors: &mut Diagnostics) -> Option<Trials> {
    if !entry.item().is_table() {
        return entry.integer((1, MOST_TRIALS), errors).map(|at| Trials::Each(at.value, at.span));
    }
    let table = entry.table("`trials`", errors)?;
    let span = table.span.clone();
    let all = table.rest(&[]);
    if all.is_empty() {
        errors.push(ManifestError::new(Code::Empty, span, "`trials` is empty"));
        return None;
    }
    let count = all.len();
    let by: Vec<_> =
        all.iter().filter_map(|entry| Some((entry.name(), entry.integer((1, MOST_TRIALS), errors)?.value))).collect();
    (by.len() == count).then_some(Trials::ByConcurrency(by, span))
}

fn lines(entry: &Entry<'_>, with_trials: bool, errors: &mut Diagnostics) -> Vec<Line> {
    let Some(items) = entry.list(errors) else { return Vec::new() };
    if items.value.len() > MOST_LINES {
        let message = format!("{} has {} lines; the limit is {MOST_LINES}", quote(entry.key()), items.value.len());
        errors.push(ManifestError::new(Code::TooMany, items.span, message));
        return Vec::new();
    }
    items.value.iter().filter_map(|item| line(item, entry.key(), with_trials, errors)).collect()
}

fn line(item: &Item<'_>, key: &str, with_trials: bool, errors: &mut Diagnostics) -> Option<Line> {
    let mut table = item.table(format!("a line of `{key}`"), errors)?;
    let span = table.span.clone();
    let keys = if with_trials { keys::INCLUDE } else { keys::EXCLUDE };
    let trials = if with_trials { table.take("trials") } else { None };
    let trials = trials.and_then(|entry| entry.integer((1, MOST_TRIALS), errors)).map(|at| at.value);
    let entries = table.rest(keys);
    if entries.is_empty() {
        let message = format!("a line of `{key}` has no axis");
        errors.push(
            ManifestError::new(Code::Empty, span, message).help("a line is a table such as `{ concurrency = 20 }`"),
        );
        return None;
    }
    let levels = super::levels_of(&entries, &format!("a line of `{key}`"), errors)?;
    Some(Line { span, levels, trials })
}
