//! The budgets as a table, `uncertainty.csv`. `schema.rs` describes its columns.

use std::path::Path;

use polars::prelude::{Column, DataFrame, NamedFrom, Series};
use polars_io::SerWriter;
use polars_io::prelude::CsvWriter;

use super::{Budget, Entry, FILE};
use crate::Error;
use crate::file::write;

/// Writes `uncertainty.csv` into the directory `run`.
///
/// # Errors
/// If the file cannot be written.
pub fn save(run: &Path, budgets: &[Budget]) -> Result<(), Error> {
    let path = run.join(FILE);
    let refused = |source| Error::Table { path: path.clone(), cause: source };
    let mut table = frame(budgets).map_err(refused)?;
    let mut bytes = Vec::new();
    CsvWriter::new(&mut bytes).finish(&mut table).map_err(refused)?;
    write(&path, &bytes)
}

/// The budgets as a table with the columns of [`UNCERTAINTY`](crate::schema::UNCERTAINTY).
pub(crate) fn frame(budgets: &[Budget]) -> polars::error::PolarsResult<DataFrame> {
    let rows: Vec<(&Budget, &Entry)> =
        budgets.iter().flat_map(|budget| budget.entries.iter().map(move |entry| (budget, entry))).collect();
    let text = |name: &str, of: &dyn Fn(&Budget, &Entry) -> String| -> Column {
        Series::new(name.into(), rows.iter().map(|(budget, entry)| of(budget, entry)).collect::<Vec<_>>()).into()
    };
    let values: Vec<Option<f64>> = rows.iter().map(|(_, entry)| entry.value.number()).collect();
    DataFrame::new(
        rows.len(),
        vec![
            text("cell", &|budget, _| budget.cell.clone()),
            text("metric", &|budget, _| budget.metric.clone()),
            text("component", &|_, entry| <&str>::from(entry.component).to_owned()),
            text("kind", &|_, entry| <&str>::from(entry.kind).to_owned()),
            Series::new("value".into(), values).into(),
            text("unit", &|budget, _| budget.unit.clone()),
            text("definition", &|_, entry| entry.component.definition().to_owned()),
            text("source", &|_, entry| entry.value.source().to_owned()),
            text("reason", &|_, entry| entry.value.reason().to_owned()),
        ],
    )
}
