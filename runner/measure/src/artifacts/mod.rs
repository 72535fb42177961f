//! Artefacts of a run: guest kernels, root file systems, VMM programs.
//!
//! An artefact is described in TOML (kernels/, rootfs/, runner/measure/programs/). It is provided by the first of its
//! sources that works, and verified by SHA-256 if its description pins one. It is kept in the user's cache, under a
//! name that contains the digest of everything it was built from.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use microbench_measure::artifacts::{cache::Cache, kernel, project::Project};
//!
//! # fn main() -> anyhow::Result<()> {
//! let project = Project::find(None, Path::new("experiments/quick.toml"))?;
//! let kernel = kernel::provide(&project.kernels(), "microvm-6.1", &Cache::for_user()?)?;
//! println!("{} {}", kernel.path.display(), kernel.sha256);
//! # Ok(())
//! # }
//! ```

pub mod agent;
pub mod built_in;
pub mod cache;
pub mod debian_suite;
pub mod image;
pub mod integrity;
pub mod kernel;
pub mod lock;
pub mod program;
pub mod project;
pub mod source;
pub mod tool;
pub mod unneeded;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use microbench_formats::code::Code;
use serde::{Deserialize, Serialize};
use tracing::debug;

use self::cache::Note;

/// Kind of an artefact. The order is that of `lock.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Kind {
    /// The image of a guest kernel.
    Kernel,
    /// The image of a root file system.
    Rootfs,
    /// A VMM, a container runtime, the emulator, strace.
    Program,
    /// A file that a setting names.
    File,
}

/// An artefact in the cache or elsewhere on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    pub kind: Kind,
    /// Name in manifests and engine descriptions.
    pub name: String,
    /// Version, as given by its source; empty if unknown.
    pub version: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// Size of the file, bytes.
    pub bytes: u64,
    /// Source, for example `Debian linux-source-6.1 6.1.170-1` or a URL.
    pub origin: String,
    /// Absolute path of the file.
    pub path: PathBuf,
    /// `CONFIG_HZ` of a kernel that was built here; `None` for other artefacts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_hz: Option<u32>,
}

impl Artifact {
    /// Describes `file` of the cache entry in `folder`, whose content must be that of `note`.
    ///
    /// # Errors
    /// [`Code::CacheDamaged`] if the content differs, or if the file is empty.
    pub fn from_entry(kind: Kind, name: &str, note: &Note, folder: &Path, file: &str) -> anyhow::Result<Self> {
        let hashed = note.hash_checked(folder, file)?;
        let artifact = Self::hashed(kind, name, &note.version, &note.origin, &folder.join(file), hashed)?;
        if artifact.bytes == 0 {
            bail!(Code::CacheDamaged.with_message(format!(
                "{} is empty; fix its source, and delete the folder {}, so that it is rebuilt",
                artifact.path.display(),
                folder.display()
            )));
        }
        Ok(artifact)
    }

    /// Describes the file at `path`, with its digest and size.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn from_file(kind: Kind, name: &str, version: &str, origin: &str, path: &Path) -> anyhow::Result<Self> {
        let hashed = cache::sha256_file(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::hashed(kind, name, version, origin, path, hashed)
    }

    /// Describes the file at `path` with this digest and size.
    fn hashed(
        kind: Kind,
        name: &str,
        version: &str,
        origin: &str,
        path: &Path,
        (sha256, bytes): (String, u64),
    ) -> anyhow::Result<Self> {
        debug!("{kind} {name} {version}: {bytes} bytes, SHA-256 {sha256}, of {origin}, {}", path.display());
        Ok(Self {
            kind,
            name: name.into(),
            version: version.into(),
            sha256,
            bytes,
            origin: origin.into(),
            // Absolute, because VMMs, and sessions that resume the run, have other working directories.
            path: std::path::absolute(path).with_context(|| format!("no working directory for {}", path.display()))?,
            config_hz: None,
        })
    }
}
