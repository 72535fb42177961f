//! Renders tables as Markdown and CSV.

use microbench_formats::terminal::is_unprintable;
use std::fmt::Write as _;

use super::{Cell, Column, Kind, Table, footnote_mark, format_number};

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

/// Renders a table as CSV: numbers in full precision, and the reason instead of a missing number.
pub(super) fn csv(table: &Table) -> String {
    let mut out = String::new();
    let heads: Vec<String> = table.columns.iter().map(column_heading).collect();
    let _ = writeln!(out, "{}", csv_record(&heads));
    for row in &table.rows {
        let fields: Vec<String> = row
            .iter()
            .map(|cell| match cell {
                Cell::Text(text) => text.clone(),
                Cell::Number { value, .. } => value.to_string(),
                Cell::Missing { text, mark } => match mark.and_then(|mark| table.footnotes.get(mark)) {
                    Some(more) if text == "-" => more.clone(),
                    Some(more) => format!("{text} ({more})"),
                    None => text.clone(),
                },
            })
            .collect();
        let _ = writeln!(out, "{}", csv_record(&fields));
    }
    out
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
    let group = if column.group.is_empty() { String::new() } else { format!("{}: ", column.group) };
    let unit = if column.unit.is_empty() { String::new() } else { format!(" ({})", column.unit) };
    format!("{group}{}{unit}", column.head)
}

fn markdown_cell(cell: &Cell) -> String {
    let (text, mark) = match cell {
        Cell::Text(text) => (escape(text), None),
        Cell::Number { value, decimals, mark } => (format_number(*value, *decimals), *mark),
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
