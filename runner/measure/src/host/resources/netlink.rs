//! Requests to the kernel over rtnetlink(7).

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

/// Most bytes of the kernel's answer to a request: a header, a number, and the request again.
const ANSWER_LIMIT: usize = 4 << 10;
/// The group of interfaces that are removed together; any number but 0, which all interfaces begin with.
const REMOVED: u32 = 0x6d62;

/// What an interface is given as it is brought up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings<'a> {
    /// Its MAC address; `None` for the one that it has.
    pub mac: Option<[u8; 6]>,
    /// Its IPv4 address with the length of the prefix.
    pub address: Option<(Ipv4Addr, u8)>,
    /// Permanent neighbours: who is at which MAC address.
    pub neighbours: &'a [(Ipv4Addr, [u8; 6])],
}

/// Gives the interface `name` of the calling thread's network namespace its settings, and brings it up.
///
/// # Errors
/// When the kernel refuses; the message names the step.
pub fn bring_up(name: &str, settings: Settings<'_>) -> io::Result<()> {
    let index =
        if_nametoindex(name).map_err(|error| step(io::Error::from(error), &format!("find the interface {name}")))?;
    let mut requests = vec![(link_up(index, settings.mac), 0)];
    let replace = NLM_F_CREATE | NLM_F_REPLACE;
    requests.extend(settings.address.map(|(ip, prefix)| (address(index, ip, prefix), replace)));
    requests.extend(settings.neighbours.iter().map(|&(ip, mac)| (neighbour(index, ip, mac), replace)));
    send(requests).map_err(|Refused { at, error }| {
        let neighbours = usize::from(settings.address.is_some()) + 1;
        match (at, settings.address) {
            (0, _) => step(error, &format!("bring the interface {name} up")),
            (1, Some((ip, prefix))) => step(error, &format!("give {name} the address {ip}/{prefix}")),
            _ => {
                let ip = settings.neighbours.get(at.wrapping_sub(neighbours)).map_or(Ipv4Addr::UNSPECIFIED, |n| n.0);
                step(error, &format!("enter {ip} as a neighbour on {name}"))
            }
        }
    })
}

/// `error` with what could not be done.
fn step(error: io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {what}: {error}"))
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

/// One request to the kernel, in the calling thread's network namespace.
pub(super) fn request(message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    send(vec![(message, flags)]).map_err(|refused| refused.error)
}

/// Which of several requests the kernel refused first, and why.
#[derive(Debug)]
struct Refused {
    at: usize,
    error: io::Error,
}

/// Requests to the kernel, each with its flags, in the calling thread's network namespace; at least one. All are sent at once and carried
/// out in order, also those after one that is refused. The answers are there when the requests have been sent: one for each that
/// is refused, and one for the last.
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
        .map_err(|error| failed(step(error.into(), "open a netlink socket")))?;
    socket::sendto(netlink.as_raw_fd(), &bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty())
        .map_err(|error| failed(step(error.into(), "send to the kernel")))?;
    let mut first = None;
    loop {
        let mut answer = [0; ANSWER_LIMIT];
        let length = socket::recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty())
            .map_err(|error| failed(step(error.into(), "hear from the kernel")))?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer[..length])
            .map_err(|error| failed(io::Error::other(error.to_string())))?;
        let at = answer.header.sequence_number as usize;
        if let NetlinkPayload::Error(error) = answer.payload
            && error.code.is_some()
        {
            first.get_or_insert(Refused { at, error: error.to_io() });
        }
        if at == last {
            return first.map_or(Ok(()), Err);
        }
    }
}

/// Removes the interfaces `names` of the calling thread's network namespace, those that are there, and returns when they are gone. The
/// kernel waits for all who may still use an interface, tens of milliseconds: once for all of them, not for each.
pub(super) fn remove(names: &[String]) {
    let link = |attributes| {
        let mut message = LinkMessage::default();
        message.attributes = attributes;
        message
    };
    let name = |name: &String| LinkAttribute::IfName(name.clone());
    // A failure leaks nothing beyond the run, whose namespace takes them along.
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

    /// Does `task` with the tap `mb0` on a thread in a network namespace of its own, which goes with it; prints why where none can be had.
    fn apart(task: impl FnOnce() + Send) {
        let thread = || -> io::Result<()> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            sys::tap_create("mb0", 0)?;
            task();
            Ok(())
        };
        let done = std::thread::scope(|scope| scope.spawn(thread).join().unwrap());
        if let Err(error) = done {
            println!("skipped: no network namespace or no tap can be made here ({error})");
        }
    }

    #[test]
    fn an_interface_has_the_addresses_and_the_neighbours_that_it_was_given() {
        let (own, other) = (Ipv4Addr::new(10, 3, 2, 1), Ipv4Addr::new(10, 3, 2, 2));
        let [mac, other_mac] = [[6, 0, 10, 3, 2, 1], [6, 0, 10, 3, 2, 2]];
        apart(|| {
            let neighbours = &[(other, other_mac)];
            bring_up("mb0", Settings { mac: Some(mac), address: Some((own, 24)), neighbours }).unwrap();
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
            remove(&["mb0".to_owned()]);
            assert!(if_nametoindex("mb0").is_err());
        });
    }

    #[test]
    fn what_the_kernel_refuses_is_named_and_later_requests_are_carried_out() {
        apart(|| {
            let neighbours = &[(Ipv4Addr::new(10, 3, 2, 2), [6, 0, 10, 3, 2, 2])];
            let settings = Settings { mac: None, address: Some((Ipv4Addr::new(10, 3, 2, 1), 33)), neighbours };
            let said = |name| bring_up(name, settings).unwrap_err().to_string();
            assert!(said("mb1").starts_with("cannot find the interface mb1: "), "{}", said("mb1"));
            assert!(said("mb0").starts_with("cannot give mb0 the address 10.3.2.1/33: "), "{}", said("mb0"));
            assert!(std::fs::read_to_string("/proc/thread-self/net/arp").unwrap().contains("10.3.2.2 "));
        });
    }
}
