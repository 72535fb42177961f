//! Counters and traces of the host's kernel, for a VMM or the whole host.

pub mod counts;
pub mod memory;
pub mod perf;
pub mod perf_counts;
pub mod reset_pulses;
pub mod smaps;
pub mod strace;
pub mod trace;
