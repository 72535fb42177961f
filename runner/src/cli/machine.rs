//! The machine: what the doctor tries, sets and puts back.

use std::path::PathBuf;
use std::process::ExitCode;

use microbench::error::describe;
use microbench::host::tree::Tree;
use microbench::host::{doctor, tune};
use microbench::outln;

use super::arguments::StudyArguments;
use super::runs::boot_guest;

/// Sets the machine up or puts back what was there; says each thing that was changed or could not be.
pub(super) fn tuning(tree: &Tree, tune: bool) -> anyhow::Result<ExitCode> {
    let state = tune::state_file()?;
    let outcomes = if tune { tune::tune(tree, &state)? } else { tune::restore(tree, &state)? };
    for tune::Outcome { place, result } in &outcomes {
        match result {
            Ok(value) => outln!("{place}: {value}")?,
            Err(problem) => outln!("{place}: not set: {problem}")?,
        }
    }
    let failed = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
    match (tune, outcomes.len(), failed) {
        (true, 0, _) => outln!("nothing to set: the machine is as it should be, or shows nothing that can be set")?,
        (true, _, _) => outln!("previous values: {}; `microbench doctor --restore` puts them back", state.display())?,
        (false, _, 0) => outln!("everything is as it was")?,
        (false, _, _) => outln!("not all of it: {} is kept", state.display())?,
    }
    Ok(if tune || failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Boots a guest under KVM: one of the study's, or of `experiments/quick.toml`. `None` when there is neither.
pub(super) fn try_guest(arguments: &StudyArguments) -> Option<doctor::Boot> {
    let manifest = arguments.manifest.clone().or_else(|| Some(PathBuf::from("experiments/quick.toml")))?;
    if !manifest.is_file() {
        return None;
    }
    let arguments = StudyArguments { manifest: Some(manifest), ..arguments.clone() };
    Some(boot_guest(&arguments).flatten().map_err(|error| describe(error.as_ref())))
}
