//! From the names in a plan to files: every artefact of a run.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use microbench_formats::cell::Cell;
use microbench_formats::code::Code;
use microbench_formats::instrument::Instrument;
use microbench_formats::plan::Plan;
use microbench_measure::artifacts::cache::Cache;
use microbench_measure::artifacts::lock::Lock;
use microbench_measure::artifacts::project::Project;
use microbench_measure::artifacts::{Artifact, Kind, agent, image, kernel, program};
use microbench_measure::parts::Parts;
use microbench_measure::requirement::{self, MissingRequirement, MissingRequirements};
use microbench_study::engine::description::Engine;
use microbench_study::engine::guest_settings::GuestSettings;
use microbench_study::engine::machine;

/// The emulated host's kernel: a folder of kernels/.
pub const EMULATED_HOST_KERNEL: &str = "emulated-host-6.1";

/// The guest's agent, as the program of an engine: it is in every root file system, and started from there.
pub const AGENT: &str = "microbench-agent";

/// The program that counts system calls.
pub const STRACE: &str = "strace";

/// Where the files that settings name are.
#[derive(Clone, Copy, Debug)]
pub enum Files<'a> {
    /// Relative to this folder, the manifest's: the run begins.
    In(&'a Path),
    /// Where the run's lock says: it goes on.
    As(&'a Lock),
}

/// The files that the settings of a cell name: setting and value.
fn named_files(cell: &Cell, engine: &Engine) -> Vec<(String, String)> {
    engine.files_named_by(&cell.settings).filter_map(|(name, value)| Some((name.clone(), value?))).collect()
}

/// Finds, fetches or builds every artefact that the plan's cells need.
///
/// # Errors
/// A guest setting of the plan with a value that is not permitted. When an artefact cannot be had.
pub fn provide(
    plan: &Plan,
    engines: &[Engine],
    project: &Project,
    cache: &Cache,
    files: Files<'_>,
) -> anyhow::Result<Lock> {
    requirement::require_supported_platform()?;
    let used: BTreeSet<&str> = plan.cells.iter().map(|cell| cell.engine.as_str()).collect();
    let shares_kernel =
        |cell: &Cell| engines.iter().any(|engine| engine.name == cell.engine && engine.guest.shares_kernel());
    // Before the kernels, which take minutes to build.
    let agent = agent::provide(cache)?;
    let mut lock = Lock::default();
    let (mut kernels, mut images) = (BTreeSet::new(), BTreeSet::new());
    for cell in &plan.cells {
        let guest = GuestSettings::from_cell(cell)?;
        kernels.extend(Some(guest.kernel).filter(|_| !shares_kernel(cell)));
        images.insert(guest.rootfs);
    }
    for name in kernels {
        lock.artifacts.push(kernel::provide(&project.kernels(), &name, cache)?);
    }
    for name in images {
        lock.artifacts.push(image::provide(&project.rootfs(), &name, &agent, cache)?);
    }
    let programs: BTreeSet<&str> =
        engines.iter().filter(|e| used.contains(e.name.as_str())).map(|e| e.program.as_str()).collect();
    // A program that is missing takes its own cells away, no others; when it is every one, nothing can be run.
    let mut lacks = Vec::new();
    for name in &programs {
        match missing(name)? {
            Some(lack) => lacks.push(lack),
            None if *name == AGENT => {
                let version = env!("CARGO_PKG_VERSION");
                lock.artifacts.push(Artifact::of(Kind::Program, AGENT, version, "this program", &agent)?);
            }
            None => lock.artifacts.push(program::provide(name, cache)?),
        }
    }
    if lacks.len() == programs.len() {
        MissingRequirements::check(lacks)?;
    }
    for engine in engines.iter().filter(|engine| used.contains(engine.name.as_str())) {
        if let Some(jail) = &engine.jail
            && let Ok(beside) = lock.get(Kind::Program, &engine.program).cloned()
        {
            let path = beside.path.with_file_name(&jail.program);
            if path.is_file() {
                let (version, origin) = (&beside.version, &beside.origin);
                lock.artifacts.push(Artifact::of(Kind::Program, &jail.program, version, origin, &path)?);
            }
        }
    }
    if plan.metrics.iter().any(|metric| metric.instrument == Some(Instrument::Strace)) {
        lock.artifacts.push(program::provide(STRACE, cache)?);
    }
    let mut named: BTreeSet<String> = BTreeSet::new();
    for cell in &plan.cells {
        let engine = engines.iter().find(|engine| engine.name == cell.engine);
        named.extend(engine.iter().flat_map(|engine| named_files(cell, engine)).map(|(_, value)| value));
    }
    for name in named {
        let path = match files {
            Files::In(folder) => std::path::absolute(folder.join(&name)).context("no working directory")?,
            Files::As(lock) => lock.get(Kind::File, &name)?.path.clone(),
        };
        lock.artifacts.push(Artifact::of(Kind::File, &name, "", &path.display().to_string(), &path)?);
    }
    Ok(lock)
}

/// Whether `cache` has every root file system of the plan, so that none is to be made.
///
/// # Errors
/// When a description is wrong.
pub fn images_made(plan: &Plan, project: &Project, cache: &Cache) -> anyhow::Result<bool> {
    // Without an agent an image cannot be told from one with another agent.
    let Ok(agent) = agent::provide(cache) else { return Ok(false) };
    let rootfs = |cell| GuestSettings::from_cell(cell).map(|guest| guest.rootfs);
    let names = plan.cells.iter().map(rootfs).collect::<Result<BTreeSet<_>, _>>()?;
    names.iter().try_fold(true, |all, name| Ok(all && image::is_cached(&project.rootfs(), name, &agent, cache)?))
}

/// Adds what the emulated host itself needs.
///
/// # Errors
/// When it cannot be had.
pub fn provide_emulated_host(lock: &mut Lock, project: &Project, cache: &Cache) -> anyhow::Result<()> {
    first_process()?;
    let mut add = |artifact: Artifact| {
        if lock.get(artifact.kind, &artifact.name).is_err() {
            lock.artifacts.push(artifact);
        }
    };
    add(kernel::provide(&project.kernels(), EMULATED_HOST_KERNEL, cache)?);
    add(program::provide(program::EMULATOR, cache)?);
    Ok(())
}

/// The emulated host's first process, which is built with this program and lies beside it.
///
/// # Errors
/// When it is not there.
pub fn first_process() -> anyhow::Result<PathBuf> {
    const NAME: &str = "microbench-emulated-host";
    let path = std::env::current_exe().context("cannot find this program")?.with_file_name(NAME);
    if !path.is_file() {
        bail!(Code::EmulatorFailed.says(format!(
            "{} is not there, the first process of the emulated host: it is built with this program, and belongs beside it",
            path.display()
        )));
    }
    Ok(path)
}

/// [`program::missing_requirement`]; the guest's own agent is never.
fn missing(name: &str) -> anyhow::Result<Option<MissingRequirement>> {
    if name == AGENT { Ok(None) } else { program::missing_requirement(name) }
}

/// Why the VMs of a cell cannot be had, as a clause: its engine's program is `absent`, its machine lacks a combination of settings, or its
/// kernel an option. `None` when nothing is known against them.
fn unfit(
    cell: &Cell,
    engine: &Engine,
    guest: &GuestSettings,
    absent: bool,
    project: &Project,
) -> anyhow::Result<Option<String>> {
    if absent && let Some(lack) = missing(&engine.program)? {
        return Ok(Some(format!("{} ({}; to have it: {})", engine.title, lack.what, lack.fix)));
    }
    if absent {
        return Ok(Some(format!("{}, which was not installed when the run began", engine.title)));
    }
    if let Some(reason) = machine::refusal(engine, guest, &cell.settings)? {
        return Ok(Some(format!("these settings: {reason}")));
    }
    let name = &guest.kernel;
    if let Some(option) = machine::needed_option(engine, &cell.settings)?
        && kernel::is_built_without(&project.kernels(), name, &option)?
    {
        return Ok(Some(format!("this kernel: the machine needs one with {option}, which kernels/{name} has not")));
    }
    Ok(None)
}

/// The cells of a plan that this machine cannot run, with the reason of each, in the plan's order: what a run records as not applicable
/// without starting anything.
///
/// # Errors
/// When a description is wrong.
pub fn not_applicable(plan: &Plan, engines: &[Engine], project: &Project) -> anyhow::Result<Vec<(String, String)>> {
    let mut cells = Vec::new();
    // What a cell's settings are, its variant says and its levels: those that nothing asks for make no difference. So what was found out
    // for one cell holds for the others that are alike, of which there may be a million.
    let asked = |engine: &Engine| -> Vec<String> {
        let axes = plan.axes.iter().map(|axis| &axis.name);
        axes.filter(|axis| *axis == "kernel" || machine::depends_on(engine, axis)).cloned().collect()
    };
    let asked: BTreeMap<&str, Vec<String>> =
        engines.iter().map(|engine| (engine.name.as_str(), asked(engine))).collect();
    let mut known: HashMap<String, Option<String>> = HashMap::new();
    for cell in &plan.cells {
        let Some(engine) = engines.iter().find(|engine| engine.name == cell.engine) else { continue };
        let mut kind = cell.variant.to_string();
        for axis in asked.get(engine.name.as_str()).into_iter().flatten() {
            let level = cell.levels.get(axis);
            kind += &level.map_or_else(String::new, |level| format!("\0{level}"));
        }
        let reason = match known.get(&kind) {
            Some(reason) => reason,
            None => {
                let absent = missing(&engine.program)?.is_some();
                known.entry(kind).or_insert(unfit(cell, engine, &GuestSettings::from_cell(cell)?, absent, project)?)
            }
        };
        cells.extend(reason.as_ref().map(|reason| (cell.id.to_string(), reason.clone())));
    }
    Ok(cells)
}

/// What each cell's VMs are made of, by cell.
///
/// # Errors
/// When the lock lacks an artefact. A guest setting with a value that is not permitted.
pub fn by_cell(
    plan: &Plan,
    engines: &[Engine],
    lock: &Lock,
    project: &Project,
) -> anyhow::Result<BTreeMap<String, Parts>> {
    let mut described: BTreeMap<String, image::Rootfs> = BTreeMap::new();
    plan.cells
        .iter()
        .map(|cell| {
            let engine = engines
                .iter()
                .find(|engine| engine.name == cell.engine)
                .with_context(|| format!("the run has no engine `{}`", cell.engine))?;
            let guest = GuestSettings::from_cell(cell)?;
            let image::Rootfs { init, agent, .. } = match described.get(&guest.rootfs) {
                Some(known) => known.clone(),
                None => {
                    let fresh = image::describe(&project.rootfs(), &guest.rootfs)?;
                    described.insert(guest.rootfs.clone(), fresh.clone());
                    fresh
                }
            };
            let path = |kind: Kind, name: &str| lock.get(kind, name).map(|artifact| artifact.path.clone());
            let absent = lock.get(Kind::Program, &engine.program).is_err();
            let unfit = unfit(cell, engine, &guest, absent, project)?;
            let program = match &unfit {
                Some(_) => PathBuf::new(),
                None => path(Kind::Program, &engine.program)?,
            };
            let parts = Parts {
                engine: engine.clone(),
                program,
                kernel: match engine.guest.shares_kernel() {
                    true => None,
                    false => Some(path(Kind::Kernel, &guest.kernel)?),
                },
                image: path(Kind::Rootfs, &guest.rootfs)?,
                guest,
                init,
                agent,
                jailer: engine.jail.as_ref().and_then(|jail| path(Kind::Program, &jail.program).ok()),
                strace: path(Kind::Program, STRACE).ok(),
                unfit,
                files: named_files(cell, engine)
                    .into_iter()
                    .map(|(name, value)| Ok((name, path(Kind::File, &value)?)))
                    .collect::<anyhow::Result<_>>()?,
            };
            Ok((cell.id.to_string(), parts))
        })
        .collect()
}

/// Every file that the emulated host must hold: its first process, the cells' parts, and what the programs need to start. From the
/// path inside to the file outside; they differ for the first process alone, which goes in as `stripped`.
///
/// # Errors
/// When a library is missing.
pub fn closure(
    parts: &BTreeMap<String, Parts>,
    lock: &Lock,
    first: &Path,
    stripped: &Path,
) -> anyhow::Result<BTreeMap<PathBuf, PathBuf>> {
    let mut files = BTreeSet::new();
    files.extend(program::libraries(first)?);
    let fit = || parts.values().filter(|part| part.unfit.is_none());
    let programs: BTreeSet<&str> = fit().map(|part| part.engine.program.as_str()).collect();
    for part in fit() {
        files.extend([part.program.clone(), part.image.clone()]);
        files.extend(part.files.values().chain(&part.kernel).chain(&part.jailer).cloned());
    }
    if let Ok(strace) = lock.get(Kind::Program, STRACE) {
        files.insert(strace.path.clone());
        files.extend(program::runtime_files(strace)?);
    }
    for name in programs {
        files.extend(program::runtime_files(lock.get(Kind::Program, name)?)?);
    }
    let mut files: BTreeMap<PathBuf, PathBuf> = files.into_iter().map(|path| (path.clone(), path)).collect();
    files.insert(first.to_path_buf(), stripped.to_path_buf());
    Ok(files)
}
