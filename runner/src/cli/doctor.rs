//! `doctor`: checks this machine, tunes it, and restores it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use microbench::run::parts;
use microbench_formats::describe::describe;
use microbench_measure::artifacts::cache::Cache;
use microbench_measure::host::machine::tree::Tree;
use microbench_measure::host::machine::{doctor, tune};
use microbench_measure::terminal::screen::Stream;
use microbench_measure::{out, outln};

use super::arguments::StudyArguments;
use super::run::{boot_guest, load};

/// Tunes the machine, or restores the values from before `--tune`. Prints every value that was changed or could not be
/// changed.
fn tune_or_restore(tree: &Tree, tune: bool) -> anyhow::Result<ExitCode> {
    let state = tune::state_file()?;
    let outcomes = if tune { tune::tune(tree, &state)? } else { tune::restore(tree, &state)? };
    let print = |line: &str| outln!("{}", Stream::Out.wrap(line, 2));
    for tune::Outcome { place, result } in &outcomes {
        match result {
            Ok(value) => print(&format!("{place}: {value}"))?,
            Err(problem) => print(&format!("{place}: not set: {problem}"))?,
        }
    }
    let failed = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
    match (tune, outcomes.len(), failed) {
        (true, 0, _) => print("nothing to set: all values are as recommended, or cannot be set on this machine")?,
        (true, _, _) => {
            let state = state.display();
            print(&format!("previous values are saved in {state}; `microbench doctor --restore` restores them"))?;
        }
        (false, _, 0) => print("all previous values are restored")?,
        (false, _, _) => {
            let state = state.display();
            print(&format!("some values could not be restored; the previous values remain in {state}"))?;
        }
    }
    Ok(if tune || failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The requirements of the study on this machine; `None` without a study.
fn requirements(arguments: &StudyArguments) -> anyhow::Result<Option<BTreeSet<doctor::Requirement>>> {
    if arguments.manifest.is_none() {
        return Ok(None);
    }
    let loaded = load(arguments)?;
    let images_cached = parts::images_cached(&loaded.plan, &loaded.project, &Cache::for_user()?)?;
    Ok(Some(doctor::Requirement::for_plan(&loaded.plan, &loaded.engines, images_cached)))
}

/// Boots a guest of the study under KVM.
fn try_guest(arguments: &StudyArguments) -> doctor::BootResult {
    boot_guest(arguments).flatten().map_err(|error| describe(error.as_ref()))
}

/// Checks the machine, tunes it or restores it. The exit code is 1 when a check found a problem.
pub(super) fn doctor(
    study: &StudyArguments,
    json: bool,
    tune: bool,
    restore: bool,
    root: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let tree = root.map_or_else(Tree::machine, Tree::new);
    if tune || restore {
        return tune_or_restore(&tree, tune);
    }
    // Without a study no guest is booted, because a manifest in the working directory could name any program.
    let needs = requirements(study)?;
    let kvm = needs.as_ref().is_some_and(|needs| needs.contains(&doctor::Requirement::Kvm));
    let boot = (root.is_none() && kvm).then(|| try_guest(study));
    let checks = doctor::checks(&tree, boot.as_ref(), needs.as_ref());
    if json {
        super::store::print_json(&checks)?;
    } else {
        out!("{}", doctor::render_checks(&checks, Stream::Out.output_width().table))?;
    }
    let bad = checks.iter().any(|check| check.state == doctor::State::Bad);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
