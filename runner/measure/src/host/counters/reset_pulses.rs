//! Reset pulses of a guest, from KVM's tracepoint `kvm_pio`.
//!
//! To restart by the keyboard controller (`reboot=k`), Linux repeats the following [`RESET_PULSES`] times: it reads port
//! 0x64 until the controller's input buffer is empty, at most 65,536 times and 2 us apart, and writes 0xfe to port 0x64
//! 50 us later (`kb_wait` and `native_machine_emergency_restart` in arch/x86/kernel/reboot.c of Linux 6.1). A machine
//! with a keyboard controller ends at the first pulse. On a machine without one, a read returns 0xff, so the guest
//! polls 655,360 times.
//!
//! Only the pulses are recorded. The filter is evaluated at each access of the guest to an I/O port, which makes each
//! access slower.

use std::os::fd::BorrowedFd;

use microbench_study::engine::guest_settings::RESET_PULSES;

use crate::host::counters::perf::Rings;

/// The perf events of a VMM's reset pulses.
#[derive(Debug)]
pub struct ResetPulses {
    rings: Rings,
    /// Times so far, ns on CLOCK_MONOTONIC, sorted.
    times: Vec<u64>,
}

impl ResetPulses {
    /// Opens the events for the next child of the calling thread.
    ///
    /// # Errors
    /// Why they cannot be opened, one line.
    pub fn open_for_next_child() -> Result<Self, String> {
        let filter = "rw == 1 && port == 0x64 && val == 0xfe";
        let rings = Rings::open_for_next_child("kvm/kvm_pio", Some(filter), true)?;
        Ok(Self { rings, times: Vec::new() })
    }

    /// Descriptors that are readable when there are new pulses.
    #[must_use]
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.rings.descriptors().collect()
    }

    /// Times of all pulses so far, ns on CLOCK_MONOTONIC, sorted.
    pub fn read(&mut self) -> &[u64] {
        self.times.extend(self.rings.read_times());
        self.times.sort_unstable();
        &self.times
    }

    /// Times of the first and the last pulse, ns on CLOCK_MONOTONIC. `None` for a pulse that was not sent, and for the
    /// last one if the VM `failed` before it.
    pub fn first_and_last(&mut self, failed: bool) -> (Option<u64>, Option<u64>) {
        first_and_last(self.read(), failed)
    }

    /// Whether the guest has sent its last pulse.
    pub fn are_complete(&mut self) -> bool {
        self.read().len() >= RESET_PULSES
    }
}

fn first_and_last(times: &[u64], failed: bool) -> (Option<u64>, Option<u64>) {
    let complete = !failed || times.len() >= RESET_PULSES;
    (times.first().copied(), times.last().copied().filter(|_| complete))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_pulse_of_a_failed_vm_is_unknown_before_the_tenth() {
        let ten: Vec<u64> = (1..=10).collect();
        assert_eq!(first_and_last(&ten, true), (Some(1), Some(10)));
        assert_eq!(first_and_last(&ten[..9], true), (Some(1), None));
        // A machine with a keyboard controller ends at the first pulse.
        assert_eq!(first_and_last(&ten[..1], false), (Some(1), Some(1)));
        assert_eq!(first_and_last(&[], false), (None, None));
        assert_eq!(first_and_last(&[], true), (None, None));
    }
}
