//! Work that the agent is asked to do: what is asked, what is answered, and what the checksum of work that was done must be.
//!
//! Work that the guest times itself is asked for by `POST /work`. What the host times is the traffic of other routes:
//! `GET /file`, `GET /stream` and `POST /stream`.

pub use microbench_formats::workload::WorkloadKind;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::fill_pseudo_random;

/// Most bytes of one round of work.
pub const MOST_BYTES: u64 = 256 << 20;
/// Most rounds, and most of those that come before them and do not count.
pub const MOST_ROUNDS: u32 = 1_000_000;
/// Most operations of disk work over all rounds, each of whose times is kept until the end.
pub const MOST_OPERATIONS: u64 = 1 << 20;
/// The smallest and the largest block of disk work; every power of two between them may be one.
pub const BLOCKS: (u64, u64) = (512, 1 << 20);
/// Bytes of a page of memory.
pub const PAGE_BYTES: u64 = 4096;
/// Bytes of a word, in which memory is read and written.
pub const WORD_BYTES: u64 = 8;

/// Body of `POST /work`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkRequest {
    /// What is done in a round; one that the guest times itself.
    pub kind: WorkloadKind,
    /// Bytes of a round, 1 to [`MOST_BYTES`] and a multiple of [`WorkRequest::granule`].
    pub bytes: u64,
    /// Rounds that count, 1 to [`MOST_ROUNDS`].
    pub rounds: u32,
    /// Rounds before them that do not count, at most [`MOST_ROUNDS`].
    #[serde(default)]
    pub warmup: u32,
    /// Seed of the bytes that are worked on, and of the order of random blocks.
    pub seed: u64,
    /// Where and how the disk is worked on; of disk work alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskRequest>,
}

/// Where and how the disk is worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskRequest {
    /// First byte of the region on the disk, a multiple of the block. [`WorkloadKind::DiskRead`] finds the bytes of
    /// [`fill_pseudo_random`] there.
    pub offset: u64,
    /// Bytes of a block, a power of two within [`BLOCKS`].
    pub block: u64,
    /// Past the guest's page cache (`O_DIRECT`), or through it, from which the region is dropped before each round of reads.
    pub direct: bool,
    /// The blocks in a random order, else one after the other.
    pub random: bool,
}

/// Answer to `POST /work`. Times are of the guest's `CLOCK_MONOTONIC`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkReply {
    /// Time of all rounds that count, nanoseconds; what prepares and checks them is outside.
    pub duration_ns: u64,
    /// What [`WorkRequest::checksum`] says, when the work was done.
    pub checksum: String,
    /// What hashes: `sha-ni` or `soft`, by the guest's CPUID; of [`WorkloadKind::Sha256`] alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// Time of one operation; of disk work alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Latency>,
}

/// Quantiles of the times of operations, by the nearest rank, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// The median.
    pub p50_ns: u64,
    /// The 99th percentile; the largest of fewer than 100.
    pub p99_ns: u64,
}

impl Latency {
    /// The quantiles of these times; `None` of none.
    #[must_use]
    pub fn of(mut times_ns: Vec<u64>) -> Option<Self> {
        times_ns.sort_unstable();
        let at = |percent: usize| times_ns.get((times_ns.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Self { p50_ns: at(50)?, p99_ns: at(99)? })
    }
}

/// Answer to `POST /stream`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamReply {
    /// Bytes that came.
    pub bytes: u64,
    /// [`sum`] of them, as [`hex`] writes it.
    pub checksum: String,
}

impl WorkRequest {
    /// What `bytes` must be a multiple of.
    #[must_use]
    pub fn granule(&self) -> u64 {
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

    /// What the agent takes.
    ///
    /// # Errors
    /// What it refuses, for the one who asked.
    pub fn check(&self) -> Result<(), String> {
        if self.kind.is_timed_by_host() {
            return Err(format!("`{}` is not done by POST /work: the host times it", self.kind));
        }
        let on_disk = matches!(self.kind, WorkloadKind::DiskRead | WorkloadKind::DiskWrite);
        if on_disk != self.disk.is_some() {
            return Err("disk work needs `disk`, and no other has it".into());
        }
        if !(1..=MOST_BYTES).contains(&self.bytes) {
            return Err(format!("`bytes` must be between 1 and {MOST_BYTES}"));
        }
        if !(1..=MOST_ROUNDS).contains(&self.rounds) || self.warmup > MOST_ROUNDS {
            return Err(format!("`rounds` must be between 1 and {MOST_ROUNDS}, `warmup` at most that"));
        }
        if let Some(disk) = self.disk {
            if !disk.block.is_power_of_two() || !(BLOCKS.0..=BLOCKS.1).contains(&disk.block) {
                return Err(format!("`block` must be a power of two between {} and {}", BLOCKS.0, BLOCKS.1));
            }
            if !disk.offset.is_multiple_of(disk.block) || disk.offset.checked_add(self.bytes).is_none() {
                return Err("`offset` must be a multiple of `block`".into());
            }
            if self.bytes / disk.block * u64::from(self.rounds) > MOST_OPERATIONS {
                return Err(format!("more than {MOST_OPERATIONS} operations"));
            }
        }
        if !self.bytes.is_multiple_of(self.granule()) {
            return Err(format!("`bytes` must be a multiple of {}", self.granule()));
        }
        Ok(())
    }

    /// What the checksum of this work must be: SHA-256 of the buffer for [`WorkloadKind::Sha256`], of nothing for [`WorkloadKind::Copy`],
    /// which is what the paper's tool printed; the [`sum`] of what was read for [`WorkloadKind::MemoryRead`]; for all others [`fold`]
    /// over what lies there at the end. Empty for a kind that the host times, which the agent refuses.
    #[must_use]
    pub fn checksum(&self) -> String {
        let size = usize::try_from(self.bytes).unwrap_or(0);
        let buffer = |seed| pseudo_random(size, seed);
        match self.kind {
            WorkloadKind::Sha256 => sha256(&buffer(self.seed)),
            WorkloadKind::Copy => sha256(&[]),
            WorkloadKind::MemoryRead => hex(sum(&buffer(self.seed))),
            WorkloadKind::MemoryWrite => {
                let word = self.word(self.warmup.saturating_add(self.rounds).saturating_sub(1));
                hex((0..self.bytes / WORD_BYTES).fold(FOLD, |state, _| fold(state, &word.to_le_bytes())))
            }
            WorkloadKind::PageTouch => {
                hex((0..self.bytes / PAGE_BYTES).fold(FOLD, |state, page| fold(state, &self.mark(page).to_le_bytes())))
            }
            WorkloadKind::MemoryCopy | WorkloadKind::DiskRead => hex(fold(FOLD, &buffer(self.seed))),
            WorkloadKind::DiskWrite => hex(fold(FOLD, &buffer(self.written()))),
            WorkloadKind::Http | WorkloadKind::TcpSend | WorkloadKind::TcpReceive => String::new(),
        }
    }

    /// The word that [`WorkloadKind::MemoryWrite`] writes in this round.
    #[must_use]
    pub fn word(&self, round: u32) -> u64 {
        self.seed.wrapping_add(u64::from(round))
    }

    /// The word that [`WorkloadKind::PageTouch`] writes into this page.
    #[must_use]
    pub fn mark(&self, page: u64) -> u64 {
        self.seed.wrapping_add(page)
    }

    /// Seed of the bytes that [`WorkloadKind::DiskWrite`] writes: others than a read of the same seed would find there.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.seed.wrapping_add(1)
    }
}

/// Bytes that both sides know.
#[must_use]
pub fn pseudo_random(bytes: usize, seed: u64) -> Vec<u8> {
    let mut buffer = vec![0; bytes];
    fill_pseudo_random(&mut buffer, seed);
    buffer
}

/// The words of a text of bytes added up, little-endian, modulo 2^64; a last word that is not whole is filled up with zeros.
#[must_use]
pub fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words.iter().fold(0_u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
    sum.wrapping_add(last_word(rest))
}

/// What [`fold`] begins with: the offset basis of FNV-1a.
pub const FOLD: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a (Fowler, Noll and Vo, draft-eastlake-fnv) over words in place of bytes: the order of the words matters to it.
#[must_use]
pub fn fold(state: u64, bytes: &[u8]) -> u64 {
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

/// A checksum of 64 bits as text.
#[must_use]
pub fn hex(checksum: u64) -> String {
    format!("{checksum:016x}")
}

/// SHA-256 as text.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What flows over a connection in either direction: one block of pseudo-random bytes, again and again.
#[derive(Debug)]
pub struct Stream(Vec<u8>);

impl Stream {
    /// Bytes of the block; whole words.
    pub const BLOCK: usize = 64 << 10;

    /// The stream of both sides.
    #[must_use]
    pub fn new() -> Self {
        Self(pseudo_random(Self::BLOCK, crate::INDEX_SEED))
    }

    /// The bytes that come next when `left` are left to come: a block or less.
    #[must_use]
    pub fn next(&self, left: u64) -> &[u8] {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(Self::BLOCK);
        &self.0[..length]
    }

    /// [`sum`] of the stream's first `bytes` bytes.
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

    fn work(kind: WorkloadKind, bytes: u64) -> WorkRequest {
        let disk = matches!(kind, WorkloadKind::DiskRead | WorkloadKind::DiskWrite).then_some(DISK);
        WorkRequest { kind, bytes, rounds: 3, warmup: 1, seed: 7, disk }
    }

    #[test]
    fn a_sum_forgets_the_order_and_a_fold_does_not() {
        let (one, other) =
            ([1_u64.to_le_bytes(), 2_u64.to_le_bytes()].concat(), [2_u64.to_le_bytes(), 1_u64.to_le_bytes()].concat());
        assert_eq!((sum(&one), sum(&other), sum(&[])), (3, 3, 0));
        assert_ne!(fold(FOLD, &one), fold(FOLD, &other));
        assert_eq!((sum(&[1, 1]), fold(FOLD, &[])), (257, FOLD));
        assert_ne!(fold(FOLD, &[1]), fold(FOLD, &[1, 0, 0, 0, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn a_stream_is_summed_without_being_made() {
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
    fn quantiles_are_by_the_nearest_rank() {
        assert_eq!(Latency::of(Vec::new()), None);
        assert_eq!(Latency::of(vec![5]), Some(Latency { p50_ns: 5, p99_ns: 5 }));
        assert_eq!(Latency::of((1..=100).rev().collect()), Some(Latency { p50_ns: 50, p99_ns: 99 }));
        assert_eq!(Latency::of((1..=99).collect()), Some(Latency { p50_ns: 50, p99_ns: 99 }));
    }

    #[test]
    fn what_is_beyond_a_limit_is_refused() {
        for (kind, bytes) in [
            (WorkloadKind::Sha256, 1),
            (WorkloadKind::MemoryRead, 8),
            (WorkloadKind::PageTouch, 4096),
            (WorkloadKind::DiskRead, 8192),
        ] {
            assert_eq!(work(kind, bytes).check(), Ok(()), "{kind:?}");
            assert_eq!(work(kind, MOST_BYTES).check(), Ok(()), "{kind:?}");
            assert!(work(kind, 0).check().is_err() && work(kind, MOST_BYTES + 4096).check().is_err(), "{kind:?}");
            assert!(WorkRequest { rounds: MOST_ROUNDS + 1, ..work(kind, bytes) }.check().is_err());
            assert!(WorkRequest { rounds: 0, ..work(kind, bytes) }.check().is_err());
            assert!(WorkRequest { warmup: MOST_ROUNDS + 1, ..work(kind, bytes) }.check().is_err());
        }
        for kind in [WorkloadKind::Http, WorkloadKind::TcpSend, WorkloadKind::TcpReceive] {
            assert!(work(kind, 1).check().is_err_and(|refused| refused.contains("the host times it")), "{kind}");
        }
        assert!(
            work(WorkloadKind::MemoryCopy, 12).check().is_err() && work(WorkloadKind::PageTouch, 4104).check().is_err()
        );
        let disk = |disk| WorkRequest { disk, ..work(WorkloadKind::DiskWrite, 1 << 20) }.check();
        assert_eq!(disk(Some(DISK)), Ok(()));
        assert!(
            disk(None).is_err() && WorkRequest { disk: Some(DISK), ..work(WorkloadKind::Sha256, 1) }.check().is_err()
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
        assert!(WorkRequest { rounds: MOST_ROUNDS, ..work(WorkloadKind::DiskRead, 1 << 20) }.check().is_err());
    }
}
