//! Expands a [`Study`] into a [`Plan`]: the number of trials of each cell, and the order of all trials.
//!
//! The trials are in randomised complete blocks: block `b` has one trial of every cell with more than `b` trials, in
//! random order. A drift of the host then affects all cells equally.
//!
//! The shuffle is part of the format: the same seed and the same list of cells always give the same order. It is the
//! Fisher-Yates shuffle from the last element down, over the cells of the block in manifest order. The random numbers
//! are those of ChaCha8. Its key is the seed (8 bytes, little-endian, then zeros), and its stream is the number of the
//! block. The order of a block therefore does not depend on the number of blocks.
//!
//! A plan with several repetitions has all trials once in each repetition. Blocks are numbered through, so that each
//! repetition has its own orders, and the first repetition is the plan without repetitions.

mod claims;
pub mod explain;
pub mod hints;
pub mod view;

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::num::NonZeroU32;

use microbench_formats::axis::{Axis, Level};
use microbench_formats::cell::Cell;
use microbench_formats::code::Code;
use microbench_formats::figure::Figure;
use microbench_formats::instrument::Instrument;
use microbench_formats::level_map::LevelMap;
use microbench_formats::metric::{Metric, MetricSource};
use microbench_formats::plan::{Plan, PlannedTrial};
use microbench_formats::selection::selects;
use microbench_formats::shard::Shard;
use microbench_formats::version::FORMAT_VERSION;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use crate::engine::guest_settings::StopAt;
use crate::manifest::nearest::count;
use crate::manifest::{self, FULL, MAX_TRIALS, Profile, Study};

/// Why a plan cannot be made or divided.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The study has no profile of this name.
    #[error("the study has no profile `{name}`; {known}")]
    UnknownProfile {
        /// The unknown name.
        name: String,
        /// The known profiles, as a sentence.
        known: String,
    },
    /// The plan cannot be repeated.
    #[error("the plan cannot have {repetitions} repetitions: {reason}")]
    NotRepeatable {
        /// Requested number of repetitions.
        repetitions: u32,
        /// The reason, and what to do.
        reason: &'static str,
    },
    /// Overrides would give too many trials.
    #[error("the plan would have {total} trials; the limit is {MAX_TRIALS}")]
    TooManyTrials {
        /// Number of trials of all cells and repetitions.
        total: u64,
    },
    /// The plan cannot be divided into shards.
    #[error("the plan cannot be divided into {}: {reason}", count(u64::from(*.of), "shard"))]
    NotDivisible {
        /// Requested number of shards.
        of: u32,
        /// The reason, and what to do.
        reason: String,
    },
}

impl PlanError {
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::UnknownProfile { .. } => Code::UnknownProfile,
            Self::NotRepeatable { .. } => Code::BadValue,
            Self::TooManyTrials { .. } => Code::TooManyTrials,
            Self::NotDivisible { .. } => Code::NotDivisible,
        }
    }
}

/// Values of the command line that override those of the manifest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overrides<'a> {
    /// Seed of the run order.
    pub seed: Option<u64>,
    /// Trials of every cell; overrides the profile.
    pub trials: Option<NonZeroU32>,
    /// Name of a profile.
    pub profile: Option<&'a str>,
    /// Number of repetitions.
    pub repetitions: Option<NonZeroU32>,
}

/// The workload value that a metric reports, for instance `duration`.
fn workload_value(metric: &Metric) -> &str {
    match &metric.source {
        MetricSource::Reading(name) => name.rsplit('.').next().unwrap_or_default(),
        MetricSource::Span { .. } => "",
    }
}

/// Makes the plan of a study.
///
/// # Errors
/// An unknown profile, repetitions of a plan with a stopping rule, or more than [`MAX_TRIALS`] trials including those
/// with an instrument.
pub fn expand(study: &Study, overrides: Overrides<'_>) -> Result<Plan, PlanError> {
    let profile = find_profile(study, overrides.profile)?;
    let mut axes = study.axes.clone();
    let mut cells = study.cells.clone();
    let mut figures = study.figures.clone();
    if let Some(profile) = profile {
        cells.retain(|cell| profile.selects(cell));
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
    for workload in &mut workloads {
        let (before, rounds) = (workload.clone(), workload.rounds);
        workload.rounds =
            profile.and_then(|profile| profile.rounds).map_or(workload.rounds, |most| workload.rounds.min(most));
        // A definition that the manifest sets is kept.
        if let Some(metric) = metrics.iter_mut().find(|metric| metric.name == workload.metric) {
            let value = workload_value(metric).to_owned();
            if metric.definition == manifest::workload_definition(&before, &value) {
                metric.definition = manifest::workload_definition(workload, &value);
            }
        }
        if let Some(reference) = reference.as_mut().filter(|_| workload.rounds != rounds) {
            let before = reference.values.len();
            reference.values.retain(|value| value.metric != workload.metric);
            if reference.values.len() < before {
                let reason = format!("measured with {rounds} rounds, but this profile has {}", workload.rounds);
                reference.left_out.insert(workload.metric.clone(), reason);
            }
        }
    }
    if let Some(trials) = overrides.trials {
        cells.iter_mut().for_each(|cell| cell.trials = trials.get());
    }
    let needed = |instrument: &Instrument| study.metrics.iter().any(|metric| metric.instrument == Some(*instrument));
    let instruments: Vec<Instrument> = Instrument::ALL.into_iter().filter(needed).collect();
    let is_observed = |cell: &Cell, instrument| is_observed(cell, instrument, &study.shared_kernel);
    let observed = |instrument: &Instrument| cells.iter().filter(|cell| is_observed(cell, *instrument)).count() as u64;
    let instrumented = instruments.iter().map(observed).sum::<u64>() * u64::from(study.instrument_trials);
    let repetitions = overrides.repetitions.map_or(study.repetitions, NonZeroU32::get);
    let each = cells.iter().map(|cell| u64::from(cell.trials)).sum::<u64>() + instrumented;
    let total = each.saturating_mul(u64::from(repetitions));
    if total > MAX_TRIALS {
        return Err(PlanError::TooManyTrials { total });
    }
    let seed = overrides.seed.unwrap_or(study.seed);
    // The stopping rule does not apply to an explicit number of trials.
    let precision = study.precision.clone().filter(|_| profile.is_none() && overrides.trials.is_none());
    if precision.is_some() && repetitions > 1 {
        return Err(PlanError::NotRepeatable { repetitions, reason: NO_STOPPING_RULE });
    }
    let mut trials = Vec::new();
    for repetition in 0..repetitions {
        let first = trials.len();
        append(&mut trials, &cells, seed, None);
        for instrument in &instruments {
            let observed = cells.iter().filter(|cell| is_observed(cell, *instrument));
            let observed: Vec<Cell> =
                observed.map(|cell| Cell { trials: study.instrument_trials, ..cell.clone() }).collect();
            append(&mut trials, &observed, seed, Some(*instrument));
        }
        trials[first..].iter_mut().for_each(|trial| trial.repetition = repetition);
    }
    Ok(Plan {
        format: FORMAT_VERSION,
        study: study.name.clone(),
        title: study.title.clone(),
        attribution: study.attribution.clone(),
        protocol: study.protocol,
        profile: match profile {
            Some(profile) => profile.name.clone(),
            None if study.profiles.is_empty() && overrides.profile.is_none() => String::new(),
            None => FULL.into(),
        },
        seed,
        repetitions,
        warmup: study.warmup,
        give_up_after: study.max_consecutive_failures,
        axes,
        trials,
        cells,
        workloads,
        metrics,
        figures,
        claims: study.claims.clone(),
        reference,
        family: study.family.clone(),
        across_host_cpus: study.across_host_cpus,
        precision,
        limit: study.limit,
        excluded: study.excluded.clone(),
    })
}

/// Why a plan with a stopping rule has no repetitions, and what to do.
const NO_STOPPING_RULE: &str = "its stopping rule (`precision`) checks the trials of one repetition only; run a fixed \
                                number of trials: --trials N or --profile NAME";

/// Maximum number of shards: the default limit of Slurm's job arrays is 1000.
pub const MAX_SHARDS: u32 = 1000;

/// Checks that the plan can be divided into `of` shards.
///
/// A plan with a stopping rule cannot. The rule checks every cell over all blocks, but a shard has only its own blocks.
/// If each shard stopped by itself, hosts would have different weights, and the coverage of the interval would be
/// unknown.
///
/// # Errors
/// [`PlanError::NotDivisible`]: the plan has repetitions, a stopping rule or a limit, or a shard would have no block.
pub fn divisible(plan: &Plan, of: u32) -> Result<(), PlanError> {
    let refused = |reason: String| Err(PlanError::NotDivisible { of, reason });
    if plan.repetitions > 1 {
        let reason = "each repetition needs all of its trials on one host; remove `repetitions` from [matrix], \
                      or pass --repetitions 1: each host of a shard is a block of its own";
        return refused(reason.to_owned());
    }
    if plan.precision.is_some() {
        let reason = "its stopping rule checks all blocks, but a shard has only its own; run a fixed number of trials instead: \
                      --trials N or --profile NAME";
        return refused(reason.to_owned());
    }
    if plan.limit.is_some() {
        let reason = "its limit applies to all trials of a level of concurrency, but a shard has only its own trials";
        return refused(reason.to_owned());
    }
    let blocks = blocks(plan);
    if of > MAX_SHARDS || of > blocks {
        let most = blocks.min(MAX_SHARDS);
        return refused(format!(
            "it has {}, and each shard needs a whole block: use at most {}",
            count(u64::from(blocks), "block"),
            count(u64::from(most), "shard")
        ));
    }
    Ok(())
}

/// Number of blocks, including those with an instrument.
#[must_use]
pub fn blocks(plan: &Plan) -> u32 {
    plan.trials.iter().map(|trial| trial.block.saturating_add(1)).max().unwrap_or(0)
}

/// The trials of `shard`, in order.
pub fn trials_of_shard(plan: &Plan, shard: Shard) -> impl Iterator<Item = &PlannedTrial> {
    plan.trials.iter().filter(move |trial| shard.contains_block(trial.block))
}

/// Names of the two variants of an A/A test.
pub const LABELS: [&str; 2] = ["A", "B"];

/// Suffix of the study's name for an A/A test.
pub const NOISE: &str = "-noise";

/// The plan of an A/A test, which measures the noise floor: one cell of `plan` as two variants ([`LABELS`]).
///
/// Each variant has `trials` trials, in blocks of one trial each. `None` for an unknown cell.
#[must_use]
pub fn noise_floor_plan(plan: &Plan, cell: &str, trials: u32) -> Option<Plan> {
    let trials = trials.min(u32::try_from(MAX_TRIALS / 2).unwrap_or(u32::MAX));
    let cell = plan.cells.iter().find(|own| own.id == cell)?;
    let twins: Vec<Cell> = (LABELS.iter())
        .map(|label| Cell {
            id: (*label).into(),
            levels: LevelMap::from_iter([("variant".to_owned(), Level::Text((*label).to_owned()))]),
            variant: (*label).into(),
            trials,
            ..cell.clone()
        })
        .collect();
    Some(Plan {
        study: format!("{}{NOISE}", plan.study),
        title: format!("{} against itself", cell.label),
        profile: String::new(),
        repetitions: 1,
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
        across_host_cpus: false,
        excluded: Vec::new(),
        ..plan.clone()
    })
}

/// The profile of this name; `None` for the trials of the matrix.
fn find_profile<'a>(study: &'a Study, name: Option<&str>) -> Result<Option<&'a Profile>, PlanError> {
    let Some(name) = name.filter(|name| *name != FULL) else { return Ok(None) };
    let found = study.profiles.iter().find(|profile| profile.name == name);
    found.map(Some).ok_or_else(|| {
        let names = [FULL].into_iter().chain(study.profiles.iter().map(|profile| profile.name.as_str()));
        let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        let known = match names.as_slice() {
            [one] => format!("the only profile is {one}, the trials of [matrix]"),
            _ => format!("its profiles are {}", names.join(", ")),
        };
        PlanError::UnknownProfile { name: name.chars().take(64).collect(), known }
    })
}

/// True if a bar of the figure has a cell.
fn has_cells(figure: &Figure, cells: &[Cell]) -> bool {
    if figure.bars.is_empty() {
        cells.iter().any(|cell| selects(&figure.only, cell))
    } else {
        figure.bars.iter().any(|bar| cells.iter().any(|cell| selects(&bar.of, cell)))
    }
}

/// All trials of the cells in randomised complete blocks.
fn order(cells: &[Cell], seed: u64) -> Vec<PlannedTrial> {
    let mut trials = Vec::new();
    append(&mut trials, cells, seed, None);
    trials
}

/// Adds the trials of the cells to `trials`, in randomised complete blocks that follow all others. Trials with an
/// instrument therefore disturb no timed trial.
fn append(trials: &mut Vec<PlannedTrial>, cells: &[Cell], seed: u64, instrument: Option<Instrument>) {
    let first = trials.last().map_or(0, |last| last.block + 1);
    let blocks = cells.iter().map(|cell| cell.trials).max().unwrap_or(0);
    let mut open: Vec<&Cell> = cells.iter().collect();
    for block in 0..blocks {
        open.retain(|cell| cell.trials > block);
        let mut members = open.clone();
        shuffle(&mut members, seed, first + block);
        for cell in members {
            // At most `MAX_TRIALS` trials fit in 32 bits.
            let index = u32::try_from(trials.len()).unwrap_or(u32::MAX);
            trials.push(PlannedTrial { index, block: first + block, repetition: 0, cell: cell.id.clone(), instrument });
        }
    }
}

/// True if trials of the cell under the instrument are planned: a cell of one VM. strace slows a VMM down so much that a
/// guest does not reach the reset pulses that end it, which a guest of an engine of `shared_kernel` does not have.
fn is_observed(cell: &Cell, instrument: Instrument, shared_kernel: &BTreeSet<String>) -> bool {
    let at_pulses = cell.settings.get("stop_at") == Some(&Level::Text(StopAt::ResetPulses.name().to_owned()));
    let ends_at_pulses = at_pulses && !shared_kernel.contains(&*cell.engine);
    cell.concurrency == 1 && !(instrument == Instrument::Strace && ends_at_pulses)
}

fn shuffle<T>(items: &mut [T], seed: u64, block: u32) {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(u64::from(block));
    for last in (1..items.len()).rev() {
        items.swap(last, random_below(&mut rng, last + 1));
    }
}

/// A uniform random number below `bound`. Draws from the largest multiple of `bound` on are rejected.
fn random_below(rng: &mut ChaCha8Rng, bound: usize) -> usize {
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

/// Writes `plan.json`.
///
/// # Errors
/// The errors of `out`; serialisation itself cannot fail.
pub fn write_json(plan: &Plan, out: impl Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, out);
    serde_json::to_writer_pretty(&mut out, plan)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// SHA-256 of `plan.json` as 64 hex digits, which identifies the plan.
#[must_use]
pub fn digest(plan: &Plan) -> String {
    let mut digest = Digester(Sha256::new());
    // Writing to a digest cannot fail.
    let _ = write_json(plan, &mut digest);
    hex::encode(digest.0.finalize())
}

struct Digester(Sha256);

impl Write for Digester {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_a_seed_never_changes() {
        // Computed by an independent implementation of the module's documentation.
        let mut items: Vec<u32> = (0..10).collect();
        shuffle(&mut items, 2019, 0);
        assert_eq!(items, [9, 7, 3, 5, 1, 8, 0, 6, 2, 4]);
        let mut items: Vec<u32> = (0..10).collect();
        shuffle(&mut items, 2019, 1);
        assert_eq!(items, [5, 6, 9, 0, 3, 2, 1, 7, 4, 8]);
    }

    #[test]
    fn every_position_is_equally_likely() {
        let mut counts = [[0_u32; 5]; 5];
        for seed in 0..5000 {
            let mut items = [0, 1, 2, 3, 4];
            shuffle(&mut items, seed, 0);
            items.iter().enumerate().for_each(|(place, item)| counts[*item][place] += 1);
        }
        // Expected 1000 each; the standard deviation is 28.
        assert!(counts.iter().flatten().all(|count| (860..1140).contains(count)), "{counts:?}");
    }
}
