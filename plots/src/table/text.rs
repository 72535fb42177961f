//! Renders tables as Markdown and CSV.

use microbench_formats::terminal::is_unprintable;
use std::fmt::Write as _;

use super::{Cell, Column, Kind, Table, footnote_mark};
use crate::number::fixed;

/// Renders a table as GitHub-flavoured Markdown, with its notes and footnotes.
pub(super) fn markdown(table: &Table) -> String {
    let mut out = format!("# {}\n\n", escape(&table.title));
    let heads: Vec<String> = table.columns.iter().map(|column| escape(&column_heading(column))).collect();
    let rules: Vec<&str> =
        table.columns.iter().map(|column| if column.kind == Kind::Numbers { "---:" } else { "---" }).collect();
    let _ = writeln!(out, "| {} |\n| {} |", heads.join(" | "), rules.join(" | "));
    for row in &table.rows {
        let cells: Vec<String> = row.iter().map(markdown_cell).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    for note in &table.notes {
        let _ = write!(out, "\n{}\n", escape(note));
    }
    for (index, footnote) in table.footnotes.iter().enumerate() {
        let _ = write!(out, "\n<sup>{}</sup> {}\n", footnote_mark(index), escape(footnote));
    }
    out
}

/// The last column of a table with numbers.
const REMARKS: &str = "remarks";

/// Renders a table as CSV with numbers in full precision. A column of numbers has nothing but numbers: a missing one is
/// empty, and the last column, `remarks`, names it with its reason.
pub(super) fn csv(table: &Table) -> String {
    let mut out = String::new();
    let has_numbers = table.columns.iter().any(|column| column.kind == Kind::Numbers);
    let mut heads: Vec<String> = table.columns.iter().map(column_heading).collect();
    heads.extend(has_numbers.then(|| REMARKS.to_owned()));
    let _ = writeln!(out, "{}", csv_record(&heads));
    for row in &table.rows {
        let fields = row.iter().zip(&table.columns).map(|(cell, column)| match cell {
            Cell::Text(text) => text.clone(),
            Cell::Number { value, .. } | Cell::Worded { value, .. } => value.to_string(),
            Cell::Missing { .. } if column.kind == Kind::Numbers => String::new(),
            Cell::Missing { text, mark } => reason(table, text, *mark),
        });
        let mut fields: Vec<String> = fields.collect();
        fields.extend(has_numbers.then(|| remarks(table, row)));
        let _ = writeln!(out, "{}", csv_record(&fields));
    }
    out
}

/// The missing numbers of a row with their reasons: `low, high: n < 6`.
fn remarks(table: &Table, row: &[Cell]) -> String {
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for (cell, column) in row.iter().zip(&table.columns) {
        let Cell::Missing { text, mark } = cell else { continue };
        if column.kind != Kind::Numbers {
            continue;
        }
        let reason = reason(table, text, *mark);
        match all.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, heads)) => heads.push(column_name(column)),
            None => all.push((reason, vec![column_name(column)])),
        }
    }
    all.iter().map(|(reason, heads)| format!("{}: {reason}", heads.join(", "))).collect::<Vec<_>>().join("; ")
}

/// The reason of a missing value, with its footnote.
fn reason(table: &Table, text: &str, mark: Option<usize>) -> String {
    match mark.and_then(|mark| table.footnotes.get(mark)) {
        Some(more) if text == "-" => more.clone(),
        Some(more) => format!("{text} ({more})"),
        None => text.to_owned(),
    }
}

/// One record of CSV (RFC 4180), with line breaks replaced by spaces.
fn csv_record(fields: &[String]) -> String {
    let quoted = |field: &String| {
        let field = field.replace(['\n', '\r'], " ");
        if field.contains([',', '"']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
    };
    fields.iter().map(quoted).collect::<Vec<_>>().join(",")
}

/// The heading of a column in one line: group, head, unit.
fn column_heading(column: &Column) -> String {
    let unit = if column.unit.is_empty() { String::new() } else { format!(" ({})", column.unit) };
    format!("{}{unit}", column_name(column))
}

/// The heading of a column without its unit.
fn column_name(column: &Column) -> String {
    let group = if column.group.is_empty() { String::new() } else { format!("{}: ", column.group) };
    format!("{group}{}", column.head)
}

fn markdown_cell(cell: &Cell) -> String {
    let (text, mark) = match cell {
        Cell::Text(text) => (escape(text), None),
        Cell::Number { value, decimals, mark } => (fixed(*value, *decimals), *mark),
        Cell::Worded { text, .. } => (escape(text), None),
        Cell::Missing { text, mark } => (escape(text), *mark),
    };
    mark.map_or_else(|| text.clone(), |mark| format!("{text} <sup>{}</sup>", footnote_mark(mark)))
}

/// Escapes text so that Markdown renders it verbatim: it forms no element, link, image or table column.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.trim().chars() {
        match character {
            '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '|' => out.extend(['\\', character]),
            _ if is_unprintable(character) => out.push(' '),
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_a_guest_forms_no_element_link_or_column() {
        let text = escape("<img src=x>![a](http://b) | `c`\n\n# d");
        assert_eq!(text, "\\<img src=x\\>!\\[a\\](http://b) \\| \\`c\\`  # d");
        assert_eq!(csv_record(&["a,\"b\"\nc".into(), "d".into()]), "\"a,\"\"b\"\" c\",d");
    }
}
