//! One row for each cell and metric. The unit of analysis is the trial: VMs that ran together are not independent, so a cell
//! with more than one VM a trial is summarised over its trials' medians (for the median) and means (for the mean).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use polars::prelude::{Column, DataFrame, NamedFrom, Series};
use polars_io::SerWriter;
use polars_io::prelude::CsvWriter;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::Error;
use crate::file::write;
use crate::journal::{Execution, Journal};
use crate::record::{HostKind, Plan, Statistic};
use crate::samples::{Sample, Status, said};
use crate::stats::ascending::Ascending;
use crate::stats::bca;
use crate::stats::drift::{Drift, drift, drift_of};
use crate::stats::mean::{coefficient_of_variation, mean, standard_deviation};
use crate::stats::median::{Interval, interval, median};
use crate::stats::outlier::{Outliers, outliers};
use crate::stats::precision::{Look, Precision};
use crate::stats::quantile::{quantile, quantile_interval, smallest_n};
use crate::terminal::{self, Room, fitted, wrapped_to};

/// Confidence that intervals have at least.
pub const LEVEL: f64 = 0.95;

/// A cell's metric, summarised.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// [`crate::record::Cell::id`].
    pub cell: String,
    /// The cell's label.
    pub label: String,
    /// [`crate::record::Metric::name`].
    pub metric: String,
    /// Unit of every value here.
    pub unit: String,
    /// Where it executed; `None` when nothing did.
    pub host: Option<HostKind>,
    /// Names of the hosts of its trials, sorted; one empty name where a run has but one host.
    pub machines: Vec<String>,
    /// Its trials with a value, in trial order.
    pub trials: Vec<Trial>,
    /// VMs with a value.
    pub vms: usize,
    /// VMs without one, by status, with the first reason of each.
    pub missing: BTreeMap<Status, (usize, String)>,
}

/// What one trial gives to a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// Index in the plan.
    pub index: u32,
    /// Block of the design.
    pub block: u32,
    /// Its host: a place in [`Row::machines`].
    pub machine: usize,
    /// Median over its VMs, those censored larger than all: infinite when it is one of them.
    pub median: f64,
    /// Mean over its VMs that have a value; `None` when none has.
    pub mean: Option<f64>,
}

impl Row {
    /// Units of analysis: trials with a finite value.
    #[must_use]
    pub fn n(&self) -> usize {
        self.finite(Statistic::Median).len()
    }

    /// Trials of which the median over VMs is censored.
    #[must_use]
    pub fn censored(&self) -> usize {
        self.trials.len() - self.n()
    }

    /// Each trial's value, in trial order: the mean over its VMs for the mean, else their median, infinite when censored.
    #[must_use]
    pub fn values(&self, statistic: Statistic) -> Vec<f64> {
        match statistic {
            Statistic::Mean => self.trials.iter().filter_map(|trial| trial.mean).collect(),
            _ => self.trials.iter().map(|trial| trial.median).collect(),
        }
    }

    /// As [`Self::values`], those of each host by itself.
    #[must_use]
    pub fn by_machine(&self, statistic: Statistic) -> BTreeMap<&str, Vec<f64>> {
        let mut found: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for trial in &self.trials {
            let machine = self.machines.get(trial.machine).map_or("", String::as_str);
            let value = if statistic == Statistic::Mean { trial.mean } else { Some(trial.median) };
            if let Some(value) = value {
                found.entry(machine).or_default().push(value);
            }
        }
        found
    }

    /// As [`Self::values`], without those that are censored.
    #[must_use]
    pub fn finite(&self, statistic: Statistic) -> Vec<f64> {
        self.values(statistic).into_iter().filter(|value| value.is_finite()).collect()
    }

    /// The statistic over trials. `None` without a trial, when it is censored, and for a quantile of fewer than
    /// [`smallest_n`] trials.
    #[must_use]
    pub fn statistic(&self, statistic: Statistic) -> Option<f64> {
        let values = self.values(statistic);
        let found = match statistic.share() {
            None => mean(&values),
            Some(0.5) => median(&values),
            Some(p) => quantile(&values, p).filter(|_| smallest_n(p, LEVEL).is_some_and(|least| values.len() >= least)),
        };
        found.filter(|found| found.is_finite())
    }

    /// The interval of the median or another quantile by order statistics; its upper end is infinite when it is censored. `None`
    /// below the smallest n, and for the mean.
    #[must_use]
    pub fn quantile_interval(&self, statistic: Statistic) -> Option<Interval> {
        match statistic.share()? {
            0.5 => interval(&self.values(statistic), LEVEL),
            p => quantile_interval(&self.values(statistic), p, LEVEL),
        }
    }

    /// Median over trials.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        self.statistic(Statistic::Median)
    }

    /// Interval of the median; `None` below 6 trials.
    #[must_use]
    pub fn median_interval(&self) -> Option<Interval> {
        self.quantile_interval(Statistic::Median)
    }

    /// Mean over trials.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        self.statistic(Statistic::Mean)
    }

    /// VMs that were planned for it.
    #[must_use]
    pub fn planned(&self) -> usize {
        self.vms + self.missing.values().map(|(count, _)| count).sum::<usize>()
    }
}

/// Names of the hosts on which each of `rows` has a trial with a value, sorted: those within which they can be compared. One empty
/// name where a run has but one host; none when there is no such host.
#[must_use]
pub fn shared_machines(rows: &[&Row]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let of: Vec<_> = rows.iter().map(|row| row.by_machine(Statistic::Median)).collect();
    for machine in of.iter().flat_map(|machines| machines.keys()) {
        if of.iter().all(|machines| machines.contains_key(machine)) {
            all.push((*machine).to_owned());
        }
    }
    all.sort();
    all.dedup();
    all
}

/// Names of all hosts of `rows`, sorted.
#[must_use]
pub fn machines(rows: &[Row]) -> Vec<&str> {
    let mut all: Vec<&str> = rows.iter().flat_map(|row| &row.machines).map(String::as_str).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Why rows that share no host are not compared: who ran where.
#[must_use]
pub fn no_shared_machine(rows: &[&Row]) -> String {
    let mut places: Vec<String> = (rows.iter())
        .map(|row| {
            let machines = row.by_machine(Statistic::Median).into_keys().collect::<Vec<_>>().join(", ");
            format!("{} on {machines}", row.cell)
        })
        .collect();
    places.dedup();
    format!("not compared: no host has all of them ({})", places.join("; "))
}

/// Summarises every cell and metric of the plan, in plan order.
#[must_use]
pub fn summarise(plan: &Plan, samples: &[Sample]) -> Vec<Row> {
    let mut by_key: BTreeMap<(&str, &str), Vec<&Sample>> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.counts()) {
        by_key.entry((&sample.cell, &sample.metric)).or_default().push(sample);
    }
    let mut rows = Vec::new();
    for cell in &plan.cells {
        for metric in &plan.metrics {
            let samples = by_key.get(&(cell.id.as_str(), metric.name.as_str())).map_or(&[][..], Vec::as_slice);
            let executed = samples.iter().filter(|sample| sample.host.is_some());
            let mut machines: Vec<String> = executed.map(|sample| sample.machine.clone()).collect();
            machines.sort();
            machines.dedup();
            let mut trials: BTreeMap<(u32, u32, usize), Vec<f64>> = BTreeMap::new();
            let mut missing: BTreeMap<Status, (usize, String)> = BTreeMap::new();
            for sample in samples {
                let value = match sample.status {
                    Status::Ok => sample.value,
                    Status::Censored => Some(f64::INFINITY),
                    _ => None,
                };
                if let Some(value) = value {
                    let machine = machines.iter().position(|name| *name == sample.machine).unwrap_or(0);
                    trials.entry((sample.trial, sample.block, machine)).or_default().push(value);
                }
                if sample.status != Status::Ok {
                    missing.entry(sample.status).or_insert_with(|| (0, sample.reason.clone())).0 += 1;
                }
            }
            rows.push(Row {
                cell: cell.id.clone(),
                label: cell.label.clone(),
                metric: metric.name.clone(),
                unit: metric.unit.clone(),
                host: samples.iter().find_map(|sample| sample.host),
                vms: trials.values().flatten().filter(|value| value.is_finite()).count(),
                trials: (trials.iter())
                    .filter_map(|((index, block, machine), values)| trial(*index, *block, *machine, values))
                    .collect(),
                machines,
                missing,
            });
        }
    }
    rows
}

fn trial(index: u32, block: u32, machine: usize, values: &[f64]) -> Option<Trial> {
    let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    Some(Trial { index, block, machine, median: median(values)?, mean: mean(&finite) })
}

/// The quantiles beside the median.
const TAILS: [(&str, Statistic); 3] = [("p90", Statistic::P90), ("p95", Statistic::P95), ("p99", Statistic::P99)];

/// The interval of the mean over trials, or why there is none.
fn mean_interval(row: &Row, seed: u64) -> Result<Interval, bca::Withheld> {
    bca::interval(&row.values(Statistic::Mean), LEVEL, seed, 0)
}

/// A row of `summary.csv`: what a cell and metric come to. `schema.rs` says what each column is.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) cell: String,
    pub(crate) label: String,
    pub(crate) metric: String,
    pub(crate) unit: String,
    pub(crate) host: Option<HostKind>,
    pub(crate) vms: usize,
    pub(crate) missing: BTreeMap<Status, (usize, String)>,
    numbers: Numbers,
}

/// The statistics of one row.
#[derive(Clone, Debug)]
struct Numbers {
    n: usize,
    median: Option<f64>,
    median_interval: Option<Interval>,
    mean: Option<f64>,
    mean_interval: Result<Interval, bca::Withheld>,
    deviation: Option<f64>,
    variation: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    tails: [(Option<f64>, Option<Interval>); TAILS.len()],
    outliers: Outliers,
    drift: Option<Drift>,
}

impl Numbers {
    /// Of the trials' medians, infinite where one is censored, and of their means, both in trial order.
    fn of(medians: &[f64], means: &[f64], seed: u64) -> Self {
        let all = Ascending::of(medians);
        // Infinite values are the last ones.
        let finite = all.values().partition_point(|value| value.is_finite());
        let least = |p: f64| smallest_n(p, LEVEL).is_some_and(|least| medians.len() >= least);
        let is_finite = |value: &f64| value.is_finite();
        let of_finite = match finite == medians.len() {
            true => all.outliers(),
            false => outliers(&all.values()[..finite]),
        };
        // One VM a trial: both are the same.
        let severe = if medians == means { of_finite.severe } else { outliers(means).severe };
        Self {
            n: finite,
            median: all.median().filter(is_finite),
            median_interval: all.median_interval(LEVEL),
            mean: mean(means).filter(is_finite),
            mean_interval: bca::interval_of(means, severe, LEVEL, seed, 0),
            deviation: standard_deviation(means),
            variation: coefficient_of_variation(means),
            min: all.values().first().copied().filter(is_finite),
            max: finite.checked_sub(1).map(|last| all.values()[last]),
            tails: TAILS.map(|(_, statistic)| {
                let p = statistic.share().unwrap_or(0.5);
                let value = all.quantile(p).filter(|value| least(p) && value.is_finite());
                (value, all.quantile_interval(p, LEVEL))
            }),
            outliers: of_finite,
            drift: drift_of(medians, &all),
        }
    }
}

impl Line {
    fn of(row: &Row, seed: u64) -> Self {
        let names = [&row.cell, &row.label, &row.metric, &row.unit].map(String::clone);
        let values = (row.values(Statistic::Median), row.values(Statistic::Mean));
        Self::new(names, row.host, row.vms, row.missing.clone(), (&values.0, &values.1), seed)
    }

    /// Of a cell, its label, a metric and its unit; `values` are the trials' medians, infinite where one is censored, and their means, both
    /// in trial order.
    pub(crate) fn new(
        [cell, label, metric, unit]: [String; 4],
        host: Option<HostKind>,
        vms: usize,
        missing: BTreeMap<Status, (usize, String)>,
        values: (&[f64], &[f64]),
        seed: u64,
    ) -> Self {
        Self { cell, label, metric, unit, host, vms, missing, numbers: Numbers::of(values.0, values.1, seed) }
    }
}

/// Writes `summary.csv` into `run`. `seed` is that of the intervals' resamples.
///
/// # Errors
/// When the file cannot be written.
pub fn save(run: &Path, rows: &[Row], seed: u64) -> Result<(), Error> {
    let path = run.join("summary.csv");
    let refused = |source| Error::Table { path: path.clone(), source };
    write(&path, &csv(frame(rows, seed).map_err(refused)?).map_err(refused)?)
}

/// A table of numbers as CSV.
pub(crate) fn csv(mut table: DataFrame) -> polars::error::PolarsResult<Vec<u8>> {
    let mut bytes = Vec::new();
    CsvWriter::new(&mut bytes).with_float_precision(Some(6)).finish(&mut table)?;
    Ok(bytes)
}

/// The rows as a table; `schema.rs` says what its columns are.
pub(crate) fn frame(rows: &[Row], seed: u64) -> polars::error::PolarsResult<DataFrame> {
    let lines: Vec<Line> = rows.par_iter().map(|row| Line::of(row, seed)).collect();
    frame_of(&lines)
}

/// As [`frame`], of lines.
pub(crate) fn frame_of(lines: &[Line]) -> polars::error::PolarsResult<DataFrame> {
    let text = |name: &str, of: &dyn Fn(&Line) -> String| -> Column {
        Series::new(name.into(), lines.iter().map(of).collect::<Vec<_>>()).into()
    };
    let count = |name: &str, of: &dyn Fn(&Line) -> usize| -> Column {
        Series::new(name.into(), lines.iter().map(|line| of(line) as u64).collect::<Vec<_>>()).into()
    };
    let number = |name: &str, of: &dyn Fn(&Numbers) -> Option<f64>| -> Column {
        Series::new(name.into(), lines.iter().map(|line| of(&line.numbers)).collect::<Vec<_>>()).into()
    };
    let missing = |line: &Line, status: Status| line.missing.get(&status).map_or(0, |(count, _)| *count);
    let mut columns = vec![
        text("cell", &|line| line.cell.clone()),
        text("label", &|line| line.label.clone()),
        text("metric", &|line| line.metric.clone()),
        text("unit", &|line| line.unit.clone()),
        text("host", &|line| line.host.map(|host| host.to_string()).unwrap_or_default()),
        count("n_trials", &|line| line.numbers.n),
        count("n_vms", &|line| line.vms),
        number("median", &|of| of.median),
        number("median_low", &|of| of.median_interval.map(|i| i.low)),
        number("median_high", &|of| of.median_interval.map(|i| i.high)),
        number("median_level", &|of| of.median_interval.map(|i| i.level)),
        number("mean", &|of| of.mean),
        number("mean_low", &|of| of.mean_interval.ok().map(|i| i.low)),
        number("mean_high", &|of| of.mean_interval.ok().map(|i| i.high)),
        text("mean_withheld", &|line| line.numbers.mean_interval.err().map(|why| why.to_string()).unwrap_or_default()),
        number("standard_deviation", &|of| of.deviation),
        number("coefficient_of_variation", &|of| of.variation),
        number("min", &|of| of.min),
        number("max", &|of| of.max),
    ];
    for (at, (name, _)) in TAILS.into_iter().enumerate() {
        columns.push(number(name, &|of| of.tails[at].0));
        columns.push(number(&format!("{name}_low"), &|of| of.tails[at].1.map(|i| i.low)));
        columns.push(number(&format!("{name}_high"), &|of| of.tails[at].1.map(|i| i.high)));
    }
    columns.extend([
        count("outliers_mild", &|line| line.numbers.outliers.mild),
        count("outliers_severe", &|line| line.numbers.outliers.severe),
        number("drift", &|of| of.drift.map(|drift| drift.rank_correlation)),
        number("drift_p", &|of| of.drift.map(|drift| drift.p)),
        number("lag_1", &|of| of.drift.map(|drift| drift.lag_1)),
    ]);
    columns.extend(
        Status::ALL
            .into_iter()
            .filter(|status| *status != Status::Ok)
            .map(|status| count(&status.text().replace('-', "_"), &|line| missing(line, status))),
    );
    columns.push(text("reasons", &|line| {
        line.missing.iter().map(|(status, (_, why))| format!("{}: {why}", status.text())).collect::<Vec<_>>().join("; ")
    }));
    DataFrame::new(lines.len(), columns)
}

/// The summary as text for a terminal: the host, the results as a tree, why values are missing, what each metric is.
#[must_use]
pub fn text(plan: &Plan, rows: &[Row], journal: &Journal, room: Room) -> String {
    let wrapped = |line: &str, indent: usize| wrapped_to(room.words, line, indent);
    let mut out = String::new();
    if let Some(host) = rows.iter().find_map(|row| row.host) {
        let _ = writeln!(out, "{}", wrapped(&format!("host: {}", host.note()), 4));
    }
    if let Some(worst) = journal.probe_errors.iter().max_by(|a, b| a.max_ms.total_cmp(&b.max_ms)) {
        let words = format!(
            "probe: late by {:.3} ms (median), {:.3} ms at most, of {} fake guests at the start of the session",
            worst.median_ms, worst.max_ms, worst.n
        );
        let _ = writeln!(out, "{}", wrapped(&words, 4));
    }
    let again: Vec<&Execution> = journal.executions.iter().filter(|e| !e.warmup && !e.invalid.is_empty()).collect();
    if !again.is_empty() {
        let reasons: BTreeSet<String> =
            again.iter().flat_map(|execution| &execution.invalid).map(|(reason, _)| reason.to_string()).collect();
        let executions = journal.executions.iter().filter(|execution| !execution.warmup).count();
        let reasons = reasons.into_iter().collect::<Vec<_>>().join(", ");
        let words = format!(
            "disturbed: {} of {executions} executions, none of which counts ({reasons}; samples.csv keeps them)",
            again.len()
        );
        let _ = writeln!(out, "{}", wrapped(&words, 4));
    }
    if let (Some(rule), Some((blocks, cells))) = (&plan.precision, journal.looks.last()) {
        let _ = writeln!(out, "{}", wrapped(&stopped(rule, *blocks, cells), 4));
    }
    for sweep in crate::limit::said(plan, journal) {
        let _ = writeln!(out, "{}", wrapped(&format!("limit: {sweep}"), 4));
    }
    out.push_str(&wrapped(
        "n is the number of trials; a trial's value is the median (for the mean: the mean) over its VMs; interval of the median: \
         order statistics, from 6 trials on; cv: standard deviation / mean",
        0,
    ));
    out.push_str("\n\n");
    out.push_str(&crate::results::text(plan, rows, room));
    out.push('\n');
    let reasons = reasons(rows);
    for (reason, places) in &reasons {
        let places: Vec<String> = places
            .iter()
            .map(|(metric, cells)| match *metric {
                "" => cells.join(", "),
                _ => format!("{metric} of {}", cells.join(", ")),
            })
            .collect();
        let _ = writeln!(out, "{}", wrapped(&format!("{}: {reason}", places.join("; ")), 4));
    }
    if !reasons.is_empty() {
        out.push('\n');
    }
    for metric in &plan.metrics {
        let _ = writeln!(out, "{}", wrapped(&format!("{}: {}", metric.name, metric.definition), 4));
    }
    out
}

/// What a median does not say: tails, the mean's interval, outliers, drift; one line for each cell and metric with a value.
#[must_use]
pub fn detail(rows: &[Row], seed: u64, room: Room) -> String {
    const COLUMNS: [terminal::Column; 10] = [
        terminal::Column::left("cell", 0),
        terminal::Column::left("metric", 0),
        terminal::Column::right("p90", 6),
        terminal::Column::right("p95", 5),
        terminal::Column::right("p99", 4),
        terminal::Column::right("mean, 95 % interval", 3),
        terminal::Column::right("outliers", 0),
        terminal::Column::right("drift", 1),
        terminal::Column::right("p", 1),
        terminal::Column::right("lag 1", 2),
    ];
    let mut lines = Vec::new();
    let tail = |row: &Row, statistic: Statistic| match (row.statistic(statistic), row.quantile_interval(statistic)) {
        (Some(value), Some(i)) => format!("{value:.2} ({:.2} to {:.2})", i.low, i.high),
        _ => {
            let least = statistic.share().and_then(|share| smallest_n(share, LEVEL)).unwrap_or(0);
            if row.n() < least { format!("n too small (< {least})") } else { "censored".to_owned() }
        }
    };
    for row in rows.iter().filter(|row| row.n() > 0) {
        let found = outliers(&row.finite(Statistic::Median));
        let drift = drift(&row.values(Statistic::Median));
        let of = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
        let mean = mean_interval(row, seed)
            .map_or_else(|why| format!("withheld: {why}"), |i| format!("{:.2} to {:.2}", i.low, i.high));
        lines.push(vec![
            row.cell.clone(),
            if row.unit == "1" { row.metric.clone() } else { format!("{} ({})", row.metric, row.unit) },
            tail(row, Statistic::P90),
            tail(row, Statistic::P95),
            tail(row, Statistic::P99),
            mean,
            format!("{} mild, {} severe", found.mild, found.severe),
            of(drift.map(|drift| drift.rank_correlation)),
            of(drift.map(|drift| drift.p)),
            of(drift.map(|drift| drift.lag_1)),
        ]);
    }
    let words = wrapped_to(
        room.words,
        "quantiles over trials with 95 % order-statistic intervals; mean: BCa bootstrap, withheld below 30 trials and with severe \
         outliers; outliers: Tukey's, kept in every statistic; drift: rank correlation with the order, its p; lag 1: autocorrelation",
        0,
    );
    let (table, left_out) = fitted(&COLUMNS, &lines, room.table);
    format!("{words}\n\n{table}{}", room.left_out(&left_out))
}

/// Why the stopping rule stopped, or that it did not.
fn stopped(rule: &Precision, blocks: u32, cells: &BTreeMap<String, Look>) -> String {
    let wanted = format!("the half width of the interval of {} at {:.2} %", rule.metric, rule.relative * 100.0);
    let of = |wide: fn(&Look) -> bool| cells.iter().filter(move |(_, look)| wide(look)).map(|(cell, _)| cell.as_str());
    let open: Vec<&str> = of(|look| matches!(look, Look::GoOn { .. })).collect();
    let wide: Vec<&str> = of(|look| matches!(look, Look::AtMost { .. })).collect();
    match (open.as_slice(), wide.as_slice()) {
        ([], []) => format!("stopped after {blocks} blocks: every cell had {wanted} or less, at two looks in a row"),
        ([], wide) => format!("stopped after {blocks} blocks, the most allowed, without {wanted}: {}", wide.join(", ")),
        (open, _) => format!("not stopped at {blocks} blocks: {wanted} is wanted of {}", open.join(", ")),
    }
}

/// The first row of `row`'s cell, when none of its rows has a value and all for the same reason: one line stands for them.
pub(crate) fn refused<'a>(rows: &'a [Row], row: &Row) -> Option<&'a Row> {
    let mut all = rows.iter().filter(|other| other.cell == row.cell && other.planned() > 0);
    let first = all.next()?;
    let reason =
        |row: &Row| row.missing.iter().map(|(status, (_, reason))| (*status, reason.clone())).collect::<Vec<_>>();
    let same = |other: &Row| other.n() == 0 && reason(other) == reason(first);
    (same(first) && all.all(same)).then_some(first)
}

/// Every reason for which values are missing, with the cells of each metric; the metric is empty where it is every metric's.
pub(crate) fn reasons(rows: &[Row]) -> Vec<(String, BTreeMap<&str, Vec<&str>>)> {
    let mut all: Vec<(String, BTreeMap<&str, Vec<&str>>)> = Vec::new();
    for row in rows {
        let metric = if refused(rows, row).is_some() { "" } else { &row.metric };
        for (status, (_, reason)) in &row.missing {
            let reason = said(*status, reason);
            let at = all.iter().position(|(known, _)| *known == reason).unwrap_or_else(|| {
                all.push((reason, BTreeMap::new()));
                all.len() - 1
            });
            let cells = all[at].1.entry(metric).or_default();
            if cells.last() != Some(&row.cell.as_str()) {
                cells.push(&row.cell);
            }
        }
    }
    all
}
