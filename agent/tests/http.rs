//! Tests of the agent program over TCP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use microbench_agent::workload::{
    DiskRequest, MOST_BYTES, MOST_ROUNDS, Stream, StreamReply, WorkloadKind, WorkloadReply, WorkloadRequest, hex,
    pseudo_random, sum,
};
use microbench_agent::{INDEX_SEED, NONCE_HEADER, READY_MARK, Stats};
use microbench_testing::{Missing, require};

const NONCE: &str = "0123456789abcdef";

/// An agent process on a free port of the loopback interface. It is killed on drop.
struct Agent {
    process: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

struct Response {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Agent {
    fn start() -> Self {
        Self::start_as("--stay")
    }

    /// Starts an agent with `--stay` or `--shared-kernel`.
    fn start_as(option: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join("index.bin");
        std::fs::write(&index, pseudo_random(20 * 4096, INDEX_SEED)).unwrap();
        let disk = folder.path().join("disk");
        std::fs::write(&disk, pseudo_random(64 << 10, 3)).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_microbench-agent"))
            .args([option, "--listen", "127.0.0.1:0", "--nonce", NONCE, "--index"])
            .arg(&index)
            .arg("--disk")
            .arg(&disk)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let rest = ready.strip_prefix(READY_MARK).unwrap().trim();
        let (nonce, address) = rest.split_once(' ').unwrap();
        assert_eq!(nonce, NONCE);
        Self { process, address: address.parse().unwrap(), _folder: folder }
    }

    fn send(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        // The agent may reject the request before it has read all bytes.
        let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
        let mut response = Vec::new();
        let _ = stream.read_to_end(&mut response);
        response
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Response {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        parse(&self.send(request.as_bytes()))
    }

    fn execute(&self, request: &WorkloadRequest) -> Response {
        self.request("POST", "/work", &serde_json::to_string(request).unwrap())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn parse(bytes: &[u8]) -> Response {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Response { status, head, body: bytes[end + 4..].to_vec() }
}

#[test]
fn agent_serves_if_standard_output_is_full() {
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for option in ["--stay", "--shared-kernel"] {
        let process = Command::new(env!("CARGO_BIN_EXE_microbench-agent"))
            .args([option, "--nonce", NONCE, "--listen", &free.to_string()])
            .stdout(full())
            .stderr(full())
            .spawn()
            .unwrap();
        let mut agent = Agent { process, address: free, _folder: tempfile::tempdir().unwrap() };
        while TcpStream::connect(free).is_err() {
            assert_eq!(agent.process.try_wait().unwrap(), None, "{option}: the agent ended");
            std::thread::yield_now();
        }
        assert_eq!(agent.request("GET", "/nothing", "").status, 404, "{option}");
    }
    for (argument, code) in [("--help", 1), ("--version", 1), ("--unknown", 2)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_microbench-agent"));
        let status = command.arg(argument).stdout(full()).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{argument}");
    }
}

#[test]
fn every_response_is_complete_and_has_the_nonce() {
    let agent = Agent::start();
    for (method, path, body, status) in [
        ("GET", "/", "", 200),
        ("GET", "/nothing", "", 404),
        ("DELETE", "/", "", 405),
        ("GET", "/work", "", 405),
        ("POST", "/work", "no JSON", 400),
        ("POST", "/work", r#"{"kind": "copy", "bytes": 1, "rounds": 1, "seed": 1, "more": 1}"#, 400),
        ("POST", "/work", r#"{"kind": "sort", "bytes": 1, "rounds": 1, "seed": 1}"#, 400),
        ("POST", "/hash", "", 404),
        ("GET", "/file?bytes=4096", "", 200),
        ("GET", "/file", "", 400),
        ("GET", "/file?bytes=81921", "", 400),
        ("POST", "/file?bytes=1", "", 405),
        ("GET", "/stream?bytes=100001", "", 200),
        ("GET", "/stream?bytes=0", "", 400),
        ("POST", "/stream", "some bytes", 200),
        ("POST", "/stream", "", 400),
    ] {
        let response = agent.request(method, path, body);
        assert_eq!(response.status, status, "{method} {path} {body}");
        let head = response.head.to_lowercase();
        assert!(head.contains(&format!("{NONCE_HEADER}: {NONCE}")), "{method} {path}: {head}");
        let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse::<usize>().unwrap();
        assert_eq!(response.body.len(), length, "{method} {path}");
    }
}

#[test]
fn stats_are_valid() {
    // Reading the kernel log requires a privilege that the test may not have; the agent of a guest has it.
    let log = std::fs::File::open("/dev/kmsg");
    require!(log.map(drop).map_err(|error| Missing::machine(format!("/dev/kmsg cannot be opened: {error}"))));
    let agent = Agent::start();
    let response = agent.request("GET", "/stats", "");
    assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
    let stats: Stats = serde_json::from_slice(&response.body).unwrap();
    assert!(stats.cpus > 0 && stats.memory_bytes > 0 && !stats.kernel_release.is_empty());
}

fn request(kind: WorkloadKind, bytes: u64) -> WorkloadRequest {
    WorkloadRequest { kind, bytes, rounds: 3, warmup: 1, seed: 3, disk: None }
}

#[test]
fn agent_with_shared_kernel_reports_instants_but_no_kernel_log() {
    let now = || {
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
        now.tv_sec().unsigned_abs() * 1_000_000_000 + now.tv_nsec().unsigned_abs()
    };
    let before = now();
    let mut agent = Agent::start_as("--shared-kernel");
    assert_eq!(agent.request("GET", "/", "").status, 200);
    let answered = now();
    let response = agent.request("GET", "/stats", "");
    assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
    let stats: Stats = serde_json::from_slice(&response.body).unwrap();
    let (listening_ns, answered_ns) = (stats.listening_ns.unwrap(), stats.answered_ns.unwrap());
    assert!(before < listening_ns && listening_ns < answered_ns && answered_ns < answered);
    assert_eq!((stats.kernel_messages, stats.last_message_us, stats.init_us), (0, None, None));
    assert_eq!((stats.random_seeded_us, stats.random_fast_init_us), (None, None));
    assert_eq!(agent.request("POST", "/shutdown", "").status, 202);
    assert_eq!(agent.process.wait().unwrap().code(), Some(0));
}

#[test]
fn workload_reply_has_the_expected_checksum() {
    let agent = Agent::start();
    let on_disk = Some(DiskRequest { offset: 0, block: 4096, direct: false, random: true });
    for request in [
        request(WorkloadKind::Sha256, 1),
        request(WorkloadKind::Sha256, 100_001),
        request(WorkloadKind::Copy, 1_000_000),
        request(WorkloadKind::MemoryRead, 1 << 20),
        request(WorkloadKind::PageTouch, 1 << 20),
        WorkloadRequest { disk: on_disk, ..request(WorkloadKind::DiskRead, 64 << 10) },
        WorkloadRequest { disk: on_disk, ..request(WorkloadKind::DiskWrite, 64 << 10) },
    ] {
        let response = agent.execute(&request);
        assert_eq!(response.status, 200, "{request:?}: {}", String::from_utf8_lossy(&response.body));
        let reply: WorkloadReply = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(reply.checksum, request.expected_checksum(), "{request:?}");
        assert!(reply.duration_ns > 0, "{request:?}");
    }
}

#[test]
fn file_and_streams_have_the_expected_bytes() {
    let agent = Agent::start();
    assert_eq!(agent.request("GET", "/file?bytes=5000", "").body, pseudo_random(20 * 4096, INDEX_SEED)[..5000]);
    let stream = agent.request("GET", "/stream?bytes=200001", "").body;
    assert_eq!((stream.len(), sum(&stream)), (200_001, Stream::new().sum(200_001)));
    let text = "x".repeat(100_003);
    let reply: StreamReply = serde_json::from_slice(&agent.request("POST", "/stream", &text).body).unwrap();
    assert_eq!(reply, StreamReply { bytes: 100_003, checksum: hex(sum(text.as_bytes())) });
}

#[test]
fn workload_beyond_the_limits_is_rejected() {
    let agent = Agent::start();
    for wrong in [
        request(WorkloadKind::Sha256, MOST_BYTES + 1),
        request(WorkloadKind::Sha256, 0),
        request(WorkloadKind::MemoryRead, 9),
        request(WorkloadKind::DiskRead, 4096),
        WorkloadRequest { rounds: MOST_ROUNDS + 1, ..request(WorkloadKind::Copy, 1) },
        WorkloadRequest { rounds: u32::MAX, warmup: u32::MAX, ..request(WorkloadKind::Copy, u64::MAX) },
    ] {
        assert_eq!(agent.execute(&wrong).status, 400, "{wrong:?}");
    }
    let head = format!("POST /stream HTTP/1.1\r\ncontent-length: {}\r\n\r\n", MOST_BYTES + 1);
    assert_eq!(parse(&agent.send(head.as_bytes())).status, 413);
}

#[test]
fn invalid_request_closes_only_its_own_connection() {
    let agent = Agent::start();
    let endless = [b"GET / HTTP/1.1\r\nx: ".as_slice(), &vec![b'y'; 1 << 20]].concat();
    let huge_length = b"POST /work HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n";
    for bytes in [b"\0\xff\xfe\r\n\r\n".as_slice(), b"GET", b"\r\n\r\n", &endless, huge_length] {
        let response = agent.send(bytes);
        assert!(!response.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&response));
        assert_eq!(agent.request("GET", "/", "").status, 200, "the agent does not respond any more");
    }
}

#[test]
fn connection_serves_several_requests() {
    let agent = Agent::start();
    let responses = agent.send(b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nconnection: close\r\n\r\n");
    assert_eq!(String::from_utf8_lossy(&responses).matches("HTTP/1.1 200").count(), 2);
}

#[test]
fn shutdown_responds_before_the_agent_exits() {
    let mut agent = Agent::start();
    assert_eq!(agent.request("POST", "/shutdown", "").status, 202);
    assert!(agent.process.wait().unwrap().success());
}
