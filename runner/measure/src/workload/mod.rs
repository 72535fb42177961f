//! Work that a guest is given: what it is asked, what must come back, and the values that follow.
//!
//! A guest times most kinds itself, on its own clock. Traffic is timed here, on the host's: requests to its web service ([`http`]) and
//! a stream over one connection ([`stream`]). Whatever comes back is compared with what both sides know, before any of it is a number.

mod connection;
mod http;
mod stream;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use microbench_agent::work::{DiskRequest, Latency, WorkRequest, pseudo_random};
use microbench_formats::workload::{Workload, WorkloadKind};

use crate::guest::client::{Guest, GuestError, WORK};

/// Seed of the bytes that a guest works on.
const SEED: u64 = 2019;
/// Regions of the disk begin at multiples of this.
const REGION_BYTES: u64 = 1 << 20;

/// One work of one VM, with all that its answer is held against.
#[derive(Debug)]
pub struct Task {
    workload: Workload,
    ask: Ask,
}

/// What is asked.
#[derive(Debug)]
enum Ask {
    /// Of the agent, with the checksum that it must answer.
    Agent(WorkRequest, String),
    /// Requests for a static file of these bytes.
    Http(http::Requests),
    /// A stream.
    Stream(stream::Direction),
}

/// What a work came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Measured {
    duration_ns: u64,
    /// Of one operation.
    latency: Option<Latency>,
    /// The guest hashed with the processor's SHA instructions; `None` where it did not hash.
    sha_ni: Option<bool>,
}

/// A value of work: its name in `work.METRIC.NAME`, the value, and its unit in the journal.
pub type Value = (&'static str, f64, &'static str);

impl Task {
    /// The tasks of a VM whose disk ends at `disk_bytes`, where the regions of disk work begin, one for each.
    #[must_use]
    pub fn prepare(workloads: &[Workload], disk_bytes: u64) -> Vec<Self> {
        let mut end = disk_bytes.next_multiple_of(REGION_BYTES);
        let mut task = |workload: &Workload| {
            let offset = end;
            if workload.disk.is_some() {
                end += workload.bytes.next_multiple_of(REGION_BYTES);
            }
            Self { workload: workload.clone(), ask: ask(workload, offset) }
        };
        workloads.iter().map(&mut task).collect()
    }

    /// The metric whose work it is.
    #[must_use]
    pub fn metric(&self) -> &str {
        &self.workload.metric
    }

    /// Bytes that its region of the disk takes; none where it does not work on the disk.
    #[must_use]
    pub fn region_bytes(workload: &Workload) -> u64 {
        workload.disk.map_or(0, |_| workload.bytes.next_multiple_of(REGION_BYTES))
    }

    /// Lays the regions of the tasks behind the end of a disk: what is to be read is filled, what is to be written is a hole.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn lay(tasks: &[Self], disk: &File) -> io::Result<()> {
        for task in tasks {
            let Ask::Agent(WorkRequest { kind, bytes, seed, disk: Some(region), .. }, _) = task.ask else { continue };
            disk.set_len(region.offset + bytes.next_multiple_of(REGION_BYTES))?;
            if kind == WorkloadKind::DiskRead {
                disk.write_all_at(&pseudo_random(usize::try_from(bytes).unwrap_or(0), seed), region.offset)?;
            }
        }
        Ok(())
    }

    /// Has the guest do it, and checks what it did.
    ///
    /// # Errors
    /// [`GuestError`]: no answer, one that breaks the protocol, or one of work that was not done.
    pub fn perform(&self, guest: &Guest) -> Result<Vec<Value>, GuestError> {
        let measured = match &self.ask {
            Ask::Agent(request, expected) => self.ask_agent(guest, *request, expected)?,
            Ask::Http(requests) => {
                let request = "GET /file";
                guest.in_time(request, requests.send(guest, self.workload.warmup, self.workload.rounds))?
            }
            Ask::Stream(direction) => {
                let (request, workload) = (direction.request(), &self.workload);
                guest.in_time(request, direction.flow(guest, workload.bytes, workload.warmup, workload.rounds))?
            }
        };
        Ok(self.values(measured))
    }

    fn ask_agent(&self, guest: &Guest, asked: WorkRequest, expected: &str) -> Result<Measured, GuestError> {
        let reply = guest.work(asked)?;
        let wrong = |problem: String| Err(GuestError::Protocol { request: WORK, problem });
        if reply.checksum != expected {
            let found: String = reply.checksum.chars().take(80).collect();
            return wrong(format!("the checksum is {found}, it should be {expected}"));
        }
        if reply.duration_ns == 0 {
            return wrong("the work took no time".into());
        }
        if reply.operation.is_some() != asked.disk.is_some() {
            return wrong("the times of single operations are those of work on the disk, and of no other".into());
        }
        Ok(Measured {
            duration_ns: reply.duration_ns,
            latency: reply.operation,
            sha_ni: (asked.kind == WorkloadKind::Sha256).then(|| reply.backend.as_deref() == Some("sha-ni")),
        })
    }

    fn values(&self, measured: Measured) -> Vec<Value> {
        let Workload { bytes, rounds, .. } = self.workload;
        let (duration, rounds) = (measured.duration_ns as f64, f64::from(rounds));
        // Bytes over ns are GB/s.
        let mut values =
            vec![("duration", duration, "ns"), ("throughput", bytes as f64 * rounds / duration * 1000.0, "MB/s")];
        let operation = match self.workload.kind {
            WorkloadKind::PageTouch => Some(microbench_agent::work::PAGE_BYTES),
            WorkloadKind::Http => Some(bytes),
            _ => self.workload.disk.map(|disk| disk.block),
        };
        values.extend(operation.map(|size| ("rate", (bytes / size) as f64 * rounds / duration * 1e9, "1/s")));
        if let Some(Latency { p50_ns, p99_ns }) = measured.latency {
            values.extend([("p50", p50_ns as f64, "ns"), ("p99", p99_ns as f64, "ns")]);
        }
        values.extend(measured.sha_ni.map(|has| ("sha_ni", f64::from(u8::from(has)), "1")));
        values
    }
}

fn ask(workload: &Workload, offset: u64) -> Ask {
    let Workload { bytes, rounds, warmup, .. } = *workload;
    let kind = match workload.kind {
        WorkloadKind::Http => return Ask::Http(http::Requests::new(bytes, workload.connections.unwrap_or(1))),
        WorkloadKind::TcpSend => return Ask::Stream(stream::Direction::FromGuest),
        WorkloadKind::TcpReceive => return Ask::Stream(stream::Direction::ToGuest),
        kind => kind,
    };
    let disk =
        workload.disk.map(|disk| DiskRequest { offset, block: disk.block, direct: disk.direct, random: disk.random });
    let request = WorkRequest { kind, bytes, rounds, warmup, seed: SEED, disk };
    let expected = request.checksum();
    Ask::Agent(request, expected)
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
    fn regions_lie_behind_the_disk_one_after_the_other() {
        let works = [
            workload(WorkloadKind::DiskWrite, 4096, DISK),
            workload(WorkloadKind::Sha256, 1, None),
            workload(WorkloadKind::DiskRead, (1 << 20) + 4096, DISK),
            workload(WorkloadKind::DiskRead, 4096, DISK),
        ];
        let tasks = Task::prepare(&works, 8 << 20);
        let offsets: Vec<_> = tasks
            .iter()
            .filter_map(|task| match task.ask {
                Ask::Agent(request, _) => request.disk.map(|disk| disk.offset >> 20),
                _ => None,
            })
            .collect();
        assert_eq!(offsets, [8, 9, 11]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        std::fs::write(&path, vec![1; 8 << 20]).unwrap();
        Task::lay(&tasks, &File::options().write(true).open(&path).unwrap()).unwrap();
        let disk = std::fs::read(&path).unwrap();
        let total: u64 = works.iter().map(Task::region_bytes).sum();
        assert_eq!(disk.len() as u64, (8 << 20) + total);
        assert!(disk[..8 << 20].iter().all(|byte| *byte == 1) && disk[8 << 20..9 << 20].iter().all(|byte| *byte == 0));
        assert_eq!(disk[9 << 20..][..(1 << 20) + 4096], pseudo_random((1 << 20) + 4096, SEED));
        assert_eq!(disk[11 << 20..][..4096], pseudo_random(4096, SEED));
    }

    #[test]
    fn values_follow_from_bytes_rounds_and_time() {
        let value = |kind, bytes, disk, latency| {
            let task = &Task::prepare(&[workload(kind, bytes, disk)], 0)[0];
            task.values(Measured { duration_ns: 1_000_000, latency, sha_ni: None })
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
