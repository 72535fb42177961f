//! Requests to the kernel over rtnetlink(7).

use std::os::fd::AsRawFd;

use anyhow::Context;
use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use nix::sys::socket::{self, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};

/// Most bytes of the kernel's answer to a request: a header, a number, and the request again.
const ANSWER_LIMIT: usize = 4 << 10;
/// The group of interfaces that are removed together; any number but 0, which all interfaces begin with.
const REMOVED: u32 = 0x6d62;

/// One request to the kernel, in the calling thread's network namespace; waits for the acknowledgement, which is there when the request
/// has been sent.
pub(super) fn request(message: RouteNetlinkMessage, flags: u16) -> anyhow::Result<()> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    let family = socket::AddressFamily::Netlink;
    let netlink = socket::socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)
        .context("cannot open a netlink socket")?;
    socket::sendto(netlink.as_raw_fd(), &bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty()).context("cannot send")?;
    let mut answer = [0; ANSWER_LIMIT];
    let length = socket::recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty()).context("no answer")?;
    match NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer[..length])?.payload {
        NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io().into()),
        _ => Ok(()),
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
