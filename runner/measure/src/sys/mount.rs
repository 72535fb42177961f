//! Files and file systems that are seen at a second place.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::mount::{MsFlags, mount};

/// Shows `file` at `place`, for reading only, in the sandbox's mount namespace: for those who may not pass through the folders
/// that it lies in.
///
/// # Errors
/// When the mount is refused.
pub fn show(file: &Path, place: &Path) -> anyhow::Result<Shown> {
    let none: Option<&str> = None;
    let context = || format!("cannot show {} at {}", file.display(), place.display());
    fs::File::create(place).with_context(context)?;
    mount(Some(file), place, none, MsFlags::MS_BIND, none).with_context(context)?;
    // What was mounted with these flags keeps them; in a user namespace they cannot be taken off.
    let kept = nix::sys::statvfs::statvfs(place).with_context(context)?.flags();
    let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    for (flag, mounted) in [
        (MsFlags::MS_NOSUID, nix::sys::statvfs::FsFlags::ST_NOSUID),
        (MsFlags::MS_NODEV, nix::sys::statvfs::FsFlags::ST_NODEV),
        (MsFlags::MS_NOEXEC, nix::sys::statvfs::FsFlags::ST_NOEXEC),
    ] {
        flags.set(flag, kept.contains(mounted));
    }
    let shown = Shown(place.to_path_buf());
    mount(none, place, none, flags, none).with_context(context)?;
    Ok(shown)
}

/// A file or file system that is shown at a second place; no longer when dropped.
#[derive(Debug)]
pub struct Shown(PathBuf);

impl Shown {
    /// What is mounted at `place`.
    #[must_use]
    pub fn at(place: &Path) -> Self {
        Self(place.to_path_buf())
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}
