//! A stand-in for the emulator: it connects to its port as QEMU does, and the machine that it plays goes wrong as the name of its kernel
//! says.

#![expect(clippy::print_stderr, reason = "an emulator without its console may end")]

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
    let build = if kernel == "is-of-another-build" { "0" } else { wire::BUILD };
    wire::send(&mut port, &Message::Up { build: build.into() }).expect("the runner reads");
    let job: Option<Job> = wire::receive(&mut BufReader::new(port.try_clone().expect("the port"))).expect("a job");
    let trial = job.expect("a job").trials[0].clone();
    wire::send(&mut port, &Message::Begin(trial)).expect("the runner reads");
    match kernel.as_str() {
        "panics" => {
            let words = "booting\n\nKernel panic - not syncing: Attempted to kill init!\n---[ end ]---\n";
            fs::write(path_of("file,id=log"), words).expect("the console is written");
        }
        "loses-its-port" => {
            port.shutdown(Shutdown::Both).expect("the port is closed");
            loop {
                std::thread::park();
            }
        }
        "cuts-a-message" => port.write_all(b"{\"end\": {\"records\": [{\"tri").expect("the runner reads"),
        "babbles" => {
            port.write_all(b"\x00\xff no message\n").expect("the runner reads");
            loop {
                std::thread::park();
            }
        }
        "is-silent" => loop {
            std::thread::park();
        },
        other => panic!("no such way to go wrong: {other}"),
    }
}
