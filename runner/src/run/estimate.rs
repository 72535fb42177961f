//! How long the rest of a session takes, from what its trials took so far.
//!
//! Trials are not alike: one of 20 VMs takes longer than one of 1, and engines differ. A trial is expected to take what trials of its cell took
//! in the mean; without one, what a VM of its engine took, for each of its VMs; without that, what any VM took.

use std::collections::BTreeMap;
use std::time::Duration;

use microbench_plots::record::Plan;

use super::session::vms;
use crate::testbed::wire::JobTrial;

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
    pub fn saw(&mut self, trial: &JobTrial, plan: &Plan, took: Duration) {
        let vms = vms(trial, plan);
        self.cells.entry((trial.cell.clone(), trial.warmup)).or_default().add(vms, took);
        self.engines.entry(engine(trial, plan).to_owned()).or_default().add(vms, took);
        self.all.add(vms, took);
    }

    /// What `trial` is expected to take; `None` before any trial has ended.
    #[must_use]
    pub fn of(&self, trial: &JobTrial, plan: &Plan) -> Option<Duration> {
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
        left: impl IntoIterator<Item = &'a JobTrial>,
        plan: &Plan,
        elapsed: Duration,
    ) -> Option<Duration> {
        let expected: Duration = left.into_iter().map(|trial| self.of(trial, plan)).sum::<Option<Duration>>()?;
        (!self.all.sum.is_zero()).then(|| elapsed.mul_f64(expected.as_secs_f64() / self.all.sum.as_secs_f64()))
    }

    /// The share of the work that has ended, when `left` is what is left; by number of VMs before anything is known.
    #[must_use]
    pub fn share<'a>(&self, left: impl IntoIterator<Item = &'a JobTrial>, plan: &Plan) -> f64 {
        let expected: Option<Duration> = left.into_iter().map(|trial| self.of(trial, plan)).sum();
        let (done, all) =
            (self.all.sum.as_secs_f64(), self.all.sum.as_secs_f64() + expected.unwrap_or_default().as_secs_f64());
        if all > 0.0 { done / all } else { 0.0 }
    }
}

fn engine<'a>(trial: &JobTrial, plan: &'a Plan) -> &'a str {
    plan.cells.iter().find(|cell| cell.id == trial.cell).map_or("", |cell| cell.engine.as_str())
}
