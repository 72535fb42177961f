//! The uncertainty budget: what limits the accuracy of a result, beside the statistical interval.
//!
//! Each metric of a cell has the same list of [`Component`]s. A component has a value in the metric's unit, or the
//! reason why it has none. The components are stated side by side and are not added: most of them are bounds of a
//! systematic effect and not standard uncertainties, and the rule for independent standard uncertainties (root of the
//! sum of squares; JCGM 100:2008, Guide to the expression of uncertainty in measurement, section 5.1.2) does not apply
//! to bounds. None of them corrects a value.

mod component;
mod observer;
mod table;
mod text;

use std::collections::BTreeMap;

use microbench_formats::cell::Cell;
use microbench_formats::event::{self, reading};
use microbench_formats::host::HostKind;
use microbench_formats::metric::{Metric, MetricSource};
use microbench_formats::plan::Plan;
use microbench_formats::record::ProbeError;
use microbench_formats::statistic::Statistic;
use serde::Serialize;

use crate::journal::{Execution, Journal};
use crate::kernel::{GuestKernel, GuestKernels};
use crate::number::significant;
use crate::stats::median::median;
use crate::stats::tick::{self, TICK_FROM, Ticks, ticks};
use crate::summary::Row;

pub use self::component::{Component, Kind};
use self::observer::{Part, executions, observer};
pub(crate) use self::table::frame;
pub use self::table::save;
pub use self::text::render;

/// Name of the file in a run directory.
pub const FILE: &str = "uncertainty.csv";

/// A component of a budget.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    pub component: Component,
    pub kind: Kind,
    /// In the unit of the budget, not negative; or why there is no value.
    #[serde(flatten)]
    pub value: Value,
}

/// The value of a component.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    Known {
        value: f64,
        /// What it was computed from.
        source: String,
    },
    Missing {
        reason: String,
    },
}

impl Value {
    fn known(value: f64, source: impl Into<String>) -> Self {
        Self::Known { value, source: source.into() }
    }

    fn missing(reason: impl Into<String>) -> Self {
        Self::Missing { reason: reason.into() }
    }

    /// The value; `None` if it is missing.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Known { value, .. } => Some(*value),
            Self::Missing { .. } => None,
        }
    }

    /// What the value was computed from; empty if it is missing.
    #[must_use]
    pub fn source(&self) -> &str {
        match self {
            Self::Known { source, .. } => source,
            Self::Missing { .. } => "",
        }
    }

    /// Why there is no value; empty if there is one.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Known { .. } => "",
            Self::Missing { reason } => reason,
        }
    }
}

/// The components of one metric in one cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Budget {
    pub cell: String,
    pub metric: String,
    /// Unit of every component.
    pub unit: String,
    /// One entry for each of [`Component::ALL`], in that order.
    pub entries: Vec<Entry>,
}

impl Budget {
    /// The largest component that is not statistical; `None` if none of them has a value.
    #[must_use]
    pub fn largest(&self) -> Option<&Entry> {
        let others = self.entries.iter().filter(|entry| entry.component != Component::Statistical);
        others
            .filter(|entry| entry.value.number().is_some())
            .max_by(|a, b| a.value.number().unwrap_or(0.0).total_cmp(&b.value.number().unwrap_or(0.0)))
    }

    /// The value of a component.
    #[must_use]
    pub fn value(&self, component: Component) -> Option<f64> {
        self.entries.iter().find(|entry| entry.component == component)?.value.number()
    }
}

/// The budget of each metric of each cell that has a value, in plan order.
#[must_use]
pub fn budgets(plan: &Plan, rows: &[Row], journal: &Journal, kernels: &GuestKernels) -> Vec<Budget> {
    let executions = executions(plan, journal);
    let marks = cell_medians(&executions, reading::PROBE_AFTER_CONSOLE_MARK);
    let worst = journal.probe_errors.iter().max_by(|a, b| a.max_ms.total_cmp(&b.max_ms));
    let cells: BTreeMap<&str, &Cell> = plan.cells.iter().map(|cell| (cell.id.as_str(), cell)).collect();
    let budget = |row: &Row| {
        let metric = plan.metrics.iter().find(|metric| metric.name == row.metric)?;
        let cell = cells.get(row.cell.as_str())?;
        let of_cell = |known: &BTreeMap<&str, CellMedian>| {
            known.get(row.cell.as_str()).cloned().unwrap_or_else(|| Err("no trial of the cell counts".to_owned()))
        };
        let inputs = Inputs {
            row,
            metric,
            concurrency: cell.concurrency,
            executions: executions.get(row.cell.as_str()).map_or(&[], Vec::as_slice),
            mark_ns: of_cell(&marks),
            probe: worst,
            kernel: kernels.of(cell),
        };
        let entry =
            |component: Component| Entry { component, kind: component.kind(row.host), value: inputs.value(component) };
        Some(Budget {
            cell: row.cell.clone(),
            metric: row.metric.clone(),
            unit: row.unit.clone(),
            entries: Component::ALL.iter().copied().map(entry).collect(),
        })
    };
    rows.iter().filter(|row| row.n() > 0).filter_map(budget).collect()
}

/// Median of a reading over the trials of a cell, with the number of trials, or why it is missing.
type CellMedian = Result<(f64, usize), String>;

/// The median of the amount of a reading over the trials `executions` of each cell. The value of a trial is the median
/// over its VMs.
fn cell_medians<'a>(executions: &BTreeMap<&'a str, Vec<&Execution>>, name: &str) -> BTreeMap<&'a str, CellMedian> {
    let of_cell = |executions: &[&Execution]| {
        let (mut values, mut reason) = (Vec::new(), None);
        for execution in executions {
            let mut of_vms = Vec::new();
            for (value, _) in execution.vms.values().filter_map(|vm| vm.readings.get(name)) {
                match value {
                    Ok(value) => of_vms.push(value.abs()),
                    Err(why) => reason = reason.or_else(|| Some(why.clone())),
                }
            }
            values.extend(median(&of_vms));
        }
        match median(&values) {
            Some(middle) => Ok((middle, values.len())),
            None => Err(reason.unwrap_or_else(|| format!("the run has no reading `{name}`"))),
        }
    };
    executions.iter().map(|(cell, own)| (*cell, of_cell(own))).collect()
}

/// What the components of one metric in one cell are computed from.
struct Inputs<'a> {
    row: &'a Row,
    metric: &'a Metric,
    /// VMs of the cell at a time.
    concurrency: u32,
    /// The timed trials of the cell that count.
    executions: &'a [&'a Execution],
    mark_ns: CellMedian,
    /// The session with the largest error of the probe.
    probe: Option<&'a ProbeError>,
    kernel: GuestKernel,
}

impl Inputs<'_> {
    fn value(&self, component: Component) -> Value {
        if self.row.host == Some(HostKind::Imported) && component != Component::Statistical {
            return Value::missing("the values were imported");
        }
        let part = Part::of(self.metric, self.concurrency);
        match component {
            Component::Statistical => self.statistical(),
            Component::ProbeLag | Component::ConsoleMark if !ends_at_first_response(self.metric) => {
                Value::missing("not applicable: the metric has no end at the first response (`http.ok`)")
            }
            Component::ProbeLag => self.probe_lag(),
            Component::ConsoleMark => match &self.mark_ns {
                Ok((ns, n)) => Value::known(ns / 1e6, format!("`{}`, {n} trials", reading::PROBE_AFTER_CONSOLE_MARK)),
                Err(reason) => Value::missing(reason),
            },
            Component::Tick if part.is_some() => self.tick(),
            Component::Tick | Component::Observer => part.map_or_else(
                || Value::missing("not applicable: the metric is not a duration or a rate in the timed window"),
                |part| observer(self.metric, part, self.row.median(), self.executions),
            ),
            Component::BetweenRuns => Value::missing("one run; `microbench analyze RUN...` states it for several"),
        }
    }

    fn statistical(&self) -> Value {
        let n = self.row.n();
        let repetitions = self.row.repetition_values(Statistic::Median).map(|values| values.len());
        match self.row.median_interval() {
            Some(found) if found.high.is_finite() => {
                let source = match repetitions {
                    Some(k) => format!("Student's t over {k} repetitions, level {:.3}", found.level),
                    None => format!("order statistics, {n} trials, level {:.3}", found.level),
                };
                Value::known((found.high - found.low) / 2.0, source)
            }
            None if let Some(k) = repetitions => Value::missing(format!("fewer than 3 repetitions with a median: {k}")),
            Some(_) => Value::missing("the upper end of the interval is censored"),
            None => Value::missing(format!("n < 6: {n}")),
        }
    }

    fn probe_lag(&self) -> Value {
        match self.probe {
            Some(probe) => Value::known(
                probe.max_ms,
                format!(
                    "{} fake guests, median {} ms, maximum {} ms",
                    probe.n,
                    significant(probe.median_ms),
                    significant(probe.max_ms)
                ),
            ),
            None => Value::missing("no session measured the error of the probe"),
        }
    }

    fn tick(&self) -> Value {
        if self.kernel == GuestKernel::Shared {
            return Value::missing("not applicable: the guest shares the kernel of its host");
        }
        if !includes_guest(self.metric) {
            return Value::missing("not applicable: the guest does not run in the span");
        }
        if self.row.unit != "ms" {
            return Value::missing("not applicable: the unit is not a time");
        }
        let found = found_ticks(self.row);
        let clusters = match &found {
            Some(found) => found.describe(),
            None if self.row.n() < TICK_FROM => format!("too few values to find ticks in them (n < {TICK_FROM})"),
            None => "the values do not lie ticks apart".to_owned(),
        };
        match (&self.kernel, &found) {
            (GuestKernel::Own { name, hz }, found) => {
                let of_other = found.as_ref().filter(|found| found.hz != *hz).map(|found| {
                    self.kernel.why_not_tick_of_guest(found.hz, self.row.host).map_or_else(String::new, |why| {
                        format!(", {} ms apart as with {why}", significant(found.distance()))
                    })
                });
                let of_other = of_other.unwrap_or_default();
                Value::known(tick::period(*hz), format!("CONFIG_HZ={hz} of the kernel {name}; {clusters}{of_other}"))
            }
            (_, Some(found)) => Value::known(
                found.period(),
                format!("{clusters}, as with CONFIG_HZ={}, which is not recorded for the guest kernel", found.hz),
            ),
            (_, None) => {
                Value::missing(format!("{clusters}, and the run does not record CONFIG_HZ of the guest kernel"))
            }
        }
    }
}

/// The ticks in the values of a duration; `None` without ticks, for other units, and for imported values, which may have
/// been rounded.
#[must_use]
pub fn found_ticks(row: &Row) -> Option<Ticks> {
    let searched = row.unit == "ms" && row.host != Some(HostKind::Imported);
    searched.then(|| ticks(&row.finite(Statistic::Median)))?
}

fn ends_at_first_response(metric: &Metric) -> bool {
    matches!(&metric.source, MetricSource::Span { from, to } if [from, to].iter().any(|end| *end == event::HTTP_OK))
}

/// Whether the guest runs between the two ends of a timed metric.
fn includes_guest(metric: &Metric) -> bool {
    match &metric.source {
        MetricSource::Span { to, .. } => event::rank(to) > event::rank(event::BOOT_ACKNOWLEDGED),
        MetricSource::Reading(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Vm;
    use crate::summary::Trial;

    const BOOTS: [f64; 6] = [72.53, 76.57, 72.58, 76.59, 72.55, 72.56];

    fn row(unit: &str, values: &[f64]) -> Row {
        let trial = |(index, median): (u32, &f64)| {
            let mean = Some(*median).filter(|value| value.is_finite());
            Trial { index, block: index, repetition: 0, machine: 0, median: *median, mean }
        };
        Row {
            cell: "fc/1".into(),
            label: "Firecracker".into(),
            metric: "m".into(),
            unit: unit.into(),
            host: Some(HostKind::Emulated),
            machines: vec![String::new()],
            trials: (0..).zip(values).map(trial).collect(),
            vms: values.len(),
            ..Row::default()
        }
    }

    fn metric(unit: &str, source: MetricSource) -> Metric {
        Metric {
            name: "m".into(),
            label: "M".into(),
            definition: String::new(),
            unit: unit.into(),
            source,
            better: None,
            instrument: None,
            gate: None,
        }
    }

    fn span(from: &str, to: &str) -> Metric {
        metric("ms", MetricSource::Span { from: from.into(), to: to.into() })
    }

    fn inputs<'a>(row: &'a Row, metric: &'a Metric, probe: &'a ProbeError) -> Inputs<'a> {
        Inputs {
            row,
            metric,
            concurrency: 1,
            executions: &[],
            mark_ns: Ok((120_000.0, 6)),
            probe: Some(probe),
            kernel: GuestKernel::Own { name: "microvm-6.1".into(), hz: 250 },
        }
    }

    /// A trial whose runner used `startup` ms of CPU time up to the last first response, and `whole` ms in all.
    fn execution(startup: f64, whole: f64) -> Execution {
        let reading = |(name, ms): (&str, f64)| (name.to_owned(), (Ok(ms * 1e6), "ns".to_owned()));
        let times = [(reading::RUNNER_STARTUP_CPU_TIME, startup), (reading::RUNNER_WINDOW_CPU_TIME, whole)];
        let duration = ("workload.hashing.duration", 100.0);
        let readings = times.into_iter().chain([duration]).map(reading).collect();
        let vm = Vm { events: BTreeMap::new(), readings, failure: None };
        Execution {
            trial: 0,
            attempt: 0,
            cell: "fc/1".into(),
            warmup: false,
            host: HostKind::Emulated,
            machine: String::new(),
            emulated_host: None,
            vms: BTreeMap::from([(0, vm)]),
            invalid: Vec::new(),
        }
    }

    #[test]
    fn observer_is_the_runners_cpu_time_in_the_part_of_the_window_that_contains_the_metric() {
        let executions = [execution(1.0, 6.0), execution(1.2, 6.5)];
        let executions: Vec<&Execution> = executions.iter().collect();
        let row = row("ms", &BOOTS);
        let of = |metric: &Metric| {
            Inputs { executions: &executions, ..inputs(&row, metric, &PROBE) }.value(Component::Observer)
        };
        let start_up = of(&span(event::SPAWN, event::HTTP_OK));
        assert_eq!(start_up.number(), Some(1.2));
        assert_eq!(start_up.source(), "`runner.startup_cpu_time`, largest of 2 trials, median 1.10 ms");
        let stop = of(&span(event::STOP_REQUESTED, event::EXIT)).number().unwrap();
        assert!((stop - 5.3).abs() < 1e-9, "{stop}");
        assert_eq!(of(&span(event::SPAWN, event::EXIT)).number(), Some(6.5));
        // 5.3 ms of a workload of 100 ms.
        let rate = of(&metric("MB/s", MetricSource::Reading("workload.hashing.throughput".into()))).number().unwrap();
        assert!((rate - 72.57 * 5.3 / 94.7).abs() < 0.01, "{rate}");
        let unknown = of(&metric("MB/s", MetricSource::Reading("workload.other.throughput".into())));
        assert_eq!(unknown.reason(), "the duration of the workload is unknown");
    }

    #[test]
    fn observer_is_a_bound_on_a_host_with_one_cpu_only() {
        assert_eq!(Component::Observer.kind(Some(HostKind::Emulated)), Kind::Bound);
        assert_eq!(Component::Observer.kind(Some(HostKind::Kvm)), Kind::Estimate);
    }

    const PROBE: ProbeError = ProbeError { n: 20, median_ms: 0.05, p99_ms: 0.2, max_ms: 0.2, cpu_ms: 0.1 };

    #[test]
    fn start_up_has_every_component_but_that_between_runs() {
        let (row, metric) = (row("ms", &BOOTS), span(event::SPAWN, event::HTTP_OK));
        let executions = [execution(1.0, 6.0), execution(1.2, 6.5)];
        let executions: Vec<&Execution> = executions.iter().collect();
        let inputs = Inputs { executions: &executions, ..inputs(&row, &metric, &PROBE) };
        let values = Component::ALL.iter().map(|component| inputs.value(*component).number());
        let expected = [Some((76.59 - 72.53) / 2.0), Some(0.2), Some(0.12), Some(4.0), Some(1.2), None];
        for ((found, expected), component) in values.zip(expected).zip(Component::ALL) {
            match (found, expected) {
                (Some(found), Some(expected)) => assert!((found - expected).abs() < 1e-9, "{component:?}: {found}"),
                _ => assert_eq!(found, expected, "{component:?}"),
            }
        }
        let Value::Known { source, .. } = inputs.value(Component::Tick) else { panic!("no tick") };
        assert!(source.starts_with("CONFIG_HZ=250 of the kernel microvm-6.1; 4 values at 72.5"), "{source}");
        assert!(source.ends_with(", 2 at 76.58 ms"), "{source}");
    }

    #[test]
    fn largest_component_is_not_the_statistical_one() {
        let entry = |component: Component, value| Entry { component, kind: component.kind(None), value };
        let entries = vec![
            entry(Component::Statistical, Value::known(9.0, "")),
            entry(Component::ProbeLag, Value::known(0.2, "")),
            entry(Component::Tick, Value::missing("no")),
            entry(Component::Observer, Value::known(0.5, "")),
        ];
        let budget = Budget { cell: "c".into(), metric: "m".into(), unit: "ms".into(), entries };
        assert_eq!(budget.largest().unwrap().component, Component::Observer);
        let only = Budget { entries: budget.entries[..1].to_vec(), ..budget };
        assert_eq!(only.largest(), None);
    }

    #[test]
    fn tick_of_the_kernel_is_stated_for_spans_in_which_the_guest_runs() {
        let row = row("ms", &[70.0, 70.7, 71.3, 72.2, 73.1, 73.9]);
        let tick_of = |metric: &Metric| inputs(&row, metric, &PROBE).value(Component::Tick);
        assert_eq!(tick_of(&span(event::SPAWN, event::HTTP_OK)).number(), Some(4.0));
        for (from, to) in [(event::SPAWN, event::VMM_EXEC), (event::TAP_BEGIN, event::TAP_END)] {
            assert!(tick_of(&span(from, to)).reason().starts_with("not applicable"), "{from} to {to}");
        }
        let whole = span(event::SPAWN, event::EXIT);
        let unknown = Inputs { kernel: GuestKernel::Unknown, ..inputs(&row, &whole, &PROBE) };
        assert!(unknown.value(Component::Tick).reason().contains("does not record CONFIG_HZ"));
    }

    #[test]
    fn tick_is_that_of_the_guest_kernel_even_if_the_values_show_another() {
        let row = row("ms", &[70.01, 70.02, 71.01, 71.02, 72.01, 72.02]);
        let start_up = span(event::SPAWN, event::HTTP_OK);
        let found = inputs(&row, &start_up, &PROBE).value(Component::Tick);
        assert_eq!(found.number(), Some(4.0));
        assert_eq!(
            found.source(),
            "CONFIG_HZ=250 of the kernel microvm-6.1; 2 values at 70.02 ms, 2 at 71.02 ms, 2 at 72.02 ms, 1.00 ms \
             apart as with CONFIG_HZ=1000, which the kernel of the emulated host has; the guest kernel microvm-6.1 has \
             250"
        );
        let unknown = Inputs { kernel: GuestKernel::Unknown, ..inputs(&row, &start_up, &PROBE) };
        let unknown = unknown.value(Component::Tick);
        assert_eq!(unknown.number(), Some(1.0));
        assert!(unknown.source().contains("not recorded for the guest kernel"), "{unknown:?}");
        // Before the guest runs, and without a guest kernel, its tick is not applicable.
        let exec = span(event::SPAWN, event::VMM_EXEC);
        assert!(inputs(&row, &exec, &PROBE).value(Component::Tick).reason().starts_with("not applicable"));
        let container = Inputs { kernel: GuestKernel::Shared, ..inputs(&row, &start_up, &PROBE) };
        let reason = "not applicable: the guest shares the kernel of its host";
        assert_eq!(container.value(Component::Tick).reason(), reason);
    }

    #[test]
    fn too_few_values_are_not_searched_for_ticks() {
        let (few, start_up) = (row("ms", &BOOTS[..5]), span(event::SPAWN, event::HTTP_OK));
        let found = inputs(&few, &start_up, &PROBE).value(Component::Tick);
        assert_eq!(found.number(), Some(4.0));
        assert!(found.source().ends_with("too few values to find ticks in them (n < 6)"), "{found:?}");
    }

    #[test]
    fn missing_components_have_a_reason() {
        let start_up = span(event::SPAWN, event::HTTP_OK);
        let few = row("ms", &BOOTS[..3]);
        assert_eq!(inputs(&few, &start_up, &PROBE).value(Component::Statistical).reason(), "n < 6: 3");
        let censored = row("ms", &[1.0, 2.0, 3.0, 4.0, 5.0, f64::INFINITY]);
        let found = inputs(&censored, &start_up, &PROBE).value(Component::Statistical);
        assert_eq!(found.reason(), "the upper end of the interval is censored");
        let unknown = Inputs { probe: None, ..inputs(&few, &start_up, &PROBE) };
        assert_eq!(unknown.value(Component::Observer).reason(), "no trial of the cell counts");
        assert_eq!(unknown.value(Component::ProbeLag).reason(), "no session measured the error of the probe");
        let memory = metric("MiB", MetricSource::Reading(reading::VMM_MEMORY_PSS.into()));
        let memory_row = row("MiB", &BOOTS);
        for component in [Component::ProbeLag, Component::ConsoleMark, Component::Tick, Component::Observer] {
            let value = inputs(&memory_row, &memory, &PROBE).value(component);
            assert!(value.reason().starts_with("not applicable: "), "{component:?}: {value:?}");
        }
        let imported = Row { host: Some(HostKind::Imported), ..row("ms", &BOOTS) };
        assert_eq!(inputs(&imported, &start_up, &PROBE).value(Component::Tick).reason(), "the values were imported");
        assert!(inputs(&imported, &start_up, &PROBE).value(Component::Statistical).number().is_some());
    }
}
