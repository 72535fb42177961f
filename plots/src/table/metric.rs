//! One metric: a row for each configuration, a group of columns for each number of VMs at once.

use microbench_formats::axis::Level;
use microbench_formats::cell::Cell;
use microbench_formats::metric::Metric;
use microbench_formats::plan::Plan;

use super::{Cell as TableCell, Column, Table, decimals_of, host, sentence};
use crate::figure::cells::{named, note};
use crate::samples::{Status, said};
use crate::stats::median::MEDIAN_INTERVAL_FROM;
use crate::summary::Row;

/// The axis whose levels stand side by side.
const ACROSS: &str = "concurrency";
/// More levels than these make rows.
const MOST_ACROSS: usize = 3;
/// Characters of a reason in a footnote.
const REASON: usize = 200;

/// The table of `metric`; `None` when no cell was to be measured on it.
pub(super) fn table(plan: &Plan, rows: &[Row], metric: &Metric) -> Option<Table> {
    let own: Vec<&Row> = rows.iter().filter(|row| row.metric == metric.name && row.planned() > 0).collect();
    let first = own.first()?;
    let levels = across(plan);
    let down: Vec<&str> = down(plan, levels.is_some());
    let intervals = own.iter().any(|row| row.n() >= MEDIAN_INTERVAL_FROM);
    let (low, high) = if intervals { ("low", "high") } else { ("least", "most") };
    let ns: Vec<usize> = own.iter().map(|row| row.n()).filter(|n| *n > 0).collect();
    let same_n = ns.iter().all(|n| Some(n) == ns.first());

    let mut table = Table {
        name: format!("metric-{}", metric.name),
        title: format!("{}: medians over trials", metric.label),
        long: false,
        columns: down.iter().map(|axis| Column::words(&capital(axis))).collect(),
        rows: Vec::new(),
        notes: Vec::new(),
        footnotes: Vec::new(),
    };
    // Where all trials of a group are as many, its heading says so, else a column.
    let mut with_n = Vec::new();
    for level in groups(&levels) {
        let mut group = level.map_or(String::new(), |level| named(plan, ACROSS, level));
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
    let digits = decimals_of(&own);
    let mut keys: Vec<Vec<Level>> = Vec::new();
    for cell in &plan.cells {
        let key: Vec<Level> = down.iter().filter_map(|axis| cell.levels.get(axis).cloned()).collect();
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    for key in keys {
        let mut line: Vec<TableCell> =
            down.iter().zip(&key).map(|(axis, level)| TableCell::Words(word(plan, axis, level))).collect();
        for (level, with_n) in groups(&levels).into_iter().zip(&with_n) {
            let cell = plan.cells.iter().find(|cell| {
                down.iter().zip(&key).all(|(axis, level)| cell.levels.get(axis) == Some(level))
                    && level.is_none_or(|level| cell.levels.get(ACROSS) == Some(level))
            });
            let row = cell.and_then(|cell| own.iter().find(|row| row.cell == cell.id));
            let mark = row.and_then(|row| mark(&mut table, row));
            line.extend(numbers(row.copied(), digits, mark, intervals));
            if *with_n {
                line.push(TableCell::count(row.map_or(0, |row| row.n())));
            }
        }
        table.rows.push(line);
    }
    table.notes = vec![
        format!("{}: {}", metric.label, sentence(&metric.definition)),
        "Medians over trials; a trial of several VMs counts as the median of its VMs.".to_owned(),
        if intervals {
            "Low and high: 95 % order-statistic interval of the median, from 6 trials on.".to_owned()
        } else {
            "Least and most: the range of the trials; below 6 trials the median has no 95 % interval.".to_owned()
        },
    ];
    match ns.first() {
        None => table.notes.push("Nothing was measured.".to_owned()),
        Some(1) if same_n => table.notes.push("n = 1 trial each.".to_owned()),
        Some(n) if same_n => table.notes.push(format!("n = {n} trials each.")),
        Some(_) => table.notes.push("n: trials.".to_owned()),
    }
    table.notes.push(host(own.iter().find_map(|row| row.host)));
    Some(table)
}

/// The levels that stand side by side, when they are few.
fn across(plan: &Plan) -> Option<Vec<Level>> {
    let axis = plan.axes.iter().find(|axis| axis.name == ACROSS)?;
    (2..=MOST_ACROSS).contains(&axis.levels.len()).then(|| axis.levels.clone())
}

/// The axes that make the rows: all that have several levels.
fn down(plan: &Plan, across: bool) -> Vec<&str> {
    let own = |name: &str| !(across && name == ACROSS);
    let axes = plan.axes.iter().filter(|axis| own(&axis.name));
    let several: Vec<&str> = axes.filter(|axis| axis.levels.len() > 1).map(|axis| axis.name.as_str()).collect();
    if several.is_empty() { vec!["variant"] } else { several }
}

fn groups(levels: &Option<Vec<Level>>) -> Vec<Option<&Level>> {
    levels.as_ref().map_or(vec![None], |levels| levels.iter().map(Some).collect())
}

fn word(plan: &Plan, axis: &str, level: &Level) -> String {
    match axis {
        "variant" => named(plan, axis, level),
        _ => level.to_string(),
    }
}

/// An axis' name as a heading.
fn capital(axis: &str) -> String {
    match axis {
        "rootfs" => return "Root file system".into(),
        ACROSS => return "VMs at once".into(),
        "memory_mib" => return "Memory of a guest (MiB)".into(),
        _ => {}
    }
    let words = axis.replace('_', " ");
    let mut characters = words.chars();
    characters.next().map_or(String::new(), |first| first.to_uppercase().chain(characters).collect())
}

/// The footnote on what is missing of a row.
pub(super) fn mark(table: &mut Table, row: &Row) -> Option<usize> {
    let why = |(status, (count, reason)): (&Status, &(usize, String))| {
        let reason: String = said(*status, reason).chars().take(REASON).collect();
        if *count == row.planned() { reason } else { format!("{count} of {} VMs {reason}", row.planned()) }
    };
    let words = row.missing.iter().map(why).collect::<Vec<_>>().join("; ");
    (!words.is_empty()).then(|| table.footnote(words))
}

/// Median and the two ends of its interval, or of the range.
fn numbers(row: Option<&Row>, digits: usize, mark: Option<usize>, intervals: bool) -> [TableCell; 3] {
    let Some(row) = row else { return ["excluded"; 3].map(TableCell::missing) };
    let Some(median) = row.median() else {
        let words = note(&[row]);
        return [(words.as_str(), mark), ("-", mark), ("-", mark)]
            .map(|(words, mark)| TableCell::Missing { words: words.into(), mark });
    };
    let ends = match (intervals, row.median_interval()) {
        (true, None) => return [TableCell::Number { value: median, decimals: digits, mark }, few(row), few(row)],
        (true, Some(interval)) => [interval.low, interval.high],
        (false, _) => {
            let values = row.finite(microbench_formats::statistic::Statistic::Median);
            [
                values.iter().copied().fold(f64::INFINITY, f64::min),
                values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ]
        }
    };
    let end =
        |value: f64| if value.is_finite() { TableCell::number(value, digits) } else { TableCell::missing("censored") };
    [TableCell::Number { value: median, decimals: digits, mark }, end(ends[0]), end(ends[1])]
}

/// In place of an end of an interval.
pub(super) fn few(row: &Row) -> TableCell {
    if row.n() < MEDIAN_INTERVAL_FROM { TableCell::missing("n < 6") } else { TableCell::missing("censored") }
}
