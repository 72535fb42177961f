//! A VM's root disk: the shared image, read-only, or a private clone; and its file system, mounted, for a guest without a kernel of
//! its own.
//!
//! A clone lies in the VM's folder in the sandbox's tmpfs, and a mount is in the sandbox's mount namespace: both go with the sandbox, so a
//! killed runner leaves none behind. A loop device frees itself with its mount.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Whence, lseek64};

use crate::sys;
use crate::sys::mount::Shown;

/// Major number of loop devices (Documentation/admin-guide/devices.txt in the kernel's source).
const LOOP_MAJOR: u64 = 7;
/// Times that a free loop device is asked for: somebody else may be quicker.
const LOOP_ATTEMPTS: u32 = 64;

/// How a clone came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloneMethod {
    /// The file system shares the blocks (`FICLONE`).
    Reflink,
    /// The data was copied, holes were left out.
    SparseCopy,
}

/// A VM's root disk.
#[derive(Debug)]
pub enum Disk {
    /// The image itself, read-only.
    Shared(PathBuf),
    /// A private copy.
    Clone(PathBuf, CloneMethod),
}

impl Disk {
    /// The image itself, for a guest that mounts it read-only.
    #[must_use]
    pub fn shared(image: &Path) -> Self {
        Self::Shared(image.to_path_buf())
    }

    /// Clones `image` to the new file `path`.
    ///
    /// # Errors
    /// When the image cannot be read, the file exists, or its file system has no room.
    pub fn clone_of(image: &Path, path: PathBuf) -> anyhow::Result<Self> {
        let source = File::open(image).with_context(|| format!("cannot open {}", image.display()))?;
        let target = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        let method = match sys::reflink(&source, &target) {
            Ok(()) => CloneMethod::Reflink,
            Err(_) => {
                sparse_copy(&source, &target)
                    .with_context(|| format!("cannot clone {} to {}", image.display(), path.display()))?;
                CloneMethod::SparseCopy
            }
        };
        Ok(Self::Clone(path, method))
    }

    /// Mounts the disk's file system in the new folder `place`, by a loop device; for reading only where it is shared. Each VM has a
    /// mount of its own, so that nothing of it is in memory when the VM starts, as in a guest with a kernel. The mount goes
    /// when the result is dropped.
    ///
    /// # Errors
    /// When no loop device can be had, or the mount is refused.
    pub fn mount(&self, place: &Path) -> anyhow::Result<Shown> {
        let image = File::options()
            .read(true)
            .write(!self.read_only())
            .open(self.path())
            .with_context(|| format!("cannot open {}", self.path().display()))?;
        // A container's /dev lacks the devices that are made in the meantime: the file is made here.
        let node = place.with_extension("loop");
        let device = attach(&image, &node, self.read_only())
            .with_context(|| format!("cannot attach {} to a loop device", self.path().display()))?;
        fs::create_dir(place).with_context(|| format!("cannot create {}", place.display()))?;
        let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        flags.set(MsFlags::MS_RDONLY, self.read_only());
        mount(Some(&node), place, Some("ext4"), flags, None::<&str>)
            .with_context(|| format!("cannot mount {} on {}", self.path().display(), place.display()))?;
        // The mount holds it from here on.
        drop(device);
        Ok(Shown::at(place))
    }

    /// The path to hand to a VMM.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Shared(path) | Self::Clone(path, _) => path,
        }
    }

    /// Its size, bytes.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn bytes(&self) -> anyhow::Result<u64> {
        let facts = fs::metadata(self.path());
        Ok(facts.with_context(|| format!("cannot read {}", self.path().display()))?.len())
    }

    /// True when the guest must not write.
    #[must_use]
    pub fn read_only(&self) -> bool {
        matches!(self, Self::Shared(_))
    }
}

/// A loop device that shows `image`, by the device file `node`, which is made.
fn attach(image: &File, node: &Path, read_only: bool) -> anyhow::Result<File> {
    let control = File::options()
        .read(true)
        .write(true)
        .open("/dev/loop-control")
        .context("cannot open /dev/loop-control (`modprobe loop` brings it)")?;
    for _ in 0..LOOP_ATTEMPTS {
        let number = sys::loop_free(&control).context("no loop device is free")?;
        mknod(node, SFlag::S_IFBLK, Mode::S_IRUSR | Mode::S_IWUSR, makedev(LOOP_MAJOR, number.into()))
            .with_context(|| format!("cannot make {}", node.display()))?;
        let device = File::options()
            .read(true)
            .write(!read_only)
            .open(node)
            .with_context(|| format!("cannot open loop device {number}"))?;
        match sys::loop_configure(&device, image, read_only) {
            Ok(()) => return Ok(device),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => fs::remove_file(node)?,
            Err(error) => return Err(error).with_context(|| format!("cannot set loop device {number} up")),
        }
    }
    bail!("others took every free loop device, {LOOP_ATTEMPTS} times in a row")
}

/// Copies the data of `source` to `target` and leaves its holes.
fn sparse_copy(source: &File, target: &File) -> io::Result<()> {
    let length = source.metadata()?.len();
    target.set_len(length)?;
    let mut position = 0;
    while position < length {
        let start = match lseek64(source, position.cast_signed(), Whence::SeekData) {
            Ok(start) => start.unsigned_abs(),
            Err(nix::errno::Errno::ENXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = lseek64(source, start.cast_signed(), Whence::SeekHole)?.unsigned_abs();
        // In the kernel, where both file systems allow it.
        (&*source).seek(SeekFrom::Start(start))?;
        (&*target).seek(SeekFrom::Start(start))?;
        if io::copy(&mut source.take(end - start), &mut &*target)? < end - start {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        position = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::*;

    #[test]
    fn a_clone_has_the_bytes_and_the_holes_of_its_image() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        let file = File::create(&image).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"begin", 0).unwrap();
        file.write_all_at(b"end", (64 << 20) - 3).unwrap();
        let disk = Disk::clone_of(&image, folder.path().join("clone")).unwrap();
        assert!(!disk.read_only());
        let clone = File::open(disk.path()).unwrap();
        assert_eq!(clone.metadata().unwrap().len(), 64 << 20);
        assert!(clone.metadata().unwrap().blocks() * 512 < 1 << 20);
        let mut bytes = [0; 3];
        clone.read_exact_at(&mut bytes, (64 << 20) - 3).unwrap();
        assert_eq!(&bytes, b"end");
        assert!(Disk::clone_of(&image, folder.path().join("clone")).is_err(), "a file is never cloned over");
    }
}
