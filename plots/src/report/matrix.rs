//! The summary as a table that can be sorted and filtered.

use microbench_formats::metric::Metric;
use microbench_formats::plan::Plan;
use microbench_formats::statistic::Statistic;
use serde::Serialize;

use crate::number::{Estimate, ZERO_WIDTH, fixed, significant};
use crate::stats::mean::coefficient_of_variation;
use crate::summary::Row;

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
    for row in planned.iter().take(MOST) {
        let planned = plan.metrics.iter().find(|metric| metric.name == row.metric);
        lines.push(line(row, planned.map_or(&*row.unit, Metric::unit_or_kind)));
    }
    let host = rows.iter().find_map(|row| row.host).map_or("no trial was executed", |host| host.note());
    Matrix {
        caption: format!("Host: {host}"),
        heads: names.map(|(name, class)| Head { name, class }).into(),
        left_out: planned.len().saturating_sub(lines.len()),
        rows: lines,
    }
}

fn line(row: &Row, unit: &str) -> Line {
    let text_cell = |text: &str| Cell { head: false, class: "", value: String::new(), text: text.to_owned() };
    let number = |value: Option<f64>, text: &dyn Fn(f64) -> String, otherwise: &str| {
        let (value, text) = match value.filter(|value| value.is_finite()) {
            Some(value) => (value.to_string(), text(value)),
            None => (String::new(), otherwise.to_owned()),
        };
        Cell { head: false, class: "n", value, text }
    };
    let median = Estimate::with_interval(row.median(), row.median_interval());
    let end = |value: f64| match median.has_zero_width() {
        true => ZERO_WIDTH.to_owned(),
        false => fixed(value, median.decimals()),
    };
    let [low, high] = median.ends().map_or([None; 2], |ends| ends.map(Some));
    let no_interval = if row.n() == 0 {
        "none"
    } else if row.n() < 6 {
        "n < 6"
    } else {
        "censored"
    };
    let whole = |count: f64| fixed(count, 0);
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
            number(row.median(), &|_| median.value(), "none"),
            number(low, &end, no_interval),
            number(high, &end, no_interval),
            number(
                row.mean(),
                &|mean| median.beside(mean),
                if row.mean_withheld().is_some() { "withheld" } else { "none" },
            ),
            number(
                cv,
                &significant,
                match row.mean_withheld() {
                    Some(_) => "withheld",
                    None if row.n() == 0 => "none",
                    None => "n < 2",
                },
            ),
            number(Some(row.n() as f64), &whole, ""),
            number(Some(row.vms as f64), &whole, ""),
            Cell {
                head: false,
                class: "",
                value: String::new(),
                text: if missing.is_empty() { "none".to_owned() } else { missing.join(", ") },
            },
        ],
    }
}
