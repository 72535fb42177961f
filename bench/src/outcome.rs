//! What a benchmark found: rows of the table and points of cost curves, and their files.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// Rows and curves of one benchmark or of all.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Outcome {
    pub(crate) rows: Vec<Row>,
    pub(crate) curves: Vec<Point>,
}

/// One line of the table.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// What was measured, with its definition, in words.
    pub(crate) what: String,
    /// Unit of all figures of the row.
    pub(crate) unit: &'static str,
    pub(crate) ours: Figure,
    /// The tool that one would use in its place.
    pub(crate) peer: Option<Named>,
    /// What nothing can be faster than.
    pub(crate) limit: Option<Named>,
    /// What was aimed at, in words.
    pub(crate) goal: &'static str,
    /// Whether it was met; `None` where nothing was aimed at.
    pub(crate) met: Option<bool>,
}

/// A named figure beside ours.
#[derive(Debug, Serialize)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) figure: Figure,
}

/// Median, least and most of the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) n: usize,
}

/// The studies of bench/curves by which costs are drawn, each with the axis that sizes are levels of and what one of its level is.
const CURVES: [(&str, &str, f64); 3] =
    [("trial", "concurrency", 1.0), ("plan", "thousand_cells", 1e3), ("analysis", "million_samples", 1e6)];

/// One value of a cost curve, which `microbench import` reads.
#[derive(Debug, Serialize)]
pub(crate) struct Point {
    /// A metric; its first word is the study's name ([`CURVES`]).
    pub(crate) metric: &'static str,
    /// The number of what costs: VMs, cells, samples.
    pub(crate) size: u64,
    /// Round of the benchmark, from 1.
    pub(crate) round: usize,
    /// In the metric's unit.
    pub(crate) value: f64,
}

impl Figure {
    /// Of the rounds' values.
    ///
    /// # Panics
    /// When there are none.
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        assert!(n > 0, "a figure needs a round");
        let median = f64::midpoint(sorted[(n - 1) / 2], sorted[n / 2]);
        Self { median, least: sorted[0], most: sorted[n - 1], n }
    }
}

impl Outcome {
    /// Writes `results.json`, `table.md` and the values of each study of [`CURVES`] into `folder`.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let put = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        put("results.json", serde_json::to_string_pretty(self)?)?;
        put("table.md", crate::table::markdown(&self.rows))?;
        for (study, axis, unit) in CURVES {
            let mut csv = format!("{axis},metric,trial,value\n");
            let own = |metric: &str| metric.split('_').next() == Some(study);
            for Point { metric, size, round, value } in self.curves.iter().filter(|point| own(point.metric)) {
                writeln!(csv, "{},{metric},{round},{value}", *size as f64 / unit)?;
            }
            put(&format!("{study}.csv"), csv)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_with_its_range() {
        assert_eq!(Figure::of(&[3.0, 1.0, 2.0]), Figure { median: 2.0, least: 1.0, most: 3.0, n: 3 });
        assert!((Figure::of(&[4.0, 1.0, 2.0, 3.0]).median - 2.5).abs() < 1e-12);
    }
}
