//! The two steps over a run directory: samples and summary, then figures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use microbench_formats::figure::{Figure, Theme};
use microbench_formats::plan::Plan;
use rayon::prelude::*;
use serde::Deserialize;

use crate::claim::{self, Verdict};
use crate::figure::{Data, Description};
use crate::file::at;
use crate::journal::{self, Journal};
use crate::run::Run;
use crate::samples::{Sample, Status};
use crate::summary::{self, Row};
use crate::{Error, figure, samples};

/// What an analysis found.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// The plan.
    pub plan: Plan,
    /// The journal.
    pub journal: Journal,
    /// Samples with a value, warm-ups left out.
    pub values: usize,
    /// Samples without one, warm-ups left out.
    pub missing: usize,
    /// One row for each cell and metric.
    pub summary: Vec<Row>,
    /// What became of the plan's claims.
    pub verdicts: Vec<Verdict>,
}

/// Reads the journal of `run`; writes `samples.parquet`, `samples.csv` and `summary.csv`, and where the study makes claims
/// `claims.md` and `claims.csv`. A run that is still incomplete is
/// no error: what is missing is in the table.
///
/// # Errors
/// When a file is damaged or cannot be written.
pub fn analyze(run: &Path) -> Result<Analysis, Error> {
    let opened = Run::open(run)?;
    let journal = opened.journal()?;
    let plan = opened.plan;
    let samples = samples::samples(&plan, &journal);
    samples::save(run, &plan, &samples)?;
    let summary = summary::summarise(&plan, &samples);
    summary::save(run, &summary, plan.seed)?;
    let verdicts = claim::judge(&plan, &summary);
    if !verdicts.is_empty() {
        claim::save(run, &plan, &verdicts)?;
    }
    let counted = samples.iter().filter(|sample| sample.counts());
    let (mut values, mut missing) = (0, 0);
    for sample in counted {
        if sample.status == Status::Ok { values += 1 } else { missing += 1 }
    }
    Ok(Analysis { plan, journal, values, missing, summary, verdicts })
}

/// A host as runs are compared by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The fingerprint; of several hosts whose fingerprints differ all of them, sorted and joined by `+`.
    pub fingerprint: String,
    /// What the fingerprint is made of, by name; empty for several hosts.
    pub facts: BTreeMap<String, String>,
}

/// The host of `run`; `None` when none is recorded, as in an imported run.
///
/// # Errors
/// When its file is damaged.
pub fn host(run: &Path) -> Result<Option<Host>, Error> {
    let own = run.join("host.json");
    if own.exists() {
        return host_of_file(&own).map(Some);
    }
    let folder = run.join("hosts");
    if !folder.is_dir() {
        return Ok(None);
    }
    let mut all = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(at(&folder))? {
        all.push(host_of_file(&entry.map_err(at(&folder))?.path())?.fingerprint);
    }
    all.sort();
    all.dedup();
    Ok((!all.is_empty()).then(|| Host { fingerprint: all.join("+"), facts: BTreeMap::new() }))
}

/// What a comparison needs of `host.json`.
#[derive(Deserialize)]
struct HostFile {
    fingerprint: String,
    #[serde(rename = "matters")]
    facts: BTreeMap<String, String>,
}

fn host_of_file(path: &Path) -> Result<Host, Error> {
    let damaged = |source| Error::Host { path: path.to_path_buf(), cause: source };
    let file: HostFile = serde_json::from_slice(&std::fs::read(path).map_err(at(path))?).map_err(damaged)?;
    Ok(Host { fingerprint: file.fingerprint, facts: file.facts })
}

/// Draws the plan's figures from `samples.parquet` of `run` into `figures/`, or all of them in `theme` into `figures/THEME/`;
/// returns the files.
///
/// # Errors
/// When the run has not been analysed, or a file cannot be written.
pub fn plot(run: &Path, theme: Option<Theme>) -> Result<Vec<PathBuf>, Error> {
    let Loaded { run: opened, samples, rows } = loaded(run)?;
    let plan = &opened.plan;
    let (folder, isolated) = (folder(run, theme), opened.is_isolated());
    let draw = |wanted: &Figure| -> Result<Vec<PathBuf>, Error> {
        let wanted = &Figure { theme: theme.unwrap_or(wanted.theme), ..wanted.clone() };
        let described = figure::describe(Data { plan, rows: &rows, samples: &samples }, wanted)?;
        save(remarked(described, isolated), &folder)
    };
    together(plan.figures.par_iter().map(draw))
}

/// The figures with what the reader of each must know of the run.
pub(crate) fn remarked(described: Vec<Description>, isolated: bool) -> Vec<Description> {
    let remark = |figure: Description| if isolated { figure } else { figure.with_remark(journal::UNISOLATED) };
    described.into_iter().map(remark).collect()
}

/// The files of the figures, in their order.
fn save(described: Vec<Description>, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    together(described.par_iter().map(|description| figure::save(description, folder)))
}

/// What was drawn at the same time, in order, or the first error by that order.
fn together(drawn: impl IndexedParallelIterator<Item = Result<Vec<PathBuf>, Error>>) -> Result<Vec<PathBuf>, Error> {
    let drawn: Vec<_> = drawn.collect();
    Ok(drawn.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// Draws sequences of `cells`, or of every cell for none, from `samples.parquet` of `run` into the folder of [`plot`]'s; returns the
/// files.
///
/// # Errors
/// When the run has not been analysed, has no such cell, or a file cannot be written.
pub fn plot_sequences(run: &Path, theme: Option<Theme>, cells: &[String]) -> Result<Vec<PathBuf>, Error> {
    let opened = Run::open(run)?;
    let (plan, samples) = (&opened.plan, samples::load(run)?);
    let data = Data { plan, rows: &[], samples: &samples };
    let all: Vec<String> = plan.cells.iter().map(|cell| cell.id.to_string()).collect();
    let mut described = Vec::new();
    // All are described first, so that a wrong name draws nothing.
    for cell in if cells.is_empty() { &all } else { cells } {
        described.extend(figure::sequence::describe(data, cell, theme.unwrap_or_default())?);
    }
    save(remarked(described, opened.is_isolated()), &folder(run, theme))
}

fn folder(run: &Path, theme: Option<Theme>) -> PathBuf {
    match theme {
        None => run.join("figures"),
        Some(Theme::Paper) => run.join("figures/paper"),
        Some(Theme::Publication) => run.join("figures/publication"),
    }
}

/// What every view of an analysed run is made of.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The run.
    pub run: Run,
    /// A row for each VM and metric.
    pub samples: Vec<Sample>,
    /// A row for each cell and metric.
    pub rows: Vec<Row>,
}

/// Opens `run`, reads its samples and summarises them.
///
/// # Errors
/// Those of [`Run::open`]; when the run has not been analysed.
pub fn loaded(run: &Path) -> Result<Loaded, Error> {
    let run = Run::open(run)?;
    let samples = samples::load(&run.folder)?;
    let rows = summary::summarise(&run.plan, &samples);
    Ok(Loaded { run, samples, rows })
}
