//! The names that a manifest may refer to: engines, kernels and root file systems, built in or from the project. Also
//! finds studies by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use microbench_formats::code::Code;
use microbench_measure::artifacts::built_in;
use microbench_measure::artifacts::project::Project;
use microbench_measure::trust;
use microbench_study::engine::description::{self, Engine, SettingKind};
use microbench_study::manifest::nearest;
use microbench_study::manifest::{Catalog, EngineSpec, SettingSpec};

use crate::run::parts::EMULATED_HOST_KERNEL;

/// The built-in engines, and those in the folder `engines/` next to the manifest, by name.
///
/// # Errors
/// When the description of an engine is wrong, or belongs to others.
pub fn engines(manifest: &Path) -> anyhow::Result<BTreeMap<String, Engine>> {
    let own = manifest.parent().unwrap_or(Path::new("")).join("engines");
    trust::check("the folder", &own)?;
    for entry in std::fs::read_dir(&own).into_iter().flatten() {
        let path = entry.with_context(|| format!("cannot read {}", own.display()))?.path();
        if path.extension().is_some_and(|end| end == "toml") {
            trust::check("the engine description", &path)?;
        }
    }
    description::load(&[&own])
}

/// The catalog against which a manifest is checked.
#[must_use]
pub fn catalog(engines: &BTreeMap<String, Engine>, project: &Project) -> Catalog {
    let mut kernels = project.kernels().names();
    kernels.retain(|name| name != EMULATED_HOST_KERNEL);
    Catalog { engines: specs(engines), kernels, rootfs: project.rootfs().names() }
}

/// The catalog of the built-in engines, without kernels and root file systems, for the JSON Schema.
///
/// # Errors
/// When a built-in description is wrong, which tests rule out.
pub fn built_in() -> anyhow::Result<Catalog> {
    Ok(Catalog { engines: specs(&description::load(&[])?), ..Catalog::default() })
}

fn specs(engines: &BTreeMap<String, Engine>) -> BTreeMap<String, EngineSpec> {
    engines
        .iter()
        .map(|(name, engine)| {
            let settings = engine.settings.iter().map(|(name, setting)| {
                let (default, choices) = (setting.default.clone(), setting.choices.clone());
                let file = setting.kind == SettingKind::File;
                (name.clone(), SettingSpec { default, choices, file, doc: setting.doc.clone() })
            });
            (name.clone(), EngineSpec { settings: settings.collect(), shares_kernel: engine.guest.shares_kernel() })
        })
        .collect()
}

/// Folder of a project that contains its studies.
const STUDIES: &str = "experiments";

/// The manifest of the study that `given` names: an existing path, or the name of a study in the project's
/// `experiments/` or, if it is not there, in the working directory. `root` is the folder of the project; `None` means the project around the working directory.
///
/// # Errors
/// [`Code::UnknownName`] with the nearest name when `given` is neither. A path that does not exist is returned as it
/// is, because [`manifest::load`](microbench_study::manifest::load) reports it.
///
/// # Examples
/// ```no_run
/// use std::path::{Path, PathBuf};
///
/// let manifest = microbench::catalog::find_study(Path::new("quick"), None)?;
/// assert!(manifest.ends_with("experiments/quick.toml"));
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn find_study(given: &Path, root: Option<&Path>) -> anyhow::Result<PathBuf> {
    let text = given.to_string_lossy();
    if given.is_file() || text.contains('/') || text.ends_with(".toml") {
        return Ok(given.to_path_buf());
    }
    let folder = Project::find(root, Path::new("."))?.root().join(STUDIES);
    // Relative to the working directory where possible, as users write the path.
    let folder = match std::env::current_dir() {
        Ok(here) => folder.strip_prefix(here).map_or(folder.clone(), Path::to_path_buf),
        Err(_) => folder,
    };
    let manifest = folder.join(format!("{text}.toml"));
    let here = PathBuf::from(format!("{text}.toml"));
    for manifest in [&manifest, &here] {
        if manifest.is_file() {
            return Ok(manifest.clone());
        }
    }
    let names = studies_in(&folder);
    let mut message = format!(
        "study {} not found: neither {} nor {} in the working directory exists",
        nearest::quote(&text),
        manifest.display(),
        here.display()
    );
    if built_in::study_names().contains(&text.as_ref()) {
        message.push_str(&format!("; `microbench new NAME --from {text}` copies the built-in study"));
    } else {
        message.push_str(&format!("; {}", nearest::suggest(&text, "studies", names.iter().map(String::as_str))));
    }
    Err(Code::UnknownName.with_message(message).into())
}

/// Names of the studies in the `experiments/` of the project around the working directory, sorted.
///
/// # Errors
/// When the working directory cannot be read.
pub fn study_names() -> anyhow::Result<Vec<String>> {
    Ok(studies_in(&Project::find(None, Path::new("."))?.root().join(STUDIES)))
}

fn studies_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file());
    let names = paths.filter_map(|path| Some(path.file_name()?.to_str()?.strip_suffix(".toml")?.to_owned()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}
