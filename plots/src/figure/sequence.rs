//! Sequences: the values of one cell and metric in execution order, drawn on request (`plot --sequence`).
//!
//! A sequence shows what a summary hides: drift, outliers, the effect of warm-ups, where values are missing.

use std::collections::{BTreeMap, BTreeSet};

use microbench_formats::cell::Cell;
use microbench_formats::figure::{Column, Theme};
use microbench_formats::host::HostKind;
use microbench_formats::metric::Metric;
use microbench_formats::plan::Plan;

use super::cells;
use super::description::{Chart, Data, Description, LegendEntry, LegendKey};
use crate::Error;
use crate::definition::definition;
use crate::host_cpu;
use crate::journal::Journal;
use crate::samples::{Sample, Status, status_and_reason};
use crate::stats::median::median;

/// The executions of one cell, in execution order.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    /// Label of the y axis, with the unit.
    pub y_label: String,
    pub points: Vec<Point>,
    /// Median of the counted points; `None` without counted points.
    pub median: Option<f64>,
}

/// One execution of the cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Position in the execution order of the run, from 1. A warm-up is half a position before the next trial.
    pub at: f64,
    /// Median over the VMs; `None` if no VM has a value.
    pub value: Option<f64>,
    pub kind: PointKind,
}

/// Whether an execution counts, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PointKind {
    /// A trial in which every VM has a value.
    Counted,
    /// A warm-up, which no statistic includes.
    Warmup,
    /// A disturbed execution: no statistic includes it, and the trial is retried.
    Disturbed,
    /// A trial in which some VMs have no value.
    Incomplete,
    /// An execution in which no VM has a value.
    Missing,
}

impl PointKind {
    const ALL: [Self; 5] = [Self::Counted, Self::Warmup, Self::Disturbed, Self::Incomplete, Self::Missing];

    fn label(self) -> &'static str {
        match self {
            Self::Counted => "trial",
            Self::Warmup => "warm-up, not counted",
            Self::Disturbed => "disturbed, not counted",
            Self::Incomplete => "trial with missing VM values",
            Self::Missing => "no value",
        }
    }
}

/// An execution: its trial, whether it is a trial and not a warm-up, and its attempt.
type Key = (u32, bool, u32);

/// The order in which the trials of a run were executed.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Position of each execution, as [`Point::at`].
    positions: BTreeMap<Key, f64>,
    /// Number of executions and of trials that were not executed.
    n: usize,
    /// Whether several hosts executed the trials, so that only the order in each host is known.
    planned: bool,
}

impl Order {
    /// The order in which the executions of a run ended; trials that were not executed follow. A run of several hosts,
    /// which execute trials at the same time and have no common journal, is in the order of the plan.
    #[must_use]
    pub fn new(plan: &Plan, journal: &Journal) -> Self {
        let machines: BTreeSet<&str> = journal.executions.iter().map(|execution| execution.machine.as_str()).collect();
        if machines.len() > 1 {
            let own = |trial: u32| f64::from(trial) + 1.0;
            let planned = plan.trials.iter().map(|trial| ((trial.index, true, 0), own(trial.index)));
            let executed = journal.executions.iter().map(|execution| {
                let at = own(execution.trial) - if execution.warmup { 0.5 } else { 0.0 };
                ((execution.trial, !execution.warmup, execution.attempt), at)
            });
            return Self { positions: planned.chain(executed).collect(), n: plan.trials.len(), planned: true };
        }
        let (mut positions, mut n) = (BTreeMap::new(), 0_usize);
        for execution in &journal.executions {
            let at = if execution.warmup { 0.5 } else { 1.0 } + n as f64;
            n += usize::from(!execution.warmup);
            positions.insert((execution.trial, !execution.warmup, execution.attempt), at);
        }
        let executed: BTreeSet<u32> =
            positions.keys().filter(|(_, counts, _)| *counts).map(|(trial, ..)| *trial).collect();
        for trial in plan.trials.iter().filter(|trial| !executed.contains(&trial.index)) {
            n += 1;
            positions.insert((trial.index, true, 0), n as f64);
        }
        Self { positions, n, planned: false }
    }

    /// The position as [`Point::at`]; that in the plan for an execution that the journal does not have.
    fn at(&self, key: Key) -> f64 {
        let (trial, counts, _) = key;
        self.positions.get(&key).copied().unwrap_or_else(|| f64::from(trial) + if counts { 1.0 } else { 0.5 })
    }

    /// The order as part of a caption.
    fn describe(&self, plan: &Plan, host: Option<HostKind>) -> String {
        if self.planned {
            return format!(
                "by position in the plan of all {} trials of the run, which alternates between cells; several hosts \
                 executed them",
                self.n
            );
        }
        let grouped = host == Some(HostKind::Emulated) && plan.host_cpus().len() > 1;
        let which = if grouped {
            "which alternates between cells with the same CPU of the emulated host; the trials of each CPU are executed \
             together"
        } else {
            "which alternates between cells"
        };
        format!("by position in the execution order of all {} trials of the run, {which}", self.n)
    }
}

/// Describes one sequence for each metric that `cell` (an id, for example `fc/1`) was measured on.
///
/// # Errors
/// If the plan has no such cell; the message lists the plan's cells.
pub fn describe(data: Data<'_>, order: &Order, cell: &str, theme: Theme) -> Result<Vec<Description>, Error> {
    let found = data.plan.cells.iter().find(|known| known.id == cell).ok_or_else(|| {
        let cells: Vec<&str> = data.plan.cells.iter().map(|cell| cell.id.as_str()).collect();
        let problem = format!("the study has no cell `{cell}`; it has {}", cells.join(", "));
        Error::Figure { name: "sequence".into(), problem }
    })?;
    Ok(data.plan.metrics.iter().filter_map(|metric| describe_metric(data, order, found, metric, theme)).collect())
}

/// `None` if the cell has no samples of the metric.
fn describe_metric(data: Data<'_>, order: &Order, cell: &Cell, metric: &Metric, theme: Theme) -> Option<Description> {
    let samples: Vec<&Sample> =
        data.samples.iter().filter(|sample| sample.cell == cell.id && sample.metric == metric.name).collect();
    if samples.is_empty() {
        return None;
    }
    let points = points(&samples, order);
    let counted: Vec<f64> =
        points.iter().filter(|point| is_counted(point.kind)).filter_map(|point| point.value).collect();
    let host = samples.iter().find_map(|sample| sample.host);
    let occurs = |kind: &PointKind| points.iter().any(|point| point.kind == *kind);
    let entry = |kind: PointKind| LegendEntry { label: kind.label().into(), key: LegendKey::Point(kind) };
    let mut legend: Vec<LegendEntry> = PointKind::ALL.into_iter().filter(occurs).map(entry).collect();
    let median = median(&counted);
    legend.extend(median.map(|_| LegendEntry { label: "median".into(), key: LegendKey::Line }));
    Some(Description {
        name: format!("sequence-{}-{}", cell.id.replace('/', "--"), metric.name),
        title: format!("{}: {}", cell.id, metric.label),
        theme,
        column: Column::Double,
        legend,
        caption: caption(cell, metric, &samples, counted.len(), data.plan, order),
        chart: Chart::Sequence(Sequence {
            y_label: format!("{}{}", metric.label, cells::unit_suffix(metric, host)),
            points,
            median,
        }),
    })
}

fn is_counted(kind: PointKind) -> bool {
    matches!(kind, PointKind::Counted | PointKind::Incomplete)
}

/// One point for each execution, in execution order.
fn points(samples: &[&Sample], order: &Order) -> Vec<Point> {
    let mut executions: BTreeMap<Key, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        executions.entry((sample.trial, !sample.warmup, sample.attempt)).or_default().push(sample);
    }
    let point = |(key, vms): (Key, Vec<&Sample>)| {
        let (_, counted, _) = key;
        let values: Vec<f64> = vms.iter().filter_map(|sample| sample.value).collect();
        let disturbed = vms.iter().any(|sample| sample.status == Status::Invalid);
        let kind = match (counted, values.len()) {
            (_, 0) => PointKind::Missing,
            (true, _) if disturbed => PointKind::Disturbed,
            (false, _) => PointKind::Warmup,
            (true, some) if some < vms.len() => PointKind::Incomplete,
            (true, _) => PointKind::Counted,
        };
        Point { at: order.at(key), value: median(&values), kind }
    };
    let mut points: Vec<Point> = executions.into_iter().map(point).collect();
    points.sort_by(|a, b| a.at.total_cmp(&b.at));
    points
}

fn caption(cell: &Cell, metric: &Metric, samples: &[&Sample], n: usize, plan: &Plan, order: &Order) -> String {
    let several =
        if cell.concurrency > 1 { format!(" (median over its {} VMs)", cell.concurrency) } else { String::new() };
    let mut missing: BTreeMap<(Status, &str), usize> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.value.is_none()) {
        *missing.entry((sample.status, &sample.reason)).or_default() += 1;
    }
    let missing: Vec<String> =
        missing.iter().map(|((status, why), count)| format!("{count} {}", status_and_reason(*status, why))).collect();
    let missing = if missing.is_empty() {
        String::new()
    } else {
        format!(" VMs without a value: {}.", missing.join("; ").trim_end_matches('.'))
    };
    let definition = definition(metric).trim_end_matches('.').replace('`', "");
    let host = samples.iter().find_map(|sample| sample.host);
    let cpu = host_cpu::sentence(host, [cell]).map_or_else(String::new, |sentence| format!(" {sentence}"));
    let order = order.describe(plan, host);
    let host = host.map_or_else(String::new, |host| format!(" Host: {}.{cpu}", host.note()));
    format!(
        "Points: {} of cell {}, the value of each trial{several}, {order}. A warm-up (one VM) is drawn before its \
         trial, an execution without a value at the bottom. The y axis may start above zero. n = {n} {}.{missing} {}: {definition}.{host}",
        metric.label,
        cell.id,
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
    fn executions_are_ordered_and_classified() {
        let samples = [
            sample(7, 0, false, Some(4.0)),
            sample(7, 1, false, None),
            sample(3, 0, false, Some(1.0)),
            sample(3, 1, false, Some(3.0)),
            sample(9, 0, false, None),
            sample(9, 1, false, None),
            sample(3, 0, true, Some(8.0)),
        ];
        // An order of nothing: the positions are those of the plan.
        let order = Order { positions: BTreeMap::new(), n: 0, planned: false };
        let found: Vec<_> =
            points(&samples.iter().collect::<Vec<_>>(), &order).iter().map(|p| (p.at, p.value, p.kind)).collect();
        assert_eq!(
            found,
            [
                (3.5, Some(8.0), PointKind::Warmup),
                (4.0, Some(2.0), PointKind::Counted),
                (8.0, Some(4.0), PointKind::Incomplete),
                (10.0, None, PointKind::Missing),
            ]
        );
    }
}
