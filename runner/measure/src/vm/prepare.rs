//! Preparation of a VM: everything that can be done before the release.
//!
//! The steps are in the modules `disk`, `network`, `launch` and `page_cache`; [`Vm::assemble`] calls them in
//! order.

use microbench_formats::record::Record;
use microbench_study::engine::addresses::Addresses;
use microbench_study::engine::description::GuestKind;
use microbench_study::engine::launch::Launch;
use nix::sys::inotify::Inotify;

use super::folder::VmFolder;
use super::launch::PreparedLaunch;
use super::observers::Observers;
use super::process::{self, PreparedProcess, VmmCommand};
use super::snapshot::SnapshotSlot;
use super::{Deadlines, NotSupported, StartMode, Vm, VmSpec};
use crate::guest::bounds::GuestLimits;
use crate::host::resources::disk::Disk;
use crate::host::resources::huge_pages;
use crate::sandbox::isolation::Isolation;
use crate::sandbox::vm_namespaces::VmNamespaces;
use crate::sys::clock::Instant;
use crate::sys::mount::MountGuard;
use crate::vm::api::ApiClient;
use crate::workload::PreparedWorkload;

/// Largest size of a file of a VM in addition to its disk and its memory, bytes.
const FILE_MARGIN: u64 = 1 << 30;

/// State of a VM's preparation.
pub(super) struct VmBuilder<'a> {
    pub(super) spec: VmSpec<'a>,
    pub(super) start_mode: StartMode<'a>,
    pub(super) nonce: &'a str,
    /// The VM's own folder.
    pub(super) folder: VmFolder,
    pub(super) isolation: Isolation,
    pub(super) addresses: Addresses,
    /// Events and readings so far.
    pub(super) records: Vec<Record>,
    /// Mounts of the VM so far.
    pub(super) mounts: Vec<MountGuard>,
}

impl<'a> VmBuilder<'a> {
    fn new(spec: VmSpec<'a>, nonce: &'a str, start_mode: StartMode<'a>) -> anyhow::Result<Self> {
        let folder = start_mode.create_folder(&spec)?;
        let (isolation, addresses) = (Isolation::of_next_vm(), Addresses::for_vm(spec.vm));
        let records = Vec::with_capacity(96);
        Ok(Self { spec, start_mode, nonce, folder, isolation, addresses, records, mounts: Vec::new() })
    }

    /// Records an event at the current instant.
    pub(super) fn event(&mut self, name: &str) {
        self.records.push(Record::Event { vm: self.spec.vm, name: name.into(), t_ns: Instant::now().0 });
    }

    fn kind(&self) -> GuestKind {
        self.spec.parts.engine.guest
    }

    /// Creates the watch for the VMM's API socket and the client of that socket; `None` without an API.
    fn api(&self, launch: &Launch) -> anyhow::Result<(Option<Inotify>, Option<ApiClient>)> {
        if launch.api.is_none() {
            return Ok((None, None));
        }
        let watched = launch.root.as_deref().unwrap_or(self.folder.path());
        Ok((Some(process::watch_folder(watched)?), Some(ApiClient::new()?)))
    }

    /// Prepares the VMM's process.
    fn process(&self, prepared: &PreparedLaunch) -> anyhow::Result<PreparedProcess> {
        let VmSpec { id, folders, shared, .. } = self.spec;
        // Last, because the VM sees the mounts that its folder has now.
        let namespaces = VmNamespaces::new(folders.root, self.folder.path())?;
        let command = VmmCommand {
            argv: &prepared.launch.argv,
            isolation: self.isolation,
            as_root: prepared.launch.root.is_some() || self.kind() == GuestKind::Container,
            namespaces,
            inherited: Vec::new(),
            file_limit: largest_file(&self.spec)? + FILE_MARGIN,
            console_log: &folders.console.join(self.start_mode.console_log(id)),
            nonce: self.nonce,
        };
        command.prepare(&shared.vmm_stdin, &shared.consoles)
    }
}

/// Size of a VM's disk with the regions of its workloads, and of its memory, bytes: the largest file that it writes.
pub(super) fn largest_file(spec: &VmSpec<'_>) -> anyhow::Result<u64> {
    let regions: u64 = spec.workloads.iter().map(PreparedWorkload::disk_region_bytes).sum();
    let disk = Disk::shared(&spec.parts.image).bytes()?;
    Ok(disk + regions + (spec.parts.guest.memory_mib << 20))
}

impl Vm {
    /// Prepares a VM of a trial: its disk, tap, files and clients. If its guest is restored and the snapshot
    /// is missing, takes the snapshot first. `nonce` identifies this VM.
    ///
    /// # Errors
    /// Fails if a host resource cannot be allocated. [`NotSupported`] if this host cannot run the VM;
    /// [`SnapshotError`] if no snapshot could be taken.
    pub fn prepare(spec: VmSpec<'_>, nonce: &str) -> anyhow::Result<Self> {
        let VmSpec { vm, cell, parts, folders, .. } = spec;
        if let Some(reason) = &parts.not_applicable {
            return Err(NotSupported(reason.clone()).into());
        }
        if let Some(reason) = huge_pages::why_unavailable(&parts.guest, u64::from(vm) + 1) {
            return Err(NotSupported(reason).into());
        }
        let Some(slot) = SnapshotSlot::for_vm(vm, cell, parts, folders.scratch)? else {
            return Self::assemble(spec, nonce, StartMode::Boot);
        };
        if !slot.is_taken() {
            let unmeasured = VmSpec { instrument: None, ..spec };
            Self::assemble(unmeasured, nonce, StartMode::TakeSnapshot(&slot))?.take_snapshot(&slot)?;
        }
        Self::assemble(spec, &slot.nonce()?, StartMode::Restore(&slot))
    }

    fn assemble(spec: VmSpec<'_>, nonce: &str, start_mode: StartMode<'_>) -> anyhow::Result<Self> {
        let VmSpec { vm, parts, shared, instrument, .. } = spec;
        let guest = &parts.guest;
        let mut builder = VmBuilder::new(spec, nonce, start_mode)?;
        let (disk, workloads) = builder.prepare_disk()?;
        let net = builder.prepare_network()?;
        let prepared = builder.prepare_launch(&disk, net.as_ref())?;
        builder.write_files(&prepared.launch, &disk)?;
        // After the last step that reads a file, which would fill the page cache again.
        builder.prepare_page_cache(&disk)?;
        let deadlines = Deadlines::from_settings(guest);
        let (socket_watch, api) = builder.api(&prepared.launch)?;
        let agent = (builder.addresses.guest, microbench_agent::PORT).into();
        let client = shared.agents.client(agent, nonce, deadlines.request, deadlines.workload);
        let process = builder.process(&prepared)?;
        let VmBuilder { folder, isolation, addresses, records, mounts, .. } = builder;
        let PreparedLaunch { launch, kernel_parameters, instrument_output } = prepared;
        Ok(Self {
            vm,
            nonce: nonce.to_owned(),
            launch,
            kernel_parameters,
            instrument_output,
            kvm: parts.engine.needs_kvm,
            observers: Observers::new(&parts.engine, guest, instrument),
            kind: parts.engine.guest,
            not_applicable_messages: parts.engine.not_applicable.messages.clone(),
            workloads,
            deadlines,
            limits: GuestLimits { cpus: guest.vcpus, memory_bytes: guest.memory_mib << 20 },
            steady: guest.steady,
            probe: guest.probe,
            process: Some(process),
            restored: matches!(start_mode, StartMode::Restore(_)),
            folder,
            ended: None,
            mounts,
            isolation,
            oom_kills: shared.oom_kills,
            addresses,
            records,
            exited_at: None,
            ended_at_reset_pulses: false,
            kernel_error: None,
            guest: client,
            api,
            socket_watch,
            net,
            _disk: disk,
        })
    }
}
