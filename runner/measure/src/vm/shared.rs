//! What the VMs of one trial share on the runner's side, so that one of thousands takes few descriptors and no thread but its own.

use std::fs::File;
use std::sync::Arc;

use anyhow::Context;

use crate::guest::client::Agents;
use crate::guest::console::Consoles;
use crate::host::counters::memory;

/// The standard input of a VMM: there is nothing to read.
const NOTHING: &str = "/dev/null";

/// It lasts as long as the trial, and no longer: a connection to a guest is not to outlive it, the next one has its address.
#[derive(Debug)]
pub struct Shared {
    pub(crate) consoles: Consoles,
    pub(crate) agents: Agents,
    pub(crate) input: Arc<File>,
    /// Processes that the kernel had killed for want of memory before.
    pub(crate) oom_kills: Option<u64>,
}

impl Shared {
    /// For a trial.
    ///
    /// # Errors
    /// When the kernel lends no descriptor or thread.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { consoles: Consoles::new()?, agents: Agents::new()?, input: input()?, oom_kills: memory::oom_kills() })
    }
}

/// What a VMM reads.
///
/// # Errors
/// When it cannot be opened.
pub(crate) fn input() -> anyhow::Result<Arc<File>> {
    File::open(NOTHING).map(Arc::new).with_context(|| format!("cannot open {NOTHING}"))
}
