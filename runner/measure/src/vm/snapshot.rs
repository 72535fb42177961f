//! A guest that is restored in place of booted: its snapshot is taken once a session and machine, before the release.
//!
//! A snapshot belongs to one slot (VM number `vm` of a trial), because it holds the tap's name, the guest's addresses and its command line with
//! the nonce. So an answer of a restored guest carries the nonce of the guest that was saved. It counts for this VM alone all the same:
//! no other slot has that nonce, and whoever had it before on this slot's tap has been reaped, and the tap been removed, before this
//! one's was made. The files lie in the session's scratch, which is RAM: a guest's memory once a slot and machine.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use microbench_agent::Stats;
use microbench_formats::cell::Cell;
use microbench_formats::event::{self, reading};
use microbench_formats::record::FailureReason;
use microbench_study::engine::launch::{self, Launch};
use sha2::{Digest, Sha256};

use super::failed::Failed;
use super::{Life, Vm};
use crate::host::resources::disk::Disk;
use crate::parts::Parts;
use crate::sys::clock::Instant;

/// Why a restored guest lacks what a boot gives.
pub(super) const RESTORED: &str = "not applicable: the guest was restored, it did not boot";
/// The disk as the saved guest left it, when it had one of its own.
const DISK: &str = "disk.img";
/// The saved guest's nonce; written last.
const NONCE: &str = "nonce";

/// No snapshot of a guest could be taken: why its VMs cannot be restored.
#[derive(Debug, thiserror::Error)]
#[error("no snapshot of the guest could be taken: at {stage}: {message}")]
pub struct NotTaken {
    /// Why.
    pub reason: FailureReason,
    /// The stage that the VM did not reach.
    pub stage: &'static str,
    /// In words.
    pub message: String,
}

/// Where the snapshot of one machine's slot is, once it is taken.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
    /// The folder of each VM that has to do with it: the snapshot holds the path of the disk.
    vm: PathBuf,
}

impl Place {
    /// The place for VM `vm` of `cell`'s machines; `None` where its VMs boot.
    pub(super) fn of(vm: u32, cell: &Cell, parts: &Parts, scratch: &Path) -> anyhow::Result<Option<Self>> {
        if !launch::restores(&parts.engine, &cell.settings)? {
            return Ok(None);
        }
        let digest: String = Sha256::digest(cell.machine())[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        let place = |kind: &str| scratch.join(format!("{kind}-{digest}-{vm}"));
        Ok(Some(Self { folder: place("saved"), vm: place("vm") }))
    }

    pub(super) fn is_taken(&self) -> bool {
        self.folder.join(NONCE).exists()
    }

    /// The nonce that the restored guest will answer with.
    pub(super) fn nonce(&self) -> anyhow::Result<String> {
        fs::read_to_string(self.folder.join(NONCE)).with_context(|| format!("cannot read {}", self.folder.display()))
    }

    /// Has `launch` load the snapshot, and puts its files where the VMM sees them.
    pub(super) fn lend(&self, launch: &mut Launch, folder: &Path) -> anyhow::Result<()> {
        let snapshot = launch.snapshot.as_ref().context("the engine describes no snapshot")?;
        if let Some(api) = &mut launch.api {
            api.calls.clone_from(&snapshot.load);
        }
        let seen = launch.root.as_deref().unwrap_or(folder);
        for name in &snapshot.files {
            fs::hard_link(self.folder.join(name), seen.join(name))
                .with_context(|| format!("cannot link the snapshot's file {name}"))?;
        }
        Ok(())
    }

    /// Keeps the files of a VM that has ended.
    fn keep(&self, vm: &Vm) -> anyhow::Result<()> {
        drop(fs::remove_dir_all(&self.folder));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&self.folder)
            .with_context(|| format!("cannot create {}", self.folder.display()))?;
        let seen = vm.launch.root.as_deref().unwrap_or(&vm.folder);
        let files = vm.launch.snapshot.iter().flat_map(|snapshot| &snapshot.files);
        for name in files {
            let place = self.folder.join(name);
            fs::rename(seen.join(name), &place)
                .with_context(|| format!("the VMM left no file {name} of the snapshot"))?;
            // Every VM that is restored reads the same file.
            fs::set_permissions(&place, fs::Permissions::from_mode(0o444))
                .with_context(|| format!("cannot protect {}", place.display()))?;
            vm.isolation.take_back(&place)?;
        }
        if let Disk::Clone(path, _) = &vm._disk {
            fs::rename(path, self.folder.join(DISK)).with_context(|| format!("cannot keep {}", path.display()))?;
        }
        fs::write(self.folder.join(NONCE), &vm.nonce)
            .with_context(|| format!("cannot write in {}", self.folder.display()))
    }
}

impl Life<'_> {
    /// The VM's folder, which is not there yet.
    pub(super) fn folder(self, scratch: &Path, id: &str) -> anyhow::Result<PathBuf> {
        let (Self::IsSaved(place) | Self::IsRestored(place)) = self else { return Ok(scratch.join(id)) };
        match fs::remove_dir_all(&place.vm) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", place.vm.display()))
            }
            _ => Ok(place.vm.clone()),
        }
    }

    /// What its disk is a clone of.
    pub(super) fn image(self, image: &Path) -> PathBuf {
        match self {
            Self::IsRestored(place) => place.folder.join(DISK),
            Self::Boots | Self::IsSaved(_) => image.to_path_buf(),
        }
    }

    /// Name of its console's log.
    pub(super) fn console(self, id: &str) -> String {
        match self {
            Self::IsSaved(_) => format!("{id}.saved.log"),
            Self::Boots | Self::IsRestored(_) => format!("{id}.log"),
        }
    }
}

impl Vm {
    /// Boots the guest, waits for its answer, has its VMM write the snapshot, and ends it.
    pub(super) fn save(mut self, place: &Place) -> anyhow::Result<()> {
        let saved = self.saved();
        let kept = match saved {
            Ok(()) => place.keep(&self),
            Err(Failed { reason, stage, message }) => Err(NotTaken { reason, stage, message }.into()),
        };
        self.shown.clear();
        drop(fs::remove_dir_all(&self.folder));
        kept
    }

    fn saved(&mut self) -> Result<(), Failed> {
        let (mut process, console) = self.start()?;
        let result = self.answered(&process, &console).and_then(|_| {
            let Some(snapshot) = self.launch.snapshot.clone() else {
                return Err(Failed::new(FailureReason::Host, "snapshot", "the engine describes no snapshot"));
            };
            self.call(&snapshot.take, Instant::now().after(self.deadlines.boot))
        });
        process.kill();
        let exit = process.reap();
        let tail = console.finish().tail;
        let exit = exit
            .map_err(|error| Failed::new(FailureReason::Host, event::EXIT, format!("cannot reap the VMM: {error}")))?;
        result.map_err(|failure| self.explain(failure, exit, &tail))
    }

    /// What is recorded of a guest that did not boot, in place of its kernel's stamps.
    pub(super) fn not_booted(&mut self, stats: &Stats) {
        for name in [
            reading::KERNEL_INIT,
            reading::KERNEL_LAST_MESSAGE,
            reading::KERNEL_RANDOM_SEEDED,
            reading::KERNEL_RANDOM_FAST_INIT,
            reading::GUEST_UPTIME,
        ] {
            self.no_reading(name, "ns", RESTORED.into());
        }
        self.no_reading(reading::KERNEL_MESSAGES, "1", RESTORED.into());
        self.reading(reading::GUEST_CPUS, f64::from(stats.cpus), "1");
        self.reading(reading::GUEST_MEMORY, stats.memory_bytes as f64, "bytes");
        for name in [
            event::KERNEL_BEGIN,
            event::INIT_BEGIN,
            event::AGENT_LISTENING,
            event::AGENT_READY,
            event::AGENT_READY_DATAGRAM,
        ] {
            self.no_event(name, RESTORED.into());
        }
    }
}
