//! A study: a valid manifest with all names looked up.

use std::collections::{BTreeMap, BTreeSet};

use microbench_formats::attribution::Attribution;
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

/// A valid study, made by [`load`](super::load) or [`parse`](super::parse).
///
/// All names refer to existing things. It has at most [`MAX_CELLS`](super::MAX_CELLS) cells, all with different ids.
#[derive(Clone, Debug, PartialEq)]
pub struct Study {
    /// Name (`[a-z0-9-]+`), used in the names of run directories.
    pub name: String,
    /// One line.
    pub title: String,
    /// One line; `None` if the manifest has no `description`.
    pub description: Option<String>,
    /// Authors, licence and DOI.
    pub attribution: Attribution,
    /// The form of the 2019 paper's protocol that sets defaults.
    pub protocol: Protocol,
    /// Seed of the run order.
    pub seed: u64,
    /// All variants in the order of the manifest, including those without a cell.
    pub variants: Vec<Variant>,
    /// Axes of the matrix: `variant`, `concurrency`, then the others in manifest order.
    /// Engines of cells whose guests share the host's kernel.
    pub shared_kernel: BTreeSet<String>,
    pub axes: Vec<Axis>,
    /// All cells: the product without excluded combinations, in the order of the manifest, then the included cells.
    pub cells: Vec<Cell>,
    /// Combinations that `exclude` removes and `include` does not add again.
    pub excluded: Vec<Exclusion>,
    /// Number of times that all trials are executed, each time with new hosts.
    pub repetitions: u32,
    /// Run one uncounted VM of each distinct machine at the start of a session.
    pub warmup: bool,
    /// Number of trials in a row without a completed VM after which a cell is given up; 0 for never.
    pub max_consecutive_failures: u32,
    /// The profiles of the manifest. The implicit profile `full` is not among them.
    pub profiles: Vec<Profile>,
    /// Trials with an instrument, for each cell of one VM. They run only if a metric needs an instrument.
    pub instrument_trials: u32,
    pub metrics: Vec<Metric>,
    /// Workloads of each guest in the order of the manifest, at most one for each metric.
    pub workloads: Vec<Workload>,
    /// The stopping rule; `None` to run all trials.
    pub precision: Option<Precision>,
    /// The limit of the levels of concurrency; `None` to run all levels.
    pub limit: Option<Limit>,
    /// Metrics whose comparisons form one family of tests; empty for all metrics.
    pub family: Vec<String>,
    /// Whether cells of different CPUs of the emulated host may be compared.
    pub across_host_cpus: bool,
    pub figures: Vec<Figure>,
    pub claims: Vec<Claim>,
    /// Published values.
    pub reference: Option<Reference>,
    /// The manifest's text as it was read. A run directory keeps a copy.
    pub source: String,
    /// Lines of the manifest that set levels and trials.
    pub places: Places,
}

/// Line numbers of a manifest, from 1, that `plan --explain` shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Places {
    /// For each axis, the line of each level; 0 for a default level.
    pub levels: BTreeMap<String, Vec<u32>>,
    /// The line of `[matrix]` with the number of trials, by concurrency.
    pub trials: BTreeMap<u32, u32>,
    /// The line of `include` that added a cell, by the cell's id.
    pub included: BTreeMap<String, Included>,
}

/// A line of `include`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Included {
    pub line: u32,
    /// The line with the cell's number of trials; `None` if `[matrix]` sets it.
    pub trials: Option<u32>,
}

/// The origin of a setting's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The default of the program.
    BuiltIn,
    /// The protocol of the study, with its reason.
    Protocol(&'static str),
    /// The default in the engine's description.
    Engine,
    /// A line of the manifest.
    Manifest {
        /// From 1.
        line: u32,
        /// The table, for instance `[guest]`.
        table: String,
    },
}

/// One configuration under test.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    pub key: String,
    /// Name in figures and tables.
    pub label: String,
    pub engine: String,
    /// Effective settings before axes: defaults, overridden by `[guest]`, overridden by the variant. A setting that has
    /// no default and is only an axis is not included.
    pub settings: BTreeMap<String, Level>,
    /// The origin of each setting.
    pub origins: BTreeMap<String, Origin>,
}
