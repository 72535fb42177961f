//! What the host lends a VM, and takes back: a network interface and a disk.

pub mod disk;
pub mod net;
