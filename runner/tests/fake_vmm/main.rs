//! A fake VMM. It acts as a VMM with one guest, speaks the agent's protocol, and fails in the way that its mode
//! selects. With the mode `report KEY=JSON`, or `restore report KEY=JSON`, it reports this JSON as the value of this key
//! of its statistics or of the result of a workload.
//!
//! It attaches to the runner's tap, enters a new network namespace, creates an interface with the guest's addresses
//! there, and forwards frames between the two. The runner therefore reaches it like a guest.
//!
//! Usage: `fake-vmm MODE TAP MAC GUEST_IP BOOT_ARGS FOLDER TEST_FOLDER`. Tests find the process by `TEST_FOLDER`.

#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a VMM without its console may end")]

mod api;
mod leave;
mod scan;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use microbench_agent::workload::{
    Latency, Stream, StreamReply, WorkloadKind, WorkloadReply, WorkloadRequest, hex, pseudo_random, sum,
};
use microbench_agent::{
    INDEX_SEED, NETWORK_PARAMETER, NONCE_HEADER, NONCE_PARAMETER, READY_MARK, RESTART_MARK, STATS_MARK, Stats,
};
use microbench_measure::selftest::fake_guest;
use microbench_measure::sys;
use nix::poll::{PollFd, PollFlags, PollTimeout};

/// Start of the clock of the guest's simulated kernel. Unset in modes without a kernel clock.
static KERNEL_START: OnceLock<Instant> = OnceLock::new();
/// Instant at which the guest began to listen, in ns of the kernel clock.
static LISTENING_NS: OnceLock<u64> = OnceLock::new();
/// Instant of the last response to `GET /`, in ns of the kernel clock.
static RESPONDED_NS: Mutex<Option<u64>> = Mutex::new(None);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, tap, mac, ip, boot_args, folder, ..] = arguments.as_slice() else { panic!("six arguments") };
    match mode.as_str() {
        "exit-at-once" => {
            eprintln!("fake-vmm: cannot start");
            std::process::exit(3);
        }
        "idle" => loop {
            std::thread::park();
        },
        "print-environment" => print_environment(),
        "leave-behind" => {
            println!("fake-vmm: found {}", leave::look_and_leave(folder, arguments.last().expect("a folder")))
        }
        "fill-folder" => println!("fake-vmm: {}", leave::fill_folder(folder)),
        // A wrapper that outlives nothing: it waits for the VMM, which never responds.
        "wrap" => {
            let program = std::env::current_exe().expect("this program");
            let rest = &arguments[1..];
            let mut vmm = std::process::Command::new(program).arg("silent").args(rest).spawn().expect("a VMM");
            vmm.wait().expect("a status");
        }
        "refuse" => {
            eprintln!("fake-vmm: this host lacks the level");
            std::process::exit(1);
        }
        _ => {}
    }
    let word = format!("{NONCE_PARAMETER}=");
    let nonce = boot_args.split(' ').find_map(|w| w.strip_prefix(&word)).unwrap_or_default().to_owned();
    if boot_args.split(' ').any(|word| word == format!("{NETWORK_PARAMETER}=off")) {
        return run_without_network(mode, &nonce);
    }
    let mac = fake_guest::parse_mac(mac).expect("a MAC address");
    fake_guest::join(tap, mac, ip.parse().expect("an address")).expect("a network");
    // `join` enters a namespace, which requires a process with a single thread. The API starts one.
    let (nonce, restored) = match mode.as_str() {
        mode if mode.starts_with("restore") || mode == "refuse-snapshot" => {
            let guest = api::guest(folder, &nonce, mode);
            (guest.nonce, guest.restored)
        }
        _ => (nonce, false),
    };
    // Without a console the guest prints nothing.
    let console = boot_args.split(' ').any(|word| word.starts_with("console="));
    if console {
        let given = std::fs::read_to_string(format!("{folder}/given")).expect("the file of the description");
        println!("fake-vmm: booting with {boot_args}, given {given}");
    }
    match mode.as_str() {
        "silent" => loop {
            std::thread::park();
        },
        "flood-console" => loop {
            println!("{}", "x".repeat(4096));
        },
        "large-console" => (0..900).for_each(|_| println!("{}", "x".repeat(1023))),
        "crash" => std::process::exit(9),
        // The third octet of the address is the number of the VM.
        "two-at-most" if ip.parse::<Ipv4Addr>().expect("an address").octets()[2] >= 2 => std::process::exit(9),
        "stopped" => nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP).expect("a signal"),
        "exhaust-memory" => exhaust_memory(),
        "flood-tap" => drop(std::thread::spawn(flood_tap)),
        "kernel-error" => println!("[    1.0] BUG: soft lockup"),
        "kernel-error-once" if folder.contains("-a0-") => println!("[    1.0] BUG: soft lockup"),
        // As in a real guest, the network is up before the agent listens.
        "late" => std::thread::sleep(Duration::from_millis(50)),
        // By its time stamps, the kernel starts init 100 ms after its own start.
        "phases" | "no-init" => {
            wait_for_request();
            KERNEL_START.get_or_init(Instant::now);
            std::thread::sleep(Duration::from_millis(120));
        }
        _ => {}
    }
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, microbench_agent::PORT)).expect("port 80");
    if let Some(now) = uptime_ns() {
        LISTENING_NS.get_or_init(|| now);
    }
    match mode.as_str() {
        "no-ready-datagram" => {}
        _ if restored => {}
        "wrong-ready-datagrams" => (0..1000).for_each(|_| fake_guest::send_ready_datagram("not a nonce")),
        _ => fake_guest::send_ready_datagram(&nonce),
    }
    if console && !restored {
        println!("{READY_MARK} {nonce}");
    }
    for stream in listener.incoming() {
        let (mode, nonce) = (mode.clone(), nonce.clone());
        std::thread::spawn(move || serve(&stream.expect("a connection"), &mode, &nonce, console));
    }
}

/// Prints the inherited descriptors, variables, working directory, session and session keyring as JSON.
fn print_environment() {
    let open = std::fs::read_dir("/proc/self/fd").expect("descriptors").flatten();
    let files: Vec<PathBuf> = open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect();
    // Without the descriptor of /proc/self/fd itself.
    let files: Vec<&PathBuf> = files.iter().filter(|file| !file.starts_with("/proc")).collect();
    let names: Vec<String> = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    let folder = std::env::current_dir().expect("a working folder");
    let session = nix::unistd::getsid(None).expect("a session").as_raw();
    let keyring = sys::session_keyring().ok();
    println!(
        "fake-vmm: has {}",
        serde_json::json!({
            "files": files, "variables": names, "folder": folder, "session": session, "keyring": keyring,
        })
    );
}

/// Waits for a connection and refuses it. The runner connects after it has recorded `vmm.exec`, so later events of this
/// process follow `vmm.exec`, even on a busy machine.
fn wait_for_request() {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, microbench_agent::PORT)).expect("port 80");
    let mut asked = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    nix::poll::poll(&mut asked, PollTimeout::NONE).expect("a request");
    // Closing the listener resets the connection, which was not accepted.
}

/// A guest without a network: prints its marks and statistics on the console, and exits.
fn run_without_network(mode: &str, nonce: &str) {
    KERNEL_START.get_or_init(Instant::now);
    println!("fake-vmm: booting without a network");
    match mode {
        "silent" => loop {
            std::thread::park();
        },
        "mute" => return,
        "wrong-nonce" => return println!("{READY_MARK} 00\n{STATS_MARK} 00 {{}}"),
        _ => {}
    }
    *RESPONDED_NS.lock().expect("a lock") = uptime_ns();
    println!("{READY_MARK} {nonce}");
    let stats = match mode {
        "garbage" => "{\"kernel_messages\": ".to_owned(),
        _ => String::from_utf8(reported(&guest_stats(mode), mode)).expect("JSON"),
    };
    println!("{STATS_MARK} {nonce} {stats}\n{RESTART_MARK}");
}

/// Reads a request. Returns its route (`GET /path`) and its body, or `None` if the peer has closed the connection.
fn read_request(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        head.push(line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let route = head[0].rsplit_once(' ').map(|(route, _)| route.to_owned()).unwrap_or_default();
    Some((route, body))
}

/// Status and body of the response to `route` of a guest that does not fail.
fn respond(route: &str, body: &[u8], mode: &str) -> (u16, Vec<u8>) {
    match route {
        "GET /" => {
            *RESPONDED_NS.lock().expect("a lock") = uptime_ns();
            (200, b"hello\n".to_vec())
        }
        "GET /stats" => (200, reported(&guest_stats(mode), mode)),
        "POST /work" => {
            // The workload has the longest deadline, which the scan needs.
            if mode == "scan-network" {
                println!("fake-vmm: {}", scan::scan_all());
            }
            (200, run_workload(body, mode))
        }
        "POST /stream" => {
            let length = body.len() as u64;
            let bytes = length - u64::from(mode == "wrong-digest");
            let reply = StreamReply { bytes: length, checksum: hex(Stream::new().sum(bytes)) };
            (200, serde_json::to_vec(&reply).expect("JSON"))
        }
        route if route.starts_with("GET /file?bytes=") => {
            (200, pseudo_random(parse_byte_count(route), INDEX_SEED + u64::from(mode == "wrong-digest")))
        }
        route if route.starts_with("GET /stream?bytes=") => (200, stream_bytes(parse_byte_count(route), mode)),
        _ => (202, Vec::new()),
    }
}

fn serve(stream: &TcpStream, mode: &str, nonce: &str, console: bool) {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    while let Some((route, body)) = read_request(&mut reader) {
        let (status, answer) = respond(&route, &body, mode);
        let sent = match (mode, route.as_str()) {
            ("garbage", "GET /stats") => b"\x00\xff not HTTP at all\r\n\r\n".to_vec(),
            ("half-json", "GET /stats") => http_response(status, &answer[..answer.len() / 2], nonce),
            ("wrong-nonce", "GET /") | ("wrong-nonce-later", "GET /stats") => http_response(status, &answer, "another"),
            ("mute", "GET /") | ("mute-later", "GET /stats") => loop {
                std::thread::park();
            },
            ("drip", "GET /") | ("drip-later", "GET /stats") => {
                // An endless head, sent byte by byte.
                drop(writer.write_all(b"HTTP/1.1 200 OK\r\nx: "));
                while writer.write_all(b"y").is_ok() {
                    std::thread::sleep(Duration::from_millis(20));
                }
                return;
            }
            ("big-head", "GET /") | ("big-head-later", "GET /stats") => {
                drop(writer.write_all(b"HTTP/1.1 200 OK\r\nx: "));
                for _ in 0..1 << 14 {
                    if writer.write_all(&[b'y'; 1 << 16]).is_err() {
                        return;
                    }
                }
                return;
            }
            ("endless-body", "GET /stats") => {
                let head = format!("HTTP/1.1 200 OK\r\n{NONCE_HEADER}: {nonce}\r\ncontent-length: 1073741824\r\n\r\n");
                drop(writer.write_all(head.as_bytes()));
                while writer.write_all(&[b'x'; 65536]).is_ok() {}
                return;
            }
            ("redirect", "GET /stats") => {
                format!("HTTP/1.1 302 Found\r\nlocation: http://10.0.0.1/\r\n{NONCE_HEADER}: {nonce}\r\ncontent-length: 0\r\n\r\n")
                    .into_bytes()
            }
            ("cut-traffic", route) if is_timed_by_host(route) => {
                drop(writer.write_all(&http_response(status, &answer, nonce)[..1000]));
                return;
            }
            ("long-traffic", route) if is_timed_by_host(route) => {
                http_response(status, &[&answer[..], b"x"].concat(), nonce)
            }
            ("traffic-wrong-nonce", route) if is_timed_by_host(route) => http_response(status, &answer, "another"),
            ("traffic-big-head", route) if is_timed_by_host(route) => vec![b'y'; 1 << 20],
            ("mute-traffic", route) if is_timed_by_host(route) => loop {
                std::thread::park();
            },
            _ => http_response(status, &answer, nonce),
        };
        if writer.write_all(&sent).is_err() {
            return;
        }
        if route == "POST /shutdown" {
            if console {
                println!("{RESTART_MARK}");
            }
            if mode == "no-stop" {
                loop {
                    std::thread::park();
                }
            }
            // Wait until the peer has received the response and closed the connection: exiting removes the guest's
            // network, and a response in transit would be lost.
            drop(stream.shutdown(Shutdown::Write));
            drop(stream.set_read_timeout(Some(Duration::from_secs(10))));
            drop(reader.read(&mut [0; 1]));
            std::process::exit(if mode == "bad-exit" { 7 } else { 0 });
        }
    }
}

/// Allocates memory until the process is killed.
fn exhaust_memory() {
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    loop {
        blocks.push(vec![1; 16 << 20]);
    }
}

/// Sends datagrams to the host forever.
fn flood_tap() {
    loop {
        fake_guest::send_ready_datagram("not a nonce");
    }
}

fn http_response(status: u16, body: &[u8], nonce: &str) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} x\r\n{NONCE_HEADER}: {nonce}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Time of the simulated kernel clock, ns. `None` in modes without a kernel clock.
fn uptime_ns() -> Option<u64> {
    let begin = KERNEL_START.get()?;
    Some(u64::try_from(begin.elapsed().as_nanos()).expect("an uptime"))
}

/// `value` as JSON, with the value of one key replaced as the mode `report KEY=JSON` states. The replacement may be
/// invalid JSON.
fn reported(value: &impl serde::Serialize, mode: &str) -> Vec<u8> {
    let json = serde_json::to_string(value).expect("JSON");
    let Some((key, replacement)) = mode.split_once("report ").and_then(|(_, report)| report.split_once('=')) else {
        return json.into_bytes();
    };
    let key = format!("\"{key}\":");
    let Some((before, after)) = json.split_once(&key) else { return json.into_bytes() };
    let rest = &after[after.find([',', '}']).expect("the end of the value")..];
    format!("{before}{key}{replacement}{rest}").into_bytes()
}

fn guest_stats(mode: &str) -> Stats {
    // The times of a guest lie within the time for which the host sees it. Only these modes take longer than 120 ms.
    let times_us = if matches!(mode, "phases" | "no-init") { 100_000 } else { 1_000 };
    Stats {
        kernel_messages: 42,
        last_message_us: Some(times_us + 100),
        init_us: (mode != "no-init").then_some(times_us),
        random_seeded_us: Some(500),
        random_fast_init_us: None,
        listening_ns: LISTENING_NS.get().copied(),
        answered_ns: *RESPONDED_NS.lock().expect("a lock"),
        uptime_ms: 1,
        cmdline: "fake".into(),
        kernel_release: "6.1.0-fake".into(),
        cpus: 1,
        cpu_model: "fake".into(),
        // The smallest memory of a VM.
        memory_bytes: 32 << 20,
        clocksource: "fake".into(),
    }
}

fn run_workload(body: &[u8], mode: &str) -> Vec<u8> {
    let asked: WorkloadRequest = serde_json::from_slice(body).expect("a request");
    let checksum = match mode {
        "wrong-digest" => WorkloadRequest { seed: asked.seed + 1, bytes: asked.bytes + 1, ..asked }.expected_checksum(),
        _ => asked.expected_checksum(),
    };
    let checksum = if mode == "wrong-digest" && checksum == asked.expected_checksum() { "?".into() } else { checksum };
    let operation = asked.disk.map(|_| Latency { p50_ns: 1_000, p99_ns: 2_000 });
    let backend = (asked.kind == WorkloadKind::Sha256).then(|| "soft".into());
    // Shorter than the tolerance for the clocks, so that a fast host does not refuse it.
    reported(&WorkloadReply { checksum, duration_ns: 500_000, backend, operation }, mode)
}

/// Whether the host times the workload of this route itself.
fn is_timed_by_host(route: &str) -> bool {
    route.starts_with("GET /file?") || route.starts_with("GET /stream?")
}

/// The number at the end of a route.
fn parse_byte_count(route: &str) -> usize {
    route.rsplit_once('=').and_then(|(_, number)| number.parse().ok()).expect("a number")
}

fn stream_bytes(bytes: usize, mode: &str) -> Vec<u8> {
    let (stream, mut all) = (Stream::new(), Vec::new());
    while all.len() < bytes {
        all.extend_from_slice(stream.next((bytes - all.len()) as u64));
    }
    assert_eq!(sum(&all), stream.sum(bytes as u64));
    all[0] ^= u8::from(mode == "wrong-digest");
    all
}
