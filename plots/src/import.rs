//! Imports published values as a run: a CSV table and a mapping become a plan and journal records.
//!
//! Columns of the table (a mapping can rename them):
//!
//! | column | meaning |
//! | --- | --- |
//! | `metric` | name of a metric of the study |
//! | `value` | value in the metric's unit; empty for a missing value |
//! | `unit` | optional: must be the metric's unit |
//! | `trial` | optional: number of the trial; either all rows of a cell have a number, or none |
//! | `vm` | optional: name of the VM within its trial; without it, the rows of a trial and metric are VMs in order |
//! | `reason` | optional: why the value is missing |
//! | `censored` | optional: `true` if the VM timed out or died within the measured span; `value` is a bound or empty |
//! | name of an axis | level of the cell, unless the mapping's `cells` define it |
//!
//! Without trial numbers, each row of a cell of one VM is a separate trial, and `vm` is ignored. All rows of a cell of
//! several VMs are one trial.
//!
//! Every row becomes one sample. Duplicate samples are an error: two rows of the same metric, trial and VM, or more
//! rows of a metric than its numbered trial has VMs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use microbench_formats::axis::Level;
use microbench_formats::cell::Cell;
use microbench_formats::digests::Digests;
use microbench_formats::direction::IMPORTED;
use microbench_formats::host::HostKind;
use microbench_formats::metric::{Metric, MetricSource};
use microbench_formats::plan::{Plan, PlannedTrial};
use microbench_formats::record::{CENSORED, Record};
use microbench_formats::version::FORMAT_VERSION;
use serde::{Deserialize, Serialize};

/// How to read a CSV table. All column names below are those of the table, not of this module.
///
/// ```
/// use microbench_plots::import::Mapping;
///
/// let mapping: Mapping = serde_json::from_str(
///     r#"{ "columns": { "value": "ms" }, "where": { "figure": 4 }, "where_not": { "repetition": "mean" } }"#,
/// )?;
/// assert_eq!(mapping.columns["value"], "ms");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mapping {
    /// Source of the values, recorded in the run.
    pub source: String,
    /// Column of the table for each column of this module that has another name.
    pub columns: BTreeMap<String, String>,
    /// Imports only rows with one of these values in every listed column.
    #[serde(rename = "where")]
    pub selected: Rows,
    /// Ignores rows with one of these values in any listed column.
    #[serde(rename = "where_not")]
    pub left_out: Rows,
    /// Rules that assign rows to cells; the first match applies. If empty, the column of each axis defines the cell.
    pub cells: Vec<CellMapping>,
}

/// Selects rows by the values in columns.
pub type Rows = BTreeMap<String, OneOf>;

/// One or more accepted values of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOf {
    /// Any of several values.
    Many(Vec<Level>),
    /// A single value.
    One(Level),
}

impl OneOf {
    /// Whether `field` equals one of the values.
    fn contains(&self, field: &str) -> bool {
        match self {
            Self::One(value) => value.to_string() == field,
            Self::Many(values) => values.iter().any(|value| value.to_string() == field),
        }
    }
}

/// Assigns rows to a cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CellMapping {
    /// Rows with one of these values in every listed column.
    #[serde(rename = "where")]
    pub rows: Rows,
    /// Level of the cell on each axis that has more than one level.
    pub cell: BTreeMap<String, Level>,
}

/// An imported table.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The study's plan with the trials of the table, and metrics that read the imported values.
    pub plan: Plan,
    /// The records of the journal without `RunStart`.
    pub records: Vec<Record>,
    /// Number of imported rows.
    pub rows: usize,
    /// Number of rows that `where` and `where_not` exclude.
    pub ignored: usize,
}

/// The reason of a missing value for which the table has no row.
pub(crate) const ABSENT: &str = "not in the imported table";

/// Name of the reading of an imported metric.
#[must_use]
pub fn reading_name(metric: &str) -> String {
    format!("{IMPORTED}{metric}")
}

/// A value, or the reason why it is missing.
type Value = Result<f64, String>;

/// A parsed row of the table.
struct ParsedRow<'a> {
    line: u64,
    /// Index into [`Plan::cells`].
    cell: usize,
    /// Index into [`Plan::metrics`].
    metric: usize,
    /// Trial number of the table.
    trial: Option<u32>,
    /// Name of the VM within its trial.
    vm: Option<&'a str>,
    value: Value,
}

/// The rows of one cell.
#[derive(Default)]
struct CellRows {
    trials: BTreeMap<u32, TrialRows>,
    /// Line of the first row, and whether it has a trial number.
    first: Option<(u64, bool)>,
    /// Number of rows so far, by metric.
    rows: HashMap<usize, u32>,
}

/// The rows of one trial.
#[derive(Default)]
struct TrialRows {
    /// VMs by name, or by position among the rows of a metric; numbered in order of appearance.
    vms: HashMap<Result<String, u32>, u32>,
    /// Line and value by metric and VM.
    values: BTreeMap<(usize, u32), (u64, Value)>,
    /// Number of rows without a VM name, by metric.
    unnamed: HashMap<usize, u32>,
}

impl CellRows {
    /// Adds a row of `cell`.
    ///
    /// # Errors
    /// If the row duplicates an earlier sample; the message contains the line of the earlier row.
    fn add(&mut self, cell: &Cell, metric: &Metric, row: ParsedRow<'_>) -> Result<(), String> {
        let (line, numbered) = *self.first.get_or_insert((row.line, row.trial.is_some()));
        if numbered != row.trial.is_some() {
            let (this, first) = if numbered { ("no trial number", "one") } else { ("a trial number", "none") };
            return Err(format!("cell `{}`: this row has {this}, but line {line} has {first}", cell.id));
        }
        let of_metric = self.rows.entry(row.metric).or_default();
        // Published tables often have fewer values than VMs ran. Without trial numbers, the rows define the size of a
        // trial.
        let (trial, most, vm) = match (row.trial, cell.concurrency) {
            (Some(trial), most) => (trial, most, row.vm),
            // The n-th rows of all metrics form a trial; VM names are ignored.
            (None, 1) => (*of_metric, 1, None),
            (None, _) => (0, u32::MAX, row.vm),
        };
        let row = ParsedRow { vm, ..row };
        *of_metric += 1;
        let place = || format!("trial {trial} of cell `{}`", cell.id);
        self.trials.entry(trial).or_default().add(most, row).map_err(|duplicate| match duplicate {
            Duplicate::SameVm { vm, first } => {
                format!("duplicate row of `{}` for VM `{vm}` of {}; the first is on line {first}", metric.name, place())
            }
            Duplicate::TooMany { first } => {
                let vms = if most == 1 { "1 VM".to_owned() } else { format!("{most} VMs") };
                let place = place();
                format!("too many rows of `{}` for {place}, which has {vms}; the first is on line {first}", metric.name)
            }
        })
    }
}

/// Why a row is not a new sample, with the line of an earlier row.
enum Duplicate {
    /// An earlier row has the same metric and VM.
    SameVm { vm: String, first: u64 },
    /// The trial has fewer VMs than rows.
    TooMany { first: u64 },
}

impl TrialRows {
    /// Adds a row of a trial of at most `most` VMs.
    fn add(&mut self, most: u32, row: ParsedRow<'_>) -> Result<(), Duplicate> {
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
            None => return Err(Duplicate::TooMany { first: self.first_line(row.metric) }),
        };
        match self.values.entry((row.metric, vm)) {
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert((row.line, row.value));
                Ok(())
            }
            std::collections::btree_map::Entry::Occupied(taken) => {
                Err(Duplicate::SameVm { vm: key.unwrap_or_default(), first: taken.get().0 })
            }
        }
    }

    /// Line of the first row of `metric`, or of another metric if `metric` has no row.
    fn first_line(&self, metric: usize) -> u64 {
        let own = self.values.range((metric, 0)..=(metric, u32::MAX)).next();
        own.or_else(|| self.values.iter().next()).map_or(0, |(_, (line, _))| *line)
    }
}

/// Imports the table `csv` as values of the cells of `plan`.
///
/// # Errors
/// One message for each row that cannot be imported, with its line.
pub fn import(plan: &Plan, csv: &str, mapping: &Mapping) -> Result<Imported, Vec<String>> {
    let table = Table::read(csv, mapping)?;
    let mut errors = Vec::new();
    let mut cells: BTreeMap<usize, CellRows> = BTreeMap::new();
    let mut known = KnownCells::new(plan, mapping);
    let (mut rows, mut ignored) = (0, 0);
    for row in &table.rows {
        if !row.is_selected(mapping) {
            ignored += 1;
            continue;
        }
        let parsed = row.parse(plan, mapping, &mut known);
        let added = parsed.and_then(|parsed| {
            let (cell, metric) = (&plan.cells[parsed.cell], &plan.metrics[parsed.metric]);
            cells.entry(parsed.cell).or_default().add(cell, metric, parsed)
        });
        match added {
            Ok(()) => rows += 1,
            Err(problem) => errors.push(format!("line {}: {problem}", row.line)),
        }
    }
    if rows == 0 && errors.is_empty() {
        errors.push("no rows to import: `where` and `where_not` exclude all of them".to_owned());
    }
    if errors.is_empty() { Ok(imported_run(plan, cells, rows, ignored)) } else { Err(errors) }
}

/// The plan and the records of the imported rows.
fn imported_run(plan: &Plan, cells: BTreeMap<usize, CellRows>, rows: usize, ignored: usize) -> Imported {
    let mut plan = plan.clone();
    let used: BTreeSet<usize> = cells.keys().copied().collect();
    plan.warmup = false;
    plan.repetitions = 1;
    plan.trials = Vec::new();
    plan.workloads = Vec::new();
    for metric in &mut plan.metrics {
        metric.better = Some(metric.direction());
        metric.source = MetricSource::Reading(reading_name(&metric.name));
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
            plan.trials.push(PlannedTrial { index, block, repetition: 0, cell: cell.id.clone(), instrument: None });
            records.push(Record::TrialStart {
                trial: index,
                attempt: 0,
                cell: cell.id.to_string(),
                warmup: false,
                emulated_host: None,
            });
            for (number, metric) in plan.metrics.iter().enumerate() {
                for vm in 0..cell.concurrency {
                    records.push(reading_record(metric, vm, trial.values.get(&(number, vm)).map(|(_, value)| value)));
                }
            }
            records.push(Record::TrialEnd { trial: index, attempt: 0, ok: cell.concurrency, failed: 0 });
        }
    }
    let mut at = 0..;
    plan.cells.retain(|_| at.next().is_some_and(|at| used.contains(&at)));
    Imported { plan, records, rows, ignored }
}

fn reading_record(metric: &Metric, vm: u32, value: Option<&Value>) -> Record {
    let missing = || Err(ABSENT.to_owned());
    let (value, reason) = match value.cloned().unwrap_or_else(missing) {
        Ok(value) => (Some(value), String::new()),
        Err(reason) => (None, reason),
    };
    Record::Reading { vm, name: reading_name(&metric.name), value, unit: metric.unit.clone(), reason }
}

/// The `RunStart` record of an imported run, the first record of its journal.
#[must_use]
pub fn run_start(run: &str, digests: Digests, now: &str, version: &str) -> Record {
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
        repetition: None,
        interleaved_with: None,
        label: None,
        version: version.to_owned(),
        build: None,
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
        let mut errors = duplicate_columns(&header);
        errors.extend((named.into_iter().filter(|name| !has(name))).map(|name| {
            format!(
                "line 1: the table has no column `{name}`, which the mapping names; its columns are {}",
                quoted_names(&header)
            )
        }));
        for name in ["metric", "value"] {
            let column = source_column(mapping, name);
            if !has(column) && !mapping.columns.contains_key(name) {
                errors.push(format!(
                    "line 1: the table has no column `{column}`; its columns are {}",
                    quoted_names(&header)
                ));
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

/// An error for each column with the same name as an earlier column.
fn duplicate_columns(header: &csv::StringRecord) -> Vec<String> {
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

fn quoted_names(header: &csv::StringRecord) -> String {
    header.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The table's name for a column of this module.
fn source_column<'a>(mapping: &'a Mapping, name: &'a str) -> &'a str {
    mapping.columns.get(name).map_or(name, String::as_str)
}

/// Cache of cells by the columns that determine them, so that the plan is not searched for every row.
struct KnownCells {
    columns: BTreeSet<String>,
    cells: HashMap<Vec<Option<String>>, usize>,
}

impl KnownCells {
    fn new(plan: &Plan, mapping: &Mapping) -> Self {
        let axes = plan.axes.iter().map(|axis| source_column(mapping, &axis.name));
        let named = mapping.cells.iter().flat_map(|cell| cell.rows.keys()).map(String::as_str);
        Self { columns: axes.chain(named).map(str::to_owned).collect(), cells: HashMap::new() }
    }

    /// Index of the cell of `row`; on a cache miss, `search` finds it.
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
    fn field(&self, mapping: &Mapping, name: &str) -> Option<&str> {
        self.fields.get(source_column(mapping, name)).map(String::as_str)
    }

    /// Whether `where` and `where_not` select the row.
    fn is_selected(&self, mapping: &Mapping) -> bool {
        self.matches(&mapping.selected) && !mapping.left_out.iter().any(|(column, values)| self.has(column, values))
    }

    /// Whether the row has one of the values in every column of `rows`.
    fn matches(&self, rows: &Rows) -> bool {
        rows.iter().all(|(column, values)| self.has(column, values))
    }

    fn has(&self, column: &str, values: &OneOf) -> bool {
        self.fields.get(column).is_some_and(|field| values.contains(field))
    }

    /// Whether the value is censored.
    fn is_censored(&self, mapping: &Mapping) -> Result<bool, String> {
        match self.field(mapping, "censored").unwrap_or_default() {
            "" | "false" | "FALSE" | "False" | "0" => Ok(false),
            "true" | "TRUE" | "True" | "1" => Ok(true),
            text => Err(format!("censored `{text}` is neither `true` nor `false`")),
        }
    }

    /// Parses the fields of the row.
    fn parse(&self, plan: &Plan, mapping: &Mapping, known: &mut KnownCells) -> Result<ParsedRow<'_>, String> {
        let name = self.field(mapping, "metric").unwrap_or_default();
        let number = plan.metrics.iter().position(|metric| metric.name == name);
        let number = number.ok_or_else(|| format!("the study has no metric `{name}`"))?;
        let metric = &plan.metrics[number];
        if let Some(unit) = self.field(mapping, "unit").filter(|unit| *unit != metric.unit) {
            // Most tables give no unit for counts.
            if !(metric.unit == "1" && matches!(unit, "" | "count" | "entries" | "messages")) {
                return Err(format!("the unit of `{name}` is `{unit}`, but the study uses `{}`", metric.unit));
            }
        }
        let cell = known.find(self, || self.cell(plan, mapping))?;
        let trial = match self.field(mapping, "trial") {
            Some(text) if mapping.columns.contains_key("trial") || !text.is_empty() => {
                Some(text.parse().map_err(|_| format!("trial `{text}` is not a whole number"))?)
            }
            _ => None,
        };
        let text = self.field(mapping, "value").unwrap_or_default();
        let reason = self.field(mapping, "reason").filter(|reason| !reason.is_empty());
        let number_of = |text: &str| {
            let value = text.parse::<f64>().ok().filter(|value| value.is_finite());
            value.ok_or_else(|| format!("value `{text}` is not a number"))
        };
        let value = match (self.is_censored(mapping)?, text) {
            (true, "") => {
                Err(format!("{CENSORED}{}", reason.unwrap_or("the time that was waited is not in the table")))
            }
            (true, text) => {
                let bound = format!("{CENSORED}larger than {} {}", number_of(text)?, metric.unit);
                Err(reason.map_or(bound.clone(), |reason| format!("{bound}: {reason}")))
            }
            (false, "") => Err(reason.unwrap_or("empty in the imported table").to_owned()),
            (false, text) => Ok(number_of(text)?),
        };
        let vm = self.field(mapping, "vm").filter(|vm| !vm.is_empty());
        Ok(ParsedRow { line: self.line, cell, metric: number, trial, vm, value })
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
                    // Unknown names are allowed if `cells` or a single level determines the level.
                    None if mapping.cells.is_empty() && axis.levels.len() > 1 => {
                        let levels: Vec<String> = axis.levels.iter().map(ToString::to_string).collect();
                        return Err(format!(
                            "axis `{}` has no level `{text}`; its levels are {}",
                            axis.name,
                            levels.join(", ")
                        ));
                    }
                    None => {}
                }
            }
        }
        if !mapping.cells.is_empty() {
            let found = mapping.cells.iter().find(|cell| self.matches(&cell.rows));
            let found = found.ok_or_else(|| format!("no entry of the mapping's `cells` matches {:?}", self.fields))?;
            wanted.extend(found.cell.iter().map(|(axis, level)| (axis.as_str(), level.clone())));
        }
        let fits = |cell: &Cell| wanted.iter().all(|(axis, level)| cell.levels.get(axis) == Some(level));
        let mut found = plan.cells.iter().enumerate().filter(|(_, cell)| fits(cell)).map(|(at, _)| at);
        let levels: Vec<String> = wanted.iter().map(|(axis, level)| format!("{axis} = {level}")).collect();
        match (found.next(), found.next()) {
            (Some(cell), None) => Ok(cell),
            (None, _) => Err(format!("the study has no cell with {}", levels.join(", "))),
            (Some(_), Some(_)) => Err(format!("several cells have {}: set the level of every axis", levels.join(", "))),
        }
    }
}
