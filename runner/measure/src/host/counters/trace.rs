//! What the host's kernel sees of a boot: KVM's first entry into the guest, and the guest's marks on an I/O port, by KVM's tracepoints.
//!
//! A perf event (`perf_event_open(2)`) of the thread that will fork the VMM is handed down to what it forks (`inherit`) and counts from
//! the exec on (`enable_on_exec`), so that this VMM alone is traced, whatever its number in which namespace, and nothing is left in the kernel
//! however the runner ends. The kernel maps no inherited event of all CPUs, so each CPU has its own. Only the first record of each
//! is wanted: a ring is one page, is read when the VM has ended, and what does not fit is dropped.

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

/// Where tracefs may be, the newer place first.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// What is traced: the event, KVM's tracepoint, and the mark that its record must be of.
const TRACED: [(&str, &str, Option<u8>); 4] = [
    (event::GUEST_ENTERED, "kvm/kvm_entry", None),
    (event::KERNEL_MARKED, "kvm/kvm_pio", Some(KERNEL_MARK)),
    (event::INIT_MARKED, "kvm/kvm_pio", Some(INIT_MARK)),
    (event::AGENT_MARKED, "kvm/kvm_pio", Some(microbench_agent::MARK)),
];

/// What a kernel with marks (kernels/marks-6.1) writes to [`MARK_PORT`] as its C code begins ...
const KERNEL_MARK: u8 = 0x31;
/// ... and just before it hands over to init.
const INIT_MARK: u8 = 0x32;

/// The events of one VMM that is going to be forked by the thread that made this.
#[derive(Debug)]
pub struct Trace(Vec<(&'static str, Result<Rings, String>)>);

/// One ring a CPU.
type Rings = Vec<Ring>;

/// A sampler; `Debug` for those that hold it.
struct Ring(Sampler);

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ring({})", self.0.as_raw_fd())
    }
}

impl Trace {
    /// Opens what there is to be opened; what cannot be had is told by [`Trace::finish`].
    #[must_use]
    pub fn of_this_threads_child() -> Self {
        let cpus = cpus(&Tree::machine());
        let open = |(event, tracepoint, mark)| (event, rings(tracepoint, mark, &cpus));
        Self(TRACED.into_iter().map(open).collect())
    }

    /// The instant of each event on CLOCK_MONOTONIC, ns, or why there is none, in one line.
    #[must_use]
    pub fn finish(self) -> Vec<(&'static str, Result<u64, String>)> {
        let first = |rings: Result<Rings, String>| {
            let seen = rings?.into_iter().filter_map(|ring| first(ring.0)).min();
            seen.ok_or_else(|| "KVM's tracepoints saw none".to_owned())
        };
        self.0.into_iter().map(|(event, rings)| (event, first(rings))).collect()
    }
}

/// Numbers of the CPUs that are on line.
fn cpus(tree: &Tree) -> Vec<usize> {
    let names = tree.numbered(CPUS, "cpu");
    let on_line = |name: &&String| tree.word(&format!("{CPUS}/{name}/online")).as_deref() != Some("0");
    names.iter().filter(on_line).filter_map(|name| name.strip_prefix("cpu")?.parse().ok()).collect()
}

fn rings(tracepoint: &str, mark: Option<u8>, cpus: &[usize]) -> Result<Rings, String> {
    let id = id(tracepoint, &TRACEFS.map(Path::new))?;
    let ring = |cpu: &usize| ring(id, mark, *cpu);
    cpus.iter().map(ring).collect::<io::Result<_>>().map_err(|error| format!("{tracepoint} cannot be traced: {error}"))
}

/// The number of a tracepoint, from the first of `folders` that has it.
fn id(tracepoint: &str, folders: &[&Path]) -> Result<u64, String> {
    let files = folders.iter().map(|folder| folder.join("events").join(tracepoint).join("id"));
    let text = files.clone().find_map(|file| std::fs::read_to_string(file).ok());
    let text = text.ok_or_else(|| {
        let files: Vec<String> = files.map(|file: PathBuf| file.display().to_string()).collect();
        format!("the host's kernel shows no tracepoint {tracepoint} ({})", files.join(", "))
    })?;
    text.trim().parse().map_err(|_| format!("the number of {tracepoint} is {text:?}"))
}

fn ring(id: u64, mark: Option<u8>, cpu: usize) -> io::Result<Ring> {
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
        // Documentation/trace/events.rst, "Event filtering"; a write is 1.
        sys::perf_filter(&counter, &format!("rw == 1 && port == {MARK_PORT} && val == {mark}"))?;
    }
    Ok(Ring(counter.sampled(1)?))
}

/// Instant of the first record.
fn first(mut ring: Sampler) -> Option<u64> {
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
    fn a_kernel_without_kvms_tracepoints_is_told_with_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let (newer, older) = (folder.path().join("newer"), folder.path().join("older"));
        let found = || id("kvm/kvm_entry", &[&newer, &older]);
        assert!(found().unwrap_err().contains("newer/events/kvm/kvm_entry/id"), "{found:?}", found = found());
        std::fs::create_dir_all(older.join("events/kvm/kvm_entry")).unwrap();
        std::fs::write(older.join("events/kvm/kvm_entry/id"), "1234\n").unwrap();
        assert_eq!(found(), Ok(1234));
        std::fs::write(older.join("events/kvm/kvm_entry/id"), "?").unwrap();
        assert!(found().unwrap_err().contains("the number of kvm/kvm_entry"));
    }

    #[test]
    fn a_cpu_that_is_off_line_has_no_ring() {
        let root = tempfile::tempdir().unwrap();
        for (cpu, on_line) in [("cpu0", None), ("cpu1", Some("0\n")), ("cpu2", Some("1\n")), ("cpufreq", None)] {
            let folder = root.path().join("sys/devices/system/cpu").join(cpu);
            std::fs::create_dir_all(&folder).unwrap();
            if let Some(text) = on_line {
                std::fs::write(folder.join("online"), text).unwrap();
            }
        }
        assert_eq!(cpus(&Tree::at(root.path())), [0, 2]);
    }
}
