//! Manifests to run directories, and run directories to sessions.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use clap::CommandFactory as _;
use clap::error::ErrorKind;
use microbench::catalog;
use microbench::run::needs;
use microbench::run::parts::Files;
use microbench::run::{execute, parts};
use microbench::store::directory::{Begun, Directory, Engines};
use microbench::store::journal;
use microbench::store::merge;
use microbench_formats::code::{Code, Coded};
use microbench_formats::describe::describe;
use microbench_formats::host::HostKind;
use microbench_formats::plan::Plan;
use microbench_formats::shard::Shard;
use microbench_measure::artifacts::cache::Cache;
use microbench_measure::artifacts::lock::Lock;
use microbench_measure::artifacts::project::Project;
use microbench_measure::terminal::{log, screen};
use microbench_measure::{err, errln, outln};
use microbench_study::engine::description::Engine;
use microbench_study::manifest;
use microbench_study::manifest::Study;
use microbench_study::plan::Overrides;
use microbench_study::plan::{self, view};
use serde::Serialize;
use tracing::{debug, info};

use super::arguments::{Cli, HostArgument, SessionArguments, StudyArguments};
use super::store::print_json;

/// A study with everything that its manifest refers to.
pub(super) struct Loaded {
    pub(super) study: Study,
    pub(super) plan: Plan,
    pub(super) engines: Vec<Engine>,
    pub(super) project: Project,
    /// The manifest's.
    pub(super) folder: PathBuf,
}

pub(super) fn load(arguments: &StudyArguments) -> anyhow::Result<Loaded> {
    let Some(path) = arguments.manifest.as_deref() else {
        Cli::command().error(ErrorKind::MissingRequiredArgument, "no STUDY is given").exit()
    };
    let project = Project::find(arguments.project.as_deref(), path)?;
    let engines = catalog::engines(path)?;
    let study = manifest::load(path, &catalog::catalog(&engines, &project))?;
    let (seed, trials, profile) = (arguments.seed, arguments.trials, arguments.profile.as_deref());
    let plan = plan::expand(&study, Overrides { seed, trials, profile })?;
    let used = |engine: &Engine| plan.cells.iter().any(|cell| cell.engine == engine.name);
    let engines = engines.into_values().filter(used).collect();
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    debug!(
        "{}: {} cells, {} trials, project {}",
        path.display(),
        plan.cells.len(),
        plan.trials.len(),
        project.root().display()
    );
    Ok(Loaded { study, plan, engines, project, folder })
}

pub(super) fn begin(
    arguments: &StudyArguments,
    host: HostArgument,
    out: Option<&Path>,
    shard: Option<Shard>,
    session: SessionArguments,
) -> anyhow::Result<ExitCode> {
    let Loaded { study, plan, engines, project, folder } = load(arguments)?;
    shard.map_or(Ok(()), |shard| plan::divisible(&plan, shard.of))?;
    needs::check(host.kind(), &engines, session.allow_unisolated)?;
    let run = prepare(&study, &plan, engines, &project, &folder, host, Place { out, shard })?;
    replaced(&run, &project, host, session)
}

/// The emulated host may be taken: it was asked for, or nothing was and there is an engine for which KVM may not work here.
fn may_emulate(host: HostArgument, engines: &[Engine]) -> bool {
    host == HostArgument::Emulated || host == HostArgument::Auto && engines.iter().any(|engine| engine.needs_kvm)
}

/// Where a run is made, and of which part of its plan.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place<'a> {
    /// The folder [default: in runs/].
    pub(super) out: Option<&'a Path>,
    /// The part; `None` for all of it.
    pub(super) shard: Option<Shard>,
}

/// Provides what a plan needs and makes its run directory.
pub(super) fn prepare(
    study: &Study,
    plan: &Plan,
    engines: Vec<Engine>,
    project: &Project,
    folder: &Path,
    host: HostArgument,
    place: Place<'_>,
) -> anyhow::Result<Directory> {
    let Place { out, shard } = place;
    let lock = provide(plan, &engines, project, folder, host)?;
    let width = screen::Stream::Err.columns().unwrap_or(view::DEFAULT_WIDTH);
    err!("{}", view::not_applicable(&parts::not_applicable(plan, &engines, project)?, width));
    let engines = &Engines { engines };
    let begun = Begun { plan, manifest: &study.source, engines, lock: Some(&lock), shard };
    let run = Directory::create(project.root(), out, begun)?;
    log::write_to_run(run.path());
    Ok(run)
}

/// Provides what a plan needs on a host.
pub(super) fn provide(
    plan: &Plan,
    engines: &[Engine],
    project: &Project,
    folder: &Path,
    host: HostArgument,
) -> anyhow::Result<Lock> {
    let cache = Cache::of_user()?;
    // Everything is there before a run directory is: a failure here leaves none half-made.
    let mut lock = parts::provide(plan, engines, project, &cache, Files::In(folder))?;
    if may_emulate(host, engines) {
        parts::provide_emulated_host(&mut lock, project, &cache)?;
    }
    Ok(lock)
}

pub(super) fn go_on(
    run: &Path,
    project: Option<&Path>,
    host: HostArgument,
    session: SessionArguments,
) -> anyhow::Result<ExitCode> {
    let run = Directory::open(run)?;
    if !merge::parts(&run)?.is_empty() {
        bail!(Code::Merged.says(format!(
            "{} was merged of shards: go on with those that lack trials, then merge them again",
            run.path().display()
        )));
    }
    let (plan, _) = run.plan()?;
    // Before anything is written into the run.
    let progress = journal::progress(run.path(), plan.give_up_after)?;
    run.verify(&progress.digests)?;
    if progress.host == Some(HostKind::Imported) {
        let message = format!(
            "{} was imported: its values were measured elsewhere, and nothing is executed",
            run.path().display()
        );
        bail!(Code::OtherHostKind.says(message));
    }
    log::write_to_run(run.path());
    let project = Project::find(project, run.path())?;
    let engines = run.engines()?.engines;
    let kind = host.kind().or(progress.host);
    needs::check(kind, &engines, session.allow_unisolated)?;
    let cache = Cache::of_user()?;
    // A run of an earlier version that was killed at its very start has none.
    let before = Lock::read(run.path())?.unwrap_or_default();
    let mut lock = parts::provide(&plan, &engines, &project, &cache, Files::As(&before))?;
    if may_emulate(host, &engines) {
        parts::provide_emulated_host(&mut lock, &project, &cache)?;
    }
    lock.write_or_compare(run.path())?;
    replaced(&run, &project, host, session)
}

/// What a guest of the study came to under KVM; an error when none could be prepared.
pub(super) fn boot_guest(arguments: &StudyArguments) -> anyhow::Result<anyhow::Result<()>> {
    let Loaded { study, plan, engines, project, folder } = load(arguments)?;
    let lock = parts::provide(&plan, &engines, &project, &Cache::of_user()?, Files::In(&folder))?;
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let run = folder.path().join("host-check");
    let engines = &Engines { engines };
    let begun = Begun { plan: &plan, manifest: &study.source, engines, lock: Some(&lock), shard: None };
    let run = Directory::create(project.root(), Some(&run), begun)?;
    Ok(execute::check_kvm_apart(&run, &project, false))
}

/// KVM when a guest came up under it, else the emulated host; says why in one line.
pub(super) fn decide(guest: anyhow::Result<()>) -> HostKind {
    match guest {
        Ok(()) => {
            info!("a guest came up under KVM");
            HostKind::Kvm
        }
        Err(reason) => {
            errln!("KVM does not work here: {reason}; taking the emulated host, in virtual time");
            HostKind::Emulated
        }
    }
}

/// Where trials can execute, as JSON has it.
#[derive(Serialize)]
struct HostReport {
    host: HostKind,
    reason: Option<String>,
}

/// Finds out where a study's trials can execute, and prints it.
pub(super) fn host(arguments: &StudyArguments, json: bool) -> anyhow::Result<ExitCode> {
    let guest = boot_guest(arguments)?;
    if json {
        let host = if guest.is_ok() { HostKind::Kvm } else { HostKind::Emulated };
        return print_json(&HostReport { host, reason: guest.err().map(|error| describe(error.as_ref())) });
    }
    outln!("{}", HostArgument::of(decide(guest)))?;
    Ok(ExitCode::SUCCESS)
}

/// Replaces this process by the execution of the run.
fn replaced(
    run: &Directory,
    project: &Project,
    host: HostArgument,
    session: SessionArguments,
) -> anyhow::Result<ExitCode> {
    let (mut command, printed) = hand_over(run, project, host, session)?;
    command.args(printed.is_err().then_some("--output-lost"));
    let error = command.exec();
    bail!("cannot start the execution: {error}")
}

/// Decides on the host; the command that executes the run. It is a process of its own because the sandbox needs one without
/// threads, and this one had some. Prints the path of the run; the second value is the outcome of that, because a run
/// does not end when its path cannot be printed.
pub(super) fn hand_over(
    run: &Directory,
    project: &Project,
    host: HostArgument,
    session: SessionArguments,
) -> anyhow::Result<(Command, Result<(), Coded>)> {
    let host = match (host.kind(), journal::progress(run.path(), 0)?.host) {
        (Some(kind), _) => {
            info!("the host is {kind}: it was asked for");
            kind
        }
        (None, Some(kind)) => {
            info!("the host is {kind}: the run's earlier sessions executed on it");
            kind
        }
        (None, None) => {
            let kind = decide(execute::check_kvm_apart(run, project, session.allow_unisolated));
            info!("the host is {kind}: whether a guest comes up under KVM decided");
            kind
        }
    };
    let printed = outln!("{}", run.path().display());
    if let Err(lost) = &printed {
        errln!("microbench: {lost}; the run continues in {}", run.path().display());
    }
    let this = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(this);
    command.args(["execute", "--host", HostArgument::of(host), "--project"]).arg(project.root()).arg(run.path());
    command.args(["--color", screen::colour().as_str()]);
    command.args((0..log::verbosity()).map(|_| "-v"));
    command.args(session.allow_unisolated.then_some(execute::ALLOW_UNISOLATED));
    command.args(["--patience", &session.patience.to_string(), "--fake-guests", &session.fake_guests.to_string()]);
    Ok((command, printed))
}
