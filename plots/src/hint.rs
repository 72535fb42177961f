//! What is suspicious about the results of a run, each with the flag or file that helps.

use std::collections::{BTreeMap, BTreeSet};

use microbench_formats::host::HostKind;
use microbench_formats::plan::Plan;
use microbench_formats::statistic::Statistic;
use microbench_formats::terminal::{Room, wrapped_to};
use serde::Serialize;

use crate::journal::{Execution, Journal};
use crate::samples::{Status, said};
use crate::stats::drift::drift;
use crate::stats::holm::holm;
use crate::stats::mean::coefficient_of_variation;
use crate::stats::median::MEDIAN_INTERVAL_FROM;
use crate::stats::outlier::outliers;
use crate::summary::Row;

/// Coefficient of variation from which on a spread is large.
const SPREAD: f64 = 0.1;
/// Family-wise probability of a false alarm of drift.
const DRIFT_P: f64 = 0.05;
/// Trials from which on two groups can be told from chance.
const GROUPS_FROM: usize = 10;
/// Places that a hint names at most.
const NAMED: usize = 3;

/// A cell and a metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Place {
    /// The cell.
    pub cell: String,
    /// The metric.
    pub metric: String,
    /// What is suspicious there, in the hint's own measure.
    pub value: f64,
}

/// Something suspicious.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "hint", rename_all = "kebab-case")]
pub enum Hint {
    /// Medians without an interval.
    TooFewTrials {
        /// The fewest trials of a cell with a value.
        fewest: usize,
        /// The cells.
        cells: Vec<String>,
    },
    /// Trials that have not been executed.
    NotRun {
        /// The cells.
        cells: Vec<String>,
    },
    /// VMs without a value.
    Missing {
        /// Reasons, each with how many VMs of a metric it took, the most first.
        reasons: Vec<(String, usize)>,
    },
    /// Executions that something disturbed.
    Disturbed {
        /// How many.
        executions: usize,
        /// Of how many.
        of: usize,
        /// What it was.
        reasons: Vec<String>,
    },
    /// Values beyond Tukey's outer fences; the place's value is their number.
    Outliers {
        /// Where.
        places: Vec<Place>,
    },
    /// Values that change with the order in which they were taken; the place's value is the rank correlation.
    Drift {
        /// Where.
        places: Vec<Place>,
    },
    /// Values in two groups with a gap between them; the place's value is the gap as a share of the range.
    TwoGroups {
        /// Where.
        places: Vec<Place>,
    },
    /// Values far apart; the place's value is the coefficient of variation.
    Spread {
        /// Where.
        places: Vec<Place>,
    },
}

/// Why a value is missing where that is not suspicious, or has a hint of its own.
const NOT_MEANT: [Status; 2] = [Status::NotRun, Status::BeyondLimit];

/// What is suspicious about a run.
#[must_use]
pub fn hints(plan: &Plan, rows: &[Row], journal: &Journal) -> Vec<Hint> {
    let mut hints = Vec::new();
    let few: Vec<&Row> = rows.iter().filter(|row| (1..MEDIAN_INTERVAL_FROM).contains(&row.n())).collect();
    if let Some(fewest) = few.iter().map(|row| row.n()).min() {
        hints.push(Hint::TooFewTrials { fewest, cells: cells(plan, &few) });
    }
    let open: Vec<&Row> = rows.iter().filter(|row| row.missing.contains_key(&Status::NotRun)).collect();
    if !open.is_empty() {
        hints.push(Hint::NotRun { cells: cells(plan, &open) });
    }
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows {
        for (status, (count, reason)) in row.missing.iter().filter(|(status, _)| !NOT_MEANT.contains(status)) {
            *reasons.entry(said(*status, reason)).or_default() += count;
        }
    }
    if !reasons.is_empty() {
        let mut reasons: Vec<(String, usize)> = reasons.into_iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        hints.push(Hint::Missing { reasons });
    }
    let again: Vec<&Execution> = journal.executions.iter().filter(|e| !e.warmup && !e.invalid.is_empty()).collect();
    if !again.is_empty() {
        let reasons: BTreeSet<String> =
            again.iter().flat_map(|e| &e.invalid).map(|(reason, _)| reason.to_string()).collect();
        hints.push(Hint::Disturbed {
            executions: again.len(),
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
    let severe = |row: &Row| Some(outliers(&row.finite(Statistic::Median)).severe).filter(|n| *n > 0).map(|n| n as f64);
    let all: Vec<(usize, f64, f64)> = (rows.iter().enumerate())
        .filter_map(|(at, row)| {
            drift(&row.values(Statistic::Median)).map(|found| (at, found.rank_correlation, found.p))
        })
        .collect();
    let adjusted = holm(&all.iter().map(|(_, _, p)| *p).collect::<Vec<_>>());
    let drifting: BTreeMap<usize, f64> = (all.iter().zip(adjusted))
        .filter(|(_, p)| *p <= DRIFT_P)
        .map(|((at, correlation, _), _)| (*at, *correlation))
        .collect();
    let drifts = |row: &Row| drifting.get(&rows.iter().position(|other| std::ptr::eq(other, row))?).copied();
    let spread = |row: &Row| {
        coefficient_of_variation(&row.values(Statistic::Median)).filter(|cv| cv.is_finite() && *cv >= SPREAD)
    };
    for (places, hint) in [
        (places(&severe), (|places| Hint::Outliers { places }) as fn(Vec<Place>) -> Hint),
        (places(&drifts), |places| Hint::Drift { places }),
        (places(&|row| two_groups(&row.finite(Statistic::Median))), |places| Hint::TwoGroups { places }),
        (places(&spread), |places| Hint::Spread { places }),
    ] {
        if !places.is_empty() {
            hints.push(hint(places));
        }
    }
    hints
}

/// The cells of `rows`, in plan order.
fn cells(plan: &Plan, rows: &[&Row]) -> Vec<String> {
    let of = plan.cells.iter().filter(|cell| rows.iter().any(|row| row.cell == cell.id));
    of.map(|cell| cell.id.to_string()).collect()
}

/// The widest gap between neighbouring values as a share of their range, when it parts them into two groups: it is more than half of the
/// range, and a fifth of the values or more lies on either side. `None` else, and below [`GROUPS_FROM`] values or when they are
/// within 1 % of one another. Of normal values it is hardly ever so: their gaps in the middle are narrow.
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

/// The first few of many.
fn named<T>(all: &[T], of: impl Fn(&T) -> String) -> String {
    let shown: Vec<String> = all.iter().take(NAMED).map(of).collect();
    match all.len().saturating_sub(NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

impl Hint {
    /// What is suspicious, in words.
    #[must_use]
    pub fn message(&self) -> String {
        let at = |places: &[Place], value: &dyn Fn(f64) -> String| {
            named(places, |place| format!("{} of {} ({})", place.metric, place.cell, value(place.value)))
        };
        match self {
            Self::TooFewTrials { fewest, cells } => {
                format!(
                    "too few trials for an interval of the median, {fewest} where 6 are needed: {}",
                    named(cells, Clone::clone)
                )
            }
            Self::NotRun { cells } => format!("trials have not been executed: {}", named(cells, Clone::clone)),
            Self::Missing { reasons } => {
                // A reason may hold a guest's words, which a terminal must not obey.
                let plain = |c: char| if c.is_control() { ' ' } else { c };
                let short = |reason: &str| reason.chars().take(160).map(plain).collect::<String>();
                format!(
                    "values are missing: {}",
                    named(reasons, |(reason, count)| format!("{count} x {}", short(reason)))
                )
            }
            Self::Disturbed { executions, of, reasons } => {
                format!("something disturbed {executions} of {of} executions: {}", reasons.join(", "))
            }
            Self::Outliers { places } => format!("severe outliers: {}", at(places, &|n| format!("{n:.0}"))),
            Self::Drift { places } => {
                format!("values change with the order: {}", at(places, &|r| format!("rank correlation {r:.2}")))
            }
            Self::TwoGroups { places } => {
                format!(
                    "values lie in two groups: {}",
                    at(places, &|gap| format!("{:.0} % of the range between them", gap * 100.0))
                )
            }
            Self::Spread { places } => {
                format!("values are far apart: {}", at(places, &|cv| format!("cv {:.0} %", cv * 100.0)))
            }
        }
    }

    /// What helps; `run` is what the run is called in a command.
    #[must_use]
    pub fn advice(&self, run: &str, host: Option<HostKind>) -> String {
        let sequence = |places: &[Place]| {
            let cell = places.first().map_or("CELL", |place| place.cell.as_str());
            format!("`microbench plot {run} --sequence {cell}` shows when")
        };
        match self {
            Self::TooFewTrials { .. } if host == Some(HostKind::Imported) => "the table has no more".to_owned(),
            Self::TooFewTrials { .. } => {
                "`--trials 6` or more, or `precision` in [matrix], for the next run".to_owned()
            }
            Self::NotRun { .. } => format!("`microbench run --resume {run}` executes them"),
            Self::Missing { .. } => {
                format!("samples.csv has the reason of each; `microbench show {run}` where consoles are")
            }
            Self::Disturbed { .. } => "`microbench doctor` says what mends the machine; none of them counts".to_owned(),
            Self::Outliers { places } => format!("`--detail` counts them, {}", sequence(places)),
            Self::Drift { places } | Self::TwoGroups { places } => sequence(places),
            Self::Spread { places } => {
                format!("{}; `precision` in [matrix] runs until the interval is narrow", sequence(places))
            }
        }
    }
}

/// The hints as text.
#[must_use]
pub fn text(hints: &[Hint], run: &str, host: Option<HostKind>, room: Room) -> String {
    let line = |hint: &Hint| format!("hint: {}; {}", hint.message(), hint.advice(run, host));
    hints.iter().map(|hint| wrapped_to(room.words, &line(hint), 6) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_groups_are_told_from_one_with_an_outlier() {
        let one: Vec<f64> = (0..12).map(|n| 100.0 + f64::from(n)).collect();
        let two: Vec<f64> = (0..12).map(|n| if n % 3 == 0 { 160.0 } else { 100.0 } + f64::from(n)).collect();
        let outlier: Vec<f64> = (0..12).map(|n| if n == 11 { 400.0 } else { 100.0 + f64::from(n) }).collect();
        let nearly_the_same: Vec<f64> = (0..12).map(|n| if n % 2 == 0 { 100.0 } else { 100.5 }).collect();
        assert_eq!((two_groups(&one), two_groups(&outlier), two_groups(&nearly_the_same)), (None, None, None));
        assert!(two_groups(&two).is_some_and(|gap| (0.6..0.9).contains(&gap)), "{:?}", two_groups(&two));
        assert_eq!(two_groups(&two[..9]), None, "too few");
    }
}
