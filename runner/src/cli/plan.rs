//! `plan`: the trials of a study, without executing any.

use std::process::ExitCode;

use microbench::run::parts;
use microbench_measure::out;
use microbench_measure::terminal::output;
use microbench_study::plan::{self as plans, view};

use super::arguments::StudyArguments;
use super::runs::load;

/// Prints the plan of a study, and its division into `shards`.
pub(super) fn plan(study: &StudyArguments, json: bool, full: bool, shards: Option<u32>) -> anyhow::Result<ExitCode> {
    let loaded = load(study)?;
    shards.map_or(Ok(()), |of| plans::divisible(&loaded.plan, of))?;
    if json {
        output::write_with(|out| plans::write_json(&loaded.plan, out))?;
    } else {
        out!("{}", view::render(&loaded.plan, &loaded.study, full))?;
        out!("{}", view::without_kernel(&loaded.engines))?;
        let cells = parts::not_applicable(&loaded.plan, &loaded.engines, &loaded.project)?;
        out!("{}", view::not_applicable(&cells))?;
        if let Some(of) = shards {
            out!("\n{}", view::shards(&loaded.plan, of))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
