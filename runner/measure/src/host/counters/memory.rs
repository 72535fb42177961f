//! The machine's available memory and out-of-memory kills.

use std::fs;

/// Number of out-of-memory kills since boot, by the limit of a control group or of the machine; `None` if the kernel
/// does not count them (Linux before 4.13).
#[must_use]
pub fn oom_kills() -> Option<u64> {
    parse_oom_kills(&fs::read_to_string("/proc/vmstat").ok()?)
}

/// Memory available without swapping, bytes; `None` if the kernel does not provide an estimate.
///
/// This is `MemAvailable` plus the free pages in per-CPU lists, which `MemAvailable` excludes. The lists can be as
/// large as the memory that a guest has touched: freed pages of one VM are reused for the next.
#[must_use]
pub fn available_bytes() -> Option<u64> {
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten()?.unsigned_abs();
    let per_cpu = per_cpu_pages(&fs::read_to_string("/proc/zoneinfo").unwrap_or_default()) * page;
    Some(parse_mem_available(&fs::read_to_string("/proc/meminfo").ok()?)? + per_cpu)
}

fn parse_mem_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Number of free pages in the per-CPU lists of all zones (`pagesets` of /proc/zoneinfo).
fn per_cpu_pages(zoneinfo: &str) -> u64 {
    let counts = zoneinfo.lines().filter_map(|line| line.trim_start().strip_prefix("count:"));
    counts.filter_map(|count| count.trim().parse::<u64>().ok()).sum()
}

fn parse_oom_kills(vmstat: &str) -> Option<u64> {
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_counters_are_found_by_name() {
        assert_eq!(parse_oom_kills("nr_free_pages 7\noom_kill 3\noom_kill_disable 1\n"), Some(3));
        assert_eq!(parse_oom_kills("nr_free_pages 7\n"), None);
        assert_eq!(parse_mem_available("MemFree: 1 kB\nMemAvailable:      12 kB\n"), Some(12 * 1024));
        assert_eq!(parse_mem_available("MemFree: 1 kB\n"), None);
        let zones = "Node 0, zone    DMA32\n  pages free     9\n  pagesets\n    cpu: 0\n              count: 378\n              high:  400\n    \
                     cpu: 1\n              count: 2\n  vm stats threshold: 4\n";
        assert_eq!(per_cpu_pages(zones), 380);
        assert_eq!(per_cpu_pages(""), 0);
    }
}
