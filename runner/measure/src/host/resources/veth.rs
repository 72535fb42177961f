//! Network of a guest that shares the host's kernel: its own network namespace, and a veth pair to the runner's
//! namespace. Names and addresses are those of a tap interface and of the guest's interface behind it.
//!
//! Nothing outlives a killed runner. The namespace ends when its last process has ended and the runner's descriptor is
//! closed. The veth pair ends with the namespace.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;

use anyhow::Context;
use microbench_study::engine::addresses::Addresses;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::sched::{CloneFlags, setns, unshare};

use super::net::{interface_of, set_up_namespace};
use super::netlink::{self, InterfaceSettings, request};
use crate::sys::threads::on_new_thread;

/// The calling thread's network namespace.
const OWN_NAMESPACE: &str = "/proc/thread-self/ns/net";
/// Name of the guest's interface, as in a guest with its own kernel.
const GUEST_INTERFACE: &str = "eth0";

/// A veth pair and the network namespace of the guest; removed on drop.
#[derive(Debug)]
pub struct Veth {
    /// Empty once the pair has been removed.
    name: String,
    /// The guest's network namespace.
    namespace: File,
}

impl Veth {
    /// Creates the veth pair of VM `vm`. The host's end is set up like a tap (see
    /// [`Tap::create`](super::net::Tap::create)). The guest's end is in a new network namespace, with the guest's
    /// addresses and a default route, as the kernel parameter `ip=` sets them up. In that namespace, every user may
    /// listen on every port.
    ///
    /// # Errors
    /// That of the system call or netlink request that failed, with the name of the step.
    pub fn create(vm: u32, addresses: &Addresses, neighbour: bool) -> anyhow::Result<Self> {
        let name = interface_of(vm);
        let namespace = on_new_thread("network", || {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot create a network namespace")?;
            File::open(OWN_NAMESPACE).with_context(|| format!("cannot open {OWN_NAMESPACE}"))
        })?;
        request(
            RouteNetlinkMessage::NewLink(veth_message(&name, &namespace, addresses.mac)),
            NLM_F_CREATE | NLM_F_EXCL,
        )
        .with_context(|| format!("cannot create the veth pair {name}"))?;
        let veth = Self { name, namespace };
        let guest = [(addresses.guest, addresses.mac)];
        let settings = InterfaceSettings {
            mac: None,
            address: Some((addresses.host, 24)),
            neighbours: if neighbour { &guest } else { &[] },
        };
        netlink::bring_up(&veth.name, settings)?;
        on_new_thread("network", || {
            setns(&veth.namespace, CloneFlags::CLONE_NEWNET).context("cannot enter the guest's network namespace")?;
            set_up_namespace()?;
            let settings = InterfaceSettings { address: Some((addresses.guest, 24)), ..InterfaceSettings::default() };
            netlink::bring_up(GUEST_INTERFACE, settings)?;
            request(RouteNetlinkMessage::NewRoute(default_route(addresses)), NLM_F_CREATE | NLM_F_EXCL)
                .with_context(|| format!("cannot add a default route through {}", addresses.host))?;
            let ports = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
            fs::write(ports, "0").with_context(|| format!("cannot write {ports}"))
        })?;
        Ok(veth)
    }

    /// Name of the host's end.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes the name of the host's end. The caller removes the pair, and `drop` does not.
    pub(super) fn take_name(&mut self) -> String {
        std::mem::take(&mut self.name)
    }

    /// Moves the calling thread to the guest's network namespace until the guard is dropped. Processes started
    /// meanwhile stay in that namespace.
    ///
    /// # Errors
    /// The error of `setns(2)`.
    pub fn enter_namespace(&self) -> io::Result<NamespaceGuard> {
        let home = File::open(OWN_NAMESPACE)?;
        setns(&self.namespace, CloneFlags::CLONE_NEWNET)?;
        Ok(NamespaceGuard { home })
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        // Removed explicitly: the kernel removes a namespace with a delay, and the next trial uses the same name.
        if !self.name.is_empty() {
            netlink::remove_interfaces(&[std::mem::take(&mut self.name)]);
        }
    }
}

/// Returns the calling thread to its own network namespace on drop.
#[derive(Debug)]
pub struct NamespaceGuard {
    home: File,
}

impl Drop for NamespaceGuard {
    fn drop(&mut self) {
        // Cannot fail: this thread left the namespace with the same privileges.
        let _ = setns(&self.home, CloneFlags::CLONE_NEWNET);
    }
}

/// A request for a veth pair: the end `name` in this namespace, the other end in `namespace`, with the guest's MAC
/// address.
fn veth_message(name: &str, namespace: &File, mac: [u8; 6]) -> LinkMessage {
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName(GUEST_INTERFACE.into()),
        LinkAttribute::Address(mac.to_vec()),
        LinkAttribute::NetNsFd(namespace.as_raw_fd()),
    ];
    let veth = vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer)))];
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfName(name.into()), LinkAttribute::LinkInfo(veth)];
    message
}

/// A default route through the host's end.
fn default_route(addresses: &Addresses) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: AddressFamily::Inet,
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Boot,
        scope: RouteScope::Universe,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message.attributes = vec![RouteAttribute::Gateway(RouteAddress::Inet(addresses.host))];
    message
}
