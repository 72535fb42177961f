//! Cost of allocating and releasing the host resources of many VMs: a clone of a disk, and a tap with its
//! addresses and neighbour.

use std::path::Path;

use anyhow::{Context, bail};
use microbench_study::engine::addresses::Addresses;
use nix::net::if_::if_nametoindex;
use serde::Serialize;

use crate::host::resources::disk::Disk;
use crate::host::resources::net::{self, Link, Tap};
use crate::sandbox::isolation::Isolation;
use crate::sys::clock::Instant;

/// Measured times of all VMs.
#[derive(Debug, Serialize)]
pub struct HostResourceTimes {
    /// Creation of the disk clones, including the change of their owner, ns.
    pub clone_ns: u64,
    /// Creation of the taps, with addresses and neighbours, up to the state "up", ns.
    pub tap_ns: u64,
    /// Removal of all resources, ns.
    pub remove_ns: u64,
}

/// Allocates clones of `image` in the new folder `folder`, and taps, for `vms` VMs; then releases all of
/// them. The caller must be in a sandbox.
///
/// # Errors
/// Fails if a resource cannot be allocated or released.
pub fn measure(vms: u32, image: &Path, folder: &Path) -> anyhow::Result<HostResourceTimes> {
    std::fs::create_dir(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let started_at = Instant::now();
    for vm in 0..vms {
        let disk = Disk::clone_of(image, folder.join(vm.to_string()))?;
        Isolation::of_next_vm().chown_to_vmm(disk.path())?;
    }
    let cloned = Instant::now();
    let link = |vm| Ok(Link::Tap(Tap::create(vm, &Addresses::for_vm(vm), true, Isolation::of_next_vm().owner())?));
    let links = (0..vms).map(link).collect::<anyhow::Result<Vec<_>>>()?;
    let created = Instant::now();
    let names: Vec<String> = links.iter().map(|link| link.name().to_owned()).collect();
    net::remove_links(links);
    std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    let removed = Instant::now();
    if let Some(left) = names.iter().find(|name| if_nametoindex(name.as_str()).is_ok()) {
        bail!("the tap {left} was not removed");
    }
    Ok(HostResourceTimes {
        clone_ns: cloned.0 - started_at.0,
        tap_ns: created.0 - cloned.0,
        remove_ns: removed.0 - created.0,
    })
}
