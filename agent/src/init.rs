//! Tasks of a guest's init: mounts, orphans, the console, the end of the machine.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;

use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::termios::tcdrain;
use nix::sys::wait::wait;

/// Mounts the file systems that the agent reads, and starts a thread that reaps orphans. Existing mounts are kept.
pub(crate) fn set_up() {
    for (kind, target) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys"), ("tmpfs", "/run")] {
        // The kernel may have mounted it already (CONFIG_DEVTMPFS_MOUNT). If it is missing, `GET /stats` reports the
        // error.
        let _ = mount(Some(kind), target, Some(kind), MsFlags::MS_NOSUID, None::<&str>);
    }
    // The agent starts no processes; orphans exist only if the image contains other programs.
    drop(std::thread::Builder::new().stack_size(64 << 10).spawn(|| while wait().is_ok() {}));
}

/// Writes a line to the console with a single write(2); to standard output if there is no console.
pub(crate) fn print_to_console(line: &str) {
    let line = format!("{line}\n");
    let console = File::options().write(true).open("/dev/console");
    if console.and_then(|mut console| console.write_all(line.as_bytes())).is_err() {
        drop(std::io::stdout().write_all(line.as_bytes()));
    }
}

/// Writes the agent's mark to its I/O port, where a trace on the host observes it. Does nothing if the kernel has no
/// `/dev/port`.
pub(crate) fn write_mark() {
    let ports = File::options().write(true).open("/dev/port");
    drop(ports.and_then(|ports| ports.write_at(&[microbench_agent::MARK], microbench_agent::MARK_PORT.into())));
}

/// The kernel parameters; empty if they cannot be read.
pub(crate) fn kernel_parameters() -> String {
    fs::read_to_string("/proc/cmdline").unwrap_or_default()
}

/// The value of `name=` in the kernel parameters.
pub(crate) fn find_parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    parameters.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// Ends the machine: powers it off, or restarts it with the method of the kernel parameter `reboot=`. The engines
/// configure their VMMs to exit on a restart.
pub(crate) fn end_machine(power_off: bool) -> ! {
    nix::unistd::sync();
    print_to_console(microbench_agent::RESTART_MARK);
    // Bytes in the buffer of the driver are lost on a restart: with 20 guests on one CPU, a quarter of the lines was
    // lost.
    if let Ok(console) = File::options().write(true).open("/dev/console") {
        let _ = tcdrain(console);
    }
    let Err(error) = reboot(if power_off { RebootMode::RB_POWER_OFF } else { RebootMode::RB_AUTOBOOT });
    print_to_console(&format!("microbench-agent: cannot end the machine: {error}"));
    std::process::exit(1)
}
