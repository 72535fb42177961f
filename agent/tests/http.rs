//! The built agent over TCP: what a host may ask, and what it may not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use microbench_agent::{HashKind, HashReply, HashRequest, NONCE_HEADER, READY_MARK, Stats, fill_pseudo_random};
use sha2::{Digest, Sha256};

const NONCE: &str = "0123456789abcdef";

/// A running agent on a free port of the loopback interface; killed when dropped.
struct Agent {
    process: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

/// An answer: status, head, body.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Agent {
    fn start() -> Self {
        Self::start_as("--stay")
    }

    /// Started with this option, which says whose the kernel is.
    fn start_as(option: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join("index.bin");
        std::fs::write(&index, vec![7; 20 * 4096]).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_microbench-agent"))
            .args([option, "--listen", "127.0.0.1:0", "--nonce", NONCE, "--index"])
            .arg(&index)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut mark = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut mark).unwrap();
        let rest = mark.strip_prefix(READY_MARK).unwrap().trim();
        let (nonce, address) = rest.split_once(' ').unwrap();
        assert_eq!(nonce, NONCE);
        Self { process, address: address.parse().unwrap(), _folder: folder }
    }

    fn send(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        // The agent may refuse before it has read all.
        let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        parse(&self.send(request.as_bytes()))
    }

    fn hash(&self, bytes: u64, rounds: u32, seed: u64) -> Answer {
        self.ask(
            "POST",
            "/hash",
            &serde_json::to_string(&HashRequest { kind: HashKind::Sha256, bytes, rounds, seed }).unwrap(),
        )
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}

#[test]
fn every_answer_is_whole_and_carries_the_nonce() {
    let agent = Agent::start();
    for (method, path, body, status) in [
        ("GET", "/", "", 200),
        ("GET", "/nothing", "", 404),
        ("DELETE", "/", "", 405),
        ("GET", "/hash", "", 405),
        ("POST", "/hash", "no JSON", 400),
        ("POST", "/hash", "{\"bytes\": 1, \"rounds\": 1, \"seed\": 1, \"more\": 1}", 400),
    ] {
        let answer = agent.ask(method, path, body);
        assert_eq!(answer.status, status, "{method} {path} {body}");
        let head = answer.head.to_lowercase();
        assert!(head.contains(&format!("{NONCE_HEADER}: {NONCE}")), "{method} {path}: {head}");
        let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse::<usize>().unwrap();
        assert_eq!(answer.body.len(), length, "{method} {path}");
    }
}

#[test]
fn the_statistics_parse() {
    let agent = Agent::start();
    let answer = agent.ask("GET", "/stats", "");
    // Reading the kernel's log takes a privilege that a test may lack; a guest's agent has it.
    if answer.status == 200 {
        let stats: Stats = serde_json::from_slice(&answer.body).unwrap();
        assert!(stats.cpus > 0 && stats.memory_bytes > 0 && !stats.kernel_release.is_empty());
    } else {
        assert_eq!(answer.status, 500);
        assert!(String::from_utf8_lossy(&answer.body).contains("kmsg"));
    }
}

#[test]
fn an_agent_that_shares_the_hosts_kernel_tells_its_instants_and_nothing_of_the_log() {
    let now = || {
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
        now.tv_sec().unsigned_abs() * 1_000_000_000 + now.tv_nsec().unsigned_abs()
    };
    let before = now();
    let mut agent = Agent::start_as("--shared-kernel");
    assert_eq!(agent.ask("GET", "/", "").status, 200);
    let answered = now();
    let answer = agent.ask("GET", "/stats", "");
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let stats: Stats = serde_json::from_slice(&answer.body).unwrap();
    let (listening_ns, answered_ns) = (stats.listening_ns.unwrap(), stats.answered_ns.unwrap());
    assert!(before < listening_ns && listening_ns < answered_ns && answered_ns < answered);
    assert_eq!((stats.kernel_messages, stats.last_message_us, stats.init_us), (0, None, None));
    assert_eq!((stats.random_seeded_us, stats.random_fast_init_us), (None, None));
    assert_eq!(agent.ask("POST", "/shutdown", "").status, 202);
    assert_eq!(agent.process.wait().unwrap().code(), Some(0));
}

#[test]
fn the_digest_is_that_of_the_bytes_that_both_sides_know() {
    let agent = Agent::start();
    for (bytes, seed) in [(0, 1), (1, 2), (4096, 3), (100_001, 2019)] {
        let reply: HashReply = serde_json::from_slice(&agent.hash(bytes, 3, seed).body).unwrap();
        let mut buffer = vec![0; usize::try_from(bytes).unwrap()];
        fill_pseudo_random(&mut buffer, seed);
        let expected: String = Sha256::digest(&buffer).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(reply.digest, expected, "{bytes} bytes");
    }
}

#[test]
fn a_copy_answers_with_the_digest_of_nothing() {
    let agent = Agent::start();
    let answer = agent.ask("POST", "/hash", r#"{"kind": "copy", "bytes": 1000000, "rounds": 2, "seed": 1}"#);
    let reply: HashReply = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(reply.digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(agent.ask("POST", "/hash", r#"{"kind": "sort", "bytes": 1, "rounds": 1, "seed": 1}"#).status, 400);
}

#[test]
fn work_beyond_the_limits_is_refused_before_it_begins() {
    let agent = Agent::start();
    assert_eq!(agent.hash(HashRequest::MAX_BYTES + 1, 1, 0).status, 400);
    assert_eq!(agent.hash(1, HashRequest::MAX_ROUNDS + 1, 0).status, 400);
    assert_eq!(agent.hash(u64::MAX, u32::MAX, 0).status, 400);
}

#[test]
fn what_is_no_request_ends_its_connection_and_nothing_else() {
    let agent = Agent::start();
    let endless = [b"GET / HTTP/1.1\r\nx: ".as_slice(), &vec![b'y'; 1 << 20]].concat();
    let lies = b"POST /hash HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n";
    for bytes in [b"\0\xff\xfe\r\n\r\n".as_slice(), b"GET", b"\r\n\r\n", &endless, lies] {
        let answer = agent.send(bytes);
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        assert_eq!(agent.ask("GET", "/", "").status, 200, "the agent does not answer any more");
    }
}

#[test]
fn two_requests_share_a_connection() {
    let agent = Agent::start();
    let answers = agent.send(b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nconnection: close\r\n\r\n");
    assert_eq!(String::from_utf8_lossy(&answers).matches("HTTP/1.1 200").count(), 2);
}

#[test]
fn a_shutdown_is_answered_whole_before_the_end() {
    let mut agent = Agent::start();
    assert_eq!(agent.ask("POST", "/shutdown", "").status, 202);
    assert!(agent.process.wait().unwrap().success());
}
