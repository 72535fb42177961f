//! Ready datagram: the agent sends it when its service listens. It contains the nonce and arrives on the VM's
//! tap.
//!
//! The datagram spares the probe from polling, which would take CPU time from the guests. The guest is
//! untrusted, and a datagram only makes the probe send its request now. At most [`WRONG_LIMIT`] wrong
//! datagrams are read, and at most 64 bytes of each.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::socket::{
    self, AddressFamily, SockFlag, SockType, SockaddrIn, setsockopt, socket, sockopt::BindToDevice,
};

use crate::sys;

/// Number of wrong datagrams after which the socket is no longer read.
const WRONG_LIMIT: u32 = 64;

/// Socket that receives the ready datagram of one VM.
#[derive(Debug)]
pub struct ReadySocket {
    socket: UdpSocket,
    tap: String,
    wrong: u32,
}

impl ReadySocket {
    /// Opens a socket that receives datagrams from the interface `tap` alone.
    ///
    /// # Errors
    /// Fails if a socket call fails.
    pub fn bind(tap: &str) -> io::Result<Self> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
        setsockopt(&fd, BindToDevice, &tap.into())?;
        let address = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, microbench_agent::READY_DATAGRAM_PORT);
        socket::bind(fd.as_raw_fd(), &SockaddrIn::from(address))?;
        Ok(Self { socket: UdpSocket::from(fd), tap: tap.to_owned(), wrong: 0 })
    }

    /// Returns the socket to poll, or `None` after too many wrong datagrams.
    #[must_use]
    pub fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        (self.wrong < WRONG_LIMIT).then(|| self.socket.as_fd())
    }

    /// Makes sure that packets that are sent to the guest from now on arrive. A ready datagram proves the
    /// opposite direction only: when many VMs attach to their taps at once, a tap may not transmit yet
    /// ([`sys::flush_link_state`]).
    pub fn settle_link(&self) {
        // Kernels without this call activate the link in their own time.
        let _ = sys::flush_link_state(self.socket.as_fd(), &self.tap);
    }

    /// Reads the available datagrams; returns true when one of them contains exactly `nonce`.
    pub fn receive(&mut self, nonce: &str) -> bool {
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
