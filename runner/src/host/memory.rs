//! The machine's memory: how much is to be had, and did the kernel kill something because it had run out?

use std::fs;

/// Processes that the kernel has killed for want of memory since boot, of a control group's or of the machine's; `None` when it does
/// not count them (Linux before 4.13).
#[must_use]
pub fn oom_kills() -> Option<u64> {
    count(&fs::read_to_string("/proc/vmstat").ok()?)
}

/// Memory that can be had without swapping, bytes, as the kernel estimates it (`MemAvailable`); `None` when it does not say.
#[must_use]
pub fn available() -> Option<u64> {
    available_of(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn available_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

fn count(vmstat: &str) -> Option<u64> {
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_by_its_name() {
        assert_eq!(count("nr_free_pages 7\noom_kill 3\noom_kill_disable 1\n"), Some(3));
        assert_eq!(count("nr_free_pages 7\n"), None);
        assert_eq!(available_of("MemFree: 1 kB\nMemAvailable:      12 kB\n"), Some(12 * 1024));
        assert_eq!(available_of("MemFree: 1 kB\n"), None);
    }
}
