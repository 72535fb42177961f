//! Host resources of a VM: network interfaces, disks, huge pages, the page cache.

pub mod disk;
pub mod huge_pages;
pub mod net;
pub mod netlink;
pub mod page_cache;
pub mod veth;
