//! The gate: whether a comparison lets a change pass, and why not.

use std::collections::BTreeSet;

use super::{Comparison, Lacking, VMS_COMPLETED, Verdict, What};

/// What decides whether the gate passes.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    margin: f64,
    /// Rows that are worse, and the metrics among them.
    worse: (usize, usize),
    /// Cells in which a smaller share of VMs completed, and metrics to which a smaller share gave a value.
    dropped: (usize, usize),
    /// Cells and metrics that one side alone lacks, in this order: cells in A, in B, metrics in A, in B.
    missing: [(What, Lacking, usize); 4],
    allow_missing: bool,
    /// Rows with two values, and those of them that are inconclusive.
    contrasts: (usize, usize),
}

impl Gate {
    /// What the rows come to. `margin` is the declared one; with `allow_missing` a side may lack cells and metrics.
    #[must_use]
    pub fn of(comparisons: &[Comparison], margin: f64, allow_missing: bool) -> Self {
        let of = |verdict: Verdict| comparisons.iter().filter(move |one| one.verdict == verdict);
        let metrics: BTreeSet<&str> = of(Verdict::Worse).map(|one| one.metric.as_str()).collect();
        let missing = [
            (What::Cell, Lacking::A),
            (What::Cell, Lacking::B),
            (What::Metric, Lacking::A),
            (What::Metric, Lacking::B),
        ];
        let lacks = |what: What, side: Lacking| {
            let is_it = |one: &&Comparison| one.missing.is_some_and(|own| own.what == what && own.side == side);
            comparisons.iter().filter(is_it).count()
        };
        Self {
            margin,
            worse: (of(Verdict::Worse).count(), metrics.len()),
            dropped: (
                of(Verdict::Dropped).filter(|one| one.metric == VMS_COMPLETED).count(),
                of(Verdict::Dropped).filter(|one| one.metric != VMS_COMPLETED).count(),
            ),
            missing: missing.map(|(what, side)| (what, side, lacks(what, side))),
            allow_missing,
            contrasts: (comparisons.iter().filter(|one| one.is_contrast()).count(), of(Verdict::Inconclusive).count()),
        }
    }

    /// Whether the gate passes: nothing is worse, no share of VMs dropped, and, unless that is allowed, no side
    /// alone lacks a value.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.worse.0 == 0 && self.dropped == (0, 0) && (self.allow_missing || self.missing() == 0)
    }

    /// Whether no two values were compared, so that a gate that passes has judged nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.contrasts.0 == 0
    }

    fn missing(&self) -> usize {
        self.missing.iter().map(|(_, _, count)| count).sum()
    }

    /// Why the gate does not pass, or that nothing was decided; `None` when there is nothing to say.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        if self.passes() {
            return self.undecided();
        }
        let mut parts = Vec::new();
        let margin = (self.margin * 1e5).round() / 1e3;
        match self.worse {
            (0, _) => {}
            (rows, metrics) if rows == metrics => {
                let verb = if rows == 1 { "is" } else { "are" };
                parts.push(format!("{} {verb} worse beyond the {margin} % margin", count(rows, "metric")));
            }
            (rows, metrics) => parts.push(format!(
                "{rows} comparisons of {} are worse beyond the {margin} % margin",
                count(metrics, "metric")
            )),
        }
        if !self.allow_missing {
            for (what, side, rows) in self.missing.iter().filter(|(_, _, rows)| *rows > 0) {
                let verb = if *rows == 1 { "is" } else { "are" };
                parts.push(format!("{} {verb} missing in {side}", count(*rows, what.into())));
            }
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
        let regression = self.worse.0 > 0 || self.dropped != (0, 0);
        let head = if regression { "regression" } else { "the gate does not pass" };
        let allowed = if self.missing() == 0 || self.allow_missing || regression {
            ""
        } else {
            " (`--allow-missing` lets missing cells and metrics pass)"
        };
        Some(format!("{head}: {}{allowed}", parts.join("; ")))
    }

    fn undecided(&self) -> Option<String> {
        let (all, inconclusive) = self.contrasts;
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
