//! Workloads of a guest: the request, the check of the result, and the values that are recorded.
//!
//! A guest times most kinds itself, on its own clock. Network traffic is timed here, on the host's clock:
//! requests to the guest's web service ([`http`]) and a stream over one connection ([`stream`]). Every result
//! is compared with the expected one, and every value with its bounds ([`bounds`]), before it is recorded.

mod connection;
mod http;
mod stream;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use microbench_agent::workload::{DiskRequest, Latency, WorkloadRequest, pseudo_random};
use microbench_formats::event::reading;
use microbench_formats::workload::{Workload, WorkloadKind};

use crate::guest::bounds::{self, Amount, OutOfBounds, Window};
use crate::guest::client::{AgentClient, GuestError, POST_WORK};
use crate::sys::clock::Instant;

/// Seed of the data that a workload processes.
const SEED: u64 = 2019;
/// Alignment of the disk regions of workloads, bytes.
const REGION_BYTES: u64 = 1 << 20;

/// Workload of one VM, with its request and its expected result.
#[derive(Debug)]
pub struct PreparedWorkload {
    workload: Workload,
    driver: Driver,
}

/// How a workload is run.
#[derive(Debug)]
enum Driver {
    /// By one request to the agent; the response must contain this checksum.
    Agent(WorkloadRequest, String),
    /// By requests for a static file.
    Http(http::Requests),
    Stream(stream::Direction),
}

/// Result of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Measurement {
    duration_ns: u64,
    /// Latency of single operations; `None` for kinds without.
    latency: Option<Latency>,
    /// Whether the guest hashed with the processor's SHA instructions; `None` for other kinds.
    sha_ni: Option<bool>,
}

/// Value of a workload: its name in the reading `workload.METRIC.NAME`, the value, and its unit in the journal.
pub type Value = (&'static str, f64, &'static str);

impl PreparedWorkload {
    /// Prepares the workloads of a VM. The regions of disk workloads lie one after the other behind
    /// `disk_bytes`, the size of the VM's disk image.
    #[must_use]
    pub fn prepare_all(workloads: &[Workload], disk_bytes: u64) -> Vec<Self> {
        let mut end = disk_bytes.next_multiple_of(REGION_BYTES);
        let mut prepare = |workload: &Workload| {
            let offset = end;
            if workload.disk.is_some() {
                end += workload.bytes.next_multiple_of(REGION_BYTES);
            }
            Self { workload: workload.clone(), driver: driver(workload, offset) }
        };
        workloads.iter().map(&mut prepare).collect()
    }

    /// Name of the metric that defines the workload.
    #[must_use]
    pub fn metric(&self) -> &str {
        &self.workload.metric
    }

    /// Returns the size of the workload's disk region, bytes; 0 if it does not use the disk.
    #[must_use]
    pub fn disk_region_bytes(workload: &Workload) -> u64 {
        workload.disk.map_or(0, |_| workload.bytes.next_multiple_of(REGION_BYTES))
    }

    /// Extends a disk by the regions of the workloads. A region that is read is filled; a region that is
    /// written stays a hole.
    ///
    /// # Errors
    /// Fails if the disk cannot be written.
    pub fn write_disk_regions(workloads: &[Self], disk: &File) -> io::Result<()> {
        for workload in workloads {
            let Driver::Agent(WorkloadRequest { kind, bytes, seed, disk: Some(region), .. }, _) = workload.driver
            else {
                continue;
            };
            disk.set_len(region.offset + bytes.next_multiple_of(REGION_BYTES))?;
            if kind == WorkloadKind::DiskRead {
                disk.write_all_at(&pseudo_random(usize::try_from(bytes).unwrap_or(0), seed), region.offset)?;
            }
        }
        Ok(())
    }

    /// Runs the workload in the guest and checks its result.
    ///
    /// # Errors
    /// [`GuestError`]: the response is missing or violates the protocol, or the result is wrong.
    pub fn run(&self, guest: &AgentClient) -> Result<Vec<Value>, GuestError> {
        let Workload { bytes, warmup, rounds, .. } = self.workload;
        let started_at = Instant::now();
        let (request, measured) = match &self.driver {
            Driver::Agent(request, expected) => (POST_WORK, run_in_agent(guest, *request, expected)?),
            Driver::Http(requests) => {
                let request = "GET /file";
                (request, guest.run_timed_traffic(request, requests.run(guest, warmup, rounds))?)
            }
            Driver::Stream(direction) => {
                let request = direction.request();
                let transfer = direction.transfer(guest, bytes, warmup, rounds);
                (request, guest.run_timed_traffic(request, transfer)?)
            }
        };
        let window = Window::of_request(started_at, Instant::now());
        self.check(measured, window).map_err(|error| GuestError::Protocol { request, problem: error.to_string() })?;
        Ok(self.values(measured))
    }

    /// Returns the amount of data of all rounds.
    fn amount(&self) -> Amount {
        let Workload { bytes, rounds, .. } = self.workload;
        let operation = match self.workload.kind {
            WorkloadKind::PageTouch => Some(microbench_agent::workload::PAGE_BYTES),
            WorkloadKind::Http => Some(bytes),
            _ => self.workload.disk.map(|disk| disk.block),
        };
        let operations = operation.and_then(|size| bytes.checked_div(size));
        let of_all_rounds = |count: u64| count.saturating_mul(rounds.into());
        Amount { bytes: of_all_rounds(bytes), operations: operations.map(of_all_rounds) }
    }

    /// Checks values that are within their bounds only if the workload was executed during `window`.
    fn check(&self, measured: Measurement, window: Window) -> Result<(), OutOfBounds> {
        let name = |value: &str| reading::workload_reading(self.metric(), value);
        let amount = self.amount();
        amount.check_duration(&name("duration"), measured.duration_ns, window)?;
        // The host times operations of other kinds, which overlap.
        if let (Driver::Agent(..), Some(latency), Some(operations)) =
            (&self.driver, measured.latency, amount.operations)
        {
            bounds::check_latency(name, latency, operations, measured.duration_ns)?;
        }
        Ok(())
    }

    fn values(&self, measured: Measurement) -> Vec<Value> {
        let (amount, duration) = (self.amount(), measured.duration_ns as f64);
        // Bytes per ns are GB/s.
        let mut values =
            vec![("duration", duration, "ns"), ("throughput", amount.bytes as f64 / duration * 1000.0, "MB/s")];
        values.extend(amount.operations.map(|count| ("rate", count as f64 / duration * 1e9, "1/s")));
        if let Some(Latency { p50_ns, p99_ns }) = measured.latency {
            values.extend([("p50", p50_ns as f64, "ns"), ("p99", p99_ns as f64, "ns")]);
        }
        values.extend(measured.sha_ni.map(|has| ("sha_ni", f64::from(u8::from(has)), "1")));
        values
    }
}

fn run_in_agent(guest: &AgentClient, request: WorkloadRequest, expected: &str) -> Result<Measurement, GuestError> {
    let reply = guest.run_workload(request)?;
    let invalid = |problem: String| Err(GuestError::Protocol { request: POST_WORK, problem });
    if reply.checksum != expected {
        let found: String = reply.checksum.chars().take(80).collect();
        return invalid(format!("the checksum is {found} instead of {expected}"));
    }
    let sha_ni = match (request.kind, reply.backend.as_deref()) {
        (WorkloadKind::Sha256, Some("sha-ni")) => Some(true),
        (WorkloadKind::Sha256, Some("soft")) => Some(false),
        (WorkloadKind::Sha256, _) => {
            return invalid("the implementation of the hash is neither `sha-ni` nor `soft`".into());
        }
        (_, None) => None,
        (_, Some(_)) => return invalid("the response has an implementation of a hash, but nothing was hashed".into()),
    };
    match (reply.operation.is_some(), request.disk.is_some()) {
        (false, true) => return invalid("the latency of the disk operations is missing".into()),
        (true, false) => {
            return invalid("the response has a latency of disk operations, but the disk was not used".into());
        }
        (true, true) | (false, false) => {}
    }
    Ok(Measurement { duration_ns: reply.duration_ns, latency: reply.operation, sha_ni })
}

/// Returns how `workload` is run; `offset` is where its disk region begins, bytes.
fn driver(workload: &Workload, offset: u64) -> Driver {
    let Workload { bytes, rounds, warmup, .. } = *workload;
    let kind = match workload.kind {
        WorkloadKind::Http => return Driver::Http(http::Requests::new(bytes, workload.connections.unwrap_or(1))),
        WorkloadKind::TcpSend => return Driver::Stream(stream::Direction::FromGuest),
        WorkloadKind::TcpReceive => return Driver::Stream(stream::Direction::ToGuest),
        kind => kind,
    };
    let disk =
        workload.disk.map(|disk| DiskRequest { offset, block: disk.block, direct: disk.direct, random: disk.random });
    let request = WorkloadRequest { kind, bytes, rounds, warmup, seed: SEED, disk };
    let expected = request.expected_checksum();
    Driver::Agent(request, expected)
}

#[cfg(test)]
mod tests {
    use microbench_formats::workload::DiskAccess;

    use super::*;

    fn workload(kind: WorkloadKind, bytes: u64, disk: Option<DiskAccess>) -> Workload {
        Workload { metric: "m".into(), kind, bytes, rounds: 2, warmup: 0, disk, connections: None }
    }

    const DISK: Option<DiskAccess> = Some(DiskAccess { block: 4096, direct: true, random: false });

    #[test]
    fn disk_regions_follow_the_image_without_overlap() {
        let workloads = [
            workload(WorkloadKind::DiskWrite, 4096, DISK),
            workload(WorkloadKind::Sha256, 1, None),
            workload(WorkloadKind::DiskRead, (1 << 20) + 4096, DISK),
            workload(WorkloadKind::DiskRead, 4096, DISK),
        ];
        let prepared = PreparedWorkload::prepare_all(&workloads, 8 << 20);
        let offsets: Vec<_> = prepared
            .iter()
            .filter_map(|workload| match workload.driver {
                Driver::Agent(request, _) => request.disk.map(|disk| disk.offset >> 20),
                _ => None,
            })
            .collect();
        assert_eq!(offsets, [8, 9, 11]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        std::fs::write(&path, vec![1; 8 << 20]).unwrap();
        PreparedWorkload::write_disk_regions(&prepared, &File::options().write(true).open(&path).unwrap()).unwrap();
        let disk = std::fs::read(&path).unwrap();
        let total: u64 = workloads.iter().map(PreparedWorkload::disk_region_bytes).sum();
        assert_eq!(disk.len() as u64, (8 << 20) + total);
        assert!(disk[..8 << 20].iter().all(|byte| *byte == 1) && disk[8 << 20..9 << 20].iter().all(|byte| *byte == 0));
        assert_eq!(disk[9 << 20..][..(1 << 20) + 4096], pseudo_random((1 << 20) + 4096, SEED));
        assert_eq!(disk[11 << 20..][..4096], pseudo_random(4096, SEED));
    }

    #[test]
    fn values_are_computed_from_bytes_rounds_and_duration() {
        let value = |kind, bytes, disk, latency| {
            let prepared = &PreparedWorkload::prepare_all(&[workload(kind, bytes, disk)], 0)[0];
            prepared.values(Measurement { duration_ns: 1_000_000, latency, sha_ni: None })
        };
        // 2 x 1 MB in 1 ms.
        let hash = value(WorkloadKind::Sha256, 1_000_000, None, None);
        assert_eq!(hash, [("duration", 1e6, "ns"), ("throughput", 2000.0, "MB/s")]);
        let pages = value(WorkloadKind::PageTouch, 8 * 4096, None, None);
        assert_eq!(pages[2], ("rate", 16_000.0, "1/s"));
        let latency = Some(Latency { p50_ns: 7, p99_ns: 9 });
        let blocks = value(WorkloadKind::DiskRead, 10 * 4096, DISK, latency);
        assert_eq!(blocks[2..], [("rate", 20_000.0, "1/s"), ("p50", 7.0, "ns"), ("p99", 9.0, "ns")]);
    }
}
