//! Durable files and folders: when a function returns, content and name are on disk.
//!
//! A file that is written and renamed without `fsync` can be empty after a power failure, because the name can reach
//! the disk before the content.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use microbench_formats::code::{Code, CodedError};
use nix::errno::Errno;

/// Writes the file `path` atomically. Its content and name are on disk on return.
///
/// # Errors
/// The error of the file system, with `path`.
pub fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write_lazily(path, bytes)?;
    sync_folder(folder_of(path))
}

/// Writes the file `path` atomically, as [`write`] does, but without waiting for its name to be on disk. For files that
/// a resumed run does not need.
///
/// # Errors
/// The error of the file system, with `path`.
pub fn write_lazily(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let context = || format!("cannot write {} ({} bytes)", path.display(), bytes.len());
    // The umask limits the mode.
    let mode = fs::Permissions::from_mode(0o644);
    let mut file = tempfile::Builder::new().permissions(mode).tempfile_in(folder_of(path)).with_context(context)?;
    file.write_all(bytes).with_context(context)?;
    file.as_file().sync_all().with_context(context)?;
    file.persist(path).with_context(context)?;
    Ok(())
}

/// Renames a file or folder. The new name is on disk on return; the content must be on disk already.
///
/// # Errors
/// The error of the file system, with `to`.
pub fn rename(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::rename(from, to).with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))?;
    sync_folder(folder_of(to))
}

/// Creates `folder` and its missing parents.
///
/// # Errors
/// The error of the file system, with `folder`.
pub fn create_folders(folder: &Path) -> anyhow::Result<()> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    missing.into_iter().try_for_each(|folder| sync_folder(folder_of(folder)))
}

/// Waits until the names in `folder` are on disk.
///
/// # Errors
/// The error of the file system, with `folder`.
pub fn sync_folder(folder: &Path) -> anyhow::Result<()> {
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // Some network file systems do not support fsync(2) of a folder; their server makes names durable itself.
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => Ok(()),
        result => result.with_context(|| format!("cannot write {} to disk", folder.display())),
    }
}

/// Waits until all files below `folder`, and their names, are on disk.
///
/// # Errors
/// The error of the file system, with the folder.
pub fn sync_tree(folder: &Path) -> anyhow::Result<()> {
    let context = || format!("cannot write {} to disk", folder.display());
    for entry in fs::read_dir(folder).with_context(context)?.collect::<io::Result<Vec<_>>>().with_context(context)? {
        let (path, kind) = (entry.path(), entry.file_type().with_context(context)?);
        if kind.is_dir() {
            sync_tree(&path)?;
        } else if kind.is_file() {
            File::open(&path).and_then(|file| file.sync_all()).with_context(context)?;
        }
    }
    sync_folder(folder)
}

/// The error for a run's file `path` whose content `bytes` cannot be parsed because of `error`. `cut_off` is true if
/// the end of the file is missing.
pub fn damaged_file_error(path: &Path, bytes: &[u8], cut_off: bool, error: &impl std::fmt::Display) -> CodedError {
    let problem = match () {
        () if bytes.is_empty() => "is empty".to_owned(),
        () if bytes.iter().all(|byte| *byte == 0) => "contains only zero bytes".to_owned(),
        () if cut_off => format!("is cut off: {error}"),
        () => format!("is damaged: {error}"),
    };
    let problem = problem.trim_end();
    Code::RunFileDamaged
        .with_message(format!("{} {problem}; restore it from a copy, or start a new run", path.display()))
}

/// The folder of `path`; `.` for a bare file name.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
