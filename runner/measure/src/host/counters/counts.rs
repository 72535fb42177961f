//! Counters of the machine, and the interference that the difference between two reads shows.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use microbench_formats::record::Interference;

use crate::sys;
use crate::sys::clock::Instant;

/// Most bytes that are read of a file.
const FILE_LIMIT: u64 = 64 << 10;
/// Length of a tick of `/proc/stat`, ns: USER_HZ is 100 on all Linux systems (proc(5)).
const TICK_NS: u64 = 10_000_000;
/// Tolerated share of time that the hypervisor steals, or that tasks wait for memory.
const STOLEN_OR_WAITING_SHARE: f64 = 0.01;
/// Tolerated CPU time of other processes, as a share of one CPU's time.
const OTHERS_SHARE: f64 = 0.10;
/// Tolerated CPU time of other processes, ns: five ticks, because of the resolution of ticks.
const OTHERS_NS: u64 = 50_000_000;

/// Counters since boot. `None` if this machine does not have the counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Time of the read.
    pub at: Instant,
    /// CPU time of all processes and interrupts, ns.
    pub busy_ns: Option<u64>,
    /// CPU time that the hypervisor gave to other guests, ns.
    pub stolen_ns: Option<u64>,
    /// CPU time of this process and of the children it has reaped, ns.
    pub own_ns: u64,
    /// Number of times that a cgroup quota or the temperature throttled a CPU.
    pub throttled: Option<u64>,
    /// Governors and frequency limits, as text.
    pub frequency: String,
    /// Pages that were swapped in or out.
    pub swapped: Option<u64>,
    /// Time during which at least one task waited for memory, ns.
    pub memory_wait_ns: Option<u64>,
}

impl Counts {
    /// Reads the counters below `root`: `/`, except in tests.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let text = |path: &str| read_text(&root.join(path));
        let stat = text("proc/stat");
        let ticks = stat.as_deref().and_then(cpu_ticks);
        Self {
            at: Instant::now(),
            busy_ns: ticks.map(|(busy, _)| busy * TICK_NS),
            stolen_ns: ticks.map(|(_, stolen)| stolen * TICK_NS),
            own_ns: sys::own_cpu_ns(),
            throttled: throttled(root),
            frequency: frequency(root),
            swapped: text("proc/vmstat").map(|text| field(&text, "pswpin") + field(&text, "pswpout")),
            memory_wait_ns: text("proc/pressure/memory").as_deref().and_then(waited_ns),
        }
    }
}

/// Finds interference between two reads, each with a message that quantifies it. Empty without interference; a counter
/// that is missing is ignored.
#[must_use]
pub fn find_interference(before: &Counts, after: &Counts) -> Vec<(Interference, String)> {
    let elapsed = after.at.0.saturating_sub(before.at.0).max(1);
    let grown = |of: fn(&Counts) -> Option<u64>| Some(of(after)?.saturating_sub(of(before)?));
    let share = |ns: u64| ns as f64 / elapsed as f64;
    let mut found = Vec::new();
    if let Some(ns) =
        grown(|counts| counts.stolen_ns).filter(|ns| share(*ns) > STOLEN_OR_WAITING_SHARE && *ns > TICK_NS)
    {
        found.push((Interference::Stolen, format!("the hypervisor stole {:.1} % of a CPU", share(ns) * 100.0)));
    }
    let own = after.own_ns.saturating_sub(before.own_ns);
    if let Some(busy) = grown(|counts| counts.busy_ns) {
        let others = busy.saturating_sub(own);
        if others > OTHERS_NS && share(others) > OTHERS_SHARE {
            found.push((Interference::Load, format!("other processes used {:.0} % of a CPU", share(others) * 100.0)));
        }
    }
    if let Some(times) = grown(|counts| counts.throttled).filter(|times| *times > 0) {
        found.push((Interference::Throttled, format!("a CPU was throttled {times} times")));
    }
    if before.frequency != after.frequency {
        let message = format!("from {} to {}", before.frequency, after.frequency);
        found.push((Interference::Frequency, message.chars().take(200).collect()));
    }
    if let Some(pages) = grown(|counts| counts.swapped).filter(|pages| *pages > 0) {
        found.push((Interference::Swap, format!("{pages} pages were swapped")));
    }
    if let Some(ns) = grown(|counts| counts.memory_wait_ns).filter(|ns| share(*ns) > STOLEN_OR_WAITING_SHARE) {
        found.push((
            Interference::MemoryPressure,
            format!("tasks waited for memory {:.1} % of the time", share(ns) * 100.0),
        ));
    }
    found
}

fn read_text(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(FILE_LIMIT).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Busy and stolen ticks of the line `cpu user nice system idle iowait irq softirq steal guest guest_nice` of
/// /proc/stat. `user` includes `guest` (proc(5)).
pub(crate) fn cpu_ticks(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let numbers: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = numbers[..] else { return None };
    Some((user + nice + system + irq + softirq, steal))
}

/// The number after `name` in a text with a name and a number on each line; 0 if it is missing.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

/// The value of `total=` in the line `some ...` of a pressure file, converted from µs to ns
/// (Documentation/accounting/psi.rst).
fn waited_ns(pressure: &str) -> Option<u64> {
    let line = pressure.lines().find(|line| line.starts_with("some "))?;
    line.split_whitespace().find_map(|word| word.strip_prefix("total="))?.parse::<u64>().ok().map(|us| us * 1000)
}

/// Number of times that the quota of this process's cgroup, or the temperature of any CPU, caused throttling.
fn throttled(root: &Path) -> Option<u64> {
    let groups = read_text(&root.join("proc/self/cgroup")).unwrap_or_default();
    let quota = groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?.trim_start_matches('/'));
        let folder = match controllers {
            "" => "sys/fs/cgroup".to_owned(),
            _ if controllers.split(',').any(|name| name == "cpu") => format!("sys/fs/cgroup/{controllers}"),
            _ => return None,
        };
        let text = read_text(&root.join(folder).join(path).join("cpu.stat"))?;
        text.contains("nr_throttled").then(|| field(&text, "nr_throttled"))
    });
    let heat: Vec<u64> = cpus(root)
        .iter()
        .filter_map(|cpu| read_text(&cpu.join("thermal_throttle/core_throttle_count"))?.trim().parse().ok())
        .collect();
    (quota.is_some() || !heat.is_empty()).then(|| quota.unwrap_or(0) + heat.iter().sum::<u64>())
}

/// Governor and frequency limits of the CPUs, without duplicates.
fn frequency(root: &Path) -> String {
    let scaling = |cpu: &Path| {
        ["scaling_governor", "scaling_min_freq", "scaling_max_freq"]
            .map(|name| read_text(&cpu.join("cpufreq").join(name)).unwrap_or_default().trim().to_owned())
            .join(" ")
    };
    let mut kinds: Vec<String> =
        cpus(root).iter().map(|cpu| scaling(cpu)).filter(|kind| !kind.trim().is_empty()).collect();
    kinds.sort();
    kinds.dedup();
    kinds.join(", ")
}

/// The folders `cpu0`, `cpu1` ...
fn cpus(root: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(root.join("sys/devices/system/cpu")).into_iter().flatten().filter_map(Result::ok);
    let number = |name: &str| name.strip_prefix("cpu").is_some_and(|rest| rest.parse::<u32>().is_ok());
    entries.filter(|entry| entry.file_name().to_str().is_some_and(number)).map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn quiet(at_ms: u64) -> Counts {
        Counts {
            at: Instant(at_ms * MS),
            busy_ns: Some(5_000 * MS),
            stolen_ns: Some(0),
            own_ns: 100 * MS,
            throttled: Some(3),
            frequency: "performance 800 3000".into(),
            swapped: Some(7),
            memory_wait_ns: Some(0),
        }
    }

    fn found(after: Counts) -> Vec<Interference> {
        find_interference(&quiet(0), &after).into_iter().map(|(reason, _)| reason).collect()
    }

    #[test]
    fn own_load_and_missing_counters_are_no_interference() {
        let own = Counts { busy_ns: Some(6_040 * MS), own_ns: 1_100 * MS, ..quiet(1000) };
        assert_eq!(found(own), []);
        // Missing counters are ignored.
        let blind = Counts {
            busy_ns: None,
            stolen_ns: None,
            throttled: None,
            swapped: None,
            memory_wait_ns: None,
            ..quiet(1000)
        };
        assert_eq!(found(blind), []);
    }

    #[test]
    fn each_kind_of_interference_is_found() {
        assert_eq!(found(Counts { stolen_ns: Some(30 * MS), ..quiet(1000) }), [Interference::Stolen]);
        assert_eq!(found(Counts { busy_ns: Some(5_900 * MS), ..quiet(1000) }), [Interference::Load]);
        assert_eq!(found(Counts { throttled: Some(4), ..quiet(1000) }), [Interference::Throttled]);
        assert_eq!(found(Counts { frequency: "powersave 800 3000".into(), ..quiet(1000) }), [Interference::Frequency]);
        assert_eq!(found(Counts { swapped: Some(8), ..quiet(1000) }), [Interference::Swap]);
        assert_eq!(found(Counts { memory_wait_ns: Some(20 * MS), ..quiet(1000) }), [Interference::MemoryPressure]);
    }

    #[test]
    fn counters_are_parsed_from_the_kernels_files() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/stat", "cpu  100 20 30 4000 50 6 7 8 90 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n");
        write("proc/vmstat", "pgfault 5\npswpin 11\npswpout 31\npswpin_x 9\n");
        write("proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0.00 total=9\n");
        write("proc/self/cgroup", "0::/bench.slice\n");
        write("sys/fs/cgroup/bench.slice/cpu.stat", "usage_usec 5\nnr_periods 9\nnr_throttled 2\nthrottled_usec 7\n");
        for cpu in ["cpu0", "cpu1"] {
            write(&format!("sys/devices/system/cpu/{cpu}/cpufreq/scaling_governor"), "performance\n");
            write(&format!("sys/devices/system/cpu/{cpu}/thermal_throttle/core_throttle_count"), "3\n");
        }
        write("sys/devices/system/cpu/cpuidle/current_driver", "none\n");
        let found = Counts::read(root.path());
        assert_eq!((found.busy_ns, found.stolen_ns), (Some(1630 * MS), Some(80 * MS)));
        assert_eq!((found.swapped, found.memory_wait_ns), (Some(42), Some(1_234_000)));
        assert_eq!((found.throttled, found.frequency.trim()), (Some(8), "performance"));
    }
}
