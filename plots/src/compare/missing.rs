//! What a side lacks, and why.

use std::fmt;

use microbench_formats::statistic::Statistic;
use serde::Serialize;

use crate::completed::Completed;
use crate::import;
use crate::samples::{Status, said};
use crate::summary::Row;

/// What a row says to be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The whole cell, or one metric of it.
    pub what: What,
    /// The side that lacks it.
    pub side: Lacking,
    /// Both plans have it, so that values were expected.
    pub planned: bool,
}

/// What is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum What {
    /// Every metric of a cell.
    Cell,
    /// One metric of a cell.
    Metric,
}

/// The side that has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lacking {
    /// The first.
    A,
    /// The second.
    B,
    /// Neither side has a value, and at least one failed to have it.
    Both,
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
            Self::Both => "A and B",
        })
    }
}

/// Whether VMs were to give the value: not where it is not applicable, beyond the study's limit, or in no row of an
/// imported table.
fn is_failure(status: Status, reason: &str) -> bool {
    !matches!(status, Status::NotApplicable | Status::BeyondLimit) && reason != import::ABSENT
}

/// The VMs of a cell that gave a value to a metric, of those that were to.
pub(super) fn valued(row: &Row) -> Completed {
    let failed = row.missing.iter().filter(|(status, (_, reason))| is_failure(**status, reason));
    let without: usize = failed.clone().map(|(_, (count, _))| count).sum();
    let reason = failed
        .clone()
        .next()
        .map(|(status, (count, reason))| format!("{count} of {} VMs {}", row.vms + without, said(*status, reason)));
    Completed { completed: row.vms, of: row.vms + without, reason: reason.unwrap_or_default() }
}

/// What one side has of a metric in a cell.
#[derive(Clone, Debug)]
pub(super) enum Has<'a> {
    /// The statistic over trials.
    Value(&'a Row),
    /// None, although VMs were to give it.
    Failed(&'a Row, String),
    /// None, and none can be: it is not in the plan, not applicable, or beyond the study's limit.
    Cannot(Option<&'a Row>, String),
}

impl<'a> Has<'a> {
    /// The row of the plan's cell and metric; `None` where the plan lacks one of them.
    pub(super) fn row(&self) -> Option<&'a Row> {
        match self {
            Self::Value(row) | Self::Failed(row, _) => Some(row),
            Self::Cannot(row, _) => *row,
        }
    }
}

/// What a side has of `metric`; `row` is `None` when its plan lacks the metric, or the cell, which `absent` then says.
pub(super) fn of<'a>(row: Option<&'a Row>, metric: &str, absent: &str, statistic: Statistic) -> Has<'a> {
    let Some(row) = row else {
        let reason = if absent.is_empty() { format!("the plan has no metric {metric}") } else { absent.to_owned() };
        return Has::Cannot(None, reason);
    };
    if row.statistic(statistic).is_some() {
        return Has::Value(row);
    }
    let failed = row.missing.iter().find(|(status, (_, reason))| is_failure(**status, reason));
    let any = failed.or_else(|| row.missing.iter().next());
    let reason = any.map_or_else(
        || "no trial is planned for it".to_owned(),
        |(status, (count, reason))| format!("{count} of {} VMs {}", row.planned(), said(*status, reason)),
    );
    if failed.is_some() { Has::Failed(row, reason) } else { Has::Cannot(Some(row), reason) }
}

/// Why a side has no value.
#[derive(Clone, Debug, Default)]
pub(super) struct Why {
    pub(super) is_failure: bool,
    pub(super) reason: String,
}

/// The first failure among the metrics of one side, else the first other reason.
pub(super) fn worst<'a, 'b: 'a>(has: impl Iterator<Item = &'a Has<'b>>) -> Why {
    let mut found = Why::default();
    for has in has {
        match has {
            Has::Failed(_, reason) => return Why { is_failure: true, reason: reason.clone() },
            Has::Cannot(_, reason) if found.reason.is_empty() => found.reason.clone_from(reason),
            _ => {}
        }
    }
    found
}

/// The side without a value, of two of which at least one has none.
pub(super) fn side([first, second]: [bool; 2]) -> Lacking {
    match (first, second) {
        (false, true) => Lacking::A,
        (false, false) => Lacking::Both,
        (true, _) => Lacking::B,
    }
}

/// The reasons of the sides without a value.
pub(super) fn remark(side: Lacking, [first, second]: [&str; 2]) -> String {
    match side {
        Lacking::A => format!("A: {first}"),
        Lacking::B => format!("B: {second}"),
        Lacking::Both => format!("A: {first}; B: {second}"),
    }
}
