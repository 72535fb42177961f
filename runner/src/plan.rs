//! From a [`Study`] to a [`Plan`]: how often each cell runs, and in which order. Pure: no file, no clock, no host.
//!
//! The order is that of randomised complete blocks: block `b` holds one trial of every cell that has more than `b`,
//! shuffled, so that a drift of the host falls on all cells alike. The shuffle is a part of the format: for one seed and
//! one list of cells it is the same for ever, on every machine. It is Fisher and Yates', from the last element down, over
//! the cells of the block in manifest order; it draws from ChaCha8 whose key is the seed (8 bytes, little-endian, then
//! zeros) and whose stream is the block's number, so that a block's order does not depend on how many others there are.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::num::NonZeroU32;

use microbench_plots::noise::LABELS;
use microbench_plots::record::{
    Axis, Cell, FORMAT_VERSION, Figure, Instrument, Level, Metric, MetricSource, Plan, PlannedTrial,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use crate::manifest::{self, FULL, MAX_TRIALS, Profile, Study, has};

/// Why a study cannot be planned as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The study has no profile of this name.
    #[error("the study has no profile `{name}`; {known}")]
    UnknownProfile {
        /// The name asked for.
        name: String,
        /// Those that it has, as a sentence.
        known: String,
    },
    /// The trials asked for in place of the manifest's are too many.
    #[error("the plan would have {total} trials; the limit is {MAX_TRIALS}")]
    TooManyTrials {
        /// Trials of all cells.
        total: u64,
    },
}

/// What is asked for in place of what the manifest says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice<'a> {
    /// Seed of the run order.
    pub seed: Option<u64>,
    /// Trials of every cell, whatever the profile says.
    pub trials: Option<NonZeroU32>,
    /// Name of a profile.
    pub profile: Option<&'a str>,
}

/// The value that a metric of work is.
fn work_value(metric: &Metric) -> &str {
    match &metric.source {
        MetricSource::Reading(name) => name.rsplit('.').next().unwrap_or_default(),
        MetricSource::Span { .. } => "",
    }
}

/// The plan of a study.
///
/// # Errors
/// [`PlanError`]: a profile that does not exist, or too many trials, those with an instrument included.
pub fn expand(study: &Study, choice: Choice<'_>) -> Result<Plan, PlanError> {
    let profile = profile(study, choice.profile)?;
    let mut axes = study.axes.clone();
    let mut cells = study.cells.clone();
    let mut figures = study.figures.clone();
    if let Some(profile) = profile {
        cells.retain(|cell| profile.keeps(cell));
        for cell in &mut cells {
            cell.trials = profile.trials.get(&cell.concurrency).copied().unwrap_or(cell.trials);
        }
        for axis in &mut axes {
            axis.levels.retain(|level| profile.only.get(&axis.name).is_none_or(|kept| kept.contains(level)));
        }
        figures.retain(|figure| has_cells(figure, &cells));
    }
    let (mut workloads, mut metrics) = (study.workloads.clone(), study.metrics.clone());
    let mut reference = study.reference.clone();
    for work in &mut workloads {
        let (before, rounds) = (work.clone(), work.rounds);
        work.rounds = profile.and_then(|profile| profile.rounds).map_or(work.rounds, |most| work.rounds.min(most));
        // A definition of the manifest's own stays as it is.
        if let Some(metric) = metrics.iter_mut().find(|metric| metric.name == work.metric) {
            let value = work_value(metric).to_owned();
            if metric.definition == manifest::work_definition(&before, &value) {
                metric.definition = manifest::work_definition(work, &value);
            }
        }
        if let Some(reference) = reference.as_mut().filter(|_| work.rounds != rounds) {
            let before = reference.values.len();
            reference.values.retain(|value| value.metric != work.metric);
            if reference.values.len() < before {
                let reason = format!("of {rounds} rounds, and this profile has {}", work.rounds);
                reference.left_out.insert(work.metric.clone(), reason);
            }
        }
    }
    if let Some(trials) = choice.trials {
        cells.iter_mut().for_each(|cell| cell.trials = trials.get());
    }
    let instrument = study.metrics.iter().find_map(|metric| metric.instrument);
    let instrumented = if instrument.is_some() { study.instrument_trials } else { 0 };
    let alone = cells.iter().filter(|cell| cell.concurrency == 1).count() as u64;
    let total = cells.iter().map(|cell| u64::from(cell.trials)).sum::<u64>() + alone * u64::from(instrumented);
    if total > MAX_TRIALS {
        return Err(PlanError::TooManyTrials { total });
    }
    let seed = choice.seed.unwrap_or(study.seed);
    let mut trials = order(&cells, seed);
    if let Some(instrument) = instrument {
        trials.extend(instrumented_order(&cells, seed, &trials, instrument, instrumented));
    }
    Ok(Plan {
        format: FORMAT_VERSION,
        study: study.name.clone(),
        title: study.title.clone(),
        protocol: study.protocol,
        profile: match profile {
            Some(profile) => profile.name.clone(),
            None if study.profiles.is_empty() && choice.profile.is_none() => String::new(),
            None => FULL.into(),
        },
        seed,
        warmup: study.warmup,
        give_up_after: study.give_up_after,
        axes,
        trials,
        cells,
        workloads,
        metrics,
        figures,
        claims: study.claims.clone(),
        reference,
        family: study.family.clone(),
        // A number of trials that is asked for is run whole.
        precision: study.precision.clone().filter(|_| profile.is_none() && choice.trials.is_none()),
        limit: study.limit,
        excluded: study.excluded.clone(),
    })
}

/// How the study of a cell against itself is named: its own study's name and this.
pub const NOISE: &str = "-noise";

/// One cell of `plan` under two labels ([`LABELS`]), `trials` times each, in blocks of one of each in an order that the seed decides: the
/// plan of a comparison of which the truth is known. `None` when there is no such cell.
#[must_use]
pub fn against_itself(plan: &Plan, cell: &str, trials: u32) -> Option<Plan> {
    let trials = trials.min(u32::try_from(MAX_TRIALS / 2).unwrap_or(u32::MAX));
    let cell = plan.cells.iter().find(|own| own.id == cell)?;
    let twins: Vec<Cell> = (LABELS.iter())
        .map(|label| Cell {
            id: (*label).to_owned(),
            levels: BTreeMap::from([("variant".to_owned(), Level::Text((*label).to_owned()))]),
            variant: (*label).to_owned(),
            trials,
            ..cell.clone()
        })
        .collect();
    Some(Plan {
        study: format!("{}{NOISE}", plan.study),
        title: format!("{} against itself", cell.label),
        profile: String::new(),
        axes: vec![Axis { name: "variant".into(), levels: LABELS.map(|label| Level::Text(label.to_owned())).to_vec() }],
        trials: order(&twins, plan.seed),
        cells: twins,
        metrics: plan.metrics.iter().filter(|metric| metric.instrument.is_none()).cloned().collect(),
        figures: Vec::new(),
        claims: Vec::new(),
        reference: None,
        precision: None,
        limit: None,
        family: Vec::new(),
        excluded: Vec::new(),
        ..plan.clone()
    })
}

/// The profile of this name; `None` for the matrix's own trials.
fn profile<'a>(study: &'a Study, name: Option<&str>) -> Result<Option<&'a Profile>, PlanError> {
    let Some(name) = name.filter(|name| *name != FULL) else { return Ok(None) };
    let found = study.profiles.iter().find(|profile| profile.name == name);
    found.map(Some).ok_or_else(|| {
        let names = [FULL].into_iter().chain(study.profiles.iter().map(|profile| profile.name.as_str()));
        let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        let known = match names.as_slice() {
            [one] => format!("the only one is {one}, which is the trials of [matrix]"),
            _ => format!("those that it has are {}", names.join(", ")),
        };
        PlanError::UnknownProfile { name: name.chars().take(64).collect(), known }
    })
}

/// True when a bar of the figure has a cell.
fn has_cells(figure: &Figure, cells: &[Cell]) -> bool {
    let kept = |cell: &Cell| figure.only.iter().all(|(axis, level)| cell.levels.get(axis) == Some(level));
    if figure.bars.is_empty() {
        cells.iter().any(kept)
    } else {
        figure.bars.iter().any(|bar| cells.iter().any(|cell| has(&bar.of, cell)))
    }
}

/// Every trial of the cells in randomised complete blocks.
fn order(cells: &[Cell], seed: u64) -> Vec<PlannedTrial> {
    order_from(cells, seed, 0)
}

/// As [`order`], with blocks that count from `first`.
fn order_from(cells: &[Cell], seed: u64, first: u32) -> Vec<PlannedTrial> {
    let blocks = cells.iter().map(|cell| cell.trials).max().unwrap_or(0);
    let mut open: Vec<&Cell> = cells.iter().collect();
    let mut trials = Vec::new();
    for block in 0..blocks {
        open.retain(|cell| cell.trials > block);
        let mut members = open.clone();
        shuffle(&mut members, seed, first + block);
        for cell in members {
            // At most `MAX_TRIALS` trials fit in 32 bits.
            let index = u32::try_from(trials.len()).unwrap_or(u32::MAX);
            trials.push(PlannedTrial { index, block: first + block, cell: cell.id.clone(), instrument: None });
        }
    }
    trials
}

/// Trials with an instrument, of each cell of one VM, in blocks of their own after all others: what they disturb is over.
fn instrumented_order(
    cells: &[Cell],
    seed: u64,
    before: &[PlannedTrial],
    instrument: Instrument,
    trials: u32,
) -> Vec<PlannedTrial> {
    let alone: Vec<Cell> =
        cells.iter().filter(|cell| cell.concurrency == 1).map(|cell| Cell { trials, ..cell.clone() }).collect();
    let (first, block) = (before.len(), before.last().map_or(0, |last| last.block + 1));
    let mut all = order_from(&alone, seed, block);
    for (trial, index) in all.iter_mut().zip(first..) {
        trial.index = u32::try_from(index).unwrap_or(u32::MAX);
        trial.instrument = Some(instrument);
    }
    all
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
