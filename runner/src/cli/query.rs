//! `query`: SQL queries over the tables of runs.

use std::path::Path;
use std::process::ExitCode;

use microbench::store::directory::Directory;
use microbench_measure::out;
use microbench_measure::terminal::screen::Stream;
use microbench_plots::{query as sql, schema};

use super::missing_argument;

/// Prints the tables and their columns.
pub(super) fn tables() -> anyhow::Result<ExitCode> {
    out!("{}", schema::render(Stream::Out.output_width()))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the result of a query. `arguments` are the runs, followed by the SQL.
pub(super) fn query(arguments: &[String], csv: bool, json: bool) -> anyhow::Result<ExitCode> {
    let Some((sql, runs)) = arguments.split_last().filter(|(_, runs)| !runs.is_empty()) else {
        missing_argument("query", "RUN or SQL is missing, as in `microbench query latest \"select * from summary\"`")
    };
    let opened = runs.iter().map(|run| Ok(Directory::open(Path::new(run))?.path().to_path_buf()));
    let result = sql::query(&opened.collect::<anyhow::Result<Vec<_>>>()?, sql)?;
    let text = match (csv, json) {
        (true, _) => result.to_csv()?,
        (_, true) => result.to_json(),
        _ => result.to_text(),
    };
    out!("{text}")?;
    Ok(ExitCode::SUCCESS)
}
