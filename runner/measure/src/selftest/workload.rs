//! Runs every kind of workload in the agent as a plain process of this machine, with the client that sends
//! requests to guests. It checks the results, and measures the speed without a VMM.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use microbench_agent::workload::pseudo_random;
use microbench_agent::{INDEX_BLOCK_BYTES, INDEX_BLOCKS, INDEX_SEED, READY_MARK};
use microbench_formats::workload::{DiskAccess, Workload, WorkloadKind};

use crate::guest::client::AgentClients;
use crate::workload::{PreparedWorkload, Value};

const NONCE: &str = "5e1f7e57";
/// Time limit of a request, and of a workload.
const TIMEOUT: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

/// Result of one workload.
#[derive(Debug)]
pub struct WorkloadResult {
    pub workload: Workload,
    /// Its values, or why it failed: for example, a wrong checksum.
    pub values: Result<Vec<Value>, String>,
}

/// Returns the workloads of the test: every kind, and disk workloads by block size, access and order.
fn workloads() -> Vec<Workload> {
    use WorkloadKind as Kind;
    let workload = |kind, bytes, rounds| Workload {
        metric: "selftest".into(),
        kind,
        bytes,
        rounds,
        warmup: 1,
        disk: None,
        connections: None,
    };
    let mut all = vec![
        workload(Kind::Sha256, 1_000_000, 100),
        workload(Kind::Copy, 1_000_000, 100),
        workload(Kind::MemoryRead, 16 * MIB, 20),
        workload(Kind::MemoryWrite, 16 * MIB, 20),
        workload(Kind::MemoryCopy, 16 * MIB, 20),
        workload(Kind::PageTouch, 16 * MIB, 20),
    ];
    for kind in [Kind::DiskRead, Kind::DiskWrite] {
        for (block, direct, random) in
            [(4096, true, false), (4096, true, true), (MIB, true, false), (4096, false, false), (MIB, false, false)]
        {
            all.push(Workload { disk: Some(DiskAccess { block, direct, random }), ..workload(kind, 8 * MIB, 4) });
        }
    }
    for connections in [1, 8] {
        let requests = workload(Kind::Http, 4096, 2000);
        all.push(Workload { connections: Some(connections), warmup: 100, ..requests });
    }
    all.extend([workload(Kind::TcpSend, 16 * MIB, 10), workload(Kind::TcpReceive, 16 * MIB, 10)]);
    all
}

/// Runs every kind of workload in `agent`, which is started as a plain process. It listens on the loopback
/// interface, and its disk is a file in `folder`.
///
/// # Errors
/// Fails if the agent cannot be started.
pub fn measure(agent: &Path, folder: &Path) -> anyhow::Result<Vec<WorkloadResult>> {
    let folder =
        tempfile::tempdir_in(folder).with_context(|| format!("cannot create a folder in {}", folder.display()))?;
    let (index, disk) = (folder.path().join("index"), folder.path().join("disk"));
    let write =
        |path: &Path, bytes: &[u8]| fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()));
    write(&index, &pseudo_random(INDEX_BLOCKS * INDEX_BLOCK_BYTES, INDEX_SEED))?;
    write(&disk, &[])?;
    let workloads = workloads();
    let prepared = PreparedWorkload::prepare_all(&workloads, 0);
    let file = File::options().write(true).open(&disk);
    file.and_then(|file| PreparedWorkload::write_disk_regions(&prepared, &file))
        .with_context(|| format!("cannot write {}", disk.display()))?;

    let process = AgentProcess::start(agent, &index, &disk)?;
    let agents = AgentClients::new()?;
    let guest = agents.client(process.address, NONCE, TIMEOUT, TIMEOUT);
    let run = |(workload, prepared): (Workload, &PreparedWorkload)| WorkloadResult {
        workload,
        values: prepared.run(&guest).map_err(|error| microbench_formats::describe::describe(&error)),
    };
    Ok(workloads.into_iter().zip(&prepared).map(run).collect())
}

/// Agent as a plain process; killed on drop.
struct AgentProcess {
    child: Child,
    address: SocketAddr,
}

impl AgentProcess {
    fn start(agent: &Path, index: &Path, disk: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(agent);
        command.args(["--stay", "--listen", "127.0.0.1:0", "--nonce", NONCE, "--index"]).arg(index);
        command.arg("--disk").arg(disk).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", agent.display()))?;
        let stdout = child.stdout.take().context("the agent has no standard output")?;
        // Owned from here on, so that an error below kills the process.
        let mut agent = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).context("cannot read the agent's output")?;
        let address = line.trim().strip_prefix(READY_MARK).and_then(|rest| rest.trim().split_once(' '));
        match address.and_then(|(_, address)| address.parse().ok()) {
            Some(address) => agent.address = address,
            None => bail!("unexpected output of the agent: `{}`", microbench_formats::describe::one_line(&line, 200)),
        }
        Ok(agent)
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use microbench_study::manifest::workloads::WORKLOADS;

    use super::*;

    #[test]
    fn every_kind_is_tested() {
        let tested = workloads();
        for work in WORKLOADS {
            assert!(tested.iter().any(|tested| tested.kind == work.kind), "{} is not tested", work.name());
        }
    }
}
