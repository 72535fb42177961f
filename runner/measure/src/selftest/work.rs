//! Every kind of work by the agent as a plain process of this machine, asked by the client that asks guests: whether what it does is
//! what the host expects, and how fast it is without a VMM.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use microbench_agent::work::pseudo_random;
use microbench_agent::{INDEX_BLOCK_BYTES, INDEX_BLOCKS, INDEX_SEED, READY_MARK};
use microbench_formats::workload::{DiskAccess, Workload, WorkloadKind};

use crate::guest::client::Agents;
use crate::workload::{Task, Value};

const NONCE: &str = "5e1f7e57";
/// A request may take so long, and so may a work.
const PATIENCE: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

/// What one work came to.
#[derive(Debug)]
pub struct Row {
    /// What was asked.
    pub workload: Workload,
    /// Its values, where the work was done and its checksum right; else why not.
    pub values: Result<Vec<Value>, String>,
}

/// What is tried: every kind, disk work with each block and both ways.
fn workloads() -> Vec<Workload> {
    use WorkloadKind as Kind;
    let work = |kind, bytes, rounds| Workload {
        metric: "selftest".into(),
        kind,
        bytes,
        rounds,
        warmup: 1,
        disk: None,
        connections: None,
    };
    let mut all = vec![
        work(Kind::Sha256, 1_000_000, 100),
        work(Kind::Copy, 1_000_000, 100),
        work(Kind::MemoryRead, 16 * MIB, 20),
        work(Kind::MemoryWrite, 16 * MIB, 20),
        work(Kind::MemoryCopy, 16 * MIB, 20),
        work(Kind::PageTouch, 16 * MIB, 20),
    ];
    for kind in [Kind::DiskRead, Kind::DiskWrite] {
        for (block, direct, random) in
            [(4096, true, false), (4096, true, true), (MIB, true, false), (4096, false, false), (MIB, false, false)]
        {
            all.push(Workload { disk: Some(DiskAccess { block, direct, random }), ..work(kind, 8 * MIB, 4) });
        }
    }
    for connections in [1, 8] {
        let requests = work(Kind::Http, 4096, 2000);
        all.push(Workload { connections: Some(connections), warmup: 100, ..requests });
    }
    all.extend([work(Kind::TcpSend, 16 * MIB, 10), work(Kind::TcpReceive, 16 * MIB, 10)]);
    all
}

/// Starts `agent` as a plain process that listens on the loopback interface, its disk a file in `folder`, and has it do every kind of
/// work.
///
/// # Errors
/// When it cannot be started.
pub fn measure(agent: &Path, folder: &Path) -> anyhow::Result<Vec<Row>> {
    let folder =
        tempfile::tempdir_in(folder).with_context(|| format!("cannot make a folder in {}", folder.display()))?;
    let (index, disk) = (folder.path().join("index"), folder.path().join("disk"));
    let write =
        |path: &Path, bytes: &[u8]| fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()));
    write(&index, &pseudo_random(INDEX_BLOCKS * INDEX_BLOCK_BYTES, INDEX_SEED))?;
    write(&disk, &[])?;
    let workloads = workloads();
    let tasks = Task::prepare(&workloads, 0);
    let file = File::options().write(true).open(&disk);
    file.and_then(|file| Task::lay(&tasks, &file)).with_context(|| format!("cannot write {}", disk.display()))?;

    let process = Process::start(agent, &index, &disk)?;
    let agents = Agents::new()?;
    let guest = agents.guest(process.address, NONCE, PATIENCE, PATIENCE);
    let row = |(workload, task): (Workload, &Task)| Row {
        workload,
        values: task.perform(&guest).map_err(|error| microbench_formats::describe::describe(&error)),
    };
    Ok(workloads.into_iter().zip(&tasks).map(row).collect())
}

/// The agent as a plain process; killed when dropped.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(agent: &Path, index: &Path, disk: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(agent);
        command.args(["--stay", "--listen", "127.0.0.1:0", "--nonce", NONCE, "--index"]).arg(index);
        command.arg("--disk").arg(disk).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", agent.display()))?;
        let said = child.stdout.take().context("the agent has no standard output")?;
        // Owned from here on, so that an error below ends it.
        let mut process = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line).context("cannot read what the agent says")?;
        let address = line.trim().strip_prefix(READY_MARK).and_then(|rest| rest.trim().split_once(' '));
        match address.and_then(|(_, address)| address.parse().ok()) {
            Some(address) => process.address = address,
            None => bail!("the agent said `{}`", microbench_formats::describe::one_line(&line, 200)),
        }
        Ok(process)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use microbench_study::manifest::works::WORKS;

    use super::*;

    #[test]
    fn every_kind_is_tried() {
        let tried = workloads();
        for work in WORKS {
            assert!(tried.iter().any(|tried| tried.kind == work.kind), "{} is not", work.name());
        }
    }
}
