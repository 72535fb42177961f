//! One tap and one /24 a VM, as in the 2019 paper: host `10.x.y.1`, guest `10.x.y.2`. A guest that shares the host's kernel has a veth pair
//! ([`veth`](super::veth)) in place of the tap.
//!
//! The interfaces live in the network namespace of the process, which the sandbox made; nothing is forwarded between
//! them ([`isolate`]). A permanent neighbour entry spares the host its ARP request, whose retry after one second would quantise the
//! start-up time; a study may leave it out to show just that.

use std::path::Path;
use std::{fs, io};

use anyhow::Context;
use microbench_formats::code::Code;
use microbench_study::engine::addresses::Addresses;

use super::netlink::{self, Settings};
use super::veth::{Inside, Veth};
use crate::sys;

/// Name of the host's interface to VM `vm`.
pub(super) fn interface_of(vm: u32) -> String {
    format!("mb{vm}")
}

/// What joins a VM to the host; removed when dropped.
#[derive(Debug)]
pub enum Link {
    /// A tap, for a VMM.
    Tap(Tap),
    /// A veth pair, for a guest that shares the host's kernel.
    Veth(Veth),
}

impl Link {
    /// Name of the host's interface.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Tap(tap) => tap.name(),
            Self::Veth(veth) => veth.name(),
        }
    }

    /// Takes the calling thread to where the VM's first process must be started, until the result is dropped: a VMM's is here.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn enter(&self) -> io::Result<Option<Inside>> {
        match self {
            Self::Tap(_) => Ok(None),
            Self::Veth(veth) => veth.enter().map(Some),
        }
    }
}

/// Removes the links of VMs that have ended, and returns when they are gone: all at once, because each by itself would wait as long.
pub fn remove(links: impl IntoIterator<Item = Link>) {
    let mut links: Vec<Link> = links.into_iter().collect();
    let disown = |link: &mut Link| match link {
        Link::Tap(tap) => std::mem::take(&mut tap.name),
        Link::Veth(veth) => veth.disown(),
    };
    let names: Vec<String> = links.iter_mut().map(disown).collect();
    netlink::remove(&names);
}

/// A tap interface with its address; removed when dropped.
#[derive(Debug)]
pub struct Tap {
    name: String,
}

impl Tap {
    /// Makes the tap of VM `vm`, gives it the host's address and brings it up; with `neighbour`, enters the guest's
    /// MAC address for good. The user `owner` may attach to it.
    ///
    /// # Errors
    /// When the kernel refuses; the context names the step and the remedy.
    pub fn create(vm: u32, addresses: &Addresses, neighbour: bool, owner: u32) -> anyhow::Result<Self> {
        let name = interface_of(vm);
        sys::tap_create(&name, owner).with_context(|| {
            Code::NoTap.says(format!(
                "cannot create the tap interface {name} (is /dev/net/tun there, and may this user open it?)"
            ))
        })?;
        let tap = Self { name };
        let guest = [(addresses.guest, addresses.mac)];
        let settings = Settings {
            mac: Some(addresses.host_mac),
            address: Some((addresses.host, 24)),
            neighbours: if neighbour { &guest } else { &[] },
        };
        netlink::bring_up(&tap.name, settings)?;
        Ok(tap)
    }

    /// The interface's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            netlink::remove(&[std::mem::take(&mut self.name)]);
        }
    }
}

/// Sets a fresh network namespace up: loopback; nothing is forwarded, so that no guest reaches another; a packet counts only on the
/// tap that its sender's address belongs to; no IPv6, which nothing here speaks. A namespace begins with the machine's own values.
///
/// # Errors
/// When the kernel refuses.
pub fn isolate() -> anyhow::Result<()> {
    netlink::bring_up("lo", Settings::default())?;
    for (name, value) in [
        ("ipv4/ip_forward", "0"),
        ("ipv4/conf/all/rp_filter", "1"),
        ("ipv4/conf/default/rp_filter", "1"),
        ("ipv4/conf/all/arp_ignore", "1"),
        ("ipv6/conf/all/disable_ipv6", "1"),
        ("ipv6/conf/default/disable_ipv6", "1"),
    ] {
        let path = Path::new("/proc/sys/net").join(name);
        match fs::write(&path, value) {
            // A kernel without IPv6 has nothing to switch off.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            written => written.with_context(|| format!("cannot set {} to {value}", path.display()))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn each_vm_has_its_own_subnet_and_mac() {
        let first = Addresses::of(0);
        assert_eq!(first.host, Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(first.mac_text(), "06:00:0a:00:00:02");
        let far = Addresses::of(1000);
        assert_eq!(far.guest, Ipv4Addr::new(10, 3, 232, 2));
        assert_eq!(far.mac_text(), "06:00:0a:03:e8:02");
    }
}
