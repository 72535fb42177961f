//! The component `observer`: how much later an instant is because the runner works while the VMs run.
//!
//! Take the work of the runner, of CPU time `c`, out of a host with one CPU. Each instant after it is then earlier by at
//! most `c`, if the work only occupies the CPU, the order of all other work stays the same, and each wait has a fixed
//! length: by induction over the instants, none of them moves further than the work that precedes it. A duration is
//! therefore too long by at most the CPU time of the runner in a part of the timed window that contains it. On a host
//! with several CPUs the CPU time is an estimate: contention for caches, memory bandwidth and locks is not CPU time of
//! the runner.

use std::collections::BTreeMap;

use microbench_formats::event::{self, reading};
use microbench_formats::metric::{Metric, MetricSource};
use microbench_formats::plan::Plan;

use super::Value;
use crate::journal::{Execution, Journal};
use crate::number::significant;
use crate::samples::counted_executions;
use crate::stats::median::median;

/// A part of the timed window, which lasts from the release of the VMs to the end of the last VMM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Up to the last first response.
    StartUp,
    /// From the last first response on.
    AfterResponses,
    Whole,
}

impl Part {
    /// The smallest part that contains a metric of a cell with `concurrency` VMs at a time. `None` if the metric is not
    /// a duration, or a rate over a duration, in the timed window.
    pub(super) fn of(metric: &Metric, concurrency: u32) -> Option<Self> {
        match &metric.source {
            MetricSource::Span { from, to } => {
                let (from, to) = (event::rank(from)?, event::rank(to)?);
                // The first response of one VM can precede that of another.
                let after = event::rank(if concurrency > 1 { event::STEADY_BEGIN } else { event::HTTP_OK })?;
                if from < event::rank(event::SPAWN)? {
                    None
                } else if to <= event::rank(event::HTTP_OK)? {
                    Some(Self::StartUp)
                } else if from >= after {
                    Some(Self::AfterResponses)
                } else {
                    Some(Self::Whole)
                }
            }
            MetricSource::Reading(_) if metric.unit == "1" => None,
            MetricSource::Reading(name) if name == reading::KERNEL_INIT => Some(Self::StartUp),
            MetricSource::Reading(name) if name.starts_with("workload.") => Some(Self::AfterResponses),
            // The guest can log these messages, and answers the request for its uptime, after its first response.
            MetricSource::Reading(name) if name.starts_with("kernel.") || name == reading::GUEST_UPTIME => {
                Some(Self::Whole)
            }
            MetricSource::Reading(_) => None,
        }
    }

    /// The readings of the CPU time in this part.
    fn source(self) -> String {
        let (startup, whole) = (reading::RUNNER_STARTUP_CPU_TIME, reading::RUNNER_WINDOW_CPU_TIME);
        match self {
            Self::StartUp => format!("`{startup}`"),
            Self::AfterResponses => format!("`{whole}` minus `{startup}`"),
            Self::Whole => format!("`{whole}`"),
        }
    }

    /// CPU time of the runner in this part of a trial, ms.
    fn cpu_ms(self, execution: &Execution) -> Result<f64, String> {
        let ms = |name: &str| Ok::<f64, String>(trial_reading(execution, name)? / 1e6);
        let (startup, whole) = (reading::RUNNER_STARTUP_CPU_TIME, reading::RUNNER_WINDOW_CPU_TIME);
        match self {
            Self::StartUp => ms(startup),
            Self::AfterResponses => Ok((ms(whole)? - ms(startup)?).max(0.0)),
            Self::Whole => ms(whole),
        }
    }
}

/// A reading that is the same for all VMs of a trial, or why it is missing.
fn trial_reading(execution: &Execution, name: &str) -> Result<f64, String> {
    let mut readings = execution.vms.values().filter_map(|vm| vm.readings.get(name)).map(|(value, _)| value);
    readings.next().cloned().unwrap_or_else(|| Err(format!("the run has no reading `{name}`")))
}

/// The timed trials of each cell that count.
pub(super) fn executions<'a>(plan: &'a Plan, journal: &'a Journal) -> BTreeMap<&'a str, Vec<&'a Execution>> {
    let counted = counted_executions(journal);
    let timed = plan.trials.iter().filter(|trial| trial.instrument.is_none());
    let valid = timed.filter_map(|trial| counted.get(&trial.index)).filter(|execution| execution.invalid.is_empty());
    let mut cells: BTreeMap<&str, Vec<&Execution>> = BTreeMap::new();
    for execution in valid {
        cells.entry(execution.cell.as_str()).or_default().push(execution);
    }
    cells
}

/// The component of a metric with the median `middle` in the trials `executions` of its cell. The CPU time is the
/// largest of all trials.
pub(super) fn observer(metric: &Metric, part: Part, middle: Option<f64>, executions: &[&Execution]) -> Value {
    // A trial in which a VM failed has no CPU time, and no finite value either.
    let (mut times, mut reason) = (Vec::new(), None);
    for execution in executions {
        match part.cpu_ms(execution) {
            Ok(ms) => times.push(ms),
            Err(why) => reason = reason.or(Some(why)),
        }
    }
    let (Some(most), Some(usual)) = (times.iter().copied().reduce(f64::max), median(&times)) else {
        return Value::missing(reason.unwrap_or_else(|| "no trial of the cell counts".to_owned()));
    };
    let source = format!("{}, largest of {} trials, median {} ms", part.source(), times.len(), significant(usual));
    if metric.unit == "ms" {
        return Value::known(most, source);
    }
    // A rate is a constant amount over a duration `t`: without a delay of `most` it is larger by `most / (t - most)`.
    let (Some(middle), Some(shortest)) = (middle, shortest_workload(metric, executions)) else {
        return Value::missing("the duration of the workload is unknown");
    };
    if most >= shortest {
        return Value::missing(format!(
            "the runner's CPU time, {} ms, is not less than the workload's duration",
            significant(most)
        ));
    }
    Value::known(middle.abs() * most / (shortest - most), format!("{source}, in at least {} ms", significant(shortest)))
}

/// The shortest duration of the workload whose rate `metric` is, ms.
fn shortest_workload(metric: &Metric, executions: &[&Execution]) -> Option<f64> {
    let MetricSource::Reading(name) = &metric.source else { return None };
    let duration = format!("{}.duration", name.rsplit_once('.')?.0);
    let vms = executions.iter().flat_map(|execution| execution.vms.values());
    let durations = vms.filter_map(|vm| vm.readings.get(&duration)?.0.as_ref().ok());
    durations.map(|ns| ns / 1e6).reduce(f64::min)
}

#[cfg(test)]
mod tests {
    use microbench_formats::event::{
        API_READY, EXIT, HTTP_OK, SPAWN, STEADY_BEGIN, STOP_REQUESTED, TAP_BEGIN, TAP_END, VMM_EXEC,
    };

    use super::*;

    fn metric(unit: &str, source: MetricSource) -> Metric {
        let json = serde_json::json!({"name": "m", "label": "M", "definition": "", "unit": unit, "source": source});
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn the_part_of_the_window_is_that_of_the_two_events() {
        let part = |from: &str, to: &str, concurrency| {
            Part::of(&metric("ms", MetricSource::Span { from: from.into(), to: to.into() }), concurrency)
        };
        assert_eq!(part(SPAWN, HTTP_OK, 1), Some(Part::StartUp));
        assert_eq!(part(VMM_EXEC, API_READY, 20), Some(Part::StartUp));
        assert_eq!(part(STOP_REQUESTED, EXIT, 20), Some(Part::AfterResponses));
        assert_eq!(part(HTTP_OK, STEADY_BEGIN, 1), Some(Part::AfterResponses));
        assert_eq!(part(HTTP_OK, STEADY_BEGIN, 2), Some(Part::Whole), "another VM has not responded yet");
        assert_eq!(part(SPAWN, EXIT, 1), Some(Part::Whole));
        assert_eq!(part(TAP_BEGIN, TAP_END, 1), None);
    }

    #[test]
    fn the_part_of_a_reading_is_that_of_its_definition() {
        let part = |name: &str, unit: &str| Part::of(&metric(unit, MetricSource::Reading(name.into())), 1);
        assert_eq!(part(reading::KERNEL_INIT, "ms"), Some(Part::StartUp));
        assert_eq!(part(reading::KERNEL_LAST_MESSAGE, "ms"), Some(Part::Whole));
        assert_eq!(part("workload.hashing.throughput", "MB/s"), Some(Part::AfterResponses));
        assert_eq!(part(reading::KERNEL_MESSAGES, "1"), None);
        assert_eq!(part(reading::VMM_MEMORY_PSS, "MiB"), None);
    }
}
