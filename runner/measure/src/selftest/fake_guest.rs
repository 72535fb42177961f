//! Fake guest: a process on a tap with its own network stack, which starts to respond at a given instant,
//! repeatedly.
//!
//! It attaches to the runner's tap as a VMM does. In a network namespace it creates an interface with the
//! guest's addresses, and forwards frames between the two. It reports the instant at which it started to
//! respond, on the clock of all events.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, bail};
use microbench_study::engine::addresses::Addresses;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{setsockopt, sockopt::BindToDevice};

use crate::host::resources::netlink::{self, InterfaceSettings};
use crate::sys::clock::Instant;
use crate::{outln, sys};

/// Name of the hidden subcommand that runs a fake guest. Its arguments are the tap, the MAC address, the IPv4
/// address and the nonce.
pub const SUBCOMMAND: &str = "fake-guest";
/// Name of the guest's interface.
const INTERFACE: &str = "eth0";
/// Line that reports that the network is up.
const JOINED: &str = "joined";
/// Line that reports that the guest knows when to listen, and does not listen until then.
const SILENT: &str = "silent";
/// Prefix of the line that reports the instant at which the guest started to respond, ns.
const READY: &str = "ready ";

/// Connects the tap `tap` to a new interface with `mac` and `ip` in a new network namespace, which the
/// calling thread enters.
///
/// # Errors
/// Fails if a system call fails.
pub fn join(tap: &str, mac: [u8; 6], ip: Ipv4Addr) -> io::Result<()> {
    let host_side = sys::tap_attach(tap)?;
    // A user namespace permits a network namespace without privileges.
    unshare(CloneFlags::CLONE_NEWNET).or_else(|_| unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET))?;
    let guest_side = sys::tap_attach(INTERFACE)?;
    // All network namespaces of a machine share one neighbour table for resolved addresses, by default of
    // 1,024 entries. A guest has its own, so the host's address is a permanent entry here.
    let [a, b, c, _] = ip.octets();
    let host = (Ipv4Addr::new(a, b, c, 1), [0x06, 0x00, a, b, c, 1]);
    netlink::bring_up(INTERFACE, InterfaceSettings { mac: Some(mac), address: Some((ip, 24)), neighbours: &[host] })?;
    for (from, to) in [(&host_side, &guest_side), (&guest_side, &host_side)] {
        let (from, to) = (from.try_clone()?, to.try_clone()?);
        std::thread::Builder::new().stack_size(64 << 10).spawn(move || forward(from, to))?;
    }
    Ok(())
}

fn forward(mut from: File, mut to: File) {
    let mut frame = [0; 2048];
    while let Ok(length) = from.read(&mut frame) {
        drop(to.write(&frame[..length]));
    }
}

/// Broadcasts the ready datagram on [`INTERFACE`], as the agent does.
pub fn send_ready_datagram(nonce: &str) {
    let Ok(socket) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)) else { return };
    drop(socket.set_broadcast(true));
    // Without a default route, a broadcast must be bound to an interface.
    let _ = setsockopt(&socket, BindToDevice, &INTERFACE.into());
    drop(socket.send_to(nonce.as_bytes(), (Ipv4Addr::BROADCAST, microbench_agent::READY_DATAGRAM_PORT)));
}

/// Running fake guest, controlled over its standard input and output; killed on drop.
#[derive(Debug)]
pub struct FakeGuest {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl FakeGuest {
    /// Starts a copy of this program as the guest of `tap`. It responds after [`Self::listen_at`].
    ///
    /// # Errors
    /// Fails if the process cannot be started.
    pub fn start(tap: &str, addresses: &Addresses, nonce: &str) -> anyhow::Result<Self> {
        let executable = std::env::current_exe().context("cannot find this program")?;
        let mut child = Command::new(executable)
            .args([SUBCOMMAND, tap, &addresses.mac_text(), &addresses.guest.to_string(), nonce])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a fake guest")?;
        let stdout = child.stdout.take().context("the fake guest has no standard output")?;
        let stdin = child.stdin.take().context("the fake guest has no standard input")?;
        Ok(Self { child, stdin, stdout: BufReader::new(stdout) })
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the guest's network is up.
    ///
    /// # Errors
    /// Fails if the guest exits first.
    pub fn wait_until_joined(&mut self) -> anyhow::Result<()> {
        self.expect_line(JOINED)
    }

    /// Makes the guest listen from `instant` on. Returns once it no longer listens for the previous request;
    /// its network stays up.
    ///
    /// # Errors
    /// Fails if the guest has exited.
    pub fn listen_at(&mut self, instant: Instant) -> anyhow::Result<()> {
        writeln!(self.stdin, "{}", instant.0).context("cannot write to the fake guest")?;
        self.expect_line(SILENT)
    }

    /// Waits until the guest listens; returns the instant just after its `listen(2)`.
    ///
    /// # Errors
    /// Fails if the guest exits first.
    pub fn ready_instant(&mut self) -> anyhow::Result<Instant> {
        let line = self.read_line()?;
        let nanoseconds = line.strip_prefix(READY).and_then(|text| text.parse().ok());
        nanoseconds.map(Instant).with_context(|| format!("unexpected line of the fake guest: `{line}`"))
    }

    fn expect_line(&mut self, expected: &str) -> anyhow::Result<()> {
        let line = self.read_line()?;
        if line == expected { Ok(()) } else { bail!("unexpected line of the fake guest: `{line}`") }
    }

    fn read_line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).context("cannot read from the fake guest")?;
        Ok(line.trim().to_owned())
    }
}

impl Drop for FakeGuest {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs the fake guest until its standard input is closed.
///
/// # Errors
/// Fails if a system call fails.
pub fn run(tap: &str, mac: &str, ip: Ipv4Addr, nonce: &str) -> anyhow::Result<()> {
    join(tap, parse_mac(mac).context("the MAC address is not valid")?, ip).context("cannot connect to the tap")?;
    outln!("{JOINED}")?;
    for line in io::stdin().lines() {
        let instant = Instant(line?.trim().parse().context("the instant to listen at is not valid")?);
        outln!("{SILENT}")?;
        std::thread::sleep(instant.remaining());
        let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, microbench_agent::PORT))?;
        let ready = Instant::now();
        send_ready_datagram(nonce);
        outln!("{READY}{}", ready.0)?;
        serve(&listener, nonce)?;
    }
    Ok(())
}

/// Responds to requests until a line arrives on standard input.
fn serve(listener: &TcpListener, nonce: &str) -> anyhow::Result<()> {
    // The client may have closed its connection already: do not block in accept(2).
    listener.set_nonblocking(true)?;
    let stdin = io::stdin();
    loop {
        let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN), PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::NONE)?;
        if fds[1].any() == Some(true) {
            return Ok(());
        }
        drop(listener.accept().and_then(|(stream, _)| respond(&stream, nonce)));
    }
}

/// Responds to any request with status 200.
fn respond(stream: &TcpStream, nonce: &str) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
            break;
        }
    }
    let head = format!("HTTP/1.1 200 OK\r\n{}: {nonce}\r\ncontent-length: 0\r\n\r\n", microbench_agent::NONCE_HEADER);
    let mut writer = stream;
    writer.write_all(head.as_bytes())
}

/// Parses a MAC address such as `06:00:0a:00:00:02`.
#[must_use]
pub fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_address_round_trips() {
        let addresses = Addresses::for_vm(7);
        assert_eq!(parse_mac(&addresses.mac_text()), Some(addresses.mac));
        assert_eq!((parse_mac("06:00"), parse_mac("xx:00:00:00:00:00")), (None, None));
    }
}
