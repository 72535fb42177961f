//! Whether something disturbed a trial: the machine's counts before and after it, a heartbeat during it, what the host's
//! kernel said, who else was there.

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
use crate::host::counters::counts::{Counts, judge};
use crate::sys::clock::Instant;

/// Time between two beats.
const BEAT: Duration = Duration::from_millis(20);
/// Time without a beat that says that the runner did not run.
const PAUSE: Duration = Duration::from_millis(500);
/// Messages of the host's kernel that are read after one trial.
const MOST_MESSAGES: usize = 10_000;

/// How often the runner was asked to pause, or went on after a pause.
static PAUSES: AtomicU32 = AtomicU32::new(0);

/// To be called when the runner is stopped by a signal or continued after one.
pub fn paused() {
    PAUSES.fetch_add(1, Ordering::SeqCst);
}

/// Watches trials.
#[derive(Debug)]
pub struct Watcher {
    clock: Clock,
    messages: Option<File>,
}

/// What time is on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    /// Whatever else the machine does takes some of it.
    Wall,
    /// As wall time, in tests that share the machine: only what the trial itself is to blame for.
    Tests,
    /// It passes when the emulated host works, whatever the machine below does.
    Virtual,
}

/// The log of this machine's kernel, from here on; `None` when it may not be read. To be opened outside of the sandbox, whose user
/// may not.
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

    /// Begins to watch: call it just before the VMs are released.
    #[must_use]
    pub fn begin(&mut self) -> Span<'_> {
        let overlap = children();
        // What was said before the trial is not the trial's.
        drop(self.complaints());
        Span {
            before: (self.clock == Clock::Wall).then(|| Counts::read(Path::new("/"))),
            heart: (self.clock != Clock::Virtual).then(Heart::begin),
            pauses: PAUSES.load(Ordering::SeqCst),
            overlap,
            watcher: self,
        }
    }

    /// What the host's kernel complained of since it was last asked.
    fn complaints(&mut self) -> Vec<String> {
        let Some(file) = &mut self.messages else { return Vec::new() };
        let (mut found, mut buffer) = (Vec::new(), vec![0; 8192]);
        for _ in 0..MOST_MESSAGES {
            match file.read(&mut buffer) {
                Ok(read) if read > 0 => found.extend(kernel_errors::find(&String::from_utf8_lossy(&buffer[..read]))),
                // Messages were overwritten before they were read: the next read goes on with the oldest there is.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                _ => break,
            }
        }
        found
    }
}

/// A trial that is being watched.
#[derive(Debug)]
pub struct Span<'a> {
    watcher: &'a mut Watcher,
    before: Option<Counts>,
    heart: Option<Heart>,
    pauses: u32,
    overlap: Option<String>,
}

impl Span<'_> {
    /// What disturbed the trial: call it once every VM is reaped. `guests` are the complaints of the guests' kernels.
    #[must_use]
    pub fn end(self, guests: Vec<String>) -> Vec<Record> {
        let mut found: Vec<(Interference, String)> = Vec::new();
        if let Some(before) = &self.before {
            found.extend(judge(before, &Counts::read(Path::new("/"))));
        }
        let still = self.heart.map(Heart::end).filter(|longest| *longest > PAUSE);
        if PAUSES.load(Ordering::SeqCst) != self.pauses {
            found.push((Interference::Paused, "the runner was stopped by a signal".into()));
        } else if let Some(longest) = still {
            found.push((Interference::Paused, format!("the runner did not run for {} ms", longest.as_millis())));
        }
        found.extend(self.overlap.map(|who| (Interference::Overlap, who)));
        found.extend(self.watcher.complaints().into_iter().map(|text| (Interference::HostKernel, text)));
        found.extend(guests.into_iter().map(|text| (Interference::GuestKernel, text)));
        found.into_iter().map(|(reason, message)| Record::Invalid { reason, message }).collect()
    }
}

/// Processes that this one started and has not reaped: none, unless a VM of an earlier trial is still there.
fn children() -> Option<String> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?.filter_map(Result::ok);
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let all: Vec<String> =
        lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    (!all.is_empty()).then(|| format!("process {} of an earlier trial was still there", all.join(", ")))
}

/// A thread that does nothing but look at the clock.
#[derive(Debug)]
struct Heart {
    over: Arc<AtomicBool>,
    longest: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Heart {
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
        // Without a thread there is no heartbeat, and the counts still say what they say.
        let thread = std::thread::Builder::new().name("heart".into()).stack_size(64 << 10).spawn(beat).ok();
        Self { over, longest, thread }
    }

    /// Ends the thread; the longest time between two beats.
    fn end(self) -> Duration {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread {
            thread.thread().unpark();
            drop(thread.join());
        }
        Duration::from_nanos(self.longest.load(Ordering::Relaxed))
    }
}
