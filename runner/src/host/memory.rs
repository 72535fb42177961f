//! Did the kernel kill something because memory had run out?

use std::fs;

/// Processes that the kernel has killed for want of memory since boot, of a control group's or of the machine's; `None` when it does
/// not count them (Linux before 4.13).
#[must_use]
pub fn oom_kills() -> Option<u64> {
    count(&fs::read_to_string("/proc/vmstat").ok()?)
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
    }
}
