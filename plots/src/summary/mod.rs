//! The summary of a run: one row for each cell and metric.
//!
//! The unit of analysis is the trial, because VMs that run at the same time are not independent. A trial with several
//! VMs counts as their median (for the mean: as their mean). The 90th and higher percentiles are over VMs, with trials as
//! clusters.

mod missing;
pub mod results;
mod table;
mod text;

use std::borrow::Cow;
use std::collections::BTreeMap;

use microbench_formats::host::HostKind;
use microbench_formats::plan::Plan;
use microbench_formats::statistic::Statistic;

use crate::import::ABSENT;
use crate::samples::{Sample, Status};
use crate::stats::bca;
use crate::stats::clusters::{self, TrialVms};
use crate::stats::mean::mean;
use crate::stats::median::{Interval, interval, median};
use crate::stats::quantile::{quantile, quantile_interval};
use crate::stats::repetition;

pub(crate) use self::missing::{first_row_without_values, missing_by_reason, printable};
pub(crate) use self::table::frame;
pub use self::table::save;
pub use self::text::{render, render_detail};

/// Confidence level of every interval.
pub const LEVEL: f64 = 0.95;

/// The trials of one cell and metric, and the VMs without a value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// [`microbench_formats::cell::Cell::id`].
    pub cell: String,
    pub label: String,
    /// [`microbench_formats::metric::Metric::name`].
    pub metric: String,
    pub unit: String,
    /// `None` if no trial was executed.
    pub host: Option<HostKind>,
    /// Names of the hosts of its trials, sorted; one empty name if the run has a single host.
    pub machines: Vec<String>,
    /// The trials with a value, in trial order.
    pub trials: Vec<Trial>,
    /// The trials with a VM whose value is not known, because it failed or is not available, in trial order.
    pub failed: Vec<FailedTrial>,
    /// The VMs of each trial, also of those without a value, in trial order; empty if every trial has one VM with a value.
    pub vms_of_trials: Vec<TrialVms>,
    /// The VMs of each trial that were expected to have a value and have none.
    pub without: Vec<usize>,
    /// VMs with a value.
    pub vms: usize,
    /// The smallest and the largest value of a VM; a censored VM counts as infinite. `None` without a value.
    pub range: Option<[f64; 2]>,
    /// VMs without a value by status: their number, and the reason of the first of them.
    pub missing: BTreeMap<Status, (usize, String)>,
}

/// The value of one trial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// Index of the trial in the plan.
    pub index: u32,
    pub block: u32,
    /// Repetition, from 0.
    pub repetition: u32,
    /// The trial's host, as an index into [`Row::machines`].
    pub machine: usize,
    /// Median over the VMs of the trial. A censored VM counts as infinite, so the median may be infinite.
    pub median: f64,
    /// Mean over the VMs with a value; `None` if every VM is censored. See [`Row::mean_withheld`].
    pub mean: Option<f64>,
}

/// A trial with a VM that failed before the measured span, or whose value is not available.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FailedTrial {
    /// Index of the trial in the plan.
    pub index: u32,
    pub block: u32,
    pub repetition: u32,
    /// The trial's host, as an index into [`Row::machines`].
    pub machine: usize,
    /// Median over the VMs of the trial, of which a failed one is larger than all others; may be infinite.
    pub largest: f64,
    /// Median over the VMs of the trial, of which a failed one counts as zero.
    pub smallest: f64,
}

impl Row {
    /// The trials with a value, and those in which every VM failed; failed VMs have the worst value, which is the smallest
    /// one (zero) if `higher_is_better`, else larger than all others. In trial order.
    #[must_use]
    pub fn trials_with_failures(&self, higher_is_better: bool) -> Vec<Trial> {
        let mut all: BTreeMap<(u32, usize), Trial> =
            self.trials.iter().map(|trial| ((trial.index, trial.machine), *trial)).collect();
        for failed in &self.failed {
            let FailedTrial { index, block, repetition, machine, largest, smallest } = *failed;
            let median = if higher_is_better { smallest } else { largest };
            all.insert((index, machine), Trial { index, block, repetition, machine, median, mean: None });
        }
        all.into_values().collect()
    }

    /// The row with a value of every VM: one without has the smallest value (zero) if `is_smallest`, else one that is
    /// larger than all others.
    #[must_use]
    pub fn with_failures(&self, is_smallest: bool) -> Self {
        Self { trials: self.trials_with_failures(is_smallest), failed: Vec::new(), ..self.clone() }
    }

    /// The VMs that failed before their value was known, or whose value is not available.
    #[must_use]
    pub fn unknown(&self) -> usize {
        let count = |status| self.missing.get(&status).map_or(0, |(count, _)| *count);
        count(Status::Failed) + count(Status::NotAvailable)
    }

    /// The VMs of each trial, also of those without a value.
    #[must_use]
    pub fn clusters(&self) -> Cow<'_, [TrialVms]> {
        let single = |trial: &Trial| TrialVms { values: vec![trial.median], unknown: 0 };
        match self.vms_of_trials.is_empty() {
            true => self.trials.iter().map(single).collect(),
            false => Cow::Borrowed(&self.vms_of_trials),
        }
    }

    /// The clusters with a known value.
    fn known_clusters(&self) -> Vec<&TrialVms> {
        self.vms_of_trials.iter().filter(|trial| !trial.values.is_empty()).collect()
    }

    /// The number of trials from which on a percentile above the median has an interval. `None` for other statistics.
    #[must_use]
    pub fn trials_for_tail(&self, statistic: Statistic) -> Option<usize> {
        let p = statistic.quantile().filter(|p| *p > 0.5)?;
        let vms = self.vms_of_trials.first().map_or(1, TrialVms::vms);
        clusters::smallest_trials(vms, p, LEVEL)
    }

    /// The number of trials with a finite value: the n of every statistic.
    #[must_use]
    pub fn n(&self) -> usize {
        self.finite(Statistic::Median).len()
    }

    /// The number of trials whose median over VMs is censored.
    #[must_use]
    pub fn censored(&self) -> usize {
        self.trials.len() - self.n()
    }

    /// Why the mean is withheld, for example `2 VMs censored, 1 VM failed`: their values are not known, and the mean of
    /// the others would be too small. `None` if no VM is censored or failed.
    #[must_use]
    pub fn mean_withheld(&self) -> Option<String> {
        let of = |status: &Status| {
            let (count, _) = self.missing.get(status)?;
            Some(format!("{count} {} {}", if *count == 1 { "VM" } else { "VMs" }, status.name()))
        };
        let why: Vec<String> = [Status::Censored, Status::Failed].iter().filter_map(of).collect();
        (!why.is_empty()).then(|| why.join(", "))
    }

    /// The value of each trial, in trial order: for [`Statistic::Mean`] the mean over its VMs, else their median,
    /// which is infinite if it is censored. No means if they are [withheld](Self::mean_withheld).
    #[must_use]
    pub fn values(&self, statistic: Statistic) -> Vec<f64> {
        match statistic {
            Statistic::Mean if self.mean_withheld().is_some() => Vec::new(),
            Statistic::Mean => self.trials.iter().filter_map(|trial| trial.mean).collect(),
            _ => self.trials.iter().map(|trial| trial.median).collect(),
        }
    }

    /// Like [`Self::values`], by the name of the host.
    #[must_use]
    pub fn by_machine(&self, statistic: Statistic) -> BTreeMap<&str, Vec<f64>> {
        let mut found: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        if statistic == Statistic::Mean && self.mean_withheld().is_some() {
            return found;
        }
        for trial in &self.trials {
            let machine = self.machines.get(trial.machine).map_or("", String::as_str);
            let value = if statistic == Statistic::Mean { trial.mean } else { Some(trial.median) };
            if let Some(value) = value {
                found.entry(machine).or_default().push(value);
            }
        }
        found
    }

    /// Like [`Self::values`], by repetition; empty for a repetition without a value.
    #[must_use]
    pub fn by_repetition(&self, statistic: Statistic) -> Vec<Vec<f64>> {
        let mut found: Vec<Vec<f64>> = Vec::new();
        for trial in &self.trials {
            let value = if statistic == Statistic::Mean { trial.mean } else { Some(trial.median) };
            let repetition = trial.repetition as usize;
            found.resize(found.len().max(repetition + 1), Vec::new());
            found[repetition].extend(value);
        }
        found
    }

    /// Whether the row has trials of several repetitions. The repetition is then the unit of medians, means and their
    /// intervals.
    #[must_use]
    pub fn is_repeated(&self) -> bool {
        self.trials.first().is_some_and(|first| self.trials.iter().any(|trial| trial.repetition != first.repetition))
    }

    /// The median (or mean) of each repetition that has one; `None` for other statistics and without repetitions.
    #[must_use]
    pub fn repetition_values(&self, statistic: Statistic) -> Option<Vec<f64>> {
        let has_unit = matches!(statistic, Statistic::Median | Statistic::Mean);
        (has_unit && self.is_repeated()).then(|| repetition::values(&self.by_repetition(statistic), statistic))
    }

    /// Like [`Self::values`], without censored values.
    #[must_use]
    pub fn finite(&self, statistic: Statistic) -> Vec<f64> {
        self.values(statistic).into_iter().filter(|value| value.is_finite()).collect()
    }

    /// The statistic over trials, a percentile above the median over VMs; with repetitions, the mean of their medians or
    /// means. `None` without a trial, if the statistic is censored, and for a percentile of fewer than
    /// [`Self::trials_for_tail`] trials.
    #[must_use]
    pub fn statistic(&self, statistic: Statistic) -> Option<f64> {
        if let Some(values) = self.repetition_values(statistic) {
            return mean(&values).filter(|found| found.is_finite());
        }
        let values = self.values(statistic);
        let found = match statistic.quantile() {
            None => mean(&values),
            Some(0.5) => median(&values),
            Some(p) => match self.vms_of_trials.is_empty() {
                true => quantile(&values, p),
                false => clusters::quantile(&self.known_clusters(), p),
            }
            .filter(|_| self.trials_for_tail(statistic).is_some_and(|least| values.len() >= least)),
        };
        found.filter(|found| found.is_finite())
    }

    /// The order-statistic interval of the median or another quantile; its upper end is infinite if it is censored.
    /// `None` below [`smallest_n`](crate::stats::quantile::smallest_n) trials, and for the mean.
    ///
    /// With repetitions, the interval of the median is the t interval over them, `None` below
    /// [`repetition::SMALLEST`]; other quantiles have no interval.
    #[must_use]
    pub fn quantile_interval(&self, statistic: Statistic) -> Option<Interval> {
        if self.is_repeated() {
            return repetition::interval(&self.repetition_values(statistic.quantile().map(|_| statistic)?)?, LEVEL);
        }
        match statistic.quantile()? {
            0.5 => interval(&self.values(statistic), LEVEL),
            p if self.vms_of_trials.is_empty() => quantile_interval(&self.values(statistic), p, LEVEL),
            p => clusters::interval(&self.known_clusters(), p, LEVEL),
        }
    }

    /// Median over trials, with repetitions the mean of their medians; `None` without a trial or if it is censored.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        self.statistic(Statistic::Median)
    }

    /// Interval of the median: [`Self::quantile_interval`].
    #[must_use]
    pub fn median_interval(&self) -> Option<Interval> {
        self.quantile_interval(Statistic::Median)
    }

    /// Mean over trials; `None` without a trial or if it is [withheld](Self::mean_withheld).
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        self.statistic(Statistic::Mean)
    }

    /// The BCa interval of the mean, with repetitions the t interval over their means, or the reason why it is withheld.
    /// `seed` seeds the bootstrap.
    ///
    /// # Errors
    /// The reason, for example `n < 100` or `2 VMs censored`.
    pub fn mean_interval(&self, seed: u64) -> Result<Interval, String> {
        match (self.mean_withheld(), self.repetition_values(Statistic::Mean)) {
            (Some(why), _) => Err(why),
            (None, Some(means)) => repetition::interval(&means, LEVEL)
                .ok_or_else(|| format!("fewer than {} repetitions", repetition::SMALLEST)),
            (None, None) => bca::interval(&self.values(Statistic::Mean), LEVEL, seed, 0).map_err(|why| why.to_string()),
        }
    }

    /// The number of VMs that were planned.
    #[must_use]
    pub fn planned(&self) -> usize {
        self.vms + self.missing.values().map(|(count, _)| count).sum::<usize>()
    }
}

/// Names of the hosts on which every row of `rows` has a trial with a value, sorted. The rows can be compared within
/// these hosts. One empty name if the run has a single host; empty if there is no such host.
#[must_use]
pub fn shared_machines(rows: &[&Row]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let medians: Vec<_> = rows.iter().map(|row| row.by_machine(Statistic::Median)).collect();
    for machine in medians.iter().flat_map(|machines| machines.keys()) {
        if medians.iter().all(|machines| machines.contains_key(machine)) {
            all.push((*machine).to_owned());
        }
    }
    all.sort();
    all.dedup();
    all
}

/// Names of all hosts of `rows`, sorted, without duplicates.
#[must_use]
pub fn machines(rows: &[Row]) -> Vec<&str> {
    let mut all: Vec<&str> = rows.iter().flat_map(|row| &row.machines).map(String::as_str).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The reason why rows that share no host are not compared, with the hosts of each row.
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

/// Summarises every cell and metric of the plan, in plan order. Samples of warm-ups and superseded executions are
/// ignored.
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
            let mut trials: BTreeMap<Place, Vec<f64>> = BTreeMap::new();
            let mut failures: BTreeMap<Place, usize> = BTreeMap::new();
            let mut without: BTreeMap<Place, usize> = BTreeMap::new();
            let mut missing: BTreeMap<Status, (usize, String)> = BTreeMap::new();
            // Cells of an imported table can have different numbers of trials. What the table does not have is missing
            // only if it has nothing of this cell and metric.
            let is_in_table = samples.iter().any(|sample| sample.reason != ABSENT);
            for sample in samples.iter().filter(|sample| !is_in_table || sample.reason != ABSENT) {
                let value = match sample.status {
                    Status::Ok => sample.value,
                    Status::Censored => Some(f64::INFINITY),
                    _ => None,
                };
                let machine = machines.iter().position(|name| *name == sample.machine).unwrap_or(0);
                let trial = (sample.trial, sample.block, sample.repetition, machine);
                if sample.host.is_some() {
                    *without.entry(trial).or_default() += usize::from(sample.is_failure());
                }
                if let Some(value) = value {
                    trials.entry(trial).or_default().push(value);
                } else if matches!(sample.status, Status::Failed | Status::NotAvailable) {
                    *failures.entry(trial).or_default() += 1;
                }
                if sample.status != Status::Ok {
                    missing.entry(sample.status).or_insert_with(|| (0, sample.reason.clone())).0 += 1;
                }
            }
            rows.push(Row {
                cell: cell.id.to_string(),
                label: cell.label.to_string(),
                metric: metric.name.clone(),
                unit: metric.unit.clone(),
                host: samples.iter().find_map(|sample| sample.host),
                vms: trials.values().flatten().filter(|value| value.is_finite()).count(),
                trials: (trials.iter()).filter_map(|(place, values)| trial(*place, values)).collect(),
                failed: (failures.iter())
                    .filter_map(|(trial, failures)| failed_trial(*trial, *failures, trials.get(trial)))
                    .collect(),
                vms_of_trials: vms_of_trials(&trials, &failures),
                without: without.into_values().collect(),
                range: trials
                    .values()
                    .flatten()
                    .copied()
                    .map(|value| [value; 2])
                    .reduce(|[low, high], [value, _]| [low.min(value), high.max(value)]),
                machines,
                missing,
            });
        }
    }
    rows
}

fn trial((index, block, repetition, machine): Place, values: &[f64]) -> Option<Trial> {
    let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    Some(Trial { index, block, repetition, machine, median: median(values)?, mean: mean(&finite) })
}

/// The VMs of each trial; empty if every trial has one VM with a value.
fn vms_of_trials(trials: &BTreeMap<Place, Vec<f64>>, failures: &BTreeMap<Place, usize>) -> Vec<TrialVms> {
    if failures.is_empty() && trials.values().all(|values| values.len() == 1) {
        return Vec::new();
    }
    let mut all: BTreeMap<Place, TrialVms> = BTreeMap::new();
    for (place, values) in trials {
        all.entry(*place).or_default().values.clone_from(values);
    }
    for (place, unknown) in failures {
        all.entry(*place).or_default().unknown = *unknown;
    }
    all.into_values().collect()
}

/// Index, block, repetition and host of a trial.
type Place = (u32, u32, u32, usize);

/// A trial with `failures` failed VMs and the values of the others.
fn failed_trial(
    (index, block, repetition, machine): Place,
    failures: usize,
    of: Option<&Vec<f64>>,
) -> Option<FailedTrial> {
    let with = |value: f64| {
        let mut values = of.cloned().unwrap_or_default();
        values.resize(values.len() + failures, value);
        median(&values)
    };
    Some(FailedTrial { index, block, repetition, machine, largest: with(f64::INFINITY)?, smallest: with(0.0)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of repetitions, each with the values of its trials.
    fn row(repetitions: &[&[f64]]) -> Row {
        let (mut trials, mut index) = (Vec::new(), 0);
        for (repetition, values) in (0..).zip(repetitions) {
            for value in *values {
                trials.extend(trial((index, index, repetition, 0), &[*value]));
                index += 1;
            }
        }
        Row {
            cell: "c".into(),
            metric: "m".into(),
            unit: "ms".into(),
            machines: vec![String::new()],
            vms: trials.len(),
            trials,
            ..Row::default()
        }
    }

    #[test]
    fn repetitions_are_the_unit_of_the_median_and_its_interval() {
        // A repetition with more trials has the same weight.
        let repeated = row(&[&[9.0, 10.0, 11.0], &[12.0], &[13.0, 14.0, 15.0]]);
        assert_eq!(repeated.median(), Some(12.0));
        assert_eq!(repeated.median_interval(), repetition::interval(&[10.0, 12.0, 14.0], LEVEL));
        assert_eq!((repeated.n(), repeated.statistic(Statistic::Mean)), (7, Some(12.0)));
        assert_eq!(repeated.quantile_interval(Statistic::P90), None);
        // Two repetitions have no interval, however many trials they have.
        let many = vec![10.0; 20];
        let two = row(&[&many, &many]);
        assert_eq!((two.median(), two.median_interval()), (Some(10.0), None));
        // A repetition whose median is censored has no finite mean.
        let censored = row(&[&[1.0], &[1.0], &[f64::INFINITY, f64::INFINITY, 1.0]]);
        assert_eq!((censored.median(), censored.median_interval()), (None, None));
        // Trials of one repetition are the unit of a run without repetitions.
        let once = row(&[&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]);
        assert_eq!(once.median_interval(), interval(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], LEVEL));
    }

    #[test]
    fn repetition_without_a_value_is_empty() {
        let row = row(&[&[1.0], &[], &[3.0, 4.0]]);
        assert_eq!(row.by_repetition(Statistic::Median), [vec![1.0], vec![], vec![3.0, 4.0]]);
        assert_eq!(row.repetition_values(Statistic::Median), Some(vec![1.0, 3.5]));
    }
}
