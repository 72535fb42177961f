//! Walks the spanned TOML tree and collects every problem instead of stopping at the first.

use std::ops::Range;

use microbench_plots::record::Level;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::diagnostic::{Code, Problem, nearest};

/// Problems found so far.
#[derive(Debug, Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

impl Problems {
    /// Adds a problem.
    pub(super) fn add(
        &mut self,
        code: Code,
        span: Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
        help: Option<String>,
    ) {
        self.0.push(Problem { code, message: message.into(), span, label: label.into(), help });
    }

    /// `what` names something that does not exist.
    pub(super) fn unknown<'a>(
        &mut self,
        what: &str,
        name: &str,
        span: Range<usize>,
        names: impl IntoIterator<Item = &'a str>,
    ) {
        let help = nearest(name, names);
        self.add(Code::UnknownName, span, format!("there is no {what} `{name}`"), format!("no such {what}"), help);
    }
}

/// A table with its place and the name that messages call it by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'t> {
    /// As in `[matrix]`.
    pub(super) name: &'t str,
    table: &'t DeTable<'t>,
    /// Where the table stands.
    span_start: usize,
    span_end: usize,
}

impl<'t> Table<'t> {
    pub(super) fn new(name: &'t str, table: &'t DeTable<'t>, span: Range<usize>) -> Self {
        Self { name, table, span_start: span.start, span_end: span.end }
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.span_start..self.span_end
    }

    /// Keys with their values in the order of the text.
    pub(super) fn entries(&self) -> Vec<(&'t str, Range<usize>, &'t Spanned<DeValue<'t>>)> {
        let mut entries: Vec<_> =
            (self.table.iter()).map(|(key, value)| (key.get_ref().as_ref(), key.span(), value)).collect();
        entries.sort_by_key(|(_, span, _)| span.start);
        entries
    }

    pub(super) fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    /// Reports every key that is not among `known`.
    pub(super) fn only(&self, known: &[&str], problems: &mut Problems) {
        for (key, span, _) in self.entries() {
            if !known.contains(&key) {
                let message = format!("unknown key `{key}` in {}", self.name);
                problems.add(Code::UnknownKey, span, message, "", nearest(key, known.iter().copied()));
            }
        }
    }

    /// The value of a key that must be there.
    pub(super) fn need(&self, key: &str, problems: &mut Problems) -> Option<&'t Spanned<DeValue<'t>>> {
        let value = self.get(key);
        if value.is_none() {
            let message = format!("{} has no `{key}`", self.name);
            problems.add(Code::MissingKey, self.span(), message, format!("`{key}` is missing"), None);
        }
        value
    }
}

/// What a value is, in a message.
pub(super) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn wrong(key: &str, wanted: &str, value: &Spanned<DeValue<'_>>, problems: &mut Problems) {
    let message = format!("`{key}` takes {wanted}, not {}", type_name(value.get_ref()));
    problems.add(Code::WrongType, value.span(), message, format!("should be {wanted}"), None);
}

/// A string.
pub(super) fn text<'t>(key: &str, value: &'t Spanned<DeValue<'t>>, problems: &mut Problems) -> Option<&'t str> {
    match value.get_ref() {
        DeValue::String(text) => Some(text),
        _ => {
            wrong(key, "a string", value, problems);
            None
        }
    }
}

/// An integer within `range`.
pub(super) fn integer(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    range: std::ops::RangeInclusive<i64>,
    problems: &mut Problems,
) -> Option<i64> {
    let DeValue::Integer(number) = value.get_ref() else {
        wrong(key, "an integer", value, problems);
        return None;
    };
    match i64::from_str_radix(number.as_str(), number.radix()) {
        Ok(number) if range.contains(&number) => Some(number),
        _ => {
            let message = format!("`{key}` takes {} to {}", range.start(), range.end());
            problems.add(Code::OutOfRange, value.span(), message, "out of range", None);
            None
        }
    }
}

/// `true` or `false`.
pub(super) fn boolean(key: &str, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<bool> {
    match value.get_ref() {
        DeValue::Boolean(value) => Some(*value),
        _ => {
            wrong(key, "true or false", value, problems);
            None
        }
    }
}

/// A table.
pub(super) fn table<'t>(name: &'t str, value: &'t Spanned<DeValue<'t>>, problems: &mut Problems) -> Option<Table<'t>> {
    match value.get_ref() {
        DeValue::Table(table) => Some(Table::new(name, table, value.span())),
        _ => {
            wrong(name, "a table", value, problems);
            None
        }
    }
}

/// A list that holds something.
pub(super) fn list<'t>(key: &str, value: &'t Spanned<DeValue<'t>>, problems: &mut Problems) -> Option<&'t DeArray<'t>> {
    match value.get_ref() {
        DeValue::Array(list) if list.is_empty() => {
            problems.add(Code::EmptyList, value.span(), format!("`{key}` is an empty list"), "nothing in it", None);
            None
        }
        DeValue::Array(list) => Some(list),
        _ => {
            wrong(key, "a list", value, problems);
            None
        }
    }
}

/// A list, or one value in place of a list of one.
pub(super) fn one_or_many<'t>(
    key: &str,
    value: &'t Spanned<DeValue<'t>>,
    problems: &mut Problems,
) -> Vec<&'t Spanned<DeValue<'t>>> {
    match value.get_ref() {
        DeValue::Array(_) => list(key, value, problems).map(|list| list.iter().collect()).unwrap_or_default(),
        _ => vec![value],
    }
}

/// A scalar.
pub(super) fn level(key: &str, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Level> {
    let level = match value.get_ref() {
        DeValue::String(text) => Some(Level::Text(text.to_string())),
        DeValue::Boolean(value) => Some(Level::Bool(*value)),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(Level::Int),
        DeValue::Float(number) => {
            number.as_str().parse().ok().filter(|value: &f64| value.is_finite()).map(Level::Float)
        }
        _ => None,
    };
    if level.is_none() {
        wrong(key, "a string, an integer, a number, true or false", value, problems);
    }
    level
}

/// Checks a name that ends up in file names: lower-case letters, digits, dashes and underscores.
pub(super) fn name(what: &str, name: &str, span: Range<usize>, problems: &mut Problems) -> bool {
    let fits = !name.is_empty()
        && name.len() <= 64
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
        && !name.starts_with('-');
    if !fits {
        let message = format!("`{name}` cannot name a {what}");
        let help = "names take 1 to 64 lower-case letters, digits, `-` and `_`, and do not begin with `-`".to_owned();
        problems.add(Code::BadName, span, message, "", Some(help));
    }
    fits
}
