//! One row for each cell and metric. The unit of analysis is the trial: VMs that ran together are not independent, so a cell
//! with more than one VM a trial is summarised over its trials' medians (for the median) and means (for the mean).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use polars::prelude::{Column, DataFrame, NamedFrom, Series};
use polars_io::SerWriter;
use polars_io::prelude::CsvWriter;

use crate::Error;
use crate::file::write;
use crate::record::{HostKind, Plan, ProbeError};
use crate::samples::{Sample, Status, said};
use crate::stats::mean::{coefficient_of_variation, mean, standard_deviation};
use crate::stats::median::{Interval, interval, median};
use crate::terminal::{table, wrapped};

/// Confidence that intervals have at least.
pub const LEVEL: f64 = 0.95;

/// A cell's metric, summarised.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// [`crate::record::Cell::id`].
    pub cell: String,
    /// The cell's label.
    pub label: String,
    /// [`crate::record::Metric::name`].
    pub metric: String,
    /// Unit of every value here.
    pub unit: String,
    /// Where it executed; `None` when nothing did.
    pub host: Option<HostKind>,
    /// Each trial's value: the median over its VMs, in trial order.
    pub medians: Vec<f64>,
    /// Each trial's value: the mean over its VMs, in trial order.
    pub means: Vec<f64>,
    /// VMs with a value.
    pub vms: usize,
    /// VMs without one, by status, with the first reason of each.
    pub missing: BTreeMap<Status, (usize, String)>,
}

impl Row {
    /// Units of analysis: trials with a value.
    #[must_use]
    pub fn n(&self) -> usize {
        self.medians.len()
    }

    /// Median over trials.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        median(&self.medians)
    }

    /// Interval of the median; `None` below 6 trials.
    #[must_use]
    pub fn median_interval(&self) -> Option<Interval> {
        interval(&self.medians, LEVEL)
    }

    /// Mean over trials.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        mean(&self.means)
    }

    /// VMs that were planned for it.
    #[must_use]
    pub fn planned(&self) -> usize {
        self.vms + self.missing.values().map(|(count, _)| count).sum::<usize>()
    }
}

/// Summarises every cell and metric of the plan, in plan order.
#[must_use]
pub fn summarise(plan: &Plan, samples: &[Sample]) -> Vec<Row> {
    let mut by_key: BTreeMap<(&str, &str), Vec<&Sample>> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| !sample.warmup) {
        by_key.entry((&sample.cell, &sample.metric)).or_default().push(sample);
    }
    let mut rows = Vec::new();
    for cell in &plan.cells {
        for metric in &plan.metrics {
            let samples = by_key.get(&(cell.id.as_str(), metric.name.as_str())).map_or(&[][..], Vec::as_slice);
            let mut trials: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
            let mut missing: BTreeMap<Status, (usize, String)> = BTreeMap::new();
            for sample in samples {
                match sample.value {
                    Some(value) => trials.entry(sample.trial).or_default().push(value),
                    None => missing.entry(sample.status).or_insert_with(|| (0, sample.reason.clone())).0 += 1,
                }
            }
            rows.push(Row {
                cell: cell.id.clone(),
                label: cell.label.clone(),
                metric: metric.name.clone(),
                unit: metric.unit.clone(),
                host: samples.iter().find_map(|sample| sample.host),
                medians: trials.values().filter_map(|values| median(values)).collect(),
                means: trials.values().filter_map(|values| mean(values)).collect(),
                vms: trials.values().map(Vec::len).sum(),
                missing,
            });
        }
    }
    rows
}

/// Writes `summary.csv` into `run`.
///
/// # Errors
/// When the file cannot be written.
pub fn save(run: &Path, rows: &[Row]) -> Result<(), Error> {
    let path = run.join("summary.csv");
    let text = |name: &str, of: &dyn Fn(&Row) -> String| -> Column {
        Series::new(name.into(), rows.iter().map(of).collect::<Vec<_>>()).into()
    };
    let count = |name: &str, of: &dyn Fn(&Row) -> usize| -> Column {
        Series::new(name.into(), rows.iter().map(|row| of(row) as u64).collect::<Vec<_>>()).into()
    };
    let number = |name: &str, of: &dyn Fn(&Row) -> Option<f64>| -> Column {
        Series::new(name.into(), rows.iter().map(of).collect::<Vec<_>>()).into()
    };
    let missing = |row: &Row, status: Status| row.missing.get(&status).map_or(0, |(count, _)| *count);
    let columns = vec![
        text("cell", &|row| row.cell.clone()),
        text("label", &|row| row.label.clone()),
        text("metric", &|row| row.metric.clone()),
        text("unit", &|row| row.unit.clone()),
        text("host", &|row| row.host.map(|host| host.to_string()).unwrap_or_default()),
        count("n_trials", &Row::n),
        count("n_vms", &|row| row.vms),
        number("median", &Row::median),
        number("median_low", &|row| row.median_interval().map(|i| i.low)),
        number("median_high", &|row| row.median_interval().map(|i| i.high)),
        number("median_level", &|row| row.median_interval().map(|i| i.level)),
        number("mean", &Row::mean),
        number("standard_deviation", &|row| standard_deviation(&row.means)),
        number("coefficient_of_variation", &|row| coefficient_of_variation(&row.means)),
        number("min", &|row| row.medians.iter().copied().reduce(f64::min)),
        number("max", &|row| row.medians.iter().copied().reduce(f64::max)),
        count("failed", &|row| missing(row, Status::Failed)),
        count("not_applicable", &|row| missing(row, Status::NotApplicable)),
        count("not_available", &|row| missing(row, Status::NotAvailable)),
        count("not_run", &|row| missing(row, Status::NotRun)),
        text("reasons", &|row| {
            row.missing
                .iter()
                .map(|(status, (_, why))| format!("{}: {why}", status.text()))
                .collect::<Vec<_>>()
                .join("; ")
        }),
    ];
    let refused = |source| Error::Table { path: path.clone(), source };
    let mut table = DataFrame::new(rows.len(), columns).map_err(refused)?;
    let mut bytes = Vec::new();
    CsvWriter::new(&mut bytes).with_float_precision(Some(6)).finish(&mut table).map_err(refused)?;
    write(&path, &bytes)
}

/// The summary as aligned text for a terminal: the host, one line for each cell and metric, what each metric is.
#[must_use]
pub fn text(plan: &Plan, rows: &[Row], probe_errors: &[ProbeError]) -> String {
    let header = ["cell", "metric", "median", "95 % interval", "mean", "cv", "trials", "VMs", "missing"];
    let show = |value: Option<f64>, unit: &str| match value {
        Some(value) if unit == "1" => format!("{value:.1}"),
        Some(value) => format!("{value:.2} {unit}"),
        None => "-".to_owned(),
    };
    let mut lines = vec![header.map(str::to_owned)];
    for row in rows.iter().filter(|row| row.planned() > 0) {
        let whole = refused(rows, row);
        if whole.is_some_and(|first| first.metric != row.metric) {
            continue;
        }
        let missing: Vec<String> =
            row.missing.iter().map(|(status, (count, _))| format!("{count} {}", status.text())).collect();
        lines.push([
            row.cell.clone(),
            if whole.is_some() { "every metric".to_owned() } else { row.metric.clone() },
            show(row.median(), &row.unit),
            row.median_interval().map_or_else(
                || if row.n() < 6 { "n < 6".to_owned() } else { "-".to_owned() },
                |i| format!("{:.2} to {:.2}", i.low, i.high),
            ),
            show(row.mean(), &row.unit),
            coefficient_of_variation(&row.means).map_or_else(|| "-".to_owned(), |cv| format!("{:.2} %", cv * 100.0)),
            row.n().to_string(),
            row.vms.to_string(),
            missing.join(", "),
        ]);
    }
    let mut out = String::new();
    if let Some(host) = rows.iter().find_map(|row| row.host) {
        let _ = writeln!(out, "host: {}", host.note());
    }
    if let Some(worst) = probe_errors.iter().max_by(|a, b| a.max_ms.total_cmp(&b.max_ms)) {
        let _ = writeln!(
            out,
            "probe: late by {:.3} ms (median), {:.3} ms at most, of {} fake guests at the start of the session",
            worst.median_ms, worst.max_ms, worst.n
        );
    }
    out.push_str(
        "n is the number of trials; a trial's value is the median (for the mean: the mean) over its VMs;\n\
         interval of the median: order statistics, from 6 trials on; cv: standard deviation / mean\n\n",
    );
    out.push_str(&table(lines, 2..8));
    out.push('\n');
    let reasons = reasons(rows);
    for (reason, places) in &reasons {
        let places: Vec<String> = places
            .iter()
            .map(|(metric, cells)| match *metric {
                "" => cells.join(", "),
                _ => format!("{metric} of {}", cells.join(", ")),
            })
            .collect();
        let _ = writeln!(out, "{}", wrapped(&format!("{}: {reason}", places.join("; ")), 4));
    }
    if !reasons.is_empty() {
        out.push('\n');
    }
    for metric in &plan.metrics {
        let _ = writeln!(out, "{}", wrapped(&format!("{}: {}", metric.name, metric.definition), 4));
    }
    out
}

/// The first row of `row`'s cell, when none of its rows has a value and all for the same reason: one line stands for them.
fn refused<'a>(rows: &'a [Row], row: &Row) -> Option<&'a Row> {
    let mut all = rows.iter().filter(|other| other.cell == row.cell && other.planned() > 0);
    let first = all.next()?;
    let reason =
        |row: &Row| row.missing.iter().map(|(status, (_, reason))| (*status, reason.clone())).collect::<Vec<_>>();
    let same = |other: &Row| other.n() == 0 && reason(other) == reason(first);
    (same(first) && all.all(same)).then_some(first)
}

/// Every reason for which values are missing, with the cells of each metric; the metric is empty where it is every metric's.
fn reasons(rows: &[Row]) -> Vec<(String, BTreeMap<&str, Vec<&str>>)> {
    let mut all: Vec<(String, BTreeMap<&str, Vec<&str>>)> = Vec::new();
    for row in rows {
        let metric = if refused(rows, row).is_some() { "" } else { &row.metric };
        for (status, (_, reason)) in &row.missing {
            let reason = said(*status, reason);
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
