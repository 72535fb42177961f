//! Why values are missing: one entry for each reason, with the VMs, metrics and cells that it concerns.

use microbench_formats::terminal::printable_char;
use std::collections::BTreeMap;

use super::Row;
use crate::samples::status_and_reason;

/// Characters of a reason that a terminal shows at most.
const MAX_REASON: usize = 320;
/// Cells that the description of a reason names at most.
const MAX_CELLS: usize = 6;

/// The first row of `row`'s cell if every metric of the cell is missing for the same reason; such a cell is one line.
pub(crate) fn first_row_without_values<'a>(rows: &'a [Row], row: &Row) -> Option<&'a Row> {
    let mut all = rows.iter().filter(|other| other.cell == row.cell && other.planned() > 0);
    let first = all.next()?;
    let reason =
        |row: &Row| row.missing.iter().map(|(status, (_, reason))| (*status, reason.clone())).collect::<Vec<_>>();
    let same = |other: &Row| other.n() == 0 && reason(other) == reason(first);
    (same(first) && all.all(same)).then_some(first)
}

/// Every reason for which values are missing, with the cells of each metric; the metric is empty where the reason
/// concerns every metric.
pub(crate) fn missing_by_reason(rows: &[Row]) -> Vec<(String, BTreeMap<&str, Vec<&str>>)> {
    let mut all: Vec<(String, BTreeMap<&str, Vec<&str>>)> = Vec::new();
    for row in rows {
        let metric = if first_row_without_values(rows, row).is_some() { "" } else { &row.metric };
        for (status, (_, reason)) in &row.missing {
            let reason = status_and_reason(*status, reason);
            let at = all.iter().position(|(known, _)| *known == reason).unwrap_or_else(|| {
                all.push((reason, BTreeMap::new()));
                all.len() - 1
            });
            let cells = all[at].1.entry(metric).or_default();
            if cells.last() != Some(&row.cell.as_str()) {
                cells.push(&row.cell);
            }
        }
    }
    all
}

/// One line for each reason: `not-available: no such counter (20 VMs: page_faults of fc/10, fc/20)`.
pub(super) fn describe_missing(rows: &[Row]) -> Vec<String> {
    let describe = |(reason, places): (String, BTreeMap<&str, Vec<&str>>)| {
        let vms = vms_with_reason(rows, &reason);
        let s = if vms == 1 { "" } else { "s" };
        format!("{} ({vms} VM{s}: {})", printable(&reason, MAX_REASON), describe_places(&places))
    };
    missing_by_reason(rows).into_iter().map(describe).collect()
}

/// VMs without a value for `reason`. A VM that misses several metrics counts once.
fn vms_with_reason(rows: &[Row], reason: &str) -> usize {
    let mut by_cell: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        for (status, (count, own)) in &row.missing {
            if status_and_reason(*status, own) == reason {
                let most = by_cell.entry(&row.cell).or_default();
                *most = (*most).max(*count);
            }
        }
    }
    by_cell.values().sum()
}

/// Metrics and cells; metrics with the same cells are named together.
fn describe_places(places: &BTreeMap<&str, Vec<&str>>) -> String {
    let mut groups: Vec<(&Vec<&str>, Vec<&str>)> = Vec::new();
    for (metric, cells) in places {
        match groups.iter_mut().find(|(known, _)| *known == cells) {
            Some((_, metrics)) => metrics.push(metric),
            None => groups.push((cells, vec![metric])),
        }
    }
    let cells = |cells: &[&str]| match cells.len().saturating_sub(MAX_CELLS) {
        0 => cells.join(", "),
        more => format!("{} and {more} more cells", cells[..MAX_CELLS].join(", ")),
    };
    let describe = |(own, metrics): &(&Vec<&str>, Vec<&str>)| match metrics.as_slice() {
        [""] => format!("every metric of {}", cells(own)),
        _ => format!("{} of {}", metrics.join(", "), cells(own)),
    };
    groups.iter().map(describe).collect::<Vec<_>>().join("; ")
}

/// The first `limit` characters of `text` without control characters: a reason may contain output of a guest, which
/// must not control the terminal.
pub(crate) fn printable(text: &str, limit: usize) -> String {
    text.chars().take(limit).map(printable_char).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::Status;

    #[test]
    fn a_reason_shared_by_many_cells_is_one_line_with_the_number_of_vms() {
        let row = |cell: String, metric: &str, vms: usize| Row {
            cell,
            metric: metric.into(),
            unit: "ms".into(),
            missing: BTreeMap::from([(Status::Failed, (vms, "exited\u{1b}[2J".into()))]),
            ..Row::default()
        };
        let rows: Vec<Row> =
            (0..8).flat_map(|n| ["boot", "startup"].map(|metric| row(format!("fc/{n}"), metric, 20))).collect();
        assert_eq!(
            describe_missing(&rows),
            ["failed: exited [2J (160 VMs: every metric of fc/0, fc/1, fc/2, fc/3, fc/4, fc/5 and 2 more cells)"]
        );
    }
}
