//! `memory-read`, `memory-write`, `memory-copy`: a buffer end to end; `page-touch`: memory that nobody has touched yet.

use std::hint::black_box;
use std::io;
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::time::Instant;

use microbench_agent::work::{FOLD, PAGE_BYTES, WorkReply, WorkRequest, fold, hex, sum};
use nix::libc::c_void;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::reply::{reply, since};

/// Adds up every word of a buffer; the sum of the last round is the checksum.
pub(crate) fn read(request: &WorkRequest) -> io::Result<WorkReply> {
    let buffer = Mapping::filled(request.bytes, request.seed)?;
    let mut found = 0;
    let mut rounds = |rounds| {
        let begun = Instant::now();
        for _ in 0..rounds {
            found = black_box(sum(black_box(&buffer)));
        }
        since(begun)
    };
    rounds(request.warmup);
    Ok(reply(rounds(request.rounds), hex(found)))
}

/// Writes every word of a buffer, in each round another value. Its pages are touched before.
pub(crate) fn write(request: &WorkRequest) -> io::Result<WorkReply> {
    let mut buffer = Mapping::filled(request.bytes, request.seed)?;
    let mut rounds = |rounds: std::ops::Range<u32>| {
        let begun = Instant::now();
        for round in rounds {
            let word = black_box(request.word(round)).to_le_bytes();
            buffer.as_chunks_mut::<8>().0.fill(word);
            black_box(&mut *buffer);
        }
        since(begun)
    };
    rounds(0..request.warmup);
    let duration_ns = rounds(request.warmup..request.warmup + request.rounds);
    Ok(reply(duration_ns, hex(fold(FOLD, &buffer))))
}

/// Copies a buffer to another one, both of which were touched before.
pub(crate) fn copy(request: &WorkRequest) -> io::Result<WorkReply> {
    let (source, mut target) = (Mapping::filled(request.bytes, request.seed)?, Mapping::filled(request.bytes, 0)?);
    let mut rounds = |rounds| {
        let begun = Instant::now();
        for _ in 0..rounds {
            target.copy_from_slice(black_box(&source));
            black_box(&mut *target);
        }
        since(begun)
    };
    rounds(request.warmup);
    let duration_ns = rounds(request.rounds);
    Ok(reply(duration_ns, hex(fold(FOLD, &target))))
}

/// Writes one word into each page of memory that is mapped anew in each round; mapping and unmapping are not timed. The first round finds
/// guest memory that its host may not have backed yet, later ones mostly what earlier ones gave back.
pub(crate) fn touch(request: &WorkRequest) -> io::Result<WorkReply> {
    let page_bytes = usize::try_from(PAGE_BYTES).unwrap_or(usize::MAX);
    let (mut duration_ns, mut checksum) = (0_u64, FOLD);
    for round in 0..request.warmup + request.rounds {
        let mut mapping = Mapping::new(request.bytes)?;
        let begun = Instant::now();
        for (number, page) in (0..).zip(mapping.chunks_exact_mut(page_bytes)) {
            page[..8].copy_from_slice(&request.mark(number).to_le_bytes());
        }
        black_box(&mut *mapping);
        if round >= request.warmup {
            duration_ns = duration_ns.saturating_add(since(begun));
        }
        checksum = mapping.chunks_exact(page_bytes).fold(FOLD, |state, page| fold(state, &page[..8]));
    }
    Ok(reply(duration_ns, hex(checksum)))
}

/// Memory of its own, page by page of the smallest size, zero until it is touched; aligned to a page.
pub(crate) struct Mapping {
    begin: NonNull<c_void>,
    bytes: usize,
}

impl Mapping {
    /// # Errors
    /// When the kernel gives no such memory.
    pub(crate) fn new(bytes: u64) -> io::Result<Self> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let length = NonZeroUsize::new(bytes).ok_or(io::ErrorKind::InvalidInput)?;
        let (rights, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE);
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let begin = unsafe { mmap_anonymous(None, length, rights, flags) }?;
        // A kernel without huge pages refuses, and has none to avoid.
        // SAFETY: the range is the mapping just made, and the advice changes no content.
        let _ = unsafe { madvise(begin, bytes, MmapAdvise::MADV_NOHUGEPAGE) };
        Ok(Self { begin, bytes })
    }

    /// The same with the bytes that both sides know.
    ///
    /// # Errors
    /// As [`Mapping::new`].
    pub(crate) fn filled(bytes: u64, seed: u64) -> io::Result<Self> {
        let mut mapping = Self::new(bytes)?;
        microbench_agent::fill_pseudo_random(&mut mapping, seed);
        Ok(mapping)
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping is readable, of this length, and lives as long as `self`; nobody else has its address.
        unsafe { std::slice::from_raw_parts(self.begin.as_ptr().cast(), self.bytes) }
    }
}

impl DerefMut for Mapping {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and writable; `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.begin.as_ptr().cast(), self.bytes) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is the mapping's own, and no borrow of it outlives it.
        let _ = unsafe { munmap(self.begin, self.bytes) };
    }
}
