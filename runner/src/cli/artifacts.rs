//! `artifacts`: provides and lists the artefacts of a study; checks the cache, and removes what no project needs.

use std::process::ExitCode;
use std::time::SystemTime;

use indicatif::DecimalBytes;
use microbench::run::parts::{self, Files};
use microbench_formats::terminal::{Column, fitted};
use microbench_measure::artifacts::cache::Cache;
use microbench_measure::artifacts::unneeded::{self, Unneeded};
use microbench_measure::outln;
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

/// Lists the artefacts of the cache that no project needs, and removes them with `yes`. The exit code is 1 if one cannot
/// be removed.
pub(super) fn collect(yes: bool) -> anyhow::Result<ExitCode> {
    let cache = Cache::for_user()?;
    let mut found = unneeded::find(&cache)?;
    let mut is_complete = true;
    if yes {
        unneeded::forget_missing(&cache)?;
        for entry in found.iter_mut().filter(|entry| entry.kept.is_none()) {
            if let Err(error) = unneeded::remove(&cache, entry) {
                (entry.kept, is_complete) = (Some(format!("{error:#}")), false);
            }
        }
    }
    let columns = [
        Column::left("artefact", 0),
        Column::right("size", 1),
        Column::left("last used", 0),
        Column::left("decision", 0),
    ];
    let date = |at: SystemTime| {
        jiff::Timestamp::try_from(at).map_or_else(|_| String::new(), |at| at.strftime("%F").to_string())
    };
    let decision = |entry: &Unneeded| match &entry.kept {
        Some(why) => format!("kept: {why}"),
        None => if yes { "removed" } else { "remove" }.to_owned(),
    };
    let row = |entry: &Unneeded| {
        vec![entry.name.clone(), DecimalBytes(entry.bytes).to_string(), date(entry.last_used), decision(entry)]
    };
    if !found.is_empty() {
        let rows: Vec<Vec<String>> = found.iter().map(row).collect();
        store::print_text(&fitted(&columns, &rows, Stream::Out.output_width().table).0)?;
    }
    let removed: Vec<&Unneeded> = found.iter().filter(|entry| entry.kept.is_none()).collect();
    let bytes = DecimalBytes(removed.iter().map(|entry| entry.bytes).sum());
    let artefacts = if removed.len() == 1 { "artefact" } else { "artefacts" };
    match (yes, removed.len()) {
        (_, 0) => outln!("nothing to remove")?,
        (true, count) => outln!("{count} {artefacts} removed, {bytes} freed")?,
        (false, count) => {
            outln!("{count} {artefacts} would be removed, {bytes} would be freed; pass --yes to remove")?;
        }
    }
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
