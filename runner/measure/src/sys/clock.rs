//! The clock of all events: `CLOCK_MONOTONIC` of the executing host, in nanoseconds.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// An instant on `CLOCK_MONOTONIC`, nanoseconds.
///
/// ```
/// use std::time::Duration;
///
/// use microbench_measure::sys::clock::Instant;
///
/// let deadline = Instant::now().after(Duration::from_secs(60));
/// assert!(!deadline.passed() && deadline.remaining() > Duration::from_secs(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub u64);

impl Instant {
    /// # Panics
    /// If the kernel has no `CLOCK_MONOTONIC`. Every Linux kernel has it.
    #[must_use]
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC can be read");
        Self(time.tv_sec().unsigned_abs() * 1_000_000_000 + time.tv_nsec().unsigned_abs())
    }

    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Time from now until this instant; zero if it has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(Self::now().0))
    }

    #[must_use]
    pub fn passed(self) -> bool {
        Self::now() >= self
    }
}
