//! The noise floor of a host: the differences that comparisons of a cell with itself find (A/A test).
//!
//! A run of one cell under two labels, with one trial of each in a block, is divided into repetitions of several
//! blocks. Each repetition is a comparison (see [`compare`](crate::compare)) whose true ratio is 1.

use std::fmt::Write as _;

use microbench_formats::plan::Plan;
use microbench_formats::terminal::{Column, OutputWidth, fitted, wrapped_to};

use crate::compare::{self, Pair, Settings, Side, Verdict};
use crate::completed::ByCell;
use crate::number;
use crate::samples::Sample;
use crate::summary::summarise;

/// The noise floor of one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseFloor {
    pub metric: String,
    /// `|ratio - 1|` of each repetition that has a ratio, in order.
    pub deviations: Vec<f64>,
    /// The verdict of each repetition.
    pub verdicts: Vec<Verdict>,
}

impl NoiseFloor {
    /// The largest deviation: the noise floor.
    #[must_use]
    pub fn largest(&self) -> f64 {
        self.deviations.iter().copied().fold(0.0, f64::max)
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.verdicts.iter().filter(|other| **other == verdict).count()
    }

    /// The number of repetitions with a false difference.
    #[must_use]
    pub fn false_differences(&self) -> usize {
        self.verdicts.iter().filter(|verdict| verdict.is_difference()).count()
    }
}

/// The noise floor of every measured metric of `plan`, from repetitions of `blocks` blocks each.
#[must_use]
pub fn noise_floors(plan: &Plan, samples: &[Sample], blocks: u32, settings: &Settings) -> Vec<NoiseFloor> {
    let all = plan.trials.iter().map(|trial| trial.block + 1).max().unwrap_or(0);
    let mut floors: Vec<NoiseFloor> = (plan.metrics.iter())
        .map(|metric| NoiseFloor { metric: metric.name.clone(), deviations: Vec::new(), verdicts: Vec::new() })
        .collect();
    for repetition in 0..all / blocks.max(1) {
        let own: Vec<Sample> =
            samples.iter().filter(|sample| sample.block / blocks.max(1) == repetition).cloned().collect();
        let (rows, completed) = (summarise(plan, &own), ByCell::new());
        let run = Side { plan, rows: &rows, completed: &completed };
        let [first, second, ..] = plan.cells.as_slice() else { break };
        let settings = Settings { seed: settings.seed.wrapping_add(u64::from(repetition)), ..settings.clone() };
        let found = compare::compare(run, run, &[Pair::new(&first.id, &second.id)], &settings);
        for comparison in found.into_iter().filter(compare::Comparison::is_contrast) {
            if let Some(floor) = floors.iter_mut().find(|floor| floor.metric == comparison.metric) {
                floor.deviations.extend(comparison.ratio.map(|ratio| (ratio - 1.0).abs()));
                floor.verdicts.push(comparison.verdict);
            }
        }
    }
    floors.retain(|floor| !floor.verdicts.is_empty());
    floors
}

/// The noise floors as a table that fits `width`, with the host and the design.
#[must_use]
pub fn render(
    floors: &[NoiseFloor],
    plan: &Plan,
    samples: &[Sample],
    blocks: u32,
    settings: &Settings,
    width: OutputWidth,
) -> String {
    const COLUMNS: [Column; 9] = [
        Column::left("metric", 0),
        Column::right("repetitions", 0),
        Column::right("median deviation", 1),
        Column::right("largest deviation", 0),
        Column::right("better", 2),
        Column::right("worse", 2),
        Column::right("differs", 2),
        Column::right("equivalent", 3),
        Column::right("inconclusive", 3),
    ];
    const VERDICTS: [Verdict; 5] =
        [Verdict::Better, Verdict::Worse, Verdict::Differs, Verdict::Equivalent, Verdict::Inconclusive];
    let mut out = String::new();
    let mut push = |line: &str| {
        let _ = writeln!(out, "{}", wrapped_to(width.prose, line, 0));
    };
    if let Some(host) = samples.iter().find_map(|sample| sample.host) {
        push(&format!("host: {}", host.note()));
    }
    let cell = plan.cells.first().map_or("", |cell| &cell.label);
    push(&format!(
        "A/A test of {cell}: each repetition has {blocks} trials under each label, in blocks of one trial of each; \
         equivalence margin {}; deviation: |ratio - 1|\n",
        number::declared_percent(settings.margin.unwrap_or(0.0))
    ));
    let percent = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number::percent);
    let row = |floor: &NoiseFloor| {
        let largest = (!floor.deviations.is_empty()).then(|| floor.largest());
        let mut row = vec![
            floor.metric.clone(),
            floor.verdicts.len().to_string(),
            percent(crate::stats::median::median(&floor.deviations)),
            percent(largest),
        ];
        row.extend(VERDICTS.map(|verdict| floor.count(verdict).to_string()));
        row
    };
    let (table, left_out) = fitted(&COLUMNS, &floors.iter().map(row).collect::<Vec<_>>(), width.table);
    out.push_str(&table);
    out.push_str(&width.left_out(&left_out));
    let end = "The largest deviation is the noise floor: a smaller difference between two cells on this host is not a \
               finding.";
    let _ = write!(out, "\n{}\n", wrapped_to(width.prose, end, 0));
    out
}
