//! The summary as a table that sorts and filters.

use microbench_formats::plan::Plan;
use microbench_formats::statistic::Statistic;
use serde::Serialize;

use crate::stats::mean::coefficient_of_variation;
use crate::summary::Row;
use crate::table::{decimals_of, shown};

/// Rows that a page can bear.
const MOST: usize = 3000;

/// The table.
#[derive(Serialize)]
pub(super) struct Matrix {
    caption: String,
    heads: Vec<Head>,
    rows: Vec<Line>,
    left_out: usize,
}

#[derive(Serialize)]
struct Head {
    name: &'static str,
    class: &'static str,
}

#[derive(Serialize)]
struct Line {
    class: &'static str,
    cells: Vec<Cell>,
}

#[derive(Serialize)]
struct Cell {
    head: bool,
    class: &'static str,
    /// What it is sorted by; empty for its words.
    value: String,
    text: String,
}

/// One row for each cell and metric that was planned.
pub(super) fn matrix(plan: &Plan, rows: &[Row]) -> Matrix {
    let names = [
        ("Cell", ""),
        ("Variant", ""),
        ("Metric", ""),
        ("Unit", ""),
        ("Median", "n"),
        ("Low", "n"),
        ("High", "n"),
        ("Mean", "n"),
        ("cv (%)", "n"),
        ("n", "n"),
        ("VMs", "n"),
        ("VMs without", ""),
    ];
    let planned: Vec<&Row> = rows.iter().filter(|row| row.planned() > 0).collect();
    let mut lines = Vec::new();
    let digits: Vec<(&str, usize)> = plan
        .metrics
        .iter()
        .map(|metric| {
            let own: Vec<&Row> = planned.iter().copied().filter(|row| row.metric == metric.name).collect();
            (metric.name.as_str(), decimals_of(&own))
        })
        .collect();
    for row in planned.iter().take(MOST) {
        let digits = digits.iter().find(|(name, _)| *name == row.metric).map_or(2, |(_, digits)| *digits);
        lines.push(line(row, digits));
    }
    let host = rows.iter().find_map(|row| row.host).map_or("nothing was executed", |host| host.note());
    Matrix {
        caption: format!("Host: {host}"),
        heads: names.map(|(name, class)| Head { name, class }).into(),
        left_out: planned.len().saturating_sub(lines.len()),
        rows: lines,
    }
}

fn line(row: &Row, digits: usize) -> Line {
    let words = |text: &str| Cell { head: false, class: "", value: String::new(), text: text.to_owned() };
    let number = |value: Option<f64>, digits: usize, instead: &str| match value.filter(|value| value.is_finite()) {
        Some(value) => Cell { head: false, class: "n", value: value.to_string(), text: shown(value, digits) },
        None => Cell { head: false, class: "n", value: String::new(), text: instead.to_owned() },
    };
    let interval = row.median_interval();
    let gap = if row.n() == 0 {
        "none"
    } else if row.n() < 6 {
        "n < 6"
    } else {
        "censored"
    };
    let cv = coefficient_of_variation(&row.values(Statistic::Mean)).map(|cv| cv * 100.0);
    let missing: Vec<String> =
        row.missing.iter().map(|(status, (count, _))| format!("{count} {}", status.text())).collect();
    Line {
        class: if missing.is_empty() { "" } else { "lacks" },
        cells: vec![
            Cell { head: true, ..words(&row.cell) },
            Cell { class: "label", ..words(&row.label) },
            words(&row.metric),
            words(if row.unit == "1" { "count" } else { &row.unit }),
            number(row.median(), digits, "none"),
            number(interval.map(|interval| interval.low), digits, gap),
            number(interval.map(|interval| interval.high), digits, gap),
            number(row.mean(), digits, "none"),
            number(cv, 2, if row.n() == 0 { "none" } else { "n < 2" }),
            number(Some(row.n() as f64), 0, ""),
            number(Some(row.vms as f64), 0, ""),
            Cell {
                head: false,
                class: "",
                value: String::new(),
                text: if missing.is_empty() { "none".to_owned() } else { missing.join(", ") },
            },
        ],
    }
}
