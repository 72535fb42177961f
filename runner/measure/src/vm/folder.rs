//! A VM's own folder: sockets, configuration files, disk clone, temporary files.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::mount::{MsFlags, mount};

use crate::sandbox::vm_namespaces;
use crate::sys::mount::MountGuard;
use crate::sys::remove::remove_tree;

/// Room in a VM's file system for everything except disks and snapshots, bytes.
const OTHER_FILES: u64 = 64 << 20;

/// Files and folders in a VM's file system at most: an empty file needs memory, too.
const MOST_FILES: u64 = 100_000;

/// A VM's folder; removed with its content on drop.
#[derive(Debug)]
pub(crate) struct VmFolder {
    /// The folder's own file system; `None` if it is a folder of that of a snapshot. Dropped before the folder is
    /// removed.
    mount: Option<MountGuard>,
    path: PathBuf,
}

impl VmFolder {
    /// Creates the folder `path` that only this user may enter, in a file system of its own with room for `bytes` of
    /// disks. A VM cannot fill more of the host's memory with files.
    ///
    /// # Errors
    /// If the folder exists or cannot be mounted.
    pub(crate) fn with_own_file_system(path: PathBuf, bytes: u64) -> anyhow::Result<Self> {
        create(&path)?;
        let mount = mount_bounded(&path, bytes)?;
        Self { mount: Some(mount), path }.with_temporary_folders()
    }

    /// Creates the folder `path` that only this user may enter.
    ///
    /// # Errors
    /// If the folder exists.
    pub(crate) fn new(path: PathBuf) -> anyhow::Result<Self> {
        create(&path)?;
        Self { mount: None, path }.with_temporary_folders()
    }

    fn with_temporary_folders(self) -> anyhow::Result<Self> {
        vm_namespaces::create_temporary_folders(&self.path)?;
        Ok(self)
    }

    /// Path of the folder.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the content of the folder.
    pub(crate) fn clear(&self) {
        // Fails for the folder itself, if it is a mount.
        drop(remove_tree(&self.path));
    }
}

impl Drop for VmFolder {
    fn drop(&mut self) {
        self.clear();
        if self.mount.take().is_some() {
            drop(fs::remove_dir(&self.path));
        }
    }
}

/// Creates the new folder `path` that only this user may enter.
///
/// # Errors
/// If the folder exists or cannot be created.
pub(crate) fn create(path: &Path) -> anyhow::Result<()> {
    let created = DirBuilder::new().mode(0o700).create(path);
    created.with_context(|| format!("cannot create {}", path.display()))
}

/// Mounts a file system in memory on `path`, with room for `bytes` of disks and snapshots.
///
/// # Errors
/// The error of `mount(2)`.
pub(crate) fn mount_bounded(path: &Path, bytes: u64) -> anyhow::Result<MountGuard> {
    let options = format!("mode=0700,nr_inodes={MOST_FILES},size={}", bytes.saturating_add(OTHER_FILES));
    // Without MS_NODEV: a jailer creates device files in it.
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::MS_NOSUID, Some(options.as_str()))
        .with_context(|| format!("cannot mount a tmpfs on {}", path.display()))?;
    Ok(MountGuard::new(path))
}
