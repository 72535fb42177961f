//! Execution of one trial: its VMs are prepared, released at the same time, and each is run to its exit.

pub mod budget;
pub mod request;

use anyhow::anyhow;
use microbench_formats::cell::Cell;
use microbench_formats::event::reading;
use microbench_formats::instrument::Instrument;
pub use microbench_formats::record::vm_id;
use microbench_formats::record::{FailureReason, Record};
use microbench_formats::workload::Workload;
use microbench_study::engine::machine;
use sha2::{Digest, Sha256};
use tracing::debug;

use crate::host::counters::memory;
use crate::host::interference::{self, Watcher};
use crate::host::resources::net;
use crate::parts::Parts;
use crate::rendezvous::{Rendezvous, WindowCpu};
use crate::sys;
use crate::terminal::log;
use crate::vm::shared::Shared;
use crate::vm::{Folders, Held, NotSupported, SnapshotError, Vm, VmReport, VmSpec};

/// One execution of (attempt at) a trial.
#[derive(Clone, Copy, Debug)]
pub struct TrialExecution<'a> {
    /// Name of the run. The nonces of the VMs are derived from it and from the numbers below.
    pub run: &'a str,
    /// Index of the trial in the plan.
    pub index: u32,
    /// Number of the attempt, from 0.
    pub attempt: u32,
    /// The trial is a warm-up: it has one VM, and its values do not count.
    pub warmup: bool,
    /// Instrument that the VMMs run under; `None` in a timed trial.
    pub instrument: Option<Instrument>,
    pub cell: &'a Cell,
    /// Workloads of each VM, in order.
    pub workloads: &'a [Workload],
    /// Engine, settings and files of the VMs.
    pub parts: &'a Parts,
}

impl TrialExecution<'_> {
    /// Returns the number of VMs of this trial.
    #[must_use]
    pub fn vms(&self) -> u32 {
        if self.warmup { 1 } else { self.cell.concurrency }
    }

    /// Returns the [`vm_id`] of this trial's VM `vm`.
    #[must_use]
    pub fn vm_id(&self, vm: u32) -> String {
        vm_id(self.index, self.warmup, self.attempt, vm)
    }

    /// Executes the trial. `watcher` detects interference.
    ///
    /// Returns all records from `TrialStart` to `TrialEnd`. A failure is a record, too.
    #[must_use]
    pub fn execute(&self, folders: Folders<'_>, watcher: &mut Watcher) -> Vec<Record> {
        let mut records = vec![Record::TrialStart {
            trial: self.index,
            attempt: self.attempt,
            cell: self.cell.id.to_string(),
            warmup: self.warmup,
            emulated_host: None,
        }];
        let leftovers = interference::leftover_processes();
        // Open until all measurements are done, including that of the runner's own CPU time.
        let (window, dropped) = (log::open_timed_window(), log::dropped_events());
        let (available, cpu_before) = (memory::available_bytes(), sys::process_cpu_ns());
        let shared = Shared::new();
        let prepare = |vm| -> anyhow::Result<Vm> {
            let shared = shared.as_ref().map_err(|error| anyhow!("{error:#}"))?;
            let (id, &Self { cell, instrument, workloads, parts, .. }) = (self.vm_id(vm), self);
            let spec = VmSpec { vm, id: &id, cell, instrument, workloads, parts, folders, shared };
            Vm::prepare(spec, &self.nonce(vm))
        };
        let prepared: Vec<Result<Vm, VmReport>> =
            (0..self.vms()).map(|vm| prepare(vm).map_err(|error| preparation_failed(vm, &error))).collect();
        let watched = watcher.begin(leftovers);
        // The cell requires N VMs at the same time: if one of them cannot be prepared, none is released.
        let (mut reports, window_cpu) = if prepared.iter().all(Result::is_ok) {
            run_vms(prepared.into_iter().flatten().collect(), available)
        } else {
            let not_released = |(vm, prepared): (u32, Result<Vm, VmReport>)| match prepared {
                Ok(prepared) => not_released(vm, prepared),
                Err(report) => report,
            };
            ((0..).zip(prepared).map(not_released).collect(), WindowCpu::default())
        };
        let cpu_ns = sys::process_cpu_ns().saturating_sub(cpu_before) as f64;
        // The host resources are released before the trial is recorded, and after everything is measured.
        net::remove_links(reports.iter_mut().filter_map(|report| report.held.link.take()));
        let networked = machine::networked(&self.parts.engine, &self.parts.guest);
        let of_runner = runner_readings(cpu_ns, window_cpu, networked, &reports);
        for (report, vm) in reports.iter_mut().zip(0..) {
            report.add_trial_readings(vm, &of_runner);
        }
        let ok = reports.iter().filter(|report| report.ok).count();
        let failed = reports.len() - ok;
        let kernel_error = |(report, vm): (&VmReport, u32)| Some(format!("VM {vm}: {}", report.kernel_error.as_ref()?));
        let disturbed = watched.end(reports.iter().zip(0..).filter_map(kernel_error).collect());
        drop(window);
        // More than zero is a bug: code that logs in a timed window takes its time.
        debug!(
            trial = self.index,
            attempt = self.attempt,
            dropped = log::dropped_events() - dropped,
            "timed window closed"
        );
        records.extend(reports.into_iter().flat_map(|report| report.records));
        records.extend(disturbed);
        records.push(Record::TrialEnd {
            trial: self.index,
            attempt: self.attempt,
            ok: u32::try_from(ok).unwrap_or(u32::MAX),
            failed: u32::try_from(failed).unwrap_or(u32::MAX),
        });
        records
    }

    /// Returns the nonce of VM `vm`: 16 hex digits that are unique across all VMs of all runs.
    fn nonce(&self, vm: u32) -> String {
        let digest = Sha256::digest(format!("{}/{}", self.run, self.vm_id(vm)));
        digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Why a guest without a network has no first response; begins with
/// [`NOT_APPLICABLE`](microbench_formats::record::NOT_APPLICABLE).
const NO_NETWORK: &str = "not applicable: the guest has no network";

/// A reading that is the same for all VMs of a trial: name, unit, and the value or why it is missing.
type TrialReading = (&'static str, &'static str, Result<f64, String>);

/// Returns the readings of the runner's CPU time: `cpu_ns` with preparation, `window` in the timed window. `networked`:
/// the guests have a network, by which they respond.
fn runner_readings(cpu_ns: f64, window: WindowCpu, networked: bool, reports: &[VmReport]) -> [TrialReading; 4] {
    let value = |ns: Option<u64>, missing: &str| ns.map(|ns| ns as f64).ok_or_else(|| missing.to_owned());
    let whole = value(window.whole, "a VMM of the trial was not started");
    let share = whole.clone().and_then(|whole| match all_vmm_cpu_ns(reports)? {
        vmms if vmms > 0.0 => Ok(whole / vmms),
        _ => Err("the VMMs used no CPU time".to_owned()),
    });
    let no_response = match networked {
        true => "a VM of the trial did not respond",
        false => NO_NETWORK,
    };
    [
        (reading::RUNNER_CPU_TIME, "ns", Ok(cpu_ns)),
        (reading::RUNNER_WINDOW_CPU_TIME, "ns", whole),
        (reading::RUNNER_STARTUP_CPU_TIME, "ns", value(window.startup, no_response)),
        (reading::RUNNER_SHARE, "1", share),
    ]
}

/// Returns the CPU time of all VMMs of a trial, ns.
///
/// # Errors
/// Returns the reason if that of a VMM is missing: the VMM was not started, or ran under an instrument.
fn all_vmm_cpu_ns(reports: &[VmReport]) -> Result<f64, String> {
    let of_vmm = |record: &Record| match record {
        Record::Reading { name, value, .. } if name == reading::VMM_CPU_TIME => *value,
        _ => None,
    };
    let of_report = |(report, vm): (&VmReport, u32)| {
        let found = report.records.iter().find_map(of_vmm);
        found.ok_or_else(|| format!("`{}` of VM {vm} is missing", reading::VMM_CPU_TIME))
    };
    reports.iter().zip(0..).map(of_report).sum()
}

impl VmReport {
    /// Adds the readings that are known once every VM of the trial has exited: whether this VM completed, and
    /// those `of_runner`.
    fn add_trial_readings(&mut self, vm: u32, of_runner: &[TrialReading]) {
        let not_applicable =
            |record: &Record| matches!(record, Record::Failure { reason: FailureReason::NotApplicable, .. });
        if self.records.iter().any(not_applicable) {
            return;
        }
        let completed = (reading::VM_COMPLETED, "1", Ok(f64::from(u8::from(self.ok))));
        let readings = of_runner.iter().chain([&completed]).map(|(name, unit, value)| {
            let (value, reason) = match value {
                Ok(value) => (Some(*value), String::new()),
                Err(reason) => (None, reason.clone()),
            };
            Record::Reading { vm, name: (*name).to_owned(), value, unit: (*unit).to_owned(), reason }
        });
        // A failure stays the last record.
        let at = self.records.len() - usize::from(!self.ok);
        drop(self.records.splice(at..at, readings.collect::<Vec<_>>()));
    }
}

/// Runs the prepared VMs, each on a thread of its own. Also returns the runner's CPU time in the timed window.
fn run_vms(vms: Vec<Vm>, available: Option<u64>) -> (Vec<VmReport>, WindowCpu) {
    let rendezvous = Rendezvous::new(vms.len(), available);
    let reports = std::thread::scope(|scope| {
        let threads: Vec<_> = vms.into_iter().map(|vm| scope.spawn(|| vm.run(&rendezvous))).collect();
        threads
            .into_iter()
            .zip(0..)
            .map(|(thread, vm)| thread.join().unwrap_or_else(|_| failure(vm, "the thread of the VM panicked")))
            .collect()
    });
    (reports, rendezvous.window_cpu())
}

fn preparation_failed(vm: u32, error: &anyhow::Error) -> VmReport {
    let mut report = failure(vm, &format!("{error:#}"));
    if let Some(Record::Failure { reason, .. }) = report.records.first_mut() {
        if error.is::<NotSupported>() {
            *reason = FailureReason::NotApplicable;
        }
        if let Some(error) = error.downcast_ref::<SnapshotError>() {
            *reason = error.reason;
        }
    }
    report
}

fn not_released(vm: u32, prepared: Vm) -> VmReport {
    let report = failure(vm, "not released: another VM of the trial could not be prepared");
    VmReport { held: prepared.into_held(), ..report }
}

fn failure(vm: u32, message: &str) -> VmReport {
    let record =
        Record::Failure { vm, reason: FailureReason::Host, stage: "spawn".into(), message: message.to_owned() };
    VmReport { records: vec![record], ok: false, kernel_error: None, held: Held::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(vm: u32, cpu_ns: Option<f64>) -> VmReport {
        let reading = |value| Record::Reading {
            vm,
            name: reading::VMM_CPU_TIME.into(),
            value: Some(value),
            unit: "ns".into(),
            reason: String::new(),
        };
        VmReport {
            records: cpu_ns.map(reading).into_iter().collect(),
            ok: true,
            kernel_error: None,
            held: Held::default(),
        }
    }

    #[test]
    fn cpu_time_up_to_the_response_is_not_applicable_without_a_network() {
        let window = WindowCpu { startup: None, whole: Some(50) };
        let reports = [report(0, Some(1.0))];
        for (networked, reason) in
            [(true, "a VM of the trial did not respond"), (false, "not applicable: the guest has no network")]
        {
            let [_, _, (name, _, value), _] = runner_readings(70.0, window, networked, &reports);
            assert_eq!((name, value), (reading::RUNNER_STARTUP_CPU_TIME, Err(reason.to_owned())));
        }
    }

    #[test]
    fn share_of_the_runner_is_over_all_vmms_and_missing_without_one_of_them() {
        let window = WindowCpu { startup: Some(30), whole: Some(50) };
        let share = |cpu: &[Option<f64>], window| {
            let reports: Vec<VmReport> = cpu.iter().zip(0..).map(|(cpu, vm)| report(vm, *cpu)).collect();
            let [.., (name, unit, share)] = runner_readings(70.0, window, true, &reports);
            assert_eq!((name, unit), (reading::RUNNER_SHARE, "1"));
            share
        };
        assert_eq!(share(&[Some(400.0), Some(600.0)], window), Ok(0.05));
        assert_eq!(share(&[Some(400.0), None], window), Err("`vmm.cpu_time` of VM 1 is missing".into()));
        assert_eq!(share(&[Some(0.0)], window), Err("the VMMs used no CPU time".into()));
        assert_eq!(share(&[Some(400.0)], WindowCpu::default()), Err("a VMM of the trial was not started".into()));
    }
}
