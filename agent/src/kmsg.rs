//! Reads the kernel log from `/dev/kmsg`.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use microbench_agent::kernel_log::KernelLog;

/// Reads the whole log.
///
/// # Errors
/// If `/dev/kmsg` cannot be read.
pub(crate) fn read() -> io::Result<KernelLog> {
    let mut file = File::options().read(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits()).open("/dev/kmsg")?;
    let mut log = KernelLog::default();
    let mut record = vec![0; 8 << 10];
    loop {
        match file.read(&mut record) {
            Ok(0) => return Ok(log),
            Ok(read) => log.add_record(&String::from_utf8_lossy(&record[..read])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(log),
            // The next record was overwritten; the next read returns the oldest remaining record.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => return Err(error),
        }
    }
}
