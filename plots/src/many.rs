//! Samples of many runs at once, a row for each study, cell, metric and kind of host.
//!
//! Of each `samples.parquet` only the columns that are needed are read, and it is reduced to one value a trial before the next one is
//! opened, so that memory holds the trials and not the samples. Kinds of hosts are never put together. Runs are: whether they agree
//! is for the reader to see, by the range of the runs' own medians.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polars::prelude::{
    AnonymousScan, AnonymousScanArgs, DataFrame, DataType, Field, LazyFrame, PolarsResult, ScanArgsAnonymous, Schema,
    SchemaRef, col, lit, when,
};
use polars_io::SerReader;
use polars_io::prelude::ParquetReader;
use serde::Serialize;

use crate::Error;
use crate::file::at;
use crate::samples::Status;
use crate::stats::ascending::Ascending;
use crate::stats::median::{Interval, median};
use crate::summary::LEVEL;
use crate::terminal::{Column, Room, fitted, wrapped_to};

/// The columns that are read, with their types.
const COLUMNS: [(&str, DataType); 11] = [
    ("study", DataType::String),
    ("cell", DataType::String),
    ("metric", DataType::String),
    ("unit", DataType::String),
    ("host", DataType::String),
    ("machine", DataType::String),
    ("trial", DataType::UInt32),
    ("value", DataType::Float64),
    ("status", DataType::String),
    ("warmup", DataType::Boolean),
    ("superseded", DataType::Boolean),
];

/// One study's cell and metric on one kind of host, over all runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pooled {
    /// The study.
    pub study: String,
    /// The cell.
    pub cell: String,
    /// The metric.
    pub metric: String,
    /// Unit of every value.
    pub unit: String,
    /// Kind of host; empty when no run executed it.
    pub host: String,
    /// Runs that have a trial of it.
    pub runs: usize,
    /// Names of the hosts of runs in shards; a run that is of one host has none.
    pub machines: Vec<String>,
    /// Trials with a value.
    pub n: usize,
    /// Median over the trials of all runs.
    pub median: Option<f64>,
    /// Its interval by order statistics; an end that is not finite is `null`.
    pub interval: Option<Interval>,
    /// The smallest and the largest of the runs' own medians.
    pub between: Option<[f64; 2]>,
    /// VMs without a value.
    pub missing: u64,
}

/// One Parquet file, of which a query reads the columns that it needs.
struct Samples(PathBuf);

impl AnonymousScan for Samples {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn scan(&self, wanted: AnonymousScanArgs) -> PolarsResult<DataFrame> {
        let names: Vec<String> = match &wanted.with_columns {
            Some(names) => names.iter().map(ToString::to_string).collect(),
            None => COLUMNS.iter().map(|(name, _)| (*name).to_owned()).collect(),
        };
        ParquetReader::new(File::open(&self.0)?).with_columns(Some(names.clone())).finish()?.select(names)
    }

    fn schema(&self, _: Option<usize>) -> PolarsResult<SchemaRef> {
        let fields = COLUMNS.into_iter().map(|(name, kind)| Field::new(name.into(), kind));
        Ok(Arc::new(fields.collect::<Schema>()))
    }

    fn allows_projection_pushdown(&self) -> bool {
        true
    }
}

/// A trial's value of one metric: the median over its VMs, infinite when that one is censored.
struct Trial {
    run: usize,
    machine: String,
    value: Option<f64>,
    missing: u64,
}

/// What makes a row: study, cell, metric, unit, host.
type Key = [String; 5];

/// Summarises the samples in `files`, sorted by study, cell, metric and host.
///
/// # Errors
/// When a file cannot be read, or is no table of samples.
pub fn pooled(files: &[PathBuf]) -> Result<Vec<Pooled>, Error> {
    let mut all: BTreeMap<Key, Vec<Trial>> = BTreeMap::new();
    for (run, path) in files.iter().enumerate() {
        // So that a missing file is said to be one.
        File::open(path).map_err(|source| match (source.kind(), path.parent()) {
            (ErrorKind::NotFound, Some(run)) => Error::NotAnalysed { run: run.to_path_buf() },
            _ => at(path)(source),
        })?;
        let refused = |source| Error::Table { path: path.clone(), source };
        let frame = trials(path).map_err(refused)?;
        read(&frame, run, &mut all).map_err(refused)?;
    }
    Ok(all.into_iter().map(|(key, trials)| row(key, &trials)).collect())
}

/// One row a trial and metric.
fn trials(path: &Path) -> PolarsResult<DataFrame> {
    let is = |status: Status| col("status").eq(lit(status.text()));
    let value = when(is(Status::Ok))
        .then(col("value"))
        .when(is(Status::Censored))
        .then(lit(f64::INFINITY))
        .otherwise(lit(f64::NAN));
    let keys = ["study", "cell", "metric", "unit", "host", "machine", "trial"].map(col);
    LazyFrame::anonymous_scan(Arc::new(Samples(path.to_path_buf())), ScanArgsAnonymous::default())?
        .filter(col("warmup").not().and(col("superseded").not()))
        .with_columns([value.alias("known")])
        .group_by_stable(keys)
        .agg([
            col("known").filter(col("known").is_not_nan()).median(),
            is(Status::Ok).not().sum().cast(DataType::UInt64).alias("missing"),
        ])
        .collect()
}

/// Puts the rows of `frame` to those of the other runs.
fn read(frame: &DataFrame, run: usize, all: &mut BTreeMap<Key, Vec<Trial>>) -> PolarsResult<()> {
    let text = |name: &str| -> PolarsResult<Vec<String>> {
        Ok(frame.column(name)?.str()?.iter().map(|value| value.unwrap_or_default().to_owned()).collect())
    };
    let (study, cell, metric, unit) = (text("study")?, text("cell")?, text("metric")?, text("unit")?);
    let (host, machine) = (text("host")?, text("machine")?);
    let known: Vec<Option<f64>> = frame.column("known")?.f64()?.iter().collect();
    let missing: Vec<u64> = frame.column("missing")?.u64()?.iter().map(|count| count.unwrap_or(0)).collect();
    for at in 0..frame.height() {
        let key = [&study, &cell, &metric, &unit, &host].map(|column| column[at].clone());
        let trial = Trial { run, machine: machine[at].clone(), value: known[at], missing: missing[at] };
        all.entry(key).or_default().push(trial);
    }
    Ok(())
}

fn row([study, cell, metric, unit, host]: Key, trials: &[Trial]) -> Pooled {
    let values: Vec<f64> = trials.iter().filter_map(|trial| trial.value).collect();
    let sorted = Ascending::of(&values);
    let mut of_runs: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for trial in trials {
        of_runs.entry(trial.run).or_default().extend(trial.value);
    }
    let medians: Vec<f64> =
        of_runs.values().filter_map(|values| median(values)).filter(|median| median.is_finite()).collect();
    let machines: BTreeSet<&str> =
        trials.iter().map(|trial| trial.machine.as_str()).filter(|name| !name.is_empty()).collect();
    let ends = medians.iter().copied().reduce(f64::min).zip(medians.iter().copied().reduce(f64::max));
    Pooled {
        study,
        cell,
        metric,
        unit,
        host,
        runs: of_runs.len(),
        machines: machines.into_iter().map(str::to_owned).collect(),
        n: values.iter().filter(|value| value.is_finite()).count(),
        median: sorted.median().filter(|median| median.is_finite()),
        interval: sorted.median_interval(LEVEL),
        between: ends.map(|(low, high)| [low, high]),
        missing: trials.iter().map(|trial| trial.missing).sum(),
    }
}

/// The rows as a table, with what it is.
#[must_use]
pub fn text(rows: &[Pooled], room: Room) -> String {
    const COLUMNS: [Column; 10] = [
        Column::left("study", 3),
        Column::left("cell", 0),
        Column::left("metric", 0),
        Column::left("host", 0),
        Column::right("runs", 0),
        Column::right("hosts", 4),
        Column::right("n", 0),
        Column::right("median", 0),
        Column::right("95 % interval", 1),
        Column::right("runs' medians", 0),
    ];
    let words = "n is the number of trials of all runs together; interval of the median: order statistics, from 6 trials on, and takes \
                 trials of all runs for alike: whether they are, the range of the runs' own medians says; hosts: of runs in shards";
    let show = |value: f64, unit: &str| if unit == "1" { format!("{value:.1}") } else { format!("{value:.2} {unit}") };
    let line = |row: &Pooled| {
        let missing = if row.missing == 0 { String::new() } else { format!(" ({} VMs missing)", row.missing) };
        vec![
            row.study.clone(),
            row.cell.clone(),
            row.metric.clone(),
            if row.host.is_empty() { "not run".to_owned() } else { row.host.clone() },
            row.runs.to_string(),
            if row.machines.is_empty() { "-".to_owned() } else { row.machines.len().to_string() },
            format!("{}{missing}", row.n),
            row.median.map_or_else(|| "-".to_owned(), |median| show(median, &row.unit)),
            row.interval
                .as_ref()
                .map_or_else(|| "n < 6".to_owned(), |interval| format!("{:.2} to {:.2}", interval.low, interval.high)),
            row.between.map_or_else(|| "-".to_owned(), |[low, high]| format!("{low:.2} to {high:.2}")),
        ]
    };
    let (table, left_out) = fitted(&COLUMNS, &rows.iter().map(line).collect::<Vec<_>>(), room.table);
    format!("{}\n\n{table}{}", wrapped_to(room.words, words, 0), room.left_out(&left_out))
}
