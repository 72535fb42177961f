//! Cost of the guest's agent as a plain process: start-up time, resident memory, binary size, and speed of
//! hashing.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use microbench_agent::workload::{WorkloadKind, WorkloadReply, WorkloadRequest};

use crate::outcome::{Figure, Named, Outcome, Row};
use crate::{Bench, measure};

/// Minimal program of Rust's standard library with the agent's task: it listens, reports so, and starts a
/// thread per connection. Its cost is a lower limit of the agent's.
const MINIMAL: &str = r#"
fn main() {
    let listener = std::net::TcpListener::bind(std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    println!("ready");
    for stream in listener.incoming() {
        std::thread::Builder::new().spawn(move || drop(stream)).unwrap();
    }
}
"#;

/// Compiler options, the same as the agent's (Makefile, and the profile `agent`).
const MINIMAL_FLAGS: &str = "--target x86_64-unknown-linux-gnu -C target-feature=+crt-static \
    -C relocation-model=static -C opt-level=3 -C lto=fat -C codegen-units=1 -C panic=abort -C strip=symbols";

/// Alternative web server in a guest.
const PEER: &[&str] = &["python3", "-I", "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"];

/// Size of a block to hash, bytes, and blocks per round.
const BLOCK: u64 = 1 << 20;
const BLOCKS: u32 = 500;

/// Starts per round.
const STARTS: usize = 5;

pub(crate) fn measure(bench: &Bench) -> Result<Outcome> {
    let folder = tempfile::tempdir().context("cannot create a folder")?;
    let minimal = build_minimal(folder.path())?;
    let file = folder.path().join("bytes");
    fs::write(&file, vec![0; usize::try_from(BLOCK * u64::from(BLOCKS))?]).context("cannot write the file to hash")?;
    let agent = &bench.agent;

    let [mut ours, mut peers, mut smallest] = [const { Vec::new() }; 3];
    let [mut hashed, mut openssl, mut sha256sum] = [const { Vec::new() }; 3];
    for _ in 0..bench.rounds {
        let served = start_agent(agent)?;
        hashed.push(served.hash()?);
        openssl.push(openssl_speed()?);
        let cost = measure::run(Command::new("sha256sum").arg(&file))?;
        sha256sum.push((BLOCK * u64::from(BLOCKS)) as f64 / 1e6 / cost.wall.as_secs_f64());
        drop(served);
        ours.push(fastest_start(|| start_agent(agent))?);
        peers.push(fastest_start(|| Server::start(Command::new(PEER[0]).args(&PEER[1..])))?);
        smallest.push(fastest_start(|| Server::start(&mut Command::new(&minimal)))?);
    }

    let figure = |costs: &[(Duration, u64)], of: fn(&(Duration, u64)) -> f64| {
        Figure::of(&costs.iter().map(of).collect::<Vec<f64>>())
    };
    let named = |name: &str, figure| Some(Named { name: name.into(), figure });
    let start = |costs: &[_]| figure(costs, |(start, _)| start.as_secs_f64() * 1e3);
    let resident = |costs: &[_]| figure(costs, |(_, resident)| *resident as f64);
    let size = |path: &Path| -> Result<Figure> {
        let bytes = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
        Ok(Figure::of(&[bytes as f64 / 1024.0]))
    };
    let (start_ours, size_ours, rate) = (start(&ours), size(agent)?, Figure::of(&hashed));
    let rate_peer = Figure::of(&openssl);
    let rows = vec![
        Row {
            what: "agent: process start to listening, as its parent sees it; the fastest of 5".into(),
            unit: "ms",
            ours: start_ours,
            peer: named("python3 -m http.server", start(&peers)),
            limit: named("minimal server of Rust's std", start(&smallest)),
            goal: "under 2 ms",
            met: Some(start_ours.median < 2.0),
        },
        Row {
            what: "agent: size of the static binary".into(),
            unit: "KiB",
            ours: size_ours,
            peer: None,
            limit: named("minimal server of Rust's std", size(&minimal)?),
            goal: "under 1 MiB, if the libraries permit it",
            met: Some(size_ours.median < 1024.0),
        },
        Row {
            what: "agent: resident memory when it listens".into(),
            unit: "KiB",
            ours: resident(&ours),
            peer: named("python3 -m http.server", resident(&peers)),
            limit: named("minimal server of Rust's std", resident(&smallest)),
            goal: "none set",
            met: None,
        },
        Row {
            what: "agent: SHA-256 of 500 x 1 MiB, timed by the agent".into(),
            unit: "MB/s",
            ours: rate,
            peer: named("openssl speed -evp sha256", rate_peer),
            limit: None,
            goal: "within 3 % of openssl",
            met: Some(rate.median >= 0.97 * rate_peer.median),
        },
        Row {
            what: "agent: SHA-256 of 500 x 1 MiB, timed by the agent".into(),
            unit: "MB/s",
            ours: rate,
            peer: named("sha256sum of a file of the same size", Figure::of(&sha256sum)),
            limit: None,
            goal: "none set",
            met: None,
        },
    ];
    Ok(Outcome { rows, curves: Vec::new() })
}

fn start_agent(agent: &Path) -> Result<Server> {
    Server::start(Command::new(agent).args(["--stay", "--listen", "127.0.0.1:0", "--nonce", "bench"]))
}

/// Returns time to listening and resident memory in KiB of the fastest of [`STARTS`] starts. On a machine
/// with other load, most of the other starts waited for a CPU.
fn fastest_start(start: impl Fn() -> Result<Server>) -> Result<(Duration, u64)> {
    let costs = (0..STARTS).map(|_| start()?.cost()).collect::<Result<Vec<_>>>()?;
    costs.into_iter().min().context("no process was started")
}

/// Builds the minimal program in `folder`.
fn build_minimal(folder: &Path) -> Result<std::path::PathBuf> {
    let (source, program) = (folder.join("minimal.rs"), folder.join("minimal"));
    fs::write(&source, MINIMAL).context("cannot write the minimal program")?;
    measure::run(Command::new("rustc").args(MINIMAL_FLAGS.split_whitespace()).arg("-o").arg(&program).arg(&source))?;
    Ok(program)
}

/// Server that prints a line when it listens; killed on drop.
struct Server {
    child: Child,
    ready_line: String,
    start: Duration,
    // Kept open, so that later output does not end the server by SIGPIPE.
    _output: BufReader<ChildStdout>,
}

impl Server {
    fn start(command: &mut Command) -> Result<Self> {
        let begun = Instant::now();
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = spawned.with_context(|| format!("cannot start {command:?}"))?;
        let mut output = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut ready_line = String::new();
        let read = output.read_line(&mut ready_line);
        let server = Self { child, start: begun.elapsed(), ready_line, _output: output };
        anyhow::ensure!(read? > 0, "{command:?} exited before it listened");
        Ok(server)
    }

    /// Returns the time from start to listening, and the resident memory in KiB.
    fn cost(&self) -> Result<(Duration, u64)> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let resident =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB")?.trim().parse().ok());
        Ok((self.start, resident.context("no VmRSS")?))
    }

    /// Runs a SHA-256 workload in the agent; returns its speed by the agent's clock, MB/s.
    fn hash(&self) -> Result<f64> {
        let address = self.ready_line.split_whitespace().last().unwrap_or_default();
        let request = WorkloadRequest {
            kind: WorkloadKind::Sha256,
            bytes: BLOCK,
            rounds: BLOCKS,
            warmup: 10,
            seed: 1,
            disk: None,
        };
        let body = serde_json::to_string(&request)?;
        let mut stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        let head =
            format!("POST /work HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes())?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        let (head, body) = response.split_once("\r\n\r\n").context("the agent's response has no head")?;
        let reply: WorkloadReply =
            serde_json::from_str(body).with_context(|| format!("the agent's response is not valid: {head}"))?;
        anyhow::ensure!(reply.checksum == request.expected_checksum(), "the agent's digest is wrong");
        Ok((BLOCK * u64::from(BLOCKS)) as f64 / 1e6 / (reply.duration_ns as f64 / 1e9))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns openssl's speed by wall time, MB/s. It prints `sha256  1234567.89k` for blocks of 1 MiB.
fn openssl_speed() -> Result<f64> {
    let mut command = Command::new("openssl");
    let block = BLOCK.to_string();
    command.args(["speed", "-elapsed", "-seconds", "1", "-bytes", &block, "-evp", "sha256"]).stderr(Stdio::null());
    let output = command.output().context("cannot start openssl")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let thousands =
        text.lines().find_map(|line| line.strip_prefix("sha256")?.trim().strip_suffix('k')?.parse::<f64>().ok());
    Ok(thousands.with_context(|| format!("the output of `openssl speed` is not known:\n{text}"))? / 1e3)
}
