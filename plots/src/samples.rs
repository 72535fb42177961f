//! The samples of a run: one row for each VM and metric, with its value or the reason why it is missing.
//!
//! A missing value is a row with a status and a reason; it is never zero and never left out. A trial has samples only
//! of the metrics that it measures. A trial with an instrument measures the metrics of the instrument, a timed trial
//! the metrics without an instrument. A cell of one VM without trials under an instrument has one sample of each metric
//! of the instrument, with the reason.

use std::collections::BTreeMap;
use std::io::{Cursor, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use microbench_formats::cell::Cell;
use microbench_formats::host::HostKind;
use microbench_formats::input;
use microbench_formats::instrument::Instrument;
use microbench_formats::metric::{Metric, MetricSource};
use microbench_formats::plan::{Plan, PlannedTrial};
use microbench_formats::precision::Look;
use microbench_formats::record::{CENSORED, EmulatedHost, FailureReason, NOT_APPLICABLE};
use microbench_formats::shard::Shard;
use polars::prelude::{Column, DataFrame, DataType, NamedFrom, Series};
use polars_io::prelude::{CsvWriter, ParquetReader, ParquetWriter};
use polars_io::{SerReader, SerWriter};

use crate::Error;
use crate::file::{io_error_at, write};
use crate::journal::{Execution, Failure, Journal, Vm};

/// Whether a sample has a value, and if not, the kind of reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It has a value.
    Ok,
    /// The VM exited or timed out during the measured span. The value is only known to be larger than the time that was
    /// waited.
    Censored,
    /// The VM failed before the value was known.
    Failed,
    /// The trial execution was disturbed; the value is kept but is in no statistic.
    Invalid,
    /// The VMM refused the configuration on this host, or this kind of guest cannot have the value.
    NotApplicable,
    /// The guest or the kernel does not report the value.
    NotAvailable,
    /// The trial has not been executed.
    NotRun,
    /// The trial is not executed because a lower level of concurrency exceeded a limit of the study.
    BeyondLimit,
}

impl Status {
    /// Every status, in the order of the summary's columns.
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::Censored,
        Self::Failed,
        Self::Invalid,
        Self::NotApplicable,
        Self::NotAvailable,
        Self::NotRun,
        Self::BeyondLimit,
    ];

    /// The status with this name in a table; [`Status::NotAvailable`] for an unknown name.
    #[must_use]
    pub fn from_name(text: &str) -> Self {
        Self::ALL.into_iter().find(|status| status.name() == text).unwrap_or(Self::NotAvailable)
    }

    /// The name in a table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Censored => "censored",
            Self::Failed => "failed",
            Self::Invalid => "invalid",
            Self::NotApplicable => "not-applicable",
            Self::NotAvailable => "not-available",
            Self::NotRun => "not-run",
            Self::BeyondLimit => "beyond-limit",
        }
    }
}

/// `status: reason`, or the reason alone if it begins with the status.
///
/// ```
/// use microbench_plots::samples::{Status, status_and_reason};
///
/// assert_eq!(status_and_reason(Status::Failed, "exited"), "failed: exited");
/// assert_eq!(status_and_reason(Status::Failed, "failed to boot"), "failed to boot");
/// ```
#[must_use]
pub fn status_and_reason(status: Status, reason: &str) -> String {
    match status.name() {
        _ if reason.starts_with(status.name()) => reason.to_owned(),
        text => format!("{text}: {reason}"),
    }
}

/// One metric of one VM in one trial execution.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// [`Cell::id`].
    pub cell: String,
    /// Block of the trial.
    pub block: u32,
    /// Repetition of the trial, from 0.
    pub repetition: u32,
    /// Index of the trial in the plan.
    pub trial: u32,
    /// Number of the trial execution, from 0.
    pub attempt: u32,
    /// Number of the VM in its trial, from 0.
    pub vm: u32,
    /// [`Metric::name`].
    pub metric: String,
    /// In `unit`. `None` unless the status is [`Status::Ok`], or [`Status::Invalid`] with a measured value.
    pub value: Option<f64>,
    pub unit: String,
    pub status: Status,
    /// Why there is no value or why it does not count; empty for [`Status::Ok`].
    pub reason: String,
    /// `None` if the trial was not executed.
    pub host: Option<HostKind>,
    /// Name of the host, within which cells are compared; empty if the run has a single host.
    pub machine: String,
    /// The emulated host that executed the trial; `None` on other kinds of host and before format 8.
    pub emulated_host: Option<Arc<EmulatedHost>>,
    /// Whether it is a warm-up, which is in no statistic.
    pub warmup: bool,
    /// Whether another execution of the trial counts instead; then it is in no statistic.
    pub superseded: bool,
}

impl Sample {
    /// Whether the sample is in statistics: not of a warm-up or a superseded execution.
    #[must_use]
    pub fn counts(&self) -> bool {
        !self.warmup && !self.superseded
    }

    /// Whether the VM was expected to have a value and has none.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.status != Status::Ok && is_failure(self.status, &self.reason)
    }
}

/// Whether a VM without a value was expected to have one: false if the value is not applicable, beyond the study's limit,
/// or not in an imported table.
pub(crate) fn is_failure(status: Status, reason: &str) -> bool {
    !matches!(status, Status::NotApplicable | Status::BeyondLimit) && reason != crate::import::ABSENT
}

impl Sample {
    /// The clock of durations: `virtual`, `wall`, or empty if it is unknown.
    #[must_use]
    pub fn clock(&self) -> &'static str {
        match self.host {
            Some(HostKind::Emulated) => "virtual",
            Some(HostKind::Kvm | HostKind::Fake) => "wall",
            Some(HostKind::Imported) | None => "",
        }
    }
}

/// Every sample of a run: those that count in plan order, then those of warm-ups and superseded executions. Trials
/// that the stopping rule made unnecessary have no samples.
#[must_use]
pub fn samples(plan: &Plan, journal: &Journal) -> Vec<Sample> {
    let counted = counted_executions(journal);
    let needed = needed_blocks(plan, journal);
    let planned: BTreeMap<u32, &PlannedTrial> = plan.trials.iter().map(|trial| (trial.index, trial)).collect();
    let cells: BTreeMap<&str, &Cell> = plan.cells.iter().map(|cell| (cell.id.as_str(), cell)).collect();
    let mut samples = Vec::new();
    for trial in plan.trials.iter().filter(|trial| trial.instrument.is_some() || trial.block < needed) {
        let Some(cell) = cells.get(trial.cell.as_str()) else { continue };
        let execution = counted.get(&trial.index);
        for vm in 0..vm_count(cell, execution.copied()) {
            for metric in metrics(plan, trial.instrument) {
                samples.push(match execution {
                    Some(execution) => sample(execution, vm, metric, trial, false),
                    None => Sample {
                        cell: trial.cell.to_string(),
                        block: trial.block,
                        repetition: trial.repetition,
                        trial: trial.index,
                        attempt: 0,
                        vm,
                        metric: metric.name.clone(),
                        value: None,
                        unit: metric.unit.clone(),
                        status: Status::NotRun,
                        reason: not_run_reason(trial.block, journal),
                        host: None,
                        machine: String::new(),
                        emulated_host: None,
                        warmup: false,
                        superseded: false,
                    },
                });
            }
        }
    }
    samples.extend(unobserved(plan, &counted));
    let repeated = |e: &&Execution| e.warmup || counted.get(&e.trial).is_some_and(|one| !std::ptr::eq(*one, *e));
    for execution in journal.executions.iter().filter(repeated) {
        let trial = planned.get(&execution.trial).map_or_else(|| unplanned(execution), |trial| (*trial).clone());
        for vm in execution.vms.keys() {
            samples.extend(
                metrics(plan, trial.instrument).map(|metric| sample(execution, *vm, metric, &trial, !execution.warmup)),
            );
        }
    }
    samples
}

/// A sample for each metric of an instrument in each cell of one VM that has no trial under the instrument, with the
/// reason. Block and trial are those of the first trial of the cell.
fn unobserved(plan: &Plan, counted: &BTreeMap<u32, &Execution>) -> Vec<Sample> {
    let metrics: Vec<(&Metric, Instrument)> =
        plan.metrics.iter().filter_map(|metric| Some((metric, metric.instrument?))).collect();
    if metrics.is_empty() {
        return Vec::new();
    }
    let mut first: BTreeMap<(&str, Option<Instrument>), &PlannedTrial> = BTreeMap::new();
    for trial in &plan.trials {
        first.entry((trial.cell.as_str(), trial.instrument)).or_insert(trial);
    }
    let of_cell = |cell: &'_ Cell| -> Vec<Sample> {
        let Some(timed) = first.get(&(cell.id.as_str(), None)).filter(|_| cell.concurrency == 1) else {
            return Vec::new();
        };
        let execution = counted.get(&timed.index);
        let absent = metrics.iter().filter(|(_, used)| !first.contains_key(&(cell.id.as_str(), Some(*used))));
        let sample = |(metric, instrument): &(&Metric, Instrument)| Sample {
            cell: cell.id.to_string(),
            block: timed.block,
            repetition: timed.repetition,
            trial: timed.index,
            attempt: execution.map_or(0, |execution| execution.attempt),
            vm: 0,
            metric: metric.name.clone(),
            value: None,
            unit: metric.unit.clone(),
            status: Status::NotApplicable,
            reason: instrument.why_not_planned(cell),
            host: execution.map(|execution| execution.host),
            machine: execution.map(|execution| execution.machine.clone()).unwrap_or_default(),
            emulated_host: execution.and_then(|execution| execution.emulated_host.clone()),
            warmup: false,
            superseded: false,
        };
        absent.map(sample).collect()
    };
    plan.cells.iter().flat_map(of_cell).collect()
}

/// Why a trial of this block has not been executed.
fn not_run_reason(block: u32, journal: &Journal) -> String {
    let shards: Option<Vec<Shard>> = journal.sessions.iter().map(|session| session.shard).collect();
    let own = |shard: &Shard| shard.contains_block(block);
    match shards.as_deref() {
        Some([first, ..]) if !shards.iter().flatten().any(own) => {
            format!("the trial belongs to shard {}, which is not in this run", Shard::of_block(block, first.of))
        }
        _ => "the trial has not been executed".to_owned(),
    }
}

/// The samples of one trial execution: each VM and each metric that the trial measures.
#[must_use]
pub fn of_execution(plan: &Plan, execution: &Execution) -> Vec<Sample> {
    let planned = plan.trials.iter().find(|trial| trial.index == execution.trial);
    let trial = &planned.map_or_else(|| unplanned(execution), PlannedTrial::clone);
    let of_vm = |vm: &u32| {
        let vm = *vm;
        metrics(plan, trial.instrument)
            .map(move |metric| sample(execution, vm, metric, trial, false))
            .collect::<Vec<_>>()
    };
    execution.vms.keys().flat_map(of_vm).collect()
}

/// A trial that the plan does not have.
fn unplanned(execution: &Execution) -> PlannedTrial {
    let cell = execution.cell.as_str().into();
    PlannedTrial { index: execution.trial, block: 0, repetition: 0, cell, instrument: None }
}

/// The execution that counts for each trial: the one that was not disturbed, else the last one.
pub(crate) fn counted_executions(journal: &Journal) -> BTreeMap<u32, &Execution> {
    let mut counted: BTreeMap<u32, &Execution> = BTreeMap::new();
    for execution in journal.executions.iter().filter(|execution| !execution.warmup) {
        let known = counted.get(&execution.trial);
        if known.is_none_or(|known| !known.invalid.is_empty()) {
            counted.insert(execution.trial, execution);
        }
    }
    counted
}

/// The number of blocks of timed trials that are needed: those executed before the stopping rule stopped, else
/// `u32::MAX`.
fn needed_blocks(plan: &Plan, journal: &Journal) -> u32 {
    let enough = journal.looks.iter().find(|(_, cells)| cells.values().all(|look| !matches!(look, Look::GoOn { .. })));
    match (&plan.precision, enough) {
        (Some(_), Some((blocks, _))) => *blocks,
        _ => u32::MAX,
    }
}

/// The metrics that a trial with this instrument measures.
fn metrics(plan: &Plan, instrument: Option<Instrument>) -> impl Iterator<Item = &Metric> {
    plan.metrics.iter().filter(move |metric| metric.instrument == instrument)
}

/// The number of VMs of a trial. An imported table may pool several batches into one trial, which then has more VMs
/// than the cell's concurrency.
pub(crate) fn vm_count(cell: &Cell, execution: Option<&Execution>) -> u32 {
    let imported = execution.filter(|execution| execution.host == HostKind::Imported);
    let last = imported.and_then(|execution| execution.vms.last_key_value());
    last.map_or(cell.concurrency, |(vm, _)| cell.concurrency.max(vm.saturating_add(1)))
}

fn sample(execution: &Execution, vm: u32, metric: &Metric, trial: &PlannedTrial, superseded: bool) -> Sample {
    let outcome = match execution.vms.get(&vm) {
        Some(records) => value(records, metric),
        None => Err((Status::Failed, "the journal has no record of this VM".into())),
    };
    let (value, status, reason) = match (outcome, execution.invalid.first()) {
        (outcome, Some((reason, message))) => (outcome.ok(), Status::Invalid, format!("{reason}: {message}")),
        (Ok(value), None) => (Some(value), Status::Ok, String::new()),
        (Err((status, reason)), None) => (None, status, reason),
    };
    Sample {
        cell: execution.cell.clone(),
        block: trial.block,
        repetition: trial.repetition,
        trial: execution.trial,
        attempt: execution.attempt,
        vm,
        metric: metric.name.clone(),
        value,
        unit: metric.unit.clone(),
        status,
        reason,
        host: Some(execution.host),
        machine: execution.machine.clone(),
        emulated_host: execution.emulated_host.clone(),
        warmup: execution.warmup,
        superseded,
    }
}

/// Whether the VM exited or timed out between the two events, so that their distance is censored.
fn ended_within(vm: &Vm, from: &str, to: &str) -> bool {
    let own = |failure: &Failure| matches!(failure.reason, FailureReason::Timeout | FailureReason::Exited);
    let known = |name: &str| vm.events.contains_key(name);
    vm.failure.as_ref().is_some_and(own) && known(from) && !known(to) && !vm.readings.contains_key(to)
}

/// The status of a reading without a value, and the reason without its marker.
fn reading_status(reason: &str) -> (Status, String) {
    match (reason.strip_prefix(NOT_APPLICABLE), reason.strip_prefix(CENSORED)) {
        (Some(reason), _) => (Status::NotApplicable, reason.to_owned()),
        (None, Some(reason)) => (Status::Censored, reason.to_owned()),
        (None, None) => (Status::NotAvailable, reason.to_owned()),
    }
}

/// The value of a metric of one VM, in the metric's unit, or the status and reason of a missing value.
fn value(vm: &Vm, metric: &Metric) -> Result<f64, (Status, String)> {
    const NS_PER_MS: f64 = 1e6;
    const BYTES_PER_MIB: f64 = 1_048_576.0;
    let missing = |what: String| match &vm.failure {
        Some(failure) if failure.reason == FailureReason::BeyondLimit => (Status::BeyondLimit, failure.message.clone()),
        Some(failure) => {
            let status = match failure.reason {
                FailureReason::NotApplicable => Status::NotApplicable,
                _ => Status::Failed,
            };
            (status, format!("{} at {}: {}", failure.reason, failure.stage, failure.message))
        }
        None => (Status::NotAvailable, what),
    };
    match &metric.source {
        MetricSource::Span { from, to } if ended_within(vm, from, to) => {
            Err((Status::Censored, missing(format!("no event {to}")).1))
        }
        MetricSource::Span { from, to } => {
            // A reading with the name of an event has the reason why the event is missing.
            let why = |name: &str| match vm.readings.get(name) {
                Some((Err(reason), _)) => reading_status(reason),
                _ => missing(format!("no event {name}")),
            };
            let instant = |name: &str| vm.events.get(name).ok_or_else(|| why(name));
            let (from_ns, to_ns) = (*instant(from)?, *instant(to)?);
            match to_ns.checked_sub(from_ns) {
                Some(ns) => Ok(ns as f64 / NS_PER_MS),
                None => Err((Status::NotAvailable, format!("{to} is earlier than {from}"))),
            }
        }
        MetricSource::Reading(name) => match vm.readings.get(name) {
            Some((Ok(value), unit)) if unit == "ns" && metric.unit == "ms" => Ok(value / NS_PER_MS),
            Some((Ok(value), unit)) if unit == "bytes" && metric.unit == "MiB" => Ok(value / BYTES_PER_MIB),
            Some((Ok(value), _)) => Ok(*value),
            Some((Err(reason), _)) => Err(reading_status(reason)),
            None => Err(missing(format!("no reading {name}"))),
        },
    }
}

/// The samples as a table with the columns of [`SAMPLES`](crate::schema::SAMPLES).
///
/// # Errors
/// If polars cannot build the table.
pub fn table(plan: &Plan, samples: &[Sample]) -> polars::error::PolarsResult<DataFrame> {
    let cells: BTreeMap<&str, &Cell> = plan.cells.iter().map(|cell| (cell.id.as_str(), cell)).collect();
    let text = |name: &str, of: &dyn Fn(&Sample) -> String| -> Column {
        Series::new(name.into(), samples.iter().map(of).collect::<Vec<_>>()).into()
    };
    let of_cell = |name: &str, of: &dyn Fn(&Cell) -> String| -> Column {
        let values: Vec<String> =
            samples.iter().map(|s| cells.get(s.cell.as_str()).map(|cell| of(cell)).unwrap_or_default()).collect();
        Series::new(name.into(), values).into()
    };
    let number = |name: &str, of: &dyn Fn(&Sample) -> u32| -> Column {
        Series::new(name.into(), samples.iter().map(of).collect::<Vec<_>>()).into()
    };
    let concurrency: Vec<u32> =
        samples.iter().map(|s| cells.get(s.cell.as_str()).map_or(0, |cell| cell.concurrency)).collect();
    let memory: Vec<Option<u64>> =
        samples.iter().map(|s| s.emulated_host.as_ref().map(|host| host.memory_mib)).collect();
    let mut columns = vec![
        text("study", &|_| plan.study.clone()),
        text("cell", &|s| s.cell.clone()),
        of_cell("variant", &|cell| cell.variant.to_string()),
        of_cell("label", &|cell| cell.label.to_string()),
        of_cell("engine", &|cell| cell.engine.to_string()),
        Series::new("concurrency".into(), concurrency).into(),
    ];
    for axis in plan.axes.iter().filter(|axis| axis.name != "variant" && axis.name != "concurrency") {
        columns.push(of_cell(&format!("axis_{}", axis.name), &|cell| {
            cell.levels.get(&axis.name).map(ToString::to_string).unwrap_or_default()
        }));
    }
    columns.extend([
        number("block", &|s| s.block),
        number("repetition", &|s| s.repetition),
        number("trial", &|s| s.trial),
        number("attempt", &|s| s.attempt),
        number("vm", &|s| s.vm),
        text("metric", &|s| s.metric.clone()),
        Series::new("value".into(), samples.iter().map(|s| s.value).collect::<Vec<_>>()).into(),
        text("unit", &|s| s.unit.clone()),
        text("status", &|s| s.status.name().to_owned()),
        text("reason", &|s| s.reason.clone()),
        text("host", &|s| s.host.map(|host| host.to_string()).unwrap_or_default()),
        text("clock", &|s| s.clock().to_owned()),
        text("machine", &|s| s.machine.clone()),
        text("emulated_host", &|s| s.emulated_host.as_ref().map(|host| host.number.clone()).unwrap_or_default()),
        text("host_cpu", &|s| s.emulated_host.as_ref().map(|host| host.host_cpu.clone()).unwrap_or_default()),
        Series::new("emulated_memory_mib".into(), memory).into(),
        Series::new("warmup".into(), samples.iter().map(|s| s.warmup).collect::<Vec<_>>()).into(),
        Series::new("superseded".into(), samples.iter().map(|s| s.superseded).collect::<Vec<_>>()).into(),
    ]);
    DataFrame::new(samples.len(), columns)
}

/// Writes the samples as `samples.parquet` and `samples.csv` into the directory `run`.
///
/// # Errors
/// If a file cannot be written.
pub fn save(run: &Path, plan: &Plan, samples: &[Sample]) -> Result<(), Error> {
    let parquet = run.join("samples.parquet");
    let csv = run.join("samples.csv");
    let refused = |path: &Path| {
        let path = path.to_path_buf();
        move |source| Error::Table { path, cause: source }
    };
    let mut table = table(plan, samples).map_err(refused(&parquet))?;
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).finish(&mut table).map_err(refused(&parquet))?;
    write(&parquet, &bytes)?;
    let mut bytes = Cursor::new(Vec::new());
    CsvWriter::new(&mut bytes).finish(&mut table).map_err(refused(&csv))?;
    write(&csv, bytes.get_ref())
}

/// Reads `samples.parquet` of the directory `run`.
///
/// # Errors
/// [`Error::NotAnalysed`] without the file; [`Error::Table`] if it cannot be read or a column is missing.
pub fn load(run: &Path) -> Result<Vec<Sample>, Error> {
    let path = run.join("samples.parquet");
    let file = input::open_no_link(&path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => Error::NotAnalysed { run: run.to_path_buf() },
        _ => io_error_at(&path)(source),
    })?;
    tracing::debug!("reading {}", path.display());
    let parse = || -> polars::error::PolarsResult<Vec<Sample>> {
        let table = ParquetReader::new(file).finish()?;
        let text = |name: &str| -> polars::error::PolarsResult<Vec<String>> {
            Ok(table.column(name)?.str()?.iter().map(|value| value.unwrap_or_default().to_owned()).collect())
        };
        let number = |name: &str| -> polars::error::PolarsResult<Vec<u32>> {
            Ok(table.column(name)?.cast(&DataType::UInt32)?.u32()?.iter().map(|value| value.unwrap_or(0)).collect())
        };
        let (cell, metric, unit) = (text("cell")?, text("metric")?, text("unit")?);
        let (status, reason, host) = (text("status")?, text("reason")?, text("host")?);
        let machine = text("machine")?;
        let emulated_host = emulated_hosts(&table)?;
        let (block, trial, attempt, vm) = (number("block")?, number("trial")?, number("attempt")?, number("vm")?);
        // A table of an earlier version has no repetitions.
        let repetition =
            if table.column("repetition").is_ok() { number("repetition")? } else { vec![0; table.height()] };
        let value: Vec<Option<f64>> = table.column("value")?.cast(&DataType::Float64)?.f64()?.iter().collect();
        let flag = |name: &str| -> polars::error::PolarsResult<Vec<bool>> {
            Ok(table.column(name)?.bool()?.iter().map(|value| value == Some(true)).collect())
        };
        let (warmup, superseded) = (flag("warmup")?, flag("superseded")?);
        Ok((0..table.height())
            .map(|row| Sample {
                cell: cell[row].clone(),
                block: block[row],
                repetition: repetition[row],
                trial: trial[row],
                attempt: attempt[row],
                vm: vm[row],
                metric: metric[row].clone(),
                value: value[row],
                unit: unit[row].clone(),
                status: Status::from_name(&status[row]),
                reason: reason[row].clone(),
                host: host[row].parse().ok(),
                machine: machine[row].clone(),
                emulated_host: emulated_host.get(row).cloned().flatten(),
                warmup: warmup[row],
                superseded: superseded[row],
            })
            .collect())
    };
    parse().map_err(|source| Error::Table { path: path.clone(), cause: source })
}

/// The emulated host of each row; empty for a table of an earlier version, which does not have these columns.
fn emulated_hosts(table: &DataFrame) -> polars::error::PolarsResult<Vec<Option<Arc<EmulatedHost>>>> {
    let [Ok(number), Ok(host_cpu), Ok(memory)] =
        ["emulated_host", "host_cpu", "emulated_memory_mib"].map(|name| table.column(name))
    else {
        return Ok(Vec::new());
    };
    let memory = memory.cast(&DataType::UInt64)?;
    let rows = number.str()?.iter().zip(host_cpu.str()?.iter()).zip(memory.u64()?.iter());
    let mut last: Option<Arc<EmulatedHost>> = None;
    let host_of = |((number, host_cpu), memory): ((Option<&str>, Option<&str>), Option<u64>)| {
        let (number, host_cpu, memory_mib) = (number?, host_cpu?, memory?);
        let is_last = |host: &Arc<EmulatedHost>| host.number == number && host.memory_mib == memory_mib;
        if !last.as_ref().is_some_and(is_last) {
            let host = EmulatedHost { number: number.to_owned(), host_cpu: host_cpu.to_owned(), memory_mib };
            last = Some(Arc::new(host));
        }
        last.clone()
    };
    Ok(rows.map(host_of).collect())
}

/// A sample of one VM, in ms, for tests.
#[cfg(test)]
pub(crate) fn example(trial: u32, vm: u32, metric: &str, value: Option<f64>) -> Sample {
    Sample {
        cell: "fc/2".into(),
        block: 0,
        repetition: 0,
        trial,
        attempt: 0,
        vm,
        metric: metric.into(),
        value,
        unit: "ms".into(),
        status: if value.is_some() { Status::Ok } else { Status::NotAvailable },
        reason: String::new(),
        host: None,
        machine: String::new(),
        emulated_host: None,
        warmup: false,
        superseded: false,
    }
}
