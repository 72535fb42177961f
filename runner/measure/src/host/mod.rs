//! What the host lends a VM, and takes back: a network interface and a disk. And what it counts of a VM.

pub mod counters;
pub mod interference;
pub mod machine;
pub mod resources;
