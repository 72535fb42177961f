//! Markdown of a page's parts.

use std::fmt::Write as _;

/// A table's cell: one line, without what would end it.
pub(super) fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// A table; cells go in as they are.
pub(super) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let mut text = format!("| {} |\n|{}\n", header.join(" | "), " --- |".repeat(N));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

/// Text in the type of code.
pub(super) fn code(text: &str) -> String {
    format!("`{text}`")
}
