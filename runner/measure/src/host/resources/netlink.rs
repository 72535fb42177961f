//! Configures network interfaces over rtnetlink(7).

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressHeader, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkHeader, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourHeader, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{self, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};

/// Most bytes of a reply of the kernel: a header, an error number and a copy of the request.
const REPLY_LIMIT: usize = 4 << 10;
/// Group of the interfaces that are removed together: any number except 0, the default group.
const REMOVED: u32 = 0x6d62;

/// Settings of a network interface.
#[derive(Clone, Copy, Debug, Default)]
pub struct InterfaceSettings<'a> {
    /// The new MAC address; `None` to keep the current one.
    pub mac: Option<[u8; 6]>,
    /// IPv4 address and prefix length.
    pub address: Option<(Ipv4Addr, u8)>,
    /// Permanent neighbour entries: IPv4 address and MAC address.
    pub neighbours: &'a [(Ipv4Addr, [u8; 6])],
}

/// Applies the settings to interface `name` of the calling thread's network namespace, and brings it up.
///
/// # Errors
/// That of the kernel; the message names the step.
pub fn bring_up(name: &str, settings: InterfaceSettings<'_>) -> io::Result<()> {
    let index = if_nametoindex(name)
        .map_err(|error| with_step(io::Error::from(error), &format!("find the interface {name}")))?;
    let mut requests = vec![(link_up(index, settings.mac), 0)];
    let replace = NLM_F_CREATE | NLM_F_REPLACE;
    requests.extend(settings.address.map(|(ip, prefix)| (address(index, ip, prefix), replace)));
    requests.extend(settings.neighbours.iter().map(|&(ip, mac)| (neighbour(index, ip, mac), replace)));
    send(requests).map_err(|Refused { at, error }| {
        let neighbours = usize::from(settings.address.is_some()) + 1;
        match (at, settings.address) {
            (0, _) => with_step(error, &format!("bring up the interface {name}")),
            (1, Some((ip, prefix))) => with_step(error, &format!("set the address {ip}/{prefix} of {name}")),
            _ => {
                let ip = settings.neighbours.get(at.wrapping_sub(neighbours)).map_or(Ipv4Addr::UNSPECIFIED, |n| n.0);
                with_step(error, &format!("add the neighbour {ip} to {name}"))
            }
        }
    })
}

/// Adds the step that failed, as an infinitive, to `error`.
fn with_step(error: io::Error, step: &str) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {step}: {error}"))
}

fn link_up(index: u32, mac: Option<[u8; 6]>) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header = LinkHeader { index, flags: LinkFlags::Up, change_mask: LinkFlags::Up, ..LinkHeader::default() };
    message.attributes = mac.map(|mac| LinkAttribute::Address(mac.to_vec())).into_iter().collect();
    RouteNetlinkMessage::SetLink(message)
}

fn address(index: u32, ip: Ipv4Addr, prefix: u8) -> RouteNetlinkMessage {
    let hosts = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
    let mut message = AddressMessage::default();
    message.header =
        AddressHeader { family: AddressFamily::Inet, prefix_len: prefix, index, ..AddressHeader::default() };
    message.attributes = vec![
        AddressAttribute::Local(ip.into()),
        AddressAttribute::Address(ip.into()),
        AddressAttribute::Broadcast(Ipv4Addr::from(ip.to_bits() | hosts)),
    ];
    RouteNetlinkMessage::NewAddress(message)
}

fn neighbour(index: u32, ip: Ipv4Addr, mac: [u8; 6]) -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    message.header = NeighbourHeader {
        family: AddressFamily::Inet,
        ifindex: index,
        state: NeighbourState::Permanent,
        ..NeighbourHeader::default()
    };
    message.attributes = vec![
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)),
        NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
    ];
    RouteNetlinkMessage::NewNeighbour(message)
}

/// Sends one request to the kernel, in the calling thread's network namespace.
pub(super) fn request(message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    send(vec![(message, flags)]).map_err(|refused| refused.error)
}

/// The first of several requests that failed.
#[derive(Debug)]
struct Refused {
    /// Index of the request.
    at: usize,
    error: io::Error,
}

/// Sends requests to the kernel, each with its flags, in the calling thread's network namespace. There must be at least
/// one.
///
/// All requests are sent in one message. The kernel executes them in order and continues after a failed request. It
/// replies to each failed request and to the last request.
///
/// # Errors
/// The first request that failed.
fn send(requests: Vec<(RouteNetlinkMessage, u16)>) -> Result<(), Refused> {
    let failed = |error: io::Error| Refused { at: 0, error };
    let last = requests.len() - 1;
    let mut bytes = Vec::new();
    for (at, (message, flags)) in requests.into_iter().enumerate() {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags | if at == last { NLM_F_ACK } else { 0 };
        header.sequence_number = u32::try_from(at).unwrap_or(u32::MAX);
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let begin = bytes.len();
        bytes.resize(begin + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut bytes[begin..]);
    }
    let family = socket::AddressFamily::Netlink;
    let netlink = socket::socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)
        .map_err(|error| failed(with_step(error.into(), "open a netlink socket")))?;
    socket::sendto(netlink.as_raw_fd(), &bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty())
        .map_err(|error| failed(with_step(error.into(), "send requests to the kernel")))?;
    let mut first = None;
    loop {
        let mut reply = [0; REPLY_LIMIT];
        let length = socket::recv(netlink.as_raw_fd(), &mut reply, MsgFlags::empty())
            .map_err(|error| failed(with_step(error.into(), "receive the kernel's reply")))?;
        let reply = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&reply[..length])
            .map_err(|error| failed(io::Error::other(error.to_string())))?;
        let at = reply.header.sequence_number as usize;
        if let NetlinkPayload::Error(error) = reply.payload
            && error.code.is_some()
        {
            first.get_or_insert(Refused { at, error: error.to_io() });
        }
        if at == last {
            return first.map_or(Ok(()), Err);
        }
    }
}

/// Removes the interfaces `names` of the calling thread's network namespace; missing ones are ignored.
///
/// Each removal waits tens of milliseconds until the interface is unused (an RCU grace period). Several interfaces are
/// therefore removed by one request, as a group.
pub(super) fn remove_interfaces(names: &[String]) {
    let link = |attributes| {
        let mut message = LinkMessage::default();
        message.attributes = attributes;
        message
    };
    let name = |name: &String| LinkAttribute::IfName(name.clone());
    // Errors are ignored: the interfaces end with the run's network namespace.
    match names {
        [] => {}
        [only] => drop(request(RouteNetlinkMessage::DelLink(link(vec![name(only)])), 0)),
        several => {
            let group = LinkAttribute::Group(REMOVED);
            for each in several {
                drop(request(RouteNetlinkMessage::SetLink(link(vec![name(each), group.clone()])), 0));
            }
            drop(request(RouteNetlinkMessage::DelLink(link(vec![group])), 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sched::{CloneFlags, unshare};

    use super::*;
    use crate::sys;

    /// Runs `task` on a thread in a new network namespace with the tap `mb0`; prints a reason and skips `task` if that
    /// fails.
    fn in_new_namespace(task: impl FnOnce() + Send) {
        let thread = || -> io::Result<()> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            sys::tap_create("mb0", 0)?;
            task();
            Ok(())
        };
        let done = std::thread::scope(|scope| scope.spawn(thread).join().unwrap());
        if let Err(error) = done {
            println!("skipped: cannot create a network namespace with a tap ({error})");
        }
    }

    #[test]
    fn interface_has_the_addresses_and_neighbours_of_its_settings() {
        let (own, other) = (Ipv4Addr::new(10, 3, 2, 1), Ipv4Addr::new(10, 3, 2, 2));
        let [mac, other_mac] = [[6, 0, 10, 3, 2, 1], [6, 0, 10, 3, 2, 2]];
        in_new_namespace(|| {
            let neighbours = &[(other, other_mac)];
            bring_up("mb0", InterfaceSettings { mac: Some(mac), address: Some((own, 24)), neighbours }).unwrap();
            let found: Vec<_> =
                nix::ifaddrs::getifaddrs().unwrap().filter(|found| found.interface_name == "mb0").collect();
            let link = found.iter().find_map(|found| found.address?.as_link_addr()?.addr());
            assert_eq!(link, Some(mac));
            let ip = found.iter().find_map(|found| Some(found.address?.as_sockaddr_in()?.ip()));
            let mask = found.iter().find_map(|found| Some(found.netmask?.as_sockaddr_in()?.ip()));
            let broadcast = found.iter().find_map(|found| Some(found.broadcast?.as_sockaddr_in()?.ip()));
            assert_eq!(ip.zip(mask).zip(broadcast), Some(((own, [255, 255, 255, 0].into()), [10, 3, 2, 255].into())));
            assert!(found.iter().all(|found| found.flags.contains(nix::net::if_::InterfaceFlags::IFF_UP)));
            let table = std::fs::read_to_string("/proc/thread-self/net/arp").unwrap();
            let line = table.lines().find(|line| line.starts_with("10.3.2.2 ")).unwrap_or_default();
            // 0x6: complete and permanent.
            assert!(line.contains("0x6") && line.contains("06:00:0a:03:02:02") && line.ends_with("mb0"), "{table}");
            remove_interfaces(&["mb0".to_owned()]);
            assert!(if_nametoindex("mb0").is_err());
        });
    }

    #[test]
    fn error_names_the_failed_step_and_later_requests_are_executed() {
        in_new_namespace(|| {
            let neighbours = &[(Ipv4Addr::new(10, 3, 2, 2), [6, 0, 10, 3, 2, 2])];
            let settings = InterfaceSettings { mac: None, address: Some((Ipv4Addr::new(10, 3, 2, 1), 33)), neighbours };
            let message = |name| bring_up(name, settings).unwrap_err().to_string();
            assert!(message("mb1").starts_with("cannot find the interface mb1: "), "{}", message("mb1"));
            assert!(message("mb0").starts_with("cannot set the address 10.3.2.1/33 of mb0: "), "{}", message("mb0"));
            assert!(std::fs::read_to_string("/proc/thread-self/net/arp").unwrap().contains("10.3.2.2 "));
        });
    }
}
