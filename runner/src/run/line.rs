//! A trial that has ended, as a line: how it ended, how long it took, the cell, its first values; and what went wrong, below it.

use std::collections::BTreeMap;
use std::path::Path;

use microbench_formats::describe::one_line;
use microbench_formats::plan::Plan;
use microbench_formats::record::{FailureReason, Record};
use microbench_formats::terminal::{folded, truncated, wrapped_to};
use microbench_measure::trial::request::TrialRequest;
use microbench_plots::journal;
use microbench_plots::samples;
use microbench_plots::stats::median::median;

use crate::store::journal::ATTEMPTS;

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Every VM completed its protocol.
    Pass,
    /// A VM failed.
    Fail,
    /// Something disturbed it.
    Invalid,
    /// It was not run: the host cannot, or the cell was given up.
    Skip,
    /// A warm-up, which never counts.
    Warm,
}

impl Status {
    /// As it stands in its column.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Invalid => "INVALID",
            Self::Skip => "SKIP",
            Self::Warm => "WARM",
        }
    }
}

/// Values that a line shows at most.
const VALUES: usize = 2;
/// Columns of the status, and of the duration in its brackets.
const STATUS: usize = 7;
const DURATION: usize = 9;

/// A trial that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How.
    pub status: Status,
    /// From its first event to its last, on the host's clock, ns; `None` without events.
    pub took_ns: Option<u64>,
    /// The cell, and that it was a warm-up.
    pub what: String,
    /// Its first values.
    pub values: Vec<String>,
    /// What went wrong, a line for each VM or disturbance.
    pub details: Vec<String>,
}

impl Line {
    /// What the records of `trial` say; console logs are looked for in the run's folder.
    #[must_use]
    pub fn of(plan: &Plan, trial: &TrialRequest, records: &[Record], run: &Path) -> Self {
        let again = match () {
            () if trial.warmup => "",
            () if trial.attempt + 1 < ATTEMPTS => "; it is run again",
            () => "; it stays invalid",
        };
        let mut details = Vec::new();
        let (mut failed, mut invalid, mut refused) = (0, false, 0);
        for record in records {
            match record {
                Record::Invalid { reason, message } => {
                    invalid = true;
                    details.push(format!("{} invalid ({reason}): {}{again}", trial.cell, one_line(message, 400)));
                }
                Record::Failure { vm, reason, stage, message } => {
                    failed += 1;
                    refused += u32::from(matches!(reason, FailureReason::NotApplicable | FailureReason::GivenUp));
                    let id = microbench_measure::trial::vm_id(trial.index, trial.warmup, trial.attempt, *vm);
                    let log = format!("console/{id}.log");
                    let place = if run.join(&log).exists() { format!(" ({log})") } else { String::new() };
                    details.push(format!(
                        "{} vm {vm}: {reason} at {stage}: {}{place}",
                        trial.cell,
                        one_line(message, 400)
                    ));
                }
                _ => {}
            }
        }
        let status = match () {
            () if invalid => Status::Invalid,
            () if failed > 0 && failed == refused => Status::Skip,
            () if failed > 0 => Status::Fail,
            () if trial.warmup => Status::Warm,
            () => Status::Pass,
        };
        Self {
            status,
            took_ns: took_ns(records),
            what: format!("{}{}", trial.cell, if trial.warmup { " (warm-up)" } else { "" }),
            values: values(plan, trial, records),
            details,
        }
    }

    /// The lines, of `columns` at most, a cell's name taking as much room as `widest`; `paint` colours a status.
    #[must_use]
    pub fn text(&self, columns: usize, widest: usize, paint: impl Fn(Status, &str) -> String) -> Vec<String> {
        let took = self.took_ns.map_or_else(|| "-".to_owned(), |ns| format!("{:.3} s", ns as f64 / 1e9));
        let rest = columns.saturating_sub(STATUS + 1 + DURATION + 2 + 1);
        let mut what = truncated(&self.what, rest);
        let mut room = rest.saturating_sub(what.chars().count().max(widest));
        for (at, value) in self.values.iter().enumerate() {
            let words = format!("{}{value}", if at == 0 { "  " } else { ", " });
            if words.chars().count() > room {
                break;
            }
            if at == 0 {
                what = format!("{what:widest$}");
            }
            room -= words.chars().count();
            what.push_str(&words);
        }
        let status = paint(self.status, &format!("{:>STATUS$}", self.status.word()));
        let mut lines = vec![format!("{status} [{took:>DURATION$}] {what}")];
        let indent = (STATUS + 1).min(columns / 8);
        for detail in &self.details {
            let room = columns.saturating_sub(indent);
            let text = folded(&wrapped_to(room, detail, 2), room);
            lines.extend(text.lines().map(|line| format!("{}{line}", " ".repeat(indent))));
        }
        lines
    }
}

/// The time from the first event to the last.
fn took_ns(records: &[Record]) -> Option<u64> {
    let instants = records.iter().filter_map(|record| match record {
        Record::Event { t_ns, .. } => Some(*t_ns),
        _ => None,
    });
    let (first, last) = instants.fold((u64::MAX, 0), |(first, last), t| (first.min(t), last.max(t)));
    last.checked_sub(first)
}

/// The first metrics that have a value, each the median over the trial's VMs.
fn values(plan: &Plan, trial: &TrialRequest, records: &[Record]) -> Vec<String> {
    let Some(execution) = journal::execution(records) else { return Vec::new() };
    let mut by_metric: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let found = samples::of_execution(plan, &execution);
    for sample in &found {
        if let Some(value) = sample.value {
            by_metric.entry(&sample.metric).or_default().push(value);
        }
    }
    let own = plan.metrics.iter().filter(|metric| metric.instrument == trial.instrument);
    let shown = own.filter_map(|metric| {
        let value = median(by_metric.get(metric.name.as_str())?)?;
        let unit = if metric.unit == "1" { String::new() } else { format!(" {}", metric.unit) };
        Some(format!("{} {value:.1}{unit}", metric.name))
    });
    shown.take(VALUES).collect()
}
