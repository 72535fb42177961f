//! `import`: creates a run from a table of values.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use microbench::store::directory::{Directory, Engines, NewRun};
use microbench::store::journal::{Journal, Owner};
use microbench_formats::code::Code;
use microbench_formats::input;
use microbench_formats::label::Label;
use microbench_formats::record::Record;
use microbench_measure::artifacts::project::{read_text, read_toml};
use microbench_measure::{errln, outln};
use microbench_plots::import as imports;
use microbench_study::manifest::mapping::check_keys;
use serde::Serialize;

use super::arguments::StudyArguments;
use super::run::{Loaded, load};
use super::store::print_json;

/// JSON output of `import`.
#[derive(Serialize)]
struct ImportReport {
    run: String,
    rows: usize,
    left_out: usize,
}

/// Creates a run from a table. All errors in the table are reported at once.
pub(super) fn import(
    study: &StudyArguments,
    table: &Path,
    mapping: Option<&Path>,
    out: Option<&Path>,
    label: Option<&Label>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let Loaded { study, plan, engines, project, .. } = load(study)?;
    let text = input::read(table, input::RUN_FILE)
        .and_then(input::text)
        .with_context(|| format!("cannot read {}", table.display()))?;
    let mapping = match mapping {
        Some(path) => {
            check_keys(&path.display().to_string(), &read_text(path)?)?;
            read_toml(path)?
        }
        None => imports::Mapping::default(),
    };
    let imported = match imports::import(&plan, &text, &mapping) {
        Ok(imported) => imported,
        Err(errors) => {
            const SHOWN: usize = 20;
            errors.iter().take(SHOWN).for_each(|error| errln!("{}, {error}", table.display()));
            if errors.len() > SHOWN {
                errln!("... and {} more", errors.len() - SHOWN);
            }
            let count = if errors.len() == 1 { "1 error".to_owned() } else { format!("{} errors", errors.len()) };
            let message = format!("{}: {count}; nothing was imported", table.display());
            return Err(Code::BadImport.with_message(message).into());
        }
    };
    let engines = &Engines { engines };
    let new_run = NewRun { plan: &imported.plan, manifest: &study.source, engines, lock: None, shard: None, label };
    let run = Directory::create(project.root(), out, new_run)?;
    let digests = microbench_plots::run::digests(run.path())?;
    let now = jiff::Timestamp::now().to_string();
    let mut start = imports::run_start(&run.name(), digests, &now, env!("CARGO_PKG_VERSION"));
    if let Record::RunStart { label: recorded, .. } = &mut start {
        *recorded = label.cloned();
    }
    let mut records = vec![start];
    records.extend(imported.records);
    records.push(Record::RunEnd { ended: now });
    Journal::open(run.path(), &Owner::this())?.append(&records)?;
    if json {
        let (rows, left_out) = (imported.rows, imported.ignored);
        return print_json(&ImportReport { run: run.path().display().to_string(), rows, left_out });
    }
    let rows = if imported.rows == 1 { "1 row".to_owned() } else { format!("{} rows", imported.rows) };
    errln!("{rows} imported, {} left out", imported.ignored);
    outln!("{}", run.path().display())?;
    Ok(ExitCode::SUCCESS)
}
