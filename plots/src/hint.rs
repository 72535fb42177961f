//! Hints about suspicious results of a run, each with the option or file that helps.

use std::collections::{BTreeMap, BTreeSet};

use microbench_formats::host::HostKind;
use microbench_formats::plan::Plan;
use microbench_formats::statistic::Statistic;
use microbench_formats::terminal::{OutputWidth, wrapped_to};
use serde::Serialize;

use crate::journal::{Execution, Journal};
use crate::kernel::GuestKernels;
use crate::number::{percent, significant};
use crate::samples::{Status, status_and_reason};
use crate::stats::drift::drift;
use crate::stats::holm::holm;
use crate::stats::mean::coefficient_of_variation;
use crate::stats::median::{MEDIAN_INTERVAL_FROM, median};
use crate::stats::outlier::outliers;
use crate::stats::tick::Ticks;
use crate::summary::{Row, printable};
use crate::uncertainty;

/// The coefficient of variation from which on a spread is reported.
const LARGE_CV: f64 = 0.1;
/// The least range of values, as a share of their median, whose outliers and drift are reported. Virtual time repeats
/// so well that a value can be an outlier by a hundredth of a percent.
const LEAST_RANGE: f64 = 0.005;
/// Family-wise error rate of the tests for drift.
const DRIFT_ALPHA: f64 = 0.05;
/// The number of trials from which on two groups are searched for.
const GROUPS_FROM: usize = 10;
/// Cells, places or reasons that a hint names at most.
const MAX_NAMED: usize = 3;
/// Characters of a reason that a hint shows at most.
const MAX_REASON: usize = 160;

/// A cell and metric with suspicious values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Place {
    pub cell: String,
    pub metric: String,
    /// The measure of the hint; see its variant of [`Hint`].
    pub value: f64,
}

/// A cell and metric whose values lie ticks apart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TickPlace {
    pub cell: String,
    pub metric: String,
    /// Why the tick is not that of the guest kernel; absent if it may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_of_guest: Option<String>,
    #[serde(flatten)]
    pub ticks: Ticks,
}

/// A suspicious result.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "hint", rename_all = "kebab-case")]
pub enum Hint {
    /// Cells with too few trials for an interval of the median.
    TooFewTrials {
        /// The number of trials of the cell with the fewest.
        fewest: usize,
        cells: Vec<String>,
    },
    /// Cells with trials that have not been executed.
    NotRun { cells: Vec<String> },
    /// VMs without a value.
    Missing {
        /// Reasons with the number of missing values, the most frequent first.
        reasons: Vec<(String, usize)>,
    },
    /// Trial executions that were disturbed.
    Disturbed {
        executions: usize,
        /// The number of all executions.
        of: usize,
        reasons: Vec<String>,
    },
    /// Values beyond Tukey's outer fences, if the range of the values is at least 0.5 % of their median;
    /// [`Place::value`] is their number.
    Outliers { places: Vec<Place> },
    /// Values that change with the execution order, if their range is at least 0.5 % of their median;
    /// [`Place::value`] is the rank correlation.
    Drift { places: Vec<Place> },
    /// Values that lie ticks of a kernel apart.
    Ticks { places: Vec<TickPlace> },
    /// Values in two groups; [`Place::value`] is the gap between the groups as a share of the range.
    TwoGroups { places: Vec<Place> },
    /// Values with a large spread; [`Place::value`] is the coefficient of variation. `repeated` states whether the run
    /// has repetitions, which exclude the stopping rule.
    Spread { places: Vec<Place>, repeated: bool },
}

/// Statuses that [`Hint::Missing`] ignores: [`Status::NotRun`] has a hint of its own, [`Status::BeyondLimit`] is
/// intended.
const IGNORED: [Status; 2] = [Status::NotRun, Status::BeyondLimit];

/// The hints about a run.
#[must_use]
pub fn hints(plan: &Plan, rows: &[Row], journal: &Journal, kernels: &GuestKernels) -> Vec<Hint> {
    let mut hints = Vec::new();
    let few: Vec<&Row> = rows.iter().filter(|row| (1..MEDIAN_INTERVAL_FROM).contains(&row.trials.len())).collect();
    if let Some(fewest) = few.iter().map(|row| row.trials.len()).min() {
        hints.push(Hint::TooFewTrials { fewest, cells: cells(plan, &few) });
    }
    let open: Vec<&Row> = rows.iter().filter(|row| row.missing.contains_key(&Status::NotRun)).collect();
    if !open.is_empty() {
        hints.push(Hint::NotRun { cells: cells(plan, &open) });
    }
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows {
        for (status, (count, reason)) in row.missing.iter().filter(|(status, _)| !IGNORED.contains(status)) {
            *reasons.entry(status_and_reason(*status, reason)).or_default() += count;
        }
    }
    if !reasons.is_empty() {
        let mut reasons: Vec<(String, usize)> = reasons.into_iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        hints.push(Hint::Missing { reasons });
    }
    let disturbed: Vec<&Execution> = journal.executions.iter().filter(|e| !e.warmup && !e.invalid.is_empty()).collect();
    if !disturbed.is_empty() {
        let reasons: BTreeSet<String> =
            disturbed.iter().flat_map(|e| &e.invalid).map(|(reason, _)| reason.to_string()).collect();
        hints.push(Hint::Disturbed {
            executions: disturbed.len(),
            of: journal.executions.iter().filter(|execution| !execution.warmup).count(),
            reasons: reasons.into_iter().collect(),
        });
    }
    let places = |of: &dyn Fn(&Row) -> Option<f64>| -> Vec<Place> {
        let place = |row: &Row| Some(Place { cell: row.cell.clone(), metric: row.metric.clone(), value: of(row)? });
        let mut places: Vec<Place> = rows.iter().filter_map(place).collect();
        places.sort_by(|a, b| b.value.abs().total_cmp(&a.value.abs()));
        places
    };
    let severe = |row: &Row| {
        let values = row.finite(Statistic::Median);
        Some(outliers(&values).severe).filter(|n| *n > 0 && differ(&values)).map(|n| n as f64)
    };
    let all: Vec<(usize, f64, f64)> = (rows.iter().enumerate())
        .filter_map(|(at, row)| {
            // A repetition shifts all of its trials, which is no drift within a session.
            let found = drift(&row.values(Statistic::Median)).filter(|_| !row.is_repeated());
            found.map(|found| (at, found.rank_correlation, found.p))
        })
        .collect();
    let adjusted = holm(&all.iter().map(|(_, _, p)| *p).collect::<Vec<_>>());
    let drifting: BTreeMap<usize, f64> = (all.iter().zip(adjusted))
        .filter(|(_, p)| *p <= DRIFT_ALPHA)
        .map(|((at, correlation, _), _)| (*at, *correlation))
        .collect();
    let drifts = |row: &Row| {
        let found = drifting.get(&rows.iter().position(|other| std::ptr::eq(other, row))?).copied();
        found.filter(|_| differ(&row.finite(Statistic::Median)))
    };
    let spread = |row: &Row| {
        coefficient_of_variation(&row.values(Statistic::Median)).filter(|cv| cv.is_finite() && *cv >= LARGE_CV)
    };
    let ticks = tick_places(plan, rows, kernels);
    let known: BTreeSet<(&str, &str)> = ticks.iter().map(|place| (&*place.cell, &*place.metric)).collect();
    let is_tick = |row: &Row| known.contains(&(row.cell.as_str(), row.metric.as_str()));
    let groups = |row: &Row| two_groups(&row.finite(Statistic::Median)).filter(|_| !is_tick(row));
    let groups = places(&groups);
    if !ticks.is_empty() {
        hints.push(Hint::Ticks { places: ticks });
    }
    let repeated = rows.iter().any(Row::is_repeated);
    let [severe, drifting, spread] = [places(&severe), places(&drifts), places(&spread)];
    let found = [
        (!severe.is_empty()).then_some(Hint::Outliers { places: severe }),
        (!drifting.is_empty()).then_some(Hint::Drift { places: drifting }),
        (!groups.is_empty()).then_some(Hint::TwoGroups { places: groups }),
        (!spread.is_empty()).then_some(Hint::Spread { places: spread, repeated }),
    ];
    hints.extend(found.into_iter().flatten());
    hints
}

/// The cells and metrics whose values lie ticks apart, in the order of `rows`.
#[must_use]
pub fn tick_places(plan: &Plan, rows: &[Row], kernels: &GuestKernels) -> Vec<TickPlace> {
    let place = |row: &Row| {
        let ticks = uncertainty::found_ticks(row)?;
        let kernel = plan.cells.iter().find(|cell| cell.id == row.cell).map(|cell| kernels.of(cell));
        let not_of_guest = kernel.and_then(|kernel| kernel.why_not_tick_of_guest(ticks.hz, row.host));
        Some(TickPlace { cell: row.cell.clone(), metric: row.metric.clone(), not_of_guest, ticks })
    };
    rows.iter().filter_map(place).collect()
}

impl TickPlace {
    /// `kernel_boot_time of fc/1 (4.02 ms apart, 4 and 2 values: CONFIG_HZ=250)`.
    fn describe(&self) -> String {
        let Self { cell, metric, not_of_guest, ticks } = self;
        let frequency = not_of_guest.clone().unwrap_or_else(|| format!("CONFIG_HZ={}", ticks.hz));
        format!("{metric} of {cell} ({} ms apart, {}: {frequency})", significant(ticks.distance()), ticks.counts())
    }
}

/// The cells of `rows`, in plan order.
fn cells(plan: &Plan, rows: &[&Row]) -> Vec<String> {
    let cells = plan.cells.iter().filter(|cell| rows.iter().any(|row| row.cell == cell.id));
    cells.map(|cell| cell.id.to_string()).collect()
}

/// Whether the range of the values is at least [`LEAST_RANGE`] of their median.
fn differ(values: &[f64]) -> bool {
    let (low, high) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(*x), high.max(*x)));
    median(values).is_some_and(|middle| high - low >= LEAST_RANGE * middle.abs())
}

/// The widest gap between neighbouring values as a share of their range, if it separates two groups. It does if it is
/// more than half of the range and each side has at least a fifth of the values.
///
/// `None` if there are no two groups, below [`GROUPS_FROM`] values, and if all values are within 1 % of each other.
/// Normally distributed values very rarely form two groups, because their gaps in the middle are narrow.
#[must_use]
pub fn two_groups(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (first, last) = (*sorted.first()?, *sorted.last()?);
    let range = last - first;
    if sorted.len() < GROUPS_FROM || range <= 0.01 * last.abs() {
        return None;
    }
    let least = sorted.len().div_ceil(5);
    let gaps = (least..=sorted.len() - least).map(|at| (sorted[at] - sorted[at - 1]) / range);
    gaps.max_by(f64::total_cmp).filter(|gap| *gap > 0.5)
}

/// The first few of `all`, and the number of the others.
fn list_first<T>(all: &[T], of: impl Fn(&T) -> String) -> String {
    let shown: Vec<String> = all.iter().take(MAX_NAMED).map(of).collect();
    match all.len().saturating_sub(MAX_NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

impl Hint {
    /// What is suspicious.
    #[must_use]
    pub fn message(&self) -> String {
        let at = |places: &[Place], value: &dyn Fn(f64) -> String| {
            list_first(places, |place| format!("{} of {} ({})", place.metric, place.cell, value(place.value)))
        };
        match self {
            Self::TooFewTrials { fewest, cells } => {
                format!(
                    "too few trials for an interval of the median ({fewest}, and {MEDIAN_INTERVAL_FROM} are \
                     needed): {}",
                    list_first(cells, Clone::clone)
                )
            }
            Self::NotRun { cells } => format!("trials have not been executed: {}", list_first(cells, Clone::clone)),
            Self::Missing { reasons } => {
                let describe =
                    |(reason, count): &(String, usize)| format!("{count} x {}", printable(reason, MAX_REASON));
                format!("values are missing: {}", list_first(reasons, describe))
            }
            Self::Disturbed { executions, of, reasons } => {
                format!("{executions} of {of} trial executions were disturbed: {}", reasons.join(", "))
            }
            Self::Outliers { places } => format!("severe outliers: {}", at(places, &|n| format!("{n:.0}"))),
            Self::Drift { places } => {
                format!(
                    "values change with the execution order: {}",
                    at(places, &|r| format!("rank correlation {}", significant(r)))
                )
            }
            Self::Ticks { places } => {
                format!("values lie one tick of a kernel apart: {}", list_first(places, TickPlace::describe))
            }
            Self::TwoGroups { places } => {
                format!(
                    "values form two groups: {}",
                    at(places, &|gap| format!("gap of {} of the range", percent(gap)))
                )
            }
            Self::Spread { places, .. } => {
                format!("values have a large spread: {}", at(places, &|cv| format!("cv {}", percent(cv))))
            }
        }
    }

    /// What to do; `run` is the run's name for a command.
    #[must_use]
    pub fn advice(&self, run: &str, host: Option<HostKind>) -> String {
        let sequence = |places: &[Place]| {
            let cell = places.first().map_or("CELL", |place| place.cell.as_str());
            format!("`microbench plot {run} --sequence {cell}` shows the execution order")
        };
        match self {
            Self::TooFewTrials { .. } if host == Some(HostKind::Imported) => {
                "the imported table has no more trials".to_owned()
            }
            Self::TooFewTrials { .. } => {
                "use `--trials 6` or more, or `precision` in [matrix], for the next run".to_owned()
            }
            Self::NotRun { .. } => format!("`microbench run --resume {run}` executes them"),
            Self::Missing { .. } if host == Some(HostKind::Imported) => "samples.csv has the reason of each".to_owned(),
            Self::Missing { .. } => {
                format!("samples.csv has the reason of each; `microbench show {run}` lists the console logs")
            }
            Self::Disturbed { .. } => "they do not count; `microbench doctor` suggests fixes for the host".to_owned(),
            Self::Outliers { places } => format!("`--detail` counts them, {}", sequence(places)),
            Self::Ticks { .. } => {
                "the median is that of one tick or lies between two; docs/explanation/virtual-time.md describes the \
                 cause and what to do"
                    .to_owned()
            }
            Self::Drift { places } | Self::TwoGroups { places } => sequence(places),
            Self::Spread { places, .. } if host == Some(HostKind::Imported) => sequence(places),
            Self::Spread { places, repeated: true } => {
                format!("{}; more repetitions make the interval narrower", sequence(places))
            }
            Self::Spread { places, repeated: false } => {
                format!("{}; `precision` in [matrix] runs until the interval is narrow", sequence(places))
            }
        }
    }
}

/// The hints as text that fits `width`, one for each paragraph. `run` is the run's name for a command.
#[must_use]
pub fn render(hints: &[Hint], run: &str, host: Option<HostKind>, width: OutputWidth) -> String {
    let line = |hint: &Hint| format!("hint: {}; {}", hint.message(), hint.advice(run, host));
    hints.iter().map(|hint| wrapped_to(width.prose, &line(hint), 6) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_within_half_a_percent_of_their_median_do_not_differ() {
        assert!(!differ(&[9.0, 9.0, 9.0, 9.02]), "0.02 ms of 9 ms");
        assert!(!differ(&[83.0, 83.02, 83.05, 83.07]), "0.07 ms of 83 ms");
        assert!(differ(&[83.0, 83.0, 83.0, 83.5]));
        assert!(differ(&[-1.0, 0.0, 1.0]));
    }

    #[test]
    fn two_groups_are_distinguished_from_one_group_with_an_outlier() {
        let one: Vec<f64> = (0..12).map(|n| 100.0 + f64::from(n)).collect();
        let two: Vec<f64> = (0..12).map(|n| if n % 3 == 0 { 160.0 } else { 100.0 } + f64::from(n)).collect();
        let outlier: Vec<f64> = (0..12).map(|n| if n == 11 { 400.0 } else { 100.0 + f64::from(n) }).collect();
        let nearly_the_same: Vec<f64> = (0..12).map(|n| if n % 2 == 0 { 100.0 } else { 100.5 }).collect();
        assert_eq!((two_groups(&one), two_groups(&outlier), two_groups(&nearly_the_same)), (None, None, None));
        assert!(two_groups(&two).is_some_and(|gap| (0.6..0.9).contains(&gap)), "{:?}", two_groups(&two));
        assert_eq!(two_groups(&two[..9]), None, "too few");
    }
}
