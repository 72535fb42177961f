//! Instants of `listen(2)` and of the last response to `GET /`, on the clock of the kernel log.
//!
//! They are read from `CLOCK_MONOTONIC`, which costs almost nothing in a timed window. This clock does not advance
//! until the kernel has a tick during boot, so it lags behind the clock of the log by a constant.
//! [`write_clock_record`] writes a record with both clocks to the log, from which the lag is computed.

use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use microbench_agent::kernel_log::CLOCK_RECORD;
use nix::time::{ClockId, clock_gettime};

static LISTENING: AtomicU64 = AtomicU64::new(0);
static ANSWERED: AtomicU64 = AtomicU64::new(0);

/// Records the instant of `listen(2)`.
pub(crate) fn record_listening() {
    LISTENING.store(now_ns(), Ordering::Relaxed);
}

/// Records the instant of a response to `GET /`.
pub(crate) fn record_response() {
    ANSWERED.store(now_ns(), Ordering::Relaxed);
}

/// Writes the record that relates the clocks. Its severity keeps it off the console if the kernel parameter `quiet` is
/// set. Failures are ignored: the instants are then unknown on the clock of the log.
pub(crate) fn write_clock_record() {
    let log = File::options().write(true).open("/dev/kmsg");
    drop(log.and_then(|mut log| log.write_all(format!("<14>{CLOCK_RECORD}{}\n", now_ns()).as_bytes())));
}

/// Both instants in ns on the clock of the log, which leads `CLOCK_MONOTONIC` by `lead` ns; `None` for an instant not
/// recorded yet.
pub(crate) fn on_kernel_clock(lead: i64) -> (Option<u64>, Option<u64>) {
    let time_of = |instant: &AtomicU64| shifted(instant.load(Ordering::Relaxed), lead);
    (time_of(&LISTENING), time_of(&ANSWERED))
}

fn shifted(instant: u64, lead: i64) -> Option<u64> {
    (instant > 0).then(|| instant.checked_add_signed(lead)).flatten()
}

fn now_ns() -> u64 {
    let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) else { return 0 };
    now.tv_sec().unsigned_abs().saturating_mul(1_000_000_000).saturating_add(now.tv_nsec().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_shifted_by_the_lead() {
        assert_eq!(shifted(1_000, 250), Some(1_250));
        assert_eq!(shifted(1_000, -250), Some(750));
        assert_eq!((shifted(0, 250), shifted(1_000, -1_001)), (None, None));
    }
}
