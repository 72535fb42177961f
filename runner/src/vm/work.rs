//! The work that a VM's guest is asked to do, and what its answer must be.

use microbench_agent::{HashKind, HashRequest, fill_pseudo_random};
use microbench_plots::record::{FailureReason, Workload, WorkloadKind};
use sha2::{Digest, Sha256};

use super::Vm;
use super::failed::Failed;
use crate::event::{self, reading};

/// Seed of the bytes that a guest hashes.
const HASH_SEED: u64 = 2019;

impl Vm {
    pub(super) fn work(&mut self, workload: &Workload, expected: &str) -> Result<(), Failed> {
        let kind = kind(workload);
        let request = HashRequest { kind, bytes: workload.bytes, rounds: workload.rounds, seed: HASH_SEED };
        self.event(event::WORK_BEGIN);
        let reply =
            self.runtime.block_on(self.guest.hash(request)).map_err(|error| Failed::from((error, event::WORK_END)))?;
        self.event(event::WORK_END);
        if reply.digest != expected {
            let message = format!("POST /hash: the digest is {}, it should be {expected}", reply.digest);
            return Err(Failed::new(FailureReason::Protocol, event::WORK_END, message));
        }
        self.reading(&reading::work_duration(&workload.metric), reply.duration_ns as f64, "ns");
        if kind == HashKind::Sha256 {
            let hardware = f64::from(u8::from(reply.backend == "sha-ni"));
            self.reading(&format!("work.{}.sha_ni", workload.metric), hardware, "1");
        }
        Ok(())
    }
}

fn kind(workload: &Workload) -> HashKind {
    match workload.kind {
        WorkloadKind::Sha256 => HashKind::Sha256,
        WorkloadKind::Copy => HashKind::Copy,
    }
}

/// What the guest's digest must be: that of the buffer, or of nothing where nothing is hashed.
pub(super) fn digest(workload: &Workload) -> String {
    let bytes = match kind(workload) {
        HashKind::Sha256 => workload.bytes.min(HashRequest::MAX_BYTES),
        HashKind::Copy => 0,
    };
    let mut buffer = vec![0; usize::try_from(bytes).unwrap_or(0)];
    fill_pseudo_random(&mut buffer, HASH_SEED);
    Sha256::digest(&buffer).iter().map(|byte| format!("{byte:02x}")).collect()
}
