//! What a run is made of and did not make itself: guest kernels, root file systems, VMM programs.
//!
//! Each is described in TOML (kernels/, rootfs/, runner/measure/programs/), comes from the first of its sources that works, is
//! verified by SHA-256 where one is pinned, and is kept in the user's cache under a name that holds the digest of all it
//! was built from.

pub mod agent;
pub mod built_in;
pub mod cache;
pub mod image;
pub mod kernel;
pub mod lock;
pub mod program;
pub mod project;
pub mod seal;
pub mod source;
pub mod suite;
pub mod tool;

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tracing::debug;

/// Kind of an artefact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Kind {
    /// A kernel image.
    Kernel,
    /// A root file system's image.
    Rootfs,
    /// A program.
    Program,
    /// A file that a setting names.
    File,
}

/// One artefact that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Kind.
    pub kind: Kind,
    /// Name, as manifests and engines give it.
    pub name: String,
    /// Version, as its source states it.
    pub version: String,
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// Size of the file, bytes.
    pub bytes: u64,
    /// Where it came from.
    pub origin: String,
    /// The file.
    pub path: PathBuf,
}

impl Artifact {
    /// Describes the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(kind: Kind, name: &str, version: &str, origin: &str, path: &Path) -> anyhow::Result<Self> {
        let (sha256, bytes) = cache::sha256_file(path).with_context(|| format!("cannot read {}", path.display()))?;
        debug!("{kind} {name} {version}: {bytes} bytes, SHA-256 {sha256}, of {origin}, {}", path.display());
        Ok(Self {
            kind,
            name: name.into(),
            version: version.into(),
            sha256,
            bytes,
            origin: origin.into(),
            // VMMs have another working folder, and a session that resumes the run may have.
            path: std::path::absolute(path).with_context(|| format!("no working directory for {}", path.display()))?,
        })
    }
}
