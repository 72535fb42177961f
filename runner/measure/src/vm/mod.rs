//! The life of one VM, recorded as events: clone, tap, spawn, probe, readings, workloads, shutdown, exit.
//!
//! [`Vm::prepare`] does everything that can be done before the release. [`Vm::run`] is the timed part and
//! runs on a thread of its own. Every wait has a deadline; a VM that misses one is killed, and keeps what it
//! has recorded.

pub mod api;
mod disk;
mod failure;
pub(crate) mod folder;
mod launch;
mod live;
mod network;
mod no_network;
mod observers;
mod page_cache;
mod prepare;
pub(crate) mod process;
mod readings;
pub(crate) mod shared;
mod snapshot;
mod socket;
mod workload;

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

use self::folder::VmFolder;
use self::network::VmNetwork;
use self::observers::Observers;
use self::process::{PreparedProcess, VmmProcess};
use self::shared::Shared;
pub use self::snapshot::SnapshotError;
use self::snapshot::SnapshotSlot;
use crate::guest::bounds::GuestLimits;
use crate::guest::client::AgentClient;
use crate::host::resources::disk::Disk;
use crate::host::resources::net::Link;
use crate::parts::Parts;
use crate::probe::Probe;
use crate::rendezvous::Rendezvous;
use crate::sandbox::isolation::Isolation;
use crate::sandbox::vm_namespaces::VmRoot;
use crate::sys;
use crate::sys::clock::Instant;
use crate::sys::mount::MountGuard;
use crate::vm::api::ApiClient;
use crate::workload::PreparedWorkload;

/// Time limits of the parts of a VM's life, on the clock of the executing host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// From the spawn to the first response.
    pub boot: Duration,
    /// Each request to the agent, except workloads.
    pub request: Duration,
    pub workload: Duration,
    /// From the shutdown request to the exit.
    pub stop: Duration,
}

impl Deadlines {
    /// Returns the deadlines of a guest's settings.
    #[must_use]
    pub fn from_settings(guest: &GuestSettings) -> Self {
        Self {
            boot: guest.boot_deadline,
            request: Duration::from_secs(10),
            workload: guest.work_deadline,
            stop: guest.stop_deadline,
        }
    }
}

/// This host does not support the VM, for the contained reason: its level is not applicable here.
#[derive(Debug, thiserror::Error)]
#[error("this host cannot run {0}")]
pub struct NotSupported(String);

/// Folders of a trial.
#[derive(Clone, Copy, Debug)]
pub struct Folders<'a> {
    /// Sockets, configuration files, disk clones.
    pub scratch: &'a Path,
    pub console: &'a Path,
    /// What VMs see of the file system.
    pub root: &'a VmRoot,
}

#[derive(Clone, Copy, Debug)]
pub struct VmSpec<'a> {
    /// Number of the VM in the trial, from 0.
    pub vm: u32,
    /// Identifier that is unique in the run; it names the VM's files.
    pub id: &'a str,
    pub cell: &'a Cell,
    /// Instrument that the VMM runs under.
    pub instrument: Option<Instrument>,
    /// Workloads of the guest, in order.
    pub workloads: &'a [Workload],
    pub parts: &'a Parts,
    pub folders: Folders<'a>,
    /// Resources that the VMs of the trial share.
    pub shared: &'a Shared,
}

/// How a VM starts, and whether it is measured.
#[derive(Clone, Copy, Debug)]
enum StartMode<'a> {
    /// The guest boots and is measured.
    Boot,
    /// The guest boots and its snapshot is taken.
    TakeSnapshot(&'a SnapshotSlot),
    /// The guest is restored from the snapshot and measured.
    Restore(&'a SnapshotSlot),
}

/// A VM that is ready to be released.
#[derive(Debug)]
pub struct Vm {
    vm: u32,
    nonce: String,
    launch: Launch,
    /// The guest kernel's command line, as it was given to the VMM; `None` for a guest that shares the host's kernel.
    kernel_parameters: Option<String>,
    /// Output file of the instrument; `None` in a timed trial.
    instrument_output: Option<PathBuf>,
    /// The guest runs under KVM.
    kvm: bool,
    observers: Observers,
    /// What runs the agent.
    kind: GuestKind,
    /// Messages by which the VMM reports that this host cannot run the configuration.
    not_applicable_messages: Vec<String>,
    workloads: Vec<PreparedWorkload>,
    deadlines: Deadlines,
    limits: GuestLimits,
    /// How long the VM is held after every VM of the trial has responded; `None` if it is not held.
    steady: Option<Duration>,
    probe: Probe,
    /// The process to start at the release; `None` afterwards.
    process: Option<PreparedProcess>,
    /// The guest is restored from a snapshot.
    restored: bool,
    folder: VmFolder,
    /// The ended VMM, which keeps the VM's namespaces.
    ended: Option<VmmProcess>,
    /// Mounts of the VM: files in a jailed VMM's root, the root file system of a guest that shares the host's kernel.
    mounts: Vec<MountGuard>,
    isolation: Isolation,
    /// Out-of-memory kills of the host's kernel before the trial; `None` if unknown.
    oom_kills: Option<u64>,
    addresses: Addresses,
    records: Vec<Record>,
    exited_at: Option<Instant>,
    /// The runner killed the VMM at the guest's last reset pulse.
    ended_at_reset_pulses: bool,
    /// The first kernel error on the console.
    kernel_error: Option<String>,
    guest: AgentClient,
    /// Client of the VMM's API; `None` without one, and after the guest's first response.
    api: Option<ApiClient>,
    /// Reports when the API socket appears; `None` without an API. It is created before the release and kept
    /// to the end. Closing it waits for a grace period of the host's kernel (fsnotify, SRCU), which can be
    /// longer than a boot.
    socket_watch: Option<Inotify>,
    /// `None` for a guest without a network.
    net: Option<VmNetwork>,
    // Kept for its drop.
    _disk: Disk,
}

/// Result of a VM.
#[derive(Debug)]
pub struct VmReport {
    /// Events and readings; a failure is the last record.
    pub records: Vec<Record>,
    /// The VM completed the protocol.
    pub ok: bool,
    /// The first kernel error on the VM's console.
    pub kernel_error: Option<String>,
    /// What is released together with that of the trial's other VMs.
    pub held: Held,
}

/// Host resources that a VM holds until all VMs of the trial have ended: the kernel interrupts all CPUs for a while when
/// it releases mounts.
#[derive(Debug, Default)]
pub struct Held {
    /// The VM's network link.
    pub link: Option<Link>,
    /// The ended VMM with the VM's namespaces, and the VM's folder; in the order in which they are dropped.
    _rest: Option<Box<(Option<VmmProcess>, VmFolder)>>,
}

impl Vm {
    /// Runs the VM from the release to its exit; returns when its process is reaped.
    #[must_use]
    pub fn run(mut self, rendezvous: &Rendezvous) -> VmReport {
        let _guard = DeregisterOnDrop(rendezvous);
        // Perf events follow the child of this thread, which forks the VMM.
        self.observers.open_for_next_child();
        rendezvous.release();
        let cpu_before = sys::thread_cpu_ns();
        let failure = self.run_to_exit(rendezvous).err();
        self.reading(reading::RUNNER_VM_CPU_TIME, sys::thread_cpu_ns().saturating_sub(cpu_before) as f64, "ns");
        self.record_observed(failure.as_ref());
        if let Some(failure) = &failure {
            self.records.push(Record::Failure {
                vm: self.vm,
                reason: failure.reason,
                stage: failure.stage.into(),
                message: failure.message.clone(),
            });
        }
        self.mounts.clear();
        self.folder.clear();
        let (records, kernel_error) = (std::mem::take(&mut self.records), self.kernel_error.take());
        VmReport { ok: failure.is_none(), records, kernel_error, held: self.into_held() }
    }

    /// Drops the VM except for what is released with that of the trial's other VMs.
    #[must_use]
    pub fn into_held(self) -> Held {
        Held { link: self.net.map(|net| net.link), _rest: Some(Box::new((self.ended, self.folder))) }
    }
}

/// Guard that deregisters the VM from the rendezvous on drop.
struct DeregisterOnDrop<'a>(&'a Rendezvous);

impl Drop for DeregisterOnDrop<'_> {
    fn drop(&mut self) {
        self.0.deregister();
    }
}
