//! Namespaces of each VM: what its processes see, and what ends with them.
//!
//! | namespace | effect |
//! | --- | --- |
//! | PID | every process of the VM ends with the VM; it can signal no other process |
//! | mount | the VM sees the system's folders, the files of its engine and its own folder, with a private /tmp |
//! | IPC | shared memory, semaphores and message queues end with the VM |
//!
//! All are created before the release of the VM. A [`VmRoot`] is the mount namespace that those of VMs are copied from.
//! It is created once, because it has fewer mounts than the host.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use microbench_formats::code::Code;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{Mode, umask};

use crate::requirement::MissingRequirements;
use crate::sys::descriptor_path;
use crate::sys::mount::{self as mounts, bind_read_only};
use crate::sys::namespace_init::NamespaceInit;
use crate::sys::threads::on_new_thread;

/// Folders below `/` that VMs see, read-only to them: programs, libraries, their data, devices. All others are empty.
const SYSTEM_FOLDERS: [&str; 14] =
    ["bin", "dev", "etc", "gnu", "lib", "lib32", "lib64", "libx32", "nix", "opt", "proc", "sbin", "sys", "usr"];
/// Folders below these that VMs do not see: shared memory, message queues, terminals of the user, sockets of a daemon.
const HIDDEN: [&str; 4] = ["/dev/shm", "/dev/mqueue", "/dev/pts", "/nix/var"];
/// Private folders of a VM, each with its folder in the VM's own folder.
pub const TEMPORARY: [(&str, &str); 2] = [("/tmp", "tmp"), ("/var/tmp", "var-tmp")];
/// Place of the VM's own folder in the scratch folder until it is mounted at its path.
const OWN: &str = "own";
/// Namespaces of the calling thread.
const NAMESPACES: &str = "/proc/thread-self/ns";

/// File system that VMs see, without their own folders.
#[derive(Debug)]
pub struct VmRoot {
    /// The mount namespace.
    namespace: File,
    /// PID namespace of this process.
    home: Arc<File>,
    /// Folder that contains the folders of the VMs.
    scratch: PathBuf,
    /// Files below the scratch folder or a temporary folder: path, and place in the namespace.
    moved: Vec<(PathBuf, PathBuf)>,
    /// Whether VMs have private temporary folders.
    temporary: bool,
}

impl VmRoot {
    /// On this machine: VMs see the system's folders and `files`. `scratch` contains the folders of the VMs.
    ///
    /// # Errors
    /// [`MissingRequirements`] if no namespace can be created; the error of the call that failed.
    pub fn of_this_host(files: impl IntoIterator<Item = PathBuf>, scratch: &Path) -> anyhow::Result<Self> {
        let mut hidden: Vec<PathBuf> = HIDDEN.iter().map(PathBuf::from).filter(|path| path.is_dir()).collect();
        for entry in fs::read_dir("/").context("cannot list /")? {
            let entry = entry?;
            let visible = entry.file_name().to_str().is_some_and(|name| SYSTEM_FOLDERS.contains(&name));
            // A symbolic link leads to one of the other folders.
            if !visible && entry.file_type()?.is_dir() {
                hidden.push(entry.path());
            }
        }
        let files = files.into_iter().filter(|file| !is_on_system(file)).collect();
        Self::new(hidden, files, scratch, true)
    }

    /// In the emulated host, which contains nothing but the files of its run: VMs see all files except those of
    /// `hidden`. `scratch` contains the folders of the VMs. No VM may write to /tmp there.
    ///
    /// # Errors
    /// See [`VmRoot::of_this_host`].
    pub fn of_emulated_host(hidden: &Path, scratch: &Path) -> anyhow::Result<Self> {
        Self::new(vec![hidden.to_path_buf()], Vec::new(), scratch, false)
    }

    fn new(hidden: Vec<PathBuf>, files: Vec<PathBuf>, scratch: &Path, temporary: bool) -> anyhow::Result<Self> {
        on_new_thread("vm-root", || {
            // Also gives this thread its own root folder and file mode mask.
            unshare(CloneFlags::CLONE_NEWNS).map_err(|error| missing("mount", error))?;
            umask(Mode::from_bits_truncate(0o022));
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
                .context("cannot make mounts private")?;
            // Opened before the folders above them are hidden.
            let files = files.into_iter().map(|file| Ok((open_path(&file)?, file))).collect::<io::Result<Vec<_>>>();
            let files = files.context("cannot open a file of an engine")?;
            let options = Some("mode=0755");
            let hide = |place: &Path| {
                mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, options)
                    .with_context(|| format!("cannot mount a tmpfs on {}", place.display()))
            };
            hidden.iter().try_for_each(|place| hide(place))?;
            let create = |folder: &Path| {
                fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
            };
            create(&scratch.join(OWN))?;
            if temporary {
                TEMPORARY.iter().try_for_each(|(place, _)| create(Path::new(place)))?;
            }
            let mut moved = Vec::new();
            for (descriptor, file) in files {
                let covered = file.starts_with(scratch) || TEMPORARY.iter().any(|(place, _)| file.starts_with(place));
                let place = match covered {
                    true => scratch.join(format!("file-{}", moved.len())),
                    false => file.clone(),
                };
                place.parent().map_or(Ok(()), create)?;
                // Kept: it ends with the namespace.
                std::mem::forget(bind_read_only(&descriptor_path(descriptor.as_fd()), &place)?);
                if covered {
                    moved.push((file, place));
                }
            }
            let flags =
                MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            for place in &hidden {
                mount(none, place, none, flags, none)
                    .with_context(|| format!("cannot make {} read-only", place.display()))?;
            }
            mounts::make_read_only(Path::new("/")).context("cannot make the file system of VMs read-only")?;
            let namespace = open_namespace("mnt").map_err(|error| missing("mount", error))?;
            let home = Arc::new(open_namespace("pid").map_err(|error| missing("PID", error))?);
            Ok(Self { namespace, home, scratch: scratch.to_path_buf(), moved, temporary })
        })
    }

    /// In a copy of the namespace: mounts the VM's folder, whose mounts are `tree`, at its path `folder`.
    fn mount_folder(&self, tree: &OwnedFd, folder: &Path) -> anyhow::Result<()> {
        let none = None::<&str>;
        let moved: Vec<OwnedFd> = self.moved.iter().map(|(_, place)| open_path(place)).collect::<Result<_, _>>()?;
        let own = self.scratch.join(OWN);
        mounts::attach(tree.as_fd(), &own).with_context(|| format!("cannot mount {}", folder.display()))?;
        let bind = |source: &Path, place: &Path| {
            mount(Some(source), place, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)
                .with_context(|| format!("cannot mount {}", place.display()))
        };
        let own = open_path(&own)?;
        if self.temporary {
            for (place, name) in TEMPORARY {
                bind(&descriptor_path(own.as_fd()).join(name), Path::new(place))?;
            }
        }
        fs::create_dir_all(&self.scratch)?;
        let flags = MsFlags::MS_NOSUID;
        mount(Some("tmpfs"), &self.scratch, Some("tmpfs"), flags, Some("mode=0711,size=64k"))
            .with_context(|| format!("cannot mount a tmpfs on {}", self.scratch.display()))?;
        fs::create_dir_all(folder)?;
        bind(&descriptor_path(own.as_fd()), folder)?;
        for ((path, _), descriptor) in self.moved.iter().zip(&moved) {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            File::create(path)?;
            bind(&descriptor_path(descriptor.as_fd()), path)?;
        }
        Ok(())
    }
}

/// Whether VMs see the file without a mount of its own.
fn is_on_system(path: &Path) -> bool {
    let name = path.iter().nth(1).and_then(|name| name.to_str());
    name.is_some_and(|name| SYSTEM_FOLDERS.contains(&name)) && !HIDDEN.iter().any(|folder| path.starts_with(folder))
}

fn open_path(path: &Path) -> io::Result<OwnedFd> {
    let file = File::options().read(true).custom_flags(libc::O_PATH).open(path);
    file.map(OwnedFd::from).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn open_namespace(name: &str) -> io::Result<File> {
    File::open(Path::new(NAMESPACES).join(name))
}

fn missing(which: &str, error: impl std::fmt::Display) -> anyhow::Error {
    MissingRequirements::single(
        Code::NoNamespace,
        format!("cannot create a {which} namespace for a VM: {error}"),
        "run as root with CAP_SYS_ADMIN, or allow more namespaces: sysctl -w user.max_mnt_namespaces=10000 \
         user.max_pid_namespaces=10000 user.max_ipc_namespaces=10000",
    )
    .into()
}

/// The namespaces of one VM. Its processes are killed on drop; what else it created ends when the last descriptor of
/// its namespaces is closed.
#[derive(Debug)]
pub struct VmNamespaces {
    /// Namespaces that the VMM enters itself, the mount namespace first.
    entered: Vec<File>,
    /// PID namespace of the VM; `None` once the VMM has started.
    processes: Option<File>,
    /// PID namespace of this process.
    home: Arc<File>,
    init: NamespaceInit,
}

impl VmNamespaces {
    /// Creates the namespaces of a VM whose own folder is `folder`, with the mounts in it. The folder contains those of
    /// [`TEMPORARY`].
    ///
    /// # Errors
    /// [`MissingRequirements`] if a namespace cannot be created; the error of the call that failed.
    pub fn new(root: &VmRoot, folder: &Path) -> anyhow::Result<Self> {
        let tree = mounts::copy(folder).with_context(|| format!("cannot copy the mount of {}", folder.display()))?;
        on_new_thread("namespaces", || {
            unshare(CloneFlags::CLONE_FS).context("cannot leave the root folder of the other threads")?;
            setns(&root.namespace, CloneFlags::CLONE_NEWNS).context("cannot enter the mount namespace of VMs")?;
            umask(Mode::from_bits_truncate(0o022));
            for (which, flag) in [
                ("PID", CloneFlags::CLONE_NEWPID),
                ("IPC", CloneFlags::CLONE_NEWIPC),
                ("mount", CloneFlags::CLONE_NEWNS),
            ] {
                unshare(flag).map_err(|error| missing(which, error))?;
            }
            root.mount_folder(&tree, folder).with_context(|| format!("cannot set up {}", folder.display()))?;
            // Opened before the next step, which mounts a /proc in which this process is missing.
            let folder = open_namespaces()?;
            let entered = ["mnt", "ipc"].map(|name| open_at(&folder, name));
            let entered = entered.into_iter().collect::<Result<_, _>>().context("cannot open a namespace")?;
            let init = NamespaceInit::start().map_err(|error| missing("PID", error))?;
            let processes = open_at(&folder, "pid_for_children").context("cannot open the VM's PID namespace")?;
            Ok(Self { entered, processes: Some(processes), home: Arc::clone(&root.home), init })
        })
    }

    /// Makes the PID namespace of the VM that of the next child process of the calling thread, until the guard is
    /// dropped. The thread must not start threads meanwhile.
    ///
    /// # Errors
    /// The error of `setns(2)`.
    pub fn enter_for_children(&self) -> io::Result<ChildrenGuard> {
        let processes = self.processes.as_ref().ok_or(io::ErrorKind::NotFound)?;
        setns(processes, CloneFlags::CLONE_NEWPID)?;
        Ok(ChildrenGuard(Arc::clone(&self.home)))
    }

    /// The namespaces that a process of the VM enters itself.
    #[must_use]
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.entered.iter().map(File::as_fd).collect()
    }

    /// Closes the descriptors that only the start of the VMM needs. What is left keeps the VM's mounts.
    pub fn close_unneeded(&mut self) {
        self.entered.truncate(1);
        self.processes = None;
    }

    /// Kills all processes of the VM, and does not wait for their end.
    pub fn kill(&self) {
        self.init.kill();
    }

    /// Kills all processes of the VM and waits for their end. The caller has reaped its own children among them.
    ///
    /// # Errors
    /// If a process has not ended after ten seconds. [`crate::host::interference`] then names it.
    pub fn end(&mut self) -> io::Result<()> {
        self.init.end()
    }
}

/// Returns the calling thread's child processes to this process's PID namespace on drop.
#[derive(Debug)]
pub struct ChildrenGuard(Arc<File>);

impl Drop for ChildrenGuard {
    fn drop(&mut self) {
        // Cannot fail: it is the namespace of this process.
        let _ = setns(&self.0, CloneFlags::CLONE_NEWPID);
    }
}

fn open_namespaces() -> anyhow::Result<OwnedFd> {
    let folder = File::open(NAMESPACES).with_context(|| format!("cannot open {NAMESPACES}"))?;
    Ok(folder.into())
}

fn open_at(folder: &OwnedFd, name: &str) -> io::Result<File> {
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    Ok(rustix::fs::openat(folder, name, flags, rustix::fs::Mode::empty())?.into())
}

/// Creates the private temporary folders of [`TEMPORARY`] in a VM's own folder.
///
/// # Errors
/// If a folder cannot be created.
pub fn create_temporary_folders(folder: &Path) -> anyhow::Result<()> {
    for (_, name) in TEMPORARY {
        let path = folder.join(name);
        let context = || format!("cannot create {}", path.display());
        fs::create_dir(&path).with_context(context)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o1777)).with_context(context)?;
    }
    Ok(())
}

/// Checks that VMs can have namespaces of their own. Call it in the sandbox.
///
/// # Errors
/// See [`VmNamespaces::new`].
pub fn check(scratch: &Path) -> anyhow::Result<()> {
    let folder = scratch.join("namespaces-check");
    fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    create_temporary_folders(&folder)?;
    let root = VmRoot::of_this_host([], scratch)?;
    let ended = VmNamespaces::new(&root, &folder)?.end().context("cannot end the processes of a VM");
    drop(fs::remove_dir_all(&folder));
    ended
}
