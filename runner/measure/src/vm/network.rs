//! The host's end of a VM's network.

use anyhow::Context as _;
use microbench_formats::event;
use microbench_study::engine::machine;

use super::prepare::VmBuilder;
use crate::guest::ready_datagram::ReadySocket;
use crate::host::resources::net::{Link, Tap};
use crate::host::resources::veth::Veth;
use crate::parts::Parts;

/// Host's end of a VM's network.
#[derive(Debug)]
pub(super) struct VmNetwork {
    pub(super) ready_socket: ReadySocket,
    /// Removed with the links of the trial's other VMs.
    pub(super) link: Link,
}

impl VmNetwork {
    fn new(link: Link) -> anyhow::Result<Self> {
        let ready_socket = ReadySocket::bind(link.name())
            .with_context(|| format!("cannot receive ready datagrams on {}", link.name()))?;
        Ok(Self { ready_socket, link })
    }
}

impl VmBuilder<'_> {
    /// Creates the VM's network; `None` for a guest without one.
    pub(super) fn prepare_network(&mut self) -> anyhow::Result<Option<VmNetwork>> {
        let (vm, Parts { engine, guest, .. }) = (self.spec.vm, self.spec.parts);
        self.event(event::TAP_BEGIN);
        let link = match (machine::networked(engine, guest), engine.guest.shares_kernel()) {
            (false, _) => None,
            (true, false) => {
                Some(Link::Tap(Tap::create(vm, &self.addresses, guest.neighbour, self.isolation.owner())?))
            }
            (true, true) => Some(Link::Veth(Veth::create(vm, &self.addresses, guest.neighbour)?)),
        };
        self.event(event::TAP_END);
        link.map(VmNetwork::new).transpose()
    }
}
