//! One trial: N VMs prepared, released together behind one barrier, each run to its end.

pub mod budget;
pub mod execution;

use std::path::Path;

use anyhow::anyhow;
use microbench_formats::cell::Cell;
use microbench_formats::event::reading;
use microbench_formats::instrument::Instrument;
pub use microbench_formats::record::vm_id;
use microbench_formats::record::{FailureReason, Record};
use microbench_formats::workload::Workload;
use sha2::{Digest, Sha256};
use tracing::debug;

use crate::host::counters::memory;
use crate::host::interference::Watcher;
use crate::host::resources::net;
use crate::parts::Parts;
use crate::rendezvous::Together;
use crate::sys;
use crate::terminal::log;
use crate::vm::shared::Shared;
use crate::vm::{Folders, NotHere, NotTaken, Report, Vm, Wanted};

/// One execution of a cell.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    /// Name of the run; with the numbers below it makes every VM's nonce.
    pub run: &'a str,
    /// Index in the plan.
    pub index: u32,
    /// 0 for the first execution, more after a cut-off.
    pub attempt: u32,
    /// A warm-up: never counted, and always one VM.
    pub warmup: bool,
    /// What is attached to its VMMs.
    pub instrument: Option<Instrument>,
    /// The cell.
    pub cell: &'a Cell,
    /// What its VMs do.
    pub workloads: &'a [Workload],
    /// What its VMs are made of.
    pub parts: &'a Parts,
}

impl Trial<'_> {
    /// VMs of this trial.
    #[must_use]
    pub fn vms(&self) -> u32 {
        if self.warmup { 1 } else { self.cell.concurrency }
    }

    /// [`vm_id`] of this trial's VM `vm`.
    #[must_use]
    pub fn vm_id(&self, vm: u32) -> String {
        vm_id(self.index, self.warmup, self.attempt, vm)
    }

    /// Executes the trial under the eyes of `watcher`. `scratch` is where its sockets and clones live, `console` takes the console logs.
    ///
    /// # Returns
    /// Every record, from `TrialStart` to `TrialEnd`; what fails is a record too.
    #[must_use]
    pub fn execute(&self, scratch: &Path, console: &Path, watcher: &mut Watcher) -> Vec<Record> {
        let mut records = vec![Record::TrialStart {
            trial: self.index,
            attempt: self.attempt,
            cell: self.cell.id.to_string(),
            warmup: self.warmup,
        }];
        let folders = Folders { scratch, console };
        // Until nothing is measured any more, the runner's own CPU time included.
        let (window, dropped) = (log::timed(), log::dropped());
        let (available, cpu_before) = (memory::available(), sys::process_cpu_ns());
        let shared = Shared::new();
        let prepare = |vm| -> anyhow::Result<Vm> {
            let shared = shared.as_ref().map_err(|error| anyhow!("{error:#}"))?;
            let (id, &Self { cell, instrument, workloads, parts, .. }) = (self.vm_id(vm), self);
            let wanted = Wanted { vm, id: &id, cell, instrument, workloads, parts, folders, shared };
            Vm::prepare(wanted, &self.nonce(vm))
        };
        let prepared: Vec<Result<Vm, Report>> =
            (0..self.vms()).map(|vm| prepare(vm).map_err(|error| unprepared(vm, &error))).collect();
        let watched = watcher.begin();
        // A trial is N VMs at once or it is not that cell: if one cannot be had, none is released.
        let mut reports: Vec<Report> = if prepared.iter().all(Result::is_ok) {
            release(prepared.into_iter().flatten().collect(), available)
        } else {
            (0..).zip(prepared).map(|(vm, vm_or)| vm_or.map_or_else(|report| report, |it| unreleased(vm, it))).collect()
        };
        let cpu_ns = sys::process_cpu_ns().saturating_sub(cpu_before) as f64;
        // What was lent is gone before the trial is on record, and after everything that is measured.
        net::remove(reports.iter_mut().filter_map(|report| report.link.take()));
        for (report, vm) in reports.iter_mut().zip(0..) {
            report.account(vm, cpu_ns);
        }
        let ok = reports.iter().filter(|report| report.ok).count();
        let failed = reports.len() - ok;
        let complaint = |(report, vm): (&Report, u32)| Some(format!("VM {vm}: {}", report.complaint.as_ref()?));
        let disturbed = watched.end(reports.iter().zip(0..).filter_map(complaint).collect());
        drop(window);
        // More than zero would be a defect: what emits events in a timed window takes its time.
        debug!(trial = self.index, attempt = self.attempt, dropped = log::dropped() - dropped, "timed window closed");
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

    /// 16 hex digits that no other VM of any run has.
    fn nonce(&self, vm: u32) -> String {
        let digest = Sha256::digest(format!("{}/{}", self.run, self.vm_id(vm)));
        digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Report {
    /// Adds what is known once every VM of the trial has ended: whether this one completed, and the runner's CPU time, ns.
    fn account(&mut self, vm: u32, cpu_ns: f64) {
        let refused = |record: &Record| matches!(record, Record::Failure { reason: FailureReason::NotApplicable, .. });
        if self.records.iter().any(refused) {
            return;
        }
        let completed = f64::from(u8::from(self.ok));
        // A failure stays the last.
        let at = self.records.len() - usize::from(!self.ok);
        for (name, value, unit) in [(reading::RUNNER_CPU_TIME, cpu_ns, "ns"), (reading::VM_COMPLETED, completed, "1")] {
            let (name, unit) = (name.to_owned(), unit.to_owned());
            self.records.insert(at, Record::Reading { vm, name, value: Some(value), unit, reason: String::new() });
        }
    }
}

fn release(vms: Vec<Vm>, available: Option<u64>) -> Vec<Report> {
    let together = Together::of(vms.len(), available);
    std::thread::scope(|scope| {
        let threads: Vec<_> = vms.into_iter().map(|vm| scope.spawn(|| vm.run(&together))).collect();
        threads
            .into_iter()
            .zip(0..)
            .map(|(thread, vm)| thread.join().unwrap_or_else(|_| failure(vm, "the runner's thread panicked")))
            .collect()
    })
}

fn unprepared(vm: u32, error: &anyhow::Error) -> Report {
    let mut report = failure(vm, &format!("{error:#}"));
    if let Some(Record::Failure { reason, .. }) = report.records.first_mut() {
        if error.is::<NotHere>() {
            *reason = FailureReason::NotApplicable;
        }
        if let Some(not_taken) = error.downcast_ref::<NotTaken>() {
            *reason = not_taken.reason;
        }
    }
    report
}

fn unreleased(vm: u32, prepared: Vm) -> Report {
    let report = failure(vm, "not released: another VM of the trial could not be prepared");
    Report { link: prepared.into_link(), ..report }
}

fn failure(vm: u32, message: &str) -> Report {
    let record =
        Record::Failure { vm, reason: FailureReason::Host, stage: "spawn".into(), message: message.to_owned() };
    Report { records: vec![record], ok: false, complaint: None, link: None }
}
