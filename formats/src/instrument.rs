//! Instruments that observe a VMM.

use serde::{Deserialize, Serialize};

use crate::cell::Cell;

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

    /// Why a plan has no trial of `cell` under this instrument.
    ///
    /// It has none of a cell of several VMs. strace slows a VMM down so much that its guest does not reach the reset
    /// pulses at which the runner ends it.
    #[must_use]
    pub fn why_not_planned(self, cell: &Cell) -> String {
        let at_pulses = cell.settings.get("stop_at").is_some_and(|at| at.to_string() == "reset-pulses");
        match self {
            _ if cell.concurrency > 1 => format!("trials under {} are of cells of one VM", self.name()),
            Self::Strace if at_pulses => "under strace the guest does not reach the reset pulses that end it \
                                          (`stop_at = \"reset-pulses\"`)"
                .to_owned(),
            _ => format!("no trial under {} is planned", self.name()),
        }
    }

    /// The name in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strace => "strace",
            Self::Perf => "perf events",
        }
    }
}
