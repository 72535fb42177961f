//! Markdown of the parts of a page.

use std::fmt::Write as _;

/// The text of a table cell: in one line, with `|` escaped.
pub(super) fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// A table. The text of the cells must be escaped already.
pub(super) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let mut text = format!("| {} |\n|{}\n", header.join(" | "), " --- |".repeat(N));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

/// Text as inline code.
pub(super) fn code(text: &str) -> String {
    format!("`{text}`")
}
