//! Instruments that observe a VMM.

use serde::{Deserialize, Serialize};

/// An observer of a VMM that would disturb timed trials, so it is used in separate trials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Instrument {
    /// `strace -c -f`, which counts system calls.
    Strace,
    /// Perf events, which count system calls and reads of an I/O port.
    Perf,
}

impl Instrument {
    /// Every instrument, in the order of their trials.
    pub const ALL: [Self; 2] = [Self::Strace, Self::Perf];

    /// The name in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strace => "strace",
            Self::Perf => "perf events",
        }
    }
}
