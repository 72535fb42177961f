//! What the host's kernel counts of a VMM and of the whole host.

pub mod counts;
pub mod memory;
pub mod smaps;
pub mod strace;
pub mod trace;
