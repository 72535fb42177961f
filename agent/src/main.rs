//! The guest agent: one static program, a thread a connection, no async runtime.
//!
//! It serves the routes that the library half of this crate documents. As the first process of a guest it mounts what it reads
//! and reaps orphans besides. It configures no network: the kernel's `ip=` parameter does. In a container or as a plain process
//! (`--shared-kernel`) it does nothing but serve, the same routes by the same code.

mod disk;
mod hash;
mod http;
mod index;
mod init;
mod instants;
mod kmsg;
mod memory;
mod options;
mod routes;
mod stats;
mod traffic;
mod worker;

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;

use options::Options;

fn main() -> ExitCode {
    let options = match options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => return ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("microbench-agent: {message}");
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

fn serve(mut options: Options) -> std::io::Result<()> {
    // The first process of a container has no machine to look after.
    if std::process::id() == 1 && !options.shared_kernel {
        init::become_first_process();
    }
    if options.nonce.is_empty() {
        options.nonce = init::kernel_parameter(microbench_agent::NONCE_PARAMETER).unwrap_or_default();
    }
    let listener = TcpListener::bind(options.listen)?;
    instants::listening();
    let address = listener.local_addr()?;
    if !options.stay || options.shared_kernel {
        announce(&options.nonce);
    }
    let mark = format!("{} {} {address}", microbench_agent::READY_MARK, options.nonce);
    if options.stay {
        println!("{mark}");
        std::io::stdout().flush()?;
    } else {
        init::say(&mark);
    }
    let options = Arc::new(options);
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let options = Arc::clone(&options);
        // A guest that is out of threads refuses the connection by closing it.
        drop(std::thread::Builder::new().stack_size(256 << 10).spawn(move || http::serve(stream, &options)));
    }
    Ok(())
}

/// Tells the host that somebody listens. A broadcast needs no neighbour, so that nothing else about the network changes by it;
/// a guest without a network says nothing.
fn announce(nonce: &str) {
    let Ok(socket) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)) else { return };
    drop(socket.set_broadcast(true));
    drop(socket.send_to(nonce.as_bytes(), (Ipv4Addr::BROADCAST, microbench_agent::ANNOUNCE_PORT)));
}
