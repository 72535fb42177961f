//! Cost of starting and reaping a VMM, measured with an arbitrary program.

use std::path::Path;

use serde::Serialize;

use crate::guest::console::ConsoleReader;
use crate::sandbox::isolation::Isolation;
use crate::sandbox::vm_namespaces::{VmNamespaces, VmRoot};
use crate::sys;
use crate::sys::clock::Instant;
use crate::sys::program;
use crate::vm::folder::VmFolder;
use crate::vm::process::VmmCommand;
use crate::vm::shared;

/// Measured times.
#[derive(Debug, Serialize)]
pub struct SpawnTimes {
    /// Wall time of each start, from just before the spawn to just after the reap, ns.
    pub wall_ns: Vec<u64>,
    /// Total CPU time, including the preparation and the programs themselves, ns.
    pub cpu_ns: u64,
}

/// Starts the program `argv` `times` times, one after the other, in the way that VMMs are started, each as a
/// user of its own. The console log is written to `folder`. The caller must be in a sandbox.
///
/// # Errors
/// Fails if the program cannot be started.
pub fn measure(argv: &[String], times: u32, folder: &Path) -> anyhow::Result<SpawnTimes> {
    let cpu_before = sys::own_cpu_ns();
    let (log, stdin, consoles) = (folder.join("console.log"), shared::open_vmm_stdin()?, ConsoleReader::new()?);
    let mut wall_ns = Vec::new();
    let root = VmRoot::of_this_host([program::find_program(&argv[0])?], folder)?;
    for number in 0..times {
        let folder = VmFolder::new(folder.join(number.to_string()))?;
        let command = VmmCommand {
            argv,
            isolation: Isolation::of_next_vm(),
            as_root: false,
            namespaces: VmNamespaces::new(&root, folder.path())?,
            inherited: Vec::new(),
            file_limit: u64::MAX,
            console_log: &log,
            nonce: "0",
        };
        let prepared = command.prepare(&stdin, &consoles)?;
        let guard = prepared.enter_for_children()?;
        let started_at = Instant::now();
        let (mut process, console) = prepared.spawn()?;
        process.reap()?;
        wall_ns.push(Instant::now().0 - started_at.0);
        drop(guard);
        let _ = console.finish();
    }
    Ok(SpawnTimes { wall_ns, cpu_ns: sys::own_cpu_ns() - cpu_before })
}
