//! What the answers to all workloads have in common.

use std::time::Instant;

use microbench_agent::work::WorkReply;

/// An answer without what only some kinds tell.
pub(crate) fn reply(duration_ns: u64, checksum: String) -> WorkReply {
    WorkReply { duration_ns, checksum, backend: None, operation: None }
}

/// Nanoseconds since then.
pub(crate) fn since(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
