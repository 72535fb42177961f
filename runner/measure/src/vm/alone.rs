//! A guest without a network: nobody can ask it anything, so its agent says on the console what it would be asked for, and ends its
//! machine.

use microbench_agent::Stats;
use microbench_formats::event::{self, reading};
use microbench_formats::record::FailureReason;

use super::Vm;
use super::failed::Failed;
use super::process::Process;
use crate::guest::console::{Console, Marks};
use crate::probe;
use crate::sys::clock::Instant;

/// Why what is asked over the network is missing.
const NO_NETWORK: &str = "the guest has no network to be asked over";

impl Vm {
    /// From the running process to its exit, which the guest brings about.
    pub(super) fn see(&mut self, process: &Process, console: &Console) -> Result<(), Failed> {
        let deadline = Instant::now().after(self.deadlines.boot);
        if let Some(api) = self.launch.api.clone() {
            self.configure(&api, process, deadline)?;
        }
        let gone = probe::wait_exit(process.exited(), deadline)
            .map_err(|error| Failed::new(FailureReason::Host, event::EXIT, error))?;
        self.ended = Some(Instant::now());
        if self.counts.is_none() {
            // The kernel says it of a process until it is reaped. An instrument is not the VMM, which has ended below
            // it.
            self.isolated(process.id())?;
        }
        let seconds = self.deadlines.boot.as_secs();
        let late = |stage, what: &str| {
            let message = format!("{what} within {seconds} s of the start");
            Err(Failed::new(FailureReason::Timeout, stage, message))
        };
        match (gone, console.marks().ready) {
            (true, _) => Ok(()),
            (false, None) => late(event::AGENT_READY, "the agent's mark was not on the console"),
            (false, Some(_)) => late(event::EXIT, "the VMM had not ended"),
        }
    }

    /// What the console shows of a VM that has ended.
    pub(super) fn seen(&mut self, marks: Marks, stats: Option<&[u8]>) -> Result<(), Failed> {
        let wrong = |message: &str| Failed::new(FailureReason::Protocol, event::AGENT_READY, message);
        let ready = marks.ready.ok_or_else(|| wrong("the VMM ended, and the agent's mark is not on the console"))?;
        let stats = stats.ok_or_else(|| wrong("the agent's statistics are not on the console"))?;
        let stats: Stats = serde_json::from_slice(stats)
            .map_err(|error| wrong(&format!("the agent's statistics on the console are wrong: {error}")))?;
        self.stats(&stats);
        self.derive(ready, &stats);
        for name in [event::HTTP_OK, event::STOP_REQUESTED, event::STOP_ACKNOWLEDGED] {
            self.no_event(name, NO_NETWORK.into());
        }
        for task in std::mem::take(&mut self.tasks) {
            self.no_reading(&reading::of_work(task.metric(), "duration"), "ns", NO_NETWORK.into());
        }
        self.no_reading(reading::VMM_KVM_EXITS, "1", "the VMM was gone before it could be counted".into());
        Ok(())
    }
}
