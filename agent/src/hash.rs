//! `POST /hash`: SHA-256 over one buffer, many times, on the guest's monotonic clock.

use std::hint::black_box;
use std::time::Instant;

use microbench_agent::{HashReply, HashRequest, fill_pseudo_random};
use sha2::{Digest, Sha256};

/// Hashes as asked; the filling of the buffer, which also touches its pages, is outside the timed part.
pub(crate) fn run(request: HashRequest) -> HashReply {
    let mut buffer = vec![0; usize::try_from(request.bytes).unwrap_or(0)];
    fill_pseudo_random(&mut buffer, request.seed);
    let begun = Instant::now();
    let mut digest = Sha256::digest(black_box(&buffer));
    for _ in 1..request.rounds {
        digest = black_box(Sha256::digest(black_box(&buffer)));
    }
    let duration_ns = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    HashReply { digest, duration_ns, backend: backend().into() }
}

/// What sha2 picks by the CPU's features: those that its x86 code asks for.
fn backend() -> &'static str {
    let has = is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("sse2")
        && is_x86_feature_detected!("ssse3")
        && is_x86_feature_detected!("sse4.1");
    if has { "sha-ni" } else { "soft" }
}
