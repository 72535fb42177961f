//! Counts of a VMM's system calls and of its guest's polls of the keyboard controller, by perf events.
//!
//! A counting event costs much less than strace, but slows each system call and each access to an I/O port down.
//! Therefore it is an instrument: it counts in separate trials, which are not timed.

use microbench_formats::event::reading;

use crate::host::counters::perf::Hits;

/// The counts: reading, tracepoint, and filter of its records.
const COUNTED: [(&str, &str, Option<&str>); 2] = [
    (reading::VMM_SYSTEM_CALLS_COUNTED, "raw_syscalls/sys_enter", None),
    (reading::GUEST_KEYBOARD_POLLS, "kvm/kvm_pio", Some("rw == 0 && port == 0x64")),
];

/// Values of the counts, or why they are missing, in one line.
pub type Counted = Vec<(&'static str, Result<u64, String>)>;

/// The perf events of a VMM, which the calling thread has yet to fork.
#[derive(Debug)]
pub struct PerfCounts(Vec<(&'static str, Result<Hits, String>)>);

impl PerfCounts {
    /// Opens the events for the next child of the calling thread. [`PerfCounts::read`] returns the error of an event that
    /// cannot be opened.
    #[must_use]
    pub fn open_for_next_child() -> Self {
        let open = |(reading, tracepoint, filter)| (reading, Hits::open_for_next_child(tracepoint, filter));
        Self(COUNTED.into_iter().map(open).collect())
    }

    /// The counts so far.
    pub fn read(&mut self) -> Counted {
        let read =
            |hits: &mut Result<Hits, String>| hits.as_mut().map_err(|reason| reason.clone()).and_then(Hits::read);
        self.0.iter_mut().map(|(reading, hits)| (*reading, read(hits))).collect()
    }
}
