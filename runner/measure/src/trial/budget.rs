//! When a cell is given up: after so many trials in a row in which no VM completed, and at once when one of its artefacts changed.

use std::collections::BTreeMap;

use microbench_formats::record::{FailureReason, Record};
use serde::{Deserialize, Serialize};

use crate::trial::execution::JobTrial;

/// What the cells' last trials came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Failed trials in a row after which a cell is given up; 0 for never.
    limit: u32,
    /// Cells whose last trials failed.
    failing: BTreeMap<String, Failing>,
}

/// A row of failed trials of one cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Failing {
    trials: u32,
    reason: FailureReason,
    message: String,
}

impl Budget {
    /// A budget of `limit` failed trials in a row.
    #[must_use]
    pub fn of(limit: u32) -> Self {
        Self { limit, failing: BTreeMap::new() }
    }

    /// Takes note of a trial's records, from `TrialStart` to `TrialEnd`. Warm-ups and disturbed executions say nothing.
    pub fn saw(&mut self, records: &[Record]) {
        let Some(Record::TrialStart { cell, warmup: false, .. }) = records.first() else { return };
        if records.iter().any(|record| matches!(record, Record::Invalid { .. })) {
            return;
        }
        let Some(Record::TrialEnd { ok: 0, .. }) = records.last() else {
            self.failing.remove(cell);
            return;
        };
        let first = records.iter().find_map(|record| match record {
            Record::Failure { reason, stage, message, .. } => {
                Some((*reason, format!("{reason} at {stage}: {message}")))
            }
            _ => None,
        });
        let Some((reason, message)) = first else { return };
        // What was refused was no trial.
        if !self.failing.get(cell).is_some_and(|failing| self.is_given_up(failing)) {
            let trials = self.failing.get(cell).map_or(0, |failing| failing.trials) + 1;
            self.failing.insert(cell.clone(), Failing { trials, reason, message });
        }
    }

    /// The records of `trial`, which has `vms` VMs and is not run, when its cell is given up; `None` when it is to be run.
    #[must_use]
    pub fn refuse(&self, trial: &JobTrial, vms: u32) -> Option<Vec<Record>> {
        let failing = self.failing.get(&trial.cell)?;
        if !self.is_given_up(failing) {
            return None;
        }
        let last: String = failing.message.chars().take(400).collect();
        let message = match failing.trials {
            1 => format!("not run: the cell's last trial failed ({last})"),
            trials => format!("not run: the cell's last {trials} trials failed, the last one with: {last}"),
        };
        // A level that the host cannot run stays that.
        let reason = match failing.reason {
            FailureReason::NotApplicable => FailureReason::NotApplicable,
            _ => FailureReason::GivenUp,
        };
        Some(not_run(trial, vms, reason, &message))
    }

    /// Whether the cell of `failing` is not run any more.
    fn is_given_up(&self, failing: &Failing) -> bool {
        failing.reason == FailureReason::Artifact || (self.limit > 0 && failing.trials >= self.limit)
    }
}

/// The records of a trial of `vms` VMs that is not run.
#[must_use]
pub fn not_run(trial: &JobTrial, vms: u32, reason: FailureReason, message: &str) -> Vec<Record> {
    let (index, attempt) = (trial.index, trial.attempt);
    let start = Record::TrialStart { trial: index, attempt, cell: trial.cell.clone(), warmup: trial.warmup };
    let failure = |vm| Record::Failure {
        vm,
        reason,
        stage: microbench_formats::event::SPAWN.into(),
        message: message.to_owned(),
    };
    let end = Record::TrialEnd { trial: index, attempt, ok: 0, failed: vms };
    std::iter::once(start).chain((0..vms).map(failure)).chain([end]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(index: u32) -> JobTrial {
        JobTrial { index, attempt: 0, warmup: false, cell: "c".into(), instrument: None }
    }

    fn failed(index: u32, reason: FailureReason) -> Vec<Record> {
        not_run(&trial(index), 2, reason, "why")
    }

    #[test]
    fn a_cell_is_given_up_after_failures_in_a_row_and_not_before() {
        let mut budget = Budget::of(2);
        budget.saw(&failed(0, FailureReason::Timeout));
        assert_eq!(budget.refuse(&trial(1), 2), None);
        let mut good = failed(1, FailureReason::Timeout);
        *good.last_mut().unwrap() = Record::TrialEnd { trial: 1, attempt: 0, ok: 1, failed: 1 };
        budget.saw(&good);
        budget.saw(&failed(2, FailureReason::Timeout));
        assert_eq!(budget.refuse(&trial(3), 2), None);
        budget.saw(&failed(3, FailureReason::Timeout));
        let refused = budget.refuse(&trial(4), 2).unwrap();
        let Record::Failure { reason, message, .. } = &refused[1] else { panic!("{refused:?}") };
        assert_eq!(*reason, FailureReason::GivenUp);
        assert_eq!(message, "not run: the cell's last 2 trials failed, the last one with: timeout at spawn: why");
        // What was refused is no trial.
        budget.saw(&refused);
        assert_eq!(budget.refuse(&trial(5), 2), Some(not_run(&trial(5), 2, FailureReason::GivenUp, message)));
    }

    #[test]
    fn without_a_limit_no_cell_is_given_up_but_one_of_another_artefact() {
        let mut budget = Budget::of(0);
        (0..9).for_each(|index| budget.saw(&failed(index, FailureReason::Timeout)));
        assert_eq!(budget.refuse(&trial(9), 1), None);
        budget.saw(&failed(9, FailureReason::Artifact));
        assert!(budget.refuse(&trial(10), 1).is_some());
    }

    #[test]
    fn a_level_that_the_host_cannot_run_stays_that() {
        let mut budget = Budget::of(1);
        budget.saw(&failed(0, FailureReason::NotApplicable));
        let refused = budget.refuse(&trial(1), 1).unwrap();
        assert!(matches!(refused[1], Record::Failure { reason: FailureReason::NotApplicable, .. }));
        budget.saw(&refused);
        assert_eq!(budget.refuse(&trial(1), 1), Some(refused));
    }
}
