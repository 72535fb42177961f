//! Workloads of a VM, recorded as events and readings.

use microbench_formats::event::{self, reading};

use super::Vm;
use super::failure::VmFailure;
use crate::workload::PreparedWorkload;

impl Vm {
    pub(super) fn run_workload(&mut self, workload: &PreparedWorkload) -> Result<(), VmFailure> {
        self.event(event::WORKLOAD_BEGIN);
        let values = workload.run(&self.guest);
        let values = values.map_err(|error| VmFailure::from((error, event::WORKLOAD_END)))?;
        self.event(event::WORKLOAD_END);
        for (name, value, unit) in values {
            self.reading(&reading::workload_reading(workload.metric(), name), value, unit);
        }
        Ok(())
    }
}
