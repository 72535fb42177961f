//! What the runner adds around a VMM: a program is started and reaped by the code that starts and reaps VMMs.

use std::path::Path;

use serde::Serialize;

use crate::guest::console::Consoles;
use crate::sandbox::isolation::Isolation;
use crate::sys;
use crate::sys::clock::Instant;
use crate::vm::process::Start;
use crate::vm::shared;

/// What starting a program came to.
#[derive(Debug, Serialize)]
pub struct Spawned {
    /// From just before each spawn to just after its reap, ns.
    pub wall_ns: Vec<u64>,
    /// CPU time of the whole, what came before the spawns and the programs themselves included, ns.
    pub cpu_ns: u64,
}

/// Starts `argv` as a VMM of its own user, `times` times one after the other; its console goes to a file in `folder`. The caller must be
/// in a sandbox.
///
/// # Errors
/// When it cannot be started.
pub fn measure(argv: &[String], times: u32, folder: &Path) -> anyhow::Result<Spawned> {
    let cpu_before = sys::own_cpu_ns();
    let (log, input, consoles) = (folder.join("console.log"), shared::input()?, Consoles::new()?);
    let mut wall_ns = Vec::new();
    for _ in 0..times {
        let start = Start {
            argv,
            isolation: Isolation::of(0),
            as_root: false,
            leads: false,
            contains: false,
            console_log: &log,
            nonce: "0",
        };
        let ready = start.ready(&input, &consoles)?;
        let begun = Instant::now();
        let (mut process, console) = ready.go()?;
        process.reap()?;
        wall_ns.push(Instant::now().0 - begun.0);
        let _ = console.finish();
    }
    Ok(Spawned { wall_ns, cpu_ns: sys::own_cpu_ns() - cpu_before })
}
