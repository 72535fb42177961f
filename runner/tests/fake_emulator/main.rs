//! A fake emulator. It inherits its port as QEMU does, and the content of its kernel selects how the emulated host
//! fails.

#![expect(clippy::print_stderr, clippy::print_stdout, reason = "the fake emulator may panic if it cannot print")]

use std::fs;
use std::io::{BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use microbench_measure::emulated_host::wire::{self, Job, Message};
use microbench_measure::sys;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |word: &str| {
        let at = arguments.iter().position(|argument| argument == word).expect("the argument is given");
        arguments[at + 1].clone()
    };
    if arguments.get(1).is_some_and(|argument| argument == "-help") {
        return;
    }
    let kernel = fs::read_to_string(after("-kernel")).expect("the kernel is readable");
    if kernel == "exits" {
        eprintln!("qemu-system-x86_64: cannot set up guest memory");
        std::process::exit(1);
    }
    let mut port = inherited_port();
    let build = if kernel == "other-build" { "0" } else { wire::BUILD };
    wire::send(&mut port, &Message::Up { build: build.into() }).expect("the runner reads");
    let job: Option<Job> = wire::receive(&mut BufReader::new(port.try_clone().expect("the port"))).expect("a job");
    let trial = job.expect("a job").trials[0].clone();
    wire::send(&mut port, &Message::Begin(trial)).expect("the runner reads");
    match kernel.as_str() {
        "panics" => {
            println!("booting\n\nKernel panic - not syncing: Attempted to kill init!\n---[ end ]---");
        }
        "prints-itself" => {
            let names =
                |folder: &str| fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
            let processes = names("/proc")
                .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().parse::<u32>().is_ok()));
            let files: Vec<_> =
                (0..6).filter_map(|number| fs::read_link(format!("/proc/self/fd/{number}")).ok()).collect();
            let written = ["/etc/left", "/usr/left", "/left"].iter().any(|path| fs::write(path, "x").is_ok());
            let status = fs::read_to_string("/proc/self/status").expect("a status");
            let found = serde_json::json!({
                "status": status, "processes": processes.count(), "files": files, "written": written,
            });
            println!("{found}");
        }
        "floods-console" => {
            let line = "x".repeat(1023);
            (0..64 << 10).for_each(|_| println!("{line}"));
            println!("the last line");
        }
        "closes-port" => {
            port.shutdown(Shutdown::Both).expect("the port is closed");
            loop {
                std::thread::park();
            }
        }
        "truncates-message" => port.write_all(b"{\"end\": {\"records\": [{\"tri").expect("the runner reads"),
        "sends-garbage" => {
            port.write_all(b"\x00\xff no message\n").expect("the runner reads");
            loop {
                std::thread::park();
            }
        }
        "never-responds" => loop {
            std::thread::park();
        },
        other => panic!("unknown kernel name: {other}"),
    }
}

/// The socket that is descriptor 5.
fn inherited_port() -> UnixStream {
    sys::duplicate_inherited(5).expect("the port is given").into()
}
