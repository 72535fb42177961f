//! `plan`: shows the trials of a study without executing any.

use std::num::NonZeroU32;
use std::process::ExitCode;

use anyhow::Context as _;
use microbench::run::parts;
use microbench_measure::out;
use microbench_measure::terminal::output;
use microbench_measure::terminal::screen::Stream;
use microbench_study::plan::{self as plans, view};

use super::arguments::StudyArguments;
use super::run::load_repeated;

/// Prints the plan of a study, and with `shards` its division.
pub(super) fn plan(
    study: &StudyArguments,
    repetitions: Option<NonZeroU32>,
    json: bool,
    full: bool,
    shards: Option<u32>,
) -> anyhow::Result<ExitCode> {
    let loaded = load_repeated(study, repetitions)?;
    shards.map_or(Ok(()), |of| plans::divisible(&loaded.plan, of))?;
    if json {
        if Stream::Out.is_terminal() {
            let mut text = Vec::new();
            plans::write_json(&loaded.plan, &mut text).context("cannot write the plan as JSON")?;
            output::print_json(&String::from_utf8_lossy(&text))?;
        } else {
            // The bytes of plan.json, whose digest identifies the plan.
            output::write_with(|out| plans::write_json(&loaded.plan, out))?;
        }
    } else {
        let width = Stream::Out.columns().unwrap_or(view::DEFAULT_WIDTH);
        out!("{}", view::render(&loaded.plan, &loaded.study, full, width))?;
        out!("{}", view::without_kernel(&loaded.engines, width))?;
        out!("{}", view::hints(&plans::hints::hints(&loaded.plan, &loaded.engines), width))?;
        let cells = parts::not_applicable(&loaded.plan, &loaded.engines, &loaded.project)?;
        out!("{}", view::not_applicable(&cells, width))?;
        if let Some(of) = shards {
            out!("\n{}", view::shards(&loaded.plan, of, width))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
