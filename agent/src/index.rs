//! `GET /`: reads a file of the root file system without the page cache, like the service of the 2019 paper.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use microbench_agent::{INDEX_BLOCK_BYTES, INDEX_BLOCKS};

/// A block with the alignment that `O_DIRECT` requires.
#[repr(align(4096))]
struct Block([u8; INDEX_BLOCK_BYTES]);

/// Reads [`INDEX_BLOCKS`] blocks of `path` with `O_DIRECT`; returns the number of bytes read.
///
/// # Errors
/// If the file is too short, or its file system does not support direct I/O.
pub(crate) fn read_blocks(path: &Path) -> io::Result<usize> {
    let mut file = File::options().read(true).custom_flags(nix::fcntl::OFlag::O_DIRECT.bits()).open(path)?;
    let mut block = Box::new(Block([0; INDEX_BLOCK_BYTES]));
    for _ in 0..INDEX_BLOCKS {
        file.read_exact(&mut block.0)?;
    }
    Ok(INDEX_BLOCKS * INDEX_BLOCK_BYTES)
}
