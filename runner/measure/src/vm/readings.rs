//! Records of a VM: its events, and readings from its guest, its console and the host's kernel.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use microbench_agent::Stats;
use microbench_formats::describe::one_line;
use microbench_formats::event::{self, reading};
use microbench_formats::input;
use microbench_formats::record::{FailureReason, NOT_APPLICABLE, Record};
use microbench_study::engine::description::GuestKind;

use super::failure::VmFailure;
use super::process::VmmProcess;
use super::{Vm, snapshot};
use crate::guest::boot_events;
use crate::guest::bounds::{self, BootTimes, OutOfBounds, Window};
use crate::host::counters::smaps::{self, Memory};
use crate::host::counters::strace;
use crate::sandbox::isolation;
use crate::sys::Exit;
use crate::sys::clock::Instant;
use crate::sys::processes;

/// Bytes of the output of strace that are read at most.
const STRACE_LIMIT: u64 = 1 << 20;

/// Stage of failures of the isolation check.
const ISOLATION: &str = "isolation";

impl Vm {
    /// Records the time from the agent's mark on the console to the first response: two independent
    /// observations of the service's start.
    pub(super) fn record_console_mark(&mut self, mark: Option<Instant>) {
        let http_ok = |record: &Record| match record {
            Record::Event { name, t_ns, .. } if name == event::HTTP_OK => Some(*t_ns),
            _ => None,
        };
        match (self.records.iter().find_map(http_ok), mark) {
            (Some(ok), Some(mark)) => self.reading(reading::PROBE_AFTER_CONSOLE_MARK, ok as f64 - mark.0 as f64, "ns"),
            (Some(_), None) => {
                let restored = self.restored.then_some(snapshot::RESTORED);
                let reason = restored.unwrap_or("the agent's mark is not on the console");
                self.missing_reading(reading::PROBE_AFTER_CONSOLE_MARK, "ns", reason.into());
            }
            (None, _) => {}
        }
    }

    /// Checks the guest's statistics, then records them with the boot events that only the guest observed. `ok` is the
    /// instant of the first response, or that of the agent's mark on the console for a guest without a network;
    /// `received` is the instant at which the statistics arrived.
    ///
    /// # Errors
    /// A value is outside of its bounds; nothing is recorded.
    pub(super) fn record_guest(&mut self, stats: &Stats, ok: Instant, received: Instant) -> Result<(), OutOfBounds> {
        if self.restored {
            // The guest's clock ran before the snapshot.
            self.limits.check_machine(stats)?;
            self.record_restored_guest(stats);
            return Ok(());
        }
        let spawn = self.records.iter().find_map(|record| match record {
            Record::Event { name, t_ns, .. } if name == event::SPAWN => Some(Instant(*t_ns)),
            _ => None,
        });
        let spawn = spawn.unwrap_or(ok);
        let derived = if let Some(why) = self.kind.no_kernel() {
            if let Some(listening_ns) = stats.listening_ns {
                bounds::check_instant_of_host(listening_ns, spawn, ok)?;
            }
            let derived = boot_events::events_on_host_clock(stats.listening_ns, &why);
            self.record_shared_kernel(&why);
            derived
        } else {
            let times = bounds::check_boot(stats, self.limits, Window::of_guest(spawn, received))?;
            self.record_guest_stats(stats, &times);
            boot_events::derive_events(spawn.0, ok.0, &times)
        };
        for (name, instant) in derived {
            self.record_derived_event(name, instant);
        }
        Ok(())
    }

    /// Records why the statistics of a guest kernel are missing.
    fn record_shared_kernel(&mut self, why: &str) {
        for name in GUEST_KERNEL_READINGS {
            let unit = reading::find(name).map_or("1", |spec| spec.unit);
            self.missing_reading(name, unit, why.to_owned());
        }
        self.missing_event(event::GUEST_RESTART, why.to_owned());
    }

    /// Records the guest's statistics of its kernel and machine, which are within their bounds.
    fn record_guest_stats(&mut self, stats: &Stats, times: &BootTimes) {
        self.reading(reading::KERNEL_MESSAGES, stats.kernel_messages as f64, "1");
        for (name, stamp) in [
            (reading::KERNEL_LAST_MESSAGE, times.last_message_ns),
            (reading::KERNEL_INIT, times.init_ns),
            (reading::KERNEL_RANDOM_SEEDED, times.random_seeded_ns),
            (reading::KERNEL_RANDOM_FAST_INIT, times.random_fast_init_ns),
        ] {
            match stamp {
                Some(ns) => self.reading(name, ns as f64, "ns"),
                None if name == reading::KERNEL_RANDOM_FAST_INIT => {
                    self.missing_reading(name, "ns", no_fast_init(&stats.kernel_release))
                }
                None => self.missing_reading(name, "ns", NO_MESSAGE.into()),
            }
        }
        let [missing, added] =
            compare_parameters(self.kernel_parameters.as_deref().unwrap_or_default(), &stats.cmdline);
        self.reading(reading::GUEST_PARAMETERS_MISSING, missing as f64, "1");
        self.reading(reading::GUEST_PARAMETERS_ADDED, added as f64, "1");
        self.reading(reading::GUEST_UPTIME, times.uptime_ns as f64, "ns");
        self.record_machine(stats);
    }

    /// Records the guest's CPUs and memory, which are within their bounds.
    pub(super) fn record_machine(&mut self, stats: &Stats) {
        self.reading(reading::GUEST_CPUS, f64::from(stats.cpus), "1");
        self.reading(reading::GUEST_MEMORY, stats.memory_bytes as f64, "bytes");
    }

    /// Checks that the VMM is isolated, and records its isolation as the kernel reports it. Under an
    /// instrument the isolation is checked but not recorded. For a container, the agent is checked and not
    /// the runtime, which runs outside.
    pub(super) fn check_isolation(&mut self, pid: u32) -> Result<(), VmFailure> {
        let pid = if self.kind == GuestKind::Container || self.instrument_output.is_some() {
            let innermost = processes::descendants(pid).last().copied();
            innermost
                .ok_or_else(|| VmFailure::new(FailureReason::Exited, ISOLATION, "the VMM or container has exited"))?
        } else {
            pid
        };
        let status = fs::read_to_string(format!("/proc/{pid}/status"));
        let found = status.as_deref().map(isolation::parse_status).unwrap_or_default();
        if self.instrument_output.is_none() {
            self.record_isolation(pid, found);
        }
        let checked = self.isolation.check(found, isolation::has_own_user_namespace(pid));
        checked.map_err(|problem| VmFailure::new(FailureReason::Host, ISOLATION, problem))
    }

    fn record_isolation(&mut self, pid: u32, found: [Option<u64>; 4]) {
        let root = |path: &str| fs::metadata(path).map(|data| (data.dev(), data.ino()));
        match (root("/"), root(&format!("/proc/{pid}/root/"))) {
            (Ok(ours), Ok(its)) => self.reading(reading::VMM_OWN_ROOT, f64::from(u8::from(ours != its)), "1"),
            (Err(error), _) | (_, Err(error)) => {
                self.missing_reading(reading::VMM_OWN_ROOT, "1", format!("cannot read /proc/{pid}/root: {error}"));
            }
        }
        match isolation::count_own_namespaces(pid) {
            Ok(own) => self.reading(reading::VMM_OWN_NAMESPACES, f64::from(own), "1"),
            Err(error) => {
                self.missing_reading(reading::VMM_OWN_NAMESPACES, "1", format!("cannot read /proc/{pid}/ns: {error}"));
            }
        }
        let names =
            [reading::VMM_USER, reading::VMM_CAPABILITIES, reading::VMM_SECCOMP, reading::VMM_NO_NEW_PRIVILEGES];
        for (name, value) in names.into_iter().zip(found) {
            match value {
                Some(value) => self.reading(name, value as f64, "1"),
                None => self.missing_reading(name, "1", format!("/proc/{pid}/status does not contain the value")),
            }
        }
    }

    /// Records the current memory of the VMM under `names`, which are [`reading::MEMORY`] or the like;
    /// records nothing under an instrument. The kernel walks the VMM's page tables for this, and takes CPU
    /// time from the trial's other VMs. If `busy` is given, other VMs are busy for that reason, and the
    /// memory is not read.
    pub(super) fn record_memory(&mut self, process: &VmmProcess, names: [&'static str; 4], busy: Option<&str>) {
        if self.instrument_output.is_some() {
            return;
        }
        let found = match busy {
            _ if self.kind.shares_kernel() => {
                Err(format!("{NOT_APPLICABLE}a guest that shares the host's kernel has no memory of its own"))
            }
            Some(busy) => Err(format!("not read: other VMs of the trial {busy}")),
            None => smaps::read_process_memory(process.id(), self.limits.memory_bytes),
        };
        let values = found.map(|Memory { guest, overhead }| {
            [overhead.pss, overhead.rss, guest.rss, (guest + overhead).pss].map(|bytes| bytes as f64)
        });
        for (at, name) in names.into_iter().enumerate() {
            match &values {
                Ok(values) => self.reading(name, values[at], "bytes"),
                Err(reason) => self.missing_reading(name, "bytes", reason.clone()),
            }
        }
    }

    /// Records an event that the runner did not observe itself, or why it is missing.
    pub(super) fn record_derived_event(&mut self, name: &str, instant: Result<u64, String>) {
        match instant {
            Ok(t_ns) => self.records.push(Record::Event { vm: self.vm, name: name.into(), t_ns }),
            Err(reason) => self.missing_event(name, reason),
        }
    }

    /// Records the number of system calls from the output of strace.
    pub(super) fn record_system_calls(&mut self, file: &Path) {
        // The VMM can write to the folder of this file.
        let read = || io::read_to_string(input::open_no_link(file)?.take(STRACE_LIMIT));
        let total = read().map_err(|error| format!("cannot read the output of strace: {error}"));
        match total.and_then(|table| {
            strace::parse_total_calls(&table).ok_or_else(|| "the output of strace has no total".to_owned())
        }) {
            Ok(total) => self.reading(reading::VMM_SYSTEM_CALLS, total as f64, "1"),
            Err(reason) => self.missing_reading(reading::VMM_SYSTEM_CALLS, "1", reason),
        }
    }

    /// Records the memory of a guest that shares the host's kernel: that of its processes and of its runtime.
    /// `getrusage(2)` is not used: these processes are smaller than the runner, whose size at the fork the
    /// kernel accounts to them ([`processes::peak_resident_bytes`]).
    pub(super) fn record_resident_set(&mut self, pid: u32) {
        let peak_of =
            |pid: u32| processes::peak_resident_bytes(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?);
        let all = [pid].into_iter().chain(processes::descendants(pid)).map(peak_of);
        match all.sum::<Option<u64>>() {
            Some(bytes) => self.reading(reading::VMM_PEAK_RSS, bytes as f64, "bytes"),
            None => self.missing_reading(reading::VMM_PEAK_RSS, "bytes", format!("/proc/{pid}/status has no VmHWM")),
        }
    }

    /// Records the resource usage of an exited VMM.
    pub(super) fn record_resource_usage(&mut self, exit: Exit) {
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

    /// Records an event at the current instant.
    pub(super) fn event(&mut self, name: &str) {
        let t_ns = Instant::now().0;
        self.records.push(Record::Event { vm: self.vm, name: name.into(), t_ns });
    }

    /// Records why an event is missing, as a reading of the event's name without a value.
    pub(super) fn missing_event(&mut self, name: &str, reason: String) {
        self.missing_reading(name, "ns", reason);
    }

    /// Records why a reading is missing.
    pub(super) fn missing_reading(&mut self, name: &str, unit: &str, reason: String) {
        let (name, unit) = (name.to_owned(), unit.to_owned());
        self.records.push(Record::Reading { vm: self.vm, name, value: None, unit, reason });
    }

    pub(super) fn reading(&mut self, name: &str, value: f64, unit: &str) {
        let (name, unit) = (name.to_owned(), unit.to_owned());
        self.records.push(Record::Reading { vm: self.vm, name, value: Some(value), unit, reason: String::new() });
    }
}

/// Readings that require a guest kernel.
const GUEST_KERNEL_READINGS: [&str; 9] = [
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

const NO_MESSAGE: &str = "the message is missing from the guest's kernel log";

/// Returns the number of kernel parameters of `given` that are missing from `found`, and of those that
/// `found` has in addition. The order does not matter.
fn compare_parameters(given: &str, found: &str) -> [usize; 2] {
    let mut left: Vec<&str> = found.split_whitespace().collect();
    let mut missing = 0;
    for parameter in given.split_whitespace() {
        match left.iter().position(|other| *other == parameter) {
            Some(index) => drop(left.swap_remove(index)),
            None => missing += 1,
        }
    }
    [missing, left.len()]
}

/// Returns why `random: fast init done` is missing from the log of a guest kernel of this release.
fn no_fast_init(release: &str) -> String {
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (5, 18) {
        format!(
            "Linux 5.18 and later do not print `random: fast init done`; the guest runs {}",
            one_line(release, release.len())
        )
    } else {
        NO_MESSAGE.into()
    }
}

#[cfg(test)]
mod tests {
    use super::compare_parameters;

    #[test]
    fn parameters_are_compared_regardless_of_their_order() {
        assert_eq!(compare_parameters("a b=1 b=1", "x b=1 a b=1"), [0, 1]);
        assert_eq!(compare_parameters("a b", "b b c"), [1, 2]);
    }
}
