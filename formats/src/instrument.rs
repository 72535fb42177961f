//! Instruments that observe a VMM.

use serde::{Deserialize, Serialize};

/// A tool that is attached to a VMM. It would disturb timed trials, so it is used in separate trials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Instrument {
    /// `strace -c -f`, which counts system calls.
    Strace,
}
