//! `lock.toml`: every artefact of a run with its version and SHA-256.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use microbench_formats::code::Code;
use serde::{Deserialize, Serialize};

use super::{Artifact, Kind};
use crate::sys::durable::{self, damaged};

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
    /// The artefacts of the run in the folder `run`; `None` where it has no lock.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn read(run: &Path) -> anyhow::Result<Option<Self>> {
        let path = run.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        // Every lock ends with a line's end.
        let lock = toml::from_str(&text).map_err(|error| {
            let (bytes, cut_off) = (text.as_bytes(), !text.ends_with('\n'));
            damaged(&path, bytes, cut_off, &error)
        })?;
        Ok(Some(lock))
    }

    /// The content of its file.
    ///
    /// # Errors
    /// When a path is no text.
    pub fn text(&self) -> anyhow::Result<String> {
        toml::to_string(self).context("cannot write the lock as TOML")
    }

    /// The artefact of this kind and name.
    ///
    /// # Errors
    /// When the lock has none.
    pub fn get(&self, kind: Kind, name: &str) -> anyhow::Result<&Artifact> {
        self.artifacts.iter().find(|artifact| artifact.kind == kind && artifact.name == name).with_context(|| {
            Code::RunFileDamaged
                .says(format!("{FILE} has no {kind} named `{name}`; restore the file from a copy, or start a new run"))
        })
    }

    /// Writes the file into `run`; a resumed run must have the same artefacts as before.
    ///
    /// # Errors
    /// When an artefact's SHA-256 has changed since the run began: both digests are named.
    pub fn write_or_compare(&self, run: &Path) -> anyhow::Result<()> {
        let path = run.join(FILE);
        if let Some(before) = Self::read(run)? {
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
        durable::write(&path, self.text()?.as_bytes())
    }
}
