//! `lock.toml`: every artefact of a run with its version and SHA-256.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::{Artifact, Kind};
use crate::error::code::Code;

/// Name of the file in a run directory.
pub const FILE: &str = "lock.toml";

/// Every artefact of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// In order of kind and name.
    pub artifacts: Vec<Artifact>,
}

impl Lock {
    /// The artefact of this kind and name.
    ///
    /// # Errors
    /// When the lock has none.
    pub fn get(&self, kind: Kind, name: &str) -> anyhow::Result<&Artifact> {
        self.artifacts
            .iter()
            .find(|artifact| artifact.kind == kind && artifact.name == name)
            .with_context(|| format!("{FILE} has no {kind} named `{name}`"))
    }

    /// Writes the file into `run`; a resumed run must have the same artefacts as before.
    ///
    /// # Errors
    /// When an artefact's SHA-256 has changed since the run began: both digests are named.
    pub fn write_or_compare(&self, run: &Path) -> anyhow::Result<()> {
        let path = run.join(FILE);
        if path.exists() {
            let before: Self = super::project::read_toml(&path)?;
            let digests = |lock: &Self| -> BTreeMap<(Kind, String), String> {
                lock.artifacts.iter().map(|a| ((a.kind, a.name.clone()), a.sha256.clone())).collect()
            };
            let now = digests(self);
            for ((kind, name), old) in digests(&before) {
                match now.get(&(kind, name.clone())) {
                    Some(new) if *new == old => {}
                    Some(new) => bail!(Code::ArtefactChanged.says(format!(
                        "the {kind} `{name}` has changed since the run began: it was {old}, it is {new}; \
                         a run's samples must come from one set of artefacts: start a new run"
                    ))),
                    None => bail!(
                        Code::ArtefactGone
                            .says(format!("the {kind} `{name}` of the run's {} is not there any more", path.display()))
                    ),
                }
            }
            return Ok(());
        }
        let text = toml::to_string(self).context("cannot write the lock as TOML")?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}
