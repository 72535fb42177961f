//! How long it takes to lend many VMs what they need of the host, and to take it back: a clone of a disk, a tap with its addresses and
//! its neighbour.

use std::path::Path;

use anyhow::{Context, bail};
use microbench_study::engine::addresses::Addresses;
use nix::net::if_::if_nametoindex;
use serde::Serialize;

use crate::host::resources::disk::Disk;
use crate::host::resources::net::{self, Link, Tap};
use crate::sandbox::isolation::Isolation;
use crate::sys::clock::Instant;

/// What it came to, ns.
#[derive(Debug, Serialize)]
pub struct Lent {
    /// The clones, their owners set.
    pub clone_ns: u64,
    /// The taps, with addresses and neighbours, up.
    pub tap_ns: u64,
    /// All of it removed.
    pub remove_ns: u64,
}

/// Lends `vms` VMs clones of `image` in the new folder `folder`, and taps; then removes both. The caller must be in a sandbox.
///
/// # Errors
/// When the host cannot lend something.
pub fn measure(vms: u32, image: &Path, folder: &Path) -> anyhow::Result<Lent> {
    std::fs::create_dir(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let begun = Instant::now();
    for vm in 0..vms {
        let disk = Disk::clone_of(image, folder.join(vm.to_string()))?;
        Isolation::of(vm).give(disk.path())?;
    }
    let cloned = Instant::now();
    let link = |vm| Ok(Link::Tap(Tap::create(vm, &Addresses::of(vm), true, Isolation::of(vm).owner())?));
    let links = (0..vms).map(link).collect::<anyhow::Result<Vec<_>>>()?;
    let lent = Instant::now();
    let names: Vec<String> = links.iter().map(|link| link.name().to_owned()).collect();
    net::remove(links);
    std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    let removed = Instant::now();
    if let Some(left) = names.iter().find(|name| if_nametoindex(name.as_str()).is_ok()) {
        bail!("{left} is still there");
    }
    Ok(Lent { clone_ns: cloned.0 - begun.0, tap_ns: lent.0 - cloned.0, remove_ns: removed.0 - lent.0 })
}
