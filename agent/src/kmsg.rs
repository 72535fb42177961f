//! Reads the kernel's log from `/dev/kmsg`, one record a read.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use microbench_agent::kernel_log::KernelLog;

/// Reads the whole log.
///
/// # Errors
/// When `/dev/kmsg` cannot be read.
pub(crate) fn read() -> io::Result<KernelLog> {
    let mut file = File::options().read(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits()).open("/dev/kmsg")?;
    let mut log = KernelLog::default();
    let mut record = vec![0; 8 << 10];
    loop {
        match file.read(&mut record) {
            Ok(0) => return Ok(log),
            Ok(read) => log.take(&String::from_utf8_lossy(&record[..read])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(log),
            // A record was overwritten while we read; the next read gives the oldest that is left.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => return Err(error),
        }
    }
}
