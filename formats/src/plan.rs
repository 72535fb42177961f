//! `plan.json`: a study, expanded.

use serde::{Deserialize, Serialize};

use crate::axis::Axis;
use crate::cell::Cell;
use crate::claim::Claim;
use crate::code::Code;
use crate::figure::Figure;
use crate::instrument::Instrument;
use crate::metric::Metric;
use crate::name::Name;
use crate::precision::Precision;
use crate::reference::Reference;
use crate::version::{FORMAT_VERSION, OLDEST_FORMAT, other_format};
use crate::workload::Workload;

/// A study, expanded: what to run, in which order, and what to make of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`FORMAT_VERSION`].
    pub format: u32,
    /// The study's name (`[a-z0-9-]+`).
    pub study: String,
    /// One line for titles.
    pub title: String,
    /// Which reading of the 2019 paper's protocol the settings and metrics follow where the manifest does not say otherwise.
    pub protocol: Protocol,
    /// The manifest's profile that decided on the trials; empty when it has none.
    pub profile: String,
    /// Seed of the run order.
    pub seed: u64,
    /// A cell's first trial in a session is preceded by a warm-up of one VM, which is kept, labelled, never counted.
    pub warmup: bool,
    /// A cell is given up after so many trials in a row in which no VM completed; 0 for never.
    pub give_up_after: u32,
    /// Names of the matrix's axes in manifest order (`variant`, `concurrency`, `rootfs` ...).
    pub axes: Vec<Axis>,
    /// Every cell in manifest order.
    pub cells: Vec<Cell>,
    /// Every trial in execution order; `index` counts from 0.
    pub trials: Vec<PlannedTrial>,
    /// What each VM is made to do between its start and its stop, in manifest order.
    pub workloads: Vec<Workload>,
    /// What each VM is measured on, in manifest order.
    pub metrics: Vec<Metric>,
    /// What is drawn, in manifest order.
    pub figures: Vec<Figure>,
    /// Sentences that the run is to judge, in manifest order.
    pub claims: Vec<Claim>,
    /// Published values to show beside the measured ones.
    pub reference: Option<Reference>,
    /// [`Metric::name`] of those whose comparisons make one family of tests; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub family: Vec<String>,
    /// When there are enough trials; `None` to run each that is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// How far the levels of concurrency go; `None` to run each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// Combinations of levels that an exclude line took out.
    pub excluded: Vec<Exclusion>,
}

/// How far a sweep of concurrency goes: beyond the first level at which a cell meets one of these, cells that are alike but for their
/// concurrency are not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// More than this share of the cell's VMs did not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<f64>,
    /// The VMs of a trial together take more than this of the host's memory, MiB: the median over trials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<f64>,
    /// Each further VM adds more than this to the start-up time, ms: the medians' difference to the level before, over the VMs more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_slope_ms: Option<f64>,
}

/// A reading of the 2019 paper's protocol.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Protocol {
    /// What the paper says.
    AsWritten,
    /// What its tool did.
    AsCoded,
    /// What measures the things that the paper names.
    #[default]
    Corrected,
}

/// One execution of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedTrial {
    /// Position in the execution order, from 0; names the trial in the journal.
    pub index: u32,
    /// Block of the randomised complete block design, from 0.
    pub block: u32,
    /// [`Cell::id`].
    pub cell: Name,
    /// What is attached to the VMMs; only metrics of the same instrument are sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instrument: Option<Instrument>,
}

/// A combination of levels that is not run, and the line that says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exclusion {
    /// The levels joined by `/`, as a cell's id.
    pub cell: String,
    /// Line of the manifest (1-based) that excluded it.
    pub line: u32,
}

/// Why the bytes of a plan cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is of a format that this program does not read.
    #[error("{}", other_format(*.0))]
    Format(u64),
    /// It is no plan.
    #[error("{0}")]
    Damaged(serde_json::Error),
}

impl Unreadable {
    /// The error's code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Format(_) => Code::OtherFormat,
            Self::Damaged(_) => Code::RunFileDamaged,
        }
    }
}

/// The plan in the bytes of `plan.json`.
///
/// # Errors
/// [`Unreadable`]; a plan of another format is told by that, whatever else is in it.
pub fn read(bytes: &[u8]) -> Result<Plan, Unreadable> {
    #[derive(Deserialize)]
    struct Versioned {
        format: u64,
    }
    let Versioned { format } = serde_json::from_slice(bytes).map_err(Unreadable::Damaged)?;
    if !(u64::from(OLDEST_FORMAT)..=u64::from(FORMAT_VERSION)).contains(&format) {
        return Err(Unreadable::Format(format));
    }
    let plan: Plan = serde_json::from_slice(bytes).map_err(Unreadable::Damaged)?;
    if let Some(cell) = plan.cells.iter().find(|cell| cell.concurrency > MAX_CONCURRENCY) {
        let problem = format!("the cell {} has {} VMs, more than {MAX_CONCURRENCY}", cell.id, cell.concurrency);
        return Err(Unreadable::Damaged(serde::de::Error::custom(problem)));
    }
    Ok(plan)
}

/// VMs of one trial at most: the address plan has one /24 of 10.0.0.0/8 for each.
const MAX_CONCURRENCY: u32 = 1 << 16;
