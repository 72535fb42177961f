//! The network of a guest that shares the host's kernel: a network namespace of its own, joined to the runner's by a veth pair that has
//! the names and addresses of a tap and of the interface behind it.
//!
//! Nothing outlives a killed runner: the namespace ends with its last process and the runner's descriptor, and both ends with it.

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

use super::net::{interface_of, isolate};
use super::netlink::{self, Settings, request};

/// The calling thread's network namespace.
const OWN_SPACE: &str = "/proc/thread-self/ns/net";
/// The guest's interface, named as in a guest with a kernel of its own.
const GUEST_INTERFACE: &str = "eth0";

/// A veth pair and the namespace of its far end; removed when dropped.
#[derive(Debug)]
pub struct Veth {
    name: String,
    space: File,
}

impl Veth {
    /// Makes the pair of VM `vm`: the near end as [`Tap::create`](super::net::Tap::create) makes a tap, the far end in a namespace of its
    /// own with the guest's addresses and a route to everywhere, as the kernel's `ip=` parameter gives a guest. Any user may listen on any
    /// port in there.
    ///
    /// # Errors
    /// When the kernel refuses; the context names the step.
    pub fn create(vm: u32, addresses: &Addresses, neighbour: bool) -> anyhow::Result<Self> {
        let name = interface_of(vm);
        let space = on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
            File::open(OWN_SPACE).with_context(|| format!("cannot open {OWN_SPACE}"))
        })?;
        request(RouteNetlinkMessage::NewLink(pair(&name, &space, addresses.mac)), NLM_F_CREATE | NLM_F_EXCL)
            .with_context(|| format!("cannot make the veth pair {name}"))?;
        let veth = Self { name, space };
        let guest = [(addresses.guest, addresses.mac)];
        let settings = Settings {
            mac: None,
            address: Some((addresses.host, 24)),
            neighbours: if neighbour { &guest } else { &[] },
        };
        netlink::bring_up(&veth.name, settings)?;
        on_a_thread(|| {
            setns(&veth.space, CloneFlags::CLONE_NEWNET).context("cannot enter the guest's network namespace")?;
            isolate()?;
            let settings = Settings { address: Some((addresses.guest, 24)), ..Settings::default() };
            netlink::bring_up(GUEST_INTERFACE, settings)?;
            request(RouteNetlinkMessage::NewRoute(route_by(addresses)), NLM_F_CREATE | NLM_F_EXCL)
                .with_context(|| format!("cannot enter a route by {}", addresses.host))?;
            let ports = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
            fs::write(ports, "0").with_context(|| format!("cannot write {ports}"))
        })?;
        Ok(veth)
    }

    /// Name of the near end.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is removed with others, and not when this is dropped.
    pub(super) fn disown(&mut self) -> String {
        std::mem::take(&mut self.name)
    }

    /// Takes the calling thread into the guest's namespace until the result is dropped: what it starts meanwhile stays there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn enter(&self) -> io::Result<Inside> {
        let home = File::open(OWN_SPACE)?;
        setns(&self.space, CloneFlags::CLONE_NEWNET)?;
        Ok(Inside { home })
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        // Asked for, because a namespace is taken down some time after its end, and the next trial takes the same name.
        if !self.name.is_empty() {
            netlink::remove(&[std::mem::take(&mut self.name)]);
        }
    }
}

/// The calling thread is in a guest's network namespace; back in its own when dropped.
#[derive(Debug)]
pub struct Inside {
    home: File,
}

impl Drop for Inside {
    fn drop(&mut self) {
        // It could be left, so it can be entered again.
        let _ = setns(&self.home, CloneFlags::CLONE_NEWNET);
    }
}

/// The near end `name` in this namespace, the far end in `space` with the guest's MAC address.
fn pair(name: &str, space: &File, mac: [u8; 6]) -> LinkMessage {
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName(GUEST_INTERFACE.into()),
        LinkAttribute::Address(mac.to_vec()),
        LinkAttribute::NetNsFd(space.as_raw_fd()),
    ];
    let veth = vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer)))];
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfName(name.into()), LinkAttribute::LinkInfo(veth)];
    message
}

/// The route to everywhere by the host's end.
fn route_by(addresses: &Addresses) -> RouteMessage {
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

/// Does `task` on a thread of its own, whose namespaces are nobody else's business.
fn on_a_thread<T: Send>(task: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("network".into()).spawn_scoped(scope, task);
        let joined = thread.context("cannot start a thread")?.join();
        joined.unwrap_or_else(|_| Err(anyhow::anyhow!("the thread that sets a network up panicked")))
    })
}
