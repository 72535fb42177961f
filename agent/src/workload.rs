//! Workloads of the agent: requests, replies, and the checksums that verify that a workload was executed.
//!
//! `POST /work` executes a workload that the guest times. The host times the traffic of the other routes: `GET /file`,
//! `GET /stream` and `POST /stream`.
//!
//! ```
//! use microbench_agent::workload::{WorkloadKind, WorkloadRequest};
//!
//! let request = WorkloadRequest {
//!     kind: WorkloadKind::MemoryRead,
//!     bytes: 4096,
//!     rounds: 3,
//!     warmup: 1,
//!     seed: 7,
//!     disk: None,
//! };
//! assert_eq!(request.check(), Ok(()));
//! // The host compares this checksum with that of the reply.
//! assert_eq!(request.expected_checksum().len(), 16);
//! ```

pub use microbench_formats::workload::WorkloadKind;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::fill_pseudo_random;

/// Maximum number of bytes per round.
pub const MOST_BYTES: u64 = 256 << 20;
/// Maximum number of measured rounds, and of warm-up rounds.
pub const MOST_ROUNDS: u32 = 1_000_000;
/// Maximum number of operations of a disk workload over all rounds; the duration of each operation is kept in memory.
pub const MOST_OPERATIONS: u64 = 1 << 20;
/// The smallest and the largest block of a disk workload; a block is a power of two.
pub const BLOCKS: (u64, u64) = (512, 1 << 20);
/// Size of a page of memory, in bytes.
pub const PAGE_BYTES: u64 = 4096;
/// Size of a word in which memory workloads read and write, in bytes.
pub const WORD_BYTES: u64 = 8;

/// Body of `POST /work`.
///
/// ```
/// use microbench_agent::workload::WorkloadRequest;
///
/// let body = r#"{"kind": "memory-copy", "bytes": 65536, "rounds": 3, "seed": 1}"#;
/// let request: WorkloadRequest = serde_json::from_str(body)?;
/// assert_eq!((request.rounds, request.warmup), (3, 0));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadRequest {
    /// The kind of workload; not a kind that the host times.
    pub kind: WorkloadKind,
    /// Bytes per round: 1 to [`MOST_BYTES`], and a multiple of [`WorkloadRequest::alignment`].
    pub bytes: u64,
    /// Measured rounds, 1 to [`MOST_ROUNDS`].
    pub rounds: u32,
    /// Unmeasured rounds before them, at most [`MOST_ROUNDS`].
    #[serde(default)]
    pub warmup: u32,
    /// Seed of the data, and of the order of random blocks.
    pub seed: u64,
    /// How the disk is accessed; `None` unless the kind is a disk workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskRequest>,
}

/// How a disk workload accesses the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskRequest {
    /// Offset of the region on the disk in bytes, a multiple of the block. For [`WorkloadKind::DiskRead`], the host has
    /// filled the region with [`fill_pseudo_random`].
    pub offset: u64,
    /// Size of a block in bytes, a power of two within [`BLOCKS`].
    pub block: u64,
    /// Whether to bypass the guest's page cache (`O_DIRECT`). Otherwise the region is dropped from the cache before
    /// each round of reads.
    pub direct: bool,
    /// Whether to access the blocks in random order instead of sequentially.
    pub random: bool,
}

/// Response to `POST /work`. Durations are measured on the guest's `CLOCK_MONOTONIC`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadReply {
    /// Duration of all measured rounds in nanoseconds, without preparation and checksum.
    pub duration_ns: u64,
    /// Checksum of the data; [`WorkloadRequest::expected_checksum`] if the workload was executed correctly.
    pub checksum: String,
    /// Implementation of the hash, `sha-ni` or `soft`; `None` unless the kind is [`WorkloadKind::Sha256`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// Duration of one operation; `None` unless the kind is a disk workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Latency>,
}

/// Quantiles of the durations of operations in nanoseconds, by the nearest rank.
///
/// ```
/// use microbench_agent::workload::Latency;
///
/// let latency = Latency::from_durations((1..=100).collect());
/// assert_eq!(latency, Some(Latency { p50_ns: 50, p99_ns: 99 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// Median.
    pub p50_ns: u64,
    /// 99th percentile; the maximum of fewer than 100 operations.
    pub p99_ns: u64,
}

impl Latency {
    /// The quantiles of these durations; `None` for an empty list.
    #[must_use]
    pub fn from_durations(mut times_ns: Vec<u64>) -> Option<Self> {
        times_ns.sort_unstable();
        let at = |percent: usize| {
            times_ns.get(times_ns.len().saturating_mul(percent).div_ceil(100).saturating_sub(1)).copied()
        };
        Some(Self { p50_ns: at(50)?, p99_ns: at(99)? })
    }
}

/// Response to `POST /stream`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamReply {
    /// Number of received bytes.
    pub bytes: u64,
    /// [`sum`] of the bytes as [`hex`].
    pub checksum: String,
}

impl WorkloadRequest {
    /// The number that `bytes` must be a multiple of.
    #[must_use]
    pub fn alignment(&self) -> u64 {
        match self.kind {
            WorkloadKind::Sha256
            | WorkloadKind::Copy
            | WorkloadKind::Http
            | WorkloadKind::TcpSend
            | WorkloadKind::TcpReceive => 1,
            WorkloadKind::MemoryRead | WorkloadKind::MemoryWrite | WorkloadKind::MemoryCopy => WORD_BYTES,
            WorkloadKind::PageTouch => PAGE_BYTES,
            WorkloadKind::DiskRead | WorkloadKind::DiskWrite => self.disk.map_or(1, |disk| disk.block),
        }
    }

    /// Verifies that the request is within the limits of the agent.
    ///
    /// # Errors
    /// A message that names the invalid field.
    pub fn check(&self) -> Result<(), String> {
        if self.kind.is_timed_by_host() {
            return Err(format!("POST /work does not support `{}`: the host times it", self.kind));
        }
        let on_disk = matches!(self.kind, WorkloadKind::DiskRead | WorkloadKind::DiskWrite);
        if on_disk != self.disk.is_some() {
            return Err("`disk` is required for disk workloads and not supported by other workloads".into());
        }
        if !(1..=MOST_BYTES).contains(&self.bytes) {
            return Err(format!("`bytes` must be between 1 and {MOST_BYTES}"));
        }
        if !(1..=MOST_ROUNDS).contains(&self.rounds) || self.warmup > MOST_ROUNDS {
            return Err(format!("`rounds` must be between 1 and {MOST_ROUNDS}, `warmup` at most {MOST_ROUNDS}"));
        }
        if let Some(disk) = self.disk {
            if !disk.block.is_power_of_two() || !(BLOCKS.0..=BLOCKS.1).contains(&disk.block) {
                return Err(format!("`block` must be a power of two between {} and {}", BLOCKS.0, BLOCKS.1));
            }
            if !disk.offset.is_multiple_of(disk.block) || disk.offset.checked_add(self.bytes).is_none() {
                return Err("`offset` must be a multiple of `block`".into());
            }
            if (self.bytes / disk.block).saturating_mul(self.rounds.into()) > MOST_OPERATIONS {
                return Err(format!("the workload has more than {MOST_OPERATIONS} operations"));
            }
        }
        if !self.bytes.is_multiple_of(self.alignment()) {
            return Err(format!("`bytes` must be a multiple of {}", self.alignment()));
        }
        Ok(())
    }

    /// The checksum of a correct reply.
    ///
    /// It is the SHA-256 of the buffer for [`WorkloadKind::Sha256`], and that of no data for [`WorkloadKind::Copy`],
    /// which the paper's tool printed. For [`WorkloadKind::MemoryRead`] it is the [`sum`] of the words, for all other
    /// kinds [`fnv1a_words`] of the final data. It is empty for a kind that the host times.
    #[must_use]
    pub fn expected_checksum(&self) -> String {
        let size = usize::try_from(self.bytes).unwrap_or(0);
        let buffer = |seed| pseudo_random(size, seed);
        match self.kind {
            WorkloadKind::Sha256 => sha256(&buffer(self.seed)),
            WorkloadKind::Copy => sha256(&[]),
            WorkloadKind::MemoryRead => hex(sum(&buffer(self.seed))),
            WorkloadKind::MemoryWrite => {
                let word = self.written_word(self.warmup.saturating_add(self.rounds).saturating_sub(1));
                hex((0..self.bytes / WORD_BYTES)
                    .fold(FNV_OFFSET_BASIS, |state, _| fnv1a_words(state, &word.to_le_bytes())))
            }
            WorkloadKind::PageTouch => hex((0..self.bytes / PAGE_BYTES)
                .fold(FNV_OFFSET_BASIS, |state, page| fnv1a_words(state, &self.page_word(page).to_le_bytes()))),
            WorkloadKind::MemoryCopy | WorkloadKind::DiskRead => hex(fnv1a_words(FNV_OFFSET_BASIS, &buffer(self.seed))),
            WorkloadKind::DiskWrite => hex(fnv1a_words(FNV_OFFSET_BASIS, &buffer(self.write_seed()))),
            WorkloadKind::Http | WorkloadKind::TcpSend | WorkloadKind::TcpReceive => String::new(),
        }
    }

    /// The word that [`WorkloadKind::MemoryWrite`] writes in `round`.
    #[must_use]
    pub fn written_word(&self, round: u32) -> u64 {
        self.seed.wrapping_add(u64::from(round))
    }

    /// The word that [`WorkloadKind::PageTouch`] writes into `page`.
    #[must_use]
    pub fn page_word(&self, page: u64) -> u64 {
        self.seed.wrapping_add(page)
    }

    /// Seed of the bytes that [`WorkloadKind::DiskWrite`] writes. They differ from the data that the host puts into the
    /// region.
    #[must_use]
    pub fn write_seed(&self) -> u64 {
        self.seed.wrapping_add(1)
    }
}

/// A buffer filled by [`fill_pseudo_random`].
#[must_use]
pub fn pseudo_random(bytes: usize, seed: u64) -> Vec<u8> {
    let mut buffer = vec![0; bytes];
    fill_pseudo_random(&mut buffer, seed);
    buffer
}

/// The sum of all little-endian 64-bit words modulo 2^64. An incomplete last word is padded with zeros.
#[must_use]
pub fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words.iter().fold(0_u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
    sum.wrapping_add(last_word(rest))
}

/// The initial state of [`fnv1a_words`]: the offset basis of 64-bit FNV-1a.
pub const FNV_OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a (Fowler, Noll and Vo, draft-eastlake-fnv) over 64-bit words instead of bytes. Unlike [`sum`], it depends on
/// their order.
#[must_use]
pub fn fnv1a_words(state: u64, bytes: &[u8]) -> u64 {
    let step = |state: u64, word: u64| (state ^ word).wrapping_mul(0x0000_0100_0000_01b3);
    let (words, rest) = bytes.as_chunks::<8>();
    let state = words.iter().fold(state, |state, word| step(state, u64::from_le_bytes(*word)));
    if rest.is_empty() { state } else { step(state, last_word(rest)) }
}

fn last_word(rest: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(word)
}

/// A 64-bit checksum as 16 hex digits.
#[must_use]
pub fn hex(checksum: u64) -> String {
    format!("{checksum:016x}")
}

/// The SHA-256 of `bytes` as 64 hex digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The data of stream workloads in both directions: a block of pseudo-random bytes that repeats.
///
/// ```
/// use microbench_agent::workload::{Stream, sum};
///
/// let stream = Stream::new();
/// assert_eq!(stream.next(10).len(), 10);
/// assert_eq!(stream.sum(10), sum(stream.next(10)));
/// ```
#[derive(Debug)]
pub struct Stream(Vec<u8>);

impl Stream {
    /// Size of the block in bytes, a multiple of a word.
    pub const BLOCK: usize = 64 << 10;

    #[must_use]
    pub fn new() -> Self {
        Self(pseudo_random(Self::BLOCK, crate::INDEX_SEED))
    }

    /// The next bytes of a stream with `left` remaining bytes: a block, or the remaining bytes.
    #[must_use]
    pub fn next(&self, left: u64) -> &[u8] {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(Self::BLOCK);
        &self.0[..length]
    }

    /// [`sum`] of the first `bytes` bytes of the stream.
    #[must_use]
    pub fn sum(&self, bytes: u64) -> u64 {
        let blocks = bytes / Self::BLOCK as u64;
        sum(&self.0).wrapping_mul(blocks).wrapping_add(sum(self.next(bytes % Self::BLOCK as u64)))
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: DiskRequest = DiskRequest { offset: 8 << 20, block: 4096, direct: true, random: false };

    fn request(kind: WorkloadKind, bytes: u64) -> WorkloadRequest {
        let disk = matches!(kind, WorkloadKind::DiskRead | WorkloadKind::DiskWrite).then_some(DISK);
        WorkloadRequest { kind, bytes, rounds: 3, warmup: 1, seed: 7, disk }
    }

    #[test]
    fn fnv1a_depends_on_the_order_of_words_and_sum_does_not() {
        let (one, other) =
            ([1_u64.to_le_bytes(), 2_u64.to_le_bytes()].concat(), [2_u64.to_le_bytes(), 1_u64.to_le_bytes()].concat());
        assert_eq!((sum(&one), sum(&other), sum(&[])), (3, 3, 0));
        assert_ne!(fnv1a_words(FNV_OFFSET_BASIS, &one), fnv1a_words(FNV_OFFSET_BASIS, &other));
        assert_eq!((sum(&[1, 1]), fnv1a_words(FNV_OFFSET_BASIS, &[])), (257, FNV_OFFSET_BASIS));
        assert_ne!(fnv1a_words(FNV_OFFSET_BASIS, &[1]), fnv1a_words(FNV_OFFSET_BASIS, &[1, 0, 0, 0, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn stream_sum_matches_the_sum_of_its_bytes() {
        let stream = Stream::new();
        for bytes in [1, 8, 65_535, 65_536, 65_537, 200_000] {
            let mut made = Vec::new();
            while made.len() < bytes {
                made.extend_from_slice(stream.next((bytes - made.len()) as u64));
            }
            assert_eq!(stream.sum(bytes as u64), sum(&made), "{bytes}");
        }
    }

    #[test]
    fn quantiles_use_the_nearest_rank() {
        assert_eq!(Latency::from_durations(Vec::new()), None);
        assert_eq!(Latency::from_durations(vec![5]), Some(Latency { p50_ns: 5, p99_ns: 5 }));
        assert_eq!(Latency::from_durations((1..=100).rev().collect()), Some(Latency { p50_ns: 50, p99_ns: 99 }));
        assert_eq!(Latency::from_durations((1..=99).collect()), Some(Latency { p50_ns: 50, p99_ns: 99 }));
    }

    #[test]
    fn request_beyond_a_limit_is_rejected() {
        for (kind, bytes) in [
            (WorkloadKind::Sha256, 1),
            (WorkloadKind::MemoryRead, 8),
            (WorkloadKind::PageTouch, 4096),
            (WorkloadKind::DiskRead, 8192),
        ] {
            assert_eq!(request(kind, bytes).check(), Ok(()), "{kind:?}");
            assert_eq!(request(kind, MOST_BYTES).check(), Ok(()), "{kind:?}");
            assert!(request(kind, 0).check().is_err() && request(kind, MOST_BYTES + 4096).check().is_err(), "{kind:?}");
            assert!(WorkloadRequest { rounds: MOST_ROUNDS + 1, ..request(kind, bytes) }.check().is_err());
            assert!(WorkloadRequest { rounds: 0, ..request(kind, bytes) }.check().is_err());
            assert!(WorkloadRequest { warmup: MOST_ROUNDS + 1, ..request(kind, bytes) }.check().is_err());
        }
        for kind in [WorkloadKind::Http, WorkloadKind::TcpSend, WorkloadKind::TcpReceive] {
            assert!(request(kind, 1).check().is_err_and(|error| error.contains("the host times it")), "{kind}");
        }
        assert!(
            request(WorkloadKind::MemoryCopy, 12).check().is_err()
                && request(WorkloadKind::PageTouch, 4104).check().is_err()
        );
        let disk = |disk| WorkloadRequest { disk, ..request(WorkloadKind::DiskWrite, 1 << 20) }.check();
        assert_eq!(disk(Some(DISK)), Ok(()));
        assert!(
            disk(None).is_err()
                && WorkloadRequest { disk: Some(DISK), ..request(WorkloadKind::Sha256, 1) }.check().is_err()
        );
        for wrong in [
            DiskRequest { block: 0, ..DISK },
            DiskRequest { block: 3000, ..DISK },
            DiskRequest { block: 2 << 20, ..DISK },
            DiskRequest { offset: 100, ..DISK },
            DiskRequest { offset: u64::MAX - 4095, ..DISK },
        ] {
            assert!(disk(Some(wrong)).is_err(), "{wrong:?}");
        }
        assert!(WorkloadRequest { rounds: MOST_ROUNDS, ..request(WorkloadKind::DiskRead, 1 << 20) }.check().is_err());
    }
}
