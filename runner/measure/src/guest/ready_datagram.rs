//! A guest's announcement that its service listens: one datagram on its tap, with its nonce.
//!
//! It spares the probe its polling, which would take CPU from the guests. The guest is hostile: what it sends is at most a reason
//! to ask now, at most [`WRONG_LIMIT`] datagrams are looked at, and at most 64 bytes of each.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt::BindToDevice,
};

use crate::sys;

/// Datagrams that are no announcement after which nobody listens any more.
const WRONG_LIMIT: u32 = 64;

/// Listens on one VM's tap.
#[derive(Debug)]
pub struct Announcements {
    socket: UdpSocket,
    tap: String,
    wrong: u32,
}

impl Announcements {
    /// Listens for what comes in through the interface `tap`, from now on.
    ///
    /// # Errors
    /// That of the socket.
    pub fn on(tap: &str) -> io::Result<Self> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
        setsockopt(&fd, BindToDevice, &tap.into())?;
        let address = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, microbench_agent::ANNOUNCE_PORT);
        bind(fd.as_raw_fd(), &SockaddrIn::from(address))?;
        Ok(Self { socket: UdpSocket::from(fd), tap: tap.to_owned(), wrong: 0 })
    }

    /// Readable when a datagram is there; `None` when nobody listens any more.
    #[must_use]
    pub fn readable(&self) -> Option<BorrowedFd<'_>> {
        (self.wrong < WRONG_LIMIT).then(|| self.socket.as_fd())
    }

    /// Sees to it that what is sent to the guest now arrives: that it was heard does not mean that its tap takes anything yet, when many
    /// were attached to at once ([`sys::link_settle`]).
    pub fn settle_link(&self) {
        // Where the kernel does not know the call it does it in its own time.
        let _ = sys::link_settle(self.socket.as_fd(), &self.tap);
    }

    /// Takes what is there; true when it is an announcement with `nonce`.
    pub fn take(&mut self, nonce: &str) -> bool {
        let mut datagram = [0; 64];
        while self.wrong < WRONG_LIMIT {
            match self.socket.recv(&mut datagram) {
                Ok(length) if !nonce.is_empty() && &datagram[..length] == nonce.as_bytes() => return true,
                Ok(_) => self.wrong += 1,
                Err(_) => return false,
            }
        }
        false
    }
}
