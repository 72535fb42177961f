//! Reader of the VMs' consoles: one thread reads all of them, time-stamps marks, and writes bounded log
//! files.
//!
//! A guest writes its console byte by byte. One wake-up per byte would use more CPU time than everything else
//! that the runner does while guests boot. Therefore the thread reads what is available and then sleeps for
//! [`PAUSE`]; a console's time stamp is late by up to that.
//!
//! The guest is untrusted: the file has the first [`FILE_LIMIT`] and the last [`END_LIMIT`] bytes at most, and the
//! number of bytes between them. At most [`LINE_LIMIT`] bytes of a line are searched. The rest is read and discarded, so
//! that a flood neither blocks the VMM nor fills the runner's memory or disk.

use microbench_formats::input;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use microbench_agent::{READY_MARK, RESTART_MARK, STATS_MARK};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::guest::kernel_errors;
use crate::sys::clock::Instant;

/// Size of a console's begin in the log file, bytes.
pub const FILE_LIMIT: usize = 1 << 20;
/// Size of a longer console's end in the log file, bytes. What is between the two is discarded.
pub const END_LIMIT: usize = 64 << 10;
/// Time between two reads of the consoles, stated in docs/explanation/measuring-a-boot.md.
pub const PAUSE: Duration = Duration::from_micros(200);
/// Size of the write buffer of a log file, bytes.
const BUFFER_LIMIT: usize = 16 << 10;
/// If no console is written to for this time, the write buffers are flushed; milliseconds.
const QUIET_MS: u16 = 100;
/// Largest number of bytes per read of one console, so that a flood of one guest does not delay the others.
const READ_LIMIT: usize = 64 << 10;
/// Largest capacity of a pipe (`/proc/sys/fs/pipe-max-size`), and so of the data that a VMM leaves when it
/// exits.
const PIPE_LIMIT: usize = 1 << 20;
/// Length of a line that is searched for marks, bytes. The longest mark is that of the statistics: the kernel
/// command line, at most 2 KiB, and a little more.
const LINE_LIMIT: usize = 4096;
/// Length of the console's end that is quoted in an error message, bytes.
const TAIL_LIMIT: usize = 2048;
/// Epoll token of the event that stops the thread; not a file descriptor.
const STOP: u64 = u64::MAX;

/// Instants of the events that are visible on a console; `None` if the event was not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The first byte was written.
    pub first: Option<Instant>,
    /// The agent wrote its ready mark with this VM's nonce.
    pub ready: Option<Instant>,
    /// The agent wrote its restart mark.
    pub restart: Option<Instant>,
}

/// Summary of a console after the VM's end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsoleSummary {
    pub marks: Marks,
    /// The last lines, for error messages.
    pub tail: String,
    /// The first kernel error (oops, panic or stall) that the guest printed.
    pub kernel_error: Option<String>,
    /// The agent's statistics. Only the agent of a guest without a network prints them.
    pub stats: Option<StatsLine>,
}

/// The agent's statistics on the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsLine {
    /// The [`Stats`](microbench_agent::Stats), not checked.
    pub json: Vec<u8>,
    /// The line was complete.
    pub at: Instant,
}

/// Thread that reads the consoles of all VMs; it stops on drop.
#[derive(Debug)]
pub struct ConsoleReader {
    registry: Arc<Registry>,
    thread: Option<JoinHandle<()>>,
}

/// State that the reader thread shares with the threads of the VMs.
#[derive(Debug)]
struct Registry {
    epoll: Epoll,
    stop: EventFd,
    /// Open consoles by file descriptor.
    open: Mutex<HashMap<u64, Arc<Stream>>>,
}

/// Handle of a console that the reader thread reads.
#[derive(Debug)]
pub struct Console {
    stream: Arc<Stream>,
    registry: Arc<Registry>,
}

#[derive(Debug)]
struct Stream {
    /// Non-blocking; never reports end of file ([`open_without_eof`]).
    pipe: File,
    state: Mutex<State>,
}

/// State of a console.
#[derive(Debug)]
struct State {
    log: PathBuf,
    ready: Vec<u8>,
    stats_mark: Vec<u8>,
    marks: Marks,
    kernel_error: Option<String>,
    stats: Option<StatsLine>,
    line: Vec<u8>,
    tail: Vec<u8>,
    /// Bytes that are not written to the file yet.
    buffer: Vec<u8>,
    /// Bytes that may still be written to the file.
    remaining: usize,
    /// The last bytes that were not written to the file, [`END_LIMIT`] at most.
    end: VecDeque<u8>,
    /// Number of bytes that are neither in the file nor in `end`.
    omitted: u64,
}

impl ConsoleReader {
    /// Starts the reader thread.
    ///
    /// # Errors
    /// Fails if the thread, the epoll instance or the eventfd cannot be created.
    pub fn new() -> anyhow::Result<Self> {
        let context = "cannot read consoles";
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context(context)?;
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).context(context)?;
        epoll.add(&stop, EpollEvent::new(EpollFlags::EPOLLIN, STOP)).context(context)?;
        let registry = Arc::new(Registry { epoll, stop, open: Mutex::default() });
        let shared = Arc::clone(&registry);
        let thread =
            std::thread::Builder::new().name("consoles".into()).spawn(move || shared.read_loop()).context(context)?;
        Ok(Self { registry, thread: Some(thread) })
    }

    /// Begins to read `pipe` into the new file `log`. The ready mark counts only with `nonce`.
    ///
    /// # Errors
    /// Fails if the log cannot be created or the pipe cannot be registered.
    pub fn read(&self, pipe: PipeReader, log: &Path, nonce: &str) -> anyhow::Result<Console> {
        // A run of others can have a link in this place.
        input::create_new(log).with_context(|| format!("cannot create {}", log.display()))?;
        let context = "cannot read a console";
        let pipe = open_without_eof(&pipe).context(context)?;
        let stream = Arc::new(Stream {
            pipe,
            state: Mutex::new(State {
                log: log.to_path_buf(),
                ready: format!("{READY_MARK} {nonce}").into_bytes(),
                stats_mark: format!("{STATS_MARK} {nonce} ").into_bytes(),
                marks: Marks::default(),
                kernel_error: None,
                stats: None,
                line: Vec::new(),
                tail: Vec::new(),
                buffer: Vec::new(),
                remaining: FILE_LIMIT,
                end: VecDeque::new(),
                omitted: 0,
            }),
        });
        let number = stream.number();
        lock(&self.registry.open).insert(number, Arc::clone(&stream));
        self.registry.epoll.add(&stream.pipe, EpollEvent::new(EpollFlags::EPOLLIN, number)).context(context)?;
        Ok(Console { stream, registry: Arc::clone(&self.registry) })
    }
}

impl Drop for ConsoleReader {
    fn drop(&mut self) {
        let _ = self.registry.stop.write(1);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Console {
    /// Returns the instants seen so far.
    #[must_use]
    pub fn marks(&self) -> Marks {
        lock(&self.stream.state).marks
    }

    /// Returns the last lines written so far, without control characters.
    #[must_use]
    pub fn tail(&self) -> String {
        let mut state = lock(&self.stream.state);
        state.read_available(&self.stream.pipe, PIPE_LIMIT);
        state.flush();
        state.tail()
    }

    /// Reads the rest of the console and returns its summary. Call it after the VMM has exited. Does not wait
    /// for other processes that have the console open.
    #[must_use]
    pub fn finish(self) -> ConsoleSummary {
        self.registry.unregister(&self.stream);
        let mut state = lock(&self.stream.state);
        state.read_available(&self.stream.pipe, PIPE_LIMIT);
        state.flush();
        state.write_end();
        let tail = state.tail();
        ConsoleSummary { marks: state.marks, tail, kernel_error: state.kernel_error.take(), stats: state.stats.take() }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.registry.unregister(&self.stream);
    }
}

impl Registry {
    /// Reads the consoles until the stop event.
    fn read_loop(&self) {
        let mut events = [EpollEvent::empty(); 64];
        let mut unflushed = false;
        loop {
            let timeout = if unflushed { EpollTimeout::from(QUIET_MS) } else { EpollTimeout::NONE };
            let found = match self.epoll.wait(&mut events, timeout) {
                Ok(found) => found,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(_) => return,
            };
            if found == 0 {
                let open: Vec<Arc<Stream>> = lock(&self.open).values().cloned().collect();
                open.iter().for_each(|stream| lock(&stream.state).flush());
                unflushed = false;
                continue;
            }
            for number in events[..found].iter().map(EpollEvent::data) {
                if number == STOP {
                    return;
                }
                let stream = lock(&self.open).get(&number).cloned();
                let Some(stream) = stream else { continue };
                lock(&stream.state).read_available(&stream.pipe, READ_LIMIT);
                unflushed = true;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Stops reading one console.
    fn unregister(&self, stream: &Stream) {
        if lock(&self.open).remove(&stream.number()).is_some() {
            let _ = self.epoll.delete(&stream.pipe);
        }
    }
}

impl Stream {
    fn number(&self) -> u64 {
        u64::from(self.pipe.as_raw_fd().unsigned_abs())
    }
}

impl State {
    /// Reads what is available, up to about `limit` bytes.
    fn read_available(&mut self, mut pipe: &File, limit: usize) {
        let (mut buffer, mut taken) = ([0; 4 << 10], 0);
        while taken < limit {
            match pipe.read(&mut buffer) {
                Ok(read @ 1..) => {
                    self.process(&buffer[..read], Instant::now());
                    taken += read;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    fn process(&mut self, bytes: &[u8], now: Instant) {
        self.marks.first.get_or_insert(now);
        for &byte in bytes {
            if byte == b'\n' {
                if self.kernel_error.is_none() {
                    self.kernel_error = kernel_errors::find(&String::from_utf8_lossy(&self.line));
                }
                if let (None, Some(json)) = (&self.stats, self.line.strip_prefix(&self.stats_mark[..])) {
                    self.stats = Some(StatsLine { json: json.to_vec(), at: now });
                }
                self.line.clear();
            } else if self.line.len() < LINE_LIMIT {
                self.line.push(byte);
                if self.line.ends_with(&self.ready) {
                    self.marks.ready.get_or_insert(now);
                } else if self.line.ends_with(RESTART_MARK.as_bytes()) {
                    self.marks.restart.get_or_insert(now);
                }
            }
        }
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL_LIMIT)..]);
        let surplus = self.tail.len().saturating_sub(TAIL_LIMIT);
        self.tail.drain(..surplus);
        let kept = bytes.len().min(self.remaining);
        self.buffer.extend_from_slice(&bytes[..kept]);
        self.remaining -= kept;
        let rest = &bytes[kept..];
        self.end.extend(rest);
        let surplus = self.end.len().saturating_sub(END_LIMIT);
        self.end.drain(..surplus);
        self.omitted += surplus as u64;
        if self.buffer.len() >= BUFFER_LIMIT {
            self.flush();
        }
    }

    /// Appends the write buffer to the file. The file is opened for this alone, because a trial of thousands
    /// of VMs has as many consoles.
    fn flush(&mut self) {
        if !self.buffer.is_empty() {
            // A full disk must not stop the reader; the write of the journal reports it.
            drop(File::options().append(true).open(&self.log).and_then(|mut file| file.write_all(&self.buffer)));
            self.buffer.clear();
        }
    }

    /// Appends the end of a console that is larger than its file may be.
    fn write_end(&mut self) {
        if self.omitted > 0 {
            self.buffer.extend_from_slice(format!("\n[microbench: {} bytes omitted]\n", self.omitted).as_bytes());
        }
        self.buffer.extend(self.end.drain(..));
        self.flush();
    }

    /// Returns the last lines without control characters.
    fn tail(&self) -> String {
        let text = String::from_utf8_lossy(&self.tail).into_owned();
        text.chars().filter(|c| !c.is_control() || *c == '\n').collect::<String>().trim().to_owned()
    }
}

/// Opens the read end of `pipe` for writing as well, so that it has no end of file. Otherwise the exit of the
/// last writer would wake the reader thread just when the end of a VMM is timed.
fn open_without_eof(pipe: &PipeReader) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the summary and the log file of a console with this text.
    fn read_summary(text: &[u8]) -> (ConsoleSummary, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let consoles = ConsoleReader::new().unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        let console = consoles.read(reader, &log, "abc").unwrap();
        writer.write_all(text).unwrap();
        (console.finish(), std::fs::read(log).unwrap())
    }

    fn read(text: &[u8]) -> (Marks, String, Vec<u8>) {
        let (ConsoleSummary { marks, tail, .. }, log) = read_summary(text);
        (marks, tail, log)
    }

    #[test]
    fn statistics_require_the_vms_nonce_and_are_limited_in_length() {
        let stats = |text: &[u8]| read_summary(text).0.stats.map(|line| line.json);
        let text = b"microbench-agent: stats abc {\"a\": 1}\r\nmicrobench-agent: stats abc {}\n";
        assert_eq!(stats(text).as_deref(), Some(&b"{\"a\": 1}\r"[..]));
        assert_eq!(stats(b"microbench-agent: stats other {}\n"), None);
        let long = [b"microbench-agent: stats abc ", &[b'x'; 3 * LINE_LIMIT][..], b"\n"].concat();
        assert!(stats(&long).is_some_and(|json| json.len() < LINE_LIMIT));
    }

    #[test]
    fn ready_mark_requires_the_vms_nonce() {
        let (marks, tail, log) = read(b"boot\nmicrobench-agent: ready abc\nmicrobench-agent: restart\n");
        assert!(marks.first.is_some() && marks.ready.is_some() && marks.restart.is_some());
        assert!(tail.ends_with("restart") && log.ends_with(b"restart\n"));
        assert!(read(b"microbench-agent: ready other\n").0.ready.is_none());
    }

    #[test]
    fn first_kernel_error_is_kept() {
        let text = b"[ 1.0] fine\n[ 2.0] BUG: soft lockup\r\n[ 3.0] Oops: 0000\n";
        assert_eq!(read_summary(text).0.kernel_error.as_deref(), Some("[ 2.0] BUG: soft lockup"));
    }

    #[test]
    fn flood_is_truncated_in_file_and_in_memory() {
        let (_, tail, log) = read(&[&vec![b'x'; 3 * FILE_LIMIT][..], b"the end"].concat());
        let note = format!("x\n[microbench: {} bytes omitted]\nx", 2 * FILE_LIMIT + 7 - END_LIMIT);
        assert_eq!(tail.len(), TAIL_LIMIT);
        assert_eq!(log.len(), FILE_LIMIT + note.len() - 2 + END_LIMIT);
        assert!(log.ends_with(b"the end"));
        assert_eq!(String::from_utf8_lossy(&log[FILE_LIMIT - 1..][..note.len()]), note);
    }

    #[test]
    fn console_that_is_slightly_too_large_for_its_file_is_complete() {
        let text: Vec<u8> = (0..FILE_LIMIT + END_LIMIT).map(|n| b'a' + u8::try_from(n % 26).unwrap()).collect();
        assert!(read(&text).2 == text);
    }

    #[test]
    fn idle_console_is_flushed_and_finish_does_not_wait_for_other_writers() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let consoles = ConsoleReader::new().unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        let console = consoles.read(reader, &log, "abc").unwrap();
        writer.write_all(b"hello").unwrap();
        while std::fs::read(&log).unwrap() != b"hello" {
            std::thread::yield_now();
        }
        writer.write_all(b", and more").unwrap();
        // The test still has the write end open.
        assert_eq!(console.finish().tail, "hello, and more");
        assert_eq!(std::fs::read(&log).unwrap(), b"hello, and more");
    }

    #[test]
    fn consoles_of_many_vms_are_kept_apart() {
        let folder = tempfile::tempdir().unwrap();
        let consoles = ConsoleReader::new().unwrap();
        let all: Vec<_> = (0..200)
            .map(|vm| {
                let (reader, writer) = io::pipe().unwrap();
                let log = folder.path().join(vm.to_string());
                (consoles.read(reader, &log, &format!("nonce{vm}.")).unwrap(), writer, log)
            })
            .collect();
        for (vm, (_, writer, _)) in all.iter().enumerate() {
            let mut writer: &io::PipeWriter = writer;
            writer.write_all(format!("microbench-agent: ready nonce{vm}.\n").as_bytes()).unwrap();
        }
        for (vm, (console, _, log)) in all.into_iter().enumerate() {
            assert!(console.finish().marks.ready.is_some());
            assert_eq!(std::fs::read_to_string(log).unwrap(), format!("microbench-agent: ready nonce{vm}.\n"));
        }
    }
}
