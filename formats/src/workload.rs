//! What a guest is made to do.

use serde::{Deserialize, Serialize};

/// Work that a guest is given; its readings are `workload.<metric>.<value>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// [`Metric::name`] of the metric that reports it.
    pub metric: String,
    /// What is done.
    pub kind: WorkloadKind,
    /// Bytes a round.
    pub bytes: u64,
    /// Rounds that count.
    pub rounds: u32,
    /// Rounds before them that do not.
    #[serde(default, skip_serializing_if = "none")]
    pub warmup: u32,
    /// How the disk is worked on; of disk work alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskAccess>,
    /// Connections at once; of [`WorkloadKind::Http`] alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn none(rounds: &u32) -> bool {
    *rounds == 0
}

/// How a workload works on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskAccess {
    /// Bytes of one read or write.
    pub block: u64,
    /// Past the guest's page cache (`O_DIRECT`).
    pub direct: bool,
    /// The blocks in a random order, else one after the other.
    pub random: bool,
}

/// What a workload does.
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
    /// SHA-256 over one buffer of pseudo-random bytes, `rounds` times.
    Sha256,
    /// One allocation and copy of the buffer, `rounds` times, nothing hashed: what the 2019 paper's tool did where its text says
    /// hashing. It called Go's `h.Sum(buffer)`, which appends the digest of what was written before, here nothing, to a copy of
    /// its argument.
    Copy,
    /// Every word of a buffer is read.
    MemoryRead,
    /// Every word of a buffer is written.
    MemoryWrite,
    /// A buffer is copied to another one.
    MemoryCopy,
    /// Memory is mapped anew and each of its pages touched.
    PageTouch,
    /// Every block of a region of the disk is read.
    DiskRead,
    /// Every block of a region of the disk is written, and the disk told to keep them.
    DiskWrite,
    /// The guest serves a static file over HTTP; a round is one request.
    Http,
    /// The guest sends over one TCP connection.
    TcpSend,
    /// The guest receives over one TCP connection.
    TcpReceive,
}

impl WorkloadKind {
    /// Whether the host times it: it is the traffic of the guest's service, and no request asks the guest for it.
    #[must_use]
    pub const fn is_timed_by_host(self) -> bool {
        matches!(self, Self::Http | Self::TcpSend | Self::TcpReceive)
    }
}
