//! From a run directory's records to samples, statistics and figures.
//!
//! This crate reads and writes files of one run directory and nothing else: it never starts a VM, never touches the
//! host and never imports the runner. [`microbench_formats`] is the contract between the two: the runner writes what is
//! declared there, everything here reads it. polars and plotters are named in this crate alone.

mod analyze;
pub mod claim;
pub mod compare;
pub mod completed;
pub mod figure;
mod file;
pub mod hint;
pub mod import;
pub mod journal;
pub mod latex;
pub mod limit;
pub mod many;
pub mod noise;
pub mod query;
pub mod report;
pub mod run;
pub mod samples;
pub mod schema;
pub mod sentence;
pub mod stats;
pub mod summary;
pub mod table;

pub use analyze::{Analysis, Host, Loaded, analyze, host, loaded, plot, plot_sequences};

use microbench_formats::code::Code;
use microbench_formats::digests::{Changed, PLAN};
use microbench_formats::journal::Damage;
use microbench_formats::plan::Unreadable;

/// Why a run cannot be analysed or drawn.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// Cause.
        cause: std::io::Error,
    },
    /// There is no table of samples yet.
    #[error("{run} has no samples yet; `microbench analyze {run}` makes them of its journal", run = .run.display())]
    NotAnalysed {
        /// The run.
        run: std::path::PathBuf,
    },
    /// `plan.json` cannot be read.
    #[error("cannot read the plan {path}: {cause}")]
    Plan {
        /// The file.
        path: std::path::PathBuf,
        /// Cause.
        cause: Unreadable,
    },
    /// A file of the run is not the one that a session began with.
    #[error(
        "{run}: {cause}; restore the file from a copy{hint}", run = .run.display(),
        hint = if .cause.file == PLAN { ", for instance from `.plan.json`, the plan as the run began" } else { "" }
    )]
    Changed {
        /// The run.
        run: std::path::PathBuf,
        /// Which, and how.
        cause: Changed,
    },
    /// Nothing of the run was executed.
    #[error("{run} has no session: its journal is missing or empty; `microbench run --resume {run}` executes it", run = .run.display())]
    NotBegun {
        /// The run.
        run: std::path::PathBuf,
    },
    /// `host.json` is damaged.
    #[error("{path} is damaged: {cause}; restore it from a copy")]
    Host {
        /// The file.
        path: std::path::PathBuf,
        /// Cause.
        cause: serde_json::Error,
    },
    /// A line of the journal, other than a torn last one, cannot be read.
    #[error("{path}:{line}: {what}", line = .cause.line, what = .cause.cause)]
    Journal {
        /// The file.
        path: std::path::PathBuf,
        /// The line, and what is wrong with it.
        cause: Damage,
    },
    /// polars refuses.
    #[error("{path}: {cause}")]
    Table {
        /// The file that was read or written.
        path: std::path::PathBuf,
        /// Cause.
        cause: polars::error::PolarsError,
    },
    /// A query cannot be answered.
    #[error("{problem}\n{tables}")]
    Query {
        /// What is wrong.
        problem: String,
        /// Every table with its columns.
        tables: String,
    },
    /// A report cannot be made.
    #[error("{path}: {problem}")]
    Report {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A figure cannot be drawn.
    #[error("figure {name}: {problem}")]
    Figure {
        /// The figure.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

impl Error {
    /// The error's code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::File { .. } => Code::System,
            Self::NotAnalysed { .. } => Code::NotAnalysed,
            Self::Plan { cause, .. } => cause.code(),
            Self::Changed { cause, .. } => cause.code(),
            Self::NotBegun { .. } => Code::NotBegun,
            Self::Host { .. } => Code::RunFileDamaged,
            Self::Journal { cause, .. } => cause.code(),
            Self::Table { .. } => Code::BadTable,
            Self::Query { .. } => Code::BadQuery,
            Self::Report { .. } => Code::NoReport,
            Self::Figure { .. } => Code::NoFigure,
        }
    }
}
