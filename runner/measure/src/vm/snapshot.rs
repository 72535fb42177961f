//! Guests that are restored from a snapshot instead of booted. The snapshot is taken before the release, once
//! per session and VM configuration.
//!
//! A snapshot belongs to one slot, the VM number `vm` of a trial. It contains the tap's name, the guest's
//! addresses, and the command line with the nonce. Therefore a restored guest responds with the nonce of the
//! guest whose snapshot was taken. That nonce still identifies the VM, because no other slot uses it. The
//! slot's previous VM was reaped, and its tap was removed, before this VM's tap was created.
//!
//! The files are in the session's scratch folder, which is in RAM. They need the guest's memory once per slot
//! and configuration.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use microbench_agent::Stats;
use microbench_formats::cell::Cell;
use microbench_formats::event::{self, reading};
use microbench_formats::input;
use microbench_formats::record::FailureReason;
use microbench_study::engine::launch::{self, Launch};
use sha2::{Digest, Sha256};

use super::failure::VmFailure;
use super::folder::{self, VmFolder};
use super::prepare::largest_file;
use super::{StartMode, Vm, VmSpec};
use crate::host::resources::disk::Disk;
use crate::parts::Parts;
use crate::sys::clock::Instant;
use crate::sys::remove::remove_tree;

/// Why the values of a boot are missing for a restored guest.
pub(super) const RESTORED: &str = "not applicable: the guest was restored, it did not boot";
/// File name of the disk at the time of the snapshot, if the guest had a clone.
const DISK: &str = "disk.img";
/// File name of the nonce. It is written last, and so marks a complete snapshot.
const NONCE: &str = "nonce";

/// The snapshot of a guest could not be taken, so its VMs cannot be restored.
#[derive(Debug, thiserror::Error)]
#[error("cannot take a snapshot of the guest: at {stage}: {message}")]
pub struct SnapshotError {
    pub reason: FailureReason,
    /// The stage that the VM did not reach.
    pub stage: &'static str,
    pub message: String,
}

/// Folder of the snapshot of one slot and VM configuration. The snapshot may not have been taken yet.
#[derive(Debug)]
pub(super) struct SnapshotSlot {
    folder: PathBuf,
    /// Folder of each VM that takes or restores the snapshot. It must be the same, because the snapshot
    /// contains the path of the disk.
    vm_folder: PathBuf,
}

impl SnapshotSlot {
    /// Returns the slot of VM `vm` of `cell`; `None` if the cell's guests boot.
    pub(super) fn for_vm(vm: u32, cell: &Cell, parts: &Parts, scratch: &Path) -> anyhow::Result<Option<Self>> {
        if !launch::restores_from_snapshot(&parts.engine, &cell.settings)? {
            return Ok(None);
        }
        let digest: String =
            Sha256::digest(cell.configuration_key())[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        let both = scratch.join(format!("snapshot-{digest}-{vm}"));
        Ok(Some(Self { folder: both.join("saved"), vm_folder: both.join("vm") }))
    }

    /// Creates the file system that the snapshot shares with the VM's folder, because files move between the two, with
    /// room for `bytes`. It ends with the session.
    fn create_file_system(&self, bytes: u64) -> anyhow::Result<()> {
        let both = self.folder.parent().context("the folder of a snapshot has a parent")?;
        if !both.exists() {
            folder::create(both)?;
            std::mem::forget(folder::mount_bounded(both, bytes)?);
        }
        Ok(())
    }

    /// Creates the folder of a VM that takes or restores the snapshot.
    fn create_vm_folder(&self) -> anyhow::Result<VmFolder> {
        remove_tree(&self.vm_folder).with_context(|| format!("cannot remove {}", self.vm_folder.display()))?;
        VmFolder::new(self.vm_folder.clone())
    }

    /// Returns whether the snapshot is complete.
    pub(super) fn is_taken(&self) -> bool {
        self.folder.join(NONCE).exists()
    }

    /// Reads the nonce that the restored guest responds with.
    pub(super) fn nonce(&self) -> anyhow::Result<String> {
        fs::read_to_string(self.folder.join(NONCE)).with_context(|| format!("cannot read {}", self.folder.display()))
    }

    /// Changes `launch` to load the snapshot, and links the snapshot's files into the VMM's folder.
    pub(super) fn prepare_restore(&self, launch: &mut Launch, folder: &Path) -> anyhow::Result<()> {
        let snapshot = launch.snapshot.as_ref().context("the engine's description has no snapshot")?;
        if let Some(api) = &mut launch.api {
            api.calls.clone_from(&snapshot.load);
        }
        let vmm_folder = launch.root.as_deref().unwrap_or(folder);
        for name in &snapshot.files {
            fs::hard_link(self.folder.join(name), vmm_folder.join(name))
                .with_context(|| format!("cannot link the snapshot's file {name}"))?;
        }
        Ok(())
    }

    /// Moves the snapshot's files of an exited VM into the slot.
    fn store(&self, vm: &Vm) -> anyhow::Result<()> {
        remove_tree(&self.folder).with_context(|| format!("cannot remove {}", self.folder.display()))?;
        folder::create(&self.folder)?;
        let vmm_folder = vm.launch.root.as_deref().unwrap_or(vm.folder.path());
        let files = vm.launch.snapshot.iter().flat_map(|snapshot| &snapshot.files);
        for name in files {
            let target = self.folder.join(name);
            fs::rename(vmm_folder.join(name), &target)
                .with_context(|| format!("the VMM did not write the snapshot's file {name}"))?;
            // Read-only: all VMs that are restored read the same file.
            take_over(&target)?
                .set_permissions(fs::Permissions::from_mode(0o444))
                .with_context(|| format!("cannot make {} read-only", target.display()))?;
            vm.isolation.chown_to_root(&target)?;
        }
        if let Disk::Clone(path, _) = &vm._disk {
            let target = self.folder.join(DISK);
            fs::rename(path, &target).with_context(|| format!("cannot move {} into the snapshot", path.display()))?;
            take_over(&target)?;
        }
        fs::write(self.folder.join(NONCE), &vm.nonce)
            .with_context(|| format!("cannot write to {}", self.folder.display()))
    }
}

/// Opens a file that a VM has written, in a folder that no VM can enter.
///
/// # Errors
/// If it is anything but a regular file: a link would lead to a file of the host.
fn take_over(path: &Path) -> anyhow::Result<File> {
    input::open_no_link(path).with_context(|| format!("the VM wrote {}", path.display()))
}

impl StartMode<'_> {
    /// Creates the VM's folder. Its file system has room for the VM's disk and memory, with a snapshot for two of each.
    pub(super) fn create_folder(self, spec: &VmSpec<'_>) -> anyhow::Result<VmFolder> {
        let bytes = largest_file(spec)?;
        match self {
            Self::Boot => VmFolder::with_own_file_system(spec.folders.scratch.join(spec.id), bytes),
            Self::TakeSnapshot(slot) | Self::Restore(slot) => {
                slot.create_file_system(2 * bytes)?;
                slot.create_vm_folder()
            }
        }
    }

    /// Returns the file that the VM's disk is cloned from.
    pub(super) fn disk_image(self, image: &Path) -> PathBuf {
        match self {
            Self::Restore(slot) => slot.folder.join(DISK),
            Self::Boot | Self::TakeSnapshot(_) => image.to_path_buf(),
        }
    }

    /// Returns the file name of the VM's console log.
    pub(super) fn console_log(self, id: &str) -> String {
        match self {
            Self::TakeSnapshot(_) => format!("{id}.saved.log"),
            Self::Boot | Self::Restore(_) => format!("{id}.log"),
        }
    }
}

impl Vm {
    /// Boots the guest, waits for its first response, takes its snapshot, kills the VMM, and stores the files
    /// in `slot`.
    pub(super) fn take_snapshot(mut self, slot: &SnapshotSlot) -> anyhow::Result<()> {
        let stored = match self.boot_and_write_snapshot() {
            Ok(()) => slot.store(&self),
            Err(VmFailure { reason, stage, message }) => Err(SnapshotError { reason, stage, message }.into()),
        };
        self.mounts.clear();
        stored
    }

    fn boot_and_write_snapshot(&mut self) -> Result<(), VmFailure> {
        let (mut process, console) = self.start()?;
        let result = self.wait_for_first_response(&process, &console).and_then(|_| {
            let Some(snapshot) = self.launch.snapshot.clone() else {
                return Err(VmFailure::new(
                    FailureReason::Host,
                    "snapshot",
                    "the engine's description has no snapshot",
                ));
            };
            self.call_api(&snapshot.take, Instant::now().after(self.deadlines.boot))
        });
        process.kill();
        let exit = process.reap();
        let tail = console.finish().tail;
        let exit = exit.map_err(|error| {
            VmFailure::new(FailureReason::Host, event::EXIT, format!("cannot reap the VMM: {error}"))
        })?;
        result.map_err(|failure| self.complete_failure(failure, exit, &tail))
    }

    /// Records the machine of a restored guest, which is within its bounds, and why the values of a boot are missing.
    pub(super) fn record_restored_guest(&mut self, stats: &Stats) {
        for name in [
            reading::KERNEL_INIT,
            reading::KERNEL_LAST_MESSAGE,
            reading::KERNEL_RANDOM_SEEDED,
            reading::KERNEL_RANDOM_FAST_INIT,
            reading::GUEST_UPTIME,
        ] {
            self.missing_reading(name, "ns", RESTORED.into());
        }
        self.missing_reading(reading::KERNEL_MESSAGES, "1", RESTORED.into());
        self.record_machine(stats);
        for name in [
            event::KERNEL_BEGIN,
            event::INIT_BEGIN,
            event::AGENT_LISTENING,
            event::AGENT_READY,
            event::AGENT_READY_DATAGRAM,
        ] {
            self.missing_event(name, RESTORED.into());
        }
    }
}
