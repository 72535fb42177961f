//! One execution of a trial: what whoever executes it is told.

use microbench_formats::instrument::Instrument;
use serde::{Deserialize, Serialize};

/// One trial to execute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobTrial {
    /// Index in the plan.
    pub index: u32,
    /// 0 for the first execution.
    pub attempt: u32,
    /// A warm-up of one VM.
    pub warmup: bool,
    /// The cell.
    pub cell: String,
    /// What is attached to its VMMs.
    pub instrument: Option<Instrument>,
}
