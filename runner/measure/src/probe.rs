//! When does the service answer? The exact probe, and the polls of the 2019 paper's text and of its tool.
//!
//! All make one connection attempt at a time from a blocking thread. The exact probe is driven by events: it asks when the
//! guest's agent announces that it listens ([`crate::guest::ready_datagram`]), and waits for the outcome of each attempt. In case that
//! the datagram is lost it asks every [`PERIOD`] besides, and later after an eighth of the time gone; an attempt that nobody answers is given up then, because the kernel would repeat its
//! SYN only after a second. Once the agent has announced itself, a refused attempt is repeated after [`PAUSE`]. Each result carries
//! the instant at which the last failed attempt began, so the true instant lies between that and the answer.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

pub use microbench_study::engine::guest_settings::Probe;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, getsockopt, socket, sockopt};

use crate::guest::ready_datagram::Announcements;
use crate::guest::response;
use crate::sys::clock::Instant;

/// Least time between attempts while nothing is announced; an attempt that nobody answers is given up after as long.
const PERIOD: Duration = Duration::from_millis(50);
/// What part of the time gone that time is, when it is more: a guest that takes long is not asked ever so often in vain.
const PART: u32 = 8;
/// Once the guest's network answers, an attempt may take this long (its CPU may be busy with other guests).
const PATIENCE: Duration = Duration::from_millis(200);
/// Pause after a refused attempt once the agent has announced itself.
const PAUSE: Duration = Duration::from_millis(1);
/// The paper's poll: one request every 10 ms ...
const PAPER_PERIOD: Duration = Duration::from_millis(10);
/// ... each given up after 100 ms.
const PAPER_TIMEOUT: Duration = Duration::from_millis(100);
/// An answer to `GET /` may take this long once connected.
const ANSWER: Duration = Duration::from_secs(10);
/// Most bytes of the body of an answer to `GET /`.
const ANSWER_LIMIT: u64 = 8 << 10;

/// The first good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The answer was complete.
    pub ok: Instant,
    /// The agent's announcement arrived; `None` when it did not, or is not listened to.
    pub announced: Option<Instant>,
    /// The last attempt that failed began; `None` when the first one succeeded.
    pub last_failed: Option<Instant>,
    /// Connection attempts, the good one included.
    pub attempts: u32,
    /// CPU time of the probing thread, nanoseconds.
    pub cpu_time_ns: u64,
}

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The deadline passed.
    #[error("no answer before the deadline after {attempts} attempts (the last one: {last})")]
    Deadline {
        /// Connection attempts.
        attempts: u32,
        /// What the last one ended with.
        last: String,
    },
    /// The VMM ended.
    #[error("the VMM ended before the service answered")]
    Exited,
    /// Something answered that is not this VM's agent.
    #[error("{0}")]
    Protocol(String),
    /// The host's own socket calls failed.
    #[error("cannot probe: {0}")]
    Host(io::Error),
}

/// Asks `http://guest:port/` until the first 200 that carries `nonce`. `announcements` are those of the guest's tap; the paper's
/// polls do not listen to them.
///
/// # Errors
/// [`ProbeError`]. A wrong nonce ends the probe: another VM has this VM's address.
pub fn wait(
    probe: Probe,
    guest: Ipv4Addr,
    nonce: &str,
    announcements: &mut Announcements,
    deadline: Instant,
    exited: BorrowedFd<'_>,
) -> Result<Found, ProbeError> {
    let cpu_before = crate::sys::thread_cpu_ns();
    let (mut attempts, mut last_failed, mut network_up, mut announced) = (0, None, false, None);
    let first = Instant::now();
    loop {
        let begun = Instant::now();
        let period = PERIOD.max(Duration::from_nanos(begun.0 - first.0) / PART);
        // An announcement says that the link is there; one that is long in coming may have been lost.
        if probe == Probe::Exact && (announced.is_some() || period > PERIOD) {
            announcements.settle_link();
        }
        attempts += 1;
        let patience = match probe {
            Probe::Paper | Probe::Busy => PAPER_TIMEOUT,
            Probe::Exact if network_up || announced.is_some() => PATIENCE,
            Probe::Exact => period,
        };
        let listens = probe == Probe::Exact && announced.is_none();
        let heard = || listens.then(|| announcements.readable()).flatten();
        let until = if probe == Probe::Exact { None } else { Some(begun.after(patience)) };
        let answer = until.unwrap_or_else(|| begun.after(ANSWER)).min(deadline);
        let outcome = attempt(guest, nonce, patience, answer, Events { exited, heard: heard() });
        let last = match outcome {
            Ok(ok) => {
                let cpu_time_ns = crate::sys::thread_cpu_ns() - cpu_before;
                return Ok(Found { ok, announced, last_failed, attempts, cpu_time_ns });
            }
            Err(Attempt::Exited) => return Err(ProbeError::Exited),
            Err(Attempt::Wrong(message)) => return Err(ProbeError::Protocol(message)),
            Err(Attempt::Host(error)) => return Err(ProbeError::Host(error)),
            Err(Attempt::Refused(error)) => {
                network_up = true;
                error.to_string()
            }
            Err(Attempt::Silent | Attempt::Heard) => "silence".to_owned(),
        };
        last_failed = Some(begun);
        if deadline.passed() {
            return Err(ProbeError::Deadline { attempts, last });
        }
        let pause = match probe {
            Probe::Paper => begun.after(PAPER_PERIOD).remaining(),
            Probe::Busy => Duration::ZERO,
            Probe::Exact if announced.is_some() => PAUSE,
            Probe::Exact => begun.after(period).remaining(),
        };
        let heard = heard();
        if !pause.is_zero() && wait_for(Events { exited, heard }, None, pause).map_err(ProbeError::Host)?.exited {
            return Err(ProbeError::Exited);
        }
        if listens && announcements.take(nonce) {
            announced = Some(Instant::now());
        }
    }
}

/// How one attempt failed.
enum Attempt {
    Silent,
    /// Nobody had answered yet when a datagram came in.
    Heard,
    Refused(io::Error),
    Exited,
    Wrong(String),
    Host(io::Error),
}

/// One request: the connection within `patience`, the whole answer before `deadline`.
fn attempt(
    guest: Ipv4Addr,
    nonce: &str,
    patience: Duration,
    deadline: Instant,
    events: Events<'_>,
) -> Result<Instant, Attempt> {
    let address = SockaddrIn::from(SocketAddrV4::new(guest, microbench_agent::PORT));
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Inet, SockType::Stream, flags, None).map_err(|error| Attempt::Host(error.into()))?;
    match connect(std::os::fd::AsRawFd::as_raw_fd(&fd), &address) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(error) => return Err(Attempt::Refused(error.into())),
    }
    let state = wait_for(events, Some((fd.as_fd(), PollFlags::POLLOUT)), patience).map_err(Attempt::Host)?;
    match state {
        Happened { exited: true, .. } => return Err(Attempt::Exited),
        Happened { ready: true, .. } => {}
        Happened { heard: true, .. } => return Err(Attempt::Heard),
        _ => return Err(Attempt::Silent),
    }
    match getsockopt(&fd, sockopt::SocketError).map_err(|error| Attempt::Host(error.into()))? {
        0 => {}
        code => return Err(Attempt::Refused(io::Error::from_raw_os_error(code))),
    }
    let mut stream = TcpStream::from(fd);
    let request = format!("GET / HTTP/1.1\r\nhost: {guest}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(Attempt::Refused)?;
    let events = Events { heard: None, ..events };
    let mut answer = Vec::new();
    loop {
        let state =
            wait_for(events, Some((stream.as_fd(), PollFlags::POLLIN)), deadline.remaining()).map_err(Attempt::Host)?;
        if state.exited {
            return Err(Attempt::Exited);
        }
        if !state.ready {
            return Err(Attempt::Silent);
        }
        let mut buffer = [0; 2048];
        let read = match stream.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(Attempt::Refused(error)),
        };
        answer.extend_from_slice(&buffer[..read]);
        if let Some(verdict) = judge(&answer, read == 0, nonce) {
            return verdict.map(|()| Instant::now()).map_err(Attempt::Wrong);
        }
    }
}

/// Judges what has been read so far of an answer to `GET /`, to the end of the connection or not: `None` for more to come, `Ok` for a
/// complete 200 with the right nonce.
///
/// # Errors
/// Why the answer is not that of this VM's agent, in words.
#[must_use]
pub fn judge(answer: &[u8], ended: bool, nonce: &str) -> Option<Result<(), String>> {
    match response::head(answer, "GET /", nonce) {
        Err(problem) => Some(Err(problem)),
        Ok(None) if ended => Some(Err("the guest closed the connection within its answer's head".into())),
        Ok(None) => None,
        Ok(Some(head)) if head.length > ANSWER_LIMIT => {
            Some(Err(format!("the answer announces {} bytes", head.length)))
        }
        Ok(Some(head)) if (answer.len() - head.body) as u64 >= head.length => Some(Ok(())),
        Ok(Some(_)) if ended => Some(Err("the guest closed the connection within its answer".into())),
        Ok(Some(_)) => None,
    }
}

/// What else a wait ends at.
#[derive(Clone, Copy)]
struct Events<'a> {
    /// Readable when the process has ended.
    exited: BorrowedFd<'a>,
    /// Readable when the guest has announced something.
    heard: Option<BorrowedFd<'a>>,
}

/// What a wait ended at; nothing when the time was over.
struct Happened {
    exited: bool,
    heard: bool,
    ready: bool,
}

/// Waits for the events, for `other`, or for the time.
fn wait_for(events: Events<'_>, other: Option<(BorrowedFd<'_>, PollFlags)>, time: Duration) -> io::Result<Happened> {
    let deadline = Instant::now().after(time);
    let mut fds = vec![PollFd::new(events.exited, PollFlags::POLLIN)];
    fds.extend(events.heard.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
    fds.extend(other.map(|(fd, flags)| PollFd::new(fd, flags)));
    loop {
        let left = nix::sys::time::TimeSpec::from_duration(deadline.remaining());
        match ppoll(&mut fds, Some(left), None) {
            Ok(0) if !deadline.passed() => {}
            Ok(_) => {
                let any = |at: usize| fds.get(at).is_some_and(|fd| fd.any().unwrap_or(false));
                let (heard, ready) = match events.heard {
                    Some(_) => (any(1), any(2)),
                    None => (false, any(1)),
                };
                return Ok(Happened { exited: any(0), heard, ready });
            }
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until the process of `exited` ends; false when the deadline passes first.
///
/// # Errors
/// That of `ppoll(2)`.
pub fn wait_exit(exited: BorrowedFd<'_>, deadline: Instant) -> io::Result<bool> {
    Ok(wait_for(Events { exited, heard: None }, None, deadline.remaining())?.exited)
}

/// Waits until the process of `exited` ends (true), or `other` is readable or the time is over (false).
///
/// # Errors
/// That of `ppoll(2)`.
pub fn wait_either(exited: BorrowedFd<'_>, other: BorrowedFd<'_>, time: Duration) -> io::Result<bool> {
    Ok(wait_for(Events { exited, heard: None }, Some((other, PollFlags::POLLIN)), time)?.exited)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(body: &str, extra: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{extra}\r\n{body}", body.len()).into_bytes()
    }

    #[test]
    fn an_answer_counts_only_when_complete_and_with_the_right_nonce() {
        let good = ok("hello", "X-Microbench-Nonce: abc\r\n");
        assert_eq!(judge(&good, false, "abc"), Some(Ok(())));
        for end in 0..good.len() {
            assert_eq!(judge(&good[..end], false, "abc"), None, "cut at {end}");
            assert!(judge(&good[..end], true, "abc").is_some_and(|verdict| verdict.is_err()), "cut at {end}");
        }
        assert!(judge(&good, false, "abd").unwrap().is_err());
        assert!(judge(&ok("hello", ""), false, "abc").unwrap().is_err());
    }

    #[test]
    fn a_guest_cannot_write_on_the_terminal() {
        let verdict = judge(b"HTTP/1.1 500 \x1b[2J\x07\r\n\r\n", false, "abc").unwrap();
        assert_eq!(verdict, Err("the guest answered `HTTP/1.1 500  [2J ` to GET /".into()));
    }

    #[test]
    fn an_endless_head_and_a_huge_body_are_refused() {
        let head = [b"HTTP/1.1 200 OK\r\nx: ".as_slice(), &vec![b'y'; response::HEAD_LIMIT]].concat();
        assert!(judge(&head, false, "abc").unwrap().is_err());
        let body = b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\nx-microbench-nonce: abc\r\n\r\n";
        assert!(judge(body, false, "abc").unwrap().is_err());
    }
}
