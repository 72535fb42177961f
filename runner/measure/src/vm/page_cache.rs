//! State of the host's page cache at the release of a VM.

use microbench_formats::event::reading;
use microbench_formats::record::Record;
use microbench_study::engine::guest_settings::PageCache;

use super::NotSupported;
use super::prepare::VmBuilder;
use crate::host::resources::disk::Disk;
use crate::host::resources::page_cache;

impl VmBuilder<'_> {
    /// Drops the VM's files from the page cache if the cell's page cache is cold.
    pub(super) fn prepare_page_cache(&mut self, disk: &Disk) -> anyhow::Result<()> {
        if self.spec.parts.guest.page_cache == PageCache::Warm {
            return Ok(());
        }
        let parts = self.spec.parts;
        let files = [parts.program.as_path(), disk.path()].into_iter().chain(parts.kernel.as_deref());
        let mut cached_bytes = 0;
        for file in files {
            let Some(bytes) = page_cache::drop_pages(file)? else {
                return Err(NotSupported(format!(
                    "a VM with a cold page cache: {} is on a file system in memory",
                    file.display()
                ))
                .into());
            };
            cached_bytes += bytes;
        }
        let (vm, name, unit) = (self.spec.vm, reading::HOST_CACHED.to_owned(), "bytes".to_owned());
        self.records.push(Record::Reading { vm, name, value: Some(cached_bytes as f64), unit, reason: String::new() });
        Ok(())
    }
}
