//! Renders tables as LaTeX with the rules of booktabs and the `S` columns of siunitx.

use std::fmt::Write as _;

use super::{Cell, Column, Kind, Table, footnote_mark};
use crate::latex::escape;
use crate::number::fixed;

/// Renders a table with caption, label and notes as a file for `\input`. It is a float, or a `longtable` if it may be
/// longer than a page.
pub(super) fn table(table: &Table) -> String {
    let mut out = format!(
        "% Made by `microbench table` {}. Needs \\usepackage{{booktabs}}{} and \\usepackage{{siunitx}} (version 3).\n",
        env!("CARGO_PKG_VERSION"),
        if table.long { ", \\usepackage{longtable}" } else { "" },
    );
    let label = format!("\\label{{tab:{}}}", label_key(&table.name));
    let caption = format!("\\caption{{{}}}{label}", escape(&table.title));
    let columns: String = (0..table.columns.len()).map(|index| column_type(table, index)).collect::<Vec<_>>().join(" ");
    if table.long {
        let _ = writeln!(
            out,
            "{{\\footnotesize\\setlength{{\\tabcolsep}}{{2.5pt}}\n\\begin{{longtable}}{{@{{}}{columns}@{{}}}}"
        );
        let _ = writeln!(out, "{caption}\\\\\n\\toprule\n{}\\midrule\n\\endfirsthead", head_lines(table));
        let _ = writeln!(out, "\\toprule\n{}\\midrule\n\\endhead\n\\bottomrule\n\\endfoot", head_lines(table));
        let _ = writeln!(out, "{}\\end{{longtable}}\n\\noindent {}\\par}}", rows(table), notes(table));
    } else {
        let _ = writeln!(
            out,
            "% To span both columns of a page: \\renewcommand{{\\mbtable}}{{table*}} before \\input.\n\
             \\providecommand{{\\mbtable}}{{table}}\n\
             \\begin{{\\mbtable}}\n\\centering\n{caption}\n\\footnotesize\\setlength{{\\tabcolsep}}{{4pt}}\n\
             \\begin{{tabular}}{{@{{}}{columns}@{{}}}}\n\\toprule\n{}\\midrule\n{}\\bottomrule\n\\end{{tabular}}\n\
             \\par\\medskip\n\\begin{{minipage}}{{\\linewidth}}\\footnotesize {}\\end{{minipage}}\n\\end{{\\mbtable}}",
            head_lines(table),
            rows(table),
            notes(table)
        );
    }
    out
}

/// A name as a part of a label: `-` instead of characters that LaTeX interprets. Names of manifests have none.
fn label_key(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "_.:-".contains(c) { c } else { '-' }).collect()
}

/// The LaTeX column type, wide enough for all numbers of the column.
fn column_type(table: &Table, index: usize) -> String {
    match table.columns[index].kind {
        Kind::Text => return "l".into(),
        Kind::Sentences(share) => return format!(">{{\\raggedright\\arraybackslash}}p{{{share}\\linewidth}}"),
        Kind::Numbers => {}
    }
    let (mut before, mut after, mut sign, mut marks) = (1, 0, "", String::new());
    for cell in table.rows.iter().filter_map(|row| row.get(index)) {
        let Cell::Number { value, decimals, mark } = cell else { continue };
        let text = fixed(*value, *decimals);
        let digits = text.split('.').next().unwrap_or_default();
        before = before.max(digits.trim_start_matches('-').len());
        after = after.max(*decimals);
        if digits.starts_with('-') {
            sign = "-";
        }
        if let Some(mark) = mark {
            marks = format!(",table-space-text-post=\\textsuperscript{{{}}}", footnote_mark(*mark));
        }
    }
    format!("S[table-format={sign}{before}.{after}{marks}]")
}

/// The one or two lines of the table head.
fn head_lines(table: &Table) -> String {
    let mut out = String::new();
    if table.columns.iter().any(|column| !column.group.is_empty()) {
        let (mut groups, mut rules, mut start) = (Vec::new(), String::new(), 0);
        for group in table.columns.chunk_by(|a, b| a.group == b.group) {
            let (first, last) = (start + 1, start + group.len());
            start = last;
            groups.push(match group.first().map_or("", |column| column.group.as_str()) {
                "" => "&".repeat(group.len() - 1),
                name => {
                    let _ = write!(rules, "\\cmidrule(lr){{{first}-{last}}}");
                    format!("\\multicolumn{{{}}}{{c}}{{{}}}", group.len(), escape(name))
                }
            });
        }
        let _ = writeln!(out, "{} \\\\\n{rules}", groups.join(" & "));
    }
    let before = std::iter::once(None).chain(table.columns.iter().map(Some));
    let heads: Vec<String> =
        before.zip(&table.columns).map(|(before, column)| column_heading(before, column)).collect();
    let _ = writeln!(out, "{} \\\\", heads.join(" & "));
    out
}

/// The heading of a column. Of adjacent columns of a group with the same unit, only the first shows the unit.
fn column_heading(before: Option<&Column>, column: &Column) -> String {
    let same = before.is_some_and(|before| before.unit == column.unit && before.group == column.group);
    let unit = if same || column.unit.is_empty() { String::new() } else { format!(" ({})", unit(&column.unit)) };
    match column.kind {
        Kind::Numbers => format!("{{{}{unit}}}", escape(&column.head)),
        _ => format!("{}{unit}", escape(&column.head)),
    }
}

/// A unit as a siunitx `\unit`, or as escaped text if siunitx has no macro for it.
fn unit(unit: &str) -> String {
    siunitx_macros(unit).map_or_else(|| escape(unit), |macros| format!("\\unit{{{macros}}}"))
}

/// The siunitx macros of a unit; `None` for other units.
pub(super) fn siunitx_macros(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "ns" => "\\nano\\second",
        "us" => "\\micro\\second",
        "ms" => "\\milli\\second",
        "s" => "\\second",
        "bytes" => "\\byte",
        "MiB" => "\\mebi\\byte",
        "MB/s" => "\\mega\\byte\\per\\second",
        "1/s" => "\\per\\second",
        _ => return None,
    })
}

fn rows(table: &Table) -> String {
    let mut out = String::new();
    for row in &table.rows {
        let cells: Vec<String> =
            row.iter().zip(&table.columns).map(|(cell, column)| latex_cell(cell, column)).collect();
        let _ = writeln!(out, "{} \\\\", cells.join(" & "));
    }
    out
}

fn latex_cell(cell: &Cell, column: &Column) -> String {
    let sup = |mark: &Option<usize>| {
        mark.map_or(String::new(), |mark| format!("\\textsuperscript{{{}}}", footnote_mark(mark)))
    };
    match cell {
        Cell::Text(text) => escape(text),
        Cell::Number { value, decimals, mark } => format!("{}{}", fixed(*value, *decimals), sup(mark)),
        // Braces keep siunitx from parsing the text as a number.
        Cell::Worded { text, .. } => format!("{{{}}}", escape(text)),
        Cell::Missing { text, mark } if column.kind == Kind::Numbers => {
            format!("{{{}{}}}", dash_or_text(text), sup(mark))
        }
        Cell::Missing { text, mark } => format!("{}{}", dash_or_text(text), sup(mark)),
    }
}

fn dash_or_text(text: &str) -> String {
    if text == "-" { "--".to_owned() } else { escape(text) }
}

/// The text below the table: notes, then footnotes.
fn notes(table: &Table) -> String {
    let marks = table.footnotes.iter().enumerate().map(|(index, text)| {
        format!(
            "\n\\par\\noindent\\textsuperscript{{{}}}~{}.",
            footnote_mark(index),
            escape(text.trim_end_matches('.'))
        )
    });
    table.notes.iter().map(String::as_str).map(escape).collect::<Vec<_>>().join("\n") + &marks.collect::<String>()
}
