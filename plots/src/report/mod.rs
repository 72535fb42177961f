//! Writes `report.html`: one self-contained page about a run.
//!
//! Each module builds a part of the page as data; `page.html` is the Handlebars template, rendered in strict mode.
//! Handlebars escapes all text. Only the style, the script and the figures are inserted verbatim, and microbench writes
//! all three. A Content Security Policy forbids the page to load anything.

mod attribution;
mod cells;
mod figures;
mod matrix;
mod overview;
mod provenance;
mod uncertainty;

use std::path::{Path, PathBuf};

use handlebars::Handlebars;
use microbench_formats::host::HostKind;
use microbench_formats::input;
use microbench_formats::plan::Plan;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::analyze::AnalyzedRun;
use crate::claim::{self, Verdict};
use crate::file::write;
use crate::journal::Journal;
use crate::kernel::GuestKernels;
use crate::samples::Sample;
use crate::summary::Row;
use crate::{Error, figure};

/// Name of the report in a run directory.
pub const FILE: &str = "report.html";

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The data that the parts of the page are built from.
struct Input<'a> {
    run: &'a Path,
    plan: &'a Plan,
    journal: &'a Journal,
    samples: &'a [Sample],
    rows: &'a [Row],
    verdicts: &'a [Verdict],
    kernels: &'a GuestKernels,
    /// The content of `host.json`; `None` if the run has none.
    host: Option<serde_json::Value>,
}

/// The data of the template.
#[derive(Serialize)]
struct Page {
    /// Nonce of style and script: a digest of the run's files, which a guest cannot predict.
    nonce: String,
    version: &'static str,
    style: &'static str,
    script: &'static str,
    run: String,
    title: String,
    byline: attribution::Byline,
    study: String,
    host: String,
    machine: String,
    sessions: Vec<Fact>,
    samples: String,
    virtual_time: bool,
    unisolated: String,
    missing: Vec<overview::Missing>,
    failed: Limited<overview::Failed>,
    disturbed: Limited<overview::Disturbed>,
    torn: String,
    tally: String,
    claims: Vec<overview::ClaimVerdict>,
    figures: Vec<figures::PageFigure>,
    matrix: matrix::Matrix,
    uncertainty: uncertainty::Uncertainty,
    cells: Vec<cells::CellSamples>,
    cells_left_out: usize,
    metrics: Vec<overview::MetricEntry>,
    host_facts: Vec<Fact>,
    machine_facts: Vec<Fact>,
    unclean_build: String,
    origin: Vec<Fact>,
    artifacts: Vec<provenance::Artifact>,
    files: Vec<provenance::File>,
}

/// A name and a value, for a definition list or a table of two columns.
#[derive(Serialize)]
struct Fact {
    name: String,
    value: String,
}

/// The first rows of a list, and the number of rows that are left out to limit the size of the page.
#[derive(Serialize)]
struct Limited<T> {
    rows: Vec<T>,
    left_out: usize,
}

impl<T> Limited<T> {
    fn new(mut rows: Vec<T>, most: usize) -> Self {
        let left_out = rows.len().saturating_sub(most);
        rows.truncate(most);
        Self { rows, left_out }
    }
}

/// Writes `report.html` into `run`, a run directory, and returns its path.
///
/// # Errors
/// If the run has not been analysed, a figure cannot be drawn, or the file cannot be written.
///
/// ```no_run
/// let run = std::path::Path::new("results/my-run");
/// microbench_plots::analyze(run)?;
/// println!("{}", microbench_plots::report::save(run)?.display());
/// # Ok::<(), microbench_plots::Error>(())
/// ```
pub fn save(run: &Path) -> Result<PathBuf, Error> {
    let AnalyzedRun { run: opened, samples, rows } = AnalyzedRun::load(run)?;
    let journal = opened.journal()?;
    let plan = opened.plan;
    let verdicts = claim::judge(&plan, &rows);
    let kernels = GuestKernels::read(run)?;
    let host = input::read_in(run, "host.json").ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let input = Input {
        run,
        plan: &plan,
        journal: &journal,
        samples: &samples,
        rows: &rows,
        verdicts: &verdicts,
        kernels: &kernels,
        host,
    };
    let path = run.join(FILE);
    let failed = |problem: String| Error::Report { path: path.clone(), problem };
    let page = page(&input)?;
    let text = render(&page).map_err(failed)?;
    write(&path, text.as_bytes())?;
    Ok(path)
}

fn page(input: &Input<'_>) -> Result<Page, Error> {
    let files = provenance::files(input.run)?;
    let digest = Sha256::digest(files.iter().map(|file| file.sha256.as_str()).collect::<String>());
    let (cells, cells_left_out) = cells::samples(input);
    let kind = overview::host(input);
    let empty = serde_json::Value::Null;
    let host = input.host.as_ref().unwrap_or(&empty);
    Ok(Page {
        nonce: hex::encode(digest),
        version: env!("CARGO_PKG_VERSION"),
        style: STYLE,
        script: SCRIPT,
        run: input.run.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        title: input.plan.title.clone(),
        byline: attribution::byline(&input.plan.attribution),
        study: overview::study_sentence(input.plan),
        host: kind.map_or_else(|| "no trial was executed".to_owned(), |kind| kind.note().to_owned()),
        machine: provenance::machine(host),
        sessions: overview::sessions(input.plan, input.journal),
        samples: overview::counts(input.samples),
        virtual_time: kind == Some(HostKind::Emulated),
        unisolated: input.journal.unisolated().unwrap_or_default().to_owned(),
        missing: overview::missing(input.rows),
        failed: overview::failed(input),
        disturbed: overview::disturbed(input.journal),
        torn: input.journal.torn.map_or_else(String::new, |line| {
            format!("The last line of the journal ({line}) is incomplete and was ignored.")
        }),
        tally: format!("{}.", claim::count_outcomes(input.verdicts)),
        claims: overview::claims(input.verdicts),
        figures: figures::all(
            figure::Data { plan: input.plan, rows: input.rows, samples: input.samples },
            input.journal.unisolated().is_none(),
        )?,
        matrix: matrix::matrix(input.plan, input.rows),
        uncertainty: uncertainty::uncertainty(input),
        cells,
        cells_left_out,
        metrics: overview::metrics(input.plan),
        host_facts: provenance::facts(host.get("matters").unwrap_or(&empty)),
        machine_facts: provenance::facts(host.get("machine").unwrap_or(&empty)),
        unclean_build: provenance::unclean_build(&input.journal.sessions),
        origin: provenance::origin(input, host),
        artifacts: provenance::artifacts(host),
        files,
    })
}

fn render(page: &Page) -> Result<String, String> {
    let mut renderer = Handlebars::new();
    renderer.set_strict_mode(true);
    renderer.register_template_string("page", TEMPLATE).map_err(|error| error.to_string())?;
    renderer.render("page", page).map_err(|error| error.to_string())
}
