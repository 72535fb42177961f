//! Perf events (`perf_event_open(2)`) on the kernel's tracepoints, for a VMM that the calling thread has yet to fork.
//!
//! A perf event is opened for the thread. The child inherits it (`inherit`), and `execve` enables it
//! (`enable_on_exec`). So only this VMM is observed, independent of PID namespaces, and the kernel removes the event when
//! the runner ends.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use perf_event::data::Record;
use perf_event::events::Tracepoint;
use perf_event::{Builder, Clock, SampleFlag, Sampler};

use crate::host::machine::tree::Tree;
use crate::sys;

const CPUS: &str = "/sys/devices/system/cpu";

/// Mount points of tracefs, the newer one first.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// The records of a tracepoint: one ring buffer of one page for each CPU, because the kernel cannot map a buffer for an
/// inherited event of all CPUs. A full buffer (255 records) drops later records.
#[derive(Debug)]
pub(super) struct Rings(Vec<Ring>);

/// A sampler with a `Debug` implementation.
struct Ring(Sampler);

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ring({})", self.0.as_raw_fd())
    }
}

impl Rings {
    /// Opens the events of `tracepoint` for the next child of the calling thread. `filter`: only records whose fields
    /// match it (Documentation/trace/events.rst, "Event filtering"). `wakes`: a record makes its descriptor readable,
    /// which costs an interrupt. The error is one line.
    pub(super) fn open_for_next_child(tracepoint: &str, filter: Option<&str>, wakes: bool) -> Result<Self, String> {
        let id = tracepoint_id(tracepoint, &TRACEFS.map(Path::new))?;
        let rings = online_cpus(&Tree::machine()).into_iter().map(|cpu| Ring::open(id, filter, wakes, cpu));
        rings.collect::<io::Result<_>>().map(Self).map_err(|error| format!("cannot trace {tracepoint}: {error}"))
    }

    /// Removes the records so far and returns their times on CLOCK_MONOTONIC, ns, without an order.
    pub(super) fn read_times(&mut self) -> Vec<u64> {
        let mut times = Vec::new();
        for Ring(sampler) in &mut self.0 {
            while let Some(record) = sampler.next_record() {
                if let Ok(Record::Sample(sample)) = record.parse_record() {
                    times.extend(sample.time());
                }
            }
        }
        times
    }

    /// Descriptors that are readable when there are new records, if the rings were opened so.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|ring| sys::perf_descriptor(&ring.0))
    }
}

impl Ring {
    fn open(tracepoint: u64, filter: Option<&str>, wakes: bool, cpu: usize) -> io::Result<Self> {
        let counter = Builder::new(Tracepoint::with_id(tracepoint))
            .observe_self()
            .one_cpu(cpu)
            .inherit(true)
            .enable_on_exec(true)
            .include_kernel()
            .sample_period(1)
            .sample(SampleFlag::TIME)
            .wakeup_events(usize::from(wakes))
            .clockid(Clock::MONOTONIC)
            .build()?;
        if let Some(filter) = filter {
            sys::set_perf_filter(&counter, filter)?;
        }
        Ok(Self(counter.sampled(1)?))
    }
}

/// A counter of a tracepoint's hits, in the VMM's processes and threads together.
pub(super) struct Hits(perf_event::Counter);

impl std::fmt::Debug for Hits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hits({})", self.0.as_raw_fd())
    }
}

impl Hits {
    /// Opens the counter for the next child of the calling thread, with errors and `filter` of
    /// [`Rings::open_for_next_child`].
    pub(super) fn open_for_next_child(tracepoint: &str, filter: Option<&str>) -> Result<Self, String> {
        let id = tracepoint_id(tracepoint, &TRACEFS.map(Path::new))?;
        let open = || {
            let counter = Builder::new(Tracepoint::with_id(id))
                .observe_self()
                .any_cpu()
                .inherit(true)
                .enable_on_exec(true)
                .include_kernel()
                .build()?;
            if let Some(filter) = filter {
                sys::set_perf_filter(&counter, filter)?;
            }
            Ok(Self(counter))
        };
        open().map_err(|error: io::Error| format!("cannot count {tracepoint}: {error}"))
    }

    /// The number of hits so far.
    pub(super) fn read(&mut self) -> Result<u64, String> {
        self.0.read().map_err(|error| format!("cannot read a perf event: {error}"))
    }
}

/// Numbers of the online CPUs.
fn online_cpus(tree: &Tree) -> Vec<usize> {
    let names = tree.list_numbered(CPUS, "cpu");
    let is_online = |name: &&String| tree.read_trimmed(&format!("{CPUS}/{name}/online")).as_deref() != Some("0");
    names.iter().filter(is_online).filter_map(|name| name.strip_prefix("cpu")?.parse().ok()).collect()
}

/// ID of a tracepoint, from the first of `folders` that contains it.
fn tracepoint_id(tracepoint: &str, folders: &[&Path]) -> Result<u64, String> {
    let files = folders.iter().map(|folder| folder.join("events").join(tracepoint).join("id"));
    let text = files.clone().find_map(|file| std::fs::read_to_string(file).ok());
    let text = text.ok_or_else(|| {
        let files: Vec<String> = files.map(|file: PathBuf| file.display().to_string()).collect();
        format!("the host's kernel has no tracepoint {tracepoint} ({} not found)", files.join(" and "))
    })?;
    text.trim().parse().map_err(|_| format!("the ID of tracepoint {tracepoint} is not a number: {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_tracepoint_is_an_error_that_names_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let (newer, older) = (folder.path().join("newer"), folder.path().join("older"));
        let found = || tracepoint_id("kvm/kvm_entry", &[&newer, &older]);
        assert!(found().unwrap_err().contains("newer/events/kvm/kvm_entry/id"), "{found:?}", found = found());
        std::fs::create_dir_all(older.join("events/kvm/kvm_entry")).unwrap();
        std::fs::write(older.join("events/kvm/kvm_entry/id"), "1234\n").unwrap();
        assert_eq!(found(), Ok(1234));
        std::fs::write(older.join("events/kvm/kvm_entry/id"), "?").unwrap();
        assert!(found().unwrap_err().contains("the ID of tracepoint kvm/kvm_entry"));
    }

    #[test]
    fn offline_cpu_has_no_ring() {
        let root = tempfile::tempdir().unwrap();
        for (cpu, on_line) in [("cpu0", None), ("cpu1", Some("0\n")), ("cpu2", Some("1\n")), ("cpufreq", None)] {
            let folder = root.path().join("sys/devices/system/cpu").join(cpu);
            std::fs::create_dir_all(&folder).unwrap();
            if let Some(text) = on_line {
                std::fs::write(folder.join("online"), text).unwrap();
            }
        }
        assert_eq!(online_cpus(&Tree::new(root.path())), [0, 2]);
    }
}
