//! Resources of the runner that the VMs of one trial share, so that each of thousands of VMs needs few
//! descriptors and only one thread.

use std::fs::File;
use std::sync::Arc;

use anyhow::Context;

use crate::guest::client::AgentClients;
use crate::guest::console::ConsoleReader;
use crate::host::counters::memory;

/// Standard input of a VMM: empty.
const VMM_STDIN: &str = "/dev/null";

/// Shared resources of a trial. They must not outlive the trial: a connection to a guest would remain, and a
/// later guest has the same address.
#[derive(Debug)]
pub struct Shared {
    pub(crate) consoles: ConsoleReader,
    pub(crate) agents: AgentClients,
    pub(crate) vmm_stdin: Arc<File>,
    /// Out-of-memory kills of the host's kernel before the trial; `None` if unknown.
    pub(crate) oom_kills: Option<u64>,
}

impl Shared {
    /// Creates the shared resources of a trial.
    ///
    /// # Errors
    /// Fails if a descriptor or a thread cannot be created.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            consoles: ConsoleReader::new()?,
            agents: AgentClients::new()?,
            vmm_stdin: open_vmm_stdin()?,
            oom_kills: memory::oom_kills(),
        })
    }
}

/// Opens the standard input of VMMs.
///
/// # Errors
/// Fails if the file cannot be opened.
pub(crate) fn open_vmm_stdin() -> anyhow::Result<Arc<File>> {
    File::open(VMM_STDIN).map(Arc::new).with_context(|| format!("cannot open {VMM_STDIN}"))
}
