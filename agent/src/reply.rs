//! Functions that the workloads share.

use std::time::Instant;

use microbench_agent::workload::WorkloadReply;

/// A reply without the fields that only some kinds have.
pub(crate) fn new_reply(duration_ns: u64, checksum: String) -> WorkloadReply {
    WorkloadReply { duration_ns, checksum, backend: None, operation: None }
}

/// Nanoseconds since `start`.
pub(crate) fn elapsed_ns(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
