//! `sha256` and `copy`: work over one buffer.

use std::hint::black_box;
use std::time::Instant;

use microbench_agent::work::{WorkReply, WorkRequest, pseudo_random, sha256};
use sha2::{Digest, Sha256};

use crate::reply::{reply, since};

/// Hashes; the filling of the buffer, which also touches its pages, is outside the timed part.
pub(crate) fn hash(request: &WorkRequest) -> WorkReply {
    let buffer = buffer(request);
    let mut digest = Sha256::digest([]);
    let mut rounds = |rounds| {
        let begun = Instant::now();
        for _ in 0..rounds {
            digest = black_box(Sha256::digest(black_box(&buffer)));
        }
        since(begun)
    };
    rounds(request.warmup);
    let duration_ns = rounds(request.rounds);
    let checksum = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    WorkReply { backend: Some(backend().into()), ..reply(duration_ns, checksum) }
}

/// What the 2019 paper's tool did instead: each round a new allocation that holds the buffer and the digest of nothing.
pub(crate) fn copy(request: &WorkRequest) -> WorkReply {
    let buffer = buffer(request);
    let nothing = Sha256::digest([]);
    let rounds = |rounds| {
        let begun = Instant::now();
        for _ in 0..rounds {
            let mut sum = Vec::with_capacity(buffer.len() + nothing.len());
            sum.extend_from_slice(black_box(&buffer));
            sum.extend_from_slice(&nothing);
            drop(black_box(sum));
        }
        since(begun)
    };
    rounds(request.warmup);
    reply(rounds(request.rounds), sha256(&[]))
}

fn buffer(request: &WorkRequest) -> Vec<u8> {
    pseudo_random(usize::try_from(request.bytes).unwrap_or(0), request.seed)
}

/// What sha2 picks by the CPU's features: those that its x86 code asks for.
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
    use microbench_agent::work::WorkloadKind;

    use super::*;

    #[test]
    fn a_copy_takes_longer_the_more_it_copies() {
        let of = |bytes, rounds| {
            let request = WorkRequest { kind: WorkloadKind::Copy, bytes, rounds, warmup: 0, seed: 1, disk: None };
            copy(&request).duration_ns
        };
        assert!(of(16 << 20, 20) > of(64, 20), "the copy was optimised away");
    }
}
