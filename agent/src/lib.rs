//! The protocol between the host and the guest agent: HTTP/1.1 on port 80 of the guest, with JSON bodies.
//!
//! | request | response |
//! | --- | --- |
//! | `GET /` | 200, `text/plain`: a short text, after a read of 20 x 4096 bytes of [`INDEX_FILE`] with `O_DIRECT` |
//! | `GET /stats` | 200, [`Stats`] |
//! | `GET /file?bytes=N` | 200: the first N bytes of [`INDEX_FILE`], read through the page cache |
//! | `GET /stream?bytes=N` | 200: N bytes of [`workload::Stream`] |
//! | `POST /stream` with up to [`workload::MOST_BYTES`] bytes | 200, [`workload::StreamReply`] |
//! | `POST /work` with [`workload::WorkloadRequest`] | 200, [`workload::WorkloadReply`] |
//! | `POST /shutdown` | 202, a short text; then the guest syncs and ends its machine as [`END_PARAMETER`] states |
//!
//! After `POST /shutdown`, an agent that shares the kernel of the host exits with code 0 instead.
//!
//! Every response has the header [`NONCE_HEADER`]. Its value is that of [`NONCE_PARAMETER`] in the kernel parameters,
//! so that the host can detect a response of a different VM.

pub mod kernel_log;
pub mod workload;

use serde::{Deserialize, Serialize};

/// TCP port of the agent.
pub const PORT: u16 = 80;
/// Header of every response; its value is the nonce of the VM.
pub const NONCE_HEADER: &str = "x-microbench-nonce";
/// Kernel parameter with the nonce: `microbench.nonce=<hex>`.
pub const NONCE_PARAMETER: &str = "microbench.nonce";
/// Kernel parameter of a guest without a network. If its value is `off`, the agent prints [`STATS_MARK`] after its
/// ready line, then ends the machine.
pub const NETWORK_PARAMETER: &str = "microbench.network";
/// Kernel parameter that selects how the agent ends the machine: `power-off` powers it off, any other value restarts
/// it.
pub const END_PARAMETER: &str = "microbench.end";
/// Kernel parameter of a guest whose boot is traced. If its value is `on`, the agent writes [`MARK`] right after
/// `listen(2)`.
pub const MARKS_PARAMETER: &str = "microbench.marks";
/// I/O port that a traced guest writes its marks to. No supported VMM has a device at this port.
pub const MARK_PORT: u16 = 0xf4;
/// The mark of the agent: the byte that it writes to [`MARK_PORT`] through `/dev/port` (`port(4)`).
pub const MARK: u8 = 0x33;
/// Prefix of the console line on which a guest without a network prints the nonce and [`Stats`] as JSON, separated by
/// spaces.
pub const STATS_MARK: &str = "microbench-agent: stats";
/// Prefix of the ready line, which the agent prints on the console right after `listen(2)`. The nonce follows after a
/// space.
pub const READY_MARK: &str = "microbench-agent: ready";
/// The line that the agent prints on the console right before it requests the restart from the kernel.
pub const RESTART_MARK: &str = "microbench-agent: restart";
/// UDP port of the host for the ready datagram, which the agent broadcasts right after `listen(2)`.
///
/// The datagram contains the nonce. It lets the host wait instead of polling; the host then sends an HTTP request.
pub const READY_DATAGRAM_PORT: u16 = 80;
/// Disk that disk workloads access: the disk of the root file system. The host appends a region for the workload to it.
pub const DISK: &str = "/dev/vda";
/// File of the root file system that `GET /` reads; it has at least 81,920 bytes.
pub const INDEX_FILE: &str = "/srv/index.bin";
/// Number of blocks that `GET /` reads.
pub const INDEX_BLOCKS: usize = 20;
/// Size of a block that `GET /` reads.
pub const INDEX_BLOCK_BYTES: usize = 4096;
/// Seed of [`fill_pseudo_random`] for the contents of [`INDEX_FILE`].
pub const INDEX_SEED: u64 = 4096;

/// Response to `GET /stats`.
///
/// Time stamps are those of the guest kernel's log (`printk`), relative to its boot. An agent that shares the kernel of
/// the host (`--shared-kernel`) reports no log, and its instants are on `CLOCK_MONOTONIC` of the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stats {
    /// Number of messages of the kernel (facility 0) in its log.
    pub kernel_messages: u64,
    /// Time stamp of the last message of the kernel, microseconds; `None` for an empty log.
    pub last_message_us: Option<u64>,
    /// Time stamp of the message `Run <path> as init process`, microseconds.
    pub init_us: Option<u64>,
    /// Time stamp of the message that the random number generator is seeded (`random: crng init done`), microseconds.
    pub random_seeded_us: Option<u64>,
    /// Time stamp of `random: fast init done`, microseconds; kernels since 5.18 do not log it.
    pub random_fast_init_us: Option<u64>,
    /// Instant of the agent's `listen(2)`, nanoseconds on the clock of the time stamps; `None` if it is unknown on that
    /// clock.
    pub listening_ns: Option<u64>,
    /// Instant just before the last 200 response to `GET /`, on the same clock as `listening_ns`. Without a network,
    /// the instant of the ready line.
    pub answered_ns: Option<u64>,
    /// `/proc/uptime`, milliseconds.
    pub uptime_ms: u64,
    /// `/proc/cmdline` without its newline.
    pub cmdline: String,
    /// Kernel release (`uname -r`).
    pub kernel_release: String,
    pub cpus: u32,
    /// Model name of the CPU in `/proc/cpuinfo`.
    pub cpu_model: String,
    /// `MemTotal`, bytes.
    pub memory_bytes: u64,
    /// Clock source of the guest (`/sys/devices/system/clocksource/clocksource0/current_clocksource`); empty if
    /// unknown.
    pub clocksource: String,
}

/// Fills `buffer` with pseudo-random bytes that the host and the agent can both generate.
///
/// The generator is SplitMix64 (Steele, Lea & Flood, 2014); its words are written in little-endian order.
///
/// ```
/// let mut buffer = [0; 8];
/// microbench_agent::fill_pseudo_random(&mut buffer, 1_234_567);
/// assert_eq!(u64::from_le_bytes(buffer), 6_457_827_717_110_365_317);
/// ```
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
    fn fill_pseudo_random_is_splitmix64() {
        let mut buffer = [0_u8; 20];
        fill_pseudo_random(&mut buffer, 1_234_567);
        assert_eq!(u64::from_le_bytes(buffer[0..8].try_into().unwrap()), 6_457_827_717_110_365_317);
        assert_eq!(u64::from_le_bytes(buffer[8..16].try_into().unwrap()), 3_203_168_211_198_807_973);
        assert_eq!(&buffer[16..], &9_817_491_932_198_370_423_u64.to_le_bytes()[..4]);
    }
}
