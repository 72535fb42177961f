//! Protocol between the runner and the init of the emulated host: one JSON value per line.
//!
//! The runner sends one [`Job`]; the init responds with [`Message`]s.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use microbench_formats::cell::Cell;
use microbench_formats::record::{ProbeError, Record};
use microbench_formats::workload::Workload;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::parts::Parts;
use crate::trial::budget::Budget;
use crate::trial::request::TrialRequest;

/// Hash of the sources of this build, hex digits. A runner and an init of different builds refuse to work
/// together.
pub const BUILD: &str = env!("MICROBENCH_BUILD");
pub const PORT_NAME: &str = "microbench";
/// Longest accepted line, bytes. It contains the records and consoles of one trial.
const LINE_LIMIT: u64 = 256 << 20;

/// Trials that the emulated host executes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    pub run: String,
    /// The cells of the trials.
    pub cells: Vec<Cell>,
    /// Engine, settings and files of each cell's VMs, by cell.
    pub parts: BTreeMap<String, Parts>,
    /// Workloads of every VM, in order.
    pub workloads: Vec<Workload>,
    /// The trials, in order of execution.
    pub trials: Vec<TrialRequest>,
    /// Failure budget of the cells.
    pub budget: Budget,
    /// Number of fake guests that measure the probe's error before the first trial.
    pub fake_guests: u32,
    /// Log filter of the init, in the syntax of `MICROBENCH_LOG`; it logs to the console. `None` for no logs.
    pub log: Option<String>,
}

/// Message from the init to the runner.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    Up {
        /// [`BUILD`] of the init.
        build: String,
    },
    /// Measured error of the probe in the emulated host.
    Probe(ProbeError),
    Begin(TrialRequest),
    End {
        /// Records from `TrialStart` to `TrialEnd`.
        records: Vec<Record>,
        /// Console logs by file name; invalid UTF-8 is replaced.
        consoles: BTreeMap<String, String>,
    },
    /// All trials have been executed.
    Done,
    /// The init cannot continue, for the contained reason.
    Failed(String),
}

/// Writes one value as a line.
///
/// ```
/// use microbench_measure::emulated_host::wire::{self, Message};
///
/// let mut line = Vec::new();
/// wire::send(&mut line, &Message::Done).unwrap();
/// assert_eq!(line, b"\"done\"\n");
/// assert!(matches!(wire::receive(&mut line.as_slice()).unwrap(), Some(Message::Done)));
/// ```
///
/// # Errors
/// Fails if the writer fails.
pub fn send<T: Serialize>(writer: &mut impl Write, value: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    writer.write_all(&line)?;
    writer.flush()
}

/// Reads one line as a value; `None` at the end of the stream.
///
/// # Errors
/// Fails if the reader fails, or if the line is too long or not valid.
pub fn receive<T: DeserializeOwned>(reader: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    let read = io::Read::take(&mut *reader, LINE_LIMIT).read_until(b'\n', &mut line)?;
    if read == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}
