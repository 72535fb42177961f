//! Executes trials on this machine, in this process's sandbox.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use microbench_plots::record::Plan;

use super::directory::Directory;
use super::pause;
use super::session::{Session, stop_requested, with_warmups};
use crate::host::interference::Watcher;
use crate::trial::Trial;
use crate::vm::Parts;

/// Executes every missing trial until the end or a signal.
///
/// # Errors
/// When the journal cannot be written.
pub fn execute(
    session: &mut Session<'_>,
    plan: &Plan,
    parts: &BTreeMap<String, Parts>,
    run: &Directory,
    scratch: &Path,
    watcher: &mut Watcher,
) -> anyhow::Result<()> {
    let name = run.name();
    let trials = with_warmups(session.todo(), plan);
    session.show(&trials);
    for planned in trials {
        if stop_requested().is_some() {
            break;
        }
        let cell = plan.cells.iter().find(|cell| cell.id == planned.cell);
        let (cell, parts) = cell.zip(parts.get(&planned.cell)).with_context(|| format!("no cell {}", planned.cell))?;
        let trial = Trial {
            run: &name,
            index: planned.index,
            attempt: planned.attempt,
            warmup: planned.warmup,
            instrument: planned.instrument,
            cell,
            workloads: &plan.workloads,
            parts,
        };
        pause::wait();
        let records = trial.execute(scratch, &run.console(), watcher);
        session.ended(&planned, &records, &BTreeMap::new())?;
    }
    Ok(())
}
