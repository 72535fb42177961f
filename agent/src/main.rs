//! The guest agent: a static program with one thread per connection and without an async runtime.
//!
//! It serves the routes that the library of this crate documents. As init of a guest it also mounts file systems and
//! reaps orphans. It does not configure the network; the kernel parameter `ip=` does. In a container or as a plain
//! process (`--shared-kernel`) it only serves the routes.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("the guest agent supports x86-64 Linux guests only: build it with --target x86_64-unknown-linux-gnu");

mod disk;
mod execute;
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

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;

use options::{Command, Options};

fn main() -> ExitCode {
    let options = match options::parse(std::env::args().skip(1)) {
        Ok(Command::Serve(options)) => options,
        Ok(Command::Print(text)) => {
            let Err(error) = print(&text) else { return ExitCode::SUCCESS };
            print_error(&format!("cannot write to standard output: {error}"));
            return ExitCode::FAILURE;
        }
        Err(message) => {
            print_error(&message);
            return ExitCode::from(2);
        }
    };
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            init::print_to_console(&format!("microbench-agent: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard output. Unlike `print!` it does not panic on failure, which would end the guest.
fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes a message to standard error; ignores failures.
fn print_error(message: &str) {
    drop(std::io::stderr().write_all(format!("microbench-agent: {message}\n").as_bytes()));
}

fn serve(mut options: Options) -> std::io::Result<()> {
    // In a container, the agent can be PID 1 without being the init of a machine.
    if std::process::id() == 1 && !options.shared_kernel {
        init::set_up();
    }
    let parameters = if options.stay { String::new() } else { init::kernel_parameters() };
    let parameter = |name: &str| init::find_parameter(&parameters, name);
    if options.nonce.is_empty() {
        options.nonce = parameter(microbench_agent::NONCE_PARAMETER).unwrap_or_default().to_owned();
    }
    options.power_off = parameter(microbench_agent::END_PARAMETER) == Some("power-off");
    let has_no_network = parameter(microbench_agent::NETWORK_PARAMETER) == Some("off");
    let is_traced = parameter(microbench_agent::MARKS_PARAMETER) == Some("on");
    let listener = TcpListener::bind(options.listen)?;
    instants::record_listening();
    if is_traced {
        init::write_mark();
    }
    let address = listener.local_addr()?;
    if !options.stay || options.shared_kernel {
        send_ready_datagram(&options.nonce);
    }
    let ready = format!("{} {} {address}", microbench_agent::READY_MARK, options.nonce);
    if has_no_network {
        instants::record_response();
        init::print_to_console(&ready);
        print_stats(&options);
        init::end_machine(options.power_off);
    }
    if options.stay {
        // The agent serves even if nothing reads its standard output, so a failure is ignored.
        drop(print(&format!("{ready}\n")));
    } else {
        init::print_to_console(&ready);
    }
    let options = Arc::new(options);
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let options = Arc::clone(&options);
        // If no thread can be created, the connection is closed.
        drop(
            std::thread::Builder::new()
                .stack_size(256 << 10)
                .spawn(move || http::serve(stream, &options, routes::respond)),
        );
    }
    Ok(())
}

/// Prints [`microbench_agent::Stats`] on the console of a guest without a network.
fn print_stats(options: &Options) {
    let stats = stats::read(options).and_then(|stats| Ok(serde_json::to_string(&stats)?));
    match stats {
        Ok(stats) => init::print_to_console(&format!("{} {} {stats}", microbench_agent::STATS_MARK, options.nonce)),
        Err(error) => init::print_to_console(&format!("microbench-agent: cannot read the statistics: {error}")),
    }
}

/// Broadcasts the ready datagram. A broadcast needs no neighbour entry, so it does not change the state of the network.
/// Failures are ignored, because a guest may have no network.
fn send_ready_datagram(nonce: &str) {
    let Ok(socket) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)) else { return };
    drop(socket.set_broadcast(true));
    drop(socket.send_to(nonce.as_bytes(), (Ipv4Addr::BROADCAST, microbench_agent::READY_DATAGRAM_PORT)));
}
