//! The guest's agent as a plain process: how soon it listens, how much room it takes, how fast it hashes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use microbench_agent::work::{WorkReply, WorkRequest, WorkloadKind};

use crate::outcome::{Figure, Named, Outcome, Row};
use crate::{Bench, measure};

/// The least program of Rust's standard library that does what an agent must: it listens, says so, and serves a thread a connection.
/// What it takes, the agent cannot take less of.
const LEAST: &str = r#"
fn main() {
    let listener = std::net::TcpListener::bind(std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    println!("ready");
    for stream in listener.incoming() {
        std::thread::Builder::new().spawn(move || drop(stream)).unwrap();
    }
}
"#;

/// How it is built: as the agent is (Makefile, and the profile `agent`).
const LEAST_FLAGS: &str = "--target x86_64-unknown-linux-gnu -C target-feature=+crt-static -C relocation-model=static \
    -C opt-level=3 -C lto=fat -C codegen-units=1 -C panic=abort -C strip=symbols";

/// What one would put into a guest in its place.
const PEER: &[&str] = &["python3", "-I", "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"];

/// Bytes that are hashed in one block, and how many of them in a round.
const BLOCK: u64 = 1 << 20;
const BLOCKS: u32 = 500;

/// Starts in a round.
const STARTS: usize = 5;

/// Measures.
pub(crate) fn measure(bench: &Bench) -> Result<Outcome> {
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let least = least(folder.path())?;
    let file = folder.path().join("bytes");
    fs::write(&file, vec![0; usize::try_from(BLOCK * u64::from(BLOCKS))?]).context("cannot write what is hashed")?;
    let agent = &bench.agent;

    let [mut ours, mut peers, mut leasts] = [const { Vec::new() }; 3];
    let [mut hashed, mut openssl, mut sha256sum] = [const { Vec::new() }; 3];
    for _ in 0..bench.rounds {
        let served = start_agent(agent)?;
        hashed.push(served.hash()?);
        openssl.push(openssl_speed()?);
        let whole = measure::whole(Command::new("sha256sum").arg(&file))?;
        sha256sum.push((BLOCK * u64::from(BLOCKS)) as f64 / 1e6 / whole.wall.as_secs_f64());
        drop(served);
        ours.push(soonest(|| start_agent(agent))?);
        peers.push(soonest(|| Server::start(Command::new(PEER[0]).args(&PEER[1..])))?);
        leasts.push(soonest(|| Server::start(&mut Command::new(&least)))?);
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
            what: "agent: process start to listening, seen by who started it; the soonest of 5".into(),
            unit: "ms",
            ours: start_ours,
            peer: named("python3 -m http.server", start(&peers)),
            limit: named("least program of Rust's std that listens", start(&leasts)),
            goal: "under 2 ms",
            met: Some(start_ours.median < 2.0),
        },
        Row {
            what: "agent: size of the static binary".into(),
            unit: "KiB",
            ours: size_ours,
            peer: None,
            limit: named("least program of Rust's std that listens", size(&least)?),
            goal: "under 1 MiB, if the libraries allow it",
            met: Some(size_ours.median < 1024.0),
        },
        Row {
            what: "agent: resident memory once it listens".into(),
            unit: "KiB",
            ours: resident(&ours),
            peer: named("python3 -m http.server", resident(&peers)),
            limit: named("least program of Rust's std that listens", resident(&leasts)),
            goal: "none set",
            met: None,
        },
        Row {
            what: "agent: SHA-256 of 500 x 1 MiB, by its own clock".into(),
            unit: "MB/s",
            ours: rate,
            peer: named("openssl speed -evp sha256", rate_peer),
            limit: None,
            goal: "within 3 % of openssl",
            met: Some(rate.median >= 0.97 * rate_peer.median),
        },
        Row {
            what: "agent: SHA-256 of 500 x 1 MiB, by its own clock".into(),
            unit: "MB/s",
            ours: rate,
            peer: named("sha256sum of a file of as many bytes", Figure::of(&sha256sum)),
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

/// Time to listening and resident memory in KiB of the soonest of [`STARTS`]: on a machine that does other things as well, most of the
/// others waited for a CPU.
fn soonest(start: impl Fn() -> Result<Server>) -> Result<(Duration, u64)> {
    let costs = (0..STARTS).map(|_| start()?.cost()).collect::<Result<Vec<_>>>()?;
    costs.into_iter().min().context("nothing was started")
}

/// Builds the least program into `folder`.
fn least(folder: &Path) -> Result<std::path::PathBuf> {
    let (source, program) = (folder.join("least.rs"), folder.join("least"));
    fs::write(&source, LEAST).context("cannot write the least program")?;
    measure::whole(Command::new("rustc").args(LEAST_FLAGS.split_whitespace()).arg("-o").arg(&program).arg(&source))?;
    Ok(program)
}

/// A server that says a line when it listens; killed when dropped.
struct Server {
    child: Child,
    said: String,
    start: Duration,
    // Kept, so that what it says later does not end it.
    _output: BufReader<ChildStdout>,
}

impl Server {
    fn start(command: &mut Command) -> Result<Self> {
        let begun = Instant::now();
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = spawned.with_context(|| format!("cannot start {command:?}"))?;
        let mut output = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut said = String::new();
        let read = output.read_line(&mut said);
        let server = Self { child, start: begun.elapsed(), said, _output: output };
        anyhow::ensure!(read? > 0, "{command:?} ended before it listened");
        Ok(server)
    }

    /// Time from start to listening, and resident memory in KiB.
    fn cost(&self) -> Result<(Duration, u64)> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let resident =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB")?.trim().parse().ok());
        Ok((self.start, resident.context("no VmRSS")?))
    }

    /// Has the agent hash; MB/s by its own clock.
    fn hash(&self) -> Result<f64> {
        let address = self.said.split_whitespace().last().unwrap_or_default();
        let request =
            WorkRequest { kind: WorkloadKind::Sha256, bytes: BLOCK, rounds: BLOCKS, warmup: 10, seed: 1, disk: None };
        let body = serde_json::to_string(&request)?;
        let mut stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        let head =
            format!("POST /work HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("not an answer")?;
        let reply: WorkReply = serde_json::from_str(body).with_context(|| format!("the agent answers {head}"))?;
        anyhow::ensure!(reply.checksum == request.checksum(), "the agent's digest is wrong");
        Ok((BLOCK * u64::from(BLOCKS)) as f64 / 1e6 / (reply.duration_ns as f64 / 1e9))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// MB/s by the wall clock, as openssl prints it for blocks of 1 MiB: `sha256  1234567.89k`.
fn openssl_speed() -> Result<f64> {
    let mut command = Command::new("openssl");
    let block = BLOCK.to_string();
    command.args(["speed", "-elapsed", "-seconds", "1", "-bytes", &block, "-evp", "sha256"]).stderr(Stdio::null());
    let output = command.output().context("cannot start openssl")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let thousands =
        text.lines().find_map(|line| line.strip_prefix("sha256")?.trim().strip_suffix('k')?.parse::<f64>().ok());
    Ok(thousands.with_context(|| format!("openssl speed said:\n{text}"))? / 1e3)
}
