//! Whether files belong to others: owned by neither the caller nor root, or writable by others.
//!
//! A study is a program, so whoever can change a project, run or description executes commands as the caller. The rule
//! is that of git's `safe.directory`, and in addition it refuses what others can write. Parents are not checked.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use microbench_formats::code::Code;
use microbench_formats::input;
use nix::unistd::{Uid, User};
use serde::{Deserialize, Serialize};

use crate::sys::durable;

/// Whether this process trusts all files.
static ALL: AtomicBool = AtomicBool::new(false);

/// Makes this process trust all files: for `--trust`, and for a child process whose parent has checked the files.
pub fn trust_all() {
    ALL.store(true, Ordering::Relaxed);
}

/// Whether [`trust_all`] was called.
#[must_use]
pub fn is_all_trusted() -> bool {
    ALL.load(Ordering::Relaxed)
}

/// The users whose files are trusted: root, the user of this process, and the user who called `sudo`.
fn callers() -> Vec<u32> {
    let user = Uid::effective();
    let sudo = || std::env::var("SUDO_UID").ok()?.parse().ok();
    [0, user.as_raw()].into_iter().chain(if user.is_root() { sudo() } else { None }).collect()
}

/// Why a file or folder with this metadata is foreign, as a clause; `None` if it is not.
///
/// In a folder with the sticky bit, such as /tmp, others can create files, which are foreign themselves, but replace
/// none. A group with the number of the owner or of the caller contains only this user (a user private group).
fn why_foreign_data(data: &Metadata, callers: &[u32]) -> Option<String> {
    const STICKY: u32 = 0o1000;
    if !callers.contains(&data.uid()) {
        let name = User::from_uid(Uid::from_raw(data.uid())).ok().flatten().map(|user| user.name);
        return Some(format!("it belongs to {}", name.unwrap_or_else(|| format!("user {}", data.uid()))));
    }
    let mode = data.mode() & 0o7777;
    if data.is_symlink() || data.is_dir() && mode & STICKY != 0 {
        return None;
    }
    if mode & 0o002 != 0 {
        return Some(format!("every user can write to it (mode {mode:o})"));
    }
    let is_private = callers.contains(&data.gid()) || data.gid() == data.uid();
    (mode & 0o020 != 0 && !is_private).then(|| format!("group {} can write to it (mode {mode:o})", data.gid()))
}

/// Why the file or folder `path` is foreign, as a clause; `None` if it is not, or does not exist. A link is foreign if
/// the link or its target is.
#[must_use]
pub fn why_foreign(path: &Path) -> Option<String> {
    let callers = callers();
    let why = |data: io::Result<Metadata>| why_foreign_data(&data.ok()?, &callers);
    why(path.symlink_metadata()).or_else(|| why(path.metadata()))
}

/// Checks that `path`, which is a `kind` such as `the run`, is not foreign, or is trusted: by [`trust_all`], or by a
/// [record](record) of it or of a folder that contains it.
///
/// # Errors
/// [`Code::Foreign`], with the reason and the command that records it.
pub fn check(kind: &str, path: &Path) -> anyhow::Result<()> {
    if is_all_trusted() {
        return Ok(());
    }
    let Some(why) = why_foreign(path) else { return Ok(()) };
    let full = fs::canonicalize(path).with_context(|| format!("cannot find {}", path.display()))?;
    if recorded()?.iter().any(|trusted| full.starts_with(trusted)) {
        return Ok(());
    }
    Err(Code::Foreign
        .with_message(format!(
            "{kind} {} is not trusted: {why}, so that others decide which commands it executes",
            path.display()
        ))
        .into())
}

/// [`check`] for the folder `path` and everything below it.
///
/// # Errors
/// As [`check`], or if a folder cannot be read.
pub fn check_tree(kind: &str, path: &Path) -> anyhow::Result<()> {
    check(kind, path)?;
    if input::is_folder(path) {
        let context = || format!("cannot read {}", path.display());
        for entry in fs::read_dir(path).with_context(context)? {
            check_tree(kind, &entry.with_context(context)?.path())?;
        }
    }
    Ok(())
}

/// Paths that are trusted.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    paths: BTreeSet<PathBuf>,
}

/// The file of trusted paths: `microbench/trusted.toml` in `XDG_CONFIG_HOME`, else in `~/.config`.
///
/// # Errors
/// If neither `XDG_CONFIG_HOME` nor `HOME` is set.
pub fn record_file() -> anyhow::Result<PathBuf> {
    let folder = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".config"));
    let folder = folder.or_else(home).context("neither XDG_CONFIG_HOME nor HOME is set")?;
    Ok(folder.join("microbench/trusted.toml"))
}

/// The trusted paths; empty if none was recorded.
///
/// # Errors
/// If the file of trusted paths cannot be read, is invalid, or is foreign itself.
pub fn recorded() -> anyhow::Result<BTreeSet<PathBuf>> {
    let Ok(file) = record_file() else { return Ok(BTreeSet::new()) };
    let text = match input::read_text(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        text => text.with_context(|| format!("cannot read {}", file.display()))?,
    };
    if let Some(why) = file.ancestors().take(2).find_map(why_foreign) {
        let message = format!("the trusted paths in {} are not used: {why}; remove the file", file.display());
        return Err(Code::Foreign.with_message(message).into());
    }
    let recorded: Recorded = toml::from_str(&text).with_context(|| {
        Code::BadDescription.with_message(format!("{} is invalid; correct or remove it", file.display()))
    })?;
    Ok(recorded.paths)
}

/// Records that `path` and everything below it is trusted. Returns its absolute path without links.
///
/// # Errors
/// If `path` does not exist, or the file of trusted paths cannot be read or written.
pub fn record(path: &Path) -> anyhow::Result<PathBuf> {
    let full = fs::canonicalize(path).with_context(|| format!("cannot find {}", path.display()))?;
    let mut paths = recorded()?;
    if paths.insert(full.clone()) {
        write(paths)?;
    }
    Ok(full)
}

/// Removes the record of `path`, which need not exist any more. Returns whether there was one.
///
/// # Errors
/// If the file of trusted paths cannot be read or written.
pub fn forget(path: &Path) -> anyhow::Result<bool> {
    let full = fs::canonicalize(path).or_else(|_| std::path::absolute(path)).context("no working directory")?;
    let mut paths = recorded()?;
    let was_recorded = paths.remove(&full);
    if was_recorded {
        write(paths)?;
    }
    Ok(was_recorded)
}

fn write(paths: BTreeSet<PathBuf>) -> anyhow::Result<()> {
    let file = record_file()?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    created.with_context(|| format!("cannot create {}", folder.display()))?;
    let text = toml::to_string(&Recorded { paths }).context("a path is not UTF-8")?;
    durable::write(&file, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_others_own_or_can_write_is_foreign() {
        let folder = tempfile::tempdir().unwrap();
        let user = Uid::effective().as_raw();
        let why = |mode: u32, callers: &[u32]| {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            why_foreign_data(&folder.path().metadata().unwrap(), callers)
        };
        assert_eq!(why(0o755, &[user]), None);
        assert!(why(0o755, &[user + 1]).unwrap().starts_with("it belongs to "));
        assert_eq!(why(0o777, &[user]).as_deref(), Some("every user can write to it (mode 777)"));
        assert_eq!(why(0o1777, &[user]), None, "others cannot replace files in a sticky folder");
        if Uid::effective().is_root() {
            std::os::unix::fs::chown(folder.path(), None, Some(7)).unwrap();
            assert_eq!(why(0o775, &[user]).as_deref(), Some("group 7 can write to it (mode 775)"));
            std::os::unix::fs::chown(folder.path(), Some(7), Some(7)).unwrap();
            assert_eq!(why(0o775, &[7]), None, "a user private group");
        }
    }
}
