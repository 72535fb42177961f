//! A comparison for a CI job: a table in Markdown, and workflow commands of GitHub Actions.

use std::fmt::Write as _;

use super::text::{View, cells, count_verdicts, legend, undecided};
use super::{Comparison, Settings, Verdict};
use crate::summary::printable;

/// Characters of a remark that are shown at most.
const MAX_REMARK: usize = 320;

/// The comparison as Markdown: a heading, a table, and the notes.
#[must_use]
pub fn render_markdown(comparisons: &[Comparison], view: View<'_>, settings: &Settings) -> String {
    let [a, b] = view.sides.map(escaped);
    let mut out = format!("### {}\n\nA: {a}, B: {b}\n\n", escaped(view.title));
    out.push_str("| cell | metric | A | B | ratio | interval | n | verdict |\n");
    out.push_str("| --- | --- | ---: | ---: | ---: | ---: | --- | --- |\n");
    for row in view.rows(comparisons) {
        let cells: Vec<String> = cells(row).iter().map(|cell| escaped(cell)).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    let remarks = view.rows(comparisons).filter(|row| !row.remark.is_empty());
    let remarks = remarks.map(|row| format!("{}, {}: {}", row.cell, row.metric, printable(&row.remark, MAX_REMARK)));
    let notes: Vec<String> = remarks.chain(undecided(comparisons, settings)).collect();
    if !notes.is_empty() {
        out.push('\n');
    }
    for note in notes {
        let _ = writeln!(out, "- {}", escaped(&note));
    }
    let _ = write!(out, "\n{}\n\n{}\n", count_verdicts(comparisons), escaped(&legend(comparisons, settings)));
    out
}

/// The workflow commands of GitHub Actions (docs.github.com, "Workflow commands"): an error for each row that is worse or
/// dropped, a warning for each that is missing or not compared, and a notice with the counts.
#[must_use]
pub fn render_annotations(comparisons: &[Comparison], view: View<'_>) -> String {
    let mut out = String::new();
    for row in view.rows(comparisons) {
        let level = match row.verdict {
            Verdict::Worse | Verdict::Dropped => "error",
            Verdict::Missing | Verdict::NotCompared => "warning",
            _ => continue,
        };
        let cells = cells(row);
        let what = match row.verdict {
            Verdict::Worse => format!("{} times A's ({}), {} instead of {}", cells[4], cells[5], cells[3], cells[2]),
            Verdict::Dropped => format!("{} VMs instead of {}; {}", cells[3], cells[2], row.remark),
            _ => row.remark.clone(),
        };
        let title = property(&format!("{} {}: {}", row.cell, row.metric, row.verdict));
        let _ = writeln!(out, "::{level} title={title}::{}", message(&what));
    }
    let _ = writeln!(out, "::notice title={}::{}", property(view.title), message(&count_verdicts(comparisons)));
    out
}

/// Text within a cell of a table.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ").replace('<', "&lt;")
}

pub(crate) fn message(text: &str) -> String {
    printable(text, MAX_REMARK).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

pub(crate) fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use microbench_formats::direction::Better;

    use super::*;

    #[test]
    fn annotations_escape_what_would_end_them() {
        let row = Comparison {
            verdict: Verdict::Missing,
            remark: "B: 100 % failed\n::error::x".into(),
            ..Comparison::empty("a,b", "m:n", "ms", Better::Lower)
        };
        let text = render_annotations(&[row], View { sides: ["a", "b"], title: "t", metrics: &[] });
        let first = text.lines().next().unwrap();
        assert_eq!(first, "::warning title=a%2Cb m%3An%3A missing::B: 100 %25 failed ::error::x");
        assert_eq!(text.lines().count(), 2);
    }
}
