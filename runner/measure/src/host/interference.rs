//! Detects interference during a trial. Sources are counters of the machine before and after it, a heartbeat thread,
//! kernel errors of the host, and processes of earlier trials.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use microbench_formats::host::HostKind;
use microbench_formats::record::{Interference, Record};

use crate::guest::kernel_errors;
use crate::host::counters::counts::{Counts, find_interference};
use crate::sys::clock::Instant;

/// Interval of the heartbeat.
const BEAT: Duration = Duration::from_millis(20);
/// Longest tolerated time between two beats. A longer one means that the runner did not run.
const PAUSE: Duration = Duration::from_millis(500);
/// Most kernel messages of the host that are read after a trial.
const MOST_MESSAGES: usize = 10_000;

/// Most processes of an earlier trial that a message names.
const MOST_NAMED: usize = 8;

/// Number of signals that stopped or continued the runner.
static PAUSES: AtomicU32 = AtomicU32::new(0);

/// Records that a signal stops or continues the runner. The current trial is then invalid.
pub fn note_pause() {
    PAUSES.fetch_add(1, Ordering::SeqCst);
}

/// Detects interference with trials.
#[derive(Debug)]
pub struct Watcher {
    clock: Clock,
    messages: Option<File>,
}

/// Clock of the host, which decides what can disturb a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    /// Wall time: any other load of the machine disturbs a trial.
    Wall,
    /// Wall time of tests that share the machine: load of other processes is ignored.
    Tests,
    /// Virtual time, which load of the machine below cannot disturb.
    Virtual,
}

/// Opens the kernel log at its end; `None` if this user may not read it. Call it outside of the sandbox, whose user may
/// not.
#[must_use]
pub fn kernel_messages() -> Option<File> {
    let mut file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg").ok()?;
    file.seek(SeekFrom::End(0)).ok()?;
    Some(file)
}

impl Watcher {
    /// A watcher of trials on `host`.
    #[must_use]
    pub fn new(host: HostKind, messages: Option<File>) -> Self {
        let clock = match host {
            HostKind::Emulated => Clock::Virtual,
            HostKind::Fake => Clock::Tests,
            HostKind::Kvm | HostKind::Imported => Clock::Wall,
        };
        Self { clock, messages }
    }

    /// Starts to watch a trial. Call it just before the VMs start. `leftovers` is the result of
    /// [`leftover_processes`].
    #[must_use]
    pub fn begin(&mut self, leftovers: Option<String>) -> WatchedTrial<'_> {
        // Discards messages from before the trial.
        drop(self.new_kernel_errors());
        WatchedTrial {
            before: (self.clock == Clock::Wall).then(|| Counts::read(Path::new("/"))),
            heartbeat: (self.clock != Clock::Virtual).then(Heartbeat::begin),
            pauses: PAUSES.load(Ordering::SeqCst),
            overlap: leftovers,
            watcher: self,
        }
    }

    /// Kernel errors of the host since the last call.
    fn new_kernel_errors(&mut self) -> Vec<String> {
        let Some(file) = &mut self.messages else { return Vec::new() };
        let (mut found, mut buffer) = (Vec::new(), vec![0; 8192]);
        for _ in 0..MOST_MESSAGES {
            match file.read(&mut buffer) {
                Ok(read) if read > 0 => found.extend(kernel_errors::find(&String::from_utf8_lossy(&buffer[..read]))),
                // EPIPE: unread messages were overwritten. The next read returns the oldest message that remains.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                _ => break,
            }
        }
        found
    }
}

/// A trial that is being watched.
#[derive(Debug)]
pub struct WatchedTrial<'a> {
    watcher: &'a mut Watcher,
    before: Option<Counts>,
    heartbeat: Option<Heartbeat>,
    pauses: u32,
    overlap: Option<String>,
}

impl WatchedTrial<'_> {
    /// Stops watching and returns a [`Record::Invalid`] for each kind of interference. Call it after all VMs have been
    /// reaped. `guest_errors` are the kernel errors of the guests.
    #[must_use]
    pub fn end(self, guest_errors: Vec<String>) -> Vec<Record> {
        let mut found: Vec<(Interference, String)> = Vec::new();
        if let Some(before) = &self.before {
            found.extend(find_interference(before, &Counts::read(Path::new("/"))));
        }
        let stall = self.heartbeat.map(Heartbeat::end).filter(|longest| *longest > PAUSE);
        if PAUSES.load(Ordering::SeqCst) != self.pauses {
            found.push((Interference::Paused, "the runner was stopped by a signal".into()));
        } else if let Some(longest) = stall {
            found.push((Interference::Paused, format!("the runner did not run for {} ms", longest.as_millis())));
        }
        found.extend(self.overlap.map(|message| (Interference::Overlap, message)));
        found.extend(self.watcher.new_kernel_errors().into_iter().map(|text| (Interference::HostKernel, text)));
        found.extend(guest_errors.into_iter().map(|text| (Interference::GuestKernel, text)));
        found.into_iter().map(|(reason, message)| Record::Invalid { reason, message }).collect()
    }
}

/// A message of one line that names the children which this process has not reaped: processes of an earlier trial that
/// did not end when they were killed. `None` without such children. Call it before anything is started for a trial.
#[must_use]
pub fn leftover_processes() -> Option<String> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?.filter_map(Result::ok);
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let all: Vec<String> =
        lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    (!all.is_empty()).then(|| describe_leftovers(&all))
}

/// The message for the processes `all`, of which it names the first ones.
fn describe_leftovers(all: &[String]) -> String {
    let named = all[..all.len().min(MOST_NAMED)].join(", ");
    let more = match all.len() - all.len().min(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("process {named}{more} of an earlier trial was still running")
}

/// A thread that reads the clock at every beat, to detect that the runner did not run.
#[derive(Debug)]
struct Heartbeat {
    over: Arc<AtomicBool>,
    longest: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    fn begin() -> Self {
        let (over, longest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (done, gap) = (Arc::clone(&over), Arc::clone(&longest));
        let beat = move || {
            let mut last = Instant::now();
            while !done.load(Ordering::Relaxed) {
                std::thread::park_timeout(BEAT);
                let now = Instant::now();
                gap.fetch_max(now.0 - last.0, Ordering::Relaxed);
                last = now;
            }
        };
        // If the thread cannot be started, the counters still detect interference.
        let thread = std::thread::Builder::new().name("heartbeat".into()).stack_size(64 << 10).spawn(beat).ok();
        Self { over, longest, thread }
    }

    /// Ends the thread. Returns the longest time between two beats.
    fn end(self) -> Duration {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread {
            thread.thread().unpark();
            drop(thread.join());
        }
        Duration::from_nanos(self.longest.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_names_eight_leftovers_at_most() {
        let pids = |n: u32| -> Vec<String> { (1..=n).map(|pid| pid.to_string()).collect() };
        assert_eq!(describe_leftovers(&pids(1)), "process 1 of an earlier trial was still running");
        let many = describe_leftovers(&pids(5000));
        assert_eq!(many, "process 1, 2, 3, 4, 5, 6, 7, 8 and 4992 more of an earlier trial was still running");
    }
}
