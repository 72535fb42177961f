//! A guest of which everything is known: a process on a tap, with a network stack of its own, that starts to answer when it is told,
//! as often as it is told.
//!
//! It attaches to the runner's tap as a VMM does, enters a network namespace, makes an interface there with the guest's addresses, and carries
//! frames between the two. The instant at which it starts to answer is taken on the clock of every event.

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

use crate::host::resources::netlink::{self, Settings};
use crate::sys::clock::Instant;
use crate::{outln, sys};

/// The word by which this program is told to play a guest; its tap, MAC, IPv4 address and nonce follow.
pub const WORD: &str = "fake-guest";
/// Name of the guest's interface.
const INTERFACE: &str = "eth0";
/// The line that says that its network is up.
const JOINED: &str = "joined";
/// The line that says that it has been told when to listen, and nobody listens until then.
const SILENT: &str = "silent";
/// First words of the line that says when it began to answer.
const READY: &str = "ready ";

/// Joins the tap `tap` to an interface with `mac` and `ip` in a network namespace that the calling thread enters.
///
/// # Errors
/// When the kernel refuses something.
pub fn join(tap: &str, mac: [u8; 6], ip: Ipv4Addr) -> io::Result<()> {
    let outside = sys::tap_attach(tap)?;
    // Without the capability for a network namespace, a user namespace of its own gives it.
    unshare(CloneFlags::CLONE_NEWNET).or_else(|_| unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET))?;
    let inside = sys::tap_attach(INTERFACE)?;
    // All network namespaces of a machine share one table of neighbours that were asked for, of 1,024 as a rule; a guest has its own.
    let [a, b, c, _] = ip.octets();
    let host = (Ipv4Addr::new(a, b, c, 1), [0x06, 0x00, a, b, c, 1]);
    netlink::bring_up(INTERFACE, Settings { mac: Some(mac), address: Some((ip, 24)), neighbours: &[host] })?;
    for (from, to) in [(&outside, &inside), (&inside, &outside)] {
        let (from, to) = (from.try_clone()?, to.try_clone()?);
        std::thread::Builder::new().stack_size(64 << 10).spawn(move || carry(from, to))?;
    }
    Ok(())
}

fn carry(mut from: File, mut to: File) {
    let mut frame = [0; 2048];
    while let Ok(length) = from.read(&mut frame) {
        drop(to.write(&frame[..length]));
    }
}

/// Announces on [`INTERFACE`] that somebody listens, as the agent does.
pub fn announce(nonce: &str) {
    let Ok(socket) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)) else { return };
    drop(socket.set_broadcast(true));
    // Without a default route a broadcast has to name its interface.
    let _ = setsockopt(&socket, BindToDevice, &INTERFACE.into());
    drop(socket.send_to(nonce.as_bytes(), (Ipv4Addr::BROADCAST, microbench_agent::ANNOUNCE_PORT)));
}

/// A running fake guest, seen from outside; killed when dropped.
#[derive(Debug)]
pub struct FakeGuest {
    child: Child,
    told: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl FakeGuest {
    /// Starts a copy of this program that plays the guest of `tap` and starts to answer when it is told.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(tap: &str, addresses: &Addresses, nonce: &str) -> anyhow::Result<Self> {
        let this = std::env::current_exe().context("cannot find this program")?;
        let mut child = Command::new(this)
            .args([WORD, tap, &addresses.mac_text(), &addresses.guest.to_string(), nonce])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a fake guest")?;
        let said = child.stdout.take().context("a fake guest without standard output")?;
        let told = child.stdin.take().context("a fake guest without standard input")?;
        Ok(Self { child, told, said: BufReader::new(said) })
    }

    /// PID of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until its network is up.
    ///
    /// # Errors
    /// When it ended before.
    pub fn joined(&mut self) -> anyhow::Result<()> {
        self.says(JOINED)
    }

    /// Tells it to begin to listen at `instant`; returns when nobody listens any more. Its network stays.
    ///
    /// # Errors
    /// When it has ended.
    pub fn listen_at(&mut self, instant: Instant) -> anyhow::Result<()> {
        writeln!(self.told, "{}", instant.0).context("cannot tell the fake guest when to listen")?;
        self.says(SILENT)
    }

    /// The instant just after its `listen(2)`; waits for it.
    ///
    /// # Errors
    /// When it ended before.
    pub fn ready(&mut self) -> anyhow::Result<Instant> {
        let line = self.line()?;
        let nanoseconds = line.strip_prefix(READY).and_then(|text| text.parse().ok());
        nanoseconds.map(Instant).with_context(|| format!("the fake guest said `{line}`"))
    }

    fn says(&mut self, expected: &str) -> anyhow::Result<()> {
        let line = self.line()?;
        if line == expected { Ok(()) } else { bail!("the fake guest said `{line}`") }
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.said.read_line(&mut line).context("cannot read what the fake guest says")?;
        Ok(line.trim().to_owned())
    }
}

impl Drop for FakeGuest {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Plays the guest; ends with the process.
///
/// # Errors
/// When the kernel refuses something.
pub fn play(tap: &str, mac: &str, ip: Ipv4Addr, nonce: &str) -> anyhow::Result<()> {
    join(tap, parse_mac(mac).context("no MAC address")?, ip).context("cannot join the tap")?;
    outln!("{JOINED}")?;
    for line in io::stdin().lines() {
        let instant = Instant(line?.trim().parse().context("no instant to listen at")?);
        outln!("{SILENT}")?;
        std::thread::sleep(instant.remaining());
        let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, microbench_agent::PORT))?;
        let ready = Instant::now();
        announce(nonce);
        outln!("{READY}{}", ready.0)?;
        serve(&listener, nonce)?;
    }
    Ok(())
}

/// Answers until it is told something.
fn serve(listener: &TcpListener, nonce: &str) -> anyhow::Result<()> {
    // Whoever asked may be gone already.
    listener.set_nonblocking(true)?;
    let stdin = io::stdin();
    loop {
        let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN), PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::NONE)?;
        if fds[1].any() == Some(true) {
            return Ok(());
        }
        drop(listener.accept().and_then(|(stream, _)| answer(&stream, nonce)));
    }
}

/// Answers one request with 200, whatever it asks.
fn answer(stream: &TcpStream, nonce: &str) -> io::Result<()> {
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

/// `06:00:0a:00:00:02` as bytes.
#[must_use]
pub fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_is_read_as_it_is_written() {
        let addresses = Addresses::of(7);
        assert_eq!(parse_mac(&addresses.mac_text()), Some(addresses.mac));
        assert_eq!((parse_mac("06:00"), parse_mac("xx:00:00:00:00:00")), (None, None));
    }
}
