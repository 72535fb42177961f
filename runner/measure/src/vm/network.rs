//! A VM's network on the host's side.

use anyhow::Context as _;
use microbench_formats::event;
use microbench_study::engine::machine;

use super::prepare::Assembly;
use crate::guest::ready_datagram::Announcements;
use crate::host::resources::net::{Link, Tap};
use crate::host::resources::veth::Veth;
use crate::parts::Parts;

/// A VM's network on the host's side.
#[derive(Debug)]
pub(super) struct Net {
    pub(super) announcements: Announcements,
    /// Held for the VM's life.
    pub(super) link: Link,
}

impl Net {
    fn on(link: Link) -> anyhow::Result<Self> {
        let announcements = Announcements::on(link.name())
            .with_context(|| format!("cannot listen for announcements on {}", link.name()))?;
        Ok(Self { announcements, link })
    }
}

impl Assembly<'_> {
    /// The VM's network; `None` for a guest that is seen on its console alone.
    pub(super) fn network(&mut self) -> anyhow::Result<Option<Net>> {
        let (vm, Parts { engine, guest, .. }) = (self.wanted.vm, self.wanted.parts);
        self.event(event::TAP_BEGIN);
        let link = match (machine::networked(engine, guest), engine.guest.shares_kernel()) {
            (false, _) => None,
            (true, false) => {
                Some(Link::Tap(Tap::create(vm, &self.addresses, guest.neighbour, self.isolation.owner())?))
            }
            (true, true) => Some(Link::Veth(Veth::create(vm, &self.addresses, guest.neighbour)?)),
        };
        self.event(event::TAP_END);
        link.map(Net::on).transpose()
    }
}
