//! Checks whether KVM is usable by booting a guest to its first response. Access to `/dev/kvm` alone does not show
//! that.

use std::path::Path;
use std::time::Duration;

use microbench_formats::host::HostKind;
use microbench_formats::plan::Plan;
use microbench_formats::record::Record;
use microbench_measure::host::interference::Watcher;
use microbench_measure::parts::Parts;
use microbench_measure::trial::TrialExecution;
use microbench_study::engine::guest_settings::GuestSettings;

/// Time limit for the first response of the guest, and for its shutdown.
const DEADLINE: Duration = Duration::from_secs(5);

/// Boots one guest of the plan's first cell that needs KVM. Succeeds without a boot when no cell needs KVM.
///
/// # Errors
/// Why the guest did not respond, in one line.
pub fn check(plan: &Plan, parts: &std::collections::BTreeMap<String, Parts>, scratch: &Path) -> Result<(), String> {
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
    let records = trial.execute(scratch, scratch, &mut Watcher::new(HostKind::Kvm, None));
    let failure = records.iter().find_map(|record| match record {
        Record::Failure { reason, stage, message, .. } => Some(format!("{reason} at {stage}: {message}")),
        _ => None,
    });
    failure.map_or(Ok(()), |failure| {
        let line: String = failure.split("; console:").next().unwrap_or_default().chars().take(160).collect();
        Err(format!("a guest did not boot within {} s ({line})", DEADLINE.as_secs()))
    })
}
