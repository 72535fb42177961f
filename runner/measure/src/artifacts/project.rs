//! The project's folders: where kernels/, rootfs/ and experiments/ are.

use std::path::{Path, PathBuf};

use anyhow::Context;
use microbench_formats::code::Code;
use serde::de::DeserializeOwned;

/// The folder that holds kernels/ and rootfs/.
#[derive(Clone, Debug)]
pub struct Project {
    root: PathBuf,
}

impl Project {
    /// The first of: `given`, a parent of `near` (a manifest), a parent of the working directory, the source tree.
    ///
    /// # Errors
    /// When none of them holds kernels/ and rootfs/.
    pub fn find(given: Option<&Path>, near: &Path) -> anyhow::Result<Self> {
        let is_project = |folder: &&Path| folder.join("kernels").is_dir() && folder.join("rootfs").is_dir();
        if let Some(root) = given {
            let context = || Code::NoProject.says(format!("{} holds no kernels/ and rootfs/", root.display()));
            let root = Some(root).filter(is_project).with_context(context)?;
            return Ok(Self { root: std::path::absolute(root).context("no working directory")? });
        }
        let near = std::path::absolute(near).context("no working directory")?;
        let here = std::env::current_dir().context("no working directory")?;
        [near.as_path(), &here, Path::new(env!("CARGO_MANIFEST_DIR"))]
            .into_iter()
            .flat_map(Path::ancestors)
            .find(is_project)
            .map(|root| Self { root: root.to_path_buf() })
            .context(Code::NoProject.says(
                "no folder with kernels/ and rootfs/ above the manifest or the working directory: give --project",
            ))
    }

    /// The project that the folder `here` is in, if it is in one.
    #[must_use]
    pub fn around(here: &Path) -> Option<Self> {
        let is_project = |folder: &&Path| folder.join("kernels").is_dir() && folder.join("rootfs").is_dir();
        here.ancestors().find(is_project).map(|root| Self { root: root.to_path_buf() })
    }

    /// kernels/.
    #[must_use]
    pub fn kernels(&self) -> PathBuf {
        self.root.join("kernels")
    }

    /// rootfs/.
    #[must_use]
    pub fn rootfs(&self) -> PathBuf {
        self.root.join("rootfs")
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// Names of the sub-folders of `folder` that hold `file`, sorted.
#[must_use]
pub fn names(folder: &Path, file: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join(file).is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// Reads a file of text.
///
/// # Errors
/// When it cannot be read; the message names it.
pub fn read_text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Reads a TOML file into `T`.
///
/// # Errors
/// When it cannot be read or does not parse; the message names the file and the place.
pub fn read_toml<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    toml::from_str(&read_text(path)?).with_context(|| Code::BadDescription.says(format!("{} is wrong", path.display())))
}
