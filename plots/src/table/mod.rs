//! Tables for papers and pages: the same numbers as Markdown, CSV and LaTeX, and one LaTeX macro a number.
//!
//! A [`Table`] is pure data: [`metric`], [`summary`] and [`claims`] make one, [`text`] and [`latex`] write it. [`numbers`] makes the
//! macros. A number carries its digits, a missing one its reason: no cell is ever blank.

mod claims;
mod latex;
mod metric;
mod numbers;
mod summary;
mod text;

use std::path::{Path, PathBuf};

use microbench_formats::host::HostKind;

use crate::analyze::Loaded;
use crate::file::write;
use crate::run::Run;
use crate::summary::Row;
use crate::{Error, claim};

/// Folder in a run directory.
const FOLDER: &str = "tables";

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// File name without extension.
    pub name: String,
    /// One line above it.
    pub title: String,
    /// May be longer than a page.
    pub long: bool,
    /// Left to right.
    pub columns: Vec<Column>,
    /// Top to bottom; one cell for each column.
    pub rows: Vec<Vec<Cell>>,
    /// Sentences below it: definitions, statistic, level, n, host.
    pub notes: Vec<String>,
    /// What the marks say, `a` first.
    pub footnotes: Vec<String>,
}

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Words above this column and its neighbours of the same group; empty for none.
    pub group: String,
    /// Words above it.
    pub head: String,
    /// Unit of its numbers; empty for none.
    pub unit: String,
    /// What it holds.
    pub kind: Kind,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Words in one line.
    Words,
    /// Sentences, broken at this share of the table's width.
    Sentences(f64),
    /// Numbers, one point below the other.
    Numbers,
}

/// What stands in one place.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Words.
    Words(String),
    /// A number.
    Number {
        /// In the column's unit.
        value: f64,
        /// Digits after the point.
        decimals: usize,
        /// Index of a footnote.
        mark: Option<usize>,
    },
    /// No number.
    Missing {
        /// Why not, in two or three words.
        words: String,
        /// Index of the footnote that says more.
        mark: Option<usize>,
    },
}

impl Column {
    fn words(head: &str) -> Self {
        Self { group: String::new(), head: head.into(), unit: String::new(), kind: Kind::Words }
    }

    fn sentences(head: &str, share: f64) -> Self {
        Self { kind: Kind::Sentences(share), ..Self::words(head) }
    }

    fn numbers(group: &str, head: &str, unit: &str) -> Self {
        let unit = if unit == "1" { "" } else { unit };
        Self { group: group.into(), head: head.into(), unit: unit.into(), kind: Kind::Numbers }
    }
}

impl Cell {
    fn number(value: f64, decimals: usize) -> Self {
        Self::Number { value, decimals, mark: None }
    }

    fn count(count: usize) -> Self {
        Self::number(count as f64, 0)
    }

    fn missing(words: &str) -> Self {
        Self::Missing { words: words.into(), mark: None }
    }
}

impl Table {
    /// The index of the footnote with these words; adds it when there is none.
    fn footnote(&mut self, words: String) -> usize {
        self.footnotes.iter().position(|known| *known == words).unwrap_or_else(|| {
            self.footnotes.push(words);
            self.footnotes.len() - 1
        })
    }
}

/// Writes the tables of `run` into its folder `tables/`: the summary, one for each metric and the claims, each as Markdown, CSV and
/// LaTeX, and `numbers.tex`; returns the files.
///
/// # Errors
/// When the run has not been analysed, or a file cannot be written.
pub fn save(run: &Path) -> Result<Vec<PathBuf>, Error> {
    let Loaded { run: Run { plan, .. }, samples, rows } = crate::analyze::loaded(run)?;
    let verdicts = claim::judge(&plan, &rows);
    let mut tables = vec![summary::table(&plan, &rows)];
    tables.extend(plan.metrics.iter().filter_map(|metric| metric::table(&plan, &rows, metric)));
    tables.extend((!verdicts.is_empty()).then(|| claims::table(&plan, &verdicts)));
    let folder = run.join(FOLDER);
    let mut files = Vec::new();
    for table in &tables {
        let path = |end: &str| folder.join(format!("{}.{end}", table.name));
        for (end, text) in [("md", text::markdown(table)), ("csv", text::csv(table)), ("tex", latex::table(table))] {
            write(&path(end), text.as_bytes())?;
            files.push(path(end));
        }
    }
    let data = crate::figure::Data { plan: &plan, rows: &rows, samples: &samples };
    let path = folder.join("numbers.tex");
    write(&path, numbers::macros(data, &verdicts).as_bytes())?;
    files.push(path);
    Ok(files)
}

/// Digits after the point that numbers of one kind are shown with: as many as give the smallest four significant digits, but the
/// largest no more than six; none for whole numbers.
fn decimals(values: impl Iterator<Item = f64> + Clone) -> usize {
    let known = values.filter(|value| value.is_finite());
    if known.clone().all(|value| value.fract() == 0.0) {
        return 0;
    }
    let exponents = known.filter(|value| *value != 0.0).map(|value| value.abs().log10().floor() as i32);
    let (least, most) = (exponents.clone().min().unwrap_or(0), exponents.max().unwrap_or(0));
    (3 - least).min(5 - most).clamp(0, 6).unsigned_abs() as usize
}

/// Digits for the trials' values of some rows.
pub(crate) fn decimals_of(rows: &[&Row]) -> usize {
    let values: Vec<f64> = rows.iter().flat_map(|row| &row.trials).map(|trial| trial.median).collect();
    decimals(values.iter().copied())
}

/// A number with its digits; never a negative zero.
pub(crate) fn shown(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| matches!(c, '0' | '.')) => rest.to_owned(),
        _ => text,
    }
}

/// A footnote's mark: `a` to `z`, then `aa`.
fn letter(index: usize) -> String {
    let last = char::from(b'a' + u8::try_from(index % 26).unwrap_or(0));
    if index < 26 { last.to_string() } else { letter(index / 26 - 1) + &last.to_string() }
}

/// A definition as a sentence, without the marks of code.
fn sentence(words: &str) -> String {
    format!("{}.", words.trim().trim_end_matches('.').replace('`', ""))
}

/// The sentence on where it was measured.
fn host(kind: Option<HostKind>) -> String {
    kind.map_or_else(|| "Nothing was executed.".to_owned(), |kind| format!("Host: {}.", kind.note()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_enough_for_the_smallest_and_not_too_many_for_the_largest() {
        let of = |values: &[f64]| decimals(values.iter().copied());
        assert_eq!(of(&[110.25, 560.0]), 1);
        assert_eq!(of(&[1.5, 2.0]), 3);
        assert_eq!(of(&[0.051, 500.3]), 3);
        assert_eq!(of(&[120.0, 121.0, f64::INFINITY]), 0);
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&[12_345_678.5]), 0);
    }

    #[test]
    fn no_zero_is_negative() {
        assert_eq!([shown(-0.0001, 2), shown(-0.01, 2), shown(3.0, 0)], ["0.00", "-0.01", "3"]);
    }

    #[test]
    fn marks_go_on_after_z() {
        assert_eq!([0, 25, 26, 27, 52].map(letter), ["a", "z", "aa", "ab", "ba"]);
    }
}
