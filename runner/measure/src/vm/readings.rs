//! What is recorded of a VM: its events, what the guest and the kernel say of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use microbench_agent::Stats;
use microbench_formats::event::{self, reading};
use microbench_formats::record::{FailureReason, NOT_APPLICABLE, Record};
use microbench_study::engine::description::GuestKind;

use super::failed::Failed;
use super::process::Process;
use super::{Vm, snapshot};
use crate::guest::boot;
use crate::host::counters::smaps::{self, Memory};
use crate::host::counters::strace;
use crate::sandbox::isolation;
use crate::sys::Exit;
use crate::sys::clock::Instant;
use crate::sys::processes;

/// Stage of a VM whose isolation is checked.
const ISOLATION: &str = "isolation";

impl Vm {
    /// The two witnesses of the service's start: the first answer, and the agent's mark on the console.
    pub(super) fn witness(&mut self, mark: Option<Instant>) {
        let is_ok = |record: &Record| match record {
            Record::Event { name, t_ns, .. } if name == event::HTTP_OK => Some(*t_ns),
            _ => None,
        };
        match (self.records.iter().find_map(is_ok), mark) {
            (Some(ok), Some(mark)) => self.reading(reading::PROBE_AFTER_CONSOLE_MARK, ok as f64 - mark.0 as f64, "ns"),
            (Some(_), None) => {
                let restored = self.restored.then_some(snapshot::RESTORED);
                let reason = restored.unwrap_or("the console shows no mark of the agent");
                self.no_reading(reading::PROBE_AFTER_CONSOLE_MARK, "ns", reason.into());
            }
            (None, _) => {}
        }
    }

    /// What the guest says of its kernel and its machine; of a guest that shares the host's, why it has none of it.
    pub(super) fn stats(&mut self, stats: &Stats) {
        if let Some(why) = self.kind.no_kernel() {
            for name in OF_OWN_KERNEL {
                let unit = reading::find(name).map_or("1", |spec| spec.unit);
                self.no_reading(name, unit, why.clone());
            }
            self.no_event(event::GUEST_RESTART, why);
            return;
        }
        let micros = |value: Option<u64>| value.map(|micros| micros as f64 * 1000.0);
        self.reading(reading::KERNEL_MESSAGES, stats.kernel_messages as f64, "1");
        for (name, stamp) in [
            (reading::KERNEL_LAST_MESSAGE, stats.last_message_us),
            (reading::KERNEL_INIT, stats.init_us),
            (reading::KERNEL_RANDOM_SEEDED, stats.random_seeded_us),
            (reading::KERNEL_RANDOM_FAST_INIT, stats.random_fast_init_us),
        ] {
            match micros(stamp) {
                Some(value) => self.reading(name, value, "ns"),
                None if name == reading::KERNEL_RANDOM_FAST_INIT => {
                    self.no_reading(name, "ns", no_fast_init(&stats.kernel_release))
                }
                None => self.no_reading(name, "ns", NO_MESSAGE.into()),
            }
        }
        let [missing, added] = compared(self.words.as_deref().unwrap_or_default(), &stats.cmdline);
        self.reading(reading::GUEST_PARAMETERS_MISSING, missing as f64, "1");
        self.reading(reading::GUEST_PARAMETERS_ADDED, added as f64, "1");
        self.reading(reading::GUEST_UPTIME, stats.uptime_ms as f64 * 1e6, "ns");
        self.reading(reading::GUEST_CPUS, f64::from(stats.cpus), "1");
        self.reading(reading::GUEST_MEMORY, stats.memory_bytes as f64, "bytes");
    }

    /// Records what isolation the kernel says that the VMM runs under, but not under an instrument, and checks it; of a
    /// container, the agent in it, and not its runtime, which waits outside.
    pub(super) fn isolated(&mut self, pid: u32) -> Result<(), Failed> {
        let pid = if self.kind == GuestKind::Container || self.counts.is_some() {
            let below = processes::descendants(pid).last().copied();
            below.ok_or_else(|| Failed::new(FailureReason::Exited, ISOLATION, "the VMM or container has ended"))?
        } else {
            pid
        };
        let status = fs::read_to_string(format!("/proc/{pid}/status"));
        let found = status.as_deref().map(isolation::read).unwrap_or_default();
        if self.counts.is_none() {
            self.isolation_readings(pid, found);
        }
        let checked = self.isolation.check(found, isolation::has_own_users(pid));
        checked.map_err(|problem| Failed::new(FailureReason::Host, ISOLATION, problem))
    }

    fn isolation_readings(&mut self, pid: u32, found: [Option<u64>; 4]) {
        let root = |path: &str| fs::metadata(path).map(|data| (data.dev(), data.ino()));
        match (root("/"), root(&format!("/proc/{pid}/root/"))) {
            (Ok(ours), Ok(its)) => self.reading(reading::VMM_OWN_ROOT, f64::from(u8::from(ours != its)), "1"),
            (Err(error), _) | (_, Err(error)) => {
                self.no_reading(reading::VMM_OWN_ROOT, "1", format!("/proc/{pid}/root cannot be read: {error}"));
            }
        }
        match isolation::own_namespaces(pid) {
            Ok(own) => self.reading(reading::VMM_OWN_NAMESPACES, f64::from(own), "1"),
            Err(error) => {
                self.no_reading(reading::VMM_OWN_NAMESPACES, "1", format!("/proc/{pid}/ns cannot be read: {error}"));
            }
        }
        let names =
            [reading::VMM_USER, reading::VMM_CAPABILITIES, reading::VMM_SECCOMP, reading::VMM_NO_NEW_PRIVILEGES];
        for (name, value) in names.into_iter().zip(found) {
            match value {
                Some(value) => self.reading(name, value as f64, "1"),
                None => self.no_reading(name, "1", format!("/proc/{pid}/status does not say it")),
            }
        }
    }

    /// What memory the VMM has now, under the names of [`reading::MEMORY`] or its like; nothing under an instrument. The kernel walks
    /// the page tables for it, which takes time that other VMs of the trial would lose: not while some of them are `busy`, in these words.
    pub(super) fn memory(&mut self, process: &Process, names: [&'static str; 4], busy: Option<&str>) {
        if self.counts.is_some() {
            return;
        }
        let found = match busy {
            _ if self.kind.shares_kernel() => {
                Err(format!("{NOT_APPLICABLE}its memory is the host's, none of it a guest's"))
            }
            Some(busy) => Err(format!("not read: other VMs of the trial {busy}")),
            None => smaps::of_process(process.id(), self.memory_bytes),
        };
        let values = found.map(|Memory { guest, overhead }| {
            [overhead.pss, overhead.rss, guest.rss, (guest + overhead).pss].map(|bytes| bytes as f64)
        });
        for (at, name) in names.into_iter().enumerate() {
            match &values {
                Ok(values) => self.reading(name, values[at], "bytes"),
                Err(reason) => self.no_reading(name, "bytes", reason.clone()),
            }
        }
    }

    /// The instants of the boot that only the guest saw.
    pub(super) fn derive(&mut self, ok: Instant, stats: &Stats) {
        let spawn = self.records.iter().find_map(|record| match record {
            Record::Event { name, t_ns, .. } if name == event::SPAWN => Some(*t_ns),
            _ => None,
        });
        let spawn = spawn.unwrap_or(ok.0);
        let derived = match self.kind.no_kernel() {
            None => boot::derive(spawn, ok.0, stats),
            Some(why) => boot::on_the_hosts_clock(spawn, ok.0, stats, &why),
        };
        for (name, instant) in derived {
            self.told(name, instant);
        }
    }

    /// An event that somebody else tells of, or why there is none.
    pub(super) fn told(&mut self, name: &str, instant: Result<u64, String>) {
        match instant {
            Ok(t_ns) => self.records.push(Record::Event { vm: self.vm, name: name.into(), t_ns }),
            Err(reason) => self.no_event(name, reason),
        }
    }

    /// What strace counted.
    pub(super) fn count(&mut self, file: &Path) {
        let total = fs::read_to_string(file).map_err(|error| format!("strace left no counts: {error}"));
        match total.and_then(|table| strace::total(&table).ok_or_else(|| "strace left no total".to_owned())) {
            Ok(total) => self.reading(reading::VMM_SYSTEM_CALLS, total as f64, "1"),
            Err(reason) => self.no_reading(reading::VMM_SYSTEM_CALLS, "1", reason),
        }
    }

    /// The memory of a guest that shares the host's kernel: its processes and its runtime's. They are smaller than the runner, whose
    /// size at the fork the kernel accounts to them ([`processes::largest_resident_set`]).
    pub(super) fn resident(&mut self, pid: u32) {
        let of = |pid: u32| processes::largest_resident_set(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?);
        let all = [pid].into_iter().chain(processes::descendants(pid)).map(of);
        match all.sum::<Option<u64>>() {
            Some(bytes) => self.reading(reading::VMM_PEAK_RSS, bytes as f64, "bytes"),
            None => self.no_reading(reading::VMM_PEAK_RSS, "bytes", format!("/proc/{pid}/status does not say it")),
        }
    }

    pub(super) fn account(&mut self, exit: Exit) {
        self.reading(reading::VMM_CPU_TIME, (exit.user_time_ns + exit.system_time_ns) as f64, "ns");
        self.reading(reading::VMM_USER_CPU_TIME, exit.user_time_ns as f64, "ns");
        self.reading(reading::VMM_SYSTEM_CPU_TIME, exit.system_time_ns as f64, "ns");
        if !self.kind.shares_kernel() {
            self.reading(reading::VMM_PEAK_RSS, exit.peak_rss_bytes as f64, "bytes");
        }
        self.reading(reading::VMM_VOLUNTARY_SWITCHES, exit.voluntary_switches as f64, "1");
        self.reading(reading::VMM_INVOLUNTARY_SWITCHES, exit.involuntary_switches as f64, "1");
        self.reading(reading::VMM_MINOR_FAULTS, exit.minor_faults as f64, "1");
        self.reading(reading::VMM_MAJOR_FAULTS, exit.major_faults as f64, "1");
    }

    pub(super) fn event(&mut self, name: &str) {
        let t_ns = Instant::now().0;
        self.records.push(Record::Event { vm: self.vm, name: name.into(), t_ns });
    }

    /// Says why there is no such event: a reading of its name, without a value.
    pub(super) fn no_event(&mut self, name: &str, reason: String) {
        self.no_reading(name, "ns", reason);
    }

    pub(super) fn no_reading(&mut self, name: &str, unit: &str, reason: String) {
        let (name, unit) = (name.to_owned(), unit.to_owned());
        self.records.push(Record::Reading { vm: self.vm, name, value: None, unit, reason });
    }

    pub(super) fn reading(&mut self, name: &str, value: f64, unit: &str) {
        let (name, unit) = (name.to_owned(), unit.to_owned());
        self.records.push(Record::Reading { vm: self.vm, name, value: Some(value), unit, reason: String::new() });
    }
}

/// What only a kernel of the guest's own can tell.
const OF_OWN_KERNEL: [&str; 9] = [
    reading::KERNEL_INIT,
    reading::KERNEL_LAST_MESSAGE,
    reading::KERNEL_RANDOM_SEEDED,
    reading::KERNEL_RANDOM_FAST_INIT,
    reading::KERNEL_MESSAGES,
    reading::GUEST_UPTIME,
    reading::GUEST_CPUS,
    reading::GUEST_MEMORY,
    reading::VMM_KVM_EXITS,
];

const NO_MESSAGE: &str = "the guest's kernel log has no such message";

/// Words of the command line `given` that `found` lacks, and those that it has beyond them.
fn compared(given: &str, found: &str) -> [usize; 2] {
    let mut left: Vec<&str> = found.split_whitespace().collect();
    let mut missing = 0;
    for word in given.split_whitespace() {
        match left.iter().position(|other| *other == word) {
            Some(place) => drop(left.swap_remove(place)),
            None => missing += 1,
        }
    }
    [missing, left.len()]
}

/// Why the guest's kernel log has no `random: fast init done`.
fn no_fast_init(release: &str) -> String {
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (5, 18) {
        format!("Linux has had no message `random: fast init done` since 5.18, and the guest runs {release}")
    } else {
        NO_MESSAGE.into()
    }
}

#[cfg(test)]
mod tests {
    use super::compared;

    #[test]
    fn words_are_compared_wherever_they_stand() {
        assert_eq!(compared("a b=1 b=1", "x b=1 a b=1"), [0, 1]);
        assert_eq!(compared("a b", "b b c"), [1, 2]);
    }
}
