//! The table of one metric: a row for each configuration, a group of columns for each number of VMs.

use microbench_formats::axis::Level;
use microbench_formats::cell::Cell;
use microbench_formats::describe::capitalised;
use microbench_formats::metric::Metric;
use microbench_formats::plan::Plan;
use microbench_formats::statistic::Statistic;

use super::{Cell as TableCell, Column, REPEATED, Table, definition_sentence, host_sentence};
use crate::definition::definition;
use crate::figure::cells::{level_label, missing_note};
use crate::host_cpu;
use crate::number::Estimate;
use crate::samples::{Status, status_and_reason};
use crate::stats::median::MEDIAN_INTERVAL_FROM;
use crate::summary::Row;

/// The axis whose levels are groups of columns.
const ACROSS: &str = "concurrency";
/// With more levels than this, the axis makes rows instead.
const MOST_ACROSS: usize = 3;
/// Largest number of characters of a reason in a footnote.
const REASON: usize = 200;

/// The table of `metric`; `None` if no cell was planned for it.
pub(super) fn table(plan: &Plan, rows: &[Row], metric: &Metric) -> Option<Table> {
    let own: Vec<&Row> = rows.iter().filter(|row| row.metric == metric.name && row.planned() > 0).collect();
    let first = own.first()?;
    let levels = column_levels(plan);
    let down: Vec<&str> = row_axes(plan, levels.is_some());
    let intervals = own.iter().any(|row| row.n() >= MEDIAN_INTERVAL_FROM);
    let (low, high) = if intervals { ("low", "high") } else { ("least", "most") };
    let ns: Vec<usize> = own.iter().map(|row| row.n()).filter(|n| *n > 0).collect();
    let same_n = ns.iter().all(|n| Some(n) == ns.first());

    let mut table = Table {
        name: format!("metric-{}", metric.name),
        title: format!("{}: medians over trials", metric.label),
        long: false,
        columns: down.iter().map(|axis| Column::text(&axis_heading(axis))).collect(),
        rows: Vec::new(),
        notes: Vec::new(),
        footnotes: Vec::new(),
    };
    // If all cells of a group have the same n, its heading contains n; otherwise the group has a column for n.
    let mut with_n = Vec::new();
    for level in groups(&levels) {
        let mut group = level.map_or(String::new(), |level| level_label(plan, ACROSS, level));
        let at_level = |cell: &&Cell| level.is_none_or(|level| cell.levels.get(ACROSS) == Some(level));
        let cells: Vec<&str> = plan.cells.iter().filter(at_level).map(|cell| cell.id.as_str()).collect();
        let ns: Vec<usize> =
            own.iter().filter(|row| cells.contains(&row.cell.as_str())).map(|row| row.n()).filter(|n| *n > 0).collect();
        let differ = ns.iter().any(|n| Some(n) != ns.first());
        match ns.first() {
            Some(n) if !differ && !same_n => group.push_str(&format!(", n = {n}")),
            _ => {}
        }
        table.columns.push(Column::numbers(&group, "median", &first.unit));
        table.columns.push(Column::numbers(&group, low, &first.unit));
        table.columns.push(Column::numbers(&group, high, &first.unit));
        if differ {
            table.columns.push(Column::numbers(&group, "n", ""));
        }
        with_n.push(differ);
    }
    let is_whole = super::are_whole(&own);
    let mut keys: Vec<Vec<Level>> = Vec::new();
    for cell in &plan.cells {
        let key: Vec<Level> = down.iter().filter_map(|axis| cell.levels.get(axis).cloned()).collect();
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    for key in keys {
        let mut line: Vec<TableCell> =
            down.iter().zip(&key).map(|(axis, level)| TableCell::Text(level_text(plan, axis, level))).collect();
        for (level, with_n) in groups(&levels).into_iter().zip(&with_n) {
            let cell = plan.cells.iter().find(|cell| {
                down.iter().zip(&key).all(|(axis, level)| cell.levels.get(axis) == Some(level))
                    && level.is_none_or(|level| cell.levels.get(ACROSS) == Some(level))
            });
            let row = cell.and_then(|cell| own.iter().find(|row| row.cell == cell.id));
            let mark = row.and_then(|row| missing_footnote(&mut table, row));
            line.extend(match (cell, row) {
                (_, Some(row)) => median_cells(row, is_whole, mark, intervals),
                (Some(_), None) => ["not planned"; 3].map(TableCell::missing),
                (None, None) => ["excluded"; 3].map(TableCell::missing),
            });
            if *with_n {
                line.push(TableCell::count(row.map_or(0, |row| row.n())));
            }
        }
        table.rows.push(line);
    }
    table.notes = vec![
        format!("{}: {}", metric.label, definition_sentence(definition(metric))),
        "Medians over trials; a trial of several VMs counts as the median of its VMs.".to_owned(),
        if intervals && rows.iter().any(Row::is_repeated) {
            REPEATED.to_owned()
        } else if intervals {
            "Low and high: 95 % order-statistic interval of the median, from 6 trials on.".to_owned()
        } else {
            "Least and most: the range over trials; below 6 trials the median has no 95 % interval.".to_owned()
        },
    ];
    match ns.first() {
        None => table.notes.push("No values were measured.".to_owned()),
        Some(1) if same_n => table.notes.push("n = 1 trial each.".to_owned()),
        Some(n) if same_n => table.notes.push(format!("n = {n} trials each.")),
        Some(_) => table.notes.push("n: number of trials.".to_owned()),
    }
    let host = own.iter().find_map(|row| row.host);
    table.notes.push(host_sentence(host));
    let has_row = |cell: &&Cell| own.iter().any(|row| row.cell == cell.id);
    table.notes.extend(host_cpu::sentence(host, plan.cells.iter().filter(has_row)));
    Some(table)
}

/// The levels that make groups of columns; `None` if there is only one level, or too many.
fn column_levels(plan: &Plan) -> Option<Vec<Level>> {
    let axis = plan.axes.iter().find(|axis| axis.name == ACROSS)?;
    (2..=MOST_ACROSS).contains(&axis.levels.len()).then(|| axis.levels.clone())
}

/// The axes that make the rows: all others with several levels.
fn row_axes(plan: &Plan, across: bool) -> Vec<&str> {
    let own = |name: &str| !(across && name == ACROSS);
    let axes = plan.axes.iter().filter(|axis| own(&axis.name));
    let several: Vec<&str> = axes.filter(|axis| axis.levels.len() > 1).map(|axis| axis.name.as_str()).collect();
    if several.is_empty() { vec!["variant"] } else { several }
}

fn groups(levels: &Option<Vec<Level>>) -> Vec<Option<&Level>> {
    levels.as_ref().map_or(vec![None], |levels| levels.iter().map(Some).collect())
}

/// Text of a level in the first columns of a row.
fn level_text(plan: &Plan, axis: &str, level: &Level) -> String {
    match axis {
        "variant" => level_label(plan, axis, level),
        _ => level.to_string(),
    }
}

/// The heading of a column of levels.
fn axis_heading(axis: &str) -> String {
    match axis {
        "rootfs" => return "Root file system".into(),
        ACROSS => return "VMs at once".into(),
        "memory_mib" => return "Guest memory (MiB)".into(),
        _ => {}
    }
    capitalised(&axis.replace('_', " "))
}

/// Index of the footnote on the missing values of a row; `None` if no value is missing.
pub(super) fn missing_footnote(table: &mut Table, row: &Row) -> Option<usize> {
    let why = |(status, (count, reason)): (&Status, &(usize, String))| {
        let reason: String = status_and_reason(*status, reason).chars().take(REASON).collect();
        if *count == row.planned() { reason } else { format!("{count} of {} VMs {reason}", row.planned()) }
    };
    let text = row.missing.iter().map(why).collect::<Vec<_>>().join("; ");
    (!text.is_empty()).then(|| table.footnote(text))
}

/// Median, and the ends of its interval or of the range over trials.
fn median_cells(row: &Row, is_whole: bool, mark: Option<usize>, intervals: bool) -> [TableCell; 3] {
    let Some(median) = row.median() else {
        let note = missing_note(&[row]);
        return [note.as_str(), "-", "-"].map(|text| TableCell::Missing { text: text.into(), mark });
    };
    if intervals {
        return median_with_interval(row, is_whole, mark);
    }
    let values = row.finite(Statistic::Median);
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let [median, least, most] = [median, least, most].map(|value| TableCell::bare(value, is_whole));
    [median.with_mark(mark), least, most]
}

/// Median and the ends of its interval.
pub(super) fn median_with_interval(row: &Row, is_whole: bool, mark: Option<usize>) -> [TableCell; 3] {
    let estimate = Estimate::with_interval(row.median(), row.median_interval());
    let median = match (row.median(), estimate.ends()) {
        (None, Some(_)) => TableCell::missing("censored"),
        (None, None) => TableCell::missing("-"),
        (Some(median), None) => TableCell::bare(median, is_whole),
        (Some(median), Some(_)) => TableCell::number(median, estimate.decimals()),
    };
    let [low, high] = TableCell::ends(estimate, || match row.n() {
        0 => TableCell::Missing { text: "-".into(), mark },
        _ => missing_bound(row),
    });
    [median.with_mark(mark), low, high]
}

/// The cell of an interval's end that does not exist or is not finite.
pub(super) fn missing_bound(row: &Row) -> TableCell {
    if row.n() < MEDIAN_INTERVAL_FROM { TableCell::missing("n < 6") } else { TableCell::missing("censored") }
}
