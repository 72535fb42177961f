//! Probes that measure when the service of a guest sends its first response. There are the exact probe, the
//! poll of the 2019 paper's text (`paper`), and the poll of the paper's tool (`busy`).
//!
//! Each probe makes one connection attempt at a time from a blocking thread. The exact probe is event-driven:
//! it sends its request when the agent's ready datagram arrives ([`crate::guest::ready_datagram`]), and waits
//! for the outcome of each attempt.
//!
//! The ready datagram can be lost. Therefore the exact probe also tries every [`PERIOD`], and after a while
//! once per eighth of the elapsed time. An attempt without an outcome is given up after that period, because
//! the kernel would repeat its SYN only after a second. After the ready datagram, a refused attempt is
//! repeated after [`RETRY_PAUSE`].
//!
//! Each result contains the instant at which the last failed attempt began. The service became available
//! between that instant and the first response.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

pub use microbench_study::engine::guest_settings::Probe;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, getsockopt, socket, sockopt};

use crate::guest::ready_datagram::ReadySocket;
use crate::guest::response;
use crate::sys::clock::Instant;

/// Shortest time between attempts before the ready datagram, and the time limit of each.
const PERIOD: Duration = Duration::from_millis(50);
/// The period grows to the elapsed time divided by this, so that a slow guest gets few futile requests.
const PERIOD_DIVISOR: u32 = 8;
/// Time limit of a connection attempt once the guest's network responds; its CPU may be busy with other
/// guests.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(200);
/// Pause after a refused attempt once the ready datagram has arrived.
const RETRY_PAUSE: Duration = Duration::from_millis(1);
/// Poll of the 2019 paper: one request every 10 ms ...
const PAPER_PERIOD: Duration = Duration::from_millis(10);
/// ... each given up after 100 ms.
const PAPER_TIMEOUT: Duration = Duration::from_millis(100);
/// Time limit of a response once connected.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest body of a response to `GET /`, bytes.
const BODY_LIMIT: u64 = 8 << 10;

/// The first valid response of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstResponse {
    /// The response was complete.
    pub ok: Instant,
    /// The ready datagram arrived; `None` if it did not, or if the probe does not use it.
    pub ready_datagram: Option<Instant>,
    /// The last failed attempt began; `None` if the first attempt succeeded.
    pub last_failed: Option<Instant>,
    /// Connection attempts, including the successful one.
    pub attempts: u32,
    /// CPU time of the probing thread, nanoseconds.
    pub cpu_time_ns: u64,
}

/// The probe got no valid response.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The deadline passed.
    #[error("no response before the deadline after {attempts} attempts (the last one: {last})")]
    Deadline {
        attempts: u32,
        /// Outcome of the last attempt.
        last: String,
    },
    #[error("the VMM exited before the first response of the service")]
    Exited,
    /// The response is not a valid response of this VM's agent.
    #[error("{0}")]
    Protocol(String),
    /// A socket call of the host failed.
    #[error("cannot probe: {0}")]
    Host(io::Error),
}

/// Sends `GET /` to the guest until the first response with status 200 and `nonce`. The exact probe receives
/// the guest's ready datagram on `ready_socket`; the polls of the paper ignore it. `exited` becomes readable
/// when the VMM exits.
///
/// # Errors
/// [`ProbeError`]. A wrong nonce ends the probe, because another VM uses this VM's address.
pub fn wait_for_first_response(
    probe: Probe,
    guest: Ipv4Addr,
    nonce: &str,
    ready_socket: &mut ReadySocket,
    deadline: Instant,
    exited: BorrowedFd<'_>,
) -> Result<FirstResponse, ProbeError> {
    let cpu_before = crate::sys::thread_cpu_ns();
    let (mut attempts, mut last_failed, mut network_up, mut ready_datagram) = (0, None, false, None);
    let first = Instant::now();
    loop {
        let started_at = Instant::now();
        let period = PERIOD.max(Duration::from_nanos(started_at.0 - first.0) / PERIOD_DIVISOR);
        // The ready datagram proves that the guest's link is up. It may also have been lost, if it takes long
        // to arrive.
        if probe == Probe::Exact && (ready_datagram.is_some() || period > PERIOD) {
            ready_socket.settle_link();
        }
        attempts += 1;
        let connect_timeout = match probe {
            Probe::Paper | Probe::Busy => PAPER_TIMEOUT,
            Probe::Exact if network_up || ready_datagram.is_some() => CONNECT_TIMEOUT,
            Probe::Exact => period,
        };
        let expects_datagram = probe == Probe::Exact && ready_datagram.is_none();
        let datagram = || expects_datagram.then(|| ready_socket.poll_fd()).flatten();
        let until = if probe == Probe::Exact { None } else { Some(started_at.after(connect_timeout)) };
        let response_deadline = until.unwrap_or_else(|| started_at.after(RESPONSE_TIMEOUT)).min(deadline);
        let sources = WakeSources { exited, datagram: datagram() };
        let outcome = attempt(guest, nonce, connect_timeout, response_deadline, sources);
        let last = match outcome {
            Ok(ok) => {
                let cpu_time_ns = crate::sys::thread_cpu_ns() - cpu_before;
                return Ok(FirstResponse { ok, ready_datagram, last_failed, attempts, cpu_time_ns });
            }
            Err(AttemptError::Exited) => return Err(ProbeError::Exited),
            Err(AttemptError::Invalid(message)) => return Err(ProbeError::Protocol(message)),
            Err(AttemptError::Host(error)) => return Err(ProbeError::Host(error)),
            Err(AttemptError::Refused(error)) => {
                network_up = true;
                error.to_string()
            }
            Err(AttemptError::TimedOut | AttemptError::Interrupted) => "no response".to_owned(),
        };
        last_failed = Some(started_at);
        if deadline.passed() {
            return Err(ProbeError::Deadline { attempts, last });
        }
        let pause = match probe {
            Probe::Paper => started_at.after(PAPER_PERIOD).remaining(),
            Probe::Busy => Duration::ZERO,
            Probe::Exact if ready_datagram.is_some() => RETRY_PAUSE,
            Probe::Exact => started_at.after(period).remaining(),
        };
        let datagram = datagram();
        if !pause.is_zero() && wait_for(WakeSources { exited, datagram }, &[], pause).map_err(ProbeError::Host)?.exited
        {
            return Err(ProbeError::Exited);
        }
        if expects_datagram && ready_socket.receive(nonce) {
            ready_datagram = Some(Instant::now());
        }
    }
}

/// Why an attempt failed.
enum AttemptError {
    TimedOut,
    /// A datagram arrived before the connection was established.
    Interrupted,
    Refused(io::Error),
    Exited,
    Invalid(String),
    Host(io::Error),
}

/// Sends one request. The connection must be established within `connect_timeout`, and the response be
/// complete before `deadline`. Returns the instant at which the response was complete.
fn attempt(
    guest: Ipv4Addr,
    nonce: &str,
    connect_timeout: Duration,
    deadline: Instant,
    sources: WakeSources<'_>,
) -> Result<Instant, AttemptError> {
    let address = SockaddrIn::from(SocketAddrV4::new(guest, microbench_agent::PORT));
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd =
        socket(AddressFamily::Inet, SockType::Stream, flags, None).map_err(|error| AttemptError::Host(error.into()))?;
    match connect(std::os::fd::AsRawFd::as_raw_fd(&fd), &address) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(error) => return Err(AttemptError::Refused(error.into())),
    }
    let state = wait_for(sources, &[(fd.as_fd(), PollFlags::POLLOUT)], connect_timeout).map_err(AttemptError::Host)?;
    match state {
        Woken { exited: true, .. } => return Err(AttemptError::Exited),
        Woken { ready: true, .. } => {}
        Woken { datagram: true, .. } => return Err(AttemptError::Interrupted),
        _ => return Err(AttemptError::TimedOut),
    }
    match getsockopt(&fd, sockopt::SocketError).map_err(|error| AttemptError::Host(error.into()))? {
        0 => {}
        code => return Err(AttemptError::Refused(io::Error::from_raw_os_error(code))),
    }
    let mut stream = TcpStream::from(fd);
    let request = format!("GET / HTTP/1.1\r\nhost: {guest}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(AttemptError::Refused)?;
    let sources = WakeSources { datagram: None, ..sources };
    let mut response = Vec::new();
    loop {
        let state = wait_for(sources, &[(stream.as_fd(), PollFlags::POLLIN)], deadline.remaining())
            .map_err(AttemptError::Host)?;
        if state.exited {
            return Err(AttemptError::Exited);
        }
        if !state.ready {
            return Err(AttemptError::TimedOut);
        }
        let mut buffer = [0; 2048];
        let read = match stream.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(AttemptError::Refused(error)),
        };
        response.extend_from_slice(&buffer[..read]);
        if let Some(result) = check_response(&response, read == 0, nonce) {
            return result.map(|()| Instant::now()).map_err(AttemptError::Invalid);
        }
    }
}

/// Checks the part of a response to `GET /` that has been read so far. `ended` means that the guest has
/// closed the connection. Returns `None` if more bytes are needed, and `Some(Ok(()))` for a complete response
/// with status 200 and the right nonce.
///
/// ```
/// use microbench_measure::probe::check_response;
///
/// let response = b"HTTP/1.1 200 OK\r\nx-microbench-nonce: abc\r\ncontent-length: 2\r\n\r\nhi";
/// assert_eq!(check_response(response, false, "abc"), Some(Ok(())));
/// assert_eq!(check_response(&response[..30], false, "abc"), None);
/// ```
///
/// # Errors
/// Returns a message if the response is not that of this VM's agent.
#[must_use]
pub fn check_response(response: &[u8], ended: bool, nonce: &str) -> Option<Result<(), String>> {
    match response::parse_head(response, "GET /", nonce) {
        Err(problem) => Some(Err(problem)),
        Ok(None) if ended => Some(Err("the guest closed the connection before the end of the response's head".into())),
        Ok(None) => None,
        Ok(Some(head)) if head.length > BODY_LIMIT => {
            Some(Err(format!("the response has {} bytes, more than {BODY_LIMIT}", head.length)))
        }
        Ok(Some(head)) if (response.len() - head.body) as u64 >= head.length => Some(Ok(())),
        Ok(Some(_)) if ended => Some(Err("the guest closed the connection before the end of its response".into())),
        Ok(Some(_)) => None,
    }
}

/// Further events that end a wait.
#[derive(Clone, Copy)]
struct WakeSources<'a> {
    /// Readable when the process has exited.
    exited: BorrowedFd<'a>,
    /// Readable when a datagram has arrived.
    datagram: Option<BorrowedFd<'a>>,
}

/// Events that ended a wait; none if the time is over.
struct Woken {
    exited: bool,
    datagram: bool,
    ready: bool,
}

/// Waits until one of `sources` or of `other` is ready, or until `time` is over.
fn wait_for(sources: WakeSources<'_>, other: &[(BorrowedFd<'_>, PollFlags)], time: Duration) -> io::Result<Woken> {
    let deadline = Instant::now().after(time);
    let mut fds = vec![PollFd::new(sources.exited, PollFlags::POLLIN)];
    fds.extend(sources.datagram.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
    fds.extend(other.iter().map(|(fd, flags)| PollFd::new(*fd, *flags)));
    loop {
        let left = nix::sys::time::TimeSpec::from_duration(deadline.remaining());
        match ppoll(&mut fds, Some(left), None) {
            Ok(0) if !deadline.passed() => {}
            Ok(_) => {
                let any = |at: usize| fds.get(at).is_some_and(|fd| fd.any().unwrap_or(false));
                let first_other = 1 + usize::from(sources.datagram.is_some());
                let ready = (first_other..fds.len()).any(any);
                return Ok(Woken { exited: any(0), datagram: first_other == 2 && any(1), ready });
            }
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until the process of the pidfd `exited` exits; returns false if the deadline passes first.
///
/// # Errors
/// Fails if `ppoll(2)` fails.
pub fn wait_exit(exited: BorrowedFd<'_>, deadline: Instant) -> io::Result<bool> {
    Ok(wait_for(WakeSources { exited, datagram: None }, &[], deadline.remaining())?.exited)
}

/// Waits until the process of the pidfd `exited` exits (true), or until one of `others` is readable or the
/// time is over (false).
///
/// # Errors
/// Fails if `ppoll(2)` fails.
pub fn wait_exit_or_readable(exited: BorrowedFd<'_>, others: &[BorrowedFd<'_>], time: Duration) -> io::Result<bool> {
    let others: Vec<_> = others.iter().map(|fd| (*fd, PollFlags::POLLIN)).collect();
    Ok(wait_for(WakeSources { exited, datagram: None }, &others, time)?.exited)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(body: &str, extra: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{extra}\r\n{body}", body.len()).into_bytes()
    }

    #[test]
    fn response_must_be_complete_and_carry_the_right_nonce() {
        let good = ok("hello", "X-Microbench-Nonce: abc\r\n");
        assert_eq!(check_response(&good, false, "abc"), Some(Ok(())));
        for end in 0..good.len() {
            assert_eq!(check_response(&good[..end], false, "abc"), None, "cut at {end}");
            assert!(check_response(&good[..end], true, "abc").is_some_and(|result| result.is_err()), "cut at {end}");
        }
        assert!(check_response(&good, false, "abd").unwrap().is_err());
        assert!(check_response(&ok("hello", ""), false, "abc").unwrap().is_err());
    }

    #[test]
    fn control_characters_of_a_guest_are_removed_from_messages() {
        let result = check_response(b"HTTP/1.1 500 \x1b[2J\x07\r\n\r\n", false, "abc").unwrap();
        assert_eq!(result, Err("the guest responded with `HTTP/1.1 500  [2J ` to GET /".into()));
    }

    #[test]
    fn endless_head_and_huge_body_are_rejected() {
        let head = [b"HTTP/1.1 200 OK\r\nx: ".as_slice(), &vec![b'y'; response::HEAD_LIMIT]].concat();
        assert!(check_response(&head, false, "abc").unwrap().is_err());
        let body = b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\nx-microbench-nonce: abc\r\n\r\n";
        assert!(check_response(body, false, "abc").unwrap().is_err());
    }
}
