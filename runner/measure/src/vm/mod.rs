//! The life of one VM, start to end, as events: clone, tap, spawn, probe, readings, work, stop, exit.
//!
//! [`Vm::prepare`] does everything that may be done before the release; [`Vm::run`] is the timed part and runs on a thread of
//! its own. Every wait has a deadline. A VM that misses one is killed and keeps what it recorded so far.

mod alone;
pub mod api;
mod disk;
mod failed;
mod launch;
mod live;
mod network;
mod page_cache;
mod prepare;
pub(crate) mod process;
mod readings;
pub(crate) mod shared;
mod snapshot;
mod work;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use microbench_formats::cell::Cell;
use microbench_formats::event::reading;
use microbench_formats::instrument::Instrument;
use microbench_formats::record::Record;
use microbench_formats::workload::Workload;
use microbench_study::engine::addresses::Addresses;
use microbench_study::engine::description::GuestKind;
use microbench_study::engine::guest_settings::GuestSettings;
use microbench_study::engine::launch::Launch;
use nix::sys::inotify::Inotify;

use self::network::Net;
use self::process::Ready;
use self::shared::Shared;
pub use self::snapshot::NotTaken;
use self::snapshot::Place;
use crate::guest::client::Guest;
use crate::host::counters::trace::Trace;
use crate::host::resources::disk::Disk;
use crate::host::resources::net::Link;
use crate::parts::Parts;
use crate::probe::Probe;
use crate::rendezvous::Together;
use crate::sandbox::isolation::Isolation;
use crate::sys;
use crate::sys::clock::Instant;
use crate::sys::mount::Shown;
use crate::vm::api::ApiClient;
use crate::workload::Task;

/// How long a VM may take for each part of its life, on the executing host's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Spawn to the first good answer.
    pub boot: Duration,
    /// Each request to the agent but the work.
    pub request: Duration,
    /// The work.
    pub work: Duration,
    /// Request to stop to exit.
    pub stop: Duration,
}

impl Deadlines {
    /// The deadlines of a guest's settings.
    #[must_use]
    pub fn of(guest: &GuestSettings) -> Self {
        Self {
            boot: guest.boot_deadline,
            request: Duration::from_secs(10),
            work: guest.work_deadline,
            stop: guest.stop_deadline,
        }
    }
}

/// What this host cannot do for a VM: its level is not applicable here.
#[derive(Debug, thiserror::Error)]
#[error("this host cannot run {0}")]
pub struct NotHere(String);

/// Where a trial keeps things.
#[derive(Clone, Copy, Debug)]
pub struct Folders<'a> {
    /// Sockets, configuration files, disk clones.
    pub scratch: &'a Path,
    /// Console logs.
    pub console: &'a Path,
}

/// A VM that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its number in the trial.
    pub vm: u32,
    /// Unique in the run: names its files.
    pub id: &'a str,
    /// The cell.
    pub cell: &'a Cell,
    /// What its VMM is started under.
    pub instrument: Option<Instrument>,
    /// What its guest does.
    pub workloads: &'a [Workload],
    /// What it is made of.
    pub parts: &'a Parts,
    /// Where it keeps things.
    pub folders: Folders<'a>,
    /// What it shares with the others of its trial.
    pub shared: &'a Shared,
}

/// How a VM's life begins and ends.
#[derive(Clone, Copy, Debug)]
enum Life<'a> {
    /// Its guest boots, and is measured.
    Boots,
    /// Its guest boots, and its snapshot is taken.
    IsSaved(&'a Place),
    /// Its guest is restored from that, and measured.
    IsRestored(&'a Place),
}

/// A VM that is ready to be released.
#[derive(Debug)]
pub struct Vm {
    vm: u32,
    nonce: String,
    launch: Launch,
    /// The guest kernel's command line, as it was given to the VMM; `None` for a guest without a kernel of its own.
    words: Option<String>,
    /// Where an instrument leaves what it counted; `None` in a timed trial.
    counts: Option<PathBuf>,
    /// KVM runs the guest.
    kvm: bool,
    /// The boot is traced.
    traced: bool,
    /// What runs the agent.
    kind: GuestKind,
    messages: Vec<String>,
    tasks: Vec<Task>,
    deadlines: Deadlines,
    /// The guest's memory.
    memory_bytes: u64,
    /// How long it is held when every VM of the trial has answered; `None` not to hold it.
    steady: Option<Duration>,
    probe: Probe,
    /// What is started at the release; `None` from then on.
    ready: Option<Ready>,
    /// Its guest was restored, it did not boot.
    restored: bool,
    folder: PathBuf,
    /// What is mounted for it: files in a jailed VMM's root, the root file system of a guest without a kernel of its own.
    shown: Vec<Shown>,
    isolation: Isolation,
    /// Processes that the kernel had killed for want of memory before the trial.
    oom_kills: Option<u64>,
    addresses: Addresses,
    records: Vec<Record>,
    ended: Option<Instant>,
    complaint: Option<String>,
    guest: Guest,
    /// Of a VMM that is told over its API; `None` once its guest has answered.
    api: Option<ApiClient>,
    /// Wakes when the API socket appears; `None` without one. Made before the release and kept to the end, because closing it waits for
    /// a grace period of the host's kernel (fsnotify, SRCU), which can last longer than a boot.
    watch: Option<Inotify>,
    /// `None` for a guest that is seen on its console alone.
    net: Option<Net>,
    // Held for the VM's life, never read.
    _disk: Disk,
}

/// What a VM left.
#[derive(Debug)]
pub struct Report {
    /// Events and readings, a failure last.
    pub records: Vec<Record>,
    /// The protocol was completed.
    pub ok: bool,
    /// The first complaint of its kernel on the console.
    pub complaint: Option<String>,
    /// What joined it to the host, to be removed with those of the trial's other VMs.
    pub link: Option<Link>,
}

impl Vm {
    /// Runs the VM's whole life; returns when its process is reaped.
    #[must_use]
    pub fn run(mut self, together: &Together) -> Report {
        let _leaves = Leaves(together);
        // This thread forks the VMM.
        let trace = self.traced.then(Trace::of_this_threads_child);
        together.release();
        let cpu_before = sys::thread_cpu_ns();
        let failure = self.live(together).err();
        self.reading(reading::RUNNER_VM_CPU_TIME, sys::thread_cpu_ns().saturating_sub(cpu_before) as f64, "ns");
        for (name, instant) in trace.map(Trace::finish).unwrap_or_default() {
            self.told(name, instant);
        }
        if let Some(failure) = &failure {
            self.records.push(Record::Failure {
                vm: self.vm,
                reason: failure.reason,
                stage: failure.stage.into(),
                message: failure.message.clone(),
            });
        }
        self.shown.clear();
        drop(fs::remove_dir_all(&self.folder));
        let (records, complaint) = (std::mem::take(&mut self.records), self.complaint.take());
        let link = self.into_link();
        Report { ok: failure.is_none(), records, complaint, link }
    }

    /// What joins it to the host, when nothing else is left of it.
    #[must_use]
    pub fn into_link(self) -> Option<Link> {
        self.net.map(|net| net.link)
    }
}

/// A VM that is waited for no longer once this is dropped, whatever became of it.
struct Leaves<'a>(&'a Together);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}
