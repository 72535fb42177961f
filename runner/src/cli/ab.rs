//! `ab`: two runs whose repetitions alternate, and their comparison.
//!
//! Each study has a run of its own, because two studies may differ in engines, kernels, workloads and metrics, and a run
//! has one plan. Repetition r of both follow each other, and the one that comes first alternates, so that a drift of the
//! machine affects both alike. Every session records the name of the other run. The runs are ordinary runs: all other
//! commands work on them.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use microbench::run::{repetitions, requirements};
use microbench::store::directory::{Directory, time_stamp};
use microbench_formats::code::Code;
use microbench_formats::host::HostKind;
use microbench_measure::artifacts::project::Project;
use microbench_measure::errln;
use microbench_measure::terminal::screen::Stream;
use microbench_plots::compare::{Refusal, pairs_of_plans};

use super::arguments::{AbArguments, ComparisonFormat, HostArgument, StudyArguments};
use super::compare::{self, CompareArguments};
use super::run::{self, Loaded, Place, Side, choose_kind, exit_code, load, load_repeated, prepare};

/// Number of repetitions if neither the command line nor a manifest sets it.
const REPETITIONS: NonZeroU32 = NonZeroU32::new(5).unwrap();

/// Executes the missing repetitions of both runs alternately, and prints the comparison. The exit code is that of the
/// execution if it fails or is stopped, else that of `compare`.
pub(super) fn ab(arguments: &AbArguments) -> anyhow::Result<ExitCode> {
    let runs = if arguments.resume { reopen(arguments)? } else { create(arguments)? };
    let [(a, _), (b, _)] = &runs;
    for (label, run) in [("A", a), ("B", b)] {
        errln!("{label}: {}", run.path().display());
    }
    let code = execute(arguments, &runs)?;
    if code != 0 {
        // Without an indent and a line break, because the line is copied.
        errln!("next: microbench ab --resume {} {}", a.path().display(), b.path().display());
        return Ok(exit_code(code));
    }
    for (run, _) in &runs {
        microbench_plots::analyze(run.path())?;
    }
    compare::compare(CompareArguments {
        a: a.path().to_path_buf(),
        b: Some(b.path().to_path_buf()),
        baseline: None,
        margin: arguments.margin,
        means: arguments.means,
        detail: arguments.detail,
        format: if arguments.json { ComparisonFormat::Json } else { ComparisonFormat::Text },
        metrics: Vec::new(),
        gate: arguments.gate,
        allow_missing: arguments.allow_missing,
        across_hosts: arguments.across_hosts,
    })
}

/// Two runs, each with its project.
type Runs = [(Directory, Project); 2];

/// Creates both runs. Nothing is created if a study is wrong or the studies have no cell in common.
fn create(arguments: &AbArguments) -> anyhow::Result<Runs> {
    let studies = [&arguments.a, &arguments.b].map(|manifest| study_arguments(arguments, manifest.clone()));
    let repetitions = match arguments.repetitions {
        Some(repetitions) => repetitions,
        None => default_repetitions(&studies)?,
    };
    let [a, b] = [load_repeated(&studies[0], Some(repetitions))?, load_repeated(&studies[1], Some(repetitions))?];
    let has_both = |pair: &microbench_plots::compare::Pair| pair.first.is_some() && pair.second.is_some();
    if !pairs_of_plans(&a.plan, &b.plan).iter().any(has_both) {
        return Err(Refusal::Nothing.into());
    }
    for loaded in [&a, &b] {
        let kind = arguments.host.kind();
        kind.map_or(Ok(()), |kind| requirements::check_host_cpus(kind, &loaded.plan))?;
        requirements::check(kind, &loaded.engines, arguments.session.allow_unisolated)?;
    }
    let time = time_stamp();
    let folder = |loaded: &Loaded, side: &str| match &arguments.out {
        Some(out) => {
            let mut path = out.clone().into_os_string();
            path.push(format!("-{side}"));
            PathBuf::from(path)
        }
        None => loaded.project.root().join("runs").join(format!("{}-{time}-{side}", loaded.plan.study)),
    };
    let folders = [folder(&a, "a"), folder(&b, "b")];
    if let Some(exists) = folders.iter().find(|folder| folder.exists()) {
        bail!(Code::RunExists.with_message(format!("{} exists: pass another --out", exists.display())));
    }
    let [first, second] = folders;
    let of_a = prepare_side(arguments.host, a, &first)?;
    Ok([of_a, prepare_side(arguments.host, b, &second)?])
}

fn prepare_side(host: HostArgument, loaded: Loaded, out: &std::path::Path) -> anyhow::Result<(Directory, Project)> {
    let Loaded { study, plan, engines, project, folder, .. } = loaded;
    let place = Place { out: Some(out), ..Place::default() };
    let run = prepare(&study, &plan, engines, &project, &folder, host, place)?;
    Ok((run, project))
}

/// The larger number of repetitions of both manifests, or [`REPETITIONS`] if neither has repetitions.
fn default_repetitions(studies: &[StudyArguments; 2]) -> anyhow::Result<NonZeroU32> {
    let most = load(&studies[0])?.plan.repetitions.max(load(&studies[1])?.plan.repetitions);
    Ok(NonZeroU32::new(most).filter(|most| most.get() > 1).unwrap_or(REPETITIONS))
}

fn study_arguments(arguments: &AbArguments, manifest: PathBuf) -> StudyArguments {
    let AbArguments { seed, trials, profile, project, .. } = arguments.clone();
    StudyArguments { manifest: Some(manifest), seed, trials, profile, project }
}

/// Opens both runs to execute their missing trials.
fn reopen(arguments: &AbArguments) -> anyhow::Result<Runs> {
    let open = |run: &PathBuf| run::reopen(run, arguments.project.as_deref(), arguments.host, arguments.session);
    Ok([open(&arguments.a)?, open(&arguments.b)?])
}

/// Executes the missing repetitions of both runs alternately; returns the exit code.
fn execute(arguments: &AbArguments, runs: &Runs) -> anyhow::Result<i32> {
    let mut kind: Option<HostKind> = None;
    let mut sides = Vec::new();
    for ((run, project), (other, _)) in runs.iter().zip(runs.iter().rev()) {
        // Both runs have the kind of host that is chosen for the first.
        let host = kind.map_or(arguments.host, HostArgument::of);
        let host = *kind.insert(choose_kind(run, project, host, arguments.session)?);
        sides.push(Side::of(run, project, host, arguments.session, Some(other.name()))?);
    }
    let missing: Vec<_> =
        sides.iter().map(|side| side.as_ref().map(|side| side.missing.clone()).unwrap_or_default()).collect();
    if missing.iter().all(std::collections::BTreeSet::is_empty) {
        errln!("{}", Stream::Err.wrap("both runs are complete; no trial was executed", 2));
        return Ok(0);
    }
    repetitions::execute(&missing, |run, repetition| match &sides[run] {
        Some(side) => side.commands.of_repetition(repetition),
        None => bail!("run {run} has no missing repetition"),
    })
}
