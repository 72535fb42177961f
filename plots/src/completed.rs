//! The number of VMs of each cell that completed their protocol, from the journal. No single metric shows it, because
//! a VM that fails keeps the values that were measured before.

use std::collections::BTreeMap;

use microbench_formats::cell::Cell;
use microbench_formats::host::HostKind;
use microbench_formats::plan::Plan;
use microbench_formats::record::FailureReason;
use serde::Serialize;

use crate::journal::{Execution, Failure, Journal, Vm};
use crate::samples::{counted_executions, vm_count};

/// The VMs of one cell, over the executions that count.
///
/// ```
/// use microbench_plots::completed::Completed;
///
/// let completed = |completed, of| Completed { completed, of, ..Completed::default() };
/// assert_eq!(completed(3, 4).share(), 0.75);
/// assert!(completed(3, 4).is_below(&completed(4, 4)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Completed {
    /// The number of VMs that completed.
    pub completed: usize,
    /// The number of VMs that were started, without those that the host cannot run.
    pub of: usize,
    /// The VMs of each trial that did not complete.
    #[serde(skip)]
    pub failures: Vec<usize>,
    /// Why the first of the others did not complete; empty if all completed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Completed {
    /// The share of VMs that completed, 0 to 1; 0 if there are no VMs.
    #[must_use]
    pub fn share(&self) -> f64 {
        if self.of == 0 { 0.0 } else { self.completed as f64 / self.of as f64 }
    }

    /// Whether the share is smaller than that of `other`; false if either has no VMs.
    #[must_use]
    pub fn is_below(&self, other: &Self) -> bool {
        self.of > 0 && self.completed * other.of < other.completed * self.of
    }
}

/// The completed VMs of each cell, by [`Cell::id`].
pub type ByCell = BTreeMap<String, Completed>;

/// Counts the VMs of each cell. Warm-ups, superseded executions and disturbed executions are left out.
#[must_use]
pub fn by_cell(plan: &Plan, journal: &Journal) -> ByCell {
    let cells: BTreeMap<&str, &Cell> = plan.cells.iter().map(|cell| (cell.id.as_str(), cell)).collect();
    let mut found = ByCell::new();
    for execution in counted_executions(journal).into_values().filter(|execution| execution.invalid.is_empty()) {
        let Some(cell) = cells.get(execution.cell.as_str()) else { continue };
        let counts = found.entry(execution.cell.clone()).or_default();
        let before = counts.of - counts.completed;
        for vm in 0..vm_count(cell, Some(execution)) {
            match outcome(execution, execution.vms.get(&vm)) {
                Outcome::Completed => (counts.completed, counts.of) = (counts.completed + 1, counts.of + 1),
                Outcome::NotApplicable => {}
                Outcome::Failed(reason) => {
                    counts.of += 1;
                    if counts.reason.is_empty() {
                        counts.reason = reason;
                    }
                }
            }
        }
        counts.failures.push(counts.of - counts.completed - before);
    }
    found
}

enum Outcome {
    Completed,
    NotApplicable,
    Failed(String),
}

/// The outcome of a VM. An imported table has no failures: there, a VM completed if it has a value of any metric.
fn outcome(execution: &Execution, vm: Option<&Vm>) -> Outcome {
    let Some(vm) = vm else { return Outcome::Failed("the journal has no record of this VM".to_owned()) };
    match &vm.failure {
        Some(Failure { reason: FailureReason::NotApplicable | FailureReason::BeyondLimit, .. }) => {
            Outcome::NotApplicable
        }
        Some(failure) => Outcome::Failed(format!("{} at {}: {}", failure.reason, failure.stage, failure.message)),
        None if execution.host == HostKind::Imported && vm.readings.values().all(|(value, _)| value.is_err()) => {
            let mut given = vm.readings.values().filter_map(|(value, _)| value.as_ref().err());
            // Cells of a table can have different numbers of trials; a trial that the table does not have did not fail.
            match given.find(|reason| *reason != crate::import::ABSENT) {
                Some(reason) => Outcome::Failed(reason.clone()),
                None => Outcome::NotApplicable,
            }
        }
        None => Outcome::Completed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_compared_exactly_and_no_share_is_below_that_of_no_vms() {
        let of = |completed, of| Completed { completed, of, ..Completed::default() };
        assert!(of(5, 6).is_below(&of(6, 6)) && !of(6, 6).is_below(&of(5, 6)));
        assert!(!of(1, 3).is_below(&of(2, 6)) && of(1, 3).is_below(&of(3, 8)));
        assert!(!of(0, 0).is_below(&of(6, 6)) && !of(0, 6).is_below(&of(0, 0)));
    }
}
