//! The noise floor of a host: what a comparison of a cell with itself comes to.
//!
//! A run of one cell under two labels, in blocks of one trial each, is cut into repetitions of so many blocks. Each is a
//! comparison (see [`compare`](crate::compare)) of which the truth is known: nothing differs.

use std::fmt::Write as _;

use crate::compare::{self, Settings, Verdict};
use crate::record::Plan;
use crate::samples::Sample;
use crate::summary::summarise;
use crate::terminal::table;

/// Names of the two labels: the variants of such a plan.
pub const LABELS: [&str; 2] = ["A", "B"];

/// The noise floor of one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Floor {
    /// The metric.
    pub metric: String,
    /// `|ratio - 1|` of each repetition, in their order.
    pub apart: Vec<f64>,
    /// What each came to.
    pub verdicts: Vec<Verdict>,
}

impl Floor {
    /// The largest difference between the cell and itself.
    #[must_use]
    pub fn largest(&self) -> f64 {
        self.apart.iter().copied().fold(0.0, f64::max)
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.verdicts.iter().filter(|other| **other == verdict).count()
    }

    /// Repetitions in which the cell was found to differ from itself.
    #[must_use]
    pub fn wrong(&self) -> usize {
        self.count(Verdict::Faster) + self.count(Verdict::Slower)
    }
}

/// The floor of every metric of `plan` that was measured, from repetitions of `blocks` blocks each.
#[must_use]
pub fn floors(plan: &Plan, samples: &[Sample], blocks: u32, settings: &Settings) -> Vec<Floor> {
    let all = plan.trials.iter().map(|trial| trial.block + 1).max().unwrap_or(0);
    let mut floors: Vec<Floor> = (plan.metrics.iter())
        .map(|metric| Floor { metric: metric.name.clone(), apart: Vec::new(), verdicts: Vec::new() })
        .collect();
    for repetition in 0..all / blocks.max(1) {
        let own: Vec<Sample> =
            samples.iter().filter(|sample| sample.block / blocks.max(1) == repetition).cloned().collect();
        let rows = summarise(plan, &own);
        let (first, second): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| plan.cells.first().is_some_and(|cell| cell.id == row.cell));
        let other = plan.cells.get(1).map_or_else(String::new, |cell| cell.id.to_string());
        let settings = Settings { seed: settings.seed.wrapping_add(u64::from(repetition)), ..settings.clone() };
        for one in compare::compare(&first, &second, &settings, |_| vec![other.clone()]) {
            if let Some(floor) = floors.iter_mut().find(|floor| floor.metric == one.metric) {
                let Some(ratio) = one.ratio else { continue };
                floor.apart.push((ratio - 1.0).abs());
                floor.verdicts.push(one.verdict);
            }
        }
    }
    floors.retain(|floor| !floor.apart.is_empty());
    floors
}

/// The floors as a table, with the host they are of.
#[must_use]
pub fn text(floors: &[Floor], plan: &Plan, samples: &[Sample], blocks: u32, settings: &Settings) -> String {
    let mut out = String::new();
    if let Some(host) = samples.iter().find_map(|sample| sample.host) {
        let _ = writeln!(out, "host: {}", host.note());
    }
    let cell = plan.cells.first().map_or("", |cell| &cell.label);
    let _ = writeln!(
        out,
        "{cell} against itself: repetitions of {blocks} trials under each label, in blocks of one of each; margin {:.1} %\n",
        settings.margin.unwrap_or(0.0) * 100.0
    );
    let header =
        ["metric", "repetitions", "apart, median", "apart, largest", "faster", "slower", "equivalent", "inconclusive"];
    let rows = floors.iter().map(|floor| {
        let median = crate::stats::median::median(&floor.apart).unwrap_or(0.0);
        [
            floor.metric.clone(),
            floor.apart.len().to_string(),
            format!("{:.3} %", median * 100.0),
            format!("{:.3} %", floor.largest() * 100.0),
            floor.count(Verdict::Faster).to_string(),
            floor.count(Verdict::Slower).to_string(),
            floor.count(Verdict::Equivalent).to_string(),
            floor.count(Verdict::Inconclusive).to_string(),
        ]
    });
    out.push_str(&table(std::iter::once(header.map(str::to_owned)).chain(rows), 1..8));
    out.push_str(
        "\nThe noise floor is the largest: a smaller difference between two cells of this host says nothing.\n",
    );
    out
}
