//! SQL queries over the tables of one or more runs: `samples`, `summary`, `cells` and the others of [`schema::TABLES`].
//!
//! Queries are read-only: a statement runs on tables in memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use microbench_formats::host::HostKind;
use microbench_formats::input;
use microbench_formats::plan::Plan;
use microbench_formats::terminal::{aligned, printable_char, wrapped};
use polars::prelude::{AnyValue, Column, DataFrame, DataType, IntoLazy, NamedFrom, Series};
use polars::sql::SQLContext;
use polars_io::prelude::{CsvWriter, ParquetReader};
use polars_io::{SerReader, SerWriter};
use serde_json::{Map, Value};

use crate::analyze::AnalyzedRun;
use crate::definition::definition;
use crate::journal::{Execution, Vm};
use crate::kernel::GuestKernels;
use crate::run::Run;
use crate::schema::{self, Kind, TABLES};
use crate::stats::median::Interval;
use crate::{Error, claim, summary, uncertainty};

/// The rows of a query, with the host kinds of the runs.
#[derive(Clone, Debug)]
pub struct QueryResult {
    table: DataFrame,
    hosts: Vec<HostKind>,
}

/// Runs the statement `sql` on the tables of `runs`. The tables of several runs are concatenated; the column `run`
/// tells them apart.
///
/// # Errors
/// If a run has not been analysed, if the statement is not read-only, or if it is invalid.
///
/// ```no_run
/// let runs = [std::path::PathBuf::from("results/my-run")];
/// let sql = "select cell, median from summary where metric = 'kernel_boot_time'";
/// print!("{}", microbench_plots::query::query(&runs, sql)?.to_text());
/// # Ok::<(), microbench_plots::Error>(())
/// ```
pub fn query(runs: &[PathBuf], sql: &str) -> Result<QueryResult, Error> {
    let failed = |problem: String| query_error(&problem);
    let first = sql.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
    let first = first.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default().to_lowercase();
    if !["select", "with", "from", "show", "explain"].contains(&first.as_str()) {
        return Err(failed("queries are read-only: start the statement with SELECT or WITH".to_owned()));
    }
    let runs = runs.iter().map(|run| RunTables::open(run)).collect::<Result<Vec<_>, _>>()?;
    let mut context = SQLContext::new();
    let mentioned = sql.to_lowercase();
    for table in TABLES.iter().filter(|table| mentioned.contains(table.name)) {
        let frames = runs.iter().map(|run| run.frame(table.name)).collect::<Result<Vec<_>, _>>()?;
        context.register(table.name, concatenated(frames).map_err(|error| failed(error.to_string()))?.lazy());
    }
    let table = context.execute(sql).and_then(|lazy| lazy.collect()).map_err(|error| failed(error.to_string()))?;
    let mut hosts: Vec<HostKind> = Vec::new();
    for host in runs.iter().filter_map(|run| run.loaded.rows.iter().find_map(|row| row.host)) {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    Ok(QueryResult { table, hosts })
}

/// The error with the first line of `problem`. Polars adds the query plan on further lines.
fn query_error(problem: &str) -> Error {
    Error::Query { problem: problem.lines().next().unwrap_or_default().trim_end().to_owned() }
}

/// Concatenates frames. A column that a frame does not have is null in its rows.
fn concatenated(frames: Vec<DataFrame>) -> polars::error::PolarsResult<DataFrame> {
    let mut names: Vec<String> = Vec::new();
    let mut kinds: BTreeMap<String, DataType> = BTreeMap::new();
    for frame in &frames {
        kinds.extend(frame.columns().iter().map(|column| (column.name().to_string(), column.dtype().clone())));
        let mut at = 0;
        for name in frame.columns().iter().map(|column| column.name().to_string()) {
            match names.iter().position(|known| *known == name) {
                Some(known) => at = known + 1,
                None => {
                    names.insert(at, name);
                    at += 1;
                }
            }
        }
    }
    let mut out: Option<DataFrame> = None;
    for frame in frames {
        let columns: Vec<Column> = (names.iter())
            .map(|name| match frame.column(name) {
                Ok(column) => column.clone(),
                // Columns of axes and settings, and columns that an earlier version did not write.
                Err(_) => Column::full_null(name.as_str().into(), frame.height(), &kinds[name.as_str()]),
            })
            .collect();
        let frame = DataFrame::new(frame.height(), columns)?;
        out = Some(match out {
            Some(above) => above.vstack(&frame)?,
            None => frame,
        });
    }
    Ok(out.unwrap_or_else(DataFrame::empty))
}

/// The tables of one run.
struct RunTables<'a> {
    run: &'a Path,
    loaded: AnalyzedRun,
}

impl<'a> RunTables<'a> {
    fn open(run: &'a Path) -> Result<Self, Error> {
        Ok(Self { run, loaded: AnalyzedRun::load(run)? })
    }

    /// The table called `name`, with the column `run`.
    fn frame(&self, name: &str) -> Result<DataFrame, Error> {
        let path = self.run.join(TABLES.iter().find(|table| table.name == name).map_or("", |table| table.file));
        let AnalyzedRun { run: Run { plan, .. }, rows, .. } = &self.loaded;
        let frame = match name {
            "samples" => {
                let file = input::open_no_link(&path).map_err(crate::file::io_error_at(&path))?;
                ParquetReader::new(file).finish()
            }
            "summary" => summary::frame(rows, plan.seed),
            "uncertainty" => {
                let journal = self.loaded.run.journal()?;
                let kernels = GuestKernels::read(self.run)?;
                uncertainty::frame(&uncertainty::budgets(plan, rows, &journal, &kernels))
            }
            "cells" => cells(plan),
            "metrics" => metrics(plan),
            "claims" => claims(plan, rows),
            "events" => events(&self.loaded.run.journal()?.executions),
            _ => readings(&self.loaded.run.journal()?.executions),
        };
        let name = self.run.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let with_run = |frame: DataFrame| {
            let mut columns: Vec<Column> = vec![text_column("run", vec![name; frame.height()])];
            columns.extend(frame.columns().iter().cloned());
            DataFrame::new(frame.height(), columns)
        };
        frame.and_then(with_run).map_err(|source| Error::Table { path, cause: source })
    }
}

fn text_column(name: &str, values: Vec<String>) -> Column {
    Series::new(name.into(), values).into()
}

fn u32_column(name: &str, values: Vec<u32>) -> Column {
    Series::new(name.into(), values).into()
}

fn f64_column(name: &str, values: Vec<Option<f64>>) -> Column {
    Series::new(name.into(), values).into()
}

fn cells(plan: &Plan) -> polars::error::PolarsResult<DataFrame> {
    let of =
        |value: &dyn Fn(&microbench_formats::cell::Cell) -> String| plan.cells.iter().map(value).collect::<Vec<_>>();
    let mut columns = vec![
        text_column("cell", of(&|cell| cell.id.to_string())),
        text_column("variant", of(&|cell| cell.variant.to_string())),
        text_column("label", of(&|cell| cell.label.to_string())),
        text_column("engine", of(&|cell| cell.engine.to_string())),
        u32_column("concurrency", plan.cells.iter().map(|cell| cell.concurrency).collect()),
        u32_column("trials", plan.cells.iter().map(|cell| cell.trials).collect()),
    ];
    let mut names: Vec<&String> = plan.cells.iter().flat_map(|cell| cell.settings.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let values: Vec<Option<String>> =
            plan.cells.iter().map(|cell| cell.settings.get(name).map(ToString::to_string)).collect();
        columns.push(Series::new(format!("setting_{name}").as_str().into(), values).into());
    }
    DataFrame::new(plan.cells.len(), columns)
}

fn metrics(plan: &Plan) -> polars::error::PolarsResult<DataFrame> {
    let column_of = |value: &dyn Fn(&microbench_formats::metric::Metric) -> String| {
        plan.metrics.iter().map(value).collect::<Vec<_>>()
    };
    let columns = vec![
        text_column("metric", column_of(&|metric| metric.name.clone())),
        text_column("label", column_of(&|metric| metric.label.clone())),
        text_column("unit", column_of(&|metric| metric.unit.clone())),
        text_column("better", column_of(&|metric| metric.direction().to_string())),
        text_column("definition", column_of(&|metric| definition(metric).to_owned())),
    ];
    DataFrame::new(plan.metrics.len(), columns)
}

fn claims(plan: &Plan, rows: &[summary::Row]) -> polars::error::PolarsResult<DataFrame> {
    let verdicts = claim::judge(plan, rows);
    let column_of = |value: &dyn Fn(&claim::Verdict) -> String| verdicts.iter().map(value).collect::<Vec<_>>();
    let number = |value: &dyn Fn(&claim::Verdict) -> Option<f64>| verdicts.iter().map(value).collect::<Vec<_>>();
    let end = |verdict: &claim::Verdict, of: fn(&Interval) -> f64| {
        verdict.interval.as_ref().map(|(interval, _)| of(interval)).filter(|end| end.is_finite())
    };
    let columns = vec![
        text_column("claim", column_of(&|verdict| verdict.claim.name.clone())),
        text_column("text", column_of(&|verdict| verdict.claim.text.trim().to_owned())),
        text_column("verdict", column_of(&|verdict| verdict.outcome.to_string())),
        f64_column("value", number(&|verdict| verdict.value)),
        f64_column("low", number(&|verdict| end(verdict, |interval| interval.low))),
        f64_column("high", number(&|verdict| end(verdict, |interval| interval.high))),
        text_column("bound", column_of(&|verdict| verdict.bound().map_or("", claim::Bound::name).to_owned())),
        text_column("unit", column_of(&|verdict| verdict.unit.clone())),
        f64_column("published", number(&|verdict| verdict.claim.published)),
        text_column("remark", column_of(&|verdict| verdict.remark.clone())),
    ];
    DataFrame::new(verdicts.len(), columns)
}

/// The columns from `cell` to `invalid` of rows, given the execution and VM of each row.
fn execution_columns(of: &[(&Execution, u32)]) -> Vec<Column> {
    vec![
        text_column("cell", of.iter().map(|(execution, _)| execution.cell.clone()).collect()),
        u32_column("trial", of.iter().map(|(execution, _)| execution.trial).collect()),
        u32_column("attempt", of.iter().map(|(execution, _)| execution.attempt).collect()),
        u32_column("vm", of.iter().map(|(_, vm)| *vm).collect()),
        Series::new("warmup".into(), of.iter().map(|(execution, _)| execution.warmup).collect::<Vec<_>>()).into(),
        Series::new(
            "invalid".into(),
            of.iter().map(|(execution, _)| !execution.invalid.is_empty()).collect::<Vec<_>>(),
        )
        .into(),
    ]
}

/// Collects the items that `of` returns for each VM, with the execution and the number of the VM.
fn items_of_vms<'a, T>(
    executions: &'a [Execution],
    of: impl Fn(&'a Vm) -> Vec<T> + Copy,
) -> (Vec<(&'a Execution, u32)>, Vec<T>) {
    let vms = executions
        .iter()
        .flat_map(|execution| execution.vms.iter().map(move |(vm, records)| (execution, *vm, records)));
    vms.flat_map(|(execution, vm, records)| of(records).into_iter().map(move |item| ((execution, vm), item))).unzip()
}

fn events(executions: &[Execution]) -> polars::error::PolarsResult<DataFrame> {
    let (of, all) = items_of_vms(executions, |vm| {
        let mut events: Vec<(&String, u64)> = vm.events.iter().map(|(name, t_ns)| (name, *t_ns)).collect();
        events.sort_by_key(|(_, t_ns)| *t_ns);
        events
    });
    let mut columns = execution_columns(&of);
    columns.push(text_column("event", all.iter().map(|(name, _)| (*name).clone()).collect()));
    columns.push(Series::new("t_ns".into(), all.iter().map(|(_, t_ns)| *t_ns).collect::<Vec<_>>()).into());
    DataFrame::new(all.len(), columns)
}

fn readings(executions: &[Execution]) -> polars::error::PolarsResult<DataFrame> {
    let (of, all) = items_of_vms(executions, |vm| vm.readings.iter().collect());
    let mut columns = execution_columns(&of);
    columns.push(text_column("reading", all.iter().map(|(name, _)| (*name).clone()).collect()));
    columns.push(f64_column("value", all.iter().map(|(_, (value, _))| value.as_ref().ok().copied()).collect()));
    columns.push(text_column("unit", all.iter().map(|(_, (_, unit))| unit.clone()).collect()));
    columns.push(text_column(
        "reason",
        all.iter().map(|(_, (value, _))| value.as_ref().err().cloned().unwrap_or_default()).collect(),
    ));
    DataFrame::new(all.len(), columns)
}

impl QueryResult {
    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.table.height()
    }

    /// Renders the rows as aligned text. The last line states the number of rows, the units and the host kinds.
    #[must_use]
    pub fn to_text(&self) -> String {
        let columns = self.table.columns();
        let right: Vec<bool> = columns.iter().map(|column| column.dtype().is_numeric()).collect();
        let mut lines = vec![columns.iter().map(|column| column.name().to_string()).collect::<Vec<_>>()];
        for row in 0..self.table.height() {
            lines.push(columns.iter().map(|column| value_text(&json_value(column, row))).collect());
        }
        let rows = self.table.height();
        let mut out = format!("{}\n{rows} {}", aligned(&lines, &right), if rows == 1 { "row" } else { "rows" });
        let mut units: BTreeMap<&str, &str> = BTreeMap::new();
        for known in TABLES.iter().flat_map(|table| table.columns).filter(|known| !known.unit.is_empty()) {
            if columns.iter().any(|column| column.name().as_str() == known.name) {
                units.insert(known.name, known.unit);
            }
        }
        let (by_row, fixed): (Vec<_>, Vec<_>) = units.into_iter().partition(|(_, unit)| *unit == "unit");
        let mut units: Vec<String> = fixed.iter().map(|(name, unit)| format!("{name} in {unit}")).collect();
        if !by_row.is_empty() {
            units.push("values and statistics: unit in column `unit`".to_owned());
        }
        if !units.is_empty() {
            out.push_str(&format!("; {}", units.join(", ")));
        }
        let hosts: Vec<&str> = self.hosts.iter().map(|host| host.note()).collect();
        if !hosts.is_empty() {
            out.push_str(&format!("; host: {}", hosts.join("; and ")));
        }
        let (table, below) = out.rsplit_once('\n').unwrap_or(("", &out));
        format!("{table}\n{}\n", wrapped(below, 4))
    }

    /// Renders the rows as CSV; null is an empty field.
    ///
    /// # Errors
    /// If polars cannot write a column as CSV, for example a list.
    pub fn to_csv(&self) -> Result<String, Error> {
        let mut bytes = Vec::new();
        let written = CsvWriter::new(&mut bytes).finish(&mut self.table.clone());
        written.map_err(|error| query_error(&error.to_string()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Renders the rows as a JSON array with one object for each row.
    #[must_use]
    pub fn to_json(&self) -> String {
        let columns = self.table.columns();
        let row = |row: usize| -> Map<String, Value> {
            columns.iter().map(|column| (column.name().to_string(), json_value(column, row))).collect()
        };
        // One line for each row.
        let lines: Vec<String> = (0..self.table.height()).map(|n| format!("  {}", Value::Object(row(n)))).collect();
        if lines.is_empty() { "[]\n".to_owned() } else { format!("[\n{}\n]\n", lines.join(",\n")) }
    }
}

/// A value as JSON; types that JSON does not have become strings.
fn json_value(column: &Column, row: usize) -> Value {
    match column.get(row) {
        Err(_) | Ok(AnyValue::Null) => Value::Null,
        Ok(AnyValue::Boolean(value)) => value.into(),
        Ok(AnyValue::String(text)) => text.into(),
        Ok(AnyValue::StringOwned(text)) => text.as_str().into(),
        Ok(AnyValue::Float64(value)) => value.into(),
        Ok(AnyValue::Float32(value)) => f64::from(value).into(),
        Ok(AnyValue::UInt64(value)) => value.into(),
        Ok(AnyValue::UInt32(value)) => value.into(),
        Ok(AnyValue::Int64(value)) => value.into(),
        Ok(AnyValue::Int32(value)) => value.into(),
        Ok(other) => other.to_string().into(),
    }
}

/// A value as text for the terminal: fractional numbers with six significant digits, control characters as spaces.
fn value_text(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::String(text) => text.chars().map(printable_char).collect(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(value) if value.fract() == 0.0 && value.abs() < 1e15 => format!("{value:.0}"),
            Some(value) => {
                let exponent = value.abs().log10().floor() as i32;
                let decimals = (5 - exponent).clamp(0, 12).unsigned_abs() as usize;
                let text = format!("{value:.decimals$}");
                if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
            }
            None => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// The first difference between the columns of a run's table and its schema; `None` if they agree.
///
/// # Errors
/// If the run has not been analysed.
pub fn schema_difference(run: &Path, table: &schema::Table) -> Result<Option<String>, Error> {
    let frame = RunTables::open(run)?.frame(table.name)?;
    let columns = frame.columns().iter().skip(1).map(|column| (column.name().as_str(), column.dtype()));
    Ok(schema::check(table.columns, columns).err())
}

/// The columns of a Parquet file with their types; `None` for a type that the schema does not use.
///
/// # Errors
/// If the file cannot be read.
pub fn parquet_columns(path: &Path) -> Result<Vec<(String, Option<Kind>)>, Error> {
    let file = input::open_no_link(path).map_err(crate::file::io_error_at(path))?;
    let frame =
        ParquetReader::new(file).finish().map_err(|source| Error::Table { path: path.into(), cause: source })?;
    Ok(frame.columns().iter().map(|column| (column.name().to_string(), Kind::from_data_type(column.dtype()))).collect())
}
