//! The addresses of VMs: one /24 of 10.0.0.0/8 each, as in the 2019 paper: host `10.x.y.1`, guest `10.x.y.2`.

use std::net::Ipv4Addr;

/// The addresses of VM `vm` of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The host's end, `10.x.y.1`.
    pub host: Ipv4Addr,
    /// The guest's end, `10.x.y.2`.
    pub guest: Ipv4Addr,
    /// The guest's MAC address: locally administered, from its IP address.
    pub mac: [u8; 6],
    /// The tap's, from the host's IP address: a guest that is restored on another tap sends to the one that it knows.
    pub host_mac: [u8; 6],
}

/// VMs that the address plan has room for: one /24 of 10.0.0.0/8 each.
pub const MAX_VMS: u32 = 1 << 16;

impl Addresses {
    /// Addresses of VM number `vm`, below [`MAX_VMS`].
    #[must_use]
    pub fn of(vm: u32) -> Self {
        let [_, _, x, y] = (vm % MAX_VMS).to_be_bytes();
        let [host, guest] = [1, 2].map(|end| (Ipv4Addr::new(10, x, y, end), [0x06, 0x00, 10, x, y, end]));
        Self { host: host.0, guest: guest.0, mac: guest.1, host_mac: host.1 }
    }

    /// The MAC address as `06:00:0a:00:00:02`.
    #[must_use]
    pub fn mac_text(&self) -> String {
        self.mac.map(|byte| format!("{byte:02x}")).join(":")
    }
}
