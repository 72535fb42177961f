//! The summary of several runs: one row for each study, cell, metric, kind of host and CPU of the emulated host.
//!
//! The run is the unit: the trials of one run share its hosts, so their spread does not contain the variation between
//! runs. The median is the mean of the runs' medians, with the t interval over them
//! ([`repetition`](crate::stats::repetition)), from 3 runs on. Different kinds of host are never pooled.
//!
//! Only the needed columns of each `samples.parquet` are read, in parts, and reduced to one value for each trial. So
//! memory contains the values of trials and not the samples.

mod reader;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use microbench_formats::cell::DEFAULT_HOST_CPU;
use microbench_formats::digests::PLAN;
use microbench_formats::host::HostKind;
use microbench_formats::input;
use microbench_formats::terminal::{Column, OutputWidth, fitted, wrapped_to};
use polars::prelude::PolarsResult;
use rayon::prelude::*;
use serde::Serialize;

use self::reader::{Group, KEYS};
use crate::Error;
use crate::file::io_error_at;
use crate::number::{Estimate, significant, unit_suffix};
use crate::stats::mean::{mean, standard_deviation};
use crate::stats::median::Interval;
use crate::stats::quantile::smallest_n;
use crate::stats::repetition;
use crate::stats::selection::Selection;
use crate::summary::LEVEL;

/// A metric in a cell of a study on one kind of host, pooled over runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PooledRow {
    pub study: String,
    pub cell: String,
    pub metric: String,
    /// Unit of every value.
    pub unit: String,
    /// Kind of host; empty if no run executed the cell.
    pub host: String,
    /// CPU of the emulated host; empty on other kinds of host.
    pub host_cpu: String,
    /// The number of runs with a trial of the cell.
    pub runs: usize,
    /// Names of the hosts of runs in shards; a run on a single host adds no name.
    pub machines: Vec<String>,
    /// The number of trials with a value.
    pub n: usize,
    /// Mean of the runs' own medians; `None` if one is censored or there is no trial.
    pub median: Option<f64>,
    /// Student's t interval over the runs' own medians; `None` if it is withheld.
    pub interval: Option<Interval>,
    /// Why `interval` is withheld; absent if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_withheld: Option<&'static str>,
    /// 90th percentile over the trials of all runs; it has no interval.
    pub p90: Option<f64>,
    /// 99th percentile over the trials of all runs; it has no interval.
    pub p99: Option<f64>,
    /// The smallest and the largest of the runs' own medians.
    pub between: Option<[f64; 2]>,
    /// Standard deviation of the runs' own medians, the uncertainty between runs; `None` below 2 runs with a median.
    pub between_deviation: Option<f64>,
    /// The number of VMs without a value.
    pub missing: u64,
}

/// Study, cell, metric, unit, kind of host and CPU of the emulated host of a row.
pub(crate) type Key = [String; 6];

/// The trials of one run that belong to a row.
#[derive(Default)]
pub(crate) struct RunTrials {
    machines: BTreeSet<String>,
    /// The value of each trial; infinite if it is censored.
    pub(crate) values: Vec<f64>,
    /// Median of `values`.
    median: Option<f64>,
    pub(crate) missing: u64,
}

/// Summarises the `samples.parquet` files of several runs, sorted by study, cell, metric and host.
///
/// # Errors
/// If a file is missing, cannot be read or is not a table of samples, or its run directory was changed.
pub fn pool(files: &[PathBuf]) -> Result<Vec<PooledRow>, Error> {
    let mut all: BTreeMap<Key, Vec<RunTrials>> = BTreeMap::new();
    // A few files for each CPU at a time: few enough to limit memory, and enough to keep every CPU busy.
    for files in files.chunks(4 * rayon::current_num_threads().max(1)) {
        let runs = files.par_iter().map(|path| {
            // Opened first because polars does not report a missing file as such.
            input::open_no_link(path).map_err(|source| match (source.kind(), path.parent()) {
                (ErrorKind::NotFound, Some(run)) => Error::NotAnalysed { run: run.to_path_buf() },
                _ => io_error_at(path)(source),
            })?;
            // A table of samples need not be in a run directory; if it is, the run is verified.
            if let Some(run) = path.parent().filter(|run| run.join(PLAN).exists()) {
                crate::run::verify_first_session(run)?;
            }
            read_run(path).map_err(|source| Error::Table { path: path.clone(), cause: source })
        });
        for run in runs.collect::<Result<Vec<_>, Error>>()? {
            run.into_iter().for_each(|(key, trials)| all.entry(key).or_default().push(trials));
        }
    }
    Ok(all.into_par_iter().map(|(key, runs)| pool_row(key, runs)).collect())
}

/// The trials of one file, reduced to one value for each trial.
pub(crate) fn read_run(path: &Path) -> PolarsResult<BTreeMap<Key, RunTrials>> {
    let mut groups: BTreeMap<[String; KEYS], Group> = BTreeMap::new();
    for part in reader::read_parts(path)? {
        for (key, rows) in part {
            match groups.entry(key) {
                Entry::Vacant(place) => drop(place.insert(rows)),
                Entry::Occupied(mut place) => place.get_mut().append(rows),
            }
        }
    }
    let mut runs: BTreeMap<Key, RunTrials> = BTreeMap::new();
    for ([study, cell, metric, unit, host, mut host_cpu, machine], rows) in groups {
        // Before format 8, every emulated host had this CPU, and the table does not have it.
        if host_cpu.is_empty() && host.parse() == Ok(HostKind::Emulated) {
            DEFAULT_HOST_CPU.clone_into(&mut host_cpu);
        }
        let run = runs.entry([study, cell, metric, unit, host, host_cpu]).or_default();
        run.machines.extend((!machine.is_empty()).then_some(machine));
        run.missing += rows.missing;
        run.values.append(&mut rows.trial_values());
    }
    runs.par_iter_mut().for_each(|(_, run)| {
        let mut selection = Selection::new(std::mem::take(&mut run.values));
        run.median = selection.median();
        run.values = selection.into_values();
    });
    Ok(runs)
}

/// Why a row of one or two runs has no interval.
const TOO_FEW_RUNS: &str = "fewer than 3 runs: the trials of a run do not show how much runs vary";
/// Why a row of enough runs has no interval.
const CENSORED: &str = "the median of a run is censored";

fn pool_row([study, cell, metric, unit, host, host_cpu]: Key, runs: Vec<RunTrials>) -> PooledRow {
    let finite = |value: &f64| value.is_finite();
    let medians = || runs.iter().filter_map(|run| run.median).filter(finite);
    let between = medians().reduce(f64::min).zip(medians().reduce(f64::max)).map(|(low, high)| [low, high]);
    let between_deviation = standard_deviation(&medians().collect::<Vec<_>>());
    let all: Vec<f64> = runs.iter().filter_map(|run| run.median).collect();
    let interval = repetition::interval(&all, LEVEL);
    let interval_withheld = match &interval {
        Some(_) => None,
        None if all.len() < repetition::SMALLEST => Some(TOO_FEW_RUNS),
        None => Some(CENSORED),
    };
    let machines: BTreeSet<&String> = runs.iter().flat_map(|run| &run.machines).collect();
    let machines = machines.into_iter().cloned().collect();
    let (missing, count) = (runs.iter().map(|run| run.missing).sum(), runs.len());
    let mut values = Vec::with_capacity(runs.iter().map(|run| run.values.len()).sum());
    runs.into_iter().for_each(|mut run| values.append(&mut run.values));
    let n = values.iter().copied().filter(finite).count();
    let has_percentile = |p: f64| smallest_n(p, LEVEL).is_some_and(|least| values.len() >= least);
    let has_percentiles = [0.9, 0.99].map(has_percentile);
    let mut selection = Selection::new(values);
    PooledRow {
        study,
        cell,
        metric,
        unit,
        host,
        host_cpu,
        runs: count,
        machines,
        n,
        median: mean(&all).filter(finite),
        interval,
        interval_withheld,
        p90: selection.quantile(0.9).filter(|value| has_percentiles[0] && value.is_finite()),
        p99: selection.quantile(0.99).filter(|value| has_percentiles[1] && value.is_finite()),
        between,
        between_deviation,
        missing,
    }
}

/// The rows as a table that fits `width`, with a legend.
#[must_use]
pub fn render(rows: &[PooledRow], width: OutputWidth) -> String {
    // The interval and the deviation between runs are the reason to pool runs.
    const COLUMNS: [Column; 13] = [
        Column::left("cell", 0),
        Column::left("study", 4),
        Column::left("metric", 0),
        Column::left("host", 3),
        Column::right("runs", 2),
        Column::right("hosts", 5),
        Column::right("n", 0),
        Column::right("median", 0),
        Column::right("95 % interval over runs", 0),
        Column::right("p90", 6),
        Column::right("p99", 6),
        Column::right("runs' medians", 3),
        Column::right("between runs", 0),
    ];
    let legend = "n is the number of trials of all runs; median: mean of the runs' own medians; interval over runs: \
                  Student's t over these medians, 3 runs or more, because trials of one run do not show how much runs \
                  vary; p90 and p99: over the trials of all runs; between runs: standard deviation of the runs' own \
                  medians, which includes the spread within runs; hosts: number of hosts of runs in shards";
    let line = |row: &PooledRow| {
        let median = Estimate::with_interval(row.median, row.interval);
        let quantile = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| median.beside(value));
        let missing = if row.missing == 0 { String::new() } else { format!(" ({} VMs missing)", row.missing) };
        vec![
            row.cell.clone(),
            row.study.clone(),
            row.metric.clone(),
            match (row.host.as_str(), row.host_cpu.as_str()) {
                ("", _) => "not run".to_owned(),
                (host, "" | DEFAULT_HOST_CPU) => host.to_owned(),
                (host, cpu) => format!("{host} ({cpu})"),
            },
            row.runs.to_string(),
            if row.machines.is_empty() { "-".to_owned() } else { row.machines.len().to_string() },
            format!("{}{missing}", row.n),
            row.median.map_or_else(|| "-".to_owned(), |_| median.value() + &unit_suffix(&row.unit)),
            match (median.range(""), row.runs) {
                (Some(range), _) => range,
                (None, runs) if runs < repetition::SMALLEST => format!("needs {} runs", repetition::SMALLEST),
                (None, _) => "censored".to_owned(),
            },
            quantile(row.p90),
            quantile(row.p99),
            row.between.map_or_else(|| "-".to_owned(), |ends| range_of_medians(median, ends)),
            match row.between_deviation {
                Some(deviation) => significant(deviation),
                None if row.runs < 2 => "one run".to_owned(),
                // The others are censored, or no trial of theirs has a value.
                None if row.between.is_some() => "one median".to_owned(),
                None => "-".to_owned(),
            },
        ]
    };
    let (table, left_out) = fitted(&COLUMNS, &rows.iter().map(line).collect::<Vec<_>>(), width.table);
    format!("{}\n\n{table}{}", wrapped_to(width.prose, legend, 0), width.left_out(&left_out))
}

/// The smallest and the largest median of the runs.
fn range_of_medians(median: Estimate, [low, high]: [f64; 2]) -> String {
    let [from, to] = [low, high].map(|value| median.beside(value));
    if from == to { from } else { format!("{from} to {to}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eighty_columns_show_the_interval_and_the_deviation_between_runs() {
        let row = PooledRow {
            study: "quick".into(),
            cell: "fc-default/1/minimal".into(),
            metric: "webservice_startup_time".into(),
            unit: "ms".into(),
            host: "emulated".into(),
            host_cpu: "EPYC".into(),
            runs: 3,
            machines: Vec::new(),
            n: 12,
            median: Some(160.25),
            interval: Some(Interval { low: 159.75, high: 161.5, level: 0.96 }),
            interval_withheld: None,
            p90: None,
            p99: None,
            between: Some([160.0, 160.5]),
            between_deviation: Some(0.354),
            missing: 0,
        };
        let text = render(&[row], OutputWidth::from_columns(80));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let table = text.split("\n\n").nth(1).unwrap();
        for word in ["95 % interval", "159.75 to 161.50", "between runs", "0.354"] {
            assert!(table.contains(word), "no {word}:\n{text}");
        }
        assert!(!text.split("omitted").nth(1).unwrap_or_default().contains("between runs"), "{text}");
    }

    /// A row of runs, each with the values of its trials.
    fn row(runs: &[&[f64]]) -> PooledRow {
        let trials = |values: &&[f64]| RunTrials {
            values: values.to_vec(),
            median: Selection::new(values.to_vec()).median(),
            ..RunTrials::default()
        };
        pool_row(["s", "c", "m", "ms", "kvm", ""].map(str::to_owned), runs.iter().map(trials).collect())
    }

    /// Medians 10, 12 and 14: mean 12, standard deviation 2, t(2) = 4.302653.
    #[test]
    fn interval_is_over_runs_and_not_over_their_trials() {
        let found = row(&[&[9.9, 10.0, 10.1], &[11.9, 12.0, 12.1], &[13.9, 14.0, 14.1]]);
        let interval = found.interval.unwrap();
        let half = 4.302_653 * 2.0 / 3.0_f64.sqrt();
        assert_eq!((found.median, found.n, found.runs), (Some(12.0), 9, 3));
        assert!((interval.high - interval.low - 2.0 * half).abs() < 1e-4, "{interval:?}");
        assert!((found.between_deviation.unwrap() - 2.0).abs() < 1e-12);
        assert_eq!(found.interval_withheld, None);
    }

    #[test]
    fn interval_of_few_or_censored_runs_is_withheld_with_the_reason() {
        let values: Vec<f64> = (0..20).map(f64::from).collect();
        for runs in [&[&values[..]][..], &[&values, &values]] {
            let found = row(runs);
            assert_eq!((found.interval, found.median), (None, Some(9.5)));
            assert!(found.interval_withheld.unwrap().starts_with("fewer than 3 runs"));
            let width = OutputWidth { prose: 200, table: 200 };
            assert!(render(&[found], width).contains("needs 3 runs"));
        }
        let censored = row(&[&values, &values, &[1.0, f64::INFINITY, f64::INFINITY]]);
        assert_eq!((censored.interval, censored.median), (None, None));
        assert_eq!(censored.interval_withheld, Some("the median of a run is censored"));
    }
}
