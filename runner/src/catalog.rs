//! What manifests may name on this machine: the engines, kernels and root file systems, built in or the project's.

use std::collections::BTreeMap;
use std::path::Path;

use microbench_measure::artifacts::project::Project;
use microbench_study::engine::description::{self, Engine, SettingKind};
use microbench_study::manifest::{Catalog, EngineSpec, SettingSpec};

use crate::run::parts::EMULATED_HOST_KERNEL;

/// The engines: the built-in ones, and those in `engines/` beside the manifest.
///
/// # Errors
/// When a description is wrong.
pub fn engines(manifest: &Path) -> anyhow::Result<BTreeMap<String, Engine>> {
    let beside = manifest.parent().unwrap_or(Path::new("")).join("engines");
    description::load(&[&beside])
}

/// The catalogue that a manifest is checked against.
#[must_use]
pub fn catalog(engines: &BTreeMap<String, Engine>, project: &Project) -> Catalog {
    let mut kernels = project.kernels().names();
    kernels.retain(|name| name != EMULATED_HOST_KERNEL);
    Catalog { engines: specs(engines), kernels, rootfs: project.rootfs().names() }
}

/// The catalogue of the built-in engines alone, without kernels and root file systems: what the checked-in schema knows.
///
/// # Errors
/// Never in practice: the built-in descriptions are right.
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
            (name.clone(), EngineSpec { settings: settings.collect() })
        })
        .collect()
}
