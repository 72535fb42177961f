//! What the host and the guest agent say to each other: HTTP/1.1 on port 80 of the guest, JSON bodies.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /` | 200, `text/plain`: 20 x 4096 bytes of [`INDEX_FILE`] were read with `O_DIRECT`, then a short greeting |
//! | `GET /stats` | 200, [`Stats`] |
//! | `GET /file?bytes=N` | 200: the first N bytes of [`INDEX_FILE`], read through the page cache |
//! | `GET /stream?bytes=N` | 200: N bytes of [`work::Stream`] |
//! | `POST /stream` with any number of bytes up to [`work::MOST_BYTES`] | 200, [`work::StreamReply`] |
//! | `POST /work` with [`work::WorkRequest`] | 200, [`work::WorkReply`] |
//! | `POST /shutdown` | 202, empty; then the guest syncs and ends its machine: [`END_PARAMETER`]; without a kernel of its own the agent exits with code 0 |
//!
//! Every answer carries the header [`NONCE_HEADER`] with the value of [`NONCE_PARAMETER`] on the kernel's command
//! line, so that the host can tell this VM's answer from any other's.

pub mod kernel_log;
pub mod work;

use serde::{Deserialize, Serialize};

/// TCP port of the agent.
pub const PORT: u16 = 80;
/// Header of every answer; its value is the VM's nonce.
pub const NONCE_HEADER: &str = "x-microbench-nonce";
/// Kernel command line parameter that carries the nonce: `microbench.nonce=<hex>`.
pub const NONCE_PARAMETER: &str = "microbench.nonce";
/// Kernel command line parameter of a guest that nobody can ask: with the value `off` the agent prints [`STATS_MARK`] right after
/// its ready mark, and ends the machine.
pub const NETWORK_PARAMETER: &str = "microbench.network";
/// Kernel command line parameter that says how the agent ends its machine: with the value `power-off` by powering it off, else by
/// restarting it.
pub const END_PARAMETER: &str = "microbench.end";
/// Kernel command line parameter of a guest whose boot is traced: with the value `on` the agent makes its mark right after `listen(2)`.
pub const MARKS_PARAMETER: &str = "microbench.marks";
/// I/O port of a guest's marks, to which no machine here has a device.
pub const MARK_PORT: u16 = 0xf4;
/// The agent's mark: this byte, written to [`MARK_PORT`] by `/dev/port` (`port(4)`).
pub const MARK: u8 = 0x33;
/// A guest without a network prints this on the console, with the nonce and [`Stats`] as JSON after spaces, in one line.
pub const STATS_MARK: &str = "microbench-agent: stats";
/// The agent prints this and a newline on the console right after `listen(2)`; the nonce follows the mark after a space.
pub const READY_MARK: &str = "microbench-agent: ready";
/// The agent prints this on the console right before it asks the kernel to restart.
pub const RESTART_MARK: &str = "microbench-agent: restart";
/// UDP port of the host to which the agent sends one datagram, to the limited broadcast address, right after `listen(2)`: the
/// nonce, so that the host need not poll. It is no answer, only a reason to ask.
pub const ANNOUNCE_PORT: u16 = 80;
/// Disk of the guest that disk work reads and writes: the one that its root file system is on, behind which the host has put a region
/// for it.
pub const DISK: &str = "/dev/vda";
/// File of the root file system that `GET /` reads, 81,920 bytes or more.
pub const INDEX_FILE: &str = "/srv/index.bin";
/// `GET /` reads this many blocks ...
pub const INDEX_BLOCKS: usize = 20;
/// ... of this many bytes.
pub const INDEX_BLOCK_BYTES: usize = 4096;
/// Seed of [`fill_pseudo_random`] for the bytes of [`INDEX_FILE`], as images hold it.
pub const INDEX_SEED: u64 = 4096;

/// Answer to `GET /stats`. Stamps are the guest kernel's own (`printk`) time since its boot. An agent without a kernel of its own
/// (`--shared-kernel`) tells nothing of a kernel's log, and its instants on `CLOCK_MONOTONIC`, which is the host's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stats {
    /// Messages in the kernel log (records that the kernel wrote, facility 0).
    pub kernel_messages: u64,
    /// Stamp of the last kernel message, microseconds; `None` for an empty log.
    pub last_message_us: Option<u64>,
    /// Stamp of the message `Run <path> as init process`, microseconds: the kernel hands over to init.
    pub init_us: Option<u64>,
    /// Stamp of the message that the random pool is seeded (`random: crng init done`), microseconds.
    pub random_seeded_us: Option<u64>,
    /// Stamp of `random: fast init done`, microseconds; kernels since 5.18 have no such message.
    pub random_fast_init_us: Option<u64>,
    /// When the agent began to listen, nanoseconds on the clock of the stamps; `None` when it cannot tell on that clock.
    pub listening_ns: Option<u64>,
    /// When it last answered `GET /` with 200, just before the answer was sent, or without a network wrote its ready mark; as
    /// `listening_ns`.
    pub answered_ns: Option<u64>,
    /// `/proc/uptime`, milliseconds.
    pub uptime_ms: u64,
    /// `/proc/cmdline` without its newline.
    pub cmdline: String,
    /// Kernel release (`uname -r`).
    pub kernel_release: String,
    /// CPUs that the guest sees online.
    pub cpus: u32,
    /// CPU model name in `/proc/cpuinfo`.
    pub cpu_model: String,
    /// `MemTotal`, bytes.
    pub memory_bytes: u64,
    /// Source of the guest's time (`/sys/devices/system/clocksource/clocksource0/current_clocksource`).
    pub clocksource: String,
}

/// Fills `buffer` with the pseudo-random bytes that both sides know: SplitMix64 (Steele, Lea & Flood, 2014) from
/// `seed`, little-endian.
pub fn fill_pseudo_random(buffer: &mut [u8], seed: u64) {
    let mut state = seed;
    for chunk in buffer.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        chunk.copy_from_slice(&z.to_le_bytes()[..chunk.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First outputs of SplitMix64 for seed 1234567, as published with the reference implementation.
    #[test]
    fn the_filler_is_splitmix64() {
        let mut buffer = [0_u8; 20];
        fill_pseudo_random(&mut buffer, 1_234_567);
        assert_eq!(u64::from_le_bytes(buffer[0..8].try_into().unwrap()), 6_457_827_717_110_365_317);
        assert_eq!(u64::from_le_bytes(buffer[8..16].try_into().unwrap()), 3_203_168_211_198_807_973);
        assert_eq!(&buffer[16..], &9_817_491_932_198_370_423_u64.to_le_bytes()[..4]);
    }
}
