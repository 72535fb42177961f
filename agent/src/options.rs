//! The agent's command line. In a guest with a kernel of its own it takes none; the options are for containers, plain processes, and its
//! tests on a host.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

const HELP: &str = "\
microbench-agent: the guest agent of microbench

Usage: microbench-agent [OPTIONS]

Options:
  --listen ADDRESS:PORT   where to listen [default: 0.0.0.0:80]
  --index FILE            what GET / reads and GET /file serves [default: /srv/index.bin]
  --disk FILE             what disk work reads and writes [default: /dev/vda]
  --nonce HEX             nonce of every answer [default: microbench.nonce= on the kernel's command line]
  --shared-kernel         for a container or a plain process, whose kernel is the host's: nothing is mounted, the ready mark goes to
                          standard output, GET /stats tells nothing of the kernel's log and its instants on CLOCK_MONOTONIC, and
                          POST /shutdown ends this process with exit code 0
  --stay                  for tests: the ready mark goes to standard output, POST /shutdown ends this process only
  --idle-timeout-ms N     close a connection on which nothing arrives for so long [default: 10000]
  --help, --version
";

/// What the agent was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// What `GET /` reads, and `GET /file` serves.
    pub(crate) index: PathBuf,
    /// What disk work reads and writes.
    pub(crate) disk: PathBuf,
    /// Nonce of every answer; empty until read from the kernel's command line.
    pub(crate) nonce: String,
    /// `POST /shutdown` ends the process and leaves the machine running.
    pub(crate) stay: bool,
    /// The kernel is the host's; `stay` holds as well.
    pub(crate) shared_kernel: bool,
    /// The guest powers its machine off instead of restarting it; false until read from the kernel's command line.
    pub(crate) power_off: bool,
    /// A connection on which nothing arrives for so long is closed.
    pub(crate) idle: Duration,
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To serve.
    Serve(Options),
    /// To print this text.
    Print(String),
}

/// Parses the command line.
///
/// # Errors
/// What is wrong with the arguments.
pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
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
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--listen" => {
                options.listen = value()?.parse().map_err(|_| "--listen takes ADDRESS:PORT".to_owned())?;
            }
            "--index" => options.index = value()?.into(),
            "--disk" => options.disk = value()?.into(),
            "--nonce" => options.nonce = value()?,
            "--idle-timeout-ms" => {
                let number = value()?.parse().map_err(|_| "--idle-timeout-ms takes a number".to_owned())?;
                options.idle = Duration::from_millis(number);
            }
            "--stay" => options.stay = true,
            "--shared-kernel" => (options.shared_kernel, options.stay) = (true, true),
            "--help" => return Ok(Asked::Print(HELP.to_owned())),
            "--version" => return Ok(Asked::Print(format!("microbench-agent {}\n", env!("CARGO_PKG_VERSION")))),
            // As the first process the kernel may hand over words that it did not understand.
            _ if std::process::id() == 1 => {}
            _ => return Err(format!("unknown argument {argument}; --help lists them")),
        }
    }
    Ok(Asked::Serve(options))
}
