//! Estimate of the remaining time of a session, from the trials that have ended.
//!
//! The expected duration of a trial is the mean of its cell. Before a trial of its cell has ended, it is the mean per
//! VM of the engine times the number of VMs. Before a trial of its engine has ended, it is the mean per VM of all
//! engines times the number of VMs.

use std::collections::BTreeMap;
use std::time::Duration;

use microbench_formats::plan::Plan;
use microbench_measure::trial::request::TrialRequest;

use super::session::vms;

/// Sum of the durations of trials.
#[derive(Clone, Debug, Default)]
struct Times {
    trials: u32,
    vms: u32,
    sum: Duration,
}

impl Times {
    fn add(&mut self, vms: u32, duration: Duration) {
        self.trials += 1;
        self.vms += vms;
        self.sum += duration;
    }
}

/// Durations of the trials that have ended, in time of this machine.
#[derive(Clone, Debug, Default)]
pub struct Estimate {
    cells: BTreeMap<(String, bool), Times>,
    engines: BTreeMap<String, Times>,
    all: Times,
}

impl Estimate {
    /// Adds the duration of a trial.
    pub fn add(&mut self, trial: &TrialRequest, plan: &Plan, duration: Duration) {
        let vms = vms(trial, plan);
        self.cells.entry((trial.cell.clone(), trial.warmup)).or_default().add(vms, duration);
        self.engines.entry(engine(trial, plan).to_owned()).or_default().add(vms, duration);
        self.all.add(vms, duration);
    }

    /// The expected duration of `trial`; `None` before any trial has ended.
    #[must_use]
    pub fn duration(&self, trial: &TrialRequest, plan: &Plan) -> Option<Duration> {
        if let Some(own) = self.cells.get(&(trial.cell.clone(), trial.warmup)) {
            return Some(own.sum / own.trials.max(1));
        }
        let alike = self.engines.get(engine(trial, plan)).unwrap_or(&self.all);
        (alike.vms > 0).then(|| alike.sum / alike.vms * vms(trial, plan))
    }

    /// The wall time until the trials in `left` have ended; `None` before any trial has ended. The trials so far took
    /// the wall time `elapsed`, which is less than the sum of their durations when several hosts execute in parallel.
    #[must_use]
    pub fn remaining<'a>(
        &self,
        left: impl IntoIterator<Item = &'a TrialRequest>,
        plan: &Plan,
        elapsed: Duration,
    ) -> Option<Duration> {
        let expected: Duration = left.into_iter().map(|trial| self.duration(trial, plan)).sum::<Option<Duration>>()?;
        (!self.all.sum.is_zero()).then(|| elapsed.mul_f64(expected.as_secs_f64() / self.all.sum.as_secs_f64()))
    }

    /// The fraction of the total expected duration that has passed, 0 to 1, when the trials in `left` have not ended.
    #[must_use]
    pub fn share<'a>(&self, left: impl IntoIterator<Item = &'a TrialRequest>, plan: &Plan) -> f64 {
        let expected: Option<Duration> = left.into_iter().map(|trial| self.duration(trial, plan)).sum();
        let (done, all) =
            (self.all.sum.as_secs_f64(), self.all.sum.as_secs_f64() + expected.unwrap_or_default().as_secs_f64());
        if all > 0.0 { done / all } else { 0.0 }
    }
}

fn engine<'a>(trial: &TrialRequest, plan: &'a Plan) -> &'a str {
    plan.cells.iter().find(|cell| cell.id == trial.cell).map_or("", |cell| cell.engine.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plan with a cell for each of these engines and numbers of VMs, `ENGINE/VMS`.
    fn plan(cells: &[(&str, u32)]) -> Plan {
        let cell = |(engine, vms): &(&str, u32)| {
            serde_json::json!({
                "id": format!("{engine}/{vms}"), "levels": {}, "variant": engine, "label": engine, "engine": engine,
                "concurrency": vms, "trials": 1, "settings": {},
            })
        };
        serde_json::from_value(serde_json::json!({
            "format": microbench_formats::version::FORMAT_VERSION, "study": "s", "title": "S", "protocol": "corrected", "profile": "",
            "seed": 1, "warmup": false, "give_up_after": 0, "axes": [], "cells": cells.iter().map(cell).collect::<Vec<_>>(),
            "trials": [], "workloads": [], "metrics": [], "figures": [], "claims": [], "reference": null, "excluded": [],
        }))
        .unwrap()
    }

    fn trial(cell: &str, index: u32) -> TrialRequest {
        TrialRequest { index, attempt: 0, warmup: false, cell: cell.into(), instrument: None }
    }

    #[test]
    fn the_expected_duration_is_that_of_the_cell_or_of_the_engine_per_vm() {
        let plan = plan(&[("a", 1), ("a", 10), ("b", 1), ("b", 20)]);
        let seconds = Duration::from_secs;
        let mut estimate = Estimate::default();
        assert_eq!(estimate.duration(&trial("a/1", 0), &plan), None);
        estimate.add(&trial("a/1", 0), &plan, seconds(2));
        // Nothing is known about the engine `b`, so the mean of all VMs is used.
        assert_eq!(estimate.duration(&trial("b/20", 1), &plan), Some(seconds(40)));
        estimate.add(&trial("b/1", 2), &plan, seconds(6));
        estimate.add(&trial("a/1", 3), &plan, seconds(4));
        for (cell, expected) in [("a/1", 3), ("a/10", 30), ("b/20", 120)] {
            assert_eq!(estimate.duration(&trial(cell, 9), &plan), Some(seconds(expected)), "{cell}");
        }
    }

    #[test]
    fn two_hosts_halve_the_remaining_time_and_shares_are_weighted_by_duration() {
        let plan = plan(&[("a", 1), ("a", 20)]);
        let mut estimate = Estimate::default();
        (0..4).for_each(|index| estimate.add(&trial("a/1", index), &plan, Duration::from_secs(1)));
        let left = [trial("a/20", 4), trial("a/20", 5)];
        // Four trials of one second each took two seconds, so two hosts executed them.
        assert_eq!(estimate.remaining(&left, &plan, Duration::from_secs(2)), Some(Duration::from_secs(20)));
        assert!((estimate.share(&left, &plan) - 4.0 / 44.0).abs() < 1e-9);
        assert!((estimate.share(&[], &plan) - 1.0).abs() < 1e-9);
    }
}
