//! `lock.toml`: the artefacts of a run with their versions and SHA-256 digests.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use microbench_formats::code::Code;
use microbench_formats::input;
use serde::{Deserialize, Serialize};

use super::{Artifact, Kind};
use crate::sys::durable::{self, damaged_file_error};

/// File name in a run's folder.
pub const FILE: &str = "lock.toml";

/// The artefacts of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Sorted by kind and name.
    pub artifacts: Vec<Artifact>,
}

impl Lock {
    /// Reads the lock of the run in the folder `run`; `None` if the file does not exist.
    ///
    /// # Errors
    /// If the file cannot be read; [`Code::RunFileDamaged`] if it cannot be parsed.
    pub fn read(run: &Path) -> anyhow::Result<Option<Self>> {
        let path = run.join(FILE);
        let text = match input::read_in(run, FILE).and_then(input::text) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        // A complete lock ends with a newline.
        let lock = toml::from_str(&text).map_err(|error| {
            let (bytes, cut_off) = (text.as_bytes(), !text.ends_with('\n'));
            damaged_file_error(&path, bytes, cut_off, &error)
        })?;
        Ok(Some(lock))
    }

    /// The content of `lock.toml`.
    ///
    /// # Errors
    /// If a path is not UTF-8.
    pub fn to_toml(&self) -> anyhow::Result<String> {
        toml::to_string(self).context("cannot write the lock as TOML")
    }

    /// The artefact with this kind and name.
    ///
    /// # Errors
    /// [`Code::RunFileDamaged`] if the lock does not contain it.
    pub fn get(&self, kind: Kind, name: &str) -> anyhow::Result<&Artifact> {
        self.artifacts.iter().find(|artifact| artifact.kind == kind && artifact.name == name).with_context(|| {
            Code::RunFileDamaged.with_message(format!(
                "{FILE} has no {kind} named `{name}`; restore the file from a copy, or start a new run"
            ))
        })
    }

    /// Writes `lock.toml` into the folder `run`. If there is one already, compares the artefacts instead: a resumed run
    /// must use the same ones.
    ///
    /// # Errors
    /// [`Code::ArtefactChanged`], with both digests, or [`Code::ArtefactGone`].
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
                    Some(new) => bail!(Code::ArtefactChanged.with_message(format!(
                        "the {kind} `{name}` has changed since the run began: its SHA-256 was {old} and is now {new}; \
                         all samples of a run must come from the same artefacts: start a new run"
                    ))),
                    None => bail!(
                        Code::ArtefactMissing
                            .with_message(format!("the {kind} `{name}` in {} does not exist any more", path.display()))
                    ),
                }
            }
            return Ok(());
        }
        durable::write(&path, self.to_toml()?.as_bytes())
    }
}
