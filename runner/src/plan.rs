//! From a [`Study`] to a [`Plan`]: how often each cell runs, and in which order. Pure: no file, no clock, no host.
//!
//! The order is that of randomised complete blocks: block `b` holds one trial of every cell that has more than `b`,
//! shuffled, so that a drift of the host falls on all cells alike. The shuffle is a part of the format: for one seed and
//! one list of cells it is the same for ever, on every machine. It is Fisher and Yates', from the last element down, over
//! the cells of the block in manifest order; it draws from ChaCha8 whose key is the seed (8 bytes, little-endian, then
//! zeros) and whose stream is the block's number, so that a block's order does not depend on how many others there are.

use std::fmt::Write;
use std::num::NonZeroU32;

use microbench_plots::record::{Cell, FORMAT_VERSION, Plan, PlannedTrial, Protocol};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use crate::manifest::{MAX_TRIALS, Study};

/// Why a study cannot be planned as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The trials asked for in place of the manifest's are too many.
    #[error("the plan would have {total} trials; the limit is {MAX_TRIALS}")]
    TooManyTrials {
        /// Trials of all cells.
        total: u64,
    },
}

/// The plan of a study, with a seed or a number of trials a cell in place of the manifest's where they are given.
///
/// # Errors
/// [`PlanError::TooManyTrials`], which only `trials` can cause: a study by itself is within the limit.
pub fn expand(study: &Study, seed: Option<u64>, trials: Option<NonZeroU32>) -> Result<Plan, PlanError> {
    let mut cells = study.cells.clone();
    if let Some(trials) = trials {
        cells.iter_mut().for_each(|cell| cell.trials = trials.get());
    }
    let total = cells.iter().map(|cell| u64::from(cell.trials)).sum();
    if total > MAX_TRIALS {
        return Err(PlanError::TooManyTrials { total });
    }
    let seed = seed.unwrap_or(study.seed);
    Ok(Plan {
        format: FORMAT_VERSION,
        study: study.name.clone(),
        title: study.title.clone(),
        protocol: Protocol::default(),
        profile: String::new(),
        seed,
        warmup: study.warmup,
        axes: study.axes.clone(),
        trials: order(&cells, seed),
        cells,
        workloads: study.workloads.clone(),
        metrics: study.metrics.clone(),
        figures: study.figures.clone(),
        claims: Vec::new(),
        reference: None,
        excluded: study.excluded.clone(),
    })
}

/// Every trial of the cells in randomised complete blocks.
fn order(cells: &[Cell], seed: u64) -> Vec<PlannedTrial> {
    let blocks = cells.iter().map(|cell| cell.trials).max().unwrap_or(0);
    let mut open: Vec<&Cell> = cells.iter().collect();
    let mut trials = Vec::new();
    for block in 0..blocks {
        open.retain(|cell| cell.trials > block);
        let mut members = open.clone();
        shuffle(&mut members, seed, block);
        for cell in members {
            // At most `MAX_TRIALS` trials fit in 32 bits.
            let index = u32::try_from(trials.len()).unwrap_or(u32::MAX);
            trials.push(PlannedTrial { index, block, cell: cell.id.clone(), instrument: None });
        }
    }
    trials
}

fn shuffle<T>(items: &mut [T], seed: u64, block: u32) {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(u64::from(block));
    for last in (1..items.len()).rev() {
        items.swap(last, below(&mut rng, last + 1));
    }
}

/// A uniform number below `bound`: draws beyond the largest multiple of `bound` are thrown away.
fn below(rng: &mut ChaCha8Rng, bound: usize) -> usize {
    let bound = bound as u64;
    let unfair = (u64::MAX % bound + 1) % bound;
    loop {
        let draw = rng.next_u64();
        if draw <= u64::MAX - unfair {
            #[expect(clippy::cast_possible_truncation, reason = "it is below `bound`, which came from a usize")]
            return (draw % bound) as usize;
        }
    }
}

/// The text of `plan.json`.
///
/// # Panics
/// Never in practice: a plan holds strings, integers and finite numbers, which always serialise.
#[must_use]
pub fn to_json(plan: &Plan) -> String {
    let mut text = serde_json::to_string_pretty(plan).expect("a plan serialises");
    text.push('\n');
    text
}

/// SHA-256 of a text as 64 hex digits; of `plan.json` it is the plan's identity.
#[must_use]
pub fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_a_seed_never_changes() {
        // Computed by another implementation of what the module's documentation says.
        let mut items: Vec<u32> = (0..10).collect();
        shuffle(&mut items, 2019, 0);
        assert_eq!(items, [9, 7, 3, 5, 1, 8, 0, 6, 2, 4]);
        let mut items: Vec<u32> = (0..10).collect();
        shuffle(&mut items, 2019, 1);
        assert_eq!(items, [5, 6, 9, 0, 3, 2, 1, 7, 4, 8]);
    }

    #[test]
    fn every_place_is_equally_likely() {
        let mut counts = [[0_u32; 5]; 5];
        for seed in 0..5000 {
            let mut items = [0, 1, 2, 3, 4];
            shuffle(&mut items, seed, 0);
            items.iter().enumerate().for_each(|(place, item)| counts[*item][place] += 1);
        }
        // Expected 1000 each; the standard deviation is 28.
        assert!(counts.iter().flatten().all(|count| (860..1140).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_digest_is_sha256() {
        assert_eq!(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
