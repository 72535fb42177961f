//! The cells and metrics that are missing on a side of a comparison, and why.

use std::fmt;

use microbench_formats::statistic::Statistic;
use serde::Serialize;

use crate::completed::Completed;
use crate::samples::{is_failure, status_and_reason};
use crate::summary::Row;

/// What is missing in a row, and on which side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    #[serde(rename = "what")]
    pub item: MissingItem,
    /// The side without a value.
    pub side: MissingSide,
    /// Whether both plans have the cell and metric, so that values were expected.
    pub planned: bool,
}

/// What is missing: a whole cell or one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum MissingItem {
    /// Every metric of a cell.
    Cell,
    /// One metric of a cell.
    Metric,
}

/// The side without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingSide {
    A,
    B,
    /// Both sides, of which at least one was expected to have a value.
    Both,
}

impl fmt::Display for MissingSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
            Self::Both => "A and B",
        })
    }
}

/// The number of VMs with a value of a metric in a cell, out of those expected to have one.
pub(super) fn vms_with_value(row: &Row) -> Completed {
    let failed = row.missing.iter().filter(|(status, (_, reason))| is_failure(**status, reason));
    let without: usize = failed.clone().map(|(_, (count, _))| count).sum();
    let reason = failed.clone().next().map(|(status, (count, reason))| {
        format!("{count} of {} VMs {}", row.vms + without, status_and_reason(*status, reason))
    });
    Completed {
        completed: row.vms,
        of: row.vms + without,
        failures: row.without.clone(),
        reason: reason.unwrap_or_default(),
    }
}

/// Whether one side has a value of a metric in a cell.
#[derive(Clone, Debug)]
pub(super) enum Availability<'a> {
    /// The statistic over trials exists, or is censored while some trials have a value.
    Value(&'a Row),
    /// An expected value is missing, with the reason.
    Failed(&'a Row, String),
    /// No value was expected: it is not in the plan, not applicable, or beyond the study's limit; with the reason.
    NotExpected(Option<&'a Row>, String),
}

impl<'a> Availability<'a> {
    /// The row of the cell and metric; `None` if the plan does not have the cell or the metric.
    pub(super) fn row(&self) -> Option<&'a Row> {
        match self {
            Self::Value(row) | Self::Failed(row, _) => Some(row),
            Self::NotExpected(row, _) => *row,
        }
    }
}

/// Whether a side has a value of `metric`. `row` is `None` if the side's plan does not have the metric, or does not
/// have the cell; `absent` is the reason in the second case and empty in the first.
pub(super) fn availability<'a>(
    row: Option<&'a Row>,
    metric: &str,
    absent: &str,
    statistic: Statistic,
) -> Availability<'a> {
    let Some(row) = row else {
        let reason = if absent.is_empty() { format!("the plan has no metric {metric}") } else { absent.to_owned() };
        return Availability::NotExpected(None, reason);
    };
    // A median that is censored is larger than the other values, which a rank test can use.
    let is_ranked = statistic != Statistic::Mean && row.n() > 0;
    if row.statistic(statistic).is_some() || is_ranked {
        return Availability::Value(row);
    }
    let failed = row.missing.iter().find(|(status, (_, reason))| is_failure(**status, reason));
    let any = failed.or_else(|| row.missing.iter().next());
    let reason = any.map_or_else(
        || "no trial is planned for it".to_owned(),
        |(status, (count, reason))| format!("{count} of {} VMs {}", row.planned(), status_and_reason(*status, reason)),
    );
    if failed.is_some() { Availability::Failed(row, reason) } else { Availability::NotExpected(Some(row), reason) }
}

/// Why a side has no value; `is_failure` if a value was expected.
#[derive(Clone, Debug, Default)]
pub(super) struct MissingReason {
    pub(super) is_failure: bool,
    pub(super) reason: String,
}

/// The first failure among the metrics of one side, else the first other reason.
pub(super) fn main_reason<'a, 'b: 'a>(metrics: impl Iterator<Item = &'a Availability<'b>>) -> MissingReason {
    let mut found = MissingReason::default();
    for metric in metrics {
        match metric {
            Availability::Failed(_, reason) => return MissingReason { is_failure: true, reason: reason.clone() },
            Availability::NotExpected(_, reason) if found.reason.is_empty() => found.reason.clone_from(reason),
            _ => {}
        }
    }
    found
}

/// The side without a value; the arguments are whether the first and the second side have one, and not both may be
/// true.
pub(super) fn side_without_value([first, second]: [bool; 2]) -> MissingSide {
    match (first, second) {
        (false, true) => MissingSide::A,
        (false, false) => MissingSide::Both,
        (true, _) => MissingSide::B,
    }
}

/// The reasons of the sides without a value.
pub(super) fn remark(side: MissingSide, [first, second]: [&str; 2]) -> String {
    match side {
        MissingSide::A => format!("A: {first}"),
        MissingSide::B => format!("B: {second}"),
        MissingSide::Both => format!("A: {first}; B: {second}"),
    }
}
