//! The summary as a table that can be sorted and filtered.

use microbench_formats::metric::Metric;
use microbench_formats::plan::Plan;
use microbench_formats::statistic::Statistic;
use serde::Serialize;

use crate::stats::mean::coefficient_of_variation;
use crate::summary::Row;
use crate::table::{decimals_of, format_number};

/// Largest number of rows in the page.
const MOST: usize = 3000;

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
    /// Number to sort by; empty to sort by `text`.
    value: String,
    text: String,
}

/// The table with one row for each planned cell and metric.
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
        ("Missing", ""),
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
        let planned = plan.metrics.iter().find(|metric| metric.name == row.metric);
        lines.push(line(row, planned.map_or(&*row.unit, Metric::unit_or_kind), digits));
    }
    let host = rows.iter().find_map(|row| row.host).map_or("no trial was executed", |host| host.note());
    Matrix {
        caption: format!("Host: {host}"),
        heads: names.map(|(name, class)| Head { name, class }).into(),
        left_out: planned.len().saturating_sub(lines.len()),
        rows: lines,
    }
}

fn line(row: &Row, unit: &str, digits: usize) -> Line {
    let text_cell = |text: &str| Cell { head: false, class: "", value: String::new(), text: text.to_owned() };
    let number = |value: Option<f64>, digits: usize, otherwise: &str| match value.filter(|value| value.is_finite()) {
        Some(value) => Cell { head: false, class: "n", value: value.to_string(), text: format_number(value, digits) },
        None => Cell { head: false, class: "n", value: String::new(), text: otherwise.to_owned() },
    };
    let interval = row.median_interval();
    let no_interval = if row.n() == 0 {
        "none"
    } else if row.n() < 6 {
        "n < 6"
    } else {
        "censored"
    };
    let cv = coefficient_of_variation(&row.values(Statistic::Mean)).map(|cv| cv * 100.0);
    let missing: Vec<String> =
        row.missing.iter().map(|(status, (count, _))| format!("{count} {}", status.name())).collect();
    Line {
        class: if missing.is_empty() { "" } else { "incomplete" },
        cells: vec![
            Cell { head: true, ..text_cell(&row.cell) },
            Cell { class: "label", ..text_cell(&row.label) },
            text_cell(&row.metric),
            text_cell(unit),
            number(row.median(), digits, "none"),
            number(interval.map(|interval| interval.low), digits, no_interval),
            number(interval.map(|interval| interval.high), digits, no_interval),
            number(row.mean(), digits, if row.mean_withheld().is_some() { "withheld" } else { "none" }),
            number(
                cv,
                2,
                match row.mean_withheld() {
                    Some(_) => "withheld",
                    None if row.n() == 0 => "none",
                    None => "n < 2",
                },
            ),
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
