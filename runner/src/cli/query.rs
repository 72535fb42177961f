//! `query`: SQL over the tables of runs.

use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap::error::ErrorKind;
use microbench::store::directory::Directory;
use microbench_measure::out;
use microbench_plots::{query as sql, schema};

use super::arguments::Cli;

/// Prints the tables with their columns.
pub(super) fn tables() -> anyhow::Result<ExitCode> {
    out!("{}", schema::render())?;
    Ok(ExitCode::SUCCESS)
}

/// Answers a query: `words` are the runs and, last, the SQL.
pub(super) fn query(words: &[String], csv: bool, json: bool) -> anyhow::Result<ExitCode> {
    let Some((sql, runs)) = words.split_last().filter(|(_, runs)| !runs.is_empty()) else {
        let missing = "a query needs a RUN and, last, the SQL: microbench query RUN \"select * from summary\"";
        Cli::command().error(ErrorKind::MissingRequiredArgument, missing).exit()
    };
    let opened = runs.iter().map(|run| Ok(Directory::open(Path::new(run))?.path().to_path_buf()));
    let answer = sql::query(&opened.collect::<anyhow::Result<Vec<_>>>()?, sql)?;
    let text = match (csv, json) {
        (true, _) => answer.to_csv()?,
        (_, true) => answer.to_json(),
        _ => answer.to_text(),
    };
    out!("{text}")?;
    Ok(ExitCode::SUCCESS)
}
