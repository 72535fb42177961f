//! A VM's root disk, the regions of disk work on it, and its file system mounted for a guest without a kernel of its own.

use std::fs::File;

use anyhow::Context as _;
use microbench_formats::event;
use microbench_study::engine::context::{DISK_COPY, MOUNT};
use microbench_study::engine::guest_settings::DiskKind;

use super::NotHere;
use super::prepare::Assembly;
use crate::host::resources::disk::Disk;
use crate::workload::Task;

impl Assembly<'_> {
    /// The VM's disk, and the tasks that its guest is given.
    pub(super) fn disk(&mut self) -> anyhow::Result<(Disk, Vec<Task>)> {
        let parts = self.wanted.parts;
        self.event(event::CLONE_BEGIN);
        let disk = match parts.guest.disk {
            DiskKind::Clone => Disk::clone_of(&self.life.image(&parts.image), self.folder.join(DISK_COPY))?,
            DiskKind::Shared => Disk::shared(&parts.image),
        };
        self.event(event::CLONE_END);
        // Regions of disk work lie behind the image, on the clone of a saved guest's disk as well.
        let tasks = Task::prepare(self.wanted.workloads, Disk::shared(&parts.image).bytes()?);
        if let Disk::Clone(path, _) = &disk {
            let file = File::options().write(true).open(path);
            let laid = file.and_then(|file| Task::lay(&tasks, &file));
            laid.with_context(|| format!("cannot lay the regions of disk work on {}", path.display()))?;
        }
        if parts.engine.guest.shares_kernel() {
            if !self.isolation.is_own() {
                let what = "a guest without a kernel of its own, because only root may mount its file system";
                return Err(NotHere(what.into()).into());
            }
            self.shown.push(disk.mount(&self.folder.join(MOUNT))?);
        }
        Ok((disk, tasks))
    }
}
