//! What the first process of a guest has to do, and what only the machine's owner may: mounts, orphans, the console, restart.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;

use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::termios::tcdrain;
use nix::sys::wait::wait;

/// Mounts what the agent reads, and reaps orphans from now on. What is mounted already stays.
pub(crate) fn become_first_process() {
    for (kind, target) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys"), ("tmpfs", "/run")] {
        // The kernel may have mounted it (CONFIG_DEVTMPFS_MOUNT); a guest without it says so in an answer.
        let _ = mount(Some(kind), target, Some(kind), MsFlags::MS_NOSUID, None::<&str>);
    }
    // The agent starts no process, so there is an orphan only if someone added a program.
    drop(std::thread::Builder::new().stack_size(64 << 10).spawn(|| while wait().is_ok() {}));
}

/// Writes a line on the console, in one write.
pub(crate) fn say(line: &str) {
    let line = format!("{line}\n");
    let console = File::options().write(true).open("/dev/console");
    if console.and_then(|mut console| console.write_all(line.as_bytes())).is_err() {
        drop(std::io::stdout().write_all(line.as_bytes()));
    }
}

/// Writes the agent's mark on the I/O port of marks, where the kernel lets one: a trace on the host sees it.
pub(crate) fn mark() {
    let ports = File::options().write(true).open("/dev/port");
    drop(ports.and_then(|ports| ports.write_at(&[microbench_agent::MARK], microbench_agent::MARK_PORT.into())));
}

/// The kernel's command line; empty when it cannot be read.
pub(crate) fn command_line() -> String {
    fs::read_to_string("/proc/cmdline").unwrap_or_default()
}

/// The value of `name=` on the kernel's command line `line`.
pub(crate) fn parameter<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// Ends the machine: powers it off, or restarts it by the method that the kernel's `reboot=` parameter names; a VMM told not to
/// reboot ends then.
pub(crate) fn end(power_off: bool) -> ! {
    nix::unistd::sync();
    say(microbench_agent::RESTART_MARK);
    // What the driver still holds when the machine restarts is lost: of 20 guests on one CPU, a quarter's mark was.
    if let Ok(console) = File::options().write(true).open("/dev/console") {
        let _ = tcdrain(console);
    }
    let Err(error) = reboot(if power_off { RebootMode::RB_POWER_OFF } else { RebootMode::RB_AUTOBOOT });
    say(&format!("microbench-agent: cannot end the machine: {error}"));
    std::process::exit(1)
}
