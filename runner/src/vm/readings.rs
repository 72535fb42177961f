//! What is recorded of a VM: its events, what the guest and the kernel say of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use microbench_agent::Stats;
use microbench_plots::record::Record;

use super::Vm;
use crate::boot;
use crate::clock::Instant;
use crate::event::{self, reading};
use crate::host::isolation;
use crate::host::strace;
use crate::sys::Exit;

impl Vm {
    /// The two witnesses of the service's start: the first answer, and the agent's mark on the console.
    pub(super) fn witness(&mut self, mark: Option<Instant>) {
        let is_ok = |record: &Record| match record {
            Record::Event { name, t_ns, .. } if name == event::HTTP_OK => Some(*t_ns),
            _ => None,
        };
        match (self.records.iter().find_map(is_ok), mark) {
            (Some(ok), Some(mark)) => self.reading(reading::PROBE_WITNESS, ok as f64 - mark.0 as f64, "ns"),
            (Some(_), None) => {
                self.no_reading(reading::PROBE_WITNESS, "ns", "the console shows no mark of the agent".into())
            }
            (None, _) => {}
        }
    }

    pub(super) fn stats(&mut self, stats: &Stats) {
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
        let [missing, added] = compared(&self.words, &stats.cmdline);
        self.reading(reading::GUEST_WORDS_MISSING, missing as f64, "1");
        self.reading(reading::GUEST_WORDS_ADDED, added as f64, "1");
        self.reading(reading::GUEST_UPTIME, stats.uptime_ms as f64 * 1e6, "ns");
        self.reading(reading::GUEST_CPUS, f64::from(stats.cpus), "1");
        self.reading(reading::GUEST_MEMORY, stats.memory_bytes as f64, "bytes");
    }

    /// What isolation the kernel says that the VMM runs under.
    pub(super) fn isolated(&mut self, pid: u32) {
        let root = |path: &str| fs::metadata(path).map(|data| (data.dev(), data.ino()));
        match (root("/"), root(&format!("/proc/{pid}/root/"))) {
            (Ok(ours), Ok(its)) => self.reading(reading::VMM_OWN_ROOT, f64::from(u8::from(ours != its)), "1"),
            (Err(error), _) | (_, Err(error)) => {
                self.no_reading(reading::VMM_OWN_ROOT, "1", format!("/proc/{pid}/root cannot be read: {error}"));
            }
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status"));
        let found = status.as_deref().map(isolation::read).unwrap_or_default();
        let names =
            [reading::VMM_USER, reading::VMM_CAPABILITIES, reading::VMM_SECCOMP, reading::VMM_NO_NEW_PRIVILEGES];
        for (name, value) in names.into_iter().zip(found) {
            match value {
                Some(value) => self.reading(name, value as f64, "1"),
                None => self.no_reading(name, "1", format!("/proc/{pid}/status does not say it")),
            }
        }
    }

    /// The instants of the boot that only the guest saw.
    pub(super) fn derive(&mut self, ok: Instant, stats: &Stats) {
        let spawn = self.records.iter().find_map(|record| match record {
            Record::Event { name, t_ns, .. } if name == event::SPAWN => Some(*t_ns),
            _ => None,
        });
        for (name, instant) in boot::derive(spawn.unwrap_or(ok.0), ok.0, stats) {
            match instant {
                Ok(t_ns) => self.records.push(Record::Event { vm: self.vm, name: name.into(), t_ns }),
                Err(reason) => self.no_event(name, reason),
            }
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

    pub(super) fn account(&mut self, exit: Exit) {
        self.reading(reading::VMM_CPU_TIME, exit.cpu_time_ns as f64, "ns");
        self.reading(reading::VMM_PEAK_RSS, exit.peak_rss_bytes as f64, "bytes");
        self.reading(reading::VMM_VOLUNTARY_SWITCHES, exit.voluntary_switches as f64, "1");
        self.reading(reading::VMM_INVOLUNTARY_SWITCHES, exit.involuntary_switches as f64, "1");
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
