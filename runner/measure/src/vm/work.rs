//! The work that a VM's guest is given, as events and readings.

use microbench_formats::event::{self, reading};

use super::Vm;
use super::failed::Failed;
use crate::workload::Task;

impl Vm {
    pub(super) fn work(&mut self, task: &Task) -> Result<(), Failed> {
        self.event(event::WORKLOAD_BEGIN);
        let values = task.perform(&self.guest);
        let values = values.map_err(|error| Failed::from((error, event::WORKLOAD_END)))?;
        self.event(event::WORKLOAD_END);
        for (name, value, unit) in values {
            self.reading(&reading::of_work(task.metric(), name), value, unit);
        }
        Ok(())
    }
}
