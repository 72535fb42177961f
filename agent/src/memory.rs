//! The workloads `memory-read`, `memory-write`, `memory-copy` and `page-touch`.

use std::hint::black_box;
use std::io;
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::time::Instant;

use microbench_agent::workload::{FNV_OFFSET_BASIS, PAGE_BYTES, WorkloadReply, WorkloadRequest, fnv1a_words, hex, sum};
use nix::libc::c_void;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::reply::{elapsed_ns, new_reply};

/// Reads every word of a buffer and computes their sum. The sum of the last round is the checksum.
pub(crate) fn read(request: &WorkloadRequest) -> io::Result<WorkloadReply> {
    let buffer = Mapping::filled(request.bytes, request.seed)?;
    let mut total = 0;
    let mut rounds = |rounds| {
        let start = Instant::now();
        for _ in 0..rounds {
            total = black_box(sum(black_box(&buffer)));
        }
        elapsed_ns(start)
    };
    rounds(request.warmup);
    Ok(new_reply(rounds(request.rounds), hex(total)))
}

/// Writes every word of a buffer, with a different value in each round. The pages are touched before the timed part.
pub(crate) fn write(request: &WorkloadRequest) -> io::Result<WorkloadReply> {
    let mut buffer = Mapping::filled(request.bytes, request.seed)?;
    let mut rounds = |rounds: std::ops::Range<u32>| {
        let start = Instant::now();
        for round in rounds {
            let word = black_box(request.written_word(round)).to_le_bytes();
            buffer.as_chunks_mut::<8>().0.fill(word);
            black_box(&mut *buffer);
        }
        elapsed_ns(start)
    };
    rounds(0..request.warmup);
    let duration_ns = rounds(request.warmup..request.warmup.saturating_add(request.rounds));
    Ok(new_reply(duration_ns, hex(fnv1a_words(FNV_OFFSET_BASIS, &buffer))))
}

/// Copies a buffer to another buffer. The pages of both are touched before the timed part.
pub(crate) fn copy(request: &WorkloadRequest) -> io::Result<WorkloadReply> {
    let (source, mut target) = (Mapping::filled(request.bytes, request.seed)?, Mapping::filled(request.bytes, 0)?);
    let mut rounds = |rounds| {
        let start = Instant::now();
        for _ in 0..rounds {
            target.copy_from_slice(black_box(&source));
            black_box(&mut *target);
        }
        elapsed_ns(start)
    };
    rounds(request.warmup);
    let duration_ns = rounds(request.rounds);
    Ok(new_reply(duration_ns, hex(fnv1a_words(FNV_OFFSET_BASIS, &target))))
}

/// Maps memory in each round and writes one word into each page; mapping and unmapping are not timed.
///
/// In the first round the host may not have backed the guest memory yet. Later rounds mostly reuse the pages of earlier
/// rounds.
pub(crate) fn touch(request: &WorkloadRequest) -> io::Result<WorkloadReply> {
    let page_bytes = usize::try_from(PAGE_BYTES).unwrap_or(usize::MAX);
    let (mut duration_ns, mut checksum) = (0_u64, FNV_OFFSET_BASIS);
    for round in 0..request.warmup.saturating_add(request.rounds) {
        let mut mapping = Mapping::new(request.bytes)?;
        let start = Instant::now();
        for (number, page) in (0..).zip(mapping.chunks_exact_mut(page_bytes)) {
            page[..8].copy_from_slice(&request.page_word(number).to_le_bytes());
        }
        black_box(&mut *mapping);
        if round >= request.warmup {
            duration_ns = duration_ns.saturating_add(elapsed_ns(start));
        }
        let first_words = mapping.chunks_exact(page_bytes).map(|page| &page[..8]);
        checksum = first_words.fold(FNV_OFFSET_BASIS, fnv1a_words);
    }
    Ok(new_reply(duration_ns, hex(checksum)))
}

/// A private, zeroed, page-aligned memory mapping without huge pages. It is unmapped on drop.
pub(crate) struct Mapping {
    begin: NonNull<c_void>,
    bytes: usize,
}

impl Mapping {
    /// # Errors
    /// If the kernel refuses the mapping.
    pub(crate) fn new(bytes: u64) -> io::Result<Self> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let length = NonZeroUsize::new(bytes).ok_or(io::ErrorKind::InvalidInput)?;
        let (rights, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE);
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let begin = unsafe { mmap_anonymous(None, length, rights, flags) }?;
        // A kernel without huge pages returns an error, which is ignored.
        // SAFETY: the range is the mapping just made, and the advice changes no content.
        let _ = unsafe { madvise(begin, bytes, MmapAdvise::MADV_NOHUGEPAGE) };
        Ok(Self { begin, bytes })
    }

    /// A mapping filled with pseudo-random bytes, which also touches its pages.
    ///
    /// # Errors
    /// See [`Mapping::new`].
    pub(crate) fn filled(bytes: u64, seed: u64) -> io::Result<Self> {
        let mut mapping = Self::new(bytes)?;
        microbench_agent::fill_pseudo_random(&mut mapping, seed);
        Ok(mapping)
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping is readable, has this length, and lives as long as `self`; no other code has its address.
        unsafe { std::slice::from_raw_parts(self.begin.as_ptr().cast(), self.bytes) }
    }
}

impl DerefMut for Mapping {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: see `deref`; the mapping is also writable, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.begin.as_ptr().cast(), self.bytes) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is the mapping of `self`, and no borrow outlives `self`.
        let _ = unsafe { munmap(self.begin, self.bytes) };
    }
}
