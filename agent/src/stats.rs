//! `GET /stats`: the kernel log and the hardware as seen by the guest.

use std::fs;
use std::io;

use microbench_agent::Stats;
use microbench_agent::kernel_log::KernelLog;

use crate::options::Options;
use crate::{instants, kmsg};

/// Reads the statistics. Writes a record to the kernel log unless `stay` is set; reads the log unless the kernel is
/// shared.
///
/// # Errors
/// If a file of /proc or the kernel log cannot be read, or has no valid value.
pub(crate) fn read(options: &Options) -> io::Result<Stats> {
    if !options.stay {
        instants::write_clock_record();
    }
    let log = match options.shared_kernel {
        false => kmsg::read()?,
        // The log is that of the host. The instants need no conversion, because CLOCK_MONOTONIC is that of the host as
        // well.
        true => KernelLog { lead: Some(0), ..KernelLog::default() },
    };
    let text =
        |path: &str| fs::read_to_string(path).map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")));
    let cpu = text("/proc/cpuinfo")?;
    let field = |name: &str| {
        cpu.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name).map(|(_, v)| v.trim())
    };
    let invalid = |path: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{path} has no valid value"));
    let (listening_ns, answered_ns) = log.lead.map_or((None, None), instants::on_kernel_clock);
    Ok(Stats {
        kernel_messages: log.messages,
        last_message_us: log.last,
        init_us: log.init,
        random_seeded_us: log.random_seeded,
        random_fast_init_us: log.random_fast_init,
        listening_ns,
        answered_ns,
        uptime_ms: uptime_ms(&text("/proc/uptime")?).ok_or_else(|| invalid("/proc/uptime"))?,
        cmdline: text("/proc/cmdline")?.trim_end().to_owned(),
        kernel_release: text("/proc/sys/kernel/osrelease")?.trim_end().to_owned(),
        cpus: u32::try_from(cpu.lines().filter(|line| line.starts_with("processor")).count()).unwrap_or(u32::MAX),
        cpu_model: field("model name").unwrap_or_default().to_owned(),
        memory_bytes: memory_bytes(&text("/proc/meminfo")?).ok_or_else(|| invalid("/proc/meminfo"))?,
        // The file may be missing in a guest; the name is then empty.
        clocksource: text("/sys/devices/system/clocksource/clocksource0/current_clocksource")
            .unwrap_or_default()
            .trim_end()
            .to_owned(),
    })
}

/// The first field of `12.34 5.67`, in milliseconds; `None` if it is invalid.
fn uptime_ms(text: &str) -> Option<u64> {
    let (seconds, hundredths) = text.split_whitespace().next()?.split_once('.')?;
    let (seconds, hundredths) = (seconds.parse::<u64>().ok()?, hundredths.parse::<u8>().ok()?);
    let milliseconds = u64::from(hundredths).checked_mul(10).filter(|milliseconds| *milliseconds < 1000)?;
    seconds.checked_mul(1000)?.checked_add(milliseconds)
}

/// `MemTotal:  123456 kB` in bytes; `None` if it is missing or invalid.
fn memory_bytes(text: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    rest.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_parsed() {
        assert_eq!(uptime_ms("12.34 5.67\n"), Some(12_340));
        assert_eq!(memory_bytes("MemTotal:         118984 kB\nMemFree: 1 kB\n"), Some(118_984 * 1024));
    }

    #[test]
    fn invalid_values_of_proc_do_not_wrap() {
        for text in
            ["", "12", "x.34 1", "-1.00", "18446744073709551615.00 1", "18446744073709552.00 1", "1.999 1", "1.100 1"]
        {
            assert_eq!(uptime_ms(text), None, "{text}");
        }
        for text in ["", "MemTotal:", "MemTotal: -1 kB", "MemTotal: 18014398509481984 kB"] {
            assert_eq!(memory_bytes(text), None, "{text}");
        }
    }
}
