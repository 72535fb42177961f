//! `disk-read` and `disk-write`: every block of a region of the disk, once a round.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Instant;

use microbench_agent::work::{DiskRequest, FOLD, Latency, WorkReply, WorkRequest, WorkloadKind, fold, hex};
use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};

use crate::memory::Mapping;
use crate::reply::{reply, since};

/// Reads or writes the region of `path` as asked. What was written is read back for the checksum, outside the timed part.
///
/// # Errors
/// When the disk cannot be opened so, or is shorter than the region's end.
pub(crate) fn run(path: &Path, request: &WorkRequest, disk: DiskRequest) -> io::Result<WorkReply> {
    let writes = request.kind == WorkloadKind::DiskWrite;
    let flags = if disk.direct { OFlag::O_DIRECT } else { OFlag::empty() };
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let file = File::options().read(true).write(writes).custom_flags(flags.bits()).open(path).map_err(named)?;
    let mut buffer = match request.kind {
        WorkloadKind::DiskWrite => Mapping::filled(request.bytes, request.written())?,
        // Its pages are touched before the first read.
        _ => Mapping::filled(request.bytes, 0)?,
    };
    let order = order(request.bytes / disk.block, if disk.random { Some(request.seed) } else { None });
    let mut times = Vec::with_capacity(order.len() * usize::try_from(request.rounds).unwrap_or(0));
    let mut duration_ns = 0_u64;
    for round in 0..request.warmup + request.rounds {
        if !writes {
            forget(&file, request, disk)?;
        }
        let begun = Instant::now();
        for block in &order {
            let (from, place) = (block * disk.block, disk.offset + block * disk.block);
            let part = part(&mut buffer, from, disk.block);
            let operation = Instant::now();
            if writes { file.write_all_at(part, place) } else { file.read_exact_at(part, place) }.map_err(named)?;
            if round >= request.warmup {
                times.push(since(operation));
            }
        }
        if writes {
            file.sync_data().map_err(named)?;
        }
        if round >= request.warmup {
            duration_ns = duration_ns.saturating_add(since(begun));
        }
    }
    if writes {
        buffer.fill(0);
        forget(&file, request, disk)?;
        for block in &order {
            let part = part(&mut buffer, block * disk.block, disk.block);
            file.read_exact_at(part, disk.offset + block * disk.block).map_err(named)?;
        }
    }
    Ok(WorkReply { operation: Latency::of(times), ..reply(duration_ns, hex(fold(FOLD, &buffer))) })
}

fn part(buffer: &mut [u8], from: u64, length: u64) -> &mut [u8] {
    let (from, length) = (usize::try_from(from).unwrap_or(0), usize::try_from(length).unwrap_or(0));
    &mut buffer[from..from + length]
}

/// Drops the region from the page cache, so that a read has to ask the disk.
fn forget(file: &File, request: &WorkRequest, disk: DiskRequest) -> io::Result<()> {
    let (offset, bytes) = (disk.offset.cast_signed(), request.bytes.cast_signed());
    Ok(posix_fadvise(file, offset, bytes, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
}

/// The numbers of `blocks` blocks: one after the other, or by Fisher and Yates' shuffle of this seed.
fn order(blocks: u64, seed: Option<u64>) -> Vec<u64> {
    let mut order: Vec<u64> = (0..blocks).collect();
    let Some(seed) = seed else { return order };
    let mut random = vec![0; order.len() * 8];
    microbench_agent::fill_pseudo_random(&mut random, seed);
    for (last, word) in (0..order.len()).zip(random.as_chunks::<8>().0).skip(1).rev() {
        // A remainder is even enough for the order of blocks: there are far fewer than 2^64.
        let other = u64::from_le_bytes(*word) % (last as u64 + 1);
        order.swap(last, usize::try_from(other).unwrap_or(last));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_has_its_turn_in_an_order_that_the_seed_decides() {
        assert_eq!(order(4, None), [0, 1, 2, 3]);
        let (one, again, other) = (order(256, Some(1)), order(256, Some(1)), order(256, Some(2)));
        assert!(one == again && one != other && one != order(256, None));
        let mut all = one;
        all.sort_unstable();
        assert_eq!(all, order(256, None));
    }
}
