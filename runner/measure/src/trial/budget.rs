//! Failure budget: a cell is given up after a number of consecutive trials in which no VM completed. It is
//! given up at once when one of its artefacts has changed.

use std::collections::BTreeMap;

use microbench_formats::record::{FailureReason, Record};
use serde::{Deserialize, Serialize};

use crate::trial::request::TrialRequest;

/// Consecutive failed trials of each cell.
///
/// ```
/// use microbench_formats::record::{FailureReason, Record};
/// use microbench_measure::trial::budget::{Budget, skipped_records};
/// use microbench_measure::trial::request::TrialRequest;
///
/// let trial = |index| TrialRequest { index, attempt: 0, warmup: false, cell: "fc/1".into(), instrument: None };
/// let mut budget = Budget::new(1);
/// assert!(budget.refuse(&trial(0), 1).is_none());
/// budget.observe(&skipped_records(&trial(0), 1, FailureReason::Timeout, "no response"));
/// let records = budget.refuse(&trial(1), 1).expect("the cell is given up");
/// assert!(matches!(records[1], Record::Failure { reason: FailureReason::GivenUp, .. }));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Consecutive failed trials after which a cell is given up; 0 for never.
    limit: u32,
    /// Cells whose last trial failed.
    failing: BTreeMap<String, Failing>,
}

/// Consecutive failed trials of one cell; reason and message are those of the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Failing {
    trials: u32,
    reason: FailureReason,
    message: String,
}

impl Budget {
    /// Creates a budget of `limit` consecutive failed trials per cell; 0 for no limit.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self { limit, failing: BTreeMap::new() }
    }

    /// Updates the budget by a trial's records, from `TrialStart` to `TrialEnd`. Warm-ups and disturbed
    /// executions do not count.
    pub fn observe(&mut self, records: &[Record]) {
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
                Some((*reason, format!("{}: {message}", reason.with_event(stage))))
            }
            _ => None,
        });
        let Some((reason, message)) = first else { return };
        // The records of a skipped trial do not count.
        if !self.failing.get(cell).is_some_and(|failing| self.is_given_up(failing)) {
            let trials = self.failing.get(cell).map_or(0, |failing| failing.trials) + 1;
            self.failing.insert(cell.clone(), Failing { trials, reason, message });
        }
    }

    /// Returns the records of the skipped `trial` of `vms` VMs if its cell is given up; `None` if the trial
    /// is to be executed.
    #[must_use]
    pub fn refuse(&self, trial: &TrialRequest, vms: u32) -> Option<Vec<Record>> {
        let failing = self.failing.get(&trial.cell)?;
        if !self.is_given_up(failing) {
            return None;
        }
        let last: String = failing.message.chars().take(400).collect();
        let message = match failing.trials {
            1 => format!("skipped: the last trial of the cell failed ({last})"),
            trials => format!("skipped: the last {trials} trials of the cell failed, the last one with: {last}"),
        };
        // A cell that the host cannot run stays not applicable.
        let reason = match failing.reason {
            FailureReason::NotApplicable => FailureReason::NotApplicable,
            _ => FailureReason::GivenUp,
        };
        Some(skipped_records(trial, vms, reason, &message))
    }

    /// Returns whether the cell of `failing` is given up.
    fn is_given_up(&self, failing: &Failing) -> bool {
        failing.reason == FailureReason::Artifact || (self.limit > 0 && failing.trials >= self.limit)
    }
}

/// Returns the records of a skipped trial: each of its `vms` VMs failed for `reason`.
#[must_use]
pub fn skipped_records(trial: &TrialRequest, vms: u32, reason: FailureReason, message: &str) -> Vec<Record> {
    let (index, attempt) = (trial.index, trial.attempt);
    let (cell, warmup) = (trial.cell.clone(), trial.warmup);
    let start = Record::TrialStart { trial: index, attempt, cell, warmup, emulated_host: None };
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

    fn trial(index: u32) -> TrialRequest {
        TrialRequest { index, attempt: 0, warmup: false, cell: "c".into(), instrument: None }
    }

    fn failed(index: u32, reason: FailureReason) -> Vec<Record> {
        skipped_records(&trial(index), 2, reason, "why")
    }

    #[test]
    fn cell_is_given_up_after_consecutive_failures() {
        let mut budget = Budget::new(2);
        budget.observe(&failed(0, FailureReason::Timeout));
        assert_eq!(budget.refuse(&trial(1), 2), None);
        let mut good = failed(1, FailureReason::Timeout);
        *good.last_mut().unwrap() = Record::TrialEnd { trial: 1, attempt: 0, ok: 1, failed: 1 };
        budget.observe(&good);
        budget.observe(&failed(2, FailureReason::Timeout));
        assert_eq!(budget.refuse(&trial(3), 2), None);
        budget.observe(&failed(3, FailureReason::Timeout));
        let refused = budget.refuse(&trial(4), 2).unwrap();
        let Record::Failure { reason, message, .. } = &refused[1] else { panic!("{refused:?}") };
        assert_eq!(*reason, FailureReason::GivenUp);
        assert_eq!(message, "skipped: the last 2 trials of the cell failed, the last one with: timeout at spawn: why");
        // The records of a skipped trial do not count.
        budget.observe(&refused);
        assert_eq!(budget.refuse(&trial(5), 2), Some(skipped_records(&trial(5), 2, FailureReason::GivenUp, message)));
    }

    #[test]
    fn without_a_limit_only_a_changed_artefact_gives_up_a_cell() {
        let mut budget = Budget::new(0);
        (0..9).for_each(|index| budget.observe(&failed(index, FailureReason::Timeout)));
        assert_eq!(budget.refuse(&trial(9), 1), None);
        budget.observe(&failed(9, FailureReason::Artifact));
        assert!(budget.refuse(&trial(10), 1).is_some());
    }

    #[test]
    fn not_applicable_cell_stays_not_applicable() {
        let mut budget = Budget::new(1);
        budget.observe(&failed(0, FailureReason::NotApplicable));
        let refused = budget.refuse(&trial(1), 1).unwrap();
        assert!(matches!(refused[1], Record::Failure { reason: FailureReason::NotApplicable, .. }));
        budget.observe(&refused);
        assert_eq!(budget.refuse(&trial(1), 1), Some(refused));
    }
}
