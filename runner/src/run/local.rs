//! Execution of trials on this machine, in the sandbox of this process.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Context;
use microbench_formats::plan::Plan;
use microbench_formats::record::FailureReason;
use microbench_measure::artifacts::integrity::IntegrityCheck;
use microbench_measure::host::interference::Watcher;
use microbench_measure::parts::Parts;
use microbench_measure::trial::TrialExecution;
use microbench_measure::trial::budget::skipped_records;
use microbench_measure::vm::Folders;

use super::pause;
use super::session::{Session, stop_requested, with_warmups};
use crate::store::directory::Directory;

/// Executes the trials of [`Session::todo`] until all have ended or a signal requests a stop.
///
/// # Errors
/// When the journal cannot be written, or the disk of the run is full.
pub fn execute(
    session: &mut Session<'_>,
    plan: &Plan,
    parts: &BTreeMap<String, Parts>,
    run: &Directory,
    folders: Folders<'_>,
    watcher: &mut Watcher,
    integrity: &mut IntegrityCheck,
) -> anyhow::Result<()> {
    let name = run.name();
    let trials = with_warmups(session.missing_trials(), plan);
    session.start_progress(&trials, 1);
    for planned in trials {
        let cell = plan.cells.iter().find(|cell| cell.id == planned.cell);
        let (cell, parts) =
            cell.zip(parts.get(&planned.cell)).with_context(|| format!("the plan has no cell {}", planned.cell))?;
        let trial = TrialExecution {
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
        if stop_requested().is_some() {
            break;
        }
        let vms = trial.vms();
        session.require_disk_space(vms)?;
        session.trial_started(&planned);
        let started_at = Instant::now();
        let refused = session.budget().refuse(&planned, vms);
        let changed = |problem: String| skipped_records(&planned, vms, FailureReason::Artifact, &problem);
        let records = match refused.or_else(|| integrity.check(&planned.cell).err().map(changed)) {
            Some(records) => records,
            None => trial.execute(folders, watcher),
        };
        session.trial_ended(&planned, &records, &BTreeMap::new(), started_at.elapsed())?;
    }
    Ok(())
}
