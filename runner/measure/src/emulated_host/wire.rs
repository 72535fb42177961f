//! What the runner and its part inside the emulated host say to each other: one JSON value a line.
//!
//! The runner sends one [`Job`]; that part answers with [`Message`]s.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use microbench_formats::cell::Cell;
use microbench_formats::record::{ProbeError, Record};
use microbench_formats::workload::Workload;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::parts::Parts;
use crate::trial::budget::Budget;
use crate::trial::execution::JobTrial;

/// What this program was built of, as hex digits: who is of another build is not understood, and measures otherwise.
pub const BUILD: &str = env!("MICROBENCH_BUILD");
/// Name of the virtio-serial port.
pub const PORT_NAME: &str = "microbench";
/// Longest line that is read: the records and consoles of one trial.
const LINE_LIMIT: u64 = 256 << 20;

/// Trials to execute.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Name of the run.
    pub run: String,
    /// The cells that the trials are of.
    pub cells: Vec<Cell>,
    /// What each cell's VMs are made of, by cell.
    pub parts: BTreeMap<String, Parts>,
    /// What every VM does.
    pub workloads: Vec<Workload>,
    /// The trials in order.
    pub trials: Vec<JobTrial>,
    /// When their cells are given up.
    pub budget: Budget,
    /// Fake guests that the probe is measured by first.
    pub fake_guests: u32,
    /// What the first process logs to the machine's console, as `MICROBENCH_LOG` has it; `None` for nothing.
    pub log: Option<String>,
}

/// What comes out of the emulated host.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// The first process runs.
    Up {
        /// Its [`BUILD`].
        build: String,
    },
    /// The error of the probe in there.
    Probe(ProbeError),
    /// A trial begins.
    Begin(JobTrial),
    /// A trial has ended.
    End {
        /// From `TrialStart` to `TrialEnd`.
        records: Vec<Record>,
        /// Console logs by name; text with invalid UTF-8 replaced.
        consoles: BTreeMap<String, String>,
    },
    /// Every trial has ended.
    Done,
    /// It cannot go on.
    Failed(String),
}

/// Writes one value as a line.
///
/// # Errors
/// That of the writer.
pub fn send<T: Serialize>(writer: &mut impl Write, value: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    writer.write_all(&line)?;
    writer.flush()
}

/// Reads one line as a value; `None` at the end of the stream.
///
/// # Errors
/// That of the reader; a line that is too long or does not parse.
pub fn receive<T: DeserializeOwned>(reader: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    let read = io::Read::take(&mut *reader, LINE_LIMIT).read_until(b'\n', &mut line)?;
    if read == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}
