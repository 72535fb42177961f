//! Results of benchmarks: rows of the table and points of cost curves.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// Results of one benchmark, or of all.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Outcome {
    pub(crate) rows: Vec<Row>,
    pub(crate) curves: Vec<Point>,
}

/// Row of the table.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// Description of the measured value.
    pub(crate) what: String,
    /// Unit of all values of the row.
    pub(crate) unit: &'static str,
    pub(crate) ours: Figure,
    /// Alternative tool.
    pub(crate) peer: Option<Named>,
    /// Lower limit of any implementation.
    pub(crate) limit: Option<Named>,
    /// Description of the goal.
    pub(crate) goal: &'static str,
    /// Whether the goal was met; `None` without a goal.
    pub(crate) met: Option<bool>,
}

/// Value of another tool.
#[derive(Debug, Serialize)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) figure: Figure,
}

/// Median, minimum and maximum over the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) n: usize,
    /// Value of each round, in order. Leaked, so that a figure can be copied: a process makes some hundred of them.
    pub(crate) rounds: &'static [f64],
}

/// Studies of bench/curves that plot cost curves: name, axis of the sizes, and size of one unit of the axis.
const CURVES: [(&str, &str, f64); 3] =
    [("trial", "concurrency", 1.0), ("plan", "thousand_cells", 1e3), ("analysis", "million_samples", 1e6)];

/// Value of a cost curve, for `microbench import`.
#[derive(Debug, Serialize)]
pub(crate) struct Point {
    /// Name of a metric, which begins with the study's name ([`CURVES`]).
    pub(crate) metric: &'static str,
    /// Number of VMs, cells or samples.
    pub(crate) size: u64,
    /// Round of the benchmark, from 1.
    pub(crate) round: usize,
    /// Value in the metric's unit.
    pub(crate) value: f64,
}

impl Figure {
    /// Summarises the values of the rounds.
    ///
    /// # Panics
    /// Panics if there are no values.
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        assert!(n > 0, "no rounds");
        let median = f64::midpoint(sorted[(n - 1) / 2], sorted[n / 2]);
        Self { median, least: sorted[0], most: sorted[n - 1], n, rounds: values.to_vec().leak() }
    }
}

impl Outcome {
    /// Writes a CSV file to `folder` for each study of [`CURVES`] of which there are points.
    pub(crate) fn write_curves(&self, folder: &Path) -> Result<()> {
        for (study, axis, unit) in CURVES {
            let mut csv = format!("{axis},metric,trial,value\n");
            let header = csv.len();
            let own = |metric: &str| metric.split('_').next() == Some(study);
            for Point { metric, size, round, value } in self.curves.iter().filter(|point| own(point.metric)) {
                writeln!(csv, "{},{metric},{round},{value}", *size as f64 / unit)?;
            }
            if csv.len() > header {
                let path = folder.join(format!("{study}.csv"));
                fs::write(&path, csv).with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figure_is_the_median_with_its_range() {
        let rounds = &[3.0, 1.0, 2.0];
        assert_eq!(Figure::of(rounds), Figure { median: 2.0, least: 1.0, most: 3.0, n: 3, rounds });
        assert!((Figure::of(&[4.0, 1.0, 2.0, 3.0]).median - 2.5).abs() < 1e-12);
    }
}
