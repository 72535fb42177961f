//! The host's page cache: a file's pages are dropped, so that whoever reads it next waits for the disk.

use std::fs::File;
use std::path::Path;

use anyhow::Context;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::statfs::{FsType, TMPFS_MAGIC, fstatfs};

use crate::sys;

/// `RAMFS_MAGIC` of linux/magic.h: what an initramfs is unpacked to.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// Drops the pages of `path` from the page cache (`posix_fadvise(2)`), as far as no process maps them.
///
/// # Returns
/// The bytes that stay all the same; `None` for a file in memory (tmpfs, ramfs), which has no other place.
///
/// # Errors
/// When the file cannot be read.
pub fn forget(path: &Path) -> anyhow::Result<Option<u64>> {
    let context = || format!("cannot drop {} from the page cache", path.display());
    let file = File::open(path).with_context(context)?;
    let kind = fstatfs(&file).with_context(context)?.filesystem_type();
    if kind == TMPFS_MAGIC || kind == RAMFS_MAGIC {
        return Ok(None);
    }
    // What is not written yet cannot be dropped.
    file.sync_data().with_context(context)?;
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).with_context(context)?;
    Ok(Some(sys::resident_bytes(&file).with_context(context)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_pages_are_dropped_and_a_file_in_memory_has_no_other_place() {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, vec![1; 1 << 20]).unwrap();
        // Where the build folder is on a disk.
        if let Some(bytes) = forget(&file).unwrap() {
            assert!(bytes < 1 << 20, "{bytes}");
        }
        let shm = tempfile::tempdir_in("/dev/shm").unwrap();
        let file = shm.path().join("file");
        std::fs::write(&file, "x").unwrap();
        assert_eq!(forget(&file).unwrap(), None);
    }
}
