//! Resolves the names in a plan to files: the artefacts of a run, and the parts of each cell's VMs.

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
use microbench_measure::artifacts::{Artifact, Kind, agent, image, kernel, program, unneeded};
use microbench_measure::parts::Parts;
use microbench_measure::requirement::{self, MissingRequirement, MissingRequirements};
use microbench_study::engine::description::Engine;
use microbench_study::engine::guest_settings::GuestSettings;
use microbench_study::engine::machine;

/// The kernel of the emulated host: a folder of kernels/.
pub const EMULATED_HOST_KERNEL: &str = "emulated-host-6.1";

/// The guest agent, as the program of an engine. Every root file system contains it.
pub const AGENT: &str = "microbench-agent";

/// The program that traces system calls.
pub const STRACE: &str = "strace";

/// How the file names in settings are resolved.
#[derive(Clone, Copy, Debug)]
pub enum Files<'a> {
    /// Relative to this folder, which is that of the manifest: for a new run.
    In(&'a Path),
    /// By this lock: for a run that is resumed.
    As(&'a Lock),
}

/// The settings of a cell that name a file, each with the name of the file.
fn named_files(cell: &Cell, engine: &Engine) -> Vec<(String, String)> {
    engine.files_named_by(&cell.settings).filter_map(|(name, value)| Some((name.clone(), value?))).collect()
}

/// Finds, downloads or builds every artefact that the cells of the plan need. A program that is not installed is an
/// error only if no other program of the plan is installed. Cells without their program are not applicable.
///
/// # Errors
/// When a guest setting has an invalid value, or an artefact cannot be provided.
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
    // Before the kernels, so that an error is reported before they are built, which takes minutes.
    let agent = agent::provide(cache)?;
    unneeded::record(cache, project);
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
    // A program that is not installed only makes its own cells not applicable. Without any program nothing can run.
    let mut not_installed = Vec::new();
    for name in &programs {
        match missing(name)? {
            Some(requirement) => not_installed.push(requirement),
            // The agent is added below for every engine, because every root file system contains it.
            None if *name == AGENT => {}
            None => lock.artifacts.push(program::provide(name, cache)?),
        }
    }
    let version = env!("CARGO_PKG_VERSION");
    lock.artifacts.push(Artifact::from_file(Kind::Program, AGENT, version, "this program", &agent)?);
    if not_installed.len() == programs.len() {
        MissingRequirements::check(not_installed)?;
    }
    for engine in engines.iter().filter(|engine| used.contains(engine.name.as_str())) {
        if let Some(jail) = &engine.jail
            && let Ok(vmm) = lock.get(Kind::Program, &engine.program).cloned()
        {
            let path = vmm.path.with_file_name(&jail.program);
            if path.is_file() {
                let (version, origin) = (&vmm.version, &vmm.origin);
                lock.artifacts.push(Artifact::from_file(Kind::Program, &jail.program, version, origin, &path)?);
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
        lock.artifacts.push(Artifact::from_file(Kind::File, &name, "", &path.display().to_string(), &path)?);
    }
    Ok(lock)
}

/// Whether `cache` contains every root file system of the plan, so that no root file system must be built.
///
/// # Errors
/// When the description of a root file system is wrong.
pub fn images_cached(plan: &Plan, project: &Project, cache: &Cache) -> anyhow::Result<bool> {
    // The key of an image in the cache includes the agent.
    let Ok(agent) = agent::provide(cache) else { return Ok(false) };
    let rootfs = |cell| GuestSettings::from_cell(cell).map(|guest| guest.rootfs);
    let names = plan.cells.iter().map(rootfs).collect::<Result<BTreeSet<_>, _>>()?;
    names.iter().try_fold(true, |all, name| Ok(all && image::is_cached(&project.rootfs(), name, &agent, cache)?))
}

/// Adds the artefacts of the emulated host to `lock`: its kernel and its emulator.
///
/// # Errors
/// When an artefact cannot be provided, or the init of the emulated host is missing.
pub fn provide_emulated_host(lock: &mut Lock, project: &Project, cache: &Cache) -> anyhow::Result<()> {
    emulated_init()?;
    let mut add = |artifact: Artifact| {
        if lock.get(artifact.kind, &artifact.name).is_err() {
            lock.artifacts.push(artifact);
        }
    };
    add(kernel::provide(&project.kernels(), EMULATED_HOST_KERNEL, cache)?);
    add(program::provide(program::EMULATOR, cache)?);
    Ok(())
}

/// Path of the init of the emulated host, which is built and installed together with this program.
///
/// # Errors
/// When the file does not exist.
pub fn emulated_init() -> anyhow::Result<PathBuf> {
    const NAME: &str = "microbench-emulated-host";
    let path = std::env::current_exe().context("cannot find this program")?.with_file_name(NAME);
    if !path.is_file() {
        bail!(Code::EmulatorFailed.with_message(format!(
            "the init of the emulated host is missing: {} does not exist; install microbench again, which includes this program",
            path.display()
        )));
    }
    Ok(path)
}

/// [`program::missing_requirement`], except that the guest agent is never missing.
fn missing(name: &str) -> anyhow::Result<Option<MissingRequirement>> {
    if name == AGENT { Ok(None) } else { program::missing_requirement(name) }
}

/// Why the VMs of a cell are not applicable on this machine, as a clause; `None` when they are. The engine's program is
/// `absent`, the engine's machine does not support the combination of settings, or the kernel has no required option.
fn why_not_applicable(
    cell: &Cell,
    engine: &Engine,
    guest: &GuestSettings,
    absent: bool,
    project: &Project,
) -> anyhow::Result<Option<String>> {
    if absent && let Some(program) = missing(&engine.program)? {
        return Ok(Some(format!("{} ({}; to fix it: {})", engine.title, program.what, program.fix)));
    }
    if absent {
        return Ok(Some(format!("{}, which was not installed at the start of the run", engine.title)));
    }
    if let Some(reason) = machine::refusal(engine, guest, &cell.settings)? {
        return Ok(Some(format!("these settings: {reason}")));
    }
    let name = &guest.kernel;
    if let Some(option) = machine::needed_option(engine, &cell.settings)?
        && kernel::is_built_without(&project.kernels(), name, &option)?
    {
        return Ok(Some(format!(
            "this kernel: the machine needs the option {option}, which is missing in kernels/{name}"
        )));
    }
    Ok(None)
}

/// The cells of a plan that are not applicable on this machine, each with the reason, in the order of the plan. A run
/// records them as not applicable without starting a VM.
///
/// # Errors
/// When the description of an engine, kernel or root file system is wrong.
pub fn not_applicable(plan: &Plan, engines: &[Engine], project: &Project) -> anyhow::Result<Vec<(String, String)>> {
    let mut cells = Vec::new();
    // A plan may have a million cells. The result depends only on the variant and on the levels of axes that the
    // engine's machine or the kernel uses. It is computed once for each combination of these.
    let used_axes = |engine: &Engine| -> Vec<String> {
        let axes = plan.axes.iter().map(|axis| &axis.name);
        axes.filter(|axis| *axis == "kernel" || machine::depends_on(engine, axis)).cloned().collect()
    };
    let used_axes: BTreeMap<&str, Vec<String>> =
        engines.iter().map(|engine| (engine.name.as_str(), used_axes(engine))).collect();
    let mut known: HashMap<String, Option<String>> = HashMap::new();
    for cell in &plan.cells {
        let Some(engine) = engines.iter().find(|engine| engine.name == cell.engine) else { continue };
        let mut kind = cell.variant.to_string();
        for axis in used_axes.get(engine.name.as_str()).into_iter().flatten() {
            let level = cell.levels.get(axis);
            kind += &level.map_or_else(String::new, |level| format!("\0{level}"));
        }
        let reason = match known.get(&kind) {
            Some(reason) => reason,
            None => {
                let absent = missing(&engine.program)?.is_some();
                known.entry(kind).or_insert(why_not_applicable(
                    cell,
                    engine,
                    &GuestSettings::from_cell(cell)?,
                    absent,
                    project,
                )?)
            }
        };
        cells.extend(reason.as_ref().map(|reason| (cell.id.to_string(), reason.clone())));
    }
    Ok(cells)
}

/// The parts of each cell's VMs, by identifier of the cell.
///
/// # Errors
/// When an artefact is missing in the lock, or a guest setting has an invalid value.
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
                .with_context(|| format!("the run has no description of the engine `{}`", cell.engine))?;
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
            let not_applicable = why_not_applicable(cell, engine, &guest, absent, project)?;
            let program = match &not_applicable {
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
                not_applicable,
                files: named_files(cell, engine)
                    .into_iter()
                    .map(|(name, value)| Ok((name, path(Kind::File, &value)?)))
                    .collect::<anyhow::Result<_>>()?,
            };
            Ok((cell.id.to_string(), parts))
        })
        .collect()
}

/// The files of the emulated host: its init, the parts of the cells, and the libraries of their programs. Maps the path
/// in the emulated host to the file on this machine. The two differ only for `init`, whose content is that of the file
/// `stripped`.
///
/// # Errors
/// When a library is missing.
pub fn emulated_files(
    parts: &BTreeMap<String, Parts>,
    lock: &Lock,
    init: &Path,
    stripped: &Path,
) -> anyhow::Result<BTreeMap<PathBuf, PathBuf>> {
    let mut files = runtime_files(parts, lock)?;
    files.extend(program::libraries(init)?);
    let mut files: BTreeMap<PathBuf, PathBuf> = files.into_iter().map(|path| (path.clone(), path)).collect();
    files.insert(init.to_path_buf(), stripped.to_path_buf());
    Ok(files)
}

/// The files of the cells' engines: the parts of the cells, and the libraries and data of their programs.
///
/// # Errors
/// When a library is missing.
pub fn runtime_files(parts: &BTreeMap<String, Parts>, lock: &Lock) -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    let applicable = || parts.values().filter(|part| part.not_applicable.is_none());
    let programs: BTreeSet<&str> = applicable().map(|part| part.engine.program.as_str()).collect();
    for part in applicable() {
        files.extend([part.program.clone(), part.image.clone()]);
        files.extend(part.files.values().chain(&part.kernel).chain(&part.jailer).chain(&part.strace).cloned());
    }
    if let Ok(strace) = lock.get(Kind::Program, STRACE) {
        files.insert(strace.path.clone());
        files.extend(program::runtime_files(strace)?);
    }
    for name in programs {
        files.extend(program::runtime_files(lock.get(Kind::Program, name)?)?);
    }
    Ok(files)
}
