//! Root disk of a VM: the shared image, read-only, or a private clone. For a guest that shares the host's kernel, the
//! disk's file system is mounted.
//!
//! A clone is a file in the sandbox's tmpfs, and a mount is in the sandbox's mount namespace. Both end with the
//! sandbox, so that a killed runner leaves none behind. The kernel releases a loop device with its mount.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use microbench_formats::input;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Whence, lseek64};

use crate::sys;
use crate::sys::mount::MountGuard;

/// Major number of loop devices (Documentation/admin-guide/devices.txt in the kernel's source).
const LOOP_MAJOR: u64 = 7;
/// Most attempts to get a loop device: another process may use a free device first.
const LOOP_ATTEMPTS: u32 = 64;

/// How a clone was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloneMethod {
    /// The file system shares the blocks (`FICLONE`).
    Reflink,
    /// The data was copied, without the holes.
    SparseCopy,
}

/// Root disk of a VM.
///
/// ```no_run
/// use std::path::Path;
///
/// use microbench_measure::host::resources::disk::Disk;
///
/// # fn main() -> anyhow::Result<()> {
/// let disk = Disk::clone_of(Path::new("rootfs.ext4"), "/dev/shm/vm-0.ext4".into())?;
/// assert!(!disk.read_only());
/// println!("{} ({} bytes)", disk.path().display(), disk.bytes()?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub enum Disk {
    /// The image itself, read-only.
    Shared(PathBuf),
    /// A private copy.
    Clone(PathBuf, CloneMethod),
}

impl Disk {
    /// The image itself, for guests that mount it read-only.
    #[must_use]
    pub fn shared(image: &Path) -> Self {
        Self::Shared(image.to_path_buf())
    }

    /// Clones `image` to the new file `path`, by a reflink if the file system supports it.
    ///
    /// # Errors
    /// If `image` cannot be read, `path` exists, or the file system is full.
    pub fn clone_of(image: &Path, path: PathBuf) -> anyhow::Result<Self> {
        let source = input::open(image).with_context(|| format!("cannot open {}", image.display()))?;
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

    /// Mounts the disk's file system on the new folder `place`, through a loop device; read-only if it is shared. The
    /// mount is removed when the result is dropped.
    ///
    /// Each VM has its own mount. Nothing of the file system is therefore cached when the VM starts, as in a guest with
    /// its own kernel.
    ///
    /// # Errors
    /// If no loop device is available, or that of `mount(2)`.
    pub fn mount(&self, place: &Path) -> anyhow::Result<MountGuard> {
        let image = File::options()
            .read(true)
            .write(!self.read_only())
            .open(self.path())
            .with_context(|| format!("cannot open {}", self.path().display()))?;
        // The device file is created here, because a container's /dev does not contain devices created after its start.
        let node = place.with_extension("loop");
        let device = attach_loop_device(&image, &node, self.read_only())
            .with_context(|| format!("cannot attach {} to a loop device", self.path().display()))?;
        fs::create_dir(place).with_context(|| format!("cannot create {}", place.display()))?;
        let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        flags.set(MsFlags::MS_RDONLY, self.read_only());
        mount(Some(&node), place, Some("ext4"), flags, None::<&str>)
            .with_context(|| format!("cannot mount {} on {}", self.path().display(), place.display()))?;
        // From here on the mount keeps the loop device attached.
        drop(device);
        Ok(MountGuard::new(place))
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Shared(path) | Self::Clone(path, _) => path,
        }
    }

    /// Size of the disk, bytes.
    ///
    /// # Errors
    /// The error of `stat(2)`.
    pub fn bytes(&self) -> anyhow::Result<u64> {
        let metadata = fs::metadata(self.path());
        Ok(metadata.with_context(|| format!("cannot read {}", self.path().display()))?.len())
    }

    #[must_use]
    pub fn read_only(&self) -> bool {
        matches!(self, Self::Shared(_))
    }
}

/// Attaches `image` to a free loop device, creates its device file `node`, and returns the open device.
fn attach_loop_device(image: &File, node: &Path, read_only: bool) -> anyhow::Result<File> {
    let control = File::options().read(true).write(true).open("/dev/loop-control").map_err(|error| {
        let fix = match error.kind() {
            io::ErrorKind::NotFound => " (load the module with `modprobe loop`)",
            io::ErrorKind::PermissionDenied => " (the user must be in its group, usually `disk`)",
            _ => "",
        };
        anyhow::Error::new(error).context(format!("cannot open /dev/loop-control{fix}"))
    })?;
    for _ in 0..LOOP_ATTEMPTS {
        let number = sys::find_free_loop_device(&control).context("no loop device is free")?;
        mknod(node, SFlag::S_IFBLK, Mode::S_IRUSR | Mode::S_IWUSR, makedev(LOOP_MAJOR, number.into()))
            .with_context(|| format!("cannot create {}", node.display()))?;
        let device = File::options()
            .read(true)
            .write(!read_only)
            .open(node)
            .with_context(|| format!("cannot open loop device {number}"))?;
        match sys::configure_loop_device(&device, image, read_only) {
            Ok(()) => return Ok(device),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => fs::remove_file(node)?,
            Err(error) => return Err(error).with_context(|| format!("cannot configure loop device {number}")),
        }
    }
    bail!("cannot get a loop device: in {LOOP_ATTEMPTS} attempts, other processes used the free device first")
}

/// Copies the data of `source` to `target`, without the holes.
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
        // `io::copy` copies in the kernel if both file systems support it.
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
    fn clone_has_the_data_and_holes_of_its_image() {
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
        assert!(
            Disk::clone_of(&image, folder.path().join("clone")).is_err(),
            "an existing file must not be overwritten"
        );
    }
}
