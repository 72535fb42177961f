//! Counters and traces of the host's kernel, for a VMM or the whole host.

pub mod counts;
pub mod memory;
pub mod smaps;
pub mod strace;
pub mod trace;
