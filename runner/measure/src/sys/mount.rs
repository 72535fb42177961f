//! Mounts that are removed on drop, and mounts that move to another mount namespace.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::mount::{MsFlags, mount};

use super::owned;

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

/// Makes the mount at `folder` and those below it read-only in this mount namespace (`mount_setattr(2)`). Device files
/// and sockets can be opened nevertheless. Without the system call, before Linux 5.12, nothing changes.
///
/// # Errors
/// The error of `mount_setattr(2)`.
pub fn make_read_only(folder: &Path) -> io::Result<()> {
    let path = CString::new(folder.as_os_str().as_bytes())?;
    // SAFETY: all fields are integers, for which zero is valid.
    let mut changes: libc::mount_attr = unsafe { std::mem::zeroed() };
    changes.attr_set = libc::MOUNT_ATTR_RDONLY;
    let size = size_of::<libc::mount_attr>();
    // SAFETY: the path is NUL-terminated, and both it and the attributes outlive the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            std::ptr::from_ref(&changes),
            size,
        )
    };
    match io::Error::last_os_error() {
        _ if done == 0 => Ok(()),
        error if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        error => Err(error),
    }
}

/// A copy of the mount at `folder` and of those below it, without a place (`open_tree(2)`). It ends with the descriptor,
/// unless it is [attached](attach).
///
/// # Errors
/// The error of `open_tree(2)`.
pub fn copy(folder: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(folder.as_os_str().as_bytes())?;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_RECURSIVE.unsigned_abs();
    // SAFETY: `path` is a NUL-terminated string that outlives the call; the other arguments are integers.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })
}

/// Attaches the mounts of [`copy`] to the folder `place` in the calling thread's mount namespace (`move_mount(2)`).
///
/// # Errors
/// The error of `move_mount(2)`.
pub fn attach(mounts: BorrowedFd<'_>, place: &Path) -> io::Result<()> {
    /// `MOVE_MOUNT_F_EMPTY_PATH` (linux/mount.h).
    const FROM_DESCRIPTOR: libc::c_uint = 4;
    let (none, place) = (c"".as_ptr(), CString::new(place.as_os_str().as_bytes())?);
    let from = mounts.as_raw_fd();
    // SAFETY: both strings are NUL-terminated and outlive the call, and the descriptor is open during it.
    let moved =
        unsafe { libc::syscall(libc::SYS_move_mount, from, none, libc::AT_FDCWD, place.as_ptr(), FROM_DESCRIPTOR) };
    if moved == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
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
