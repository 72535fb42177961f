//! Mounts that are removed on drop.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::mount::{MsFlags, mount};

/// Bind-mounts `file` read-only on the new file `place`, in the sandbox's mount namespace. For users who may not enter
/// the folders above `file`.
///
/// # Errors
/// If `place` cannot be created, or that of `mount(2)`.
pub fn bind_read_only(file: &Path, place: &Path) -> anyhow::Result<MountGuard> {
    let none: Option<&str> = None;
    let context = || format!("cannot bind-mount {} on {}", file.display(), place.display());
    fs::File::create(place).with_context(context)?;
    mount(Some(file), place, none, MsFlags::MS_BIND, none).with_context(context)?;
    // A user namespace may not clear these flags of the original mount: a remount without them would fail.
    let kept = nix::sys::statvfs::statvfs(place).with_context(context)?.flags();
    let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    for (flag, mounted) in [
        (MsFlags::MS_NOSUID, nix::sys::statvfs::FsFlags::ST_NOSUID),
        (MsFlags::MS_NODEV, nix::sys::statvfs::FsFlags::ST_NODEV),
        (MsFlags::MS_NOEXEC, nix::sys::statvfs::FsFlags::ST_NOEXEC),
    ] {
        flags.set(flag, kept.contains(mounted));
    }
    let guard = MountGuard(place.to_path_buf());
    mount(none, place, none, flags, none).with_context(context)?;
    Ok(guard)
}

/// A mount; detached on drop.
#[derive(Debug)]
pub struct MountGuard(PathBuf);

impl MountGuard {
    /// The guard of an existing mount at `place`.
    #[must_use]
    pub fn new(place: &Path) -> Self {
        Self(place.to_path_buf())
    }
}

impl Drop for MountGuard {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}
