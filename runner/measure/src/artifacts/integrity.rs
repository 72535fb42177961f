//! Integrity check of a run's artefacts: their content must not change during the run. Cheap enough for every trial.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::cache::sha256_file;
use super::lock::Lock;
use crate::parts::Parts;

/// Checks the artefacts of each cell against the digests of `lock.toml`.
#[derive(Debug)]
pub struct IntegrityCheck {
    /// Paths of the artefacts by cell.
    cells: BTreeMap<String, Vec<PathBuf>>,
    files: BTreeMap<PathBuf, LockedFile>,
}

/// A file with its digest in the lock.
#[derive(Debug)]
struct LockedFile {
    /// Kind and name, for messages.
    title: String,
    sha256: String,
    /// The inode at the last time when the content was verified.
    verified: Option<Inode>,
}

/// Metadata that changes whenever a file is written or replaced: unlike `mtime`, `ctime` cannot be set by a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inode {
    device: u64,
    number: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Inode {
    fn read(path: &Path) -> std::io::Result<Self> {
        let data = fs::metadata(path)?;
        Ok(Self {
            device: data.dev(),
            number: data.ino(),
            bytes: data.size(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        })
    }
}

impl IntegrityCheck {
    /// Prepares the check of the artefacts in `parts` with the digests in `lock`. Reads no file.
    ///
    /// # Errors
    /// If an artefact is not in the lock.
    pub fn new(parts: &BTreeMap<String, Parts>, lock: &Lock) -> anyhow::Result<Self> {
        let mut check = Self { cells: BTreeMap::new(), files: BTreeMap::new() };
        for (cell, parts) in parts.iter().filter(|(_, parts)| parts.not_applicable.is_none()) {
            let mut paths = vec![parts.program.clone(), parts.image.clone()];
            paths.extend(parts.files.values().chain(&parts.kernel).chain(&parts.jailer).cloned());
            for path in &paths {
                let artifact = lock.artifacts.iter().find(|artifact| artifact.path == *path);
                let artifact = artifact.with_context(|| format!("{} is not in lock.toml", path.display()))?;
                let title = format!("{} `{}`", artifact.kind, artifact.name);
                check.files.insert(path.clone(), LockedFile { title, sha256: artifact.sha256.clone(), verified: None });
            }
            check.cells.insert(cell.clone(), paths);
        }
        Ok(check)
    }

    /// Checks the artefacts of `cell`. Reads the content of a file only if its inode has changed since it was last
    /// verified.
    ///
    /// # Errors
    /// The file that has changed since the run began, with both digests.
    pub fn check(&mut self, cell: &str) -> Result<(), String> {
        for path in self.cells.get(cell).into_iter().flatten() {
            let Some(file) = self.files.get_mut(path) else { continue };
            let unreadable = |error: std::io::Error| {
                format!("the {} has changed since the run began: {}: {error}", file.title, path.display())
            };
            let now = Inode::read(path).map_err(unreadable)?;
            if file.verified == Some(now) {
                continue;
            }
            let (digest, _) = sha256_file(path).map_err(unreadable)?;
            if digest != file.sha256 {
                let (title, expected) = (&file.title, &file.sha256);
                return Err(format!(
                    "the {title} has changed since the run began: the SHA-256 of {} was {expected} and is now {digest}",
                    path.display()
                ));
            }
            file.verified = Some(now);
        }
        Ok(())
    }
}
