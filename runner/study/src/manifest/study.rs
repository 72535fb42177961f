//! A validated study: what a manifest means once every name in it is known to be right.

use std::collections::BTreeMap;

use microbench_formats::axis::{Axis, Level};
use microbench_formats::cell::Cell;
use microbench_formats::claim::Claim;
use microbench_formats::figure::Figure;
use microbench_formats::metric::Metric;
use microbench_formats::plan::{Exclusion, Limit, Protocol};
use microbench_formats::precision::Precision;
use microbench_formats::reference::Reference;
use microbench_formats::workload::Workload;

use super::profiles::Profile;

/// A study. Only [`load`](super::load) and [`parse`](super::parse) make one, so that its names refer to each other
/// correctly, its cells are at most [`MAX_CELLS`](super::MAX_CELLS) and no two of them have one id.
#[derive(Clone, Debug, PartialEq)]
pub struct Study {
    /// Name of the study (`[a-z0-9-]+`), for run directories.
    pub name: String,
    /// One line for titles.
    pub title: String,
    /// What the study is for; `None` when the manifest does not say.
    pub description: Option<String>,
    /// Which reading of the 2019 paper's protocol it follows where the manifest does not say otherwise.
    pub protocol: Protocol,
    /// Seed of the run order.
    pub seed: u64,
    /// Every variant of the manifest, in its order, whether a cell uses it or not.
    pub variants: Vec<Variant>,
    /// Axes of the matrix: `variant`, `concurrency`, then the others in manifest order.
    pub axes: Vec<Axis>,
    /// Every cell: the product in manifest order without what is excluded, then what is included.
    pub cells: Vec<Cell>,
    /// Combinations that an exclude line took out and no include line put back.
    pub excluded: Vec<Exclusion>,
    /// Each distinct machine is warmed up by one VM a session, which never counts.
    pub warmup: bool,
    /// A cell is given up after so many trials in a row in which no VM completed; 0 for never.
    pub max_consecutive_failures: u32,
    /// Other numbers of trials by name; that of the cells is the profile `full`.
    pub profiles: Vec<Profile>,
    /// Trials in which an instrument is attached to the VMM, of each cell of one VM, when a metric needs one.
    pub instrument_trials: u32,
    /// What each VM is measured on.
    pub metrics: Vec<Metric>,
    /// Work that each guest is given, one a metric, in manifest order.
    pub workloads: Vec<Workload>,
    /// When there are enough trials; `None` to run each.
    pub precision: Option<Precision>,
    /// How far the levels of concurrency go; `None` to run each.
    pub limit: Option<Limit>,
    /// Metrics whose comparisons are one family of tests; empty for all.
    pub family: Vec<String>,
    /// What is drawn.
    pub figures: Vec<Figure>,
    /// Sentences to judge.
    pub claims: Vec<Claim>,
    /// Published values.
    pub reference: Option<Reference>,
    /// The manifest's text, as it was read: what a run directory keeps.
    pub source: String,
    /// Where it says what.
    pub places: Places,
}

/// Lines of a manifest, from 1: what `plan --explain` names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Places {
    /// For each axis, the line of each of its levels; 0 where nobody wrote it.
    pub levels: BTreeMap<String, Vec<u32>>,
    /// The line of [matrix] that says how many trials a cell has, by its concurrency.
    pub trials: BTreeMap<u32, u32>,
    /// What added a cell that is not of the product, by the cell's id.
    pub included: BTreeMap<String, Included>,
}

/// A line of `include`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Included {
    /// The line.
    pub line: u32,
    /// The line that says how many trials the cell has; `None` for that of [matrix].
    pub trials: Option<u32>,
}

/// What set a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody: the default of the program.
    BuiltIn,
    /// The study's protocol, for the reason that it gives.
    Protocol(&'static str),
    /// The default of the engine's description.
    Engine,
    /// A line of the manifest, in this table.
    Manifest {
        /// The line, from 1.
        line: u32,
        /// The table, for instance `[guest]`.
        table: String,
    },
}

/// One labelled configuration under test.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Key in the manifest.
    pub key: String,
    /// Name in figures.
    pub label: String,
    /// Name of the engine.
    pub engine: String,
    /// Effective settings before an axis changes them: defaults, then `[guest]`, then the variant's own. A setting
    /// without a default that only an axis gives is not among them.
    pub settings: BTreeMap<String, Level>,
    /// What set each of them.
    pub origins: BTreeMap<String, Origin>,
}
