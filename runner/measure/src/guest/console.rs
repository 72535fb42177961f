//! The consoles of VMs: read by one thread, stamped, bounded, kept in files.
//!
//! A guest writes its console byte by byte, and to be woken for each byte would take more of a CPU than all else that the runner does while
//! guests boot. So the thread reads what there is, and after that lets [`PAUSE`] go by: an instant of a console is late by up to that.
//!
//! The guest is hostile: at most [`FILE_LIMIT`] bytes go to the file and at most [`LINE_LIMIT`] bytes of a line are looked at;
//! the rest is read and thrown away, so that a flood blocks neither the VMM nor the runner's memory.

use std::collections::HashMap;
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

/// Bytes of a console that are kept.
pub const FILE_LIMIT: usize = 1 << 20;
/// Time from one look at the consoles to the next; docs/explanation/measuring-a-boot.md states it.
pub const PAUSE: Duration = Duration::from_micros(200);
/// Bytes that wait to be written to the file at most.
const WAITING_LIMIT: usize = 16 << 10;
/// When no console says anything for so long, what waits is written, milliseconds.
const QUIET_MS: u16 = 100;
/// Bytes of one console that one look takes: a flood of one guest does not keep the others waiting.
const LOOK_LIMIT: usize = 64 << 10;
/// Bytes that a pipe holds at most (`/proc/sys/fs/pipe-max-size`, as the kernel has it): what a VMM that has ended left.
const PIPE_LIMIT: usize = 1 << 20;
/// Bytes of one line that are searched for a mark; statistics are as long as the kernel's command line, which is 2 KiB at most, and
/// a little more.
const LINE_LIMIT: usize = 4096;
/// Bytes of the tail that goes into a failure's message.
const TAIL_LIMIT: usize = 2048;
/// What the thread's end wakes it by; no console has the number.
const STOP: u64 = u64::MAX;

/// The instants that a console shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// First byte.
    pub first: Option<Instant>,
    /// The agent's ready mark with this VM's nonce.
    pub ready: Option<Instant>,
    /// The agent's restart mark.
    pub restart: Option<Instant>,
}

/// What a console showed from its beginning to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The instants.
    pub marks: Marks,
    /// The last lines, for a message.
    pub tail: String,
    /// The first complaint of the guest's kernel.
    pub complaint: Option<String>,
    /// What the agent said of its guest, as JSON; only a guest without a network does.
    pub stats: Option<Vec<u8>>,
}

/// The thread that reads consoles, and those that it reads; it ends when this is dropped.
#[derive(Debug)]
pub struct Consoles {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread and the others share.
#[derive(Debug)]
struct Desk {
    epoll: Epoll,
    stop: EventFd,
    /// By the number of its descriptor.
    open: Mutex<HashMap<u64, Arc<Stream>>>,
}

/// A console that is being read.
#[derive(Debug)]
pub struct Console {
    stream: Arc<Stream>,
    desk: Arc<Desk>,
}

#[derive(Debug)]
struct Stream {
    /// It never ends, and is read without waiting.
    pipe: File,
    state: Mutex<State>,
}

/// What came of a console so far.
#[derive(Debug)]
struct State {
    log: PathBuf,
    ready: Vec<u8>,
    stats_mark: Vec<u8>,
    marks: Marks,
    complaint: Option<String>,
    stats: Option<Vec<u8>>,
    line: Vec<u8>,
    tail: Vec<u8>,
    /// What is not in the file yet.
    waiting: Vec<u8>,
    /// Bytes that the file has room for.
    room: usize,
}

impl Consoles {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it, or what wakes it, cannot be had.
    pub fn new() -> anyhow::Result<Self> {
        let context = "cannot read consoles";
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context(context)?;
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).context(context)?;
        epoll.add(&stop, EpollEvent::new(EpollFlags::EPOLLIN, STOP)).context(context)?;
        let desk = Arc::new(Desk { epoll, stop, open: Mutex::default() });
        let its = Arc::clone(&desk);
        let thread = std::thread::Builder::new().name("consoles".into()).spawn(move || its.read()).context(context)?;
        Ok(Self { desk, thread: Some(thread) })
    }

    /// Reads `pipe` into the file `log`; `nonce` is what the ready mark must carry.
    ///
    /// # Errors
    /// When the log cannot be created or the pipe cannot be waited for.
    pub fn read(&self, pipe: PipeReader, log: &Path, nonce: &str) -> anyhow::Result<Console> {
        File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let context = "cannot read a console";
        let pipe = without_end(&pipe).context(context)?;
        let stream = Arc::new(Stream {
            pipe,
            state: Mutex::new(State {
                log: log.to_path_buf(),
                ready: format!("{READY_MARK} {nonce}").into_bytes(),
                stats_mark: format!("{STATS_MARK} {nonce} ").into_bytes(),
                marks: Marks::default(),
                complaint: None,
                stats: None,
                line: Vec::new(),
                tail: Vec::new(),
                waiting: Vec::new(),
                room: FILE_LIMIT,
            }),
        });
        let number = stream.number();
        lock(&self.desk.open).insert(number, Arc::clone(&stream));
        self.desk.epoll.add(&stream.pipe, EpollEvent::new(EpollFlags::EPOLLIN, number)).context(context)?;
        Ok(Console { stream, desk: Arc::clone(&self.desk) })
    }
}

impl Drop for Consoles {
    fn drop(&mut self) {
        let _ = self.desk.stop.write(1);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Console {
    /// The instants seen so far.
    #[must_use]
    pub fn marks(&self) -> Marks {
        lock(&self.stream.state).marks
    }

    /// Takes what is left: call it once the VMM has ended. Who else holds the console open is not waited for.
    #[must_use]
    pub fn finish(self) -> Seen {
        self.desk.forget(&self.stream);
        let mut state = lock(&self.stream.state);
        state.take_all(&self.stream.pipe, PIPE_LIMIT);
        state.save();
        let tail = state.tail();
        Seen { marks: state.marks, tail, complaint: state.complaint.take(), stats: state.stats.take() }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.desk.forget(&self.stream);
    }
}

impl Desk {
    /// Reads until it is told to stop.
    fn read(&self) {
        let mut events = [EpollEvent::empty(); 64];
        let mut unsaved = false;
        loop {
            let timeout = if unsaved { EpollTimeout::from(QUIET_MS) } else { EpollTimeout::NONE };
            let found = match self.epoll.wait(&mut events, timeout) {
                Ok(found) => found,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(_) => return,
            };
            if found == 0 {
                let open: Vec<Arc<Stream>> = lock(&self.open).values().cloned().collect();
                open.iter().for_each(|stream| lock(&stream.state).save());
                unsaved = false;
                continue;
            }
            for number in events[..found].iter().map(EpollEvent::data) {
                if number == STOP {
                    return;
                }
                let stream = lock(&self.open).get(&number).cloned();
                let Some(stream) = stream else { continue };
                lock(&stream.state).take_all(&stream.pipe, LOOK_LIMIT);
                unsaved = true;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// One console is not read any more.
    fn forget(&self, stream: &Stream) {
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
    /// Takes what is there, `limit` bytes or a little more at most.
    fn take_all(&mut self, mut pipe: &File, limit: usize) {
        let (mut buffer, mut taken) = ([0; 4 << 10], 0);
        while taken < limit {
            match pipe.read(&mut buffer) {
                Ok(read @ 1..) => {
                    self.take(&buffer[..read], Instant::now());
                    taken += read;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    fn take(&mut self, bytes: &[u8], now: Instant) {
        self.marks.first.get_or_insert(now);
        for &byte in bytes {
            if byte == b'\n' {
                if self.complaint.is_none() {
                    self.complaint = kernel_errors::find(&String::from_utf8_lossy(&self.line));
                }
                if let (None, Some(told)) = (&self.stats, self.line.strip_prefix(&self.stats_mark[..])) {
                    self.stats = Some(told.to_vec());
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
        let kept = bytes.len().min(self.room);
        self.waiting.extend_from_slice(&bytes[..kept]);
        self.room -= kept;
        if self.waiting.len() >= WAITING_LIMIT {
            self.save();
        }
    }

    /// Writes what waits to the file, which is open for no longer than that: a trial of thousands of VMs has that many consoles.
    fn save(&mut self) {
        if !self.waiting.is_empty() {
            // A full disk must not stop the reading; the journal's own write reports it.
            drop(File::options().append(true).open(&self.log).and_then(|mut file| file.write_all(&self.waiting)));
            self.waiting.clear();
        }
    }

    /// The last lines, for a message.
    fn tail(&self) -> String {
        let text = String::from_utf8_lossy(&self.tail).into_owned();
        text.chars().filter(|c| !c.is_control() || *c == '\n').collect::<String>().trim().to_owned()
    }
}

/// The reading end of `pipe`, opened for writing as well: who reads without waiting is then not woken when the last writer ends, which is
/// when a VMM's end is timed.
fn without_end(pipe: &PipeReader) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is seen of a console that says `text`, and its file.
    fn seen(text: &[u8]) -> (Seen, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let consoles = Consoles::new().unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        let console = consoles.read(reader, &log, "abc").unwrap();
        writer.write_all(text).unwrap();
        (console.finish(), std::fs::read(log).unwrap())
    }

    fn read(text: &[u8]) -> (Marks, String, Vec<u8>) {
        let (Seen { marks, tail, .. }, log) = seen(text);
        (marks, tail, log)
    }

    #[test]
    fn statistics_count_with_their_own_nonce_only_and_not_at_any_length() {
        let told = |text: &[u8]| seen(text).0.stats;
        let text = b"microbench-agent: stats abc {\"a\": 1}\r\nmicrobench-agent: stats abc {}\n";
        assert_eq!(told(text).as_deref(), Some(&b"{\"a\": 1}\r"[..]));
        assert_eq!(told(b"microbench-agent: stats other {}\n"), None);
        let long = [b"microbench-agent: stats abc ", &[b'x'; 3 * LINE_LIMIT][..], b"\n"].concat();
        assert!(told(&long).is_some_and(|told| told.len() < LINE_LIMIT));
    }

    #[test]
    fn a_ready_mark_counts_with_its_own_nonce_only() {
        let (marks, tail, log) = read(b"boot\nmicrobench-agent: ready abc\nmicrobench-agent: restart\n");
        assert!(marks.first.is_some() && marks.ready.is_some() && marks.restart.is_some());
        assert!(tail.ends_with("restart") && log.ends_with(b"restart\n"));
        assert!(read(b"microbench-agent: ready other\n").0.ready.is_none());
    }

    #[test]
    fn the_first_complaint_of_the_guests_kernel_is_kept() {
        let text = b"[ 1.0] fine\n[ 2.0] BUG: soft lockup\r\n[ 3.0] Oops: 0000\n";
        assert_eq!(seen(text).0.complaint.as_deref(), Some("[ 2.0] BUG: soft lockup"));
    }

    #[test]
    fn a_flood_is_cut_in_the_file_and_in_memory() {
        let (_, tail, log) = read(&vec![b'x'; 3 * FILE_LIMIT]);
        assert_eq!((tail.len(), log.len()), (TAIL_LIMIT, FILE_LIMIT));
    }

    #[test]
    fn a_console_is_in_its_file_while_its_vm_is_silent_and_its_end_waits_for_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let consoles = Consoles::new().unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        let console = consoles.read(reader, &log, "abc").unwrap();
        writer.write_all(b"hello").unwrap();
        while std::fs::read(&log).unwrap() != b"hello" {
            std::thread::yield_now();
        }
        writer.write_all(b", and more").unwrap();
        // Somebody else holds the writing end still.
        assert_eq!(console.finish().tail, "hello, and more");
        assert_eq!(std::fs::read(&log).unwrap(), b"hello, and more");
    }

    #[test]
    fn the_consoles_of_many_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let consoles = Consoles::new().unwrap();
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
