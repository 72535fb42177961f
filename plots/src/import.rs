//! Values that somebody else measured, as a run: from a CSV and a mapping to a plan and its records.
//!
//! Columns, by our names (a mapping may give theirs):
//!
//! | column | what |
//! | --- | --- |
//! | `metric` | name of a metric of the study |
//! | `value` | the value in the metric's unit; empty for a missing one |
//! | `unit` | optional; must then be the metric's |
//! | `trial` | optional: number of the trial; all rows of a cell have one, or none has |
//! | `vm` | optional: name of the VM within its trial; without it, the rows of a trial and metric are VMs in order |
//! | `reason` | optional: why there is no value |
//! | an axis' name | level of the cell, unless the mapping's `cells` say it |
//!
//! Without a trial, each row of a cell with one VM at a time is a trial of its own, whatever its VM, and all rows of a
//! cell with more are one.
//!
//! Every row becomes one sample. Two rows that would be the same sample are an error: two of one metric, trial and VM,
//! and more rows of a metric than its numbered trial has VMs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use microbench_formats::axis::Level;
use microbench_formats::cell::Cell;
use microbench_formats::digests::Digests;
use microbench_formats::direction::IMPORTED;
use microbench_formats::host::HostKind;
use microbench_formats::metric::{Metric, MetricSource};
use microbench_formats::plan::{Plan, PlannedTrial};
use microbench_formats::record::Record;
use microbench_formats::version::FORMAT_VERSION;
use serde::{Deserialize, Serialize};

/// How a CSV is to be read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mapping {
    /// Where the values come from, in words: stands in the run.
    pub source: String,
    /// Their column, by ours.
    pub columns: BTreeMap<String, String>,
    /// Only rows that have one of these values in each column (theirs).
    #[serde(rename = "where")]
    pub selected: Rows,
    /// No rows that have one of these values in any column (theirs).
    #[serde(rename = "where_not")]
    pub left_out: Rows,
    /// The cells; the first that matches a row is taken. Empty to take each axis from the column of its name.
    pub cells: Vec<CellMapping>,
}

/// Values by column.
pub type Rows = BTreeMap<String, OneOf>;

/// Values of a column as a mapping writes them, of which a row has one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOf {
    /// Several.
    Many(Vec<Level>),
    /// One.
    One(Level),
}

impl OneOf {
    /// Whether a field of the table is one of the values.
    fn contains(&self, field: &str) -> bool {
        match self {
            Self::One(value) => value.to_string() == field,
            Self::Many(values) => values.iter().any(|value| value.to_string() == field),
        }
    }
}

/// Rows that belong to one cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CellMapping {
    /// The rows, by columns (theirs): each has one of the values in every column.
    #[serde(rename = "where")]
    pub rows: Rows,
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
    /// Rows that `where` and `where_not` left out.
    pub ignored: usize,
}

/// Why a VM has no value of a metric of which the table has no row.
pub(crate) const ABSENT: &str = "not in the imported table";

/// Name of the reading that an imported metric has.
#[must_use]
pub fn reading(metric: &str) -> String {
    format!("{IMPORTED}{metric}")
}

/// One value: `Err` with the reason why there is none.
type Value = Result<f64, String>;

/// A row that fits the study.
struct Taken<'a> {
    line: u64,
    /// Index of the cell.
    cell: usize,
    /// Index of the metric.
    metric: usize,
    /// Number of the trial; `None` where the row has none.
    trial: Option<u32>,
    /// Name of the VM; `None` where the row has none.
    vm: Option<&'a str>,
    value: Value,
}

/// The rows of one cell.
#[derive(Default)]
struct CellRows {
    trials: BTreeMap<u32, TrialRows>,
    /// Line of the first row, and whether it numbers its trial.
    first: Option<(u64, bool)>,
    /// Rows so far, by metric.
    rows: HashMap<usize, u32>,
}

/// The rows of one trial.
#[derive(Default)]
struct TrialRows {
    /// VMs by their name, or by their place among the rows of a metric, numbered as they appear.
    vms: HashMap<Result<String, u32>, u32>,
    /// Line and value, by metric and VM.
    values: BTreeMap<(usize, u32), (u64, Value)>,
    /// Rows without the name of a VM, by metric.
    unnamed: HashMap<usize, u32>,
}

impl CellRows {
    /// Adds a row of `cell`.
    ///
    /// # Errors
    /// When it would be the same sample as an earlier row; the message names the line of that row.
    fn add(&mut self, cell: &Cell, metric: &Metric, row: Taken<'_>) -> Result<(), String> {
        let (line, numbered) = *self.first.get_or_insert((row.line, row.trial.is_some()));
        if numbered != row.trial.is_some() {
            let (this, first) = if numbered { ("no trial", "one") } else { ("a trial", "none") };
            return Err(format!("a row of the cell `{}` with {this}; line {line} has {first}", cell.id));
        }
        let of_metric = self.rows.entry(row.metric).or_default();
        // Published tables have other numbers of values than VMs that ran: without trials, what was measured decides.
        let (trial, most, vm) = match (row.trial, cell.concurrency) {
            (Some(trial), most) => (trial, most, row.vm),
            // Rows of several metrics share a trial by their order, whatever their VMs are named.
            (None, 1) => (*of_metric, 1, None),
            (None, _) => (0, u32::MAX, row.vm),
        };
        let row = Taken { vm, ..row };
        *of_metric += 1;
        let place = || format!("trial {trial} of the cell `{}`", cell.id);
        self.trials.entry(trial).or_default().add(most, row).map_err(|clash| match clash {
            Clash::SameVm { vm, first } => {
                format!("a second row of `{}` for the VM `{vm}` of {}; the first is line {first}", metric.name, place())
            }
            Clash::TooMany { first } => {
                let vms = if most == 1 { "1 VM".to_owned() } else { format!("{most} VMs") };
                let place = place();
                format!("one row of `{}` too many for {place}, which has {vms}; the first is line {first}", metric.name)
            }
        })
    }
}

/// Why a row cannot be a sample of its own, with the line of an earlier row.
enum Clash {
    /// The metric has a value for this VM.
    SameVm { vm: String, first: u64 },
    /// The trial has no further VM.
    TooMany { first: u64 },
}

impl TrialRows {
    /// Adds a row of a trial of at most `most` VMs.
    fn add(&mut self, most: u32, row: Taken<'_>) -> Result<(), Clash> {
        let key = match row.vm {
            Some(name) => Ok(name.to_owned()),
            None => {
                let place = self.unnamed.entry(row.metric).or_default();
                *place += 1;
                Err(*place)
            }
        };
        let vms = u32::try_from(self.vms.len()).unwrap_or(u32::MAX);
        let vm = match self.vms.get(&key) {
            Some(vm) => *vm,
            None if vms < most => {
                self.vms.insert(key.clone(), vms);
                vms
            }
            None => return Err(Clash::TooMany { first: self.first_line(row.metric) }),
        };
        match self.values.entry((row.metric, vm)) {
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert((row.line, row.value));
                Ok(())
            }
            std::collections::btree_map::Entry::Occupied(taken) => {
                Err(Clash::SameVm { vm: key.unwrap_or_default(), first: taken.get().0 })
            }
        }
    }

    /// Line of a row of `metric`, or of any metric where it has none.
    fn first_line(&self, metric: usize) -> u64 {
        let own = self.values.range((metric, 0)..=(metric, u32::MAX)).next();
        own.or_else(|| self.values.iter().next()).map_or(0, |(_, (line, _))| *line)
    }
}

/// Reads `csv` as values of `plan`'s cells.
///
/// # Errors
/// Every row that cannot be taken, with its line.
pub fn import(plan: &Plan, csv: &str, mapping: &Mapping) -> Result<Imported, Vec<String>> {
    let table = Table::read(csv, mapping)?;
    let mut errors = Vec::new();
    let mut cells: BTreeMap<usize, CellRows> = BTreeMap::new();
    let mut known = KnownCells::of(plan, mapping);
    let (mut rows, mut ignored) = (0, 0);
    for row in &table.rows {
        if !row.wanted(mapping) {
            ignored += 1;
            continue;
        }
        let taken = row.take(plan, mapping, &mut known);
        let added = taken.and_then(|taken| {
            let (cell, metric) = (&plan.cells[taken.cell], &plan.metrics[taken.metric]);
            cells.entry(taken.cell).or_default().add(cell, metric, taken)
        });
        match added {
            Ok(()) => rows += 1,
            Err(problem) => errors.push(format!("line {}: {problem}", row.line)),
        }
    }
    if rows == 0 && errors.is_empty() {
        errors.push("no row is left: `where` and `where_not` leave all of them out".to_owned());
    }
    if errors.is_empty() { Ok(run(plan, cells, rows, ignored)) } else { Err(errors) }
}

/// The plan and the records of what was read.
fn run(plan: &Plan, cells: BTreeMap<usize, CellRows>, rows: usize, ignored: usize) -> Imported {
    let mut plan = plan.clone();
    let used: BTreeSet<usize> = cells.keys().copied().collect();
    plan.warmup = false;
    plan.trials = Vec::new();
    plan.workloads = Vec::new();
    for metric in &mut plan.metrics {
        metric.better = Some(metric.direction());
        metric.source = MetricSource::Reading(reading(&metric.name));
        metric.instrument = None;
    }
    let mut records = Vec::new();
    for (at, CellRows { trials, .. }) in cells {
        let cell = &mut plan.cells[at];
        cell.trials = u32::try_from(trials.len()).unwrap_or(u32::MAX);
        let most = trials.values().map(|trial| trial.vms.len()).max().unwrap_or(0);
        if cell.concurrency > 1 {
            cell.concurrency = u32::try_from(most).unwrap_or(u32::MAX);
        }
        for (block, trial) in (0..).zip(trials.values()) {
            let index = u32::try_from(plan.trials.len()).unwrap_or(u32::MAX);
            plan.trials.push(PlannedTrial { index, block, cell: cell.id.clone(), instrument: None });
            records.push(Record::TrialStart { trial: index, attempt: 0, cell: cell.id.to_string(), warmup: false });
            for (number, metric) in plan.metrics.iter().enumerate() {
                for vm in 0..cell.concurrency {
                    records.push(record(metric, vm, trial.values.get(&(number, vm)).map(|(_, value)| value)));
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
    let missing = || Err(ABSENT.to_owned());
    let (value, reason) = match value.cloned().unwrap_or_else(missing) {
        Ok(value) => (Some(value), String::new()),
        Err(reason) => (None, reason),
    };
    Record::Reading { vm, name: reading(&metric.name), value, unit: metric.unit.clone(), reason }
}

/// The record that begins an imported run.
#[must_use]
pub fn start(run: &str, digests: Digests, now: &str, version: &str) -> Record {
    Record::RunStart {
        format: FORMAT_VERSION,
        run: run.to_owned(),
        plan_sha256: digests.plan,
        engines_sha256: digests.engines,
        lock_sha256: digests.lock,
        host: HostKind::Imported,
        hosts: 1,
        started: now.to_owned(),
        shard: None,
        machine: String::new(),
        unisolated: None,
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
        let named = mapping.columns.values().chain(mapping.selected.keys()).chain(mapping.left_out.keys());
        let named = named.chain(mapping.cells.iter().flat_map(|cell| cell.rows.keys()));
        let named: BTreeSet<&str> = named.map(String::as_str).collect();
        let mut errors = repeated(&header);
        errors.extend((named.into_iter().filter(|name| !has(name))).map(|name| {
            format!("line 1: there is no column `{name}`, which the mapping names; there are {}", list(&header))
        }));
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

/// An error for each column that has the name of an earlier one.
fn repeated(header: &csv::StringRecord) -> Vec<String> {
    let mut first: HashMap<&str, usize> = HashMap::new();
    let mut errors = Vec::new();
    for (position, name) in (1..).zip(header) {
        match first.get(name) {
            Some(earlier) => errors.push(format!("line 1: columns {earlier} and {position} are both named `{name}`")),
            None => drop(first.insert(name, position)),
        }
    }
    errors
}

fn list(header: &csv::StringRecord) -> String {
    header.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Their name of our column.
fn theirs<'a>(mapping: &'a Mapping, ours: &'a str) -> &'a str {
    mapping.columns.get(ours).map_or(ours, String::as_str)
}

/// Cells by the columns that decide on them, so that the study's cells are searched once for each, not for each row.
struct KnownCells {
    columns: BTreeSet<String>,
    cells: HashMap<Vec<Option<String>>, usize>,
}

impl KnownCells {
    fn of(plan: &Plan, mapping: &Mapping) -> Self {
        let axes = plan.axes.iter().map(|axis| theirs(mapping, &axis.name));
        let named = mapping.cells.iter().flat_map(|cell| cell.rows.keys()).map(String::as_str);
        Self { columns: axes.chain(named).map(str::to_owned).collect(), cells: HashMap::new() }
    }

    /// The cell of `row`, which `search` finds.
    fn find(&mut self, row: &Row, search: impl FnOnce() -> Result<usize, String>) -> Result<usize, String> {
        let key: Vec<Option<String>> = self.columns.iter().map(|column| row.fields.get(column).cloned()).collect();
        if let Some(cell) = self.cells.get(&key) {
            return Ok(*cell);
        }
        let cell = search()?;
        self.cells.insert(key, cell);
        Ok(cell)
    }
}

impl Row {
    fn field(&self, mapping: &Mapping, ours: &str) -> Option<&str> {
        self.fields.get(theirs(mapping, ours)).map(String::as_str)
    }

    fn wanted(&self, mapping: &Mapping) -> bool {
        self.is_in(&mapping.selected) && !mapping.left_out.iter().any(|(column, values)| self.has(column, values))
    }

    /// Whether it has one of the values in every column.
    fn is_in(&self, rows: &Rows) -> bool {
        rows.iter().all(|(column, values)| self.has(column, values))
    }

    fn has(&self, column: &str, values: &OneOf) -> bool {
        self.fields.get(column).is_some_and(|field| values.contains(field))
    }

    /// What the row says, by the study.
    fn take(&self, plan: &Plan, mapping: &Mapping, known: &mut KnownCells) -> Result<Taken<'_>, String> {
        let name = self.field(mapping, "metric").unwrap_or_default();
        let number = plan.metrics.iter().position(|metric| metric.name == name);
        let number = number.ok_or_else(|| format!("the study has no metric `{name}`"))?;
        let metric = &plan.metrics[number];
        if let Some(unit) = self.field(mapping, "unit").filter(|unit| *unit != metric.unit) {
            // A count has no unit in most tables.
            if !(metric.unit == "1" && matches!(unit, "" | "count" | "entries" | "messages")) {
                return Err(format!("`{name}` is in `{unit}`, the study has it in `{}`", metric.unit));
            }
        }
        let cell = known.find(self, || self.cell(plan, mapping))?;
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
        let vm = self.field(mapping, "vm").filter(|vm| !vm.is_empty());
        Ok(Taken { line: self.line, cell, metric: number, trial, vm, value })
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
            let found = mapping.cells.iter().find(|cell| self.is_in(&cell.rows));
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
