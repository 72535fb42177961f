//! Tables as Markdown and CSV.

use std::fmt::Write as _;

use super::{Cell, Column, Kind, Table, letter, shown};

/// A table as GitHub's Markdown, with its notes.
pub(super) fn markdown(table: &Table) -> String {
    let mut out = format!("# {}\n\n", escape(&table.title));
    let heads: Vec<String> = table.columns.iter().map(|column| escape(&head(column))).collect();
    let rules: Vec<&str> =
        table.columns.iter().map(|column| if column.kind == Kind::Numbers { "---:" } else { "---" }).collect();
    let _ = writeln!(out, "| {} |\n| {} |", heads.join(" | "), rules.join(" | "));
    for row in &table.rows {
        let cells: Vec<String> = row.iter().map(marked).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    for note in &table.notes {
        let _ = write!(out, "\n{}\n", escape(note));
    }
    for (index, footnote) in table.footnotes.iter().enumerate() {
        let _ = write!(out, "\n<sup>{}</sup> {}\n", letter(index), escape(footnote));
    }
    out
}

/// A table as CSV: numbers with all their digits, in place of one the reason why there is none.
pub(super) fn csv(table: &Table) -> String {
    let mut out = String::new();
    let heads: Vec<String> = table.columns.iter().map(head).collect();
    let _ = writeln!(out, "{}", record(&heads));
    for row in &table.rows {
        let fields: Vec<String> = row
            .iter()
            .map(|cell| match cell {
                Cell::Words(words) => words.clone(),
                Cell::Number { value, .. } => value.to_string(),
                Cell::Missing { words, mark } => match mark.and_then(|mark| table.footnotes.get(mark)) {
                    Some(more) if words == "-" => more.clone(),
                    Some(more) => format!("{words} ({more})"),
                    None => words.clone(),
                },
            })
            .collect();
        let _ = writeln!(out, "{}", record(&fields));
    }
    out
}

/// One line of CSV (RFC 4180).
fn record(fields: &[String]) -> String {
    let quoted = |field: &String| {
        let field = field.replace(['\n', '\r'], " ");
        if field.contains([',', '"']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
    };
    fields.iter().map(quoted).collect::<Vec<_>>().join(",")
}

/// A column's words in one line: group, head, unit.
fn head(column: &Column) -> String {
    let group = if column.group.is_empty() { String::new() } else { format!("{}: ", column.group) };
    let unit = if column.unit.is_empty() { String::new() } else { format!(" ({})", column.unit) };
    format!("{group}{}{unit}", column.head)
}

fn marked(cell: &Cell) -> String {
    let (words, mark) = match cell {
        Cell::Words(words) => (escape(words), None),
        Cell::Number { value, decimals, mark } => (shown(*value, *decimals), *mark),
        Cell::Missing { words, mark } => (escape(words), *mark),
    };
    mark.map_or_else(|| words.clone(), |mark| format!("{words} <sup>{}</sup>", letter(mark)))
}

/// Text that Markdown shows as it is: no element, link, picture or column is made of it.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.trim().chars() {
        match character {
            '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '|' => out.extend(['\\', character]),
            _ if character.is_control() => out.push(' '),
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_says_makes_no_element_link_or_column() {
        let text = escape("<img src=x>![a](http://b) | `c`\n\n# d");
        assert_eq!(text, "\\<img src=x\\>!\\[a\\](http://b) \\| \\`c\\`  # d");
        assert_eq!(record(&["a,\"b\"\nc".into(), "d".into()]), "\"a,\"\"b\"\" c\",d");
    }
}
