//! The line that `run` prints for a trial that has ended: status, duration, cell and first values, with failures and
//! disturbances below it.

use std::collections::BTreeMap;
use std::path::Path;

use microbench_formats::describe::one_line;
use microbench_formats::metric::Metric;
use microbench_formats::plan::Plan;
use microbench_formats::record::Record;
use microbench_formats::terminal::{folded, truncated, wrapped_to};
use microbench_measure::trial::request::TrialRequest;
use microbench_plots::journal;
use microbench_plots::number::significant;
use microbench_plots::samples;
use microbench_plots::stats::median::median;

use crate::store::journal::ATTEMPTS;
use crate::store::status::{is_skip, shared_message};

/// The status of a trial that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Every VM completed its protocol.
    Pass,
    Fail,
    Invalid,
    /// The trial was skipped: the host cannot run it, or the cell was given up or is beyond the limit.
    Skip,
    /// A warm-up, which is never counted.
    Warm,
}

impl Status {
    /// The text of the status column.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Invalid => "INVALID",
            Self::Skip => "SKIP",
            Self::Warm => "WARM",
        }
    }
}

/// Largest number of values in a line.
const VALUES: usize = 2;
/// Width of the status column.
const STATUS: usize = 7;
/// Width of the duration between its brackets.
const DURATION: usize = 9;

/// The content of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub status: Status,
    /// Time from the first event to the last one on the clock of the host, ns; `None` without events.
    pub duration_ns: Option<u64>,
    /// The cell, with a note for a warm-up.
    pub what: String,
    /// The first metrics with their values; empty for a skipped trial.
    pub values: Vec<String>,
    /// Failures and disturbances: one line for each disturbance, and for VMs that failed for the same reason.
    pub details: Vec<String>,
}

impl Line {
    /// The line of `trial` from its records. Console logs are searched for in the run's folder `run`.
    #[must_use]
    pub fn from_records(plan: &Plan, trial: &TrialRequest, records: &[Record], run: &Path) -> Self {
        let again = match () {
            () if trial.warmup => "",
            () if trial.attempt + 1 < ATTEMPTS => "; the trial will be retried",
            () => "; the trial remains invalid",
        };
        let mut details = Vec::new();
        let (mut failed, mut invalid, mut skipped) = (0, false, 0);
        let mut failures: Vec<Failures> = Vec::new();
        for record in records {
            match record {
                Record::Invalid { reason, message } => {
                    invalid = true;
                    details.push(format!("{} invalid ({reason}): {}{again}", trial.cell, one_line(message, 400)));
                }
                Record::Failure { vm, reason, stage, message } => {
                    failed += 1;
                    skipped += u32::from(is_skip(*reason));
                    let cause = format!("{}: {}", reason.with_event(stage), shared_message(message));
                    match failures.iter_mut().find(|failures| failures.cause == cause) {
                        Some(failures) => failures.vms += 1,
                        None => {
                            let first = format!("{}: {}", reason.with_event(stage), one_line(message, 400));
                            failures.push(Failures { cause, vm: *vm, first, vms: 1 });
                        }
                    }
                }
                _ => {}
            }
        }
        details.extend(failures.iter().map(|failures| failures.line(trial, run)));
        let status = match () {
            () if invalid => Status::Invalid,
            () if failed > 0 && failed == skipped => Status::Skip,
            () if failed > 0 => Status::Fail,
            () if trial.warmup => Status::Warm,
            () => Status::Pass,
        };
        Self {
            status,
            duration_ns: duration_ns(records),
            what: format!("{}{}", trial.cell, if trial.warmup { " (warm-up)" } else { "" }),
            values: if status == Status::Skip { Vec::new() } else { values(plan, trial, records) },
            details,
        }
    }

    /// The lines for a terminal of `columns` columns. The name of the cell is padded to `widest` columns. `paint`
    /// colours the status.
    #[must_use]
    pub fn render_lines(&self, columns: usize, widest: usize, paint: impl Fn(Status, &str) -> String) -> Vec<String> {
        let duration = self.duration_ns.map_or_else(|| "-".to_owned(), |ns| format!("{:.3} s", ns as f64 / 1e9));
        let rest = columns.saturating_sub(STATUS + 1 + DURATION + 2 + 1);
        let mut trial = truncated(&self.what, rest);
        let mut room = rest.saturating_sub(trial.chars().count().max(widest));
        for (at, value) in self.values.iter().enumerate() {
            let text = format!("{}{value}", if at == 0 { "  " } else { ", " });
            if text.chars().count() > room {
                break;
            }
            if at == 0 {
                trial = format!("{trial:widest$}");
            }
            room -= text.chars().count();
            trial.push_str(&text);
        }
        let status = paint(self.status, &format!("{:>STATUS$}", self.status.name()));
        let mut lines = vec![format!("{status} [{duration:>DURATION$}] {trial}")];
        let indent = (STATUS + 1).min(columns / 8);
        for detail in &self.details {
            let room = columns.saturating_sub(indent);
            let text = folded(&wrapped_to(room, detail, 2), room);
            lines.extend(text.lines().map(|line| format!("{}{line}", " ".repeat(indent))));
        }
        lines
    }
}

/// VMs of a trial that failed for the same reason.
struct Failures {
    /// Reason, stage and the shared part of the message.
    cause: String,
    /// Number of the first VM.
    vm: u32,
    /// Reason, stage and message of the first VM.
    first: String,
    vms: u32,
}

impl Failures {
    fn line(&self, trial: &TrialRequest, run: &Path) -> String {
        let Self { vm, first, vms, .. } = self;
        let id = microbench_measure::trial::vm_id(trial.index, trial.warmup, trial.attempt, *vm);
        let log = format!("console/{id}.log");
        let log = if run.join(&log).exists() { format!(" ({log})") } else { String::new() };
        match vms {
            1 => format!("{} vm {vm}: {first}{log}", trial.cell),
            _ => format!("{}: {vms} VMs: {first}{log}", trial.cell),
        }
    }
}

/// The time from the first event to the last one, ns; `None` without events.
fn duration_ns(records: &[Record]) -> Option<u64> {
    let instants = records.iter().filter_map(|record| match record {
        Record::Event { t_ns, .. } => Some(*t_ns),
        _ => None,
    });
    let (first, last) = instants.fold((u64::MAX, 0), |(first, last), t| (first.min(t), last.max(t)));
    last.checked_sub(first)
}

/// The first metrics that have a value: name, median over the VMs of the trial, and unit.
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
        Some(show(metric, value))
    });
    shown.take(VALUES).collect()
}

/// `runner_share 0.00770`: name, value and unit.
fn show(metric: &Metric, value: f64) -> String {
    let unit = if metric.unit == "1" { String::new() } else { format!(" {}", metric.unit) };
    format!("{} {}{unit}", metric.name, significant(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_below_one_have_three_significant_digits() {
        let metric = |name: &str, unit: &str| -> Metric {
            let source = serde_json::json!({ "reading": "runner.share" });
            let json =
                serde_json::json!({ "name": name, "label": "M", "definition": "", "unit": unit, "source": source });
            serde_json::from_value(json).unwrap()
        };
        assert_eq!(show(&metric("runner_share", "1"), 0.0077), "runner_share 0.00770");
        assert_eq!(show(&metric("boot", "ms"), 72.56), "boot 72.6 ms");
    }
}
