//! `plot`, `table` and `report`: figures, tables and a report of a run.

use std::path::Path;
use std::process::ExitCode;

use microbench::store::directory::Directory;
use microbench_measure::outln;
use serde::Serialize;

use super::arguments::ThemeArgument;
use super::store::print_json;

/// JSON output of `plot`.
#[derive(Serialize)]
pub(super) struct PlotReport {
    pub(super) run: String,
    pub(super) files: Vec<String>,
}

/// Draws the figures of the run, or sequences of its cells.
pub(super) fn plot(
    run: &Path,
    theme: Option<ThemeArgument>,
    sequence: &[String],
    sequences: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let (run, theme) = (open(run)?, theme.map(ThemeArgument::theme));
    let files = if sequences || !sequence.is_empty() {
        microbench_plots::plot_sequences(run.path(), theme, sequence)?
    } else {
        microbench_plots::plot(run.path(), theme)?
    };
    if json {
        let files = files.iter().map(|file| file.display().to_string()).collect();
        return print_json(&PlotReport { run: run.name(), files });
    }
    files.iter().try_for_each(|file| outln!("{}", file.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the tables of a run.
pub(super) fn table(run: &Path) -> anyhow::Result<ExitCode> {
    let files = microbench_plots::table::save(open(run)?.path())?;
    files.iter().try_for_each(|file| outln!("{}", file.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the report of a run.
pub(super) fn report(run: &Path) -> anyhow::Result<ExitCode> {
    outln!("{}", microbench_plots::report::save(open(run)?.path())?.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Opens a run to write into it.
fn open(given: &Path) -> anyhow::Result<Directory> {
    let run = Directory::open(given)?;
    run.check_trusted()?;
    Ok(run)
}
