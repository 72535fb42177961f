//! The workloads `sha256` and `copy`, which process one buffer.

use std::hint::black_box;
use std::time::Instant;

use microbench_agent::workload::{WorkloadReply, WorkloadRequest, pseudo_random, sha256};
use sha2::{Digest, Sha256};

use crate::reply::{elapsed_ns, new_reply};

/// Hashes the buffer in each round. Filling the buffer, which also touches its pages, is not timed.
pub(crate) fn hash(request: &WorkloadRequest) -> WorkloadReply {
    let buffer = buffer(request);
    let mut digest = Sha256::digest([]);
    let mut rounds = |rounds| {
        let start = Instant::now();
        for _ in 0..rounds {
            digest = black_box(Sha256::digest(black_box(&buffer)));
        }
        elapsed_ns(start)
    };
    rounds(request.warmup);
    let duration_ns = rounds(request.rounds);
    let checksum = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    WorkloadReply { backend: Some(backend().into()), ..new_reply(duration_ns, checksum) }
}

/// Copies the buffer and the digest of no data into a new allocation in each round, like the tool of the 2019 paper;
/// see [`WorkloadKind::Copy`](microbench_agent::workload::WorkloadKind::Copy).
pub(crate) fn copy(request: &WorkloadRequest) -> WorkloadReply {
    let buffer = buffer(request);
    let empty_digest = Sha256::digest([]);
    let rounds = |rounds| {
        let start = Instant::now();
        for _ in 0..rounds {
            let mut sum = Vec::with_capacity(buffer.len() + empty_digest.len());
            sum.extend_from_slice(black_box(&buffer));
            sum.extend_from_slice(&empty_digest);
            drop(black_box(sum));
        }
        elapsed_ns(start)
    };
    rounds(request.warmup);
    new_reply(rounds(request.rounds), sha256(&[]))
}

fn buffer(request: &WorkloadRequest) -> Vec<u8> {
    pseudo_random(usize::try_from(request.bytes).unwrap_or(0), request.seed)
}

/// The implementation that the crate sha2 selects by the features of the CPU.
#[cfg(target_arch = "x86_64")]
fn backend() -> &'static str {
    let has = is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("sse2")
        && is_x86_feature_detected!("ssse3")
        && is_x86_feature_detected!("sse4.1");
    if has { "sha-ni" } else { "soft" }
}

#[cfg(test)]
mod tests {
    use microbench_agent::workload::WorkloadKind;

    use super::*;

    #[test]
    fn copy_of_a_larger_buffer_takes_longer() {
        let of = |bytes, rounds| {
            let request = WorkloadRequest { kind: WorkloadKind::Copy, bytes, rounds, warmup: 0, seed: 1, disk: None };
            copy(&request).duration_ns
        };
        assert!(of(16 << 20, 20) > of(64, 20), "the copy was optimised away");
    }
}
