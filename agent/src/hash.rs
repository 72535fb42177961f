//! `POST /hash`: work over one buffer, many times, on the guest's monotonic clock.

use std::hint::black_box;
use std::time::Instant;

use microbench_agent::{HashKind, HashReply, HashRequest, fill_pseudo_random};
use sha2::{Digest, Sha256};

/// Works as asked; the filling of the buffer, which also touches its pages, is outside the timed part.
pub(crate) fn run(request: HashRequest) -> HashReply {
    let mut buffer = vec![0; usize::try_from(request.bytes).unwrap_or(0)];
    fill_pseudo_random(&mut buffer, request.seed);
    match request.kind {
        HashKind::Sha256 => hash(&buffer, request.rounds),
        HashKind::Copy => copy(&buffer, request.rounds),
    }
}

fn hash(buffer: &[u8], rounds: u32) -> HashReply {
    let begun = Instant::now();
    let mut digest = Sha256::digest(black_box(buffer));
    for _ in 1..rounds {
        digest = black_box(Sha256::digest(black_box(buffer)));
    }
    HashReply { duration_ns: since(begun), digest: hex(&digest), backend: backend().into() }
}

/// What the 2019 paper's tool did instead: each round a new allocation that holds the buffer and the digest of nothing.
fn copy(buffer: &[u8], rounds: u32) -> HashReply {
    let nothing = Sha256::digest([]);
    let begun = Instant::now();
    for _ in 0..rounds {
        let mut sum = Vec::with_capacity(buffer.len() + nothing.len());
        sum.extend_from_slice(black_box(buffer));
        sum.extend_from_slice(&nothing);
        drop(black_box(sum));
    }
    HashReply { duration_ns: since(begun), digest: hex(&nothing), backend: "none".into() }
}

fn since(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What sha2 picks by the CPU's features: those that its x86 code asks for.
fn backend() -> &'static str {
    let has = is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("sse2")
        && is_x86_feature_detected!("ssse3")
        && is_x86_feature_detected!("sse4.1");
    if has { "sha-ni" } else { "soft" }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_copy_gives_the_digest_of_nothing_and_a_hash_that_of_the_buffer() {
        let request = HashRequest { kind: HashKind::Copy, bytes: 1 << 20, rounds: 3, seed: 1 };
        let copied = run(request);
        assert_eq!((copied.digest.as_str(), copied.backend.as_str()), (NOTHING, "none"));
        assert!(copied.duration_ns > 0);
        let hashed = run(HashRequest { kind: HashKind::Sha256, ..request });
        assert_ne!(hashed.digest, NOTHING);
        assert_eq!(run(HashRequest { kind: HashKind::Sha256, bytes: 0, ..request }).digest, NOTHING);
    }

    #[test]
    fn a_copy_takes_longer_the_more_it_copies() {
        let of = |bytes, rounds| run(HashRequest { kind: HashKind::Copy, bytes, rounds, seed: 1 }).duration_ns;
        assert!(of(16 << 20, 20) > of(64, 20), "the copy was optimised away");
    }
}
