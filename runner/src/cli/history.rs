//! `history`: a metric over the runs of a study, with the changes of its level.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use microbench::catalog;
use microbench::store::directory::Directory;
use microbench::store::{lookup, merge};
use microbench_formats::code::Code;
use microbench_formats::input;
use microbench_formats::plan::Plan;
use microbench_measure::artifacts::project::Project;
use microbench_measure::out;
use microbench_measure::terminal::screen::Stream;
use microbench_plots::history::{self, History, LeftOut, Selection};
use microbench_plots::{figure, run, sentence};
use microbench_study::manifest;
use microbench_study::manifest::nearest::{quote, suggest};
use serde::{Deserialize, Serialize};

use super::arguments::{HistoryArguments, HistoryFormat};
use super::store::{print_json, print_text};

/// JSON output of `history`.
#[derive(Serialize)]
struct HistoryReport<'a> {
    #[serde(flatten)]
    history: &'a History,
    figures: Vec<String>,
}

/// Prints the history of a study and draws its figures.
pub(super) fn history(arguments: &HistoryArguments) -> anyhow::Result<ExitCode> {
    let (study, folder) = find_study(&arguments.study, arguments.project.as_deref())?;
    let (runs, mut left_out) = runs_of(&study, &folder)?;
    let Some(plan) = runs.iter().rev().find_map(|path| run::read_plan(path).ok()).map(|(plan, _)| plan) else {
        let message =
            format!("{} contains no run of the study `{study}`; `microbench run STUDY` creates one", folder.display());
        bail!(Code::NoRun.with_message(message));
    };
    let metrics = select_metrics(&plan, &arguments.metric)?;
    let cells = select_cells(&plan, &arguments.cell)?;
    let across_hosts = arguments.across_hosts;
    let mut found = history::read(&runs, Selection { plan: &plan, metrics: &metrics, cells: &cells, across_hosts });
    left_out.append(&mut found.left_out);
    found.left_out = left_out;
    let out = arguments.out.clone().unwrap_or_else(|| folder.join(format!("{study}-history")));
    let mut figures = Vec::new();
    for description in figure::history::describe(&found) {
        figures.extend(figure::save(&description, &out)?);
    }
    match arguments.format {
        HistoryFormat::Json => {
            let figures = figures.iter().map(|path| path.display().to_string()).collect();
            print_json(&HistoryReport { history: &found, figures })
        }
        HistoryFormat::Csv => {
            out!("{}", history::to_csv(&found)?)?;
            Ok(ExitCode::SUCCESS)
        }
        HistoryFormat::Text => {
            let named = arguments.study.display().to_string();
            let mut text = history::render(&found, &named, Stream::Out.output_width());
            for path in figures.iter().filter(|path| path.extension().is_some_and(|end| end == "svg")) {
                text.push_str(&format!("{}\n", path.display()));
            }
            print_text(&text)
        }
    }
}

/// The name of the study that `given` refers to, and the folder of its runs. A name of which there are runs needs no
/// manifest.
fn find_study(given: &Path, root: Option<&Path>) -> anyhow::Result<(String, PathBuf)> {
    /// The part of a manifest that names its study.
    #[derive(Deserialize)]
    struct Manifest {
        study: Study,
    }
    #[derive(Deserialize)]
    struct Study {
        name: String,
    }
    let text = given.to_string_lossy().into_owned();
    let folder = Project::find(root, Path::new("."))?.root().join("runs");
    let is_name = !text.contains('/') && !given.is_file();
    if is_name && lookup::list_runs(&folder).iter().any(|run| run.study == text) {
        return Ok((text, folder));
    }
    let path = catalog::find_study(given, root)?;
    let project = Project::find(root, &path)?;
    let source = input::read_text(&path).ok();
    let name = match source.as_deref().map(toml::from_str::<Manifest>) {
        Some(Ok(manifest)) => manifest.study.name,
        // Reports what is wrong with the manifest.
        _ => manifest::load(&path, &catalog::catalog(&catalog::engines(&path)?, &project))?.name,
    };
    Ok((name, project.root().join("runs")))
}

/// The folders of the runs of a study, oldest first, and its runs that are left out: shards, which a merged run
/// contains.
fn runs_of(study: &str, folder: &Path) -> anyhow::Result<(Vec<PathBuf>, Vec<LeftOut>)> {
    let runs = lookup::list_runs(folder).into_iter().filter(|run| run.study == study);
    let runs: Vec<(PathBuf, Directory)> =
        runs.map(|run| Ok((run.path.clone(), Directory::open(&run.path)?))).collect::<anyhow::Result<_>>()?;
    let mut merged = Vec::new();
    for (_, run) in &runs {
        merged.extend(merge::read_parts(run).unwrap_or_default().into_iter().map(|part| part.name));
    }
    let (mut kept, mut left_out) = (Vec::new(), Vec::new());
    for (path, run) in runs {
        match run.shard() {
            Ok(Some(_)) if merged.contains(&run.name()) => {}
            Ok(Some(shard)) => {
                let reason = format!("it is shard {shard} of a run that was not merged");
                left_out.push(LeftOut { name: run.name(), reason });
            }
            _ => kept.push(path),
        }
    }
    Ok((kept, left_out))
}

/// The metrics with the given names, in the order of the plan; without a name those that `analyze` has sentences about.
fn select_metrics<'a>(plan: &'a Plan, given: &[String]) -> anyhow::Result<Vec<&'a str>> {
    if given.is_empty() {
        return Ok(sentence::headline_metrics(plan));
    }
    let all: Vec<&str> = plan.metrics.iter().map(|metric| metric.name.as_str()).collect();
    if let Some(unknown) = given.iter().find(|name| !all.contains(&name.as_str())) {
        let suggestion = suggest(unknown, "metrics", all.iter().copied());
        let message = format!("the newest run has no metric {}; {suggestion}", quote(unknown));
        bail!(Code::UnknownName.with_message(message));
    }
    Ok(all.into_iter().filter(|name| given.iter().any(|own| own == name)).collect())
}

/// The cells with the given identifiers, in the order of the plan; without one all cells.
fn select_cells<'a>(plan: &'a Plan, given: &[String]) -> anyhow::Result<Vec<&'a str>> {
    let all: Vec<&str> = plan.cells.iter().map(|cell| cell.id.as_str()).collect();
    if let Some(unknown) = given.iter().find(|id| !all.contains(&id.as_str())) {
        let suggestion = suggest(unknown, "cells", all.iter().copied());
        let message = format!("the newest run has no cell {}; {suggestion}", quote(unknown));
        bail!(Code::UnknownCell.with_message(message));
    }
    Ok(all.into_iter().filter(|id| given.is_empty() || given.iter().any(|own| own == id)).collect())
}
