//! The noise floor of a host: what a comparison of a cell with itself comes to.
//!
//! A run of one cell under two labels, in blocks of one trial each, is cut into repetitions of so many blocks. Each is a
//! comparison (see [`compare`](crate::compare)) of which the truth is known: nothing differs.

use std::fmt::Write as _;

use microbench_formats::plan::Plan;
use microbench_formats::terminal::aligned;

use crate::compare::{self, Pair, Settings, Side, Verdict};
use crate::completed::ByCell;
use crate::samples::Sample;
use crate::summary::summarise;

/// The noise floor of one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Floor {
    /// The metric.
    pub metric: String,
    /// `|ratio - 1|` of each repetition that has a ratio, in their order.
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
        self.verdicts.iter().filter(|verdict| verdict.is_difference()).count()
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
        let (rows, completed) = (summarise(plan, &own), ByCell::new());
        let run = Side { plan, rows: &rows, completed: &completed };
        let [first, second, ..] = plan.cells.as_slice() else { break };
        let settings = Settings { seed: settings.seed.wrapping_add(u64::from(repetition)), ..settings.clone() };
        let found = compare::compare(run, run, &[Pair::of(&first.id, &second.id)], &settings);
        for one in found.into_iter().filter(compare::Comparison::is_contrast) {
            if let Some(floor) = floors.iter_mut().find(|floor| floor.metric == one.metric) {
                floor.apart.extend(one.ratio.map(|ratio| (ratio - 1.0).abs()));
                floor.verdicts.push(one.verdict);
            }
        }
    }
    floors.retain(|floor| !floor.verdicts.is_empty());
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
    let verdicts = [Verdict::Better, Verdict::Worse, Verdict::Differs, Verdict::Equivalent, Verdict::Inconclusive];
    let mut header = ["metric", "repetitions", "apart, median", "apart, largest"].map(str::to_owned).to_vec();
    header.extend(verdicts.map(|verdict| verdict.to_string()));
    let percent = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{:.3} %", value * 100.0));
    let mut lines = vec![header];
    lines.extend(floors.iter().map(|floor| {
        let largest = (!floor.apart.is_empty()).then(|| floor.largest());
        let mut line = vec![
            floor.metric.clone(),
            floor.verdicts.len().to_string(),
            percent(crate::stats::median::median(&floor.apart)),
            percent(largest),
        ];
        line.extend(verdicts.map(|verdict| floor.count(verdict).to_string()));
        line
    }));
    let right: Vec<bool> = (0..lines[0].len()).map(|column| column > 0).collect();
    out.push_str(&aligned(&lines, &right));
    out.push_str(
        "\nThe noise floor is the largest: a smaller difference between two cells of this host says nothing.\n",
    );
    out
}
