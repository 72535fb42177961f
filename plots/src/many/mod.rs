//! Samples of many runs at once, a row for each study, cell, metric and kind of host.
//!
//! Of each `samples.parquet` only the columns that are needed are read, a part of the rows at a time, and each is reduced to its value, so that
//! memory holds the trials' values and not the samples. Kinds of hosts are never put together. Runs are: whether they agree
//! is for the reader to see, by the range of the runs' own medians.

mod reader;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use microbench_formats::digests::PLAN;
use microbench_formats::terminal::{Column, Room, fitted, wrapped_to};
use polars::prelude::PolarsResult;
use rayon::prelude::*;
use serde::Serialize;

use self::reader::{Group, KEYS};
use crate::Error;
use crate::file::at;
use crate::stats::median::Interval;
use crate::stats::ranks::Ranks;
use crate::summary::LEVEL;

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
    /// 90 % of the trials have at most this value.
    pub p90: Option<f64>,
    /// 99 % of them.
    pub p99: Option<f64>,
    /// The smallest and the largest of the runs' own medians.
    pub between: Option<[f64; 2]>,
    /// VMs without a value.
    pub missing: u64,
}

/// What makes a row: study, cell, metric, unit, host.
type Key = [String; 5];

/// The trials of a row that one run has.
#[derive(Default)]
struct OfRun {
    /// Names of hosts.
    machines: BTreeSet<String>,
    /// The trials' values; one that is censored is infinite.
    values: Vec<f64>,
    /// The median of those.
    median: Option<f64>,
    missing: u64,
}

/// Summarises the samples in `files`, sorted by study, cell, metric and host.
///
/// # Errors
/// When a file cannot be read, or is no table of samples.
pub fn pooled(files: &[PathBuf]) -> Result<Vec<Pooled>, Error> {
    let mut all: BTreeMap<Key, Vec<OfRun>> = BTreeMap::new();
    // A few files for each CPU at once, so that what was read of them is reduced before the next ones are, and no CPU waits for long.
    for files in files.chunks(4 * rayon::current_num_threads().max(1)) {
        let runs = files.par_iter().map(|path| {
            // So that a missing file is said to be one.
            File::open(path).map_err(|source| match (source.kind(), path.parent()) {
                (ErrorKind::NotFound, Some(run)) => Error::NotAnalysed { run: run.to_path_buf() },
                _ => at(path)(source),
            })?;
            // A file of samples may lie anywhere; in a run it is the run's.
            if let Some(run) = path.parent().filter(|run| run.join(PLAN).exists()) {
                crate::run::check(run)?;
            }
            of_run(path).map_err(|source| Error::Table { path: path.clone(), cause: source })
        });
        for run in runs.collect::<Result<Vec<_>, Error>>()? {
            run.into_iter().for_each(|(key, trials)| all.entry(key).or_default().push(trials));
        }
    }
    Ok(all.into_par_iter().map(|(key, runs)| row(key, runs)).collect())
}

/// One run's file, reduced to one value a trial.
fn of_run(path: &Path) -> PolarsResult<BTreeMap<Key, OfRun>> {
    let mut groups: BTreeMap<[String; KEYS], Group> = BTreeMap::new();
    for part in reader::parts(path)? {
        for (key, rows) in part {
            match groups.entry(key) {
                Entry::Vacant(place) => drop(place.insert(rows)),
                Entry::Occupied(mut place) => place.get_mut().append(rows),
            }
        }
    }
    let mut runs: BTreeMap<Key, OfRun> = BTreeMap::new();
    for ([study, cell, metric, unit, host, machine], rows) in groups {
        let run = runs.entry([study, cell, metric, unit, host]).or_default();
        run.machines.extend((!machine.is_empty()).then_some(machine));
        run.missing += rows.missing;
        run.values.append(&mut rows.trials());
    }
    runs.par_iter_mut().for_each(|(_, run)| {
        let mut ranks = Ranks::of(std::mem::take(&mut run.values));
        run.median = ranks.median();
        run.values = ranks.into_values();
    });
    Ok(runs)
}

fn row([study, cell, metric, unit, host]: Key, runs: Vec<OfRun>) -> Pooled {
    let finite = |value: &f64| value.is_finite();
    let medians = || runs.iter().filter_map(|run| run.median).filter(finite);
    let between = medians().reduce(f64::min).zip(medians().reduce(f64::max)).map(|(low, high)| [low, high]);
    let machines: BTreeSet<&String> = runs.iter().flat_map(|run| &run.machines).collect();
    let machines = machines.into_iter().cloned().collect();
    let (missing, count) = (runs.iter().map(|run| run.missing).sum(), runs.len());
    let mut values = Vec::with_capacity(runs.iter().map(|run| run.values.len()).sum());
    runs.into_iter().for_each(|mut run| values.append(&mut run.values));
    let n = values.iter().copied().filter(finite).count();
    let mut ranks = Ranks::of(values);
    Pooled {
        study,
        cell,
        metric,
        unit,
        host,
        runs: count,
        machines,
        n,
        median: ranks.median().filter(finite),
        interval: ranks.median_interval(LEVEL),
        p90: ranks.quantile(0.9).filter(finite),
        p99: ranks.quantile(0.99).filter(finite),
        between,
        missing,
    }
}

/// The rows as a table, with what it is.
#[must_use]
pub fn text(rows: &[Pooled], room: Room) -> String {
    const COLUMNS: [Column; 12] = [
        Column::left("study", 3),
        Column::left("cell", 0),
        Column::left("metric", 0),
        Column::left("host", 0),
        Column::right("runs", 0),
        Column::right("hosts", 4),
        Column::right("n", 0),
        Column::right("median", 0),
        Column::right("95 % interval", 1),
        Column::right("p90", 5),
        Column::right("p99", 5),
        Column::right("runs' medians", 0),
    ];
    let words = "n is the number of trials of all runs together; interval of the median: order statistics, from 6 trials on, and takes \
                 trials of all runs for alike: whether they are, the range of the runs' own medians says; hosts: of runs in shards";
    let show = |value: f64, unit: &str| if unit == "1" { format!("{value:.1}") } else { format!("{value:.2} {unit}") };
    let quantile = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
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
            quantile(row.p90),
            quantile(row.p99),
            row.between.map_or_else(|| "-".to_owned(), |[low, high]| format!("{low:.2} to {high:.2}")),
        ]
    };
    let (table, left_out) = fitted(&COLUMNS, &rows.iter().map(line).collect::<Vec<_>>(), room.table);
    format!("{}\n\n{table}{}", wrapped_to(room.words, words, 0), room.left_out(&left_out))
}
