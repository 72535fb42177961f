//! The project: a folder with kernels/, rootfs/ and runs/. Built-in kernels and root file systems complement its own.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use anyhow::Context;
use microbench_formats::code::Code;
use microbench_formats::input;
use serde::de::DeserializeOwned;

use tracing::debug;

use super::built_in;
use super::cache::Cache;
use crate::trust;

/// A folder with its own kernels/ or rootfs/; or the working directory, with built-in descriptions only.
#[derive(Clone, Debug)]
pub struct Project {
    root: PathBuf,
}

impl Project {
    /// Finds the project: `given`; else the first project among the parents of `near` (a manifest), then of the working
    /// directory; else the working directory.
    ///
    /// # Errors
    /// [`Code::NoProject`] if `given` contains no description of a kernel or root file system; [`Code::Foreign`] if the
    /// project belongs to others.
    pub fn find(given: Option<&Path>, near: &Path) -> anyhow::Result<Self> {
        if let Some(root) = given {
            let context = || {
                let root = root.display();
                Code::NoProject
                    .with_message(format!("{root} contains no kernels/NAME/kernel.toml and no rootfs/NAME/rootfs.toml"))
            };
            let project = Self::new(Some(root).filter(|root| is_project(root)).with_context(context)?)?;
            folders(&project.root).try_for_each(|folder| trust::check("the project", &folder))?;
            return Ok(project);
        }
        let near = std::path::absolute(near).context("no working directory")?;
        let working_directory = std::env::current_dir().context("no working directory")?;
        let project = Self::containing(&near)
            .or_else(|| Self::containing(&working_directory))
            .unwrap_or(Self { root: working_directory });
        trust::check("the project", &project.root)?;
        Ok(project)
    }

    /// The project in the folder `root`, whose content is not checked.
    ///
    /// # Errors
    /// If `root` is relative and there is no working directory.
    pub fn new(root: &Path) -> anyhow::Result<Self> {
        Ok(Self { root: std::path::absolute(root).context("no working directory")? })
    }

    /// The innermost project that contains the folder `here`; `None` if no project does. The search stops at a folder
    /// of others and at the boundary of a file system, so that another user cannot make /tmp a project.
    #[must_use]
    pub fn containing(here: &Path) -> Option<Self> {
        let mut device = None;
        for folder in here.ancestors() {
            let Ok(data) = folder.metadata() else { continue };
            if *device.get_or_insert(data.dev()) != data.dev() {
                debug!("the search for a project stops below {}: another file system", folder.display());
                return None;
            }
            if let Err(error) = folders(folder).try_for_each(|folder| trust::check("the project", &folder)) {
                debug!("the search for a project stops: {error}");
                return None;
            }
            if is_project(folder) {
                return Some(Self { root: folder.to_path_buf() });
            }
        }
        None
    }

    #[must_use]
    pub fn kernels(&self) -> Descriptions {
        Descriptions { own: self.root.join(KERNELS.0), kind: KERNELS }
    }

    #[must_use]
    pub fn rootfs(&self) -> Descriptions {
        Descriptions { own: self.root.join(ROOTFS.0), kind: ROOTFS }
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// Name of a folder of descriptions, and file name of the description in each of its sub-folders.
type DescriptionKind = (&'static str, &'static str);
const KERNELS: DescriptionKind = ("kernels", "kernel.toml");
const ROOTFS: DescriptionKind = ("rootfs", "rootfs.toml");

/// The folders that others must not be able to change: that of a project, and the folders of its descriptions.
fn folders(root: &Path) -> impl Iterator<Item = PathBuf> {
    [root.to_path_buf(), root.join(KERNELS.0), root.join(ROOTFS.0)].into_iter()
}

fn is_project(folder: &Path) -> bool {
    [KERNELS, ROOTFS].iter().any(|(name, file)| !own_names(&folder.join(name), file).is_empty())
}

/// The descriptions in kernels/ or rootfs/: those of the project, and built-in ones. A sub-folder of the project
/// replaces the whole built-in sub-folder of the same name.
#[derive(Clone, Debug)]
pub struct Descriptions {
    own: PathBuf,
    kind: DescriptionKind,
}

impl Descriptions {
    /// Names of all descriptions, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let (folder, file) = self.kind;
        let mut names = own_names(&self.own, file);
        names.extend(built_in::folder_names(folder, file).into_iter().map(str::to_owned));
        names.sort();
        names.dedup();
        names
    }

    /// Reads and parses the description of `name`.
    ///
    /// # Errors
    /// If it cannot be read; [`Code::BadDescription`], with file and position, if it cannot be parsed.
    pub fn describe<T: DeserializeOwned>(&self, name: &str) -> anyhow::Result<T> {
        let file = self.kind.1;
        parse_toml(&self.read_text(name, file)?, &self.display_path(name, file))
    }

    /// Reads a file. `file` is relative to the sub-folder `name`; `../OTHER/FILE` is a file of another sub-folder.
    ///
    /// # Errors
    /// If the file cannot be read, with its path; [`Code::Foreign`] if it belongs to others.
    pub fn read_text(&self, name: &str, file: &str) -> anyhow::Result<String> {
        let relative = normalise(name, file);
        if !self.is_own(&relative)
            && let Some(text) = built_in::find_text(&format!("{}/{}", self.kind.0, relative.display()))
        {
            return Ok(text.to_owned());
        }
        self.check(&relative)?;
        read_text(&self.own.join(relative))
    }

    /// Checks that the file or folder `relative` of the project, and the folders that contain it, do not belong to others.
    fn check(&self, relative: &Path) -> anyhow::Result<()> {
        let mut path = self.own.clone();
        trust::check("the folder", &path)?;
        for part in relative.components() {
            path.push(part);
            trust::check("the description", &path)?;
        }
        Ok(())
    }

    /// The path of a file or folder (see [`text`](Self::text)), which may not exist. A built-in file is unpacked into
    /// `cache`.
    ///
    /// # Errors
    /// If the cache cannot be written; [`Code::Foreign`] if the file belongs to others.
    pub fn path(&self, name: &str, file: &str, cache: &Cache) -> anyhow::Result<PathBuf> {
        let relative = normalise(name, file);
        let built_in =
            || built_in::folder_names(self.kind.0, self.kind.1).iter().any(|known| relative.starts_with(known));
        if self.is_own(&relative) || !built_in() {
            self.check(&relative)?;
            return Ok(self.own.join(relative));
        }
        Ok(built_in::unpack_descriptions(cache)?.join(self.kind.0).join(relative))
    }

    /// Whether the sub-folder that `relative` starts with is the project's own.
    fn is_own(&self, relative: &Path) -> bool {
        relative.components().next().is_some_and(|first| self.own.join(first).is_dir())
    }

    /// The path of a file for messages.
    fn display_path(&self, name: &str, file: &str) -> String {
        let relative = normalise(name, file);
        match self.is_own(&relative) {
            true => self.own.join(relative).display().to_string(),
            false => format!("the built-in {}/{}", self.kind.0, relative.display()),
        }
    }
}

/// Joins `name` and `file` and removes `.` and `..`, without access to the file system: the folder before `..` may be
/// built in.
fn normalise(name: &str, file: &str) -> PathBuf {
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

/// Names of the sub-folders of `folder` that contain `file`.
fn own_names(folder: &Path, file: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join(file).is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Reads a text file.
///
/// # Errors
/// If it cannot be read, or is not a regular file, with its path.
pub fn read_text(path: &Path) -> anyhow::Result<String> {
    input::read_text(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Reads and parses a TOML file.
///
/// # Errors
/// If it cannot be read; [`Code::BadDescription`], with file and position, if it cannot be parsed.
pub fn read_toml<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    parse_toml(&read_text(path)?, &path.display().to_string())
}

fn parse_toml<T: DeserializeOwned>(text: &str, path: &str) -> anyhow::Result<T> {
    toml::from_str(text).with_context(|| Code::BadDescription.with_message(format!("{path} is invalid")))
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
        let project = Project::new(folder.path()).unwrap();
        (folder, project)
    }

    #[test]
    fn kernel_of_the_project_replaces_the_built_in_one_of_the_same_name() {
        let (folder, project) = project(&[("kernels/microvm-6.1/config", "own"), ("kernels/mine/kernel.toml", "")]);
        let (kernels, cache) = (project.kernels(), Cache::new(&folder.path().join("cache")));
        assert_eq!(kernels.read_text("microvm-6.1", "config").unwrap(), "own");
        // A built-in kernel that names it as its base uses the project's file too.
        assert_eq!(kernels.read_text("marks-6.1", "../microvm-6.1/config").unwrap(), "own");
        assert_eq!(kernels.path("mine", "config", &cache).unwrap(), folder.path().join("kernels/mine/config"));
        assert!(!cache.root().exists(), "nothing should be unpacked for a kernel of the project");
        let built_in = kernels.path("marks-6.1", "marks.patch", &cache).unwrap();
        assert!(built_in.starts_with(cache.root()) && built_in.is_file(), "{}", built_in.display());
    }

    #[test]
    fn kernel_of_the_project_may_use_files_of_a_built_in_one() {
        let (_folder, project) = project(&[("kernels/mine/kernel.toml", "")]);
        assert!(project.kernels().read_text("mine", "../microvm-6.1/config").unwrap().contains("CONFIG_"));
        let names = project.kernels().names();
        assert!(names.contains(&"mine".to_owned()) && names.contains(&"microvm-6.1".to_owned()), "{names:?}");
    }

    #[test]
    fn given_folder_without_descriptions_is_refused() {
        let (folder, _) = project(&[("rootfs/note.txt", "a folder of the same name"), ("kernels/old/vmlinux", "")]);
        assert!(!is_project(folder.path()));
        let error = Project::find(Some(folder.path()), folder.path()).unwrap_err();
        assert_eq!(error.downcast_ref::<microbench_formats::code::CodedError>().unwrap().code, Code::NoProject);
    }
}
