//! Request to execute a trial. The runner sends it to the emulated host, or executes it itself.

use microbench_formats::instrument::Instrument;
use serde::{Deserialize, Serialize};

/// Request for one execution of (attempt at) a trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialRequest {
    /// Index of the trial in the plan.
    pub index: u32,
    /// Number of the attempt, from 0.
    pub attempt: u32,
    /// The trial is a warm-up: it has one VM, and its values do not count.
    pub warmup: bool,
    /// Identifier of the cell.
    pub cell: String,
    /// Instrument that the VMMs run under; `None` in a timed trial.
    pub instrument: Option<Instrument>,
}
