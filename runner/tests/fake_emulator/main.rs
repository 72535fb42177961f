//! A fake emulator. It connects to its port as QEMU does, and the name of its kernel selects how the emulated host
//! fails.

#![expect(clippy::print_stderr, reason = "the fake emulator may panic if it cannot print")]

use std::fs;
use std::io::{BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use microbench_measure::emulated_host::wire::{self, Job, Message};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |word: &str| {
        let at = arguments.iter().position(|argument| argument == word).expect("the argument is given");
        arguments[at + 1].clone()
    };
    let path_of = |device: &str| {
        let begin = format!("{device},path=");
        arguments.iter().find_map(|argument| argument.strip_prefix(&begin)).expect("the device is given").to_owned()
    };
    let kernel = after("-kernel");
    if kernel == "exits" {
        eprintln!("qemu-system-x86_64: cannot set up guest memory");
        std::process::exit(1);
    }
    let mut port = UnixStream::connect(path_of("socket,id=port")).expect("the runner listens");
    let build = if kernel == "other-build" { "0" } else { wire::BUILD };
    wire::send(&mut port, &Message::Up { build: build.into() }).expect("the runner reads");
    let job: Option<Job> = wire::receive(&mut BufReader::new(port.try_clone().expect("the port"))).expect("a job");
    let trial = job.expect("a job").trials[0].clone();
    wire::send(&mut port, &Message::Begin(trial)).expect("the runner reads");
    match kernel.as_str() {
        "panics" => {
            let log = "booting\n\nKernel panic - not syncing: Attempted to kill init!\n---[ end ]---\n";
            fs::write(path_of("file,id=log"), log).expect("the console is written");
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
