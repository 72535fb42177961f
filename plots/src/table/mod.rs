//! Tables for papers and web pages as Markdown, CSV and LaTeX, and a LaTeX macro for each number.
//!
//! A [`Table`] is data: [`metric`], [`summary`] and [`claims`] build one, [`text`] and [`latex`] render it. [`numbers`]
//! writes the macros. A number has its number of digits, a missing number its reason, so that no cell is blank.

mod claims;
mod latex;
mod metric;
mod numbers;
mod summary;
mod text;

use std::path::{Path, PathBuf};

use microbench_formats::host::HostKind;

use crate::analyze::AnalyzedRun;
use crate::file::write;
use crate::number::{self, Estimate, ZERO_WIDTH, bare_decimals};
use crate::run::Run;
use crate::summary::Row;
use crate::{Error, claim};

/// Folder of the tables in a run directory.
const FOLDER: &str = "tables";

/// A table, independent of its output format.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// File name without extension.
    pub name: String,
    pub title: String,
    /// Whether the table may be longer than a page.
    pub long: bool,
    /// From left to right.
    pub columns: Vec<Column>,
    /// From top to bottom; each row has one cell for each column.
    pub rows: Vec<Vec<Cell>>,
    /// Sentences below the table: definitions, statistic, interval, n, host.
    pub notes: Vec<String>,
    /// Footnotes in the order of their marks, from `a`.
    pub footnotes: Vec<String>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Common heading of adjacent columns with the same group; empty for no group.
    pub group: String,
    pub head: String,
    /// Unit of the numbers; empty for counts and text.
    pub unit: String,
    pub kind: Kind,
}

/// The content of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Text that is not wrapped.
    Text,
    /// Text that is wrapped at this share of the table's width.
    Sentences(f64),
    /// Numbers, aligned at the decimal point.
    Numbers,
}

/// The content of one cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Text(String),
    Number {
        /// In the unit of the column.
        value: f64,
        /// Digits after the decimal point.
        decimals: usize,
        /// Index into [`Table::footnotes`].
        mark: Option<usize>,
    },
    /// A number that is shown as text, such as the end of an interval of zero width.
    Worded {
        /// In the unit of the column.
        value: f64,
        text: String,
    },
    /// No value.
    Missing {
        /// The reason in two or three words.
        text: String,
        /// Index of the footnote with the full reason.
        mark: Option<usize>,
    },
}

impl Column {
    fn text(head: &str) -> Self {
        Self { group: String::new(), head: head.into(), unit: String::new(), kind: Kind::Text }
    }

    fn sentences(head: &str, share: f64) -> Self {
        Self { kind: Kind::Sentences(share), ..Self::text(head) }
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

    /// A number without an interval; `is_whole` if all numbers of its kind are whole.
    fn bare(value: f64, is_whole: bool) -> Self {
        Self::number(value, if is_whole { 0 } else { bare_decimals(value) })
    }

    /// The ends of the interval of an estimate; `missing` for one that does not exist or is censored.
    fn ends(estimate: Estimate, missing: impl Fn() -> Self) -> [Self; 2] {
        let end = |value: f64| match value.is_finite() {
            true if estimate.has_zero_width() => Self::Worded { value, text: ZERO_WIDTH.to_owned() },
            true => Self::number(value, estimate.decimals()),
            false => missing(),
        };
        estimate.ends().map_or_else(|| [missing(), missing()], |ends| ends.map(end))
    }

    fn with_mark(self, mark: Option<usize>) -> Self {
        match self {
            Self::Number { value, decimals, .. } => Self::Number { value, decimals, mark },
            Self::Missing { text, .. } => Self::Missing { text, mark },
            other => other,
        }
    }

    fn count(count: usize) -> Self {
        Self::number(count as f64, 0)
    }

    fn missing(text: &str) -> Self {
        Self::Missing { text: text.into(), mark: None }
    }
}

impl Table {
    /// Index of the footnote with this text, which is added if it is new.
    fn footnote(&mut self, text: String) -> usize {
        self.footnotes.iter().position(|known| *known == text).unwrap_or_else(|| {
            self.footnotes.push(text);
            self.footnotes.len() - 1
        })
    }
}

/// Writes the tables of `run`, a run directory, into its folder `tables/` and returns their paths.
///
/// The tables are the summary, one for each metric, and the claims, each as Markdown, CSV and LaTeX, and `numbers.tex`.
///
/// # Errors
/// If the run has not been analysed, or a file cannot be written.
///
/// ```no_run
/// let run = std::path::Path::new("results/my-run");
/// microbench_plots::analyze(run)?;
/// for file in microbench_plots::table::save(run)? {
///     println!("{}", file.display());
/// }
/// # Ok::<(), microbench_plots::Error>(())
/// ```
pub fn save(run: &Path) -> Result<Vec<PathBuf>, Error> {
    let AnalyzedRun { run: Run { plan, .. }, samples, rows } = AnalyzedRun::load(run)?;
    let verdicts = claim::judge(&plan, &rows);
    let mut tables = vec![summary::table(&plan, &rows)];
    tables.extend(plan.metrics.iter().filter_map(|metric| metric::table(&plan, &rows, metric)));
    tables.extend((!verdicts.is_empty()).then(|| claims::table(&plan, &verdicts)));
    let folder = run.join(FOLDER);
    let mut files = Vec::new();
    for table in &tables {
        let path = |end: &str| folder.join(format!("{}.{end}", table.name));
        // A table without numbers, such as that of claims, is for readers only.
        let csv = table.columns.iter().any(|column| column.kind == Kind::Numbers).then(|| ("csv", text::csv(table)));
        for (end, text) in [("md", text::markdown(table)), ("tex", latex::table(table))].into_iter().chain(csv) {
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

/// Whether all values of the trials in `rows` are whole numbers.
fn are_whole(rows: &[&Row]) -> bool {
    number::are_whole(rows.iter().flat_map(|row| &row.trials).map(|trial| trial.median))
}

/// The mark of a footnote: `a` to `z`, then `aa`.
fn footnote_mark(index: usize) -> String {
    let last = char::from(b'a' + u8::try_from(index % 26).unwrap_or(0));
    if index < 26 { last.to_string() } else { footnote_mark(index / 26 - 1) + &last.to_string() }
}

/// A metric's definition as a sentence, without backticks.
fn definition_sentence(definition: &str) -> String {
    format!("{}.", definition.trim().trim_end_matches('.').replace('`', ""))
}

/// The note of a table of a run with repetitions.
const REPEATED: &str = "Medians: mean over repetitions of the median over their trials; low and high: 95 % t interval over \
                        repetitions, from 3 on.";

/// The sentence on the host kind.
fn host_sentence(kind: Option<HostKind>) -> String {
    kind.map_or_else(|| "No trial was executed.".to_owned(), |kind| format!("Host: {}.", kind.note()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn footnote_marks_continue_with_two_letters_after_z() {
        assert_eq!([0, 25, 26, 27, 52].map(footnote_mark), ["a", "z", "aa", "ab", "ba"]);
    }
}
