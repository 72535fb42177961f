//! Opens files that others may have made: files of a run, manifests, descriptions.
//!
//! Such a file can be a link to another file, a FIFO without a writer, a device without an end, or larger than the
//! memory. Every reader of these files uses this module, which `runner/tests/it/layers.rs` checks.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{self, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Largest file of a run that is read into memory, bytes.
pub const RUN_FILE: u64 = 2 << 30;
/// Largest text that is read into memory, bytes: a description, a configuration, a patch.
pub const TEXT: u64 = 16 << 20;

/// Why a file is not opened or read. It is the inner error of an [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The file, or a folder on the way to it, is a symbolic link.
    #[error("it is a symbolic link, which is not followed here")]
    Link,
    /// Neither a regular file nor a folder.
    #[error("it is {0}, not a regular file")]
    Kind(&'static str),
    /// The file is longer than the limit.
    #[error("it is longer than the limit of {limit} bytes")]
    TooLong { limit: u64 },
    /// The file has more than one name (hard links), so that a write would change the file of another name.
    #[error("it has several names (hard links), so that writing would change another file")]
    SeveralNames,
    /// A hard link, and the file belongs to another user than the folder.
    #[error("it is a hard link to a file of another user")]
    OthersFile,
}

impl Refused {
    /// The reason why this module did not open or read a file; `None` for an error of the file system.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        Self::new(ErrorKind::InvalidInput, refused)
    }
}

/// Opens the regular file `path` for reading. Links are followed: use it for a file that the user named.
///
/// # Errors
/// [`Refused`] for anything but a regular file, or the error of the file system.
///
/// ```
/// use microbench_formats::input;
///
/// let error = input::open("/dev/zero".as_ref()).unwrap_err();
/// assert_eq!(error.to_string(), "it is a device, not a regular file");
/// ```
pub fn open(path: &Path) -> io::Result<File> {
    // A FIFO without a writer would block without NONBLOCK, and a terminal would become the controlling one.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    regular(fs::openat(CWD, path, flags, Mode::empty()))
}

/// Opens the regular file `inside` of `folder` for reading. Neither `inside` nor a folder in it may be a link: use it
/// for a file of a run.
///
/// A hard link to a file of another user than that of `folder` is refused: `export` by root would pack the file of a
/// victim into the archive of a run. With the sysctl `fs.protected_hardlinks`, a user can link only files that it owns,
/// or may read and write; some systems turn it off.
///
/// # Errors
/// As [`open`], [`Refused::Link`], and [`Refused::OthersFile`].
pub fn open_in(folder: &Path, inside: impl AsRef<Path>) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = regular(open_below(folder, inside.as_ref(), flags, Mode::empty()))?;
    let data = fs::fstat(&file)?;
    if data.st_nlink > 1 && data.st_uid != fs::stat(folder)?.st_uid {
        return Err(Refused::OthersFile.into());
    }
    Ok(file)
}

/// [`open_in`] for the file `path`: its last component may not be a link.
///
/// # Errors
/// As [`open_in`].
pub fn open_no_link(path: &Path) -> io::Result<File> {
    let (folder, name) = split(path)?;
    open_in(folder, name)
}

/// Opens the file `inside` of `folder` for appending, and creates it if it does not exist, with a mode that the umask
/// limits. Neither `inside` nor a folder in it may be a link.
///
/// # Errors
/// As [`open_in`], and [`Refused::SeveralNames`].
pub fn append_in(folder: &Path, inside: impl AsRef<Path>) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = regular(open_below(folder, inside.as_ref(), flags, Mode::from_raw_mode(0o644)))?;
    if fs::fstat(&file)?.st_nlink > 1 {
        return Err(Refused::SeveralNames.into());
    }
    Ok(file)
}

/// Creates the file `inside` of `folder` for writing, with a mode that the umask limits. Another file of this name is
/// removed first, so that a link is replaced and its target is not changed.
///
/// # Errors
/// [`Refused::Link`] if a folder in `inside` is a link, or the error of the file system.
pub fn create_in(folder: &Path, inside: impl AsRef<Path>) -> io::Result<File> {
    let (parent, name) = split(inside.as_ref())?;
    let parent = match parent.components().next() {
        Some(Component::Normal(_)) => open_below(folder, parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()),
        _ => fs::openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()),
    };
    let parent = parent.map_err(refused)?;
    match fs::unlinkat(&parent, name, fs::AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644))?.into())
}

/// [`create_in`] for the file `path`: another file of this name is removed first.
///
/// # Errors
/// As [`create_in`].
pub fn create_new(path: &Path) -> io::Result<File> {
    let (folder, name) = split(path)?;
    create_in(folder, name)
}

/// The content of the regular file `path`, of at most `limit` bytes. Links are followed.
///
/// # Errors
/// As [`open`], and [`Refused::TooLong`].
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_all(open(path)?, limit)
}

/// The text of the regular file `path`, of at most [`TEXT`] bytes. Links are followed.
///
/// # Errors
/// As [`read`], and [`ErrorKind::InvalidData`] if the file is not UTF-8 text.
pub fn read_text(path: &Path) -> io::Result<String> {
    text(read(path, TEXT)?)
}

/// The content of the file `inside` of the run `folder`, of at most [`RUN_FILE`] bytes.
///
/// # Errors
/// As [`open_in`], and [`Refused::TooLong`].
pub fn read_in(folder: &Path, inside: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    read_all(open_in(folder, inside)?, RUN_FILE)
}

/// [`read_in`] for the file `path`: its last component may not be a link.
///
/// # Errors
/// As [`read_in`].
pub fn read_no_link(path: &Path) -> io::Result<Vec<u8>> {
    read_all(open_no_link(path)?, RUN_FILE)
}

/// Converts bytes into text.
///
/// # Errors
/// [`ErrorKind::InvalidData`] if they are not UTF-8.
pub fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// Whether `path` is a folder and no link.
#[must_use]
pub fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|data| data.is_dir())
}

/// Whether `path` is a regular file and no link.
#[must_use]
pub fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|data| data.is_file())
}

fn read_all(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    if length > limit {
        return Err(Refused::TooLong { limit }.into());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1);
    // Files of /proc have the length 0, and a file can grow.
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(Refused::TooLong { limit }.into()) } else { Ok(bytes) }
}

/// The folder and the name of a path. The folder of a bare name is the working directory.
fn split(path: &Path) -> io::Result<(&Path, &Path)> {
    let name = path.file_name().ok_or(ErrorKind::IsADirectory)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((folder, Path::new(name)))
}

/// Opens `inside`, which consists of names, one name at a time, without following a link.
fn open_below(folder: &Path, inside: &Path, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
    let mut at = fs::openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut names = inside.components().filter(|part| *part != Component::CurDir).peekable();
    while let Some(part) = names.next() {
        let Component::Normal(name) = part else { return Err(Errno::XDEV) };
        let is_last = names.peek().is_none();
        let flags = if is_last { flags } else { OFlags::PATH | OFlags::DIRECTORY };
        let opened = fs::openat(&at, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, mode);
        // With O_PATH, a link would be opened itself; O_DIRECTORY refuses it by ENOTDIR.
        let opened = opened.map_err(|error| match error {
            Errno::NOTDIR if is_link(&at, name) => Errno::LOOP,
            error => error,
        })?;
        if is_last {
            return Ok(opened);
        }
        at = opened;
    }
    Err(Errno::ISDIR)
}

fn is_link(folder: &OwnedFd, name: &std::ffi::OsStr) -> bool {
    fs::statat(folder, name, fs::AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|data| FileType::from_raw_mode(data.st_mode) == FileType::Symlink)
}

/// The file of an opened descriptor, if it is a regular file.
fn regular(opened: rustix::io::Result<OwnedFd>) -> io::Result<File> {
    let opened = opened.map_err(refused)?;
    let kind = match FileType::from_raw_mode(fs::fstat(&opened)?.st_mode) {
        FileType::RegularFile => return Ok(opened.into()),
        FileType::Directory => return Err(ErrorKind::IsADirectory.into()),
        FileType::Fifo => "a FIFO",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Socket => "a socket",
        _ => "of another kind",
    };
    Err(Refused::Kind(kind).into())
}

fn refused(error: Errno) -> io::Error {
    match error {
        Errno::LOOP => Refused::Link.into(),
        // Of a socket, and of a FIFO that is opened for writing without a reader.
        Errno::NXIO => Refused::Kind("a socket or FIFO").into(),
        error => error.into(),
    }
}

/// A folder whose paths are resolved as if the folder were `/`: an absolute link in it, or `..`, leads to a file in it.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// use microbench_formats::input::Root;
///
/// std::os::unix::fs::symlink("/", folder.path().join("up"))?;
/// let root = Root::open(folder.path())?;
/// root.create_folders("up/etc".as_ref())?;
/// assert!(folder.path().join("etc").is_dir());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Root {
    folder: OwnedFd,
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Root").field(&self.folder).finish()
    }
}

impl Root {
    /// # Errors
    /// If `folder` is not a folder.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self { folder: fs::openat(CWD, folder, flags, Mode::empty())? })
    }

    /// Creates the folder `path` and its missing parents.
    ///
    /// # Errors
    /// If a part of `path` is not a folder, or the kernel has no `openat2(2)` (before Linux 5.6).
    pub fn create_folders(&self, path: &Path) -> io::Result<()> {
        self.folders(path).map(drop)
    }

    /// Creates the file `path` with this mode and copies `from` into it. Creates missing folders and replaces another
    /// file of this name.
    ///
    /// # Errors
    /// As [`Self::create_folders`], or if the file cannot be written.
    pub fn write(&self, path: &Path, from: &mut dyn io::Read, mode: u32) -> io::Result<()> {
        let (folder, name) = self.free(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(fs::openat(&folder, name, flags, Mode::from_raw_mode(0o600))?);
        io::copy(from, &mut file)?;
        // Independent of the umask.
        Ok(fs::fchmod(&file, Mode::from_raw_mode(mode))?)
    }

    /// Creates the symbolic link `path` with this target, which need not exist. Creates missing folders and replaces
    /// another file of this name.
    ///
    /// # Errors
    /// As [`Self::create_folders`].
    pub fn link(&self, path: &Path, target: &Path) -> io::Result<()> {
        let (folder, name) = self.free(path)?;
        Ok(fs::symlinkat(target, &folder, name)?)
    }

    /// The folder of `path`, and the name in it, which no file has: a file of this name is removed.
    fn free<'a>(&self, path: &'a Path) -> io::Result<(OwnedFd, &'a Path)> {
        let (folder, name) = split(path)?;
        let folder = self.folders(folder)?;
        match fs::unlinkat(&folder, name, fs::AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok((folder, name)),
            Err(error) => Err(error.into()),
        }
    }

    fn folders(&self, path: &Path) -> io::Result<OwnedFd> {
        let resolve = |path: &Path| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let rules = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            fs::openat2(&self.folder, path, flags, Mode::empty(), rules)
        };
        let mut at = resolve(Path::new("."))?;
        let mut so_far = std::path::PathBuf::new();
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            so_far.push(name);
            at = match resolve(&so_far) {
                Err(Errno::NOENT) => {
                    fs::mkdirat(&at, name, Mode::from_raw_mode(0o755))?;
                    resolve(&so_far)?
                }
                found => found?,
            };
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn reason(result: io::Result<impl Sized>) -> Option<Refused> {
        Refused::of(&result.err().unwrap())
    }

    #[test]
    fn links_fifos_devices_and_long_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "text").unwrap();
        fs::create_dir(path("inner")).unwrap();
        fs::write(path("inner/file"), "text").unwrap();
        symlink("file", path("link")).unwrap();
        symlink("inner", path("linked")).unwrap();
        rustix::fs::mknodat(CWD, path("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert_eq!(read_in(folder.path(), "inner/file").unwrap(), b"text");
        assert_eq!(read(&path("link"), 4).unwrap(), b"text");
        assert_eq!(reason(read(&path("file"), 3)), Some(Refused::TooLong { limit: 3 }));
        assert_eq!(reason(read_in(folder.path(), "link")), Some(Refused::Link));
        assert_eq!(reason(read_in(folder.path(), "linked/file")), Some(Refused::Link));
        assert_eq!(reason(append_in(folder.path(), "link")), Some(Refused::Link));
        assert_eq!(reason(create_in(folder.path(), "linked/new")), Some(Refused::Link));
        assert_eq!(reason(open(&path("fifo"))), Some(Refused::Kind("a FIFO")));
        assert_eq!(reason(open_in(folder.path(), "fifo")), Some(Refused::Kind("a FIFO")));
        assert_eq!(reason(append_in(folder.path(), "fifo")), Some(Refused::Kind("a socket or FIFO")));
        assert_eq!(reason(open(Path::new("/dev/zero"))), Some(Refused::Kind("a device")));
        assert_eq!(open(folder.path()).unwrap_err().kind(), ErrorKind::IsADirectory);
        assert_eq!(open_in(folder.path(), "none").unwrap_err().kind(), ErrorKind::NotFound);
        assert!(open_in(folder.path(), "../file").is_err());
    }

    #[test]
    fn created_file_replaces_a_link_and_appending_needs_the_only_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("victim"), "text").unwrap();
        symlink("victim", path("link")).unwrap();
        drop(create_in(folder.path(), "link").unwrap());
        assert_eq!((fs::read(path("victim")).unwrap(), is_file(&path("link"))), (b"text".to_vec(), true));
        fs::hard_link(path("victim"), path("hard")).unwrap();
        assert_eq!(reason(append_in(folder.path(), "hard")), Some(Refused::SeveralNames));
        assert!(append_in(folder.path(), "new").is_ok());
    }

    #[test]
    fn paths_in_a_root_never_lead_out_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let (stage, outside) = (folder.path().join("stage"), folder.path().join("outside"));
        fs::create_dir(&stage).unwrap();
        fs::create_dir(&outside).unwrap();
        symlink(&outside, stage.join("absolute")).unwrap();
        symlink("../outside", stage.join("relative")).unwrap();
        fs::create_dir_all(stage.join("etc")).unwrap();
        symlink(outside.join("file"), stage.join("etc/file")).unwrap();
        let root = Root::open(&stage).unwrap();
        // The target of the link does not exist in the stage.
        assert!(root.write(Path::new("absolute/file"), &mut &b"x"[..], 0o644).is_err());
        assert!(root.create_folders(Path::new("relative/folder")).is_err());
        root.write(Path::new("/etc/file"), &mut &b"x"[..], 0o755).unwrap();
        root.link(Path::new("bin/sh"), Path::new("/bin/busybox")).unwrap();
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        assert!(is_file(&stage.join("etc/file")) && stage.join("bin/sh").is_symlink());
    }
}
