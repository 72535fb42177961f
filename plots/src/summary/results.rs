//! The results of a run as a tree: metrics, below each the levels of the axes, below these the variants.

use std::collections::BTreeMap;

use microbench_formats::cell::Cell;
use microbench_formats::host::HostKind;
use microbench_formats::plan::Plan;
use microbench_formats::statistic::Statistic;
use microbench_formats::terminal::{Column, Room, fitted};
use serde::Serialize;

use crate::samples::Status;
use crate::stats::mean::coefficient_of_variation;
use crate::stats::median::Interval;
use crate::summary::{Row, refused};

/// Columns of the tree. What a narrow terminal leaves out first stands behind.
const COLUMNS: [Column; 8] = [
    Column::left("metric, cell", 0),
    Column::right("median", 0),
    Column::right("95 % interval", 1),
    Column::right("mean", 4),
    Column::right("cv", 2),
    Column::right("n", 0),
    Column::right("VMs", 3),
    Column::left("missing", 0),
];

/// The tree as text.
#[must_use]
pub fn text(plan: &Plan, rows: &[Row], room: Room) -> String {
    let mut lines = Vec::new();
    let one_variant = plan.cells.iter().all(|cell| cell.variant == plan.cells[0].variant);
    let shown: Vec<&Row> = rows.iter().filter(|row| row.planned() > 0).collect();
    for metric in &plan.metrics {
        let own: Vec<(&Cell, &Row)> = (plan.cells.iter())
            .filter_map(|cell| {
                Some((cell, *shown.iter().find(|row| row.cell == cell.id && row.metric == metric.name)?))
            })
            .filter(|(_, row)| refused(rows, row).is_none())
            .collect();
        if !own.is_empty() {
            lines.push(vec![metric.name.clone()]);
            branch(&mut lines, &axes(plan), &own, "", one_variant);
        }
    }
    // A cell of which every metric is missing for one reason stands once.
    let none: Vec<(&Cell, &Row)> = (plan.cells.iter())
        .filter_map(|cell| Some((cell, *shown.iter().find(|row| row.cell == cell.id)?)))
        .filter(|(_, row)| refused(rows, row).is_some())
        .collect();
    if !none.is_empty() {
        lines.push(vec!["every metric".to_owned()]);
        branch(&mut lines, &axes(plan), &none, "", one_variant);
    }
    let (text, left_out) = fitted(&COLUMNS, &lines, room.table);
    text + &room.left_out(&left_out)
}

/// The axes that make branches: those with several levels, but for `variant`, which makes the leaves.
fn axes(plan: &Plan) -> Vec<&str> {
    let several = plan.axes.iter().filter(|axis| axis.levels.len() > 1 && axis.name != "variant");
    several.map(|axis| axis.name.as_str()).collect()
}

/// The rows below one branch of the tree.
fn branch(lines: &mut Vec<Vec<String>>, axes: &[&str], rows: &[(&Cell, &Row)], before: &str, one_variant: bool) {
    let Some((axis, deeper)) = axes.split_first() else {
        for (at, (cell, row)) in (1..).zip(rows) {
            let (own, _) = drawn(before, at == rows.len());
            let mut line = vec![own + &cell.variant];
            line.extend(cells(row));
            lines.push(line);
        }
        return;
    };
    let level = |cell: &Cell| cell.levels.get(axis).map(ToString::to_string).unwrap_or_default();
    let mut levels: Vec<(String, Vec<(&Cell, &Row)>)> = Vec::new();
    for &(cell, row) in rows {
        match levels.iter_mut().find(|(known, _)| *known == level(cell)) {
            Some((_, below)) => below.push((cell, row)),
            None => levels.push((level(cell), vec![(cell, row)])),
        }
    }
    let last = levels.len();
    for (at, (level, below)) in (1..).zip(levels) {
        let (own, next) = drawn(before, at == last);
        let mut line = vec![format!("{own}{axis} {level}")];
        match below.as_slice() {
            // Where there is but one variant its name says nothing.
            [(_, row)] if deeper.is_empty() && one_variant => {
                line.extend(cells(row));
                lines.push(line);
            }
            below => {
                lines.push(line);
                branch(lines, deeper, below, &next, one_variant);
            }
        }
    }
}

/// What stands before an entry of the tree, and before what is below it.
fn drawn(before: &str, last: bool) -> (String, String) {
    if last {
        (format!("{before}\u{2570}\u{2500} "), format!("{before}   "))
    } else {
        (format!("{before}\u{251c}\u{2500} "), format!("{before}\u{2502}  "))
    }
}

/// A row's columns.
fn cells(row: &Row) -> [String; 7] {
    let show = |value: Option<f64>| match value {
        Some(value) if row.unit == "1" => format!("{value:.1}"),
        Some(value) => format!("{value:.2} {}", row.unit),
        None => "-".to_owned(),
    };
    let none = || if row.n() < 6 { "n < 6".to_owned() } else { "-".to_owned() };
    let missing: Vec<String> =
        row.missing.iter().map(|(status, (count, _))| format!("{count} {}", status.text())).collect();
    [
        show(row.median()),
        row.median_interval().map_or_else(none, |i| format!("{:.2} to {:.2}", i.low, i.high)),
        show(row.mean()),
        coefficient_of_variation(&row.values(Statistic::Mean))
            .map_or_else(|| "-".to_owned(), |cv| format!("{:.2} %", cv * 100.0)),
        row.n().to_string(),
        row.vms.to_string(),
        missing.join(", "),
    ]
}

/// A cell and metric of the summary, for a program to read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CellResult {
    /// The cell.
    pub cell: String,
    /// The variant's label.
    pub label: String,
    /// The metric.
    pub metric: String,
    /// Unit of every value.
    pub unit: String,
    /// Where it executed.
    pub host: Option<HostKind>,
    /// Trials with a value.
    pub n: usize,
    /// VMs with a value.
    pub vms: usize,
    /// Median over trials.
    pub median: Option<f64>,
    /// Its interval by order statistics; an end that is not finite is `null`.
    pub median_interval: Option<Interval>,
    /// Mean over trials.
    pub mean: Option<f64>,
    /// Standard deviation over mean.
    pub coefficient_of_variation: Option<f64>,
    /// VMs without a value by status, and the first reason of each.
    pub missing: BTreeMap<&'static str, Missing>,
}

/// VMs without a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// How many.
    pub vms: usize,
    /// The first one's reason.
    pub reason: String,
}

/// The rows, for a program to read.
#[must_use]
pub fn results(rows: &[Row]) -> Vec<CellResult> {
    let missing = |(status, (vms, reason)): (&Status, &(usize, String))| {
        (status.text(), Missing { vms: *vms, reason: reason.clone() })
    };
    let one = |row: &Row| CellResult {
        cell: row.cell.clone(),
        label: row.label.clone(),
        metric: row.metric.clone(),
        unit: row.unit.clone(),
        host: row.host,
        n: row.n(),
        vms: row.vms,
        median: row.median(),
        median_interval: row.median_interval(),
        mean: row.mean(),
        coefficient_of_variation: coefficient_of_variation(&row.values(Statistic::Mean)),
        missing: row.missing.iter().map(missing).collect(),
    };
    rows.iter().filter(|row| row.planned() > 0).map(one).collect()
}
