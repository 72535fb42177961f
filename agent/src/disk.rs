//! The workloads `disk-read` and `disk-write`, which access every block of a region of the disk once per round.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Instant;

use microbench_agent::workload::{
    DiskRequest, FNV_OFFSET_BASIS, Latency, WorkloadKind, WorkloadReply, WorkloadRequest, fnv1a_words, hex,
};
use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};

use crate::memory::Mapping;
use crate::reply::{elapsed_ns, new_reply};

/// Reads or writes the region of `path`. The caller has checked the request, so that no offset overflows. Written data is read back for the checksum, which is not timed.
///
/// # Errors
/// If the disk cannot be opened with these flags, or ends before the region.
pub(crate) fn access(path: &Path, request: &WorkloadRequest, disk: DiskRequest) -> io::Result<WorkloadReply> {
    let writes = request.kind == WorkloadKind::DiskWrite;
    let flags = if disk.direct { OFlag::O_DIRECT } else { OFlag::empty() };
    let with_path = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let file = File::options().read(true).write(writes).custom_flags(flags.bits()).open(path).map_err(with_path)?;
    let mut buffer = match request.kind {
        WorkloadKind::DiskWrite => Mapping::filled(request.bytes, request.write_seed())?,
        // `filled` touches the pages, so that the timed reads cause no page faults.
        _ => Mapping::filled(request.bytes, 0)?,
    };
    let order = block_order(request.bytes / disk.block, if disk.random { Some(request.seed) } else { None });
    let mut times = Vec::with_capacity(order.len().saturating_mul(usize::try_from(request.rounds).unwrap_or(0)));
    let mut duration_ns = 0_u64;
    for round in 0..request.warmup.saturating_add(request.rounds) {
        if !writes {
            drop_cached_pages(&file, request, disk)?;
        }
        let start = Instant::now();
        for block in &order {
            let (from, place) = (block * disk.block, disk.offset + block * disk.block);
            let part = slice_mut(&mut buffer, from, disk.block);
            let operation = Instant::now();
            if writes { file.write_all_at(part, place) } else { file.read_exact_at(part, place) }.map_err(with_path)?;
            if round >= request.warmup {
                times.push(elapsed_ns(operation));
            }
        }
        if writes {
            file.sync_data().map_err(with_path)?;
        }
        if round >= request.warmup {
            duration_ns = duration_ns.saturating_add(elapsed_ns(start));
        }
    }
    if writes {
        buffer.fill(0);
        drop_cached_pages(&file, request, disk)?;
        for block in &order {
            let part = slice_mut(&mut buffer, block * disk.block, disk.block);
            file.read_exact_at(part, disk.offset + block * disk.block).map_err(with_path)?;
        }
    }
    let checksum = hex(fnv1a_words(FNV_OFFSET_BASIS, &buffer));
    Ok(WorkloadReply { operation: Latency::from_durations(times), ..new_reply(duration_ns, checksum) })
}

fn slice_mut(buffer: &mut [u8], from: u64, length: u64) -> &mut [u8] {
    let (from, length) = (usize::try_from(from).unwrap_or(0), usize::try_from(length).unwrap_or(0));
    &mut buffer[from..from + length]
}

/// Drops the region from the page cache, so that reads access the disk.
fn drop_cached_pages(file: &File, request: &WorkloadRequest, disk: DiskRequest) -> io::Result<()> {
    let (offset, bytes) = (disk.offset.cast_signed(), request.bytes.cast_signed());
    Ok(posix_fadvise(file, offset, bytes, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
}

/// The indices of `blocks` blocks: ascending without a seed, otherwise in the order of a Fisher-Yates shuffle.
fn block_order(blocks: u64, seed: Option<u64>) -> Vec<u64> {
    let mut order: Vec<u64> = (0..blocks).collect();
    let Some(seed) = seed else { return order };
    let mut random = vec![0; order.len() * 8];
    microbench_agent::fill_pseudo_random(&mut random, seed);
    for (last, word) in (0..order.len()).zip(random.as_chunks::<8>().0).skip(1).rev() {
        // The bias of the remainder is negligible: there are far fewer than 2^64 blocks.
        let other = u64::from_le_bytes(*word) % (last as u64 + 1);
        order.swap(last, usize::try_from(other).unwrap_or(last));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_order_is_a_permutation_that_depends_on_the_seed() {
        assert_eq!(block_order(4, None), [0, 1, 2, 3]);
        let (one, again, other) = (block_order(256, Some(1)), block_order(256, Some(1)), block_order(256, Some(2)));
        assert!(one == again && one != other && one != block_order(256, None));
        let mut all = one;
        all.sort_unstable();
        assert_eq!(all, block_order(256, None));
    }
}
