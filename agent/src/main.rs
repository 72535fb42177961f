//! The guest agent: one static program, a thread a connection, no async runtime.
//!
//! It serves the routes that the library half of this crate documents. As the first process of a guest it mounts what it reads
//! and reaps orphans besides. It configures no network: the kernel's `ip=` parameter does. In a container or as a plain process
//! (`--shared-kernel`) it does nothing but serve, the same routes by the same code.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("the guest agent is for x86-64 Linux guests alone: build it with --target x86_64-unknown-linux-gnu");

mod disk;
mod hash;
mod http;
mod index;
mod init;
mod instants;
mod kmsg;
mod memory;
mod options;
mod reply;
mod routes;
mod stats;
mod traffic;
mod worker;

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;

use options::{Asked, Options};

fn main() -> ExitCode {
    let options = match options::parse(std::env::args().skip(1)) {
        Ok(Asked::Serve(options)) => options,
        Ok(Asked::Print(text)) => {
            let Err(error) = print(&text) else { return ExitCode::SUCCESS };
            complain(&format!("cannot write to standard output: {error}"));
            return ExitCode::FAILURE;
        }
        Err(message) => {
            complain(&message);
            return ExitCode::from(2);
        }
    };
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            init::say(&format!("microbench-agent: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard output. `print!` panics where that fails, which ends a guest.
fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes an error to standard error; does nothing where that fails.
fn complain(message: &str) {
    drop(std::io::stderr().write_all(format!("microbench-agent: {message}\n").as_bytes()));
}

fn serve(mut options: Options) -> std::io::Result<()> {
    // The first process of a container has no machine to look after.
    if std::process::id() == 1 && !options.shared_kernel {
        init::become_first_process();
    }
    let words = if options.stay { String::new() } else { init::command_line() };
    let word = |name: &str| init::parameter(&words, name);
    if options.nonce.is_empty() {
        options.nonce = word(microbench_agent::NONCE_PARAMETER).unwrap_or_default().to_owned();
    }
    options.power_off = word(microbench_agent::END_PARAMETER) == Some("power-off");
    let alone = word(microbench_agent::NETWORK_PARAMETER) == Some("off");
    let marks = word(microbench_agent::MARKS_PARAMETER) == Some("on");
    let listener = TcpListener::bind(options.listen)?;
    instants::listening();
    if marks {
        init::mark();
    }
    let address = listener.local_addr()?;
    if !options.stay || options.shared_kernel {
        announce(&options.nonce);
    }
    let mark = format!("{} {} {address}", microbench_agent::READY_MARK, options.nonce);
    if alone {
        instants::answered();
        init::say(&mark);
        tell_on_console(&options);
        init::end(options.power_off);
    }
    if options.stay {
        // Whoever asks the agent for work needs no mark: it serves without a reader of its output, too.
        drop(print(&format!("{mark}\n")));
    } else {
        init::say(&mark);
    }
    let options = Arc::new(options);
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let options = Arc::clone(&options);
        // A guest that is out of threads refuses the connection by closing it.
        drop(
            std::thread::Builder::new()
                .stack_size(256 << 10)
                .spawn(move || http::serve(stream, &options, routes::answer)),
        );
    }
    Ok(())
}

/// Says on the console what nobody can ask for.
fn tell_on_console(options: &Options) {
    let stats = stats::read(options).and_then(|stats| Ok(serde_json::to_string(&stats)?));
    match stats {
        Ok(stats) => init::say(&format!("{} {} {stats}", microbench_agent::STATS_MARK, options.nonce)),
        Err(error) => init::say(&format!("microbench-agent: no statistics: {error}")),
    }
}

/// Tells the host that somebody listens. A broadcast needs no neighbour, so that nothing else about the network changes by it;
/// a guest without a network says nothing.
fn announce(nonce: &str) {
    let Ok(socket) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)) else { return };
    drop(socket.set_broadcast(true));
    drop(socket.send_to(nonce.as_bytes(), (Ipv4Addr::BROADCAST, microbench_agent::ANNOUNCE_PORT)));
}
