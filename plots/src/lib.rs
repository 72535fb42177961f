//! The analysis of a run directory: samples, statistics, comparisons, claims, figures, tables and the report.
//!
//! The crate reads and writes files of run directories only. It starts no VM, does not touch the host and does not
//! depend on the runner. The formats of the files are in [`microbench_formats`]. Only this crate depends on polars
//! and plotters.
//!
//! [`analyze`] is the entry point; [`run::Run::open`] opens a run without writing to it.

mod analyze;
pub mod claim;
pub mod compare;
pub mod completed;
mod definition;
pub mod figure;
mod file;
pub mod hint;
pub mod history;
mod host;
mod host_cpu;
pub mod import;
pub mod journal;
mod kernel;
pub mod latex;
pub mod limit;
pub mod noise;
pub mod number;
pub mod pooled;
pub mod query;
pub mod report;
pub mod run;
pub mod samples;
pub mod schema;
pub mod sentence;
pub mod stats;
pub mod summary;
pub mod table;
pub mod uncertainty;

pub use analyze::{Analysis, AnalyzedRun, analyze, plot, plot_sequences};
pub use host::{Host, read_host};
pub use kernel::{GuestKernel, GuestKernels};

use microbench_formats::code::Code;
use microbench_formats::digests::{Changed, PLAN};
use microbench_formats::input::Refused;
use microbench_formats::journal::Damage;
use microbench_formats::plan::Unreadable;

/// An error of an analysis, a query, a figure or a report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{path}: {cause}")]
    File { path: std::path::PathBuf, cause: std::io::Error },
    /// `samples.parquet` does not exist.
    #[error(
        "{run} has not been analysed: `samples.parquet` is missing; run `microbench analyze {run}`",
        run = .run.display()
    )]
    NotAnalysed { run: std::path::PathBuf },
    /// `plan.json` cannot be read.
    #[error("cannot read the plan {path}: {cause}")]
    Plan { path: std::path::PathBuf, cause: Unreadable },
    /// A file of the run was changed after a session started.
    #[error(
        "{run}: {cause}; restore the file from a copy{hint}", run = .run.display(),
        hint = if .cause.file == PLAN { ", for example from `.plan.json`, the original plan" } else { "" }
    )]
    Changed { run: std::path::PathBuf, cause: Changed },
    /// No trial of the run was executed.
    #[error(
        "{run} has no session: its journal is missing or empty; run `microbench run --resume {run}` to execute it",
        run = .run.display()
    )]
    NotStarted { run: std::path::PathBuf },
    /// `host.json`, `lock.toml` or `engines.json` is damaged.
    #[error("{path} is damaged: {cause}; restore it from a copy")]
    RunFile { path: std::path::PathBuf, cause: String },
    /// A line of the journal, other than a torn last line, is damaged.
    #[error("{path}:{line}: {what}", line = .cause.line, what = .cause.cause)]
    Journal { path: std::path::PathBuf, cause: Damage },
    /// A table cannot be read, built or written.
    #[error("{path}: {cause}")]
    Table { path: std::path::PathBuf, cause: polars::error::PolarsError },
    /// A query is not valid.
    #[error("{problem}; `microbench query --tables` lists the tables and their columns")]
    Query { problem: String },
    /// A report cannot be written.
    #[error("{path}: {problem}")]
    Report { path: std::path::PathBuf, problem: String },
    /// A figure cannot be drawn.
    #[error("figure {name}: {problem}")]
    Figure { name: String, problem: String },
}

impl Error {
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::File { cause, .. } if Refused::of(cause).is_some() => Code::NotRegular,
            Self::File { .. } => Code::System,
            Self::NotAnalysed { .. } => Code::NotAnalysed,
            Self::Plan { cause, .. } => cause.code(),
            Self::Changed { cause, .. } => cause.code(),
            Self::NotStarted { .. } => Code::NoSession,
            Self::RunFile { .. } => Code::RunFileDamaged,
            Self::Journal { cause, .. } => cause.code(),
            Self::Table { .. } => Code::BadTable,
            Self::Query { .. } => Code::BadQuery,
            Self::Report { .. } => Code::NoReport,
            Self::Figure { .. } => Code::NoFigure,
        }
    }
}
