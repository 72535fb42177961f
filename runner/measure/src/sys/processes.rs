//! Facts about processes, read from /proc.

use std::fs;

/// PIDs of all descendants of process `pid`, parents before children (`/proc/PID/task/TID/children`, proc(5)).
#[must_use]
pub fn descendants(pid: u32) -> Vec<u32> {
    let children = |pid: u32| -> Vec<u32> {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let texts = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        texts
            .flat_map(|text| text.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<_>>())
            .collect()
    };
    let mut found = children(pid);
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        found.extend(children(pid));
        next += 1;
    }
    found
}

/// CPU time of process `pid`, its descendants, and its descendants that have been waited for, in clock ticks
/// (`/proc/PID/stat`, fields 14 to 17, proc(5)). A process that ends meanwhile counts as 0.
#[must_use]
pub fn cpu_ticks(pid: u32) -> u64 {
    let of = |pid: u32| -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may contain spaces; `state` is field 3.
        let (_, fields) = text.rsplit_once(')')?;
        Some(fields.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum())
    };
    std::iter::once(pid).chain(descendants(pid)).filter_map(of).sum()
}

/// The peak resident set size in bytes, from the text of `/proc/PID/status`; `None` without a `VmHWM` line.
///
/// Unlike `ru_maxrss` of `wait4(2)`, it excludes the time before `execve`, when the process was a fork of the runner.
#[must_use]
pub fn peak_resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn peak_resident_set_size_is_converted_to_bytes() {
        assert_eq!(peak_resident_bytes("Name:\tx\nVmHWM:\t    1380 kB\nVmRSS:\t 900 kB\n"), Some(1380 * 1024));
        assert_eq!(peak_resident_bytes("Name:\tx\n"), None);
    }

    #[test]
    fn descendants_include_a_child_until_it_is_reaped() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        assert!(descendants(std::process::id()).contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!descendants(std::process::id()).contains(&child.id()));
    }
}
