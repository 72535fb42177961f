//! `run` and `host`: loads a study, creates or opens a run, chooses the kind of host, and starts the execution.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use microbench::catalog;
use microbench::run::parts::Files;
use microbench::run::{execute, parts, repetitions, requirements};
use microbench::store::directory::{Directory, Engines, NewRun};
use microbench::store::journal;
use microbench::store::{merge, schedule};
use microbench_formats::code::{Code, CodedError};
use microbench_formats::describe::describe;
use microbench_formats::exit;
use microbench_formats::host::HostKind;
use microbench_formats::label::Label;
use microbench_formats::plan::Plan;
use microbench_formats::shard::Shard;
use microbench_measure::artifacts::cache::Cache;
use microbench_measure::artifacts::lock::Lock;
use microbench_measure::artifacts::project::Project;
use microbench_measure::terminal::{log, screen};
use microbench_measure::{err, errln, outln, trust};
use microbench_study::engine::description::Engine;
use microbench_study::manifest;
use microbench_study::manifest::Study;
use microbench_study::plan::Overrides;
use microbench_study::plan::{self, view};
use serde::Serialize;
use tracing::{debug, info};

use super::arguments::{HostArgument, SessionArguments, StudyArguments};
use super::store::print_json;

/// A study, its plan, and everything that its manifest refers to.
pub(super) struct Loaded {
    pub(super) study: Study,
    pub(super) plan: Plan,
    pub(super) engines: Vec<Engine>,
    pub(super) project: Project,
    pub(super) manifest: PathBuf,
    pub(super) folder: PathBuf,
}

/// Finds the manifest of STUDY, and loads it.
pub(super) fn load(arguments: &StudyArguments) -> anyhow::Result<Loaded> {
    load_repeated(arguments, None)
}

/// Like [`load`], with a number of repetitions that overrides that of the manifest.
pub(super) fn load_repeated(arguments: &StudyArguments, repetitions: Option<NonZeroU32>) -> anyhow::Result<Loaded> {
    // The parser requires STUDY.
    let given = arguments.manifest.as_deref().context("STUDY is missing")?;
    let path = &catalog::find_study(given, arguments.project.as_deref())?;
    trust::check("the manifest", path)?;
    let project = Project::find(arguments.project.as_deref(), path)?;
    let engines = catalog::engines(path)?;
    let study = manifest::load(path, &catalog::catalog(&engines, &project))?;
    let (seed, trials, profile) = (arguments.seed, arguments.trials, arguments.profile.as_deref());
    let plan = plan::expand(&study, Overrides { seed, trials, profile, repetitions })?;
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
    Ok(Loaded { study, plan, engines, project, manifest: path.clone(), folder })
}

/// Creates a run of a study and replaces this process by its execution.
pub(super) fn start(
    arguments: &StudyArguments,
    repetitions: Option<NonZeroU32>,
    host: HostArgument,
    place: Place<'_>,
    session: SessionArguments,
) -> anyhow::Result<ExitCode> {
    let Loaded { study, plan, engines, project, folder, .. } = load_repeated(arguments, repetitions)?;
    place.shard.map_or(Ok(()), |shard| plan::divisible(&plan, shard.of))?;
    host.kind().map_or(Ok(()), |kind| requirements::check_host_cpus(kind, &plan))?;
    requirements::check(host.kind(), &engines, session.allow_unisolated)?;
    host.kind().map_or(Ok(()), |kind| requirements::check_reset_pulses(kind, &plan, &engines))?;
    for hint in plan::hints::hints(&plan, &engines) {
        errln!("{}", screen::Stream::Err.wrap(&format!("hint: {hint}"), 6));
    }
    let run = prepare(&study, &plan, engines, &project, &folder, host, place)?;
    exec(&run, &project, host, session)
}

/// Whether trials may be executed in the emulated host: it was requested, or the kind of host is not decided and an
/// engine needs KVM.
fn may_emulate(host: HostArgument, engines: &[Engine]) -> bool {
    host == HostArgument::Emulated || host == HostArgument::Auto && engines.iter().any(|engine| engine.needs_kvm)
}

/// The folder of a new run, its label, and the part of the plan that it executes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place<'a> {
    /// The folder; `None` for a folder in runs/.
    pub(super) out: Option<&'a Path>,
    /// The part; `None` for the whole plan.
    pub(super) shard: Option<Shard>,
    pub(super) label: Option<&'a Label>,
}

/// Provides the artefacts of a plan and creates its run.
pub(super) fn prepare(
    study: &Study,
    plan: &Plan,
    engines: Vec<Engine>,
    project: &Project,
    folder: &Path,
    host: HostArgument,
    place: Place<'_>,
) -> anyhow::Result<Directory> {
    let Place { out, shard, label } = place;
    let lock = provide(plan, &engines, project, folder, host)?;
    let width = screen::Stream::Err.columns().unwrap_or(view::DEFAULT_WIDTH);
    err!("{}", view::not_applicable(&parts::not_applicable(plan, &engines, project)?, width));
    let engines = &Engines { engines };
    let new_run = NewRun { plan, manifest: &study.source, engines, lock: Some(&lock), shard, label };
    let run = Directory::create(project.root(), out, new_run)?;
    log::write_to_run(run.path());
    Ok(run)
}

/// Provides the artefacts of a plan, including those of the emulated host if it may be used.
pub(super) fn provide(
    plan: &Plan,
    engines: &[Engine],
    project: &Project,
    folder: &Path,
    host: HostArgument,
) -> anyhow::Result<Lock> {
    let cache = Cache::for_user()?;
    // Artefacts are provided before the run is created, so that a failure leaves no run.
    let mut lock = parts::provide(plan, engines, project, &cache, Files::In(folder))?;
    if may_emulate(host, engines) {
        parts::provide_emulated_host(&mut lock, project, &cache)?;
    }
    Ok(lock)
}

/// Replaces this process by the execution of the missing trials of a run.
pub(super) fn resume(
    run: &Path,
    project: Option<&Path>,
    host: HostArgument,
    session: SessionArguments,
) -> anyhow::Result<ExitCode> {
    let (run, project) = reopen(run, project, host, session)?;
    exec(&run, &project, host, session)
}

/// Opens a run to execute its missing trials: checks its files and the host, and provides its artefacts.
pub(super) fn reopen(
    run: &Path,
    project: Option<&Path>,
    host: HostArgument,
    session: SessionArguments,
) -> anyhow::Result<(Directory, Project)> {
    let run = Directory::open(run)?;
    run.check_trusted()?;
    if !merge::read_parts(&run)?.is_empty() {
        bail!(Code::Merged.with_message(format!(
            "{} was merged from shards: resume the shards with missing trials, then merge them again",
            run.path().display()
        )));
    }
    let (plan, _) = run.plan()?;
    // Checked before anything is written into the run.
    let progress = journal::progress(run.path(), plan.give_up_after)?;
    run.verify(&progress.digests)?;
    if progress.host == Some(HostKind::Imported) {
        let message =
            format!("{} was imported and cannot be resumed: its values were measured elsewhere", run.path().display());
        bail!(Code::OtherHostKind.with_message(message));
    }
    log::write_to_run(run.path());
    let project = Project::find(project, run.path())?;
    let engines = run.engines()?.engines;
    let kind = host.kind().or(progress.host);
    requirements::check(kind, &engines, session.allow_unisolated)?;
    let cache = Cache::for_user()?;
    // The lock may be missing in a run of an earlier version that was killed at its start.
    let before = Lock::read(run.path())?.unwrap_or_default();
    let mut lock = parts::provide(&plan, &engines, &project, &cache, Files::As(&before))?;
    if may_emulate(host, &engines) {
        parts::provide_emulated_host(&mut lock, &project, &cache)?;
    }
    lock.write_or_compare(run.path())?;
    Ok((run, project))
}

/// Boots a guest of the study under KVM. The inner error is the reason why it did not boot. The outer error
/// means that no guest could be prepared.
pub(super) fn boot_guest(arguments: &StudyArguments) -> anyhow::Result<anyhow::Result<()>> {
    let Loaded { study, plan, engines, project, folder, .. } = load(arguments)?;
    let lock = parts::provide(&plan, &engines, &project, &Cache::for_user()?, Files::In(&folder))?;
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let run = folder.path().join("host-check");
    let engines = &Engines { engines };
    let new_run = NewRun { plan: &plan, manifest: &study.source, engines, lock: Some(&lock), shard: None, label: None };
    let run = Directory::create(project.root(), Some(&run), new_run)?;
    Ok(execute::check_kvm_in_child(&run, &project, false))
}

/// KVM if a guest booted under it, otherwise the emulated host, with a message that has the reason.
pub(super) fn choose_host(guest: anyhow::Result<()>) -> HostKind {
    match guest {
        Ok(()) => {
            info!("a guest booted under KVM");
            HostKind::Kvm
        }
        Err(reason) => {
            let message = format!("KVM is not usable: {reason}. Using the emulated host (virtual time).");
            errln!("{}", screen::Stream::Err.wrap(&message, 2));
            HostKind::Emulated
        }
    }
}

/// JSON output of `host`.
#[derive(Serialize)]
struct HostReport {
    host: HostKind,
    reason: Option<String>,
}

/// Prints the kind of host on which the trials of a study can be executed.
pub(super) fn host(arguments: &StudyArguments, json: bool) -> anyhow::Result<ExitCode> {
    let guest = boot_guest(arguments)?;
    if json {
        let host = if guest.is_ok() { HostKind::Kvm } else { HostKind::Emulated };
        return print_json(&HostReport { host, reason: guest.err().map(|error| describe(error.as_ref())) });
    }
    outln!("{}", HostArgument::name(choose_host(guest)))?;
    Ok(ExitCode::SUCCESS)
}

/// Replaces this process by the execution of the run. A run with missing repetitions is executed in child processes, one
/// for each repetition.
fn exec(run: &Directory, project: &Project, host: HostArgument, session: SessionArguments) -> anyhow::Result<ExitCode> {
    let host = choose_kind(run, project, host, session)?;
    let printed = print_path(run);
    if let Some(side) = Side::of(run, project, host, session, None)? {
        let code = repetitions::execute(&[side.missing], |_, repetition| side.commands.of_repetition(repetition))?;
        return match (code, printed) {
            (0, Err(lost)) => Err(lost.into()),
            (code, _) => Ok(exit_code(code)),
        };
    }
    let mut command = execute_command(run, project, host, session)?;
    command.args(printed.is_err().then_some("--output-lost"));
    let error = command.exec();
    bail!("cannot start the execution: {error}")
}

/// The exit code of a child process as that of this process.
pub(super) fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(exit::FAILED))
}

/// A run whose repetitions are executed in child processes.
pub(super) struct Side {
    /// The repetitions with missing trials.
    pub(super) missing: BTreeSet<u32>,
    pub(super) commands: Commands,
}

/// The commands that execute the repetitions of a run.
pub(super) struct Commands {
    run: Directory,
    project: Project,
    host: HostKind,
    session: SessionArguments,
    interleaved_with: Option<String>,
}

impl Side {
    /// `None` for a plan without repetitions, and for a run without missing trials.
    pub(super) fn of(
        run: &Directory,
        project: &Project,
        host: HostKind,
        session: SessionArguments,
        interleaved_with: Option<String>,
    ) -> anyhow::Result<Option<Self>> {
        let (plan, _) = run.plan()?;
        let missing = schedule::missing_repetitions(&plan, &journal::progress(run.path(), plan.give_up_after)?);
        if missing.is_empty() || plan.repetitions == 1 && interleaved_with.is_none() {
            return Ok(None);
        }
        let (run, project) = (run.clone(), project.clone());
        Ok(Some(Self { missing, commands: Commands { run, project, host, session, interleaved_with } }))
    }
}

impl Commands {
    /// The command that executes the missing trials of a repetition.
    pub(super) fn of_repetition(&self, repetition: u32) -> anyhow::Result<Command> {
        let mut command = execute_command(&self.run, &self.project, self.host, self.session)?;
        command.args(["--repetition", &repetition.to_string(), "--supervisor", &std::process::id().to_string()]);
        command.args(self.interleaved_with.iter().flat_map(|other| ["--interleaved-with", other]));
        Ok(command)
    }
}

/// Chooses the kind of host that executes the run.
pub(super) fn choose_kind(
    run: &Directory,
    project: &Project,
    host: HostArgument,
    session: SessionArguments,
) -> anyhow::Result<HostKind> {
    let host = match (host.kind(), journal::progress(run.path(), 0)?.host) {
        (Some(kind), _) => {
            info!("the host is {kind}, as requested");
            kind
        }
        (None, Some(kind)) => {
            info!("the host is {kind}, as in the earlier sessions of the run");
            kind
        }
        (None, None) => {
            let kind = choose_host(execute::check_kvm_in_child(run, project, session.allow_unisolated));
            info!("the host is {kind}, by the KVM check");
            kind
        }
    };
    let (plan, _) = run.plan()?;
    requirements::check_host_cpus(host, &plan)?;
    requirements::check_reset_pulses(host, &plan, &run.engines()?.engines)?;
    if host != HostKind::Emulated
        && let Some(line) = view::host_cpus(&plan)
    {
        errln!("{}", screen::Stream::Err.wrap(&format!("{line}: not applied on this host ({host})"), 2));
    }
    Ok(host)
}

/// Prints the path of the run to standard output. A run continues even if standard output cannot be written.
pub(super) fn print_path(run: &Directory) -> Result<(), CodedError> {
    let printed = outln!("{}", run.path().display());
    if let Err(lost) = &printed {
        errln!("microbench: {lost}; the run continues in {}", run.path().display());
    }
    printed
}

/// The command that executes the missing trials of a run. A new process is needed because the sandbox requires a process
/// without threads.
pub(super) fn execute_command(
    run: &Directory,
    project: &Project,
    host: HostKind,
    session: SessionArguments,
) -> anyhow::Result<Command> {
    let executable = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(executable);
    command.args(["execute", "--host", HostArgument::name(host), "--project"]).arg(project.root()).arg(run.path());
    command.args(["--color", screen::colour().as_str()]);
    command.args((0..log::verbosity()).map(|_| "-v"));
    command.args(session.allow_unisolated.then_some(execute::ALLOW_UNISOLATED));
    command.args(["--patience", &session.patience.to_string(), "--fake-guests", &session.fake_guests.to_string()]);
    Ok(command)
}
