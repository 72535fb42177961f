//! A cell against itself.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use microbench::run::needs;
use microbench::store::identity::{self, Identity};
use microbench::store::noise::Noise;
use microbench_formats::code::Code;
use microbench_formats::statistic::Statistic;
use microbench_measure::out;
use microbench_measure::terminal::screen::Stream;
use microbench_plots::{compare, noise, samples};
use microbench_study::plan;

use super::arguments::{HostArgument, SessionArguments, StudyArguments};
use super::runs::{Loaded, Place, hand_over, load, prepare};

/// How a cell is run against itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    /// Comparisons.
    pub(super) repetitions: u32,
    /// Trials under each label in one comparison.
    pub(super) blocks: u32,
    /// Equivalence margin.
    pub(super) margin: f64,
    /// VMMs may run without being isolated from this machine.
    pub(super) allow_unisolated: bool,
}

/// Runs one cell under two labels, and prints how far it is from itself. The exit code is 1 when a comparison found a
/// difference.
pub(super) fn against_itself(
    arguments: &StudyArguments,
    cell: Option<&str>,
    how: How,
    host: HostArgument,
    out: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let How { repetitions, blocks, margin, allow_unisolated } = how;
    let Loaded { study, plan, engines, project, folder } = load(arguments)?;
    let cell = cell.or(plan.cells.first().map(|cell| cell.id.as_str())).unwrap_or_default();
    let plan = plan::against_itself(&plan, cell, repetitions.saturating_mul(blocks)).with_context(|| {
        let cells: Vec<&str> = plan.cells.iter().map(|cell| cell.id.as_str()).collect();
        Code::UnknownCell.says(format!("the study has no cell {cell}; it has {}", cells.join(", ")))
    })?;
    needs::check(host.kind(), &engines, allow_unisolated)?;
    let run = prepare(&study, &plan, engines, &project, &folder, host, Place { out, shard: None })?;
    let session = SessionArguments { allow_unisolated, ..SessionArguments::DEFAULT };
    let (mut command, printed) = hand_over(&run, &project, host, session)?;
    let ended = command.status().context("cannot start the execution")?;
    if !ended.success() {
        return Ok(ExitCode::from(ended.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)));
    }
    microbench_plots::analyze(run.path())?;
    let samples = samples::load(run.path())?;
    let settings = compare::Settings {
        statistic: Statistic::Median,
        margin: Some(margin),
        seed: plan.seed,
        family: Vec::new(),
        blocks: true,
        pooled: false,
    };
    let floors = noise::noise_floors(&plan, &samples, blocks, &settings);
    let of = format!("{} of {}", plan.cells.first().map_or("", |cell| &cell.label), study.name);
    let fingerprint = run.read::<Identity>(identity::FILE)?.fingerprint;
    Noise::new(fingerprint, of, repetitions, blocks, &floors).save()?;
    // Last, because what was measured is kept whether it can be printed or not.
    printed?;
    out!("{}", noise::render(&floors, &plan, &samples, blocks, &settings, Stream::Out.room()))?;
    let wrong: usize = floors.iter().map(noise::NoiseFloor::false_differences).sum();
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
