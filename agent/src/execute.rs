//! `POST /work`: executes a workload and times it on the guest's `CLOCK_MONOTONIC`.

use microbench_agent::workload::{WorkloadKind, WorkloadReply, WorkloadRequest};
use std::io;

use crate::options::Options;
use crate::{disk, hash, memory};

/// Executes a workload. The caller has verified the request with [`WorkloadRequest::check`].
///
/// # Errors
/// If the guest has too little memory, or the disk cannot be accessed.
pub(crate) fn execute(request: &WorkloadRequest, options: &Options) -> io::Result<WorkloadReply> {
    match (request.kind, request.disk) {
        (WorkloadKind::Sha256, _) => Ok(hash::hash(request)),
        (WorkloadKind::Copy, _) => Ok(hash::copy(request)),
        (WorkloadKind::MemoryRead, _) => memory::read(request),
        (WorkloadKind::MemoryWrite, _) => memory::write(request),
        (WorkloadKind::MemoryCopy, _) => memory::copy(request),
        (WorkloadKind::PageTouch, _) => memory::touch(request),
        (WorkloadKind::DiskRead | WorkloadKind::DiskWrite, Some(disk)) => disk::access(&options.disk, request, disk),
        (WorkloadKind::DiskRead | WorkloadKind::DiskWrite, None)
        | (WorkloadKind::Http | WorkloadKind::TcpSend | WorkloadKind::TcpReceive, _) => {
            Err(io::ErrorKind::InvalidInput.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use microbench_agent::workload::{DiskRequest, pseudo_random};
    use strum::VariantArray;

    use super::*;

    fn options(disk: PathBuf) -> Options {
        let command = crate::options::parse(std::iter::empty());
        let Ok(crate::options::Command::Serve(options)) = command else { panic!("{command:?}") };
        Options { disk, ..options }
    }

    #[test]
    fn every_workload_returns_the_expected_checksum() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let (offset, bytes) = (1 << 20, 96 << 10);
        std::fs::write(&path, [vec![0; 1 << 20], pseudo_random(bytes, 7)].concat()).unwrap();
        for kind in WorkloadKind::VARIANTS.iter().copied().filter(|kind| !kind.is_timed_by_host()) {
            let on_disk = matches!(kind, WorkloadKind::DiskRead | WorkloadKind::DiskWrite);
            for (random, block) in [(false, 4096), (true, 512), (true, 32 << 10)] {
                let disk = on_disk.then_some(DiskRequest { offset, block, direct: false, random });
                for (rounds, warmup) in [(1, 0), (3, 2)] {
                    let request = WorkloadRequest { kind, bytes: bytes as u64, rounds, warmup, seed: 7, disk };
                    assert_eq!(request.check(), Ok(()));
                    let reply = execute(&request, &options(path.clone())).unwrap();
                    assert_eq!(reply.checksum, request.expected_checksum(), "{request:?}");
                    assert!(reply.duration_ns > 0, "{request:?}");
                    assert_eq!(reply.operation.is_some(), on_disk, "{request:?}");
                    assert_eq!(reply.backend.is_some(), kind == WorkloadKind::Sha256);
                }
            }
        }
        // The data was written to the region and nowhere else.
        let found = std::fs::read(&path).unwrap();
        assert!(found[..1 << 20].iter().all(|byte| *byte == 0) && found[1 << 20..] == pseudo_random(bytes, 8));
    }

    #[test]
    fn missing_or_short_disk_is_an_error_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let disk = Some(DiskRequest { offset: 0, block: 4096, direct: false, random: false });
        let request =
            WorkloadRequest { kind: WorkloadKind::DiskRead, bytes: 8192, rounds: 1, warmup: 0, seed: 1, disk };
        for exists in [false, true] {
            if exists {
                std::fs::write(&path, [0; 4096]).unwrap();
            }
            let error = execute(&request, &options(path.clone())).unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
    }
}
