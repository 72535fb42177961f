//! Boot events of a guest, from KVM's tracepoints: KVM's first entry into the guest, and the guest's marks on an I/O
//! port.
//!
//! Only the first record of each event matters. The records are read after the VM has ended.

use microbench_agent::MARK_PORT;
use microbench_formats::event;

use crate::host::counters::perf::Rings;

/// Why an event of an open trace is missing.
const NO_RECORD: &str = "KVM's tracepoints recorded no such event";

/// The traced events: name, KVM's tracepoint, and the mark that the record must contain, if any.
const TRACED: [(&str, &str, Option<u8>); 4] = [
    (event::GUEST_ENTERED, "kvm/kvm_entry", None),
    (event::KERNEL_MARKED, "kvm/kvm_pio", Some(KERNEL_MARK)),
    (event::INIT_MARKED, "kvm/kvm_pio", Some(INIT_MARK)),
    (event::AGENT_MARKED, "kvm/kvm_pio", Some(microbench_agent::MARK)),
];

/// Written to [`MARK_PORT`] by a kernel with marks (kernels/marks-6.1) when its C code starts.
const KERNEL_MARK: u8 = 0x31;
/// Written to [`MARK_PORT`] by a kernel with marks just before it starts init.
const INIT_MARK: u8 = 0x32;

/// The perf events of a VMM, which the calling thread has yet to fork.
#[derive(Debug)]
pub struct Trace(Vec<(&'static str, Result<Rings, String>)>);

impl Trace {
    /// Opens the events for the next child of the calling thread. [`Trace::finish`] returns the error of an event that
    /// cannot be opened.
    #[must_use]
    pub fn open_for_next_child() -> Self {
        let filter = |mark| format!("rw == 1 && port == {MARK_PORT} && val == {mark}");
        let rings = |tracepoint, mark: Option<u8>| {
            let filter = mark.map(filter);
            Rings::open_for_next_child(tracepoint, filter.as_deref(), false)
        };
        Self(TRACED.into_iter().map(|(event, tracepoint, mark)| (event, rings(tracepoint, mark))).collect())
    }

    /// Reads the time of each event on CLOCK_MONOTONIC, ns; or why the event is missing, in one line. Call it after
    /// the VMM has ended.
    #[must_use]
    pub fn finish(self) -> Vec<(&'static str, Result<u64, String>)> {
        let first_time =
            |rings: Result<Rings, String>| rings?.read_times().into_iter().min().ok_or_else(|| NO_RECORD.to_owned());
        self.0.into_iter().map(|(event, rings)| (event, first_time(rings))).collect()
    }
}
