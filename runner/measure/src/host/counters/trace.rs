//! Boot events of a guest, from KVM's tracepoints: KVM's first entry into the guest, and the guest's marks on an I/O
//! port.
//!
//! A perf event (`perf_event_open(2)`) is opened for the thread that will fork the VMM. The child inherits it
//! (`inherit`), and `execve` enables it (`enable_on_exec`). So only this VMM is traced, independent of PID namespaces,
//! and the kernel removes the event when the runner ends.
//!
//! The kernel cannot map a buffer for an inherited event of all CPUs, so each CPU has its own event. Only the first
//! record matters: a ring buffer has one page, is read after the VM has ended, and later records are dropped.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use microbench_agent::MARK_PORT;
use microbench_formats::event;
use perf_event::data::Record;
use perf_event::events::Tracepoint;
use perf_event::{Builder, Clock, SampleFlag, Sampler};

use crate::host::machine::tree::Tree;
use crate::sys;

const CPUS: &str = "/sys/devices/system/cpu";

/// Mount points of tracefs, the newer one first.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// The traced events: name, KVM's tracepoint, and the mark that the record must contain, if any.
const TRACED: [(&str, &str, Option<u8>); 4] = [
    (event::GUEST_ENTERED, "kvm/kvm_entry", None),
    (event::KERNEL_MARKED, "kvm/kvm_pio", Some(KERNEL_MARK)),
    (event::INIT_MARKED, "kvm/kvm_pio", Some(INIT_MARK)),
    (event::AGENT_MARKED, "kvm/kvm_pio", Some(microbench_agent::MARK)),
];

/// Written to [`MARK_PORT`] by a kernel with marks (kernels/marks-6.1) when its C code starts.
const KERNEL_MARK: u8 = 0x31;
/// Written to [`MARK_PORT`] by a kernel with marks just before it starts init.
const INIT_MARK: u8 = 0x32;

/// The perf events of a VMM, which the calling thread has yet to fork.
#[derive(Debug)]
pub struct Trace(Vec<(&'static str, Result<Rings, String>)>);

/// One ring buffer for each CPU.
type Rings = Vec<Ring>;

/// A sampler with a `Debug` implementation.
struct Ring(Sampler);

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ring({})", self.0.as_raw_fd())
    }
}

impl Trace {
    /// Opens the events for the next child of the calling thread. [`Trace::finish`] returns the error of an event that
    /// cannot be opened.
    #[must_use]
    pub fn open_for_next_child() -> Self {
        let cpus = online_cpus(&Tree::machine());
        let open = |(event, tracepoint, mark)| (event, open_rings(tracepoint, mark, &cpus));
        Self(TRACED.into_iter().map(open).collect())
    }

    /// Reads the time of each event on CLOCK_MONOTONIC, ns; or why the event is missing, in one line. Call it after
    /// the VMM has ended.
    #[must_use]
    pub fn finish(self) -> Vec<(&'static str, Result<u64, String>)> {
        let first_time = |rings: Result<Rings, String>| {
            let first_time = rings?.into_iter().filter_map(|ring| first_record_time(ring.0)).min();
            first_time.ok_or_else(|| "KVM's tracepoints recorded no such event".to_owned())
        };
        self.0.into_iter().map(|(event, rings)| (event, first_time(rings))).collect()
    }
}

/// Numbers of the online CPUs.
fn online_cpus(tree: &Tree) -> Vec<usize> {
    let names = tree.list_numbered(CPUS, "cpu");
    let is_online = |name: &&String| tree.read_trimmed(&format!("{CPUS}/{name}/online")).as_deref() != Some("0");
    names.iter().filter(is_online).filter_map(|name| name.strip_prefix("cpu")?.parse().ok()).collect()
}

fn open_rings(tracepoint: &str, mark: Option<u8>, cpus: &[usize]) -> Result<Rings, String> {
    let id = tracepoint_id(tracepoint, &TRACEFS.map(Path::new))?;
    let ring = |cpu: &usize| open_ring(id, mark, *cpu);
    cpus.iter().map(ring).collect::<io::Result<_>>().map_err(|error| format!("cannot trace {tracepoint}: {error}"))
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

fn open_ring(id: u64, mark: Option<u8>, cpu: usize) -> io::Result<Ring> {
    let counter = Builder::new(Tracepoint::with_id(id))
        .observe_self()
        .one_cpu(cpu)
        .inherit(true)
        .enable_on_exec(true)
        .include_kernel()
        .sample_period(1)
        .sample(SampleFlag::TIME)
        .clockid(Clock::MONOTONIC)
        .build()?;
    if let Some(mark) = mark {
        // Syntax: Documentation/trace/events.rst, "Event filtering". `rw` is 1 for a write.
        sys::set_perf_filter(&counter, &format!("rw == 1 && port == {MARK_PORT} && val == {mark}"))?;
    }
    Ok(Ring(counter.sampled(1)?))
}

/// Time of the first record, ns; `None` without a record.
fn first_record_time(mut ring: Sampler) -> Option<u64> {
    while let Some(record) = ring.next_record() {
        if let Ok(Record::Sample(sample)) = record.parse_record() {
            return sample.time();
        }
    }
    None
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
