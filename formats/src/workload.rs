//! Workloads of guests.

use serde::{Deserialize, Serialize};

/// A workload that a guest executes. Its readings are named `workload.<metric>.<value>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// [`Metric::name`](crate::metric::Metric::name) of the metric that defines the workload.
    pub metric: String,
    pub kind: WorkloadKind,
    /// Bytes per round.
    pub bytes: u64,
    /// Measured rounds.
    pub rounds: u32,
    /// Unmeasured rounds before them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub warmup: u32,
    /// How the disk is accessed; `None` unless the kind is a disk workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskAccess>,
    /// Number of concurrent connections; `None` unless the kind is [`WorkloadKind::Http`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(rounds: &u32) -> bool {
    *rounds == 0
}

/// How a disk workload accesses the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskAccess {
    /// Bytes per read or write.
    pub block: u64,
    /// Bypasses the guest's page cache (`O_DIRECT`).
    pub direct: bool,
    /// Accesses the blocks in random order instead of sequentially.
    pub random: bool,
}

#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum WorkloadKind {
    /// Hashes a buffer of pseudo-random bytes with SHA-256 in each round.
    Sha256,
    /// Allocates a buffer and copies the data into it in each round, without hashing.
    ///
    /// The 2019 paper describes hashing, but its tool did this: it called Go's `h.Sum(buffer)`. That function copies
    /// its argument and appends the digest of the data written to `h` before; nothing was written to `h`.
    Copy,
    /// Reads every 64-bit word of a buffer.
    MemoryRead,
    /// Writes every 64-bit word of a buffer.
    MemoryWrite,
    /// Copies a buffer to another buffer.
    MemoryCopy,
    /// Maps memory in each round and touches every page.
    PageTouch,
    /// Reads every block of a region of the disk.
    DiskRead,
    /// Writes every block of a region of the disk, then flushes the disk.
    DiskWrite,
    /// Serves a static file over HTTP; a round is one request.
    Http,
    /// Sends data to the host over one TCP connection.
    TcpSend,
    /// Receives data from the host over one TCP connection.
    TcpReceive,
}

impl WorkloadKind {
    /// Whether the host measures the workload. Such a workload is network traffic; the guest needs no request to start
    /// it.
    #[must_use]
    pub const fn is_timed_by_host(self) -> bool {
        matches!(self, Self::Http | Self::TcpSend | Self::TcpReceive)
    }
}
