//! `artifacts`: provides the artefacts of a study and lists them.

use std::process::ExitCode;

use microbench::run::parts::{self, Files};
use microbench_measure::artifacts::cache::Cache;
use microbench_measure::terminal::screen::Stream;

use super::arguments::StudyArguments;
use super::run::load;
use super::store::{self, print_json};

/// Provides the artefacts of a study, and with `emulated` those of the emulated host.
pub(super) fn artifacts(study: &StudyArguments, emulated: bool, json: bool) -> anyhow::Result<ExitCode> {
    let loaded = load(study)?;
    let cache = Cache::for_user()?;
    let mut lock = parts::provide(&loaded.plan, &loaded.engines, &loaded.project, &cache, Files::In(&loaded.folder))?;
    if emulated {
        parts::provide_emulated_host(&mut lock, &loaded.project, &cache)?;
    }
    if json {
        return print_json(&lock.artifacts);
    }
    store::print_text(&store::artifacts(&lock.artifacts, Stream::Out.output_width()))
}

/// Checks the content of every artefact in the cache. The exit code is 1 if one is damaged.
pub(super) fn verify() -> anyhow::Result<ExitCode> {
    let cache = Cache::for_user()?;
    let (entries, damaged) = cache.verify()?;
    let text = damaged.iter().map(|error| format!("{error:#}\n")).collect::<String>();
    store::print_text(&format!("{text}{entries} artefacts checked, {} damaged\n", damaged.len()))?;
    Ok(if damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
