//! Sequences: every trial's value of one cell and metric over the execution order, on request and not from the manifest.
//!
//! They show what a summary hides: drift, outliers, what a warm-up did, where values are missing.

use std::collections::BTreeMap;

use microbench_formats::cell::Cell;
use microbench_formats::figure::{Column, Theme};
use microbench_formats::metric::Metric;

use super::cells;
use super::description::{Chart, Data, Description, Entry, Key};
use crate::Error;
use crate::samples::{Sample, Status, said};
use crate::stats::median::median;

/// Values over the execution order.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    /// Label of the y axis, with the unit.
    pub y_label: String,
    /// In execution order.
    pub points: Vec<Point>,
    /// Median of the points that count.
    pub median: Option<f64>,
}

/// One execution of the cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Position in the execution order of the run, from 1; a warm-up stands half a position before the trial that it precedes.
    pub at: f64,
    /// Median over its VMs; `None` when none has a value.
    pub value: Option<f64>,
    /// What it counts for.
    pub kind: Kind,
}

/// What an execution counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A trial, all of whose VMs have a value.
    Counted,
    /// A warm-up: in no statistic.
    Warmup,
    /// Something disturbed it: in no statistic, run again.
    Disturbed,
    /// A trial, some of whose VMs have no value.
    Incomplete,
    /// An execution without a value.
    Missing,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Counted, Self::Warmup, Self::Disturbed, Self::Incomplete, Self::Missing];

    fn words(self) -> &'static str {
        match self {
            Self::Counted => "trial",
            Self::Warmup => "warm-up, not counted",
            Self::Disturbed => "disturbed, not counted",
            Self::Incomplete => "trial in which VMs have no value",
            Self::Missing => "no value",
        }
    }
}

/// Describes a sequence of each of the plan's metrics that `cell` has.
///
/// # Errors
/// When the plan has no such cell; the message lists those that it has.
pub fn describe(data: Data<'_>, cell: &str, theme: Theme) -> Result<Vec<Description>, Error> {
    let found = data.plan.cells.iter().find(|known| known.id == cell).ok_or_else(|| {
        let cells: Vec<&str> = data.plan.cells.iter().map(|cell| cell.id.as_str()).collect();
        let problem = format!("the study has no cell `{cell}`; it has {}", cells.join(", "));
        Error::Figure { name: "sequence".into(), problem }
    })?;
    Ok(data.plan.metrics.iter().filter_map(|metric| one(data, found, metric, theme)).collect())
}

/// `None` when the cell is not measured on the metric.
fn one(data: Data<'_>, cell: &Cell, metric: &Metric, theme: Theme) -> Option<Description> {
    let samples: Vec<&Sample> =
        data.samples.iter().filter(|sample| sample.cell == cell.id && sample.metric == metric.name).collect();
    if samples.is_empty() {
        return None;
    }
    let points = points(&samples);
    let counted: Vec<f64> = points.iter().filter(|point| counts(point.kind)).filter_map(|point| point.value).collect();
    let host = samples.iter().find_map(|sample| sample.host);
    let here = |kind: &Kind| points.iter().any(|point| point.kind == *kind);
    let entry = |kind: Kind| Entry { label: kind.words().into(), key: Key::Point(kind) };
    let mut legend: Vec<Entry> = Kind::ALL.into_iter().filter(here).map(entry).collect();
    let median = median(&counted);
    legend.extend(median.map(|_| Entry { label: "median".into(), key: Key::Line }));
    Some(Description {
        name: format!("sequence-{}-{}", cell.id.replace('/', "--"), metric.name),
        title: format!("{}: {}", cell.id, metric.label),
        theme,
        column: Column::Double,
        legend,
        caption: caption(cell, metric, &samples, counted.len(), data),
        chart: Chart::Sequence(Sequence {
            y_label: format!("{}{}", metric.label, cells::unit(metric, host)),
            points,
            median,
        }),
    })
}

fn counts(kind: Kind) -> bool {
    matches!(kind, Kind::Counted | Kind::Incomplete)
}

/// One point an execution, in execution order.
fn points(samples: &[&Sample]) -> Vec<Point> {
    let mut executions: BTreeMap<(u32, bool, u32), Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        executions.entry((sample.trial, !sample.warmup, sample.attempt)).or_default().push(sample);
    }
    let point = |((trial, counted, _), vms): ((u32, bool, u32), Vec<&Sample>)| {
        let values: Vec<f64> = vms.iter().filter_map(|sample| sample.value).collect();
        let disturbed = vms.iter().any(|sample| sample.status == Status::Invalid);
        let kind = match (counted, values.len()) {
            (_, 0) => Kind::Missing,
            (true, _) if disturbed => Kind::Disturbed,
            (false, _) => Kind::Warmup,
            (true, some) if some < vms.len() => Kind::Incomplete,
            (true, _) => Kind::Counted,
        };
        Point { at: f64::from(trial) + if counted { 1.0 } else { 0.5 }, value: median(&values), kind }
    };
    executions.into_iter().map(point).collect()
}

fn caption(cell: &Cell, metric: &Metric, samples: &[&Sample], n: usize, data: Data<'_>) -> String {
    let several =
        if cell.concurrency > 1 { format!(" (median over its {} VMs)", cell.concurrency) } else { String::new() };
    let mut missing: BTreeMap<(Status, &str), usize> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.value.is_none()) {
        *missing.entry((sample.status, &sample.reason)).or_default() += 1;
    }
    let missing: Vec<String> =
        missing.iter().map(|((status, why), count)| format!("{count} {}", said(*status, why))).collect();
    let missing = if missing.is_empty() {
        String::new()
    } else {
        format!(" VMs without a value: {}.", missing.join("; ").trim_end_matches('.'))
    };
    let definition = metric.definition.trim_end_matches('.').replace('`', "");
    let host = samples.iter().find_map(|sample| sample.host);
    let host = host.map_or_else(String::new, |host| format!(" Host: {}.", host.note()));
    format!(
        "Points: {} of cell {}, each trial's value{several}, over its position among all {} trials of the run, which alternate \
         between cells; a warm-up, of one VM, stands before the trial that it precedes, and what has no value at the foot. The y \
         axis need not begin at zero. n = {n} {}.{missing} {}: {definition}.{host}",
        metric.label,
        cell.id,
        data.plan.trials.len(),
        cells::plural(n, "trial"),
        metric.label,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::example;

    fn sample(trial: u32, vm: u32, warmup: bool, value: Option<f64>) -> Sample {
        let status = if value.is_some() { Status::Ok } else { Status::Failed };
        Sample { warmup, status, ..example(trial, vm, "m", value) }
    }

    #[test]
    fn executions_stand_in_their_order_by_what_they_count_for() {
        let samples = [
            sample(7, 0, false, Some(4.0)),
            sample(7, 1, false, None),
            sample(3, 0, false, Some(1.0)),
            sample(3, 1, false, Some(3.0)),
            sample(9, 0, false, None),
            sample(9, 1, false, None),
            sample(3, 0, true, Some(8.0)),
        ];
        let found: Vec<_> =
            points(&samples.iter().collect::<Vec<_>>()).iter().map(|p| (p.at, p.value, p.kind)).collect();
        assert_eq!(
            found,
            [
                (3.5, Some(8.0), Kind::Warmup),
                (4.0, Some(2.0), Kind::Counted),
                (8.0, Some(4.0), Kind::Incomplete),
                (10.0, None, Kind::Missing),
            ]
        );
    }
}
