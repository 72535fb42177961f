//! Entries of the cache that no project needs.
//!
//! The folder `projects` of the cache has a file for each project that used the cache, with the path of the project. A
//! project needs an entry if its descriptions, which include the built-in ones, give the name of the entry.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};
use microbench_formats::input;
use nix::fcntl::{Flock, FlockArg};
use tracing::debug;

use super::cache::{self, BUILDING, Cache, Inputs};
use super::project::Project;
use super::{agent, built_in, image, kernel, program};
use crate::sys::durable;
use crate::trust;

/// Folder of the cache with the paths of projects.
const PROJECTS: &str = "projects";
/// Longest path of a project, bytes (`PATH_MAX`).
const LONGEST_PATH: u64 = 4096;
/// Why an entry is kept whose lock another process holds.
const IN_USE: &str = "another process builds or uses it";

/// An entry of the cache that no project needs.
#[derive(Clone, Debug)]
pub struct Unneeded {
    /// Path in the cache, for example `kernels/microvm-6.1-511e7a7159972436`.
    pub name: String,
    /// Size of its files, bytes.
    pub bytes: u64,
    /// When microbench last used it.
    pub last_used: SystemTime,
    /// Why it is not removed, as a clause; `None` if it can be removed.
    pub kept: Option<String>,
}

/// Records that `project` uses `cache`. Forgets projects that do not exist any more, so that the records stay few. In a
/// cache that this user cannot write, there is no record.
pub fn record(cache: &Cache, project: &Project) {
    let write = || -> anyhow::Result<()> {
        let path = project.root().as_os_str();
        let folder = cache.root().join(PROJECTS);
        let file = folder.join(Inputs::default().add_bytes("path", path.as_bytes()).digest());
        if input::is_file(&file) {
            return Ok(());
        }
        forget_missing(cache)?;
        durable::create_folders(&folder)?;
        durable::write(&file, path.as_bytes())
    };
    if let Err(error) = write() {
        debug!("the project {} is not recorded: {error:#}", project.root().display());
    }
}

/// Removes the records of projects that do not exist any more.
///
/// # Errors
/// If a record cannot be read or removed.
pub fn forget_missing(cache: &Cache) -> anyhow::Result<()> {
    for (record, project) in records(cache)? {
        if !project.is_dir() {
            match fs::remove_file(&record) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", record.display()));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// The records, each with the path of its project.
fn records(cache: &Cache) -> anyhow::Result<Vec<(PathBuf, PathBuf)>> {
    let folder = cache.root().join(PROJECTS);
    if !input::is_folder(&folder) {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
        // Any other file is not a record: the temporary file of another process that writes one.
        if entry.file_name().to_str().is_none_or(|name| !cache::is_digest(name)) {
            continue;
        }
        let mut bytes = Vec::new();
        match input::open_in(&folder, entry.file_name()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            file => file.and_then(|file| file.take(LONGEST_PATH).read_to_end(&mut bytes)).with_context(|| {
                format!("cannot read {}; remove it if it is not a file of microbench", entry.path().display())
            })?,
        };
        found.push((entry.path(), PathBuf::from(OsString::from_vec(bytes))));
    }
    Ok(found)
}

/// The entries that the recorded projects need.
#[derive(Debug, Default)]
struct Needs {
    /// Names with the digest.
    titles: BTreeSet<String>,
    /// Names without the digest, whose description cannot be read. All of their entries are needed.
    names: BTreeSet<String>,
}

impl Needs {
    fn add(&mut self, name: String, title: anyhow::Result<String>) {
        match title {
            Ok(title) => self.titles.insert(title),
            Err(error) => {
                debug!("all entries {name} are kept, because the needed one is unknown: {error:#}");
                self.names.insert(name)
            }
        };
    }

    /// Adds what `project` needs. `scratch` is an empty cache for built-in files: looking for what to remove must not
    /// write to the user's cache.
    fn add_project(&mut self, project: &Project, scratch: &Cache) -> anyhow::Result<()> {
        let trusted = || trust::check("the project", project.root());
        let (kernels, rootfs) = (project.kernels(), project.rootfs());
        for name in kernels.names() {
            let title = trusted().and_then(|()| kernel::title(&kernels, &name, scratch));
            self.add(kernel::entry_name(&name), title);
        }
        for name in rootfs.names() {
            let title = trusted().and_then(|()| {
                self.titles.extend(image::package_titles(&rootfs, &name)?);
                image::title(&rootfs, &name, &agent::provide(scratch)?, scratch)
            });
            self.add(image::entry_name(&name), title);
        }
        for program in program::descriptions()?.values() {
            self.titles.insert(program::title(program)?);
        }
        self.titles.extend([built_in::descriptions_title(), built_in::agent_title()]);
        Ok(())
    }

    fn contain(&self, title: &str) -> bool {
        let name = title.rsplit_once('-').map_or(title, |(name, _)| name);
        self.titles.contains(title) || self.names.contains(name)
    }
}

/// The entries of `cache` that no recorded project needs, in order of names, and what killed builds left. Entries that
/// another process uses and entries of others are included, with the reason why they are kept. Changes nothing.
///
/// # Errors
/// If the cache or a record of a project cannot be read.
pub fn find(cache: &Cache) -> anyhow::Result<Vec<Unneeded>> {
    let scratch = tempfile::tempdir().context("cannot create a temporary folder")?;
    let mut needs = Needs::default();
    for (_, path) in records(cache)?.into_iter().filter(|(_, path)| path.is_dir()) {
        needs.add_project(&Project::new(&path)?, &Cache::new(scratch.path()))?;
    }
    let mut found = Vec::new();
    for name in cache.titles()?.into_iter().filter(|title| title.ends_with(BUILDING) || !needs.contain(title)) {
        let folder = cache.root().join(&name);
        let size = |path: PathBuf| path.symlink_metadata().map_or(0, |data| data.len());
        let lock = cache.lock_path(title_of(&name));
        let used = [lock, folder.clone()].iter().find_map(|path| path.symlink_metadata().ok()?.modified().ok());
        let is_locked =
            || input::open_no_link(&cache.lock_path(title_of(&name))).is_ok_and(|lock| hold(lock).is_none());
        found.push(Unneeded {
            bytes: cache::walk(&folder)?.into_iter().map(size).sum(),
            last_used: used.unwrap_or(SystemTime::UNIX_EPOCH),
            kept: trust::why_foreign(&folder).or_else(|| is_locked().then(|| IN_USE.to_owned())),
            name,
        });
    }
    Ok(found)
}

/// Removes an entry that [`find`] returned.
///
/// # Errors
/// If another process uses it now, or it cannot be removed.
pub fn remove(cache: &Cache, entry: &Unneeded) -> anyhow::Result<()> {
    let title = title_of(&entry.name);
    let lock = input::append_in(cache.root(), format!("{title}.lock"));
    let Some(_lock) = hold(lock.with_context(|| format!("cannot open the lock of {title}"))?) else { bail!(IN_USE) };
    let (folder, work) = (cache.root().join(&entry.name), cache.root().join(format!("{title}{BUILDING}")));
    let clear = |path: &Path| match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    };
    clear(&work)?;
    if folder != work {
        // If this process is killed, no part of an entry is left under its name.
        fs::rename(&folder, &work).with_context(|| format!("cannot rename {}", folder.display()))?;
        clear(&work)?;
    }
    Ok(())
}

/// The name of the finished entry.
fn title_of(name: &str) -> &str {
    name.strip_suffix(BUILDING).unwrap_or(name)
}

/// The lock, if no process holds it.
fn hold(lock: File) -> Option<Flock<File>> {
    Flock::lock(lock, FlockArg::LockExclusiveNonblock).ok()
}
