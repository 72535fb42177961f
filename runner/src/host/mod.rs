//! What the host lends a VM, and takes back: a network interface and a disk. And what it counts of a VM.

pub mod counts;
pub mod disk;
pub mod doctor;
pub mod facts;
pub mod huge_pages;
pub mod identity;
pub mod interference;
pub mod isolation;
pub mod kvm;
pub mod memory;
pub mod needs;
pub mod net;
mod netlink;
pub mod noise;
pub mod page_cache;
pub mod parse;
pub mod smaps;
pub mod strace;
pub mod trace;
pub mod tree;
pub mod tune;
pub mod veth;
