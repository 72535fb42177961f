//! Network of a VM: one tap interface and one /24 network for each VM, as in the 2019 paper. The host has `10.x.y.1`,
//! the guest `10.x.y.2`. A guest that shares the host's kernel has a veth pair ([`veth`](super::veth)) instead of the
//! tap.
//!
//! The interfaces are in the sandbox's network namespace, which forwards nothing between them ([`set_up_namespace`]).
//!
//! A permanent neighbour entry avoids the host's ARP request, whose retry after one second would quantise start-up
//! times. A study can turn the entry off to show this effect.

use std::path::Path;
use std::{fs, io};

use anyhow::Context;
use microbench_formats::code::Code;
use microbench_study::engine::addresses::Addresses;

use super::netlink::{self, InterfaceSettings};
use super::veth::{NamespaceGuard, Veth};
use crate::requirement::MissingRequirements;
use crate::sys;

/// Name of the host's interface for VM `vm`.
pub(super) fn interface_of(vm: u32) -> String {
    format!("mb{vm}")
}

/// Network link between the host and a VM; removed on drop.
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

    /// Moves the calling thread to the network namespace in which the VM must be started, until the guard is dropped;
    /// `None` for a VMM, which starts in this namespace.
    ///
    /// # Errors
    /// The error of `setns(2)`.
    pub fn enter_namespace(&self) -> io::Result<Option<NamespaceGuard>> {
        match self {
            Self::Tap(_) => Ok(None),
            Self::Veth(veth) => veth.enter_namespace().map(Some),
        }
    }
}

/// Removes the links of VMs that have ended. One request removes all of them, because one request for each link would
/// wait as long every time.
pub fn remove_links(links: impl IntoIterator<Item = Link>) {
    let mut links: Vec<Link> = links.into_iter().collect();
    let take_name = |link: &mut Link| match link {
        Link::Tap(tap) => std::mem::take(&mut tap.name),
        Link::Veth(veth) => veth.take_name(),
    };
    let names: Vec<String> = links.iter_mut().map(take_name).collect();
    netlink::remove_interfaces(&names);
}

/// A tap interface with an address; removed on drop.
#[derive(Debug)]
pub struct Tap {
    /// Empty once the interface has been removed.
    name: String,
}

impl Tap {
    /// Creates the tap interface of VM `vm`, sets the host's address and brings it up. User `owner` may attach to it.
    /// With `neighbour`, the guest has a permanent neighbour entry.
    ///
    /// # Errors
    /// [`Code::NoTap`] if the interface cannot be created; else that of the netlink request that failed.
    pub fn create(vm: u32, addresses: &Addresses, neighbour: bool, owner: u32) -> anyhow::Result<Self> {
        let name = interface_of(vm);
        sys::tap_create(&name, owner).with_context(|| {
            Code::NoTap.with_message(format!(
                "cannot create the tap interface {name}: check that /dev/net/tun exists and that this user may open it"
            ))
        })?;
        let tap = Self { name };
        let guest = [(addresses.guest, addresses.mac)];
        let settings = InterfaceSettings {
            mac: Some(addresses.host_mac),
            address: Some((addresses.host, 24)),
            neighbours: if neighbour { &guest } else { &[] },
        };
        netlink::bring_up(&tap.name, settings)?;
        Ok(tap)
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            netlink::remove_interfaces(&[std::mem::take(&mut self.name)]);
        }
    }
}

/// Sets up a new network namespace, whose settings are initially those of the host:
/// - the loopback interface is up;
/// - forwarding is off, so that guests cannot reach each other;
/// - a packet is dropped if its source address does not belong to the interface (`rp_filter`);
/// - IPv6 is off, because it is not used.
///
/// # Errors
/// [`MissingRequirements`] without CAP_NET_ADMIN. If a setting cannot be written, or that of the netlink request.
pub fn set_up_namespace() -> anyhow::Result<()> {
    netlink::bring_up("lo", InterfaceSettings::default()).map_err(|error| match error.kind() {
        // Root of a container can have CAP_SYS_ADMIN, which creates the namespace, without CAP_NET_ADMIN.
        io::ErrorKind::PermissionDenied => MissingRequirements::single(
            Code::NoNamespace,
            format!("no permission to configure the network of the sandbox: {error}"),
            "run with the capability CAP_NET_ADMIN, for example `docker run --cap-add NET_ADMIN`",
        )
        .into(),
        _ => anyhow::Error::from(error),
    })?;
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
            // A kernel without IPv6 has no such file.
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
    fn each_vm_has_its_own_subnet_and_mac_address() {
        let first = Addresses::for_vm(0);
        assert_eq!(first.host, Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(first.mac_text(), "06:00:0a:00:00:02");
        let far = Addresses::for_vm(1000);
        assert_eq!(far.guest, Ipv4Addr::new(10, 3, 232, 2));
        assert_eq!(far.mac_text(), "06:00:0a:03:e8:02");
    }
}
