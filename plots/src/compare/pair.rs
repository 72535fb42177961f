//! The rows of one pair of cells: each metric, missing values, and whether a smaller share of VMs completed.

use microbench_formats::direction::Better;
use microbench_formats::metric::Metric;
use microbench_formats::statistic::Statistic;

use super::contrast::contrast;
use super::missing::{self, Availability, MissingItem, MissingSide};
use super::{Comparison, EVERY_METRIC, Missing, Pair, Settings, Side, VMS_COMPLETED, Verdict};
use crate::completed::Completed;
use crate::stats::permutation::more_failures;
use crate::summary::Row;

/// Whether the cells of a pair are on different CPUs of the emulated host.
#[derive(Clone, Debug, Default)]
pub(super) struct HostCpus {
    /// Why the values must not be compared; `None` if they may be.
    pub(super) refused: Option<String>,
    /// The remark on values that are compared across CPUs; `None` if the CPUs are the same.
    pub(super) differing: Option<String>,
}

/// A pair of cells with the availability of each metric on both sides.
pub(super) struct Matched<'a> {
    pair: &'a Pair,
    of_both: Vec<(&'a str, [Availability<'a>; 2])>,
    host_cpus: HostCpus,
}

impl<'a> Matched<'a> {
    /// `rows` are the summary rows of the two cells.
    pub(super) fn new(pair: &'a Pair, rows: &[Vec<&'a Row>; 2], statistic: Statistic, host_cpus: HostCpus) -> Self {
        let availability = |side: usize, metric: &str| {
            let row = rows[side].iter().find(|row| row.metric == metric).copied();
            missing::availability(row, metric, &pair.absent, statistic)
        };
        let of_both = metrics(rows).into_iter().map(|metric| (metric, [0, 1].map(|side| availability(side, metric))));
        Self { pair, of_both: of_both.collect(), host_cpus }
    }

    fn is_empty(&self, side: usize) -> bool {
        !self.of_both.iter().any(|(_, of)| matches!(of[side], Availability::Value(_)))
    }

    /// The metrics that are compared.
    pub(super) fn compared(&self) -> impl Iterator<Item = &str> {
        let both = |of: &[Availability<'_>; 2]| of.iter().all(|of| matches!(of, Availability::Value(_)));
        let is_compared = self.host_cpus.refused.is_none();
        self.of_both.iter().filter(move |(_, of)| is_compared && both(of)).map(|(metric, _)| *metric)
    }

    /// Adds the rows of the pair to `found`. The family has `tests` comparisons; each comparison uses the next `stream`
    /// of random numbers.
    pub(super) fn compare(
        &self,
        sides: [Side<'_>; 2],
        settings: &Settings,
        tests: usize,
        stream: &mut u64,
        found: &mut Vec<Comparison>,
    ) {
        let (pair, of_both) = (self.pair, &self.of_both);
        let fewer_vms = fewer_completed(pair, sides);
        if self.is_empty(0) || self.is_empty(1) {
            found.extend(missing_cell(pair, sides, of_both));
            // A cell whose means are withheld still has VMs that completed.
            let has_some = |row: &Comparison| row.completed.as_ref().is_some_and(|[_, second]| second.completed > 0);
            found.extend(fewer_vms.filter(has_some));
            return;
        }
        for (metric, of) in of_both {
            let better = direction(sides, metric);
            let gate = metric_of(sides, metric).and_then(|metric| metric.gate);
            match of {
                [Availability::Value(a), Availability::Value(b)] if a.unit == b.unit => {
                    found.push(match &self.host_cpus {
                        HostCpus { refused: Some(why), .. } => not_compared([a, b], better, settings.statistic, why),
                        HostCpus { differing, .. } => {
                            let mut row = contrast(a, b, better, gate, settings, tests, *stream);
                            let remarks = differing.iter().chain([&row.remark]).filter(|remark| !remark.is_empty());
                            row.remark = remarks.cloned().collect::<Vec<_>>().join("; ");
                            row
                        }
                    });
                    *stream += 1;
                    // A VM that did not complete misses several metrics; one row reports it.
                    if fewer_vms.is_none() {
                        found.extend(fewer_values(pair, [a, b], better));
                    }
                }
                of => found.extend(missing_metric(pair, metric, of, better, settings.statistic)),
            }
        }
        found.extend(fewer_vms);
    }
}

/// The row of a metric whose values must not be compared, with the reason `why`.
fn not_compared([a, b]: [&Row; 2], better: Better, statistic: Statistic, why: &str) -> Comparison {
    Comparison {
        n: [a.trials.len(), b.trials.len()],
        values: [a, b].map(|row| row.statistic(statistic)),
        verdict: Verdict::NotCompared,
        remark: why.to_owned(),
        ..Comparison::empty(&b.cell, &a.metric, &b.unit, better)
    }
}

/// The metrics of both cells: those of the first side in its order, then those that only the second side has.
fn metrics<'a>(rows: &[Vec<&'a Row>; 2]) -> Vec<&'a str> {
    let mut all: Vec<&str> = Vec::new();
    for row in rows.iter().flatten() {
        if !all.contains(&row.metric.as_str()) {
            all.push(&row.metric);
        }
    }
    all
}

/// The better direction of a metric, of the second side's plan if it has the metric.
fn direction(sides: [Side<'_>; 2], name: &str) -> Better {
    metric_of(sides, name).map_or(Better::Neither, Metric::direction)
}

/// A metric, of the second side's plan if it has the metric.
fn metric_of<'a>(sides: [Side<'a>; 2], name: &str) -> Option<&'a Metric> {
    sides.into_iter().rev().flat_map(|side| &side.plan.metrics).find(|metric| metric.name == name)
}

/// The row of a cell without any value on a side; `None` if no value was expected on either side.
fn missing_cell(pair: &Pair, sides: [Side<'_>; 2], of_both: &[(&str, [Availability<'_>; 2])]) -> Option<Comparison> {
    let with_value = |side: usize| of_both.iter().filter(move |(_, of)| matches!(of[side], Availability::Value(_)));
    let (in_first, in_second) = (with_value(0).count() > 0, with_value(1).count() > 0);
    let side = missing::side_without_value([in_first, in_second]);
    let why = |side: usize| missing::main_reason(of_both.iter().map(|(_, of)| &of[side]));
    if side == MissingSide::Both && [why(0), why(1)].iter().all(|why| !why.is_failure) {
        return None;
    }
    let with_row: Vec<(&str, &Row)> = (of_both.iter())
        .filter_map(|(metric, of)| of.iter().find_map(Availability::row).map(|row| (*metric, row)))
        .collect();
    let (metric, unit) = match with_row.as_slice() {
        [(metric, row)] => (*metric, row.unit.as_str()),
        _ => (EVERY_METRIC, ""),
    };
    let better = direction(sides, metric);
    let n = |side: usize| with_value(side).filter_map(|(_, of)| of[side].row()).map(Row::n).max().unwrap_or(0);
    let planned = pair.first.is_some() && pair.second.is_some();
    Some(Comparison {
        n: [n(0), n(1)],
        verdict: Verdict::Missing,
        missing: Some(Missing { item: MissingItem::Cell, side, planned }),
        remark: missing::remark(side, [&why(0).reason, &why(1).reason]),
        ..Comparison::empty(&pair.name, metric, unit, better)
    })
}

/// The row of a metric without a value on a side, in a cell with values on both sides; `None` if no value was
/// expected on either side.
fn missing_metric(
    pair: &Pair,
    metric: &str,
    of: &[Availability<'_>; 2],
    better: Better,
    statistic: Statistic,
) -> Option<Comparison> {
    let value = |of: &Availability<'_>| if let Availability::Value(row) = of { row.statistic(statistic) } else { None };
    let mut side = missing::side_without_value([0, 1].map(|side| matches!(of[side], Availability::Value(_))));
    let mut values = [value(&of[0]), value(&of[1])];
    let why = [0, 1].map(|side| missing::main_reason(std::iter::once(&of[side])));
    if side == MissingSide::Both && why.iter().all(|why| !why.is_failure) {
        return None;
    }
    let mut remark = missing::remark(side, [&why[0].reason, &why[1].reason]);
    let rows = [of[0].row(), of[1].row()];
    if let [Availability::Value(a), Availability::Value(b)] = of {
        side = MissingSide::B;
        values[1] = None;
        remark = format!("the units differ: A is in {}, B in {}", a.unit, b.unit);
    }
    let unit = rows.iter().flatten().next().map_or("", |row| row.unit.as_str());
    Some(Comparison {
        n: [0, 1].map(|side| rows[side].map_or(0, |row| row.trials.len())),
        values,
        verdict: Verdict::Missing,
        missing: Some(Missing { item: MissingItem::Metric, side, planned: rows.iter().all(Option::is_some) }),
        remark,
        ..Comparison::empty(&pair.name, metric, unit, better)
    })
}

/// The row of a cell in which a smaller share of VMs completed on the second side; `None` if the share did not drop.
fn fewer_completed(pair: &Pair, sides: [Side<'_>; 2]) -> Option<Comparison> {
    let first = sides[0].completed.get(pair.first.as_ref()?)?;
    let second = sides[1].completed.get(pair.second.as_ref()?)?;
    dropped([first, second], Comparison::empty(&pair.name, VMS_COMPLETED, "1", Better::Higher))
}

/// The row of a metric if a smaller share of VMs has a value on the second side; `None` if the share did not drop.
fn fewer_values(pair: &Pair, [a, b]: [&Row; 2], better: Better) -> Option<Comparison> {
    let [first, second] = [a, b].map(missing::vms_with_value);
    dropped([&first, &second], Comparison::empty(&pair.name, &a.metric, &a.unit, better))
}

/// `row` with the verdict *dropped*, and the p-value of the permutation test of trials; `None` if the second share is
/// not below the first.
fn dropped([first, second]: [&Completed; 2], row: Comparison) -> Option<Comparison> {
    second.is_below(first).then(|| Comparison {
        n: [first.of, second.of],
        values: [Some(first.share()), Some(second.share())],
        p: more_failures(&first.failures, &second.failures),
        verdict: Verdict::Dropped,
        remark: format!("B: {}", second.reason),
        completed: Some([first.clone(), second.clone()]),
        ..row
    })
}
