//! Table of the results: description, microbench, peer, ratio, limit, goal.

use crate::outcome::{Figure, Named, Row};

/// Renders the rows for the terminal, a block of lines per row.
pub(crate) fn render_text(rows: &[Row]) -> String {
    rows.iter().map(render_block).collect()
}

fn render_block(row: &Row) -> String {
    let mut lines = format!("{}\n  microbench {}\n", row.what, value_with_range(row.ours, row.unit));
    for (kind, named) in [("peer", &row.peer), ("limit", &row.limit)] {
        if let Some(Named { name, figure }) = named {
            let ratio = ratio(row.ours, *figure);
            lines += &format!("  {kind} {name} {}; ratio {ratio}\n", value_with_range(*figure, row.unit));
        }
    }
    lines + &format!("  goal: {}: {}\n", row.goal, verdict(row.met))
}

fn value_with_range(figure: Figure, unit: &str) -> String {
    let Figure { median, least, most, n, .. } = figure;
    format!("{} {unit} ({} to {}, n = {n})", number(median), number(least), number(most))
}

fn ratio(ours: Figure, other: Figure) -> String {
    format!("{:.3}", ours.median / other.median)
}

pub(crate) fn verdict(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "met",
        Some(false) => "missed",
        None => "no goal",
    }
}

/// Formats a number with three significant digits and without an exponent.
pub(crate) fn number(value: f64) -> String {
    let magnitude = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    let digits = usize::try_from((2 - magnitude).max(0)).unwrap_or(0);
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_significant_digits() {
        for (value, text) in [(0.0, "0.00"), (0.001_234, "0.00123"), (1.0, "1.00"), (12.345, "12.3"), (2084.4, "2084")]
        {
            assert_eq!(number(value), text);
        }
    }
}
