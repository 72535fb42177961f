//! When the agent began to listen and when it last answered `GET /`, told on the clock of the kernel's log.
//!
//! The two are taken on CLOCK_MONOTONIC, which costs a timed window nothing. That clock stood still while the kernel booted without
//! a tick, so it lags behind the log's by a constant; a record that [`note`] puts into the log carries both, and gives it.

use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use microbench_agent::kernel_log::CLOCK_RECORD;
use nix::time::{ClockId, clock_gettime};

static LISTENING: AtomicU64 = AtomicU64::new(0);
static ANSWERED: AtomicU64 = AtomicU64::new(0);

/// The agent listens from now on.
pub(crate) fn listening() {
    LISTENING.store(now_ns(), Ordering::Relaxed);
}

/// `GET /` is answered now.
pub(crate) fn answered() {
    ANSWERED.store(now_ns(), Ordering::Relaxed);
}

/// Writes the record that relates the clocks, of a severity that `quiet` keeps off the console. A guest that refuses it relates none.
pub(crate) fn note() {
    let log = File::options().write(true).open("/dev/kmsg");
    drop(log.and_then(|mut log| log.write_all(format!("<14>{CLOCK_RECORD}{}\n", now_ns()).as_bytes())));
}

/// Both instants in ns on the log's clock, which is `lead` ns ahead of CLOCK_MONOTONIC; `None` for what has not happened.
pub(crate) fn on_kernel_clock(lead: i64) -> (Option<u64>, Option<u64>) {
    let of = |instant: &AtomicU64| shifted(instant.load(Ordering::Relaxed), lead);
    (of(&LISTENING), of(&ANSWERED))
}

fn shifted(instant: u64, lead: i64) -> Option<u64> {
    (instant > 0).then(|| instant.checked_add_signed(lead)).flatten()
}

fn now_ns() -> u64 {
    let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) else { return 0 };
    now.tv_sec().unsigned_abs() * 1_000_000_000 + now.tv_nsec().unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_moves_by_the_lead_and_none_stays_none() {
        assert_eq!(shifted(1_000, 250), Some(1_250));
        assert_eq!(shifted(1_000, -250), Some(750));
        assert_eq!((shifted(0, 250), shifted(1_000, -1_001)), (None, None));
    }
}
