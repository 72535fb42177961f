//! Addresses of VMs. Each VM has its own /24 of 10.0.0.0/8, as in the 2019 paper: host `10.x.y.1`, guest `10.x.y.2`.

use std::net::Ipv4Addr;

/// IP and MAC addresses of a VM.
///
/// ```
/// use microbench_study::engine::addresses::Addresses;
///
/// let addresses = Addresses::for_vm(258);
/// assert_eq!(addresses.guest.to_string(), "10.1.2.2");
/// assert_eq!(addresses.mac_text(), "06:00:0a:01:02:02");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Address of the host, `10.x.y.1`.
    pub host: Ipv4Addr,
    /// Address of the guest, `10.x.y.2`.
    pub guest: Ipv4Addr,
    /// MAC address of the guest, derived from its IP address and locally administered.
    pub mac: [u8; 6],
    /// MAC address of the tap, derived from the host's IP address: a guest restored on another tap keeps using it.
    pub host_mac: [u8; 6],
}

/// Maximum number of VMs: the number of /24 networks in 10.0.0.0/8.
pub const MAX_VMS: u32 = 1 << 16;

impl Addresses {
    /// The addresses of VM number `vm`, modulo [`MAX_VMS`].
    #[must_use]
    pub fn for_vm(vm: u32) -> Self {
        let [_, _, x, y] = (vm % MAX_VMS).to_be_bytes();
        let [host, guest] = [1, 2].map(|end| (Ipv4Addr::new(10, x, y, end), [0x06, 0x00, 10, x, y, end]));
        Self { host: host.0, guest: guest.0, mac: guest.1, host_mac: host.1 }
    }

    /// The guest's MAC address as text, for instance `06:00:0a:00:00:02`.
    #[must_use]
    pub fn mac_text(&self) -> String {
        self.mac.map(|byte| format!("{byte:02x}")).join(":")
    }
}
