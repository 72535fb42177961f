//! `selftest noise-floor`: an A/A test, which compares a cell with itself.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use microbench::run::requirements;
use microbench::store::identity::{self, Identity};
use microbench::store::noise_floor::NoiseFloor;
use microbench_formats::code::Code;
use microbench_formats::statistic::Statistic;
use microbench_measure::out;
use microbench_measure::terminal::screen::Stream;
use microbench_plots::{compare, noise, samples};
use microbench_study::plan;

use super::arguments::{HostArgument, SessionArguments, StudyArguments};
use super::run::{Loaded, Place, choose_kind, execute_command, load, prepare, print_path};

/// Options of an A/A test.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) repetitions: u32,
    /// Trials under each label in one comparison.
    pub(super) blocks: u32,
    pub(super) margin: f64,
    /// Whether VMMs may run that are not isolated from this machine.
    pub(super) allow_unisolated: bool,
}

/// Runs one cell under two labels, prints the differences, and stores the noise floor of the host. The exit code is 1
/// when a comparison found a difference.
pub(super) fn measure(
    arguments: &StudyArguments,
    cell: Option<&str>,
    options: Options,
    host: HostArgument,
    out: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let Options { repetitions, blocks, margin, allow_unisolated } = options;
    let Loaded { study, plan, engines, project, folder, .. } = load(arguments)?;
    let cell = cell.or(plan.cells.first().map(|cell| cell.id.as_str())).unwrap_or_default();
    let plan = plan::noise_floor_plan(&plan, cell, repetitions.saturating_mul(blocks)).with_context(|| {
        let cells: Vec<&str> = plan.cells.iter().map(|cell| cell.id.as_str()).collect();
        Code::UnknownCell.with_message(format!("the study has no cell {cell}; it has {}", cells.join(", ")))
    })?;
    requirements::check(host.kind(), &engines, allow_unisolated)?;
    let run = prepare(&study, &plan, engines, &project, &folder, host, Place { out, ..Place::default() })?;
    let session = SessionArguments { allow_unisolated, ..SessionArguments::DEFAULT };
    let kind = choose_kind(&run, &project, host, session)?;
    let printed = print_path(&run);
    let ended = execute_command(&run, &project, kind, session)?.status().context("cannot start the execution")?;
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
        alternating: true,
        pooled: false,
        across_host_cpus: false,
    };
    let floors = noise::noise_floors(&plan, &samples, blocks, &settings);
    let subject = format!("{} of {}", plan.cells.first().map_or("", |cell| &cell.label), study.name);
    let fingerprint = run.read::<Identity>(identity::FILE)?.fingerprint;
    NoiseFloor::new(fingerprint, subject, repetitions, blocks, &floors).save()?;
    // After the noise floor is stored, because it is valid even if standard output cannot be written.
    printed?;
    out!("{}", noise::render(&floors, &plan, &samples, blocks, &settings, Stream::Out.output_width()))?;
    let wrong: usize = floors.iter().map(noise::NoiseFloor::false_differences).sum();
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
