//! Drops a file from the host's page cache, so that the next read waits for the disk.

use std::fs::File;
use std::path::Path;

use anyhow::Context;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::statfs::{FsType, TMPFS_MAGIC, fstatfs};

use crate::sys;

/// `RAMFS_MAGIC` of linux/magic.h: the file system of an unpacked initramfs.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// Drops the pages of `path` from the page cache (`posix_fadvise(2)`), except pages that a process maps.
///
/// # Returns
/// The bytes that remain in the page cache; `None` for a file that exists in memory only (tmpfs, ramfs).
///
/// # Errors
/// If the file cannot be read.
pub fn drop_pages(path: &Path) -> anyhow::Result<Option<u64>> {
    let context = || format!("cannot drop {} from the page cache", path.display());
    let file = File::open(path).with_context(context)?;
    let kind = fstatfs(&file).with_context(context)?.filesystem_type();
    if kind == TMPFS_MAGIC || kind == RAMFS_MAGIC {
        return Ok(None);
    }
    // Dirty pages cannot be dropped.
    file.sync_data().with_context(context)?;
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).with_context(context)?;
    Ok(Some(sys::resident_bytes(&file).with_context(context)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_a_disk_file_are_dropped_and_a_tmpfs_file_returns_none() {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, vec![1; 1 << 20]).unwrap();
        // `None` if the build folder is in memory.
        if let Some(bytes) = drop_pages(&file).unwrap() {
            assert!(bytes < 1 << 20, "{bytes}");
        }
        let shm = tempfile::tempdir_in("/dev/shm").unwrap();
        let file = shm.path().join("file");
        std::fs::write(&file, "x").unwrap();
        assert_eq!(drop_pages(&file).unwrap(), None);
    }
}
