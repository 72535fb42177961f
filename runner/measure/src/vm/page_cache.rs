//! The host's page cache when a VM is released.

use microbench_formats::event::reading;
use microbench_formats::record::Record;
use microbench_study::engine::guest_settings::PageCache;

use super::NotHere;
use super::prepare::Assembly;
use crate::host::resources::disk::Disk;
use crate::host::resources::page_cache;

impl Assembly<'_> {
    /// Drops the VM's files from the page cache, where the cell asks for a cold one.
    pub(super) fn page_cache(&mut self, disk: &Disk) -> anyhow::Result<()> {
        if self.wanted.parts.guest.page_cache == PageCache::Warm {
            return Ok(());
        }
        let parts = self.wanted.parts;
        let files = [parts.program.as_path(), disk.path()].into_iter().chain(parts.kernel.as_deref());
        let mut stay = 0;
        for file in files {
            let Some(bytes) = page_cache::forget(file)? else {
                return Err(NotHere(format!("a cold page cache: {} is in memory", file.display())).into());
            };
            stay += bytes;
        }
        let (vm, name, unit) = (self.wanted.vm, reading::HOST_CACHED.to_owned(), "bytes".to_owned());
        self.records.push(Record::Reading { vm, name, value: Some(stay as f64), unit, reason: String::new() });
        Ok(())
    }
}
