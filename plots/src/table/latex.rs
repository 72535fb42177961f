//! Tables as LaTeX: booktabs' rules, siunitx' `S` columns.

use std::fmt::Write as _;

use super::{Cell, Column, Kind, Table, letter, shown};
use crate::latex::escape;

/// A table as a file to `\input`: a float, or a `longtable` where it may be longer than a page, with caption, label and notes.
pub(super) fn table(table: &Table) -> String {
    let mut out = format!(
        "% Made by `microbench table` {}. Needs \\usepackage{{booktabs}}{} and \\usepackage{{siunitx}} (version 3).\n",
        env!("CARGO_PKG_VERSION"),
        if table.long { ", \\usepackage{longtable}" } else { "" },
    );
    let label = format!("\\label{{tab:{}}}", table.name);
    let caption = format!("\\caption{{{}}}{label}", escape(&table.title));
    let columns: String = (0..table.columns.len()).map(|index| column(table, index)).collect::<Vec<_>>().join(" ");
    if table.long {
        let _ = writeln!(
            out,
            "{{\\footnotesize\\setlength{{\\tabcolsep}}{{2.5pt}}\n\\begin{{longtable}}{{@{{}}{columns}@{{}}}}"
        );
        let _ = writeln!(out, "{caption}\\\\\n\\toprule\n{}\\midrule\n\\endfirsthead", heads(table));
        let _ = writeln!(out, "\\toprule\n{}\\midrule\n\\endhead\n\\bottomrule\n\\endfoot", heads(table));
        let _ = writeln!(out, "{}\\end{{longtable}}\n\\noindent {}\\par}}", rows(table), notes(table));
    } else {
        let _ = writeln!(
            out,
            "% Over both columns of a page: \\renewcommand{{\\mbtable}}{{table*}} before \\input.\n\
             \\providecommand{{\\mbtable}}{{table}}\n\
             \\begin{{\\mbtable}}\n\\centering\n{caption}\n\\footnotesize\\setlength{{\\tabcolsep}}{{4pt}}\n\
             \\begin{{tabular}}{{@{{}}{columns}@{{}}}}\n\\toprule\n{}\\midrule\n{}\\bottomrule\n\\end{{tabular}}\n\
             \\par\\medskip\n\\begin{{minipage}}{{\\linewidth}}\\footnotesize {}\\end{{minipage}}\n\\end{{\\mbtable}}",
            heads(table),
            rows(table),
            notes(table)
        );
    }
    out
}

/// The type of the column, wide enough for each of its numbers.
fn column(table: &Table, index: usize) -> String {
    match table.columns[index].kind {
        Kind::Words => return "l".into(),
        Kind::Sentences(share) => return format!(">{{\\raggedright\\arraybackslash}}p{{{share}\\linewidth}}"),
        Kind::Numbers => {}
    }
    let (mut before, mut after, mut sign, mut marks) = (1, 0, "", String::new());
    for cell in table.rows.iter().filter_map(|row| row.get(index)) {
        let Cell::Number { value, decimals, mark } = cell else { continue };
        let text = shown(*value, *decimals);
        let digits = text.split('.').next().unwrap_or_default();
        before = before.max(digits.trim_start_matches('-').len());
        after = after.max(*decimals);
        if digits.starts_with('-') {
            sign = "-";
        }
        if let Some(mark) = mark {
            marks = format!(",table-space-text-post=\\textsuperscript{{{}}}", letter(*mark));
        }
    }
    format!("S[table-format={sign}{before}.{after}{marks}]")
}

/// The one or two lines above the numbers.
fn heads(table: &Table) -> String {
    let mut out = String::new();
    if table.columns.iter().any(|column| !column.group.is_empty()) {
        let (mut words, mut rules, mut start) = (Vec::new(), String::new(), 0);
        for group in table.columns.chunk_by(|a, b| a.group == b.group) {
            let (first, last) = (start + 1, start + group.len());
            start = last;
            words.push(match group.first().map_or("", |column| column.group.as_str()) {
                "" => "&".repeat(group.len() - 1),
                name => {
                    let _ = write!(rules, "\\cmidrule(lr){{{first}-{last}}}");
                    format!("\\multicolumn{{{}}}{{c}}{{{}}}", group.len(), escape(name))
                }
            });
        }
        let _ = writeln!(out, "{} \\\\\n{rules}", words.join(" & "));
    }
    let before = std::iter::once(None).chain(table.columns.iter().map(Some));
    let heads: Vec<String> = before.zip(&table.columns).map(|(before, column)| head(before, column)).collect();
    let _ = writeln!(out, "{} \\\\", heads.join(" & "));
    out
}

/// The words above a column; the unit stands above the first of a group's columns that have it.
fn head(before: Option<&Column>, column: &Column) -> String {
    let same = before.is_some_and(|before| before.unit == column.unit && before.group == column.group);
    let unit = if same || column.unit.is_empty() { String::new() } else { format!(" ({})", unit(&column.unit)) };
    match column.kind {
        Kind::Numbers => format!("{{{}{unit}}}", escape(&column.head)),
        _ => format!("{}{unit}", escape(&column.head)),
    }
}

/// A unit as siunitx writes it, where it has the unit.
fn unit(unit: &str) -> String {
    siunitx(unit).map_or_else(|| escape(unit), |macros| format!("\\unit{{{macros}}}"))
}

/// The macros of a unit; `None` for none that siunitx knows.
pub(super) fn siunitx(unit: &str) -> Option<&'static str> {
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
        let cells: Vec<String> = row.iter().zip(&table.columns).map(|(cell, column)| written(cell, column)).collect();
        let _ = writeln!(out, "{} \\\\", cells.join(" & "));
    }
    out
}

fn written(cell: &Cell, column: &Column) -> String {
    let sup =
        |mark: &Option<usize>| mark.map_or(String::new(), |mark| format!("\\textsuperscript{{{}}}", letter(mark)));
    match cell {
        Cell::Words(words) => escape(words),
        Cell::Number { value, decimals, mark } => format!("{}{}", shown(*value, *decimals), sup(mark)),
        // Braces keep siunitx from reading it as a number.
        Cell::Missing { words, mark } if column.kind == Kind::Numbers => format!("{{{}{}}}", dash(words), sup(mark)),
        Cell::Missing { words, mark } => format!("{}{}", dash(words), sup(mark)),
    }
}

fn dash(words: &str) -> String {
    if words == "-" { "--".to_owned() } else { escape(words) }
}

/// What stands below: the notes, then what each mark says.
fn notes(table: &Table) -> String {
    let marks = table.footnotes.iter().enumerate().map(|(index, words)| {
        format!("\n\\par\\noindent\\textsuperscript{{{}}}~{}.", letter(index), escape(words.trim_end_matches('.')))
    });
    table.notes.iter().map(String::as_str).map(escape).collect::<Vec<_>>().join("\n") + &marks.collect::<String>()
}
