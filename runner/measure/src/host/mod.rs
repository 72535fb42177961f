//! The host: resources of VMs (interfaces, disks, huge pages), counters, interference, facts about the machine.

pub mod counters;
pub mod interference;
pub mod machine;
pub mod resources;
