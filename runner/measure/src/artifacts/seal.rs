//! Is an artefact still the one that the run began with? Cheap enough to be asked before every trial.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::cache::sha256_file;
use super::lock::Lock;
use crate::parts::Parts;

/// The files that each cell's VMs are made of.
#[derive(Debug)]
pub struct Seals {
    cells: BTreeMap<String, Vec<PathBuf>>,
    files: BTreeMap<PathBuf, Seal>,
}

/// A file with its digest, and what its inode showed when the file had that digest.
#[derive(Debug)]
struct Seal {
    title: String,
    sha256: String,
    seen: Option<Inode>,
}

/// What changes whenever a file is written or replaced; the time of the inode's change cannot be set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inode {
    device: u64,
    number: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Inode {
    fn of(path: &Path) -> std::io::Result<Self> {
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

impl Seals {
    /// The files of `parts` with their digests in `lock`.
    ///
    /// # Errors
    /// When the lock lacks a file.
    pub fn of(parts: &BTreeMap<String, Parts>, lock: &Lock) -> anyhow::Result<Self> {
        let mut seals = Self { cells: BTreeMap::new(), files: BTreeMap::new() };
        for (cell, parts) in parts.iter().filter(|(_, parts)| parts.unfit.is_none()) {
            let mut paths = vec![parts.program.clone(), parts.image.clone()];
            paths.extend(parts.files.values().chain(&parts.kernel).chain(&parts.jailer).cloned());
            for path in &paths {
                let artifact = lock.artifacts.iter().find(|artifact| artifact.path == *path);
                let artifact = artifact.with_context(|| format!("the lock has no {}", path.display()))?;
                let title = format!("{} `{}`", artifact.kind, artifact.name);
                seals.files.insert(path.clone(), Seal { title, sha256: artifact.sha256.clone(), seen: None });
            }
            seals.cells.insert(cell.clone(), paths);
        }
        Ok(seals)
    }

    /// Checks the files of `cell`; their content only where the inode is another than it was when the content was right.
    ///
    /// # Errors
    /// Which file is no longer the one that the run began with, and both digests.
    pub fn check(&mut self, cell: &str) -> Result<(), String> {
        for path in self.cells.get(cell).into_iter().flatten() {
            let Some(seal) = self.files.get_mut(path) else { continue };
            let gone = |error: std::io::Error| {
                format!("the {} has changed since the run began: {}: {error}", seal.title, path.display())
            };
            let now = Inode::of(path).map_err(gone)?;
            if seal.seen == Some(now) {
                continue;
            }
            let (digest, _) = sha256_file(path).map_err(|error| format!("{error:#}"))?;
            if digest != seal.sha256 {
                let (title, begun) = (&seal.title, &seal.sha256);
                return Err(format!(
                    "the {title} has changed since the run began: {} was {begun}, it is {digest}",
                    path.display()
                ));
            }
            seal.seen = Some(now);
        }
        Ok(())
    }
}
