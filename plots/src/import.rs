//! Values that somebody else measured, as a run: from a CSV and a mapping to a plan and its records.
//!
//! Columns, by our names (a mapping may give theirs):
//!
//! | column | what |
//! | --- | --- |
//! | `metric` | name of a metric of the study |
//! | `value` | the value in the metric's unit; empty for a missing one |
//! | `unit` | optional; must then be the metric's |
//! | `trial` | optional: rows of one cell, metric and trial are VMs of that trial, in their order |
//! | `reason` | optional: why there is no value |
//! | an axis' name | level of the cell, unless the mapping's `cells` say it |
//!
//! Without a trial, each row of a cell with one VM at a time is a trial of its own, and all rows of a cell with more are one.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::record::{Cell, FORMAT_VERSION, HostKind, Level, Metric, MetricSource, Plan, PlannedTrial, Record};

/// How a CSV is to be read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mapping {
    /// Where the values come from, in words: stands in the run.
    pub source: String,
    /// Their column, by ours.
    pub columns: BTreeMap<String, String>,
    /// Only rows whose column (theirs) has one of these values.
    pub only: BTreeMap<String, Vec<String>>,
    /// No rows whose column (theirs) has one of these values.
    pub except: BTreeMap<String, Vec<String>>,
    /// The cells; the first that matches a row is taken. Empty to take each axis from the column of its name.
    pub cells: Vec<CellMapping>,
}

/// Rows that belong to one cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CellMapping {
    /// Values of columns (theirs) that a row must have.
    pub row: BTreeMap<String, String>,
    /// The cell's level on each axis that does not have one level only.
    pub cell: BTreeMap<String, Level>,
}

/// What came of a CSV.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The study's plan with the CSV's trials in place of its own, and metrics that read what was imported.
    pub plan: Plan,
    /// The journal, but for its `RunStart`.
    pub records: Vec<Record>,
    /// Rows that were taken.
    pub rows: usize,
    /// Rows that `only` and `except` left out.
    pub ignored: usize,
}

/// Name of the reading that an imported metric has.
#[must_use]
pub fn reading(metric: &str) -> String {
    format!("imported.{metric}")
}

/// One value: `Err` with the reason why there is none.
type Value = Result<f64, String>;
/// Values by trial and metric, in the CSV's order.
type Trials = BTreeMap<u32, BTreeMap<String, Vec<Value>>>;

/// Reads `csv` as values of `plan`'s cells.
///
/// # Errors
/// Every row that cannot be taken, with its line.
pub fn import(plan: &Plan, csv: &str, mapping: &Mapping) -> Result<Imported, Vec<String>> {
    let table = Table::read(csv, mapping)?;
    let mut errors = Vec::new();
    let mut cells: BTreeMap<usize, Trials> = BTreeMap::new();
    let (mut rows, mut ignored) = (0, 0);
    for row in &table.rows {
        if !row.wanted(mapping) {
            ignored += 1;
            continue;
        }
        match row.value(plan, mapping) {
            Ok((cell, metric, trial, value)) => {
                rows += 1;
                let trials = cells.entry(cell).or_default();
                let trial = trial.unwrap_or_else(|| next_trial(&plan.cells[cell], trials, &metric));
                trials.entry(trial).or_default().entry(metric).or_default().push(value);
            }
            Err(problem) => errors.push(format!("line {}: {problem}", row.line)),
        }
    }
    if rows == 0 && errors.is_empty() {
        errors.push("no row is left: `only` and `except` leave all of them out".to_owned());
    }
    if errors.is_empty() { Ok(run(plan, cells, rows, ignored)) } else { Err(errors) }
}

/// The trial of a row that names none.
fn next_trial(cell: &Cell, trials: &Trials, metric: &str) -> u32 {
    if cell.concurrency > 1 {
        return 0;
    }
    let taken = trials.values().filter(|metrics| metrics.contains_key(metric)).count();
    u32::try_from(taken).unwrap_or(u32::MAX)
}

/// The plan and the records of what was read.
fn run(plan: &Plan, cells: BTreeMap<usize, Trials>, rows: usize, ignored: usize) -> Imported {
    let mut plan = plan.clone();
    let used: BTreeSet<usize> = cells.keys().copied().collect();
    plan.warmup = false;
    plan.trials = Vec::new();
    plan.workloads = Vec::new();
    for metric in &mut plan.metrics {
        metric.source = MetricSource::Reading(reading(&metric.name));
        metric.instrument = None;
    }
    let mut records = Vec::new();
    for (at, trials) in cells {
        let cell = &mut plan.cells[at];
        cell.trials = u32::try_from(trials.len()).unwrap_or(u32::MAX);
        // Published tables have other numbers of values than VMs that ran: what was measured decides.
        let most = trials.values().flat_map(BTreeMap::values).map(Vec::len).max().unwrap_or(0);
        if cell.concurrency > 1 {
            cell.concurrency = u32::try_from(most).unwrap_or(u32::MAX);
        }
        for (block, (_, metrics)) in (0..).zip(trials) {
            let index = u32::try_from(plan.trials.len()).unwrap_or(u32::MAX);
            plan.trials.push(PlannedTrial { index, block, cell: cell.id.clone(), instrument: None });
            records.push(Record::TrialStart { trial: index, attempt: 0, cell: cell.id.to_string(), warmup: false });
            for metric in &plan.metrics {
                let values = metrics.get(&metric.name).map_or(&[][..], Vec::as_slice);
                for vm in 0..cell.concurrency {
                    records.push(record(metric, vm, values.get(vm as usize)));
                }
            }
            records.push(Record::TrialEnd { trial: index, attempt: 0, ok: cell.concurrency, failed: 0 });
        }
    }
    let mut at = 0..;
    plan.cells.retain(|_| at.next().is_some_and(|at| used.contains(&at)));
    Imported { plan, records, rows, ignored }
}

fn record(metric: &Metric, vm: u32, value: Option<&Value>) -> Record {
    let missing = || Err("not in the imported table".to_owned());
    let (value, reason) = match value.cloned().unwrap_or_else(missing) {
        Ok(value) => (Some(value), String::new()),
        Err(reason) => (None, reason),
    };
    Record::Reading { vm, name: reading(&metric.name), value, unit: metric.unit.clone(), reason }
}

/// The record that begins an imported run.
#[must_use]
pub fn start(run: &str, plan_sha256: &str, now: &str, version: &str) -> Record {
    Record::RunStart {
        format: FORMAT_VERSION,
        run: run.to_owned(),
        plan_sha256: plan_sha256.to_owned(),
        host: HostKind::Imported,
        hosts: 1,
        started: now.to_owned(),
        shard: None,
        machine: String::new(),
        version: version.to_owned(),
    }
}

struct Table {
    rows: Vec<Row>,
}

struct Row {
    line: u64,
    fields: BTreeMap<String, String>,
}

impl Table {
    fn read(csv: &str, mapping: &Mapping) -> Result<Self, Vec<String>> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(csv.as_bytes());
        let header = reader.headers().map_err(|error| vec![format!("line 1: {error}")])?.clone();
        let has = |name: &str| header.iter().any(|column| column == name);
        let named = mapping.columns.values().chain(mapping.only.keys()).chain(mapping.except.keys());
        let named = named.chain(mapping.cells.iter().flat_map(|cell| cell.row.keys()));
        let named: BTreeSet<&str> = named.map(String::as_str).collect();
        let mut errors: Vec<String> = (named.into_iter().filter(|name| !has(name)))
            .map(|name| {
                format!("line 1: there is no column `{name}`, which the mapping names; there are {}", list(&header))
            })
            .collect();
        for ours in ["metric", "value"] {
            let theirs = theirs(mapping, ours);
            if !has(theirs) && !mapping.columns.contains_key(ours) {
                errors.push(format!("line 1: there is no column `{theirs}`; there are {}", list(&header)));
            }
        }
        let mut rows = Vec::new();
        for record in reader.records() {
            match record {
                Ok(record) => {
                    let line = record.position().map_or(0, csv::Position::line);
                    let fields = header.iter().zip(&record).map(|(name, field)| (name.to_owned(), field.to_owned()));
                    rows.push(Row { line, fields: fields.collect() });
                }
                Err(error) => errors.push(error.to_string()),
            }
        }
        if errors.is_empty() { Ok(Self { rows }) } else { Err(errors) }
    }
}

fn list(header: &csv::StringRecord) -> String {
    header.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Their name of our column.
fn theirs<'a>(mapping: &'a Mapping, ours: &'a str) -> &'a str {
    mapping.columns.get(ours).map_or(ours, String::as_str)
}

impl Row {
    fn field(&self, mapping: &Mapping, ours: &str) -> Option<&str> {
        self.fields.get(theirs(mapping, ours)).map(String::as_str)
    }

    fn wanted(&self, mapping: &Mapping) -> bool {
        let among = |(column, values): (&String, &Vec<String>)| {
            self.fields.get(column).is_some_and(|field| values.contains(field))
        };
        mapping.only.iter().all(among) && !mapping.except.iter().any(among)
    }

    /// Index of the cell, name of the metric, number of the trial if one is named, and the value.
    fn value(&self, plan: &Plan, mapping: &Mapping) -> Result<(usize, String, Option<u32>, Value), String> {
        let name = self.field(mapping, "metric").unwrap_or_default();
        let metric = plan.metrics.iter().find(|metric| metric.name == name);
        let metric = metric.ok_or_else(|| format!("the study has no metric `{name}`"))?;
        if let Some(unit) = self.field(mapping, "unit").filter(|unit| *unit != metric.unit) {
            // A count has no unit in most tables.
            if !(metric.unit == "1" && matches!(unit, "" | "count" | "entries" | "messages")) {
                return Err(format!("`{name}` is in `{unit}`, the study has it in `{}`", metric.unit));
            }
        }
        let cell = self.cell(plan, mapping)?;
        let trial = match self.field(mapping, "trial") {
            Some(text) if mapping.columns.contains_key("trial") || !text.is_empty() => {
                Some(text.parse().map_err(|_| format!("`{text}` is no number of a trial"))?)
            }
            _ => None,
        };
        let text = self.field(mapping, "value").unwrap_or_default();
        let value = if text.is_empty() {
            let reason = self.field(mapping, "reason").filter(|reason| !reason.is_empty());
            Err(reason.unwrap_or("empty in the imported table").to_owned())
        } else {
            match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(value),
                _ => return Err(format!("`{text}` is no number")),
            }
        };
        Ok((cell, name.to_owned(), trial, value))
    }

    fn cell(&self, plan: &Plan, mapping: &Mapping) -> Result<usize, String> {
        let mut wanted: BTreeMap<&str, Level> = BTreeMap::new();
        for axis in &plan.axes {
            if let [level] = axis.levels.as_slice() {
                wanted.insert(&axis.name, level.clone());
            }
            if let Some(text) = self.field(mapping, &axis.name) {
                match axis.levels.iter().find(|level| level.to_string() == text) {
                    Some(level) => drop(wanted.insert(&axis.name, level.clone())),
                    // Their names are another's as long as `cells` or the only level says which is meant.
                    None if mapping.cells.is_empty() && axis.levels.len() > 1 => {
                        let levels: Vec<String> = axis.levels.iter().map(ToString::to_string).collect();
                        return Err(format!("{} has no level `{text}`; there are {}", axis.name, levels.join(", ")));
                    }
                    None => {}
                }
            }
        }
        if !mapping.cells.is_empty() {
            let fits =
                |cell: &&CellMapping| cell.row.iter().all(|(column, value)| self.fields.get(column) == Some(value));
            let found = mapping.cells.iter().find(fits);
            let found = found.ok_or_else(|| format!("no entry of the mapping's `cells` fits {:?}", self.fields))?;
            wanted.extend(found.cell.iter().map(|(axis, level)| (axis.as_str(), level.clone())));
        }
        let fits = |cell: &Cell| wanted.iter().all(|(axis, level)| cell.levels.get(axis) == Some(level));
        let mut found = plan.cells.iter().enumerate().filter(|(_, cell)| fits(cell)).map(|(at, _)| at);
        let levels: Vec<String> = wanted.iter().map(|(axis, level)| format!("{axis} = {level}")).collect();
        match (found.next(), found.next()) {
            (Some(cell), None) => Ok(cell),
            (None, _) => Err(format!("the study has no cell with {}", levels.join(", "))),
            (Some(_), Some(_)) => {
                Err(format!("several cells of the study have {}: name a level of every axis", levels.join(", ")))
            }
        }
    }
}
