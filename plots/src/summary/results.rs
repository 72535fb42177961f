//! The results of a run as a tree (metrics, levels of the axes, variants), and as a list for programs.

use std::collections::BTreeMap;

use microbench_formats::cell::Cell;
use microbench_formats::host::HostKind;
use microbench_formats::plan::Plan;
use microbench_formats::statistic::Statistic;
use microbench_formats::terminal::{Column, OutputWidth, fitted};
use serde::Serialize;

use crate::number::{Estimate, percent, unit_suffix};
use crate::samples::Status;
use crate::stats::mean::coefficient_of_variation;
use crate::stats::median::Interval;
use crate::stats::repetition;
use crate::summary::{Row, first_row_without_values};

/// Columns of the tree, with the rank that decides which of them a narrow terminal leaves out first.
const COLUMNS: [Column; 7] = [
    Column::left("metric, cell", 0),
    Column::right("median", 0),
    Column::right("95 % interval", 1),
    Column::right("mean", 4),
    Column::right("cv", 2),
    Column::right("n", 0),
    Column::right("VMs", 3),
];

/// The results as a tree that fits `width`.
///
/// A cell without a value has no statistics but the number of its VMs by status. A cell that has values and VMs
/// without one has a second line for them.
#[must_use]
pub fn render_tree(plan: &Plan, rows: &[Row], width: OutputWidth) -> String {
    let mut lines = Vec::new();
    let has_one_variant = plan.cells.iter().all(|cell| cell.variant == plan.cells[0].variant);
    let shown: Vec<&Row> = rows.iter().filter(|row| row.planned() > 0).collect();
    for metric in &plan.metrics {
        let own: Vec<(&Cell, &Row)> = (plan.cells.iter())
            .filter_map(|cell| {
                Some((cell, *shown.iter().find(|row| row.cell == cell.id && row.metric == metric.name)?))
            })
            .filter(|(_, row)| first_row_without_values(rows, row).is_none())
            .collect();
        if !own.is_empty() && own.iter().all(|(_, row)| is_without_value(row)) {
            lines.push(vec![no_value(&metric.name, own.iter().map(|(_, row)| *row))]);
        } else if !own.is_empty() {
            lines.push(vec![metric.name.clone()]);
            branch(&mut lines, &axes(plan), &own, "", has_one_variant);
        }
    }
    // A cell without any value, for one reason, is one line and not one for each metric.
    let none: Vec<(&Cell, &Row)> = (plan.cells.iter())
        .filter_map(|cell| Some((cell, *shown.iter().find(|row| row.cell == cell.id)?)))
        .filter(|(_, row)| first_row_without_values(rows, row).is_some())
        .collect();
    if !none.is_empty() {
        lines.push(vec!["every metric".to_owned()]);
        branch(&mut lines, &axes(plan), &none, "", has_one_variant);
    }
    let (text, left_out) = fitted(&COLUMNS, &lines, width.table);
    text + &width.left_out(&left_out)
}

/// The axes that are branches of the tree: those with several levels, except `variant`, whose levels are the leaves.
fn axes(plan: &Plan) -> Vec<&str> {
    let several = plan.axes.iter().filter(|axis| axis.levels.len() > 1 && axis.name != "variant");
    several.map(|axis| axis.name.as_str()).collect()
}

/// Adds the lines of `rows`, which are below one branch of the tree; `before` is the drawing in front of them.
fn branch(lines: &mut Vec<Vec<String>>, axes: &[&str], rows: &[(&Cell, &Row)], before: &str, has_one_variant: bool) {
    let Some((axis, deeper)) = axes.split_first() else {
        for (at, (cell, row)) in (1..).zip(rows) {
            let (own, next) = drawn(before, at == rows.len());
            lines.extend(leaf(&(own + &cell.variant), &next, row));
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
        let name = format!("{own}{axis} {level}");
        match below.as_slice() {
            // The name of the only variant would repeat on every line.
            [(_, row)] if deeper.is_empty() && has_one_variant => lines.extend(leaf(&name, &next, row)),
            below => {
                lines.push(vec![name]);
                branch(lines, deeper, below, &next, has_one_variant);
            }
        }
    }
}

/// The drawing in front of an entry of the tree, and in front of the entries below it.
fn drawn(before: &str, last: bool) -> (String, String) {
    if last {
        (format!("{before}\u{2570}\u{2500} "), format!("{before}   "))
    } else {
        (format!("{before}\u{251c}\u{2500} "), format!("{before}\u{2502}  "))
    }
}

/// The lines of a row: its columns, and a line for VMs without a value; for a row without any value that line alone.
/// `next` is the drawing in front of a second line.
fn leaf(name: &str, next: &str, row: &Row) -> Vec<Vec<String>> {
    if is_without_value(row) {
        return vec![vec![no_value(name, [row])]];
    }
    let mut line = vec![name.to_owned()];
    line.extend(columns(row));
    match row.missing.is_empty() {
        true => vec![line],
        false => vec![line, vec![format!("{next}{}", describe_vms_without_value([row]))]],
    }
}

fn is_without_value(row: &Row) -> bool {
    row.vms == 0 && row.censored() == 0
}

/// The line of rows without a value: the number of their VMs by status.
fn no_value<'a>(name: &str, rows: impl IntoIterator<Item = &'a Row>) -> String {
    format!("{name}: {}", describe_vms_without_value(rows))
}

/// `no value (2 VMs failed)`.
fn describe_vms_without_value<'a>(rows: impl IntoIterator<Item = &'a Row>) -> String {
    let mut counts: BTreeMap<Status, usize> = BTreeMap::new();
    for (status, (count, _)) in rows.into_iter().flat_map(|row| &row.missing) {
        *counts.entry(*status).or_default() += count;
    }
    let vms = |count: usize| if count == 1 { "1 VM".to_owned() } else { format!("{count} VMs") };
    let counts: Vec<String> =
        counts.into_iter().map(|(status, count)| format!("{} {}", vms(count), status.name())).collect();
    format!("no value ({})", counts.join(", "))
}

/// The columns of a row with values, except the first.
fn columns(row: &Row) -> [String; 6] {
    let median = Estimate::with_interval(row.median(), row.median_interval());
    let unit = unit_suffix(&row.unit);
    let median_text = match row.median() {
        Some(_) => median.value() + &unit,
        None if median.range("").is_some() => "censored".to_owned(),
        None => "-".to_owned(),
    };
    let mean_text = match (row.mean(), row.mean_withheld()) {
        (Some(mean), _) => median.beside(mean) + &unit,
        (None, Some(_)) => "withheld".to_owned(),
        (None, None) => "-".to_owned(),
    };
    let repetitions = row.repetition_values(Statistic::Median).map(|values| values.len());
    let no_interval = || match repetitions {
        Some(found) if found < repetition::SMALLEST => format!("{found} repetitions"),
        None if row.n() < 6 => "n < 6".to_owned(),
        _ => "-".to_owned(),
    };
    [
        median_text,
        median.range("").unwrap_or_else(no_interval),
        mean_text,
        coefficient_of_variation(&row.values(Statistic::Mean)).map_or_else(|| "-".to_owned(), percent),
        row.n().to_string(),
        row.vms.to_string(),
    ]
}

/// The statistics of a metric in a cell, as `microbench analyze --json` prints them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CellResult {
    pub cell: String,
    pub label: String,
    pub metric: String,
    /// Unit of every value.
    pub unit: String,
    /// `None` if no trial was executed.
    pub host: Option<HostKind>,
    /// Trials with a value.
    pub n: usize,
    /// VMs with a value.
    pub vms: usize,
    /// Median over trials.
    pub median: Option<f64>,
    /// Interval of the median; an end that is not finite is `null`. Order statistics, `None` below 6 trials; with
    /// repetitions the t interval over them, `None` below 3.
    pub median_interval: Option<Interval>,
    /// Mean over trials; `None` if a VM is censored or failed.
    pub mean: Option<f64>,
    /// Standard deviation divided by the mean.
    pub coefficient_of_variation: Option<f64>,
    /// The number of repetitions with a value; absent without repetitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repetitions: Option<usize>,
    /// VMs without a value, by status.
    pub missing: BTreeMap<&'static str, Missing>,
}

/// VMs without a value, of one status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    pub vms: usize,
    /// The reason of the first of them.
    pub reason: String,
}

/// The rows of cells and metrics for which VMs were planned.
#[must_use]
pub fn cell_results(rows: &[Row]) -> Vec<CellResult> {
    let missing = |(status, (vms, reason)): (&Status, &(usize, String))| {
        (status.name(), Missing { vms: *vms, reason: reason.clone() })
    };
    let result = |row: &Row| CellResult {
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
        repetitions: row.repetition_values(Statistic::Median).map(|values| values.len()),
        missing: row.missing.iter().map(missing).collect(),
    };
    rows.iter().filter(|row| row.planned() > 0).map(result).collect()
}
