//! A VM's root disk with the regions of its workloads; for a guest that shares the host's kernel, its mounted
//! root file system.

use std::fs::File;

use anyhow::Context as _;
use microbench_formats::event;
use microbench_study::engine::context::{DISK_COPY, MOUNT};
use microbench_study::engine::guest_settings::DiskKind;

use super::NotSupported;
use super::prepare::VmBuilder;
use crate::host::resources::disk::Disk;
use crate::workload::PreparedWorkload;

impl VmBuilder<'_> {
    /// Creates the VM's disk and prepares the workloads of its guest.
    pub(super) fn prepare_disk(&mut self) -> anyhow::Result<(Disk, Vec<PreparedWorkload>)> {
        let parts = self.spec.parts;
        self.event(event::CLONE_BEGIN);
        let disk = match parts.guest.disk {
            DiskKind::Clone => {
                Disk::clone_of(&self.start_mode.disk_image(&parts.image), self.folder.path().join(DISK_COPY))?
            }
            DiskKind::Shared => Disk::shared(&parts.image),
        };
        self.event(event::CLONE_END);
        // The regions of workloads lie behind the image, also on the disk of a restored guest.
        let workloads = PreparedWorkload::prepare_all(self.spec.workloads, Disk::shared(&parts.image).bytes()?);
        if let Disk::Clone(path, _) = &disk {
            let file = File::options().write(true).open(path);
            let written = file.and_then(|file| PreparedWorkload::write_disk_regions(&workloads, &file));
            written.with_context(|| format!("cannot write the disk regions of the workloads to {}", path.display()))?;
        }
        if parts.engine.guest.shares_kernel() {
            if !self.isolation.has_own_user() {
                let what = "a guest that shares its kernel: mounting the guest's file system requires root";
                return Err(NotSupported(what.into()).into());
            }
            self.mounts.push(disk.mount(&self.folder.path().join(MOUNT))?);
        }
        Ok((disk, workloads))
    }
}
