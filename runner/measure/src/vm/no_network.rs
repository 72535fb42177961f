//! A guest without a network. It cannot be sent requests: its agent prints its statistics on the console and
//! then ends the VM.

use microbench_agent::Stats;
use microbench_formats::event::{self, reading};
use microbench_formats::record::FailureReason;

use super::Vm;
use super::failure::VmFailure;
use super::process::VmmProcess;
use crate::guest::console::{Console, Marks, StatsLine};
use crate::probe;
use crate::sys::clock::Instant;

/// Why values that require the guest's network are missing.
const NO_NETWORK: &str = "the guest has no network";

impl Vm {
    /// Runs the VM from the start of its process until the guest ends it.
    pub(super) fn run_without_network(&mut self, process: &VmmProcess, console: &Console) -> Result<(), VmFailure> {
        let deadline = Instant::now().after(self.deadlines.boot);
        if let Some(api) = self.launch.api.clone() {
            self.configure(&api, process, deadline)?;
        }
        let exited = probe::wait_exit(process.exited(), deadline)
            .map_err(|error| VmFailure::new(FailureReason::Host, event::EXIT, error))?;
        self.exited_at = Some(Instant::now());
        if self.instrument_output.is_none() {
            // The kernel reports the isolation of a process until it is reaped. An instrument is the parent
            // of the VMM, which has already exited.
            self.check_isolation(process.id())?;
        }
        let seconds = self.deadlines.boot.as_secs();
        let timed_out = |stage, what: &str| {
            let message = format!("{what} within {seconds} s of the start");
            Err(VmFailure::new(FailureReason::Timeout, stage, message))
        };
        match (exited, console.marks().ready) {
            (true, _) => Ok(()),
            (false, None) => timed_out(event::AGENT_READY, "the agent's mark did not appear on the console"),
            (false, Some(_)) => timed_out(event::EXIT, "the VMM did not exit"),
        }
    }

    /// Records the values that the console of an exited VM shows.
    pub(super) fn record_console(&mut self, marks: Marks, stats: Option<&StatsLine>) -> Result<(), VmFailure> {
        let invalid = |message: &str| VmFailure::new(FailureReason::Protocol, event::AGENT_READY, message);
        let ready = marks.ready.ok_or_else(|| invalid("the VMM exited, but the agent's mark is not on the console"))?;
        let stats = stats.ok_or_else(|| invalid("the agent's statistics are not on the console"))?;
        let received = stats.at;
        let stats: Stats = serde_json::from_slice(&stats.json)
            .map_err(|error| invalid(&format!("the agent's statistics on the console are not valid: {error}")))?;
        self.record_guest(&stats, ready, received).map_err(|error| VmFailure::from((error, event::AGENT_READY)))?;
        for name in [event::HTTP_OK, event::STOP_REQUESTED, event::STOP_ACKNOWLEDGED] {
            self.missing_event(name, NO_NETWORK.into());
        }
        for workload in std::mem::take(&mut self.workloads) {
            self.missing_reading(&reading::workload_reading(workload.metric(), "duration"), "ns", NO_NETWORK.into());
        }
        self.missing_reading(reading::VMM_KVM_EXITS, "1", "the VMM exited before its VM exits could be read".into());
        Ok(())
    }
}
