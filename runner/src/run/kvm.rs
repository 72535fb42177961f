//! Checks whether KVM is usable by booting a guest to its first response. Access to `/dev/kvm` alone does not show
//! that.

use std::path::Path;
use std::time::Duration;

use microbench_formats::describe::one_line;
use microbench_formats::host::HostKind;
use microbench_formats::plan::Plan;
use microbench_formats::record::{FailureReason, Record};
use microbench_measure::host::interference::Watcher;
use microbench_measure::parts::Parts;
use microbench_measure::sandbox::vm_namespaces::VmRoot;
use microbench_measure::trial::TrialExecution;
use microbench_measure::vm::Folders;
use microbench_study::engine::guest_settings::GuestSettings;

use crate::store::status::shared_message;

/// Time limit for the first response of the guest, and for its shutdown.
const DEADLINE: Duration = Duration::from_secs(5);
/// Longest message of a failure, characters.
const MAX_MESSAGE: usize = 160;

/// Boots one guest of the plan's first cell that needs KVM. Succeeds without a boot when no cell needs KVM.
///
/// # Errors
/// Why the guest did not respond, in one line.
pub fn check(
    plan: &Plan,
    parts: &std::collections::BTreeMap<String, Parts>,
    scratch: &Path,
    root: &VmRoot,
) -> Result<(), String> {
    let candidate = plan.cells.iter().filter_map(|cell| Some((cell, parts.get(cell.id.as_str())?)));
    let Some((cell, parts)) =
        candidate.into_iter().find(|(_, parts)| parts.engine.needs_kvm && parts.not_applicable.is_none())
    else {
        // Containers and processes need no KVM.
        return Ok(());
    };
    if let Err(error) = std::fs::File::options().read(true).write(true).open("/dev/kvm") {
        return Err(format!("/dev/kvm cannot be opened: {error}"));
    }
    let (boot_deadline, stop_deadline) = (DEADLINE, DEADLINE);
    let guest = GuestSettings { boot_deadline, stop_deadline, ..parts.guest.clone() };
    let parts = &Parts { guest, ..parts.clone() };
    let (run, instrument, workloads) = ("kvm-check", None, &[]);
    let trial = TrialExecution { run, index: 0, attempt: 0, warmup: true, instrument, cell, workloads, parts };
    let records = trial.execute(Folders { scratch, console: scratch, root }, &mut Watcher::new(HostKind::Kvm, None));
    records.iter().find_map(boot_failure).map_or(Ok(()), Err)
}

/// Why the test guest did not boot, in one line; `None` if the record is not a failure.
fn boot_failure(record: &Record) -> Option<String> {
    let Record::Failure { reason, stage, message, .. } = record else { return None };
    let message = one_line(shared_message(message), MAX_MESSAGE);
    Some(match reason {
        FailureReason::Exited => format!("the test guest did not boot: {message}"),
        FailureReason::Timeout => {
            format!("the test guest did not boot within {} s: no {stage} ({message})", DEADLINE.as_secs())
        }
        _ => format!("the test guest did not boot: {}: {message}", reason.with_event(stage)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_failure_names_the_cause_once() {
        let failure = |reason| Record::Failure {
            vm: 0,
            reason,
            stage: "http.ok".into(),
            message: "the VMM exited before the first response of the service (signal 6); console: c/0.log".into(),
        };
        assert_eq!(
            boot_failure(&failure(FailureReason::Exited)).unwrap(),
            "the test guest did not boot: the VMM exited before the first response of the service (signal 6)"
        );
        assert!(boot_failure(&failure(FailureReason::Timeout)).unwrap().contains("within 5 s: no http.ok ("));
        assert_eq!(boot_failure(&Record::RunEnd { ended: String::new() }), None);
    }
}
