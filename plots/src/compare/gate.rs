//! The gate: whether a comparison passes, and the message if it does not.

use std::collections::{BTreeMap, BTreeSet};

use microbench_formats::metric::Gate as MetricGate;
use microbench_formats::plan::Plan;

use super::{Comparison, EVERY_METRIC, MissingItem, MissingSide, VMS_COMPLETED, Verdict};
use crate::number::declared_percent;

/// The counts that decide whether the gate passes.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// The margin, if the failing rows have one.
    margin: Option<f64>,
    /// Number of rows with the verdict *worse*, and number of their metrics.
    worse: (usize, usize),
    /// Number of rows that differ in another direction, of metrics that are gated both ways.
    changed: usize,
    /// Number of cells in which a smaller share of VMs completed, and of rows in which a smaller share has a value.
    dropped: (usize, usize),
    /// Number of cells and metrics that are missing on one side only: cells in A, cells in B, metrics in A, metrics
    /// in B.
    missing: [(MissingItem, MissingSide, usize); 4],
    /// Number of rows that must not be compared.
    not_compared: usize,
    allow_missing: bool,
    /// Number of compared rows, and of the inconclusive ones among them.
    compared: (usize, usize),
}

impl Gate {
    /// The gate of these rows. It judges the metrics of `plan` with a gate of their own, or every metric if none has
    /// one, and missing cells and VMs. With `allow_missing`, cells and metrics may be missing on one side.
    #[must_use]
    pub fn new(comparisons: &[Comparison], plan: &Plan, allow_missing: bool) -> Self {
        let gates: BTreeMap<&str, MetricGate> =
            plan.metrics.iter().filter_map(|metric| Some((metric.name.as_str(), metric.gate?))).collect();
        let is_judged = |row: &&Comparison| {
            gates.is_empty()
                || gates.contains_key(row.metric.as_str())
                || [EVERY_METRIC, VMS_COMPLETED].contains(&row.metric.as_str())
        };
        let judged = || comparisons.iter().filter(is_judged);
        let with_verdict = |verdict: Verdict| judged().filter(move |row| row.verdict == verdict);
        let metrics: BTreeSet<&str> = with_verdict(Verdict::Worse).map(|row| row.metric.as_str()).collect();
        let both_ways = |row: &&Comparison| gates.get(row.metric.as_str()).is_some_and(|gate| gate.both_ways);
        let changed =
            [Verdict::Better, Verdict::Differs].map(|verdict| with_verdict(verdict).filter(both_ways).count());
        let mut margins: Vec<f64> = with_verdict(Verdict::Worse).filter_map(|row| row.margin).collect();
        margins.dedup();
        let missing = [
            (MissingItem::Cell, MissingSide::A),
            (MissingItem::Cell, MissingSide::B),
            (MissingItem::Metric, MissingSide::A),
            (MissingItem::Metric, MissingSide::B),
        ];
        let count_missing = |item: MissingItem, side: MissingSide| {
            let is_missing = |row: &&Comparison| row.missing.is_some_and(|own| own.item == item && own.side == side);
            judged().filter(is_missing).count()
        };
        Self {
            margin: if let [margin] = margins.as_slice() { Some(*margin) } else { None },
            changed: changed.iter().sum(),
            worse: (with_verdict(Verdict::Worse).count(), metrics.len()),
            dropped: (
                with_verdict(Verdict::Dropped).filter(|row| row.metric == VMS_COMPLETED).count(),
                with_verdict(Verdict::Dropped).filter(|row| row.metric != VMS_COMPLETED).count(),
            ),
            missing: missing.map(|(item, side)| (item, side, count_missing(item, side))),
            not_compared: with_verdict(Verdict::NotCompared).count(),
            allow_missing,
            compared: (judged().filter(|row| row.is_compared()).count(), with_verdict(Verdict::Inconclusive).count()),
        }
    }

    /// Whether the gate passes: no row is worse, no share of VMs dropped, and, unless allowed, nothing is missing on
    /// one side only and every row may be compared.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.worse.0 + self.changed == 0
            && self.dropped == (0, 0)
            && (self.allow_missing || self.missing() + self.not_compared == 0)
    }

    /// Whether no two values were compared, in which case a passing gate means nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.compared.0 == 0
    }

    fn missing(&self) -> usize {
        self.missing.iter().map(|(_, _, count)| count).sum()
    }

    /// Why the gate does not pass, or that every comparison is inconclusive; `None` if the gate passes otherwise.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        if self.passes() {
            return self.undecided();
        }
        let mut parts = Vec::new();
        let beyond = self
            .margin
            .map_or_else(|| "its margin".to_owned(), |margin| format!("the {} margin", declared_percent(margin)));
        match self.worse {
            (0, _) => {}
            (rows, metrics) if rows == metrics => {
                let verb = if rows == 1 { "is" } else { "are" };
                parts.push(format!("{} {verb} worse beyond {beyond}", count(rows, "metric")));
            }
            (rows, metrics) => {
                parts.push(format!("{rows} comparisons of {} are worse beyond {beyond}", count(metrics, "metric")))
            }
        }
        match self.changed {
            0 => {}
            1 => parts.push("1 row differs, of a metric that is gated both ways".to_owned()),
            rows => parts.push(format!("{rows} rows differ, of metrics that are gated both ways")),
        }
        if !self.allow_missing {
            for (item, side, rows) in self.missing.iter().filter(|(_, _, rows)| *rows > 0) {
                let verb = if *rows == 1 { "is" } else { "are" };
                parts.push(format!("{} {verb} missing in {side}", count(*rows, item.into())));
            }
        }
        match self.not_compared {
            0 => {}
            _ if self.allow_missing => {}
            1 => parts.push("1 row must not be compared".to_owned()),
            rows => parts.push(format!("{rows} rows must not be compared")),
        }
        match self.dropped.0 {
            0 => {}
            1 => parts.push("1 cell completes a smaller share of its VMs in B".to_owned()),
            cells => parts.push(format!("{cells} cells complete a smaller share of their VMs in B")),
        }
        match self.dropped.1 {
            0 => {}
            1 => parts.push("1 metric has values of a smaller share of VMs in B".to_owned()),
            metrics => parts.push(format!("{metrics} metrics have values of a smaller share of VMs in B")),
        }
        let regression = self.worse.0 + self.changed > 0 || self.dropped != (0, 0);
        let head = if regression { "regression" } else { "the gate does not pass" };
        let allowed = if self.missing() + self.not_compared == 0 || self.allow_missing || regression {
            ""
        } else {
            " (`--allow-missing` lets missing cells and metrics pass)"
        };
        Some(format!("{head}: {}{allowed}", parts.join("; ")))
    }

    fn undecided(&self) -> Option<String> {
        let (all, inconclusive) = self.compared;
        (all > 0 && all == inconclusive).then(|| {
            format!(
                "the gate passes, but nothing is decided: {} inconclusive; more trials make the intervals narrower",
                if all == 1 { "the only comparison is".to_owned() } else { format!("all {all} comparisons are") }
            )
        })
    }
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
