//! Instruments that a VMM is started under.

use serde::{Deserialize, Serialize};

/// What is attached to a VMM in trials of their own, because it would disturb a timed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Instrument {
    /// `strace -c -f`: counts system calls.
    Strace,
}
