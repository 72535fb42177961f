//! The machine's memory: how much is to be had, and did the kernel kill something because it had run out?

use std::fs;

/// Processes that the kernel has killed for want of memory since boot, of a control group's or of the machine's; `None` when it does
/// not count them (Linux before 4.13).
#[must_use]
pub fn oom_kills() -> Option<u64> {
    count(&fs::read_to_string("/proc/vmstat").ok()?)
}

/// Memory that can be had without swapping, bytes: the kernel's estimate (`MemAvailable`), and the free pages that each CPU keeps for
/// itself, which are not in it. These may be as many as a guest has touched: what one VM gave back the next one takes from there.
/// `None` when the kernel does not say.
#[must_use]
pub fn available() -> Option<u64> {
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten()?.unsigned_abs();
    let kept = per_cpu_pages(&fs::read_to_string("/proc/zoneinfo").unwrap_or_default()) * page;
    Some(available_of(&fs::read_to_string("/proc/meminfo").ok()?)? + kept)
}

fn available_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Free pages in the lists of every CPU and zone (`pagesets` of /proc/zoneinfo).
fn per_cpu_pages(zoneinfo: &str) -> u64 {
    let counts = zoneinfo.lines().filter_map(|line| line.trim_start().strip_prefix("count:"));
    counts.filter_map(|count| count.trim().parse::<u64>().ok()).sum()
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
        let zones = "Node 0, zone    DMA32\n  pages free     9\n  pagesets\n    cpu: 0\n              count: 378\n              high:  400\n    \
                     cpu: 1\n              count: 2\n  vm stats threshold: 4\n";
        assert_eq!(per_cpu_pages(zones), 380);
        assert_eq!(per_cpu_pages(""), 0);
    }
}
