//! `POST /work`: dispatches to what does it, on the guest's monotonic clock.

use microbench_agent::work::{WorkReply, WorkRequest, WorkloadKind};
use std::io;

use crate::options::Options;
use crate::{disk, hash, memory};

/// Works as asked; the request has passed [`WorkRequest::check`].
///
/// # Errors
/// When the guest has no such memory or disk.
pub(crate) fn run(request: &WorkRequest, options: &Options) -> io::Result<WorkReply> {
    match (request.kind, request.disk) {
        (WorkloadKind::Sha256, _) => Ok(hash::hash(request)),
        (WorkloadKind::Copy, _) => Ok(hash::copy(request)),
        (WorkloadKind::MemoryRead, _) => memory::read(request),
        (WorkloadKind::MemoryWrite, _) => memory::write(request),
        (WorkloadKind::MemoryCopy, _) => memory::copy(request),
        (WorkloadKind::PageTouch, _) => memory::touch(request),
        (WorkloadKind::DiskRead | WorkloadKind::DiskWrite, Some(how)) => disk::run(&options.disk, request, how),
        (WorkloadKind::DiskRead | WorkloadKind::DiskWrite, None)
        | (WorkloadKind::Http | WorkloadKind::TcpSend | WorkloadKind::TcpReceive, _) => {
            Err(io::ErrorKind::InvalidInput.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use microbench_agent::work::{DiskRequest, pseudo_random};
    use strum::VariantArray;

    use super::*;

    fn options(disk: PathBuf) -> Options {
        let asked = crate::options::parse(std::iter::empty());
        let Ok(crate::options::Asked::Serve(options)) = asked else { panic!("{asked:?}") };
        Options { disk, ..options }
    }

    #[test]
    fn work_that_is_done_has_the_checksum_that_the_host_expects() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let (offset, bytes) = (1 << 20, 96 << 10);
        std::fs::write(&path, [vec![0; 1 << 20], pseudo_random(bytes, 7)].concat()).unwrap();
        for kind in WorkloadKind::VARIANTS.iter().copied().filter(|kind| !kind.is_timed_by_host()) {
            let on_disk = matches!(kind, WorkloadKind::DiskRead | WorkloadKind::DiskWrite);
            for (random, block) in [(false, 4096), (true, 512), (true, 32 << 10)] {
                let disk = on_disk.then_some(DiskRequest { offset, block, direct: false, random });
                for (rounds, warmup) in [(1, 0), (3, 2)] {
                    let request = WorkRequest { kind, bytes: bytes as u64, rounds, warmup, seed: 7, disk };
                    assert_eq!(request.check(), Ok(()));
                    let reply = run(&request, &options(path.clone())).unwrap();
                    assert_eq!(reply.checksum, request.checksum(), "{request:?}");
                    assert!(reply.duration_ns > 0, "{request:?}");
                    assert_eq!(reply.operation.is_some(), on_disk, "{request:?}");
                    assert_eq!(reply.backend.is_some(), kind == WorkloadKind::Sha256);
                }
            }
        }
        // What was written lies there, and only there.
        let found = std::fs::read(&path).unwrap();
        assert!(found[..1 << 20].iter().all(|byte| *byte == 0) && found[1 << 20..] == pseudo_random(bytes, 8));
    }

    #[test]
    fn a_disk_that_is_too_short_or_not_there_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let disk = Some(DiskRequest { offset: 0, block: 4096, direct: false, random: false });
        let request = WorkRequest { kind: WorkloadKind::DiskRead, bytes: 8192, rounds: 1, warmup: 0, seed: 1, disk };
        for there in [false, true] {
            if there {
                std::fs::write(&path, [0; 4096]).unwrap();
            }
            let error = run(&request, &options(path.clone())).unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
    }
}
