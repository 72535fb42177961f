//! Reads the runs of a history: of each run the first line of its journal, its plan and host, and the columns of
//! `samples.parquet` that a value needs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use microbench_formats::cell::Cell;
use microbench_formats::host::HostKind;
use microbench_formats::metric::Metric;
use microbench_formats::plan::Plan;
use rayon::prelude::*;

use super::{History, HistoryRun, LeftOut, Point, Series, parts, search};
use crate::journal::Session;
use crate::pooled::{Key, RunTrials, read_run};
use crate::run::{first_session, read_plan};
use crate::stats::median::{interval, median};
use crate::summary::LEVEL;
use crate::{Error, read_host};

/// The series of a history.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    /// Plan of the newest run, which decides order and labels.
    pub plan: &'a Plan,
    /// Names of metrics of the plan.
    pub metrics: &'a [&'a str],
    /// Identifiers of cells of the plan.
    pub cells: &'a [&'a str],
    /// Whether a series is searched over changes of the host's fingerprint.
    pub across_hosts: bool,
}

/// What a history needs of one run.
struct RunData {
    run: HistoryRun,
    values: BTreeMap<Key, RunTrials>,
    /// By cell and metric: the CPU of the emulated host, and everything else that decides what is measured.
    settings: BTreeMap<(String, String), (String, String)>,
}

/// Metric, kind of host, cell, CPU of the emulated host, and unit.
type SeriesKey = (usize, String, usize, String, String);

/// The history of the runs in the folders `runs`, oldest first. A run that cannot be read is left out with the reason.
/// The time is linear in the number of runs; a few runs for each CPU are in memory at a time.
#[must_use]
pub fn read(runs: &[PathBuf], selection: Selection<'_>) -> History {
    let mut history = History {
        study: selection.plan.study.clone(),
        runs: Vec::new(),
        left_out: Vec::new(),
        level: 0.0,
        series: Vec::new(),
    };
    let mut series: BTreeMap<SeriesKey, Series> = BTreeMap::new();
    // Fingerprint and settings of the last point of each series.
    let mut last: BTreeMap<SeriesKey, (Option<String>, String)> = BTreeMap::new();
    for runs in runs.chunks(4 * rayon::current_num_threads().max(1)) {
        let read: Vec<(&PathBuf, Result<RunData, Error>)> =
            runs.par_iter().map(|path| (path, read_one(path, selection))).collect();
        for (path, data) in read {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let data = match data {
                Ok(data) => data,
                Err(error) => {
                    history.left_out.push(LeftOut { name, reason: reason(&error, path) });
                    continue;
                }
            };
            let index = history.runs.len();
            let mut has_points = false;
            for ([_, cell, metric, unit, host, _], trials) in &data.values {
                let (Some(m), Some(c)) = (
                    selection.metrics.iter().position(|name| name == metric),
                    selection.cells.iter().position(|name| name == cell),
                ) else {
                    continue;
                };
                let Ok(kind) = host.parse::<HostKind>() else { continue };
                let known = data.settings.get(&(cell.clone(), metric.clone()));
                let (cpu, settings) = known.cloned().unwrap_or_default();
                let cpu = if kind == HostKind::Emulated { cpu } else { String::new() };
                let key = (m, host.clone(), c, cpu.clone(), unit.clone());
                let state = (data.run.fingerprint.clone(), settings);
                let before = last.insert(key.clone(), state.clone());
                let own = series.entry(key).or_insert_with(|| empty_series(selection, (m, c), unit, kind, cpu));
                own.points.push(Point {
                    host_changed: before.as_ref().is_some_and(|before| before.0 != state.0),
                    settings_changed: before.as_ref().is_some_and(|before| before.1 != state.1),
                    ..point(index, trials)
                });
                has_points = true;
            }
            if has_points {
                history.runs.push(data.run);
            } else {
                let reason = "it has no trial of these cells and metrics".to_owned();
                history.left_out.push(LeftOut { name, reason });
            }
        }
    }
    history.series = series.into_values().collect();
    for series in &mut history.series {
        series.parts = parts(&series.points, selection.across_hosts);
    }
    history.level = search(&mut history.series);
    history
}

/// Why a run is left out, without the path of the run.
fn reason(error: &Error, path: &Path) -> String {
    match error {
        Error::NotAnalysed { .. } => "it has not been analyzed: run `microbench analyze`".to_owned(),
        error => error.to_string().replace(&format!("{}/", path.display()), ""),
    }
}

fn empty_series(
    selection: Selection<'_>,
    (metric, cell): (usize, usize),
    unit: &str,
    host: HostKind,
    cpu: String,
) -> Series {
    let plan = selection.plan;
    let (metric, cell) = (selection.metrics[metric], selection.cells[cell]);
    let label = plan.cells.iter().find(|own| own.id == cell).map_or_else(String::new, |own| own.label.to_string());
    let own = plan.metrics.iter().find(|own| own.name == metric);
    Series {
        cell: cell.to_owned(),
        label,
        metric: own.cloned().unwrap_or_else(|| unknown_metric(metric, unit)),
        unit: unit.to_owned(),
        host,
        host_cpu: (!cpu.is_empty()).then_some(cpu),
        points: Vec::new(),
        parts: Vec::new(),
        changes: Vec::new(),
    }
}

/// A metric of which only the name is known.
fn unknown_metric(name: &str, unit: &str) -> Metric {
    Metric {
        name: name.to_owned(),
        label: name.to_owned(),
        definition: String::new(),
        unit: unit.to_owned(),
        source: microbench_formats::metric::MetricSource::Reading(name.to_owned()),
        better: None,
        instrument: None,
        gate: None,
    }
}

fn point(run: usize, trials: &RunTrials) -> Point {
    let all = median(&trials.values);
    Point {
        run,
        n: trials.values.len(),
        missing: trials.missing,
        median: all.filter(|median| median.is_finite()),
        censored: all.is_some_and(f64::is_infinite),
        interval: interval(&trials.values, LEVEL),
        host_changed: false,
        settings_changed: false,
    }
}

fn read_one(path: &Path, selection: Selection<'_>) -> Result<RunData, Error> {
    let Session { started, build, label, .. } = first_session(path)?;
    let table = path.join("samples.parquet");
    if !table.is_file() {
        return Err(Error::NotAnalysed { run: path.to_path_buf() });
    }
    let values = read_run(&table).map_err(|cause| Error::Table { path: table, cause })?;
    let (plan, _) = read_plan(path)?;
    let mut settings = BTreeMap::new();
    for cell in plan.cells.iter().filter(|cell| selection.cells.contains(&cell.id.as_str())) {
        for metric in plan.metrics.iter().filter(|metric| selection.metrics.contains(&metric.name.as_str())) {
            let key = (cell.id.to_string(), metric.name.clone());
            settings.insert(key, (cell.host_cpu().to_owned(), settings_key(&plan, cell, metric)));
        }
    }
    let fingerprint = read_host(path)?.map(|host| host.fingerprint);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let run = HistoryRun { name, path: path.to_path_buf(), started, label, build, fingerprint };
    Ok(RunData { run, values, settings })
}

/// Everything in the plan that decides what a metric measures in a cell, apart from the CPU of the emulated host.
fn settings_key(plan: &Plan, cell: &Cell, metric: &Metric) -> String {
    let json = |value: Result<String, serde_json::Error>| value.unwrap_or_default();
    format!(
        "{}\n{}\n{}\n{}",
        cell.configuration_key_without_host_cpu(),
        cell.concurrency,
        json(serde_json::to_string(&metric.source)),
        json(serde_json::to_string(&plan.workloads)),
    )
}
