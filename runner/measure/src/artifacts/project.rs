//! Where kernels/, rootfs/ and runs/ are: in a project's folder, with the built-in kernels and root file systems behind it.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use anyhow::Context;
use microbench_formats::code::Code;
use serde::de::DeserializeOwned;

use super::built_in;
use super::cache::Cache;

/// A folder with kernels/ or rootfs/ of its own, or the working directory, which has only what is built in.
#[derive(Clone, Debug)]
pub struct Project {
    root: PathBuf,
}

impl Project {
    /// The first of: `given`, a parent of `near` (a manifest), a parent of the working directory, the working directory itself.
    ///
    /// # Errors
    /// When `given` describes neither a kernel nor a root file system.
    pub fn find(given: Option<&Path>, near: &Path) -> anyhow::Result<Self> {
        if let Some(root) = given {
            let context = || {
                let root = root.display();
                Code::NoProject.says(format!("{root} holds no kernels/NAME/kernel.toml and no rootfs/NAME/rootfs.toml"))
            };
            return Self::at(Some(root).filter(|root| is_project(root)).with_context(context)?);
        }
        let near = std::path::absolute(near).context("no working directory")?;
        let here = std::env::current_dir().context("no working directory")?;
        Ok(Self::around(&near).or_else(|| Self::around(&here)).unwrap_or(Self { root: here }))
    }

    /// The folder `root`, whatever it holds.
    ///
    /// # Errors
    /// When `root` is relative and there is no working directory.
    pub fn at(root: &Path) -> anyhow::Result<Self> {
        Ok(Self { root: std::path::absolute(root).context("no working directory")? })
    }

    /// The project that the folder `here` is in, if it is in one.
    #[must_use]
    pub fn around(here: &Path) -> Option<Self> {
        here.ancestors().find(|folder| is_project(folder)).map(|root| Self { root: root.to_path_buf() })
    }

    /// kernels/.
    #[must_use]
    pub fn kernels(&self) -> Descriptions {
        Descriptions { own: self.root.join(KERNELS.0), kind: KERNELS }
    }

    /// rootfs/.
    #[must_use]
    pub fn rootfs(&self) -> Descriptions {
        Descriptions { own: self.root.join(ROOTFS.0), kind: ROOTFS }
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// A folder of descriptions, and the file that describes each of its sub-folders.
type DescriptionKind = (&'static str, &'static str);
const KERNELS: DescriptionKind = ("kernels", "kernel.toml");
const ROOTFS: DescriptionKind = ("rootfs", "rootfs.toml");

fn is_project(folder: &Path) -> bool {
    [KERNELS, ROOTFS].iter().any(|(name, file)| !own_names(&folder.join(name), file).is_empty())
}

/// A project's kernels/ or rootfs/, and the built-in one behind it: a project's own sub-folder takes the place of the whole built-in one
/// of the same name.
#[derive(Clone, Debug)]
pub struct Descriptions {
    own: PathBuf,
    kind: DescriptionKind,
}

impl Descriptions {
    /// Names of everything that is described, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let (folder, file) = self.kind;
        let mut names = own_names(&self.own, file);
        names.extend(built_in::names(folder, file).into_iter().map(str::to_owned));
        names.sort();
        names.dedup();
        names
    }

    /// The description of `name`.
    ///
    /// # Errors
    /// When it cannot be read or does not parse; the message names the file and the place.
    pub fn describe<T: DeserializeOwned>(&self, name: &str) -> anyhow::Result<T> {
        let file = self.kind.1;
        parse_toml(&self.text(name, file)?, &self.shown(name, file))
    }

    /// The text of a file, whose path is relative to the sub-folder `name`; `../OTHER/FILE` is one of another sub-folder.
    ///
    /// # Errors
    /// When it cannot be read; the message names it.
    pub fn text(&self, name: &str, file: &str) -> anyhow::Result<String> {
        let relative = normal(name, file);
        if !self.is_own(&relative)
            && let Some(text) = built_in::text(&format!("{}/{}", self.kind.0, relative.display()))
        {
            return Ok(text.to_owned());
        }
        read_text(&self.own.join(relative))
    }

    /// The path of a file or folder (see [`text`](Self::text)), which need not exist. What is built in is unpacked into `cache`.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub fn path(&self, name: &str, file: &str, cache: &Cache) -> anyhow::Result<PathBuf> {
        let relative = normal(name, file);
        let built_in = || built_in::names(self.kind.0, self.kind.1).iter().any(|known| relative.starts_with(known));
        if self.is_own(&relative) || !built_in() {
            return Ok(self.own.join(relative));
        }
        Ok(built_in::unpacked(cache)?.join(self.kind.0).join(relative))
    }

    /// Whether the project has the sub-folder that `relative` begins with.
    fn is_own(&self, relative: &Path) -> bool {
        relative.components().next().is_some_and(|first| self.own.join(first).is_dir())
    }

    /// The path of a file, for messages.
    fn shown(&self, name: &str, file: &str) -> String {
        let relative = normal(name, file);
        match self.is_own(&relative) {
            true => self.own.join(relative).display().to_string(),
            false => format!("the built-in {}/{}", self.kind.0, relative.display()),
        }
    }
}

/// `name`/`file` without `.` and `..`. Such a path is resolved by its names alone: the folder that `..` leaves may be built in.
fn normal(name: &str, file: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for component in Path::new(name).join(file).components() {
        match component {
            Component::ParentDir if path.file_name().is_some_and(|last| last != OsStr::new("..")) => drop(path.pop()),
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path
}

/// Names of the sub-folders of `folder` that hold `file`.
fn own_names(folder: &Path, file: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join(file).is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
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
    parse_toml(&read_text(path)?, &path.display().to_string())
}

fn parse_toml<T: DeserializeOwned>(text: &str, shown: &str) -> anyhow::Result<T> {
    toml::from_str(text).with_context(|| Code::BadDescription.says(format!("{shown} is wrong")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(files: &[(&str, &str)]) -> (tempfile::TempDir, Project) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let project = Project::at(folder.path()).unwrap();
        (folder, project)
    }

    #[test]
    fn a_projects_kernel_wins_over_the_built_in_one_of_the_same_name() {
        let (folder, project) = project(&[("kernels/microvm-6.1/config", "own"), ("kernels/mine/kernel.toml", "")]);
        let (kernels, cache) = (project.kernels(), Cache::at(&folder.path().join("cache")));
        assert_eq!(kernels.text("microvm-6.1", "config").unwrap(), "own");
        // One that is built in and names it as its base has the project's as well.
        assert_eq!(kernels.text("marks-6.1", "../microvm-6.1/config").unwrap(), "own");
        assert_eq!(kernels.path("mine", "config", &cache).unwrap(), folder.path().join("kernels/mine/config"));
        assert!(!cache.root().exists(), "nothing is unpacked for a project's own kernel");
        let built_in = kernels.path("marks-6.1", "marks.patch", &cache).unwrap();
        assert!(built_in.starts_with(cache.root()) && built_in.is_file(), "{}", built_in.display());
    }

    #[test]
    fn a_projects_kernel_may_be_based_on_a_built_in_one() {
        let (_folder, project) = project(&[("kernels/mine/kernel.toml", "")]);
        assert!(project.kernels().text("mine", "../microvm-6.1/config").unwrap().contains("CONFIG_"));
        let names = project.kernels().names();
        assert!(names.contains(&"mine".to_owned()) && names.contains(&"microvm-6.1".to_owned()), "{names:?}");
    }

    #[test]
    fn a_folder_without_descriptions_is_a_project_only_when_nothing_else_is_there() {
        let (folder, _) = project(&[("rootfs/note.txt", "a folder of the same name"), ("kernels/old/vmlinux", "")]);
        assert!(!is_project(folder.path()));
        let error = Project::find(Some(folder.path()), folder.path()).unwrap_err();
        assert_eq!(error.downcast_ref::<microbench_formats::code::Coded>().unwrap().code, Code::NoProject);
    }
}
