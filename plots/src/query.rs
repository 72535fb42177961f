//! SQL over the tables of one run or several: `samples`, `summary`, `cells` and the others of [`schema::TABLES`].
//!
//! Nothing is written: what the statement sees are tables in memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use microbench_formats::host::HostKind;
use microbench_formats::plan::Plan;
use microbench_formats::terminal::{aligned, wrapped};
use polars::prelude::{AnyValue, Column, DataFrame, DataType, IntoLazy, NamedFrom, Series};
use polars::sql::SQLContext;
use polars_io::prelude::{CsvWriter, ParquetReader};
use polars_io::{SerReader, SerWriter};
use serde_json::{Map, Value};

use crate::analyze::{Loaded, loaded};
use crate::journal::{Execution, Vm};
use crate::run::Run;
use crate::schema::{self, Kind, TABLES};
use crate::{Error, claim, summary};

/// The rows that a query gave.
#[derive(Clone, Debug)]
pub struct Answer {
    table: DataFrame,
    hosts: Vec<HostKind>,
}

/// Answers `sql` from the tables of `runs`, those of several runs one below the other.
///
/// # Errors
/// When a run has not been analysed, when the statement does more than read, and when it is wrong: the message names every table and
/// column.
pub fn query(runs: &[PathBuf], sql: &str) -> Result<Answer, Error> {
    let wrong = |problem: String| Error::Query { problem, tables: listing() };
    let first = sql.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
    let first = first.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default().to_lowercase();
    if !["select", "with", "from", "show", "explain"].contains(&first.as_str()) {
        return Err(wrong("a query only reads: it begins with SELECT or WITH".to_owned()));
    }
    let views = runs.iter().map(|run| View::new(run)).collect::<Result<Vec<_>, _>>()?;
    let mut context = SQLContext::new();
    let mentioned = sql.to_lowercase();
    for table in TABLES.iter().filter(|table| mentioned.contains(table.name)) {
        let frames = views.iter().map(|view| view.frame(table.name)).collect::<Result<Vec<_>, _>>()?;
        context.register(table.name, stacked(frames).map_err(|error| wrong(error.to_string()))?.lazy());
    }
    let table = context.execute(sql).and_then(|lazy| lazy.collect()).map_err(|error| wrong(error.to_string()))?;
    let mut hosts: Vec<HostKind> = Vec::new();
    for host in views.iter().filter_map(|view| view.loaded.rows.iter().find_map(|row| row.host)) {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    Ok(Answer { table, hosts })
}

/// The tables with the names of their columns, for an error.
fn listing() -> String {
    let line = |table: &schema::Table| {
        let columns: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        wrapped(&format!("  {}: run, {}", table.name, columns.join(", ")), 4)
    };
    let lines: Vec<String> = TABLES.iter().map(line).collect();
    format!("tables and their columns (`microbench query --tables` says what they are):\n{}", lines.join("\n"))
}

/// Frames one below the other; a column that one of them lacks is null there.
fn stacked(frames: Vec<DataFrame>) -> polars::error::PolarsResult<DataFrame> {
    let mut names: Vec<String> = Vec::new();
    for frame in &frames {
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
                // Only the columns of axes and settings differ, and these are text.
                Err(_) => Column::full_null(name.as_str().into(), frame.height(), &DataType::String),
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

/// One run.
struct View<'a> {
    run: &'a Path,
    loaded: Loaded,
}

impl<'a> View<'a> {
    fn new(run: &'a Path) -> Result<Self, Error> {
        Ok(Self { run, loaded: loaded(run)? })
    }

    /// One of its tables, with the column `run`.
    fn frame(&self, name: &str) -> Result<DataFrame, Error> {
        let path = self.run.join(TABLES.iter().find(|table| table.name == name).map_or("", |table| table.file));
        let Loaded { run: Run { plan, .. }, rows, .. } = &self.loaded;
        let frame = match name {
            "samples" => {
                let file = File::open(&path).map_err(crate::file::at(&path))?;
                ParquetReader::new(file).finish()
            }
            "summary" => summary::frame(rows, plan.seed),
            "cells" => cells(plan),
            "metrics" => metrics(plan),
            "claims" => claims(plan, rows),
            "events" => events(&self.loaded.run.journal()?.executions),
            _ => readings(&self.loaded.run.journal()?.executions),
        };
        let name = self.run.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let with_run = |frame: DataFrame| {
            let mut columns: Vec<Column> = vec![text("run", vec![name; frame.height()])];
            columns.extend(frame.columns().iter().cloned());
            DataFrame::new(frame.height(), columns)
        };
        frame.and_then(with_run).map_err(|source| Error::Table { path, cause: source })
    }
}

fn text(name: &str, values: Vec<String>) -> Column {
    Series::new(name.into(), values).into()
}

fn numbers(name: &str, values: Vec<u32>) -> Column {
    Series::new(name.into(), values).into()
}

fn floats(name: &str, values: Vec<Option<f64>>) -> Column {
    Series::new(name.into(), values).into()
}

fn cells(plan: &Plan) -> polars::error::PolarsResult<DataFrame> {
    let of =
        |value: &dyn Fn(&microbench_formats::cell::Cell) -> String| plan.cells.iter().map(value).collect::<Vec<_>>();
    let mut columns = vec![
        text("cell", of(&|cell| cell.id.to_string())),
        text("variant", of(&|cell| cell.variant.to_string())),
        text("label", of(&|cell| cell.label.to_string())),
        text("engine", of(&|cell| cell.engine.to_string())),
        numbers("concurrency", plan.cells.iter().map(|cell| cell.concurrency).collect()),
        numbers("trials", plan.cells.iter().map(|cell| cell.trials).collect()),
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
    let of = |value: &dyn Fn(&microbench_formats::metric::Metric) -> String| {
        plan.metrics.iter().map(value).collect::<Vec<_>>()
    };
    let columns = vec![
        text("metric", of(&|metric| metric.name.clone())),
        text("label", of(&|metric| metric.label.clone())),
        text("unit", of(&|metric| metric.unit.clone())),
        text("better", of(&|metric| metric.direction().to_string())),
        text("definition", of(&|metric| metric.definition.clone())),
    ];
    DataFrame::new(plan.metrics.len(), columns)
}

fn claims(plan: &Plan, rows: &[summary::Row]) -> polars::error::PolarsResult<DataFrame> {
    let verdicts = claim::judge(plan, rows);
    let of = |value: &dyn Fn(&claim::Verdict) -> String| verdicts.iter().map(value).collect::<Vec<_>>();
    let number = |value: &dyn Fn(&claim::Verdict) -> Option<f64>| verdicts.iter().map(value).collect::<Vec<_>>();
    let columns = vec![
        text("claim", of(&|verdict| verdict.claim.name.clone())),
        text("text", of(&|verdict| verdict.claim.text.trim().to_owned())),
        text("verdict", of(&|verdict| verdict.outcome.to_string())),
        floats("value", number(&|verdict| verdict.value)),
        floats("low", number(&|verdict| verdict.interval.as_ref().map(|(interval, _)| interval.low))),
        floats("high", number(&|verdict| verdict.interval.as_ref().map(|(interval, _)| interval.high))),
        text("unit", of(&|verdict| verdict.unit.clone())),
        floats("published", number(&|verdict| verdict.claim.published)),
        text("remark", of(&|verdict| verdict.remark.clone())),
    ];
    DataFrame::new(verdicts.len(), columns)
}

/// Whose records some rows are: the columns from `cell` to `invalid`.
fn whose(of: &[(&Execution, u32)]) -> Vec<Column> {
    vec![
        text("cell", of.iter().map(|(execution, _)| execution.cell.clone()).collect()),
        numbers("trial", of.iter().map(|(execution, _)| execution.trial).collect()),
        numbers("attempt", of.iter().map(|(execution, _)| execution.attempt).collect()),
        numbers("vm", of.iter().map(|(_, vm)| *vm).collect()),
        Series::new("warmup".into(), of.iter().map(|(execution, _)| execution.warmup).collect::<Vec<_>>()).into(),
        Series::new(
            "invalid".into(),
            of.iter().map(|(execution, _)| !execution.invalid.is_empty()).collect::<Vec<_>>(),
        )
        .into(),
    ]
}

/// Something of each VM of each execution.
fn each<'a, T>(
    executions: &'a [Execution],
    of: impl Fn(&'a Vm) -> Vec<T> + Copy,
) -> (Vec<(&'a Execution, u32)>, Vec<T>) {
    let vms = executions
        .iter()
        .flat_map(|execution| execution.vms.iter().map(move |(vm, records)| (execution, *vm, records)));
    vms.flat_map(|(execution, vm, records)| of(records).into_iter().map(move |one| ((execution, vm), one))).unzip()
}

fn events(executions: &[Execution]) -> polars::error::PolarsResult<DataFrame> {
    let (of, all) = each(executions, |vm| {
        let mut events: Vec<(&String, u64)> = vm.events.iter().map(|(name, t_ns)| (name, *t_ns)).collect();
        events.sort_by_key(|(_, t_ns)| *t_ns);
        events
    });
    let mut columns = whose(&of);
    columns.push(text("event", all.iter().map(|(name, _)| (*name).clone()).collect()));
    columns.push(Series::new("t_ns".into(), all.iter().map(|(_, t_ns)| *t_ns).collect::<Vec<_>>()).into());
    DataFrame::new(all.len(), columns)
}

fn readings(executions: &[Execution]) -> polars::error::PolarsResult<DataFrame> {
    let (of, all) = each(executions, |vm| vm.readings.iter().collect());
    let mut columns = whose(&of);
    columns.push(text("reading", all.iter().map(|(name, _)| (*name).clone()).collect()));
    columns.push(floats("value", all.iter().map(|(_, (value, _))| value.as_ref().ok().copied()).collect()));
    columns.push(text("unit", all.iter().map(|(_, (_, unit))| unit.clone()).collect()));
    columns.push(text(
        "reason",
        all.iter().map(|(_, (value, _))| value.as_ref().err().cloned().unwrap_or_default()).collect(),
    ));
    DataFrame::new(all.len(), columns)
}

impl Answer {
    /// Rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.table.height()
    }

    /// As aligned text; below it the number of rows, the units of the columns that have one, and the host.
    #[must_use]
    pub fn text(&self) -> String {
        let columns = self.table.columns();
        let right: Vec<bool> = columns.iter().map(|column| column.dtype().is_numeric()).collect();
        let mut lines = vec![columns.iter().map(|column| column.name().to_string()).collect::<Vec<_>>()];
        for row in 0..self.table.height() {
            lines.push(columns.iter().map(|column| words(&value(column, row))).collect());
        }
        let rows = self.table.height();
        let mut out = format!("{}\n{rows} {}", aligned(&lines, &right), if rows == 1 { "row" } else { "rows" });
        let mut units: BTreeMap<&str, &str> = BTreeMap::new();
        for known in TABLES.iter().flat_map(|table| table.columns).filter(|known| !known.unit.is_empty()) {
            if columns.iter().any(|column| column.name().as_str() == known.name) {
                units.insert(known.name, if known.unit == "unit" { "as the column `unit` says" } else { known.unit });
            }
        }
        let units: Vec<String> =
            units.iter().map(|(name, unit)| format!("{name} in {unit}").replace("in as", "as")).collect();
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

    /// As CSV; null is empty.
    ///
    /// # Errors
    /// When polars cannot write a column, a list for instance.
    pub fn csv(&self) -> Result<String, Error> {
        let mut bytes = Vec::new();
        let written = CsvWriter::new(&mut bytes).finish(&mut self.table.clone());
        written.map_err(|error| Error::Query { problem: error.to_string(), tables: listing() })?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// As a JSON array of one object a row.
    #[must_use]
    pub fn json(&self) -> String {
        let columns = self.table.columns();
        let row = |row: usize| -> Map<String, Value> {
            columns.iter().map(|column| (column.name().to_string(), value(column, row))).collect()
        };
        // One row a line.
        let lines: Vec<String> = (0..self.table.height()).map(|n| format!("  {}", Value::Object(row(n)))).collect();
        if lines.is_empty() { "[]\n".to_owned() } else { format!("[\n{}\n]\n", lines.join(",\n")) }
    }
}

/// A value as JSON has it; what JSON has no word for becomes text.
fn value(column: &Column, row: usize) -> Value {
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

/// A value as text for a reader: six significant digits of a number that has a fraction. Control characters are blanks.
fn words(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::String(text) => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
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

/// The first difference between a table's columns and its schema; `None` when there is none.
///
/// # Errors
/// When the run has not been analysed.
pub fn differs(run: &Path, table: &schema::Table) -> Result<Option<String>, Error> {
    let frame = View::new(run)?.frame(table.name)?;
    let columns = frame.columns().iter().skip(1).map(|column| (column.name().as_str(), column.dtype()));
    Ok(schema::check(table.columns, columns).err())
}

/// Columns of a Parquet file with their types; `None` for a type that no column of ours has.
///
/// # Errors
/// When it cannot be read.
pub fn columns(path: &Path) -> Result<Vec<(String, Option<Kind>)>, Error> {
    let file = File::open(path).map_err(crate::file::at(path))?;
    let frame =
        ParquetReader::new(file).finish().map_err(|source| Error::Table { path: path.into(), cause: source })?;
    Ok(frame.columns().iter().map(|column| (column.name().to_string(), Kind::of(column.dtype()))).collect())
}
