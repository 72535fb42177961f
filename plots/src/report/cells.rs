//! The samples of each cell: one row for each VM.

use std::collections::BTreeMap;

use microbench_formats::cell::Cell;
use serde::Serialize;

use super::Input;
use super::overview::{console, truncated};
use crate::number::{self, bare_decimals, fixed};
use crate::samples::{Sample, Status, status_and_reason};

/// Largest number of values in the page.
const MOST_VALUES: usize = 60_000;
/// Largest number of cells in the page.
const MOST_CELLS: usize = 500;

#[derive(Serialize)]
pub(super) struct CellSamples {
    id: String,
    label: String,
    summary: String,
    settings: String,
    caption: String,
    heads: Vec<String>,
    rows: Vec<VmRow>,
}

/// The row of one VM.
#[derive(Serialize)]
struct VmRow {
    class: &'static str,
    trial: u32,
    vm: u32,
    state: String,
    values: Vec<String>,
    console: String,
}

/// Sort key of a VM: whether it is uncounted (a warm-up or a retried trial), trial, attempt, VM, whether it is a
/// warm-up.
type Key = (bool, u32, u32, u32, bool);

/// The samples of each cell, and the number of cells that are left out.
pub(super) fn samples(input: &Input<'_>) -> (Vec<CellSamples>, usize) {
    let mut by_cell: BTreeMap<&str, BTreeMap<Key, Vec<&Sample>>> = BTreeMap::new();
    for sample in input.samples {
        let key = (!sample.counts(), sample.trial, sample.attempt, sample.vm, sample.warmup);
        by_cell.entry(&sample.cell).or_default().entry(key).or_default().push(sample);
    }
    let shown_cells = input.plan.cells.iter().take(MOST_CELLS);
    let values = input.plan.metrics.len() * input.plan.cells.len().min(MOST_CELLS);
    let most = (MOST_VALUES / values.max(1)).clamp(10, 2000);
    let digits: BTreeMap<&str, Option<usize>> = (input.plan.metrics.iter())
        .map(|metric| {
            let rows = input.rows.iter().filter(|row| row.metric == metric.name);
            let own: Vec<f64> = rows.flat_map(|row| &row.trials).map(|trial| trial.median).collect();
            (metric.name.as_str(), decimals(&own))
        })
        .collect();
    let empty = BTreeMap::new();
    let cells = shown_cells
        .map(|cell| cell_samples(input, cell, by_cell.get(cell.id.as_str()).unwrap_or(&empty), most, &digits))
        .collect();
    (cells, input.plan.cells.len().saturating_sub(MOST_CELLS))
}

fn cell_samples(
    input: &Input<'_>,
    cell: &Cell,
    vms: &BTreeMap<Key, Vec<&Sample>>,
    most: usize,
    digits: &BTreeMap<&str, Option<usize>>,
) -> CellSamples {
    let incomplete = |samples: &[&Sample]| samples.iter().any(|sample| sample.status != Status::Ok);
    // VMs with missing values are kept first, then the others in order.
    let mut kept: Vec<(&Key, &Vec<&Sample>)> = vms.iter().collect();
    kept.sort_by_key(|(key, samples)| (!incomplete(samples), **key));
    kept.truncate(most);
    kept.sort_by_key(|(key, _)| **key);
    let heads: Vec<String> = (input.plan.metrics.iter())
        .filter(|metric| vms.values().flatten().any(|sample| sample.metric == metric.name))
        .map(|metric| metric.name.clone())
        .collect();
    let unit = |name: &String| match input.plan.metrics.iter().find(|metric| metric.name == *name) {
        Some(metric) if metric.unit != "1" => format!("{name} ({})", metric.unit),
        _ => name.clone(),
    };
    let mut rows: Vec<VmRow> = kept.iter().map(|(key, samples)| vm_row(input, key, samples, &heads, digits)).collect();
    let mut columns: Vec<String> = heads.iter().map(unit).collect();
    if vms.values().flatten().any(|sample| sample.emulated_host.is_some()) {
        columns.insert(0, "Emulated host".to_owned());
        for (row, (_, samples)) in rows.iter_mut().zip(&kept) {
            let number = samples.iter().find_map(|sample| Some(sample.emulated_host.as_ref()?.number.clone()));
            row.values.insert(0, number.unwrap_or_else(|| "–".to_owned()));
        }
    }
    let counted = vms.iter().filter(|(key, _)| !key.0);
    let without = counted.clone().filter(|(_, samples)| incomplete(samples)).count();
    let settings: Vec<String> = cell
        .settings
        .iter()
        .map(|(name, level)| format!("{name} = {level}"))
        .filter(|setting| !setting.ends_with("= "))
        .collect();
    let left_out = vms.len() - kept.len();
    CellSamples {
        id: cell.id.to_string(),
        label: cell.label.to_string(),
        summary: format!("{} VMs counted, {without} of them with missing values", counted.count()),
        settings: settings.join(", "),
        caption: match left_out {
            0 => format!("{} VMs", vms.len()),
            _ => format!("{} of {} VMs; {left_out} more are in samples.csv", kept.len(), vms.len()),
        },
        heads: columns,
        rows,
    }
}

/// The decimals of the values of a metric; `None` if all are whole numbers. The smallest has four significant digits,
/// but the largest at most six.
fn decimals(values: &[f64]) -> Option<usize> {
    let known = || values.iter().copied().filter(|value| value.is_finite());
    if number::are_whole(known()) {
        return None;
    }
    let exponents = known().filter(|value| *value != 0.0).map(|value| value.abs().log10().floor() as i32);
    let (least, most) = (exponents.clone().min().unwrap_or(0), exponents.max().unwrap_or(0));
    Some((3 - least).min(5 - most).clamp(0, 6).unsigned_abs() as usize)
}

/// A value with the decimals of its metric, and at least three significant digits.
fn text(value: f64, decimals: Option<usize>) -> String {
    fixed(value, decimals.map_or(0, |decimals| decimals.max(bare_decimals(value))))
}

fn vm_row(
    input: &Input<'_>,
    &(uncounted, trial, attempt, vm, warmup): &Key,
    samples: &[&Sample],
    heads: &[String],
    digits: &BTreeMap<&str, Option<usize>>,
) -> VmRow {
    let values = heads.iter().map(|name| {
        let digits = digits.get(name.as_str()).copied().unwrap_or_default();
        match samples.iter().find(|sample| sample.metric == *name) {
            None => "–".to_owned(),
            Some(sample) => sample.value.map_or_else(|| sample.status.name().to_owned(), |value| text(value, digits)),
        }
    });
    let mut reasons: Vec<String> = Vec::new();
    for sample in samples.iter().filter(|sample| sample.status != Status::Ok) {
        let reason = status_and_reason(sample.status, &sample.reason);
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    let executed = samples.iter().any(|sample| sample.host.is_some());
    let mut state = match (warmup, uncounted) {
        (true, _) => "warm-up".to_owned(),
        (false, true) => "retried".to_owned(),
        (false, false) if reasons.is_empty() => "ok".to_owned(),
        (false, false) => String::new(),
    };
    if !reasons.is_empty() {
        state = [state, truncated(&reasons.join("; "))]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(": ");
    }
    if attempt > 0 {
        state.push_str(&format!(" (attempt {attempt})"));
    }
    VmRow {
        class: if uncounted {
            "uncounted"
        } else if reasons.is_empty() {
            ""
        } else {
            "incomplete"
        },
        trial,
        vm,
        state,
        values: values.collect(),
        console: if executed { console(input.run, trial, warmup, attempt, vm) } else { String::new() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_metric_have_the_same_decimals_and_keep_three_digits() {
        assert_eq!(decimals(&[110.25, 560.0]), Some(1));
        assert_eq!(decimals(&[1.5, 2.0]), Some(3));
        assert_eq!(decimals(&[120.0, 121.0, f64::INFINITY]), None);
        assert_eq!(decimals(&[]), None);
        let digits = decimals(&[0.0051, 50_000.5]);
        assert_eq!([0.0051, 50_000.5].map(|value| text(value, digits)), ["0.00510", "50000.5"]);
        assert_eq!(text(12_345_678.0, None), "12345678");
    }
}
