//! The two steps that process a run directory: `analyze` writes samples and summary, `plot` draws figures.

use std::path::{Path, PathBuf};

use microbench_formats::figure::{Figure, Theme};
use microbench_formats::plan::Plan;
use rayon::prelude::*;

use crate::claim::{self, Verdict};
use crate::figure::{Data, Description};
use crate::journal::{self, Journal};
use crate::kernel::GuestKernels;
use crate::run::Run;
use crate::samples::{Sample, Status};
use crate::summary::{self, Row};
use crate::uncertainty::Budget;
use crate::{Error, figure, samples, uncertainty};

/// The result of [`analyze`].
#[derive(Clone, Debug)]
pub struct Analysis {
    pub plan: Plan,
    pub journal: Journal,
    /// The number of samples with a value, without warm-ups and superseded executions.
    pub values: usize,
    /// The number of samples without a value, without warm-ups and superseded executions.
    pub missing: usize,
    /// One row for each cell and metric.
    pub summary: Vec<Row>,
    /// The uncertainty of each row with a value.
    pub uncertainty: Vec<Budget>,
    /// The guest kernels of the run.
    pub kernels: GuestKernels,
    /// One verdict for each claim of the plan.
    pub verdicts: Vec<Verdict>,
}

/// Reads the journal of the run directory `run` and writes `samples.parquet`, `samples.csv`, `summary.csv` and
/// `uncertainty.csv`; with claims in the study also `claims.md` and `claims.csv`. An incomplete run is not an error:
/// missing values are rows of the tables.
///
/// # Errors
/// If a file of the run is missing, damaged or changed, or a file cannot be written.
///
/// ```no_run
/// use std::path::Path;
///
/// let analysis = microbench_plots::analyze(Path::new("runs/first"))?;
/// for row in &analysis.summary {
///     println!("{} {}: {:?} {}", row.cell, row.metric, row.median(), row.unit);
/// }
/// # Ok::<(), microbench_plots::Error>(())
/// ```
pub fn analyze(run: &Path) -> Result<Analysis, Error> {
    let opened = Run::open(run)?;
    let journal = opened.journal()?;
    let plan = opened.plan;
    let samples = samples::samples(&plan, &journal);
    samples::save(run, &plan, &samples)?;
    let summary = summary::summarise(&plan, &samples);
    summary::save(run, &summary, plan.seed)?;
    let kernels = GuestKernels::read(run)?;
    let uncertainty = uncertainty::budgets(&plan, &summary, &journal, &kernels);
    uncertainty::save(run, &uncertainty)?;
    let verdicts = claim::judge(&plan, &summary);
    if !verdicts.is_empty() {
        claim::save(run, &plan, &verdicts)?;
    }
    let counted = samples.iter().filter(|sample| sample.counts());
    let (mut values, mut missing) = (0, 0);
    for sample in counted {
        if sample.status == Status::Ok { values += 1 } else { missing += 1 }
    }
    Ok(Analysis { plan, journal, values, missing, summary, uncertainty, kernels, verdicts })
}

/// Draws the plan's figures from `samples.parquet` of the run directory `run` into `figures/`, and returns the paths
/// of the files. With `theme`, all figures are drawn in that theme into `figures/THEME/`.
///
/// # Errors
/// If the run has not been analysed, or a file cannot be written.
///
/// ```no_run
/// use std::path::Path;
///
/// for path in microbench_plots::plot(Path::new("runs/first"), None)? {
///     println!("{}", path.display());
/// }
/// # Ok::<(), microbench_plots::Error>(())
/// ```
pub fn plot(run: &Path, theme: Option<Theme>) -> Result<Vec<PathBuf>, Error> {
    let AnalyzedRun { run: opened, samples, rows } = AnalyzedRun::load(run)?;
    let plan = &opened.plan;
    let (folder, isolated) = (figure_folder(run, theme), opened.is_isolated());
    let draw = |figure: &Figure| -> Result<Vec<PathBuf>, Error> {
        let themed = &Figure { theme: theme.unwrap_or(figure.theme), ..figure.clone() };
        let described = figure::describe(Data { plan, rows: &rows, samples: &samples }, themed)?;
        save(with_isolation_remark(described, isolated), &folder)
    };
    collect_files(plan.figures.par_iter().map(draw))
}

/// The figures, with the remark [`UNISOLATED`](journal::UNISOLATED) unless the run is isolated.
pub(crate) fn with_isolation_remark(described: Vec<Description>, isolated: bool) -> Vec<Description> {
    let remark = |figure: Description| if isolated { figure } else { figure.with_remark(journal::UNISOLATED) };
    described.into_iter().map(remark).collect()
}

/// Draws the figures and returns the paths of their files, in order.
fn save(described: Vec<Description>, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    collect_files(described.par_iter().map(|description| figure::save(description, folder)))
}

/// The files of figures that are drawn in parallel, in order, or the first error in that order.
fn collect_files(
    drawn: impl IndexedParallelIterator<Item = Result<Vec<PathBuf>, Error>>,
) -> Result<Vec<PathBuf>, Error> {
    let drawn: Vec<_> = drawn.collect();
    Ok(drawn.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// Draws the sequence figures of `cells` (of every cell if empty) into the folder that [`plot`] uses, and returns the
/// paths of the files.
///
/// # Errors
/// If the run has not been analysed, a cell does not exist, or a file cannot be written.
pub fn plot_sequences(run: &Path, theme: Option<Theme>, cells: &[String]) -> Result<Vec<PathBuf>, Error> {
    let opened = Run::open(run)?;
    let (plan, samples) = (&opened.plan, samples::load(run)?);
    let data = Data { plan, rows: &[], samples: &samples };
    let order = figure::sequence::Order::new(plan, &opened.journal()?);
    let all: Vec<String> = plan.cells.iter().map(|cell| cell.id.to_string()).collect();
    let mut described = Vec::new();
    // All figures are described before the first is drawn, so that an unknown cell draws nothing.
    for cell in if cells.is_empty() { &all } else { cells } {
        described.extend(figure::sequence::describe(data, &order, cell, theme.unwrap_or_default())?);
    }
    save(with_isolation_remark(described, opened.is_isolated()), &figure_folder(run, theme))
}

fn figure_folder(run: &Path, theme: Option<Theme>) -> PathBuf {
    match theme {
        None => run.join("figures"),
        Some(Theme::Paper) => run.join("figures/paper"),
        Some(Theme::Publication) => run.join("figures/publication"),
    }
}

/// A run with its samples and summary, for reports, tables and figures.
#[derive(Clone, Debug)]
pub struct AnalyzedRun {
    pub run: Run,
    /// One sample for each VM and metric.
    pub samples: Vec<Sample>,
    /// One row for each cell and metric.
    pub rows: Vec<Row>,
}

impl AnalyzedRun {
    /// Opens the run directory `run`, reads its samples and summarises them.
    ///
    /// # Errors
    /// Like [`Run::open`], and [`Error::NotAnalysed`] without `samples.parquet`.
    pub fn load(run: &Path) -> Result<Self, Error> {
        let run = Run::open(run)?;
        let samples = samples::load(&run.folder)?;
        let rows = summary::summarise(&run.plan, &samples);
        Ok(Self { run, samples, rows })
    }
}
