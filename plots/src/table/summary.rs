//! The summary table: one row for each metric and cell.

use microbench_formats::plan::Plan;
use microbench_formats::statistic::Statistic;

use super::{Cell, Column, REPEATED, Table, are_whole, definition_sentence, host_sentence, metric};
use crate::definition::definition;
use crate::host_cpu;
use crate::number::bare_decimals;
use crate::samples::Status;
use crate::stats::mean::coefficient_of_variation;
use crate::summary::{Row, first_row_without_values};

pub(super) fn table(plan: &Plan, rows: &[Row]) -> Table {
    let mut table = Table {
        name: "summary".into(),
        title: format!("{}: summary", plan.title),
        long: true,
        columns: vec![
            Column::text("Metric"),
            Column::text("Unit"),
            Column::text("Cell"),
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
    for planned in &plan.metrics {
        let own: Vec<&Row> = rows.iter().filter(|row| row.metric == planned.name && row.planned() > 0).collect();
        let is_whole = are_whole(&own);
        for row in own {
            let spanning_row = first_row_without_values(rows, row);
            if spanning_row.is_some_and(|first| first.metric != row.metric) {
                continue;
            }
            let metric = if spanning_row.is_some() { "every metric" } else { &row.metric };
            let cells = summary_row(&mut table, row, metric, is_whole);
            table.rows.push(cells);
        }
    }
    let host = rows.iter().find_map(|row| row.host);
    table.notes = vec![
        "Statistics over trials; a trial of several VMs counts as their median (for the mean: as their mean)."
            .to_owned(),
        if rows.iter().any(Row::is_repeated) {
            format!("{REPEATED} cv: standard deviation of trials / mean.")
        } else {
            "Low and high: 95 % order-statistic interval of the median, from 6 trials on; cv: standard deviation / mean."
                .to_owned()
        },
        "The mean is withheld if a VM is censored or failed.".to_owned(),
        host_sentence(host),
    ];
    table.notes.extend(host_cpu::sentence(host, &plan.cells));
    table.notes.extend(
        plan.metrics.iter().map(|metric| format!("{}: {}", metric.name, definition_sentence(definition(metric)))),
    );
    table
}

fn summary_row(table: &mut Table, row: &Row, metric: &str, is_whole: bool) -> Vec<Cell> {
    let mark = metric::missing_footnote(table, row);
    let missing_cell = |text: &str| Cell::Missing { text: text.to_owned(), mark };
    let [median, low, high] = metric::median_with_interval(row, is_whole, mark);
    let decimals = |mean: f64| match &median {
        Cell::Number { decimals, .. } => bare_decimals(mean).max(*decimals),
        _ => bare_decimals(mean),
    };
    let mean = match row.mean() {
        Some(mean) => Cell::number(mean, decimals(mean)),
        None => missing_cell(if row.mean_withheld().is_some() && row.n() > 0 { "withheld" } else { "-" }),
    };
    let cv = coefficient_of_variation(&row.values(Statistic::Mean)).map(|cv| cv * 100.0);
    let missing: Vec<String> = row
        .missing
        .iter()
        .filter(|(status, _)| **status != Status::Ok)
        .map(|(status, (count, _))| format!("{count} {}", status.name()))
        .collect();
    vec![
        Cell::Text(metric.to_owned()),
        Cell::Text(row.unit.clone()),
        Cell::Text(row.cell.clone()),
        median.with_mark(None),
        low,
        high,
        mean,
        match cv {
            Some(cv) => Cell::bare(cv, false),
            None if row.n() == 0 => missing_cell("-"),
            None if row.mean_withheld().is_some() => missing_cell("withheld"),
            None => Cell::missing("n < 2"),
        },
        Cell::count(row.n()),
        Cell::count(row.vms),
        if missing.is_empty() { Cell::Text("none".into()) } else { missing_cell(&missing.join(", ")) },
    ]
}
