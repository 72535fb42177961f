//! The machine: what the doctor tries, sets and puts back.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use microbench::run::parts;
use microbench_formats::describe::describe;
use microbench_measure::artifacts::cache::Cache;
use microbench_measure::host::machine::tree::Tree;
use microbench_measure::host::machine::{doctor, tune};
use microbench_measure::{out, outln};

use super::arguments::StudyArguments;
use super::runs::{boot_guest, load};

/// Sets the machine up or puts back what was there; says each thing that was changed or could not be.
fn tuning(tree: &Tree, tune: bool) -> anyhow::Result<ExitCode> {
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

/// What the named study needs of this machine; `None` when no study is named.
fn needs(arguments: &StudyArguments) -> anyhow::Result<Option<BTreeSet<doctor::Requirement>>> {
    if arguments.manifest.is_none() {
        return Ok(None);
    }
    let loaded = load(arguments)?;
    let images_made = parts::images_made(&loaded.plan, &loaded.project, &Cache::of_user()?)?;
    Ok(Some(doctor::Requirement::of(&loaded.plan, &loaded.engines, images_made)))
}

/// Boots a guest of the named study under KVM.
fn try_guest(arguments: &StudyArguments) -> doctor::BootResult {
    boot_guest(arguments).flatten().map_err(|error| describe(error.as_ref()))
}

/// Checks the machine, sets it up or puts it back.
pub(super) fn doctor(
    study: &StudyArguments,
    json: bool,
    tune: bool,
    restore: bool,
    root: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let tree = root.map_or_else(Tree::machine, Tree::at);
    if tune || restore {
        return tuning(&tree, tune);
    }
    // Without a named study nothing is booted: a manifest of the working directory may name any program.
    let needs = needs(study)?;
    let kvm = needs.as_ref().is_some_and(|needs| needs.contains(&doctor::Requirement::Kvm));
    let boot = (root.is_none() && kvm).then(|| try_guest(study));
    let checks = doctor::checks(&tree, boot.as_ref(), needs.as_ref());
    if json {
        outln!("{}", serde_json::to_string_pretty(&checks)?)?;
    } else {
        out!("{}", doctor::render_checks(&checks))?;
    }
    let bad = checks.iter().any(|check| check.state == doctor::State::Bad);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
