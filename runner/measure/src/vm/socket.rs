//! Unix sockets in a folder that a VM can write to.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};

use crate::sys::descriptor_path;

/// Opens the file of the socket `path`, without connecting. Nothing on the way may be a link, which would lead to a
/// socket of the host.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] if the file is not a socket, or the error of `openat2(2)`.
pub(super) fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
        FileType::Socket => Ok(file),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a socket")),
    }
}

/// Whether a program listens on the socket, without waiting: a full queue of connections also counts as not yet.
///
/// # Errors
/// The error of `connect(2)`; [`io::ErrorKind::ConnectionRefused`] or [`io::ErrorKind::WouldBlock`] if none listens yet.
pub(super) fn try_connect(file: &OwnedFd) -> io::Result<()> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let client = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    Ok(connect(client.as_raw_fd(), &UnixAddr::new(&descriptor_path(file.as_fd()))?)?)
}
