//! How long the rest of a session takes, from what its trials took so far.
//!
//! Trials are not alike: one of 20 VMs takes longer than one of 1, and engines differ. A trial is expected to take what trials of its cell took
//! in the mean; without one, what a VM of its engine took, for each of its VMs; without that, what any VM took.

use std::collections::BTreeMap;
use std::time::Duration;

use microbench_formats::plan::Plan;
use microbench_measure::trial::request::TrialRequest;

use super::session::vms;

/// Times of trials, summed up.
#[derive(Clone, Debug, Default)]
struct Times {
    trials: u32,
    vms: u32,
    sum: Duration,
}

impl Times {
    fn add(&mut self, vms: u32, took: Duration) {
        self.trials += 1;
        self.vms += vms;
        self.sum += took;
    }
}

/// What trials took so far, of a machine's time.
#[derive(Clone, Debug, Default)]
pub struct Estimate {
    cells: BTreeMap<(String, bool), Times>,
    engines: BTreeMap<String, Times>,
    all: Times,
}

impl Estimate {
    /// Takes note that `trial` took so long.
    pub fn saw(&mut self, trial: &TrialRequest, plan: &Plan, took: Duration) {
        let vms = vms(trial, plan);
        self.cells.entry((trial.cell.clone(), trial.warmup)).or_default().add(vms, took);
        self.engines.entry(engine(trial, plan).to_owned()).or_default().add(vms, took);
        self.all.add(vms, took);
    }

    /// What `trial` is expected to take; `None` before any trial has ended.
    #[must_use]
    pub fn of(&self, trial: &TrialRequest, plan: &Plan) -> Option<Duration> {
        if let Some(own) = self.cells.get(&(trial.cell.clone(), trial.warmup)) {
            return Some(own.sum / own.trials.max(1));
        }
        let alike = self.engines.get(engine(trial, plan)).unwrap_or(&self.all);
        (alike.vms > 0).then(|| alike.sum / alike.vms * vms(trial, plan))
    }

    /// The time until `left` have ended, when trials that took the sum of what was seen took `elapsed`: several hosts execute beside one
    /// another.
    #[must_use]
    pub fn left<'a>(
        &self,
        left: impl IntoIterator<Item = &'a TrialRequest>,
        plan: &Plan,
        elapsed: Duration,
    ) -> Option<Duration> {
        let expected: Duration = left.into_iter().map(|trial| self.of(trial, plan)).sum::<Option<Duration>>()?;
        (!self.all.sum.is_zero()).then(|| elapsed.mul_f64(expected.as_secs_f64() / self.all.sum.as_secs_f64()))
    }

    /// The share of the work that has ended, when `left` is what is left; by number of VMs before anything is known.
    #[must_use]
    pub fn share<'a>(&self, left: impl IntoIterator<Item = &'a TrialRequest>, plan: &Plan) -> f64 {
        let expected: Option<Duration> = left.into_iter().map(|trial| self.of(trial, plan)).sum();
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
    fn a_trial_is_expected_to_take_what_its_cell_took_or_its_engine_for_each_vm() {
        let plan = plan(&[("a", 1), ("a", 10), ("b", 1), ("b", 20)]);
        let seconds = Duration::from_secs;
        let mut estimate = Estimate::default();
        assert_eq!(estimate.of(&trial("a/1", 0), &plan), None);
        estimate.saw(&trial("a/1", 0), &plan, seconds(2));
        // Of another engine nothing is known: a VM is a VM.
        assert_eq!(estimate.of(&trial("b/20", 1), &plan), Some(seconds(40)));
        estimate.saw(&trial("b/1", 2), &plan, seconds(6));
        estimate.saw(&trial("a/1", 3), &plan, seconds(4));
        for (cell, expected) in [("a/1", 3), ("a/10", 30), ("b/20", 120)] {
            assert_eq!(estimate.of(&trial(cell, 9), &plan), Some(seconds(expected)), "{cell}");
        }
    }

    #[test]
    fn hosts_beside_one_another_halve_the_time_and_a_share_is_of_work_not_of_trials() {
        let plan = plan(&[("a", 1), ("a", 20)]);
        let mut estimate = Estimate::default();
        (0..4).for_each(|index| estimate.saw(&trial("a/1", index), &plan, Duration::from_secs(1)));
        let left = [trial("a/20", 4), trial("a/20", 5)];
        // Four trials of a second each took two: two hosts.
        assert_eq!(estimate.left(&left, &plan, Duration::from_secs(2)), Some(Duration::from_secs(20)));
        assert!((estimate.share(&left, &plan) - 4.0 / 44.0).abs() < 1e-9);
        assert!((estimate.share(&[], &plan) - 1.0).abs() < 1e-9);
    }
}
