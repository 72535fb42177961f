//! A validated study: what a manifest means once every name in it is known to be right.

use std::collections::BTreeMap;

use microbench_plots::record::{Axis, Cell, Exclusion, Figure, Level, Metric};

/// A study. Only [`load`](super::load) and [`parse`](super::parse) make one, so that its names refer to each other
/// correctly, its cells are at most [`MAX_CELLS`](super::MAX_CELLS) and no two of them have one id.
#[derive(Clone, Debug, PartialEq)]
pub struct Study {
    /// Name of the study (`[a-z0-9-]+`), for run directories.
    pub name: String,
    /// One line for titles.
    pub title: String,
    /// What the study is for; empty when the manifest does not say.
    pub description: String,
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
    /// Trials of each cell that run first and never count.
    pub warmup: u32,
    /// What each VM is measured on.
    pub metrics: Vec<Metric>,
    /// Work that each guest is given, one a metric, in manifest order.
    pub works: Vec<Work>,
    /// What is drawn.
    pub figures: Vec<Figure>,
    /// The manifest's text, as it was read: what a run directory keeps.
    pub source: String,
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
}

/// Work for the guest, timed on its clock and reported as `work.<metric>.duration`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// [`Metric::name`](microbench_plots::record::Metric::name) that the work is for.
    pub metric: String,
    /// What is to be done.
    pub kind: WorkKind,
    /// Bytes of input in each round.
    pub bytes: u64,
    /// Number of rounds.
    pub rounds: u32,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkKind {
    /// SHA-256 of the input.
    Sha256,
}

impl WorkKind {
    /// Every kind with its name in the manifest.
    pub const ALL: &[(&str, Self)] = &[("sha256", Self::Sha256)];

    /// Name in the manifest.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
        }
    }
}
