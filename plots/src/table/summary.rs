//! Everything: one row for each metric and cell.

use microbench_formats::plan::Plan;
use microbench_formats::statistic::Statistic;

use super::{Cell, Column, Table, decimals, decimals_of, host, metric, sentence};
use crate::samples::Status;
use crate::stats::mean::coefficient_of_variation;
use crate::summary::{Row, refused};

/// The summary of a run.
pub(super) fn table(plan: &Plan, rows: &[Row]) -> Table {
    let mut table = Table {
        name: "summary".into(),
        title: format!("{}: summary", plan.title),
        long: true,
        columns: vec![
            Column::words("Metric"),
            Column::words("Unit"),
            Column::words("Cell"),
            Column::numbers("", "median", ""),
            Column::numbers("", "low", ""),
            Column::numbers("", "high", ""),
            Column::numbers("", "mean", ""),
            Column::numbers("", "cv (%)", ""),
            Column::numbers("", "trials", ""),
            Column::numbers("", "VMs", ""),
            Column::sentences("missing", 0.13),
        ],
        rows: Vec::new(),
        notes: Vec::new(),
        footnotes: Vec::new(),
    };
    for one in &plan.metrics {
        let own: Vec<&Row> = rows.iter().filter(|row| row.metric == one.name && row.planned() > 0).collect();
        let digits = decimals_of(&own);
        for row in own {
            let whole = refused(rows, row);
            if whole.is_some_and(|first| first.metric != row.metric) {
                continue;
            }
            let metric = if whole.is_some() { "every metric" } else { &row.metric };
            let line = line(&mut table, row, metric, digits);
            table.rows.push(line);
        }
    }
    table.notes = vec![
        "Statistics over trials; a trial of several VMs counts as their median (for the mean: as their mean)."
            .to_owned(),
        "Low and high: 95 % order-statistic interval of the median, from 6 trials on; cv: standard deviation / mean."
            .to_owned(),
        host(rows.iter().find_map(|row| row.host)),
    ];
    table.notes.extend(plan.metrics.iter().map(|metric| format!("{}: {}", metric.name, sentence(&metric.definition))));
    table
}

fn line(table: &mut Table, row: &Row, metric: &str, digits: usize) -> Vec<Cell> {
    let mark = metric::mark(table, row);
    let gap = |words: &str| Cell::Missing { words: words.to_owned(), mark };
    let number = |value: Option<f64>, instead: Cell| value.map_or(instead, |value| Cell::number(value, digits));
    let interval = row.median_interval();
    let end = |value: Option<f64>| match value.filter(|value| value.is_finite()) {
        None if row.n() == 0 => gap("-"),
        None => metric::few(row),
        Some(value) => Cell::number(value, digits),
    };
    let cv = coefficient_of_variation(&row.values(Statistic::Mean)).map(|cv| cv * 100.0);
    let missing: Vec<String> = row
        .missing
        .iter()
        .filter(|(status, _)| **status != Status::Ok)
        .map(|(status, (count, _))| format!("{count} {}", status.text()))
        .collect();
    vec![
        Cell::Words(metric.to_owned()),
        Cell::Words(row.unit.clone()),
        Cell::Words(row.cell.clone()),
        number(row.median(), gap("-")),
        end(interval.map(|interval| interval.low)),
        end(interval.map(|interval| interval.high)),
        number(row.mean(), gap("-")),
        match cv {
            Some(cv) => Cell::number(cv, decimals([cv].into_iter()).min(2)),
            None if row.n() == 0 => gap("-"),
            None => Cell::missing("n < 2"),
        },
        Cell::count(row.n()),
        Cell::count(row.vms),
        if missing.is_empty() { Cell::Words("none".into()) } else { gap(&missing.join(", ")) },
    ]
}
