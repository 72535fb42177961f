//! A guest that scans addresses it must not reach: the host's ports, the host's other addresses, and other guests.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use microbench_measure::host::resources::netlink::{self, InterfaceSettings};
use microbench_study::engine::addresses::Addresses;

const INTERFACE: &str = "eth0";
/// Number of possible guests to scan.
const GUESTS: u32 = 4;

/// Connects to every address. Returns a line with the number of addresses and the addresses that accepted.
pub(crate) fn scan_all() -> String {
    // Map every address of 10.0.0.0/8 to the host's MAC address: the host receives the packets and may forward them.
    let own = own_address();
    let [_, x, y, _] = own.octets();
    let host = Ipv4Addr::new(10, x, y, 1);
    let mac = neighbour_mac(host);
    let others: Vec<Addresses> =
        (0..GUESTS).map(Addresses::for_vm).filter(|addresses| addresses.guest != own).collect();
    let mut targets: Vec<(Ipv4Addr, u16)> = (1..=u16::MAX).map(|port| (host, port)).collect();
    let mut neighbours = Vec::new();
    for addresses in &others {
        for ip in [addresses.host, addresses.guest] {
            neighbours.push((ip, mac));
            targets.extend([22, 80, 111, 443, 8080].map(|port| (ip, port)));
        }
    }
    netlink::bring_up(INTERFACE, InterfaceSettings { mac: None, address: Some((own, 8)), neighbours: &neighbours })
        .expect("an interface");
    let (next, reached) = (Mutex::new(targets.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                loop {
                    let Some(&(ip, port)) = next.lock().expect("a lock").next() else { return };
                    let address = SocketAddr::V4(SocketAddrV4::new(ip, port));
                    if TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_ok() {
                        reached.lock().expect("a lock").push(address.to_string());
                    }
                }
            });
        }
    });
    let reached = reached.into_inner().expect("a lock");
    format!("scanned {} addresses, reached {}: {}", targets.len(), reached.len(), reached.join(" "))
}

fn own_address() -> Ipv4Addr {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
    // Connecting a UDP socket selects its local address and sends no packet.
    (0..GUESTS)
        .map(Addresses::for_vm)
        .find(|addresses| {
            socket.connect((addresses.host, 9)).is_ok()
                && socket.local_addr().is_ok_and(|address| address.ip() == addresses.guest)
        })
        .expect("an address of the plan")
        .guest
}

/// The MAC address of `ip` in the kernel's neighbour table, which has an entry since the runner connected.
fn neighbour_mac(ip: Ipv4Addr) -> [u8; 6] {
    let table = std::fs::read_to_string("/proc/net/arp").expect("the neighbour table");
    let line = table.lines().find(|line| line.split_whitespace().next() == Some(&ip.to_string())).expect("the host");
    microbench_measure::selftest::fake_guest::parse_mac(line.split_whitespace().nth(3).expect("a column"))
        .expect("a MAC")
}
