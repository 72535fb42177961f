//! The command line of the agent. A guest with its own kernel starts it without arguments. The options are for
//! containers, plain processes, and tests on a host.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

const HELP: &str = "\
microbench-agent: the guest agent of microbench

Usage: microbench-agent [OPTIONS]

Options:
  --listen ADDRESS:PORT   address to listen on [default: 0.0.0.0:80]
  --index FILE            file that GET / reads and GET /file serves [default: /srv/index.bin]
  --disk FILE             file or disk that disk workloads access [default: /dev/vda]
  --nonce HEX             nonce of every response [default: the kernel parameter microbench.nonce=]
  --shared-kernel         for a container or a plain process: mount nothing, print the ready line on standard output,
                          report no kernel log, and exit with code 0 on POST /shutdown
  --stay                  for tests: print the ready line on standard output, and exit on POST /shutdown
  --idle-timeout-ms N     close a connection after this time without data [default: 10000]
  --help, --version
";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) listen: SocketAddr,
    /// File that `GET /` reads and `GET /file` serves.
    pub(crate) index: PathBuf,
    /// File or disk that disk workloads access.
    pub(crate) disk: PathBuf,
    /// Nonce of every response; empty until it is read from the kernel parameters.
    pub(crate) nonce: String,
    /// Whether `POST /shutdown` ends the process instead of the machine.
    pub(crate) stay: bool,
    /// Whether the kernel is that of the host; implies `stay`.
    pub(crate) shared_kernel: bool,
    /// Whether the guest powers off instead of restarting; false until it is read from the kernel parameters.
    pub(crate) power_off: bool,
    /// Time without data after which a connection is closed.
    pub(crate) idle: Duration,
}

/// What the command line requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Serve the routes.
    Serve(Options),
    /// Print this text and exit.
    Print(String),
}

/// Parses the command line.
///
/// # Errors
/// A message that names the invalid argument.
pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut options = Options {
        listen: (Ipv4Addr::UNSPECIFIED, microbench_agent::PORT).into(),
        index: PathBuf::from(microbench_agent::INDEX_FILE),
        disk: PathBuf::from(microbench_agent::DISK),
        nonce: String::new(),
        stay: false,
        shared_kernel: false,
        power_off: false,
        idle: Duration::from_secs(10),
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} requires a value"));
        match argument.as_str() {
            "--listen" => {
                options.listen = value()?.parse().map_err(|_| "--listen requires ADDRESS:PORT".to_owned())?;
            }
            "--index" => options.index = value()?.into(),
            "--disk" => options.disk = value()?.into(),
            "--nonce" => options.nonce = value()?,
            "--idle-timeout-ms" => {
                let number = value()?.parse().map_err(|_| "--idle-timeout-ms requires a number".to_owned())?;
                options.idle = Duration::from_millis(number);
            }
            "--stay" => options.stay = true,
            "--shared-kernel" => (options.shared_kernel, options.stay) = (true, true),
            "--help" => return Ok(Command::Print(HELP.to_owned())),
            "--version" => return Ok(Command::Print(format!("microbench-agent {}\n", env!("CARGO_PKG_VERSION")))),
            // The kernel passes unknown parameters to init as arguments.
            _ if std::process::id() == 1 => {}
            _ => return Err(format!("unknown argument {argument}; --help lists the options")),
        }
    }
    Ok(Command::Serve(options))
}
