//! A VM's console: read to the end on a thread of its own, stamped, bounded, kept in a file.
//!
//! The guest is hostile: at most [`FILE_LIMIT`] bytes go to the file and at most [`LINE_LIMIT`] bytes of a line are looked at;
//! the rest is read and thrown away, so that a flood blocks neither the VMM nor the runner's memory.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::Context;
use microbench_agent::{READY_MARK, RESTART_MARK, STATS_MARK};

use crate::clock::Instant;
use crate::complaint;

/// Bytes of a console that are kept.
pub const FILE_LIMIT: usize = 1 << 20;
/// Bytes of one line that are searched for a mark; statistics are as long as the kernel's command line, which is 2 KiB at most, and
/// a little more.
const LINE_LIMIT: usize = 4096;
/// Bytes of the tail that goes into a failure's message.
const TAIL_LIMIT: usize = 2048;

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

#[derive(Debug, Default)]
struct Shared {
    marks: Marks,
    complaint: Option<String>,
    stats: Option<Vec<u8>>,
    tail: Vec<u8>,
    bytes: u64,
}

/// A console that is being read.
#[derive(Debug)]
pub struct Console {
    shared: Arc<Mutex<Shared>>,
    reader: JoinHandle<()>,
}

impl Console {
    /// Reads `stream` until its end into the file `log`; `nonce` is what the ready mark must carry.
    ///
    /// # Errors
    /// When the log cannot be created or no thread can be had.
    pub fn read(stream: impl Read + Send + 'static, log: &Path, nonce: &str) -> anyhow::Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let shared = Arc::new(Mutex::new(Shared::default()));
        let state = Arc::clone(&shared);
        let (ready, stats) = (format!("{READY_MARK} {nonce}"), format!("{STATS_MARK} {nonce} "));
        let reader = std::thread::Builder::new()
            .name("console".into())
            .stack_size(256 << 10)
            .spawn(move || pump(stream, file, &state, ready.as_bytes(), stats.as_bytes()))
            .context("cannot start a console thread")?;
        Ok(Self { shared, reader })
    }

    /// The instants seen so far.
    #[must_use]
    pub fn marks(&self) -> Marks {
        lock(&self.shared).marks
    }

    /// Waits for the end of the stream: call it once the VMM has ended.
    #[must_use]
    pub fn finish(self) -> Seen {
        drop(self.reader.join());
        let mut shared = lock(&self.shared);
        let tail = shared.tail();
        Seen { marks: shared.marks, tail, complaint: shared.complaint.take(), stats: shared.stats.take() }
    }
}

impl Shared {
    /// The last lines, for a message.
    fn tail(&self) -> String {
        let text = String::from_utf8_lossy(&self.tail).into_owned();
        text.chars().filter(|c| !c.is_control() || *c == '\n').collect::<String>().trim().to_owned()
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pump(mut stream: impl Read, mut file: File, shared: &Mutex<Shared>, ready: &[u8], stats: &[u8]) {
    let mut buffer = vec![0; 16 << 10];
    let mut line = Vec::with_capacity(LINE_LIMIT);
    let mut room = FILE_LIMIT;
    loop {
        let bytes = match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(read) => &buffer[..read],
        };
        let now = Instant::now();
        let mut state = lock(shared);
        state.marks.first.get_or_insert(now);
        state.bytes += bytes.len() as u64;
        for &byte in bytes {
            if byte == b'\n' {
                if state.complaint.is_none() {
                    state.complaint = complaint::find(&String::from_utf8_lossy(&line));
                }
                if let (None, Some(told)) = (&state.stats, line.strip_prefix(stats)) {
                    state.stats = Some(told.to_vec());
                }
                line.clear();
            } else if line.len() < LINE_LIMIT {
                line.push(byte);
                if line.ends_with(ready) {
                    state.marks.ready.get_or_insert(now);
                } else if line.ends_with(RESTART_MARK.as_bytes()) {
                    state.marks.restart.get_or_insert(now);
                }
            }
        }
        state.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL_LIMIT)..]);
        let surplus = state.tail.len().saturating_sub(TAIL_LIMIT);
        state.tail.drain(..surplus);
        drop(state);
        let kept = bytes.len().min(room);
        // A full disk must not stop the reading; the journal's own write reports it.
        drop(file.write_all(&bytes[..kept]));
        room -= kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static [u8]) -> (Marks, String, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let Seen { marks, tail, .. } = Console::read(text, &log, "abc").unwrap().finish();
        (marks, tail, std::fs::read(log).unwrap())
    }

    #[test]
    fn statistics_count_with_their_own_nonce_only_and_not_at_any_length() {
        let told = |text: &'static [u8]| {
            let folder = tempfile::tempdir().unwrap();
            Console::read(text, &folder.path().join("log"), "abc").unwrap().finish().stats
        };
        let text = b"microbench-agent: stats abc {\"a\": 1}\r\nmicrobench-agent: stats abc {}\n";
        assert_eq!(told(text).as_deref(), Some(&b"{\"a\": 1}\r"[..]));
        assert_eq!(told(b"microbench-agent: stats other {}\n"), None);
        let long: &'static [u8] = [b"microbench-agent: stats abc ", &[b'x'; 3 * LINE_LIMIT][..], b"\n"].concat().leak();
        assert!(told(long).is_some_and(|told| told.len() < LINE_LIMIT));
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
        let folder = tempfile::tempdir().unwrap();
        let text: &[u8] = b"[ 1.0] fine\n[ 2.0] BUG: soft lockup\r\n[ 3.0] Oops: 0000\n";
        let seen = Console::read(text, &folder.path().join("log"), "abc").unwrap().finish();
        assert_eq!(seen.complaint.as_deref(), Some("[ 2.0] BUG: soft lockup"));
    }

    #[test]
    fn a_flood_is_cut_in_the_file_and_in_memory() {
        let flood: &'static [u8] = vec![b'x'; 3 * FILE_LIMIT].leak();
        let (_, tail, log) = read(flood);
        assert_eq!((tail.len(), log.len()), (TAIL_LIMIT, FILE_LIMIT));
    }
}
