//! The only unsafe code of the runner: system calls that std, nix and rustix do not wrap safely.
//!
//! Each function is one system call: it checks the arguments and converts errors to `std::io::Error`. Starting a
//! program needs more and is in [`spawn`].

pub mod clock;
pub mod durable;
pub mod environment;
pub mod mount;
pub mod namespace_init;
pub mod processes;
pub mod program;
pub mod remove;
pub mod spawn;
pub mod threads;

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use rustix::process::{self, Pid};
use rustix::thread::{self, CapabilitiesSecureBits as SecureBits};

/// `KEYCTL_JOIN_SESSION_KEYRING` of `keyctl(2)`.
const JOIN_SESSION_KEYRING: libc::c_int = 1;
/// The first descriptor after standard input, output and error.
const FIRST_DESCRIPTOR: RawFd = 3;

/// The path that leads to the file of a descriptor of this process, also for one that is open with `O_PATH`.
#[must_use]
pub fn descriptor_path(descriptor: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/thread-self/fd/{}", descriptor.as_raw_fd()))
}

/// Marks all inherited descriptors, except the standard ones, as close-on-exec. Otherwise VMMs and tools would inherit
/// what the caller left open (`exec 7</etc/shadow` in a shell).
///
/// # Errors
/// If the kernel has no `close_range(2)` with `CLOSE_RANGE_CLOEXEC` and /proc does not list the descriptors.
pub fn close_inherited_descriptors_on_exec() -> io::Result<()> {
    // SAFETY: the arguments are integers. `CLOSE_RANGE_CLOEXEC` closes nothing in this process, so that no owner of a
    // descriptor is left with a closed one.
    let marked =
        unsafe { libc::syscall(libc::SYS_close_range, FIRST_DESCRIPTOR, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if marked == 0 {
        return Ok(());
    }
    // Linux before 5.11, or a seccomp filter that denies the call.
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()) else { continue };
        // SAFETY: the arguments are integers, and `F_SETFD` closes nothing. If the descriptor was closed in the
        // meantime, the call fails with `EBADF` and changes nothing.
        if number >= FIRST_DESCRIPTOR && unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The umask of this process: permission bits that new files do not get. 0 if /proc does not state it, as before Linux
/// 4.7.
#[must_use]
pub fn umask() -> u32 {
    // umask(2) only returns the value when it changes it, for all threads.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    value.and_then(|value| u32::from_str_radix(value.trim(), 8).ok()).unwrap_or(0)
}

/// Joins a new, empty session keyring (`KEYCTL_JOIN_SESSION_KEYRING`), so that programs started later cannot use the
/// keys of the user's login session.
///
/// # Errors
/// The error of `keyctl(2)` if keyrings are usable. If they are not (a kernel without keyrings, a seccomp filter of a
/// container manager), no child process can use one either, and the call succeeds.
pub fn join_empty_session_keyring() -> io::Result<()> {
    let no_name = std::ptr::null::<libc::c_char>();
    // SAFETY: the arguments are an integer and a null pointer, which the call accepts: it means an anonymous keyring.
    if unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, no_name) } >= 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    let unusable = [libc::ENOSYS, libc::EPERM, libc::EACCES].map(Some);
    if session_keyring().is_err_and(|error| unusable.contains(&error.raw_os_error())) { Ok(()) } else { Err(error) }
}

/// Serial number of the calling thread's session keyring (`KEYCTL_GET_KEYRING_ID`).
///
/// # Errors
/// The error of `keyctl(2)`: `ENOSYS` if the kernel has no keyrings, `EPERM` under a seccomp filter.
pub fn session_keyring() -> io::Result<libc::c_long> {
    const GET_KEYRING_ID: libc::c_int = 0;
    const SESSION_KEYRING: libc::c_int = -3;
    // SAFETY: the arguments are integers. The last one, 0, means that no keyring is created.
    let number = unsafe { libc::syscall(libc::SYS_keyctl, GET_KEYRING_ID, SESSION_KEYRING, 0) };
    if number < 0 { Err(io::Error::last_os_error()) } else { Ok(number) }
}

/// Exit status and resource usage of a process (`wait4(2)`, `getrusage(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Exit code; `None` if a signal killed the process.
    pub code: Option<i32>,
    /// Signal that killed the process; `None` if it exited.
    pub signal: Option<i32>,
    /// User CPU time of the process and of the children it has reaped, nanoseconds. It includes guest time.
    pub user_time_ns: u64,
    /// System CPU time of the process and of the children it has reaped, nanoseconds.
    pub system_time_ns: u64,
    /// Peak resident set size, bytes.
    pub peak_rss_bytes: u64,
    pub voluntary_switches: u64,
    pub involuntary_switches: u64,
    /// Page faults without disk reads.
    pub minor_faults: u64,
    /// Page faults with disk reads.
    pub major_faults: u64,
}

/// Waits for child `pid` to end and reaps it.
///
/// # Errors
/// The error of `wait4(2)`.
pub fn reap(pid: u32) -> io::Result<Exit> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: `status` and `usage` are live and writable, and have the types that wait4 writes.
        let reaped = unsafe { libc::wait4(pid.cast_signed(), &raw mut status, 0, usage.as_mut_ptr()) };
        if reaped >= 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: the structure was zeroed, which is a valid `rusage`, and wait4 has filled it.
    let usage = unsafe { usage.assume_init() };
    let nanos = |time: libc::timeval| (time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_usec.unsigned_abs()) * 1000;
    Ok(Exit {
        code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
        signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
        user_time_ns: nanos(usage.ru_utime),
        system_time_ns: nanos(usage.ru_stime),
        peak_rss_bytes: usage.ru_maxrss.unsigned_abs() * 1024,
        voluntary_switches: usage.ru_nvcsw.unsigned_abs(),
        involuntary_switches: usage.ru_nivcsw.unsigned_abs(),
        minor_faults: usage.ru_minflt.unsigned_abs(),
        major_faults: usage.ru_majflt.unsigned_abs(),
    })
}

/// A descriptor that becomes readable when process `pid` ends (`pidfd_open(2)`).
///
/// # Errors
/// The error of `pidfd_open(2)`.
pub fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid.cast_signed()).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(process::pidfd_open(pid, process::PidfdFlags::empty())?)
}

/// Kills the process of a pidfd (`pidfd_send_signal(2)` with SIGKILL). Succeeds if the process has ended already.
///
/// # Errors
/// The error of `pidfd_send_signal(2)`.
pub fn pidfd_kill(pidfd: BorrowedFd<'_>) -> io::Result<()> {
    match process::pidfd_send_signal(pidfd, process::Signal::KILL) {
        Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// CPU time of this process and of the children it has reaped, nanoseconds (`getrusage(2)`).
#[must_use]
pub fn own_cpu_ns() -> u64 {
    let usage_of = |who| {
        let usage = getrusage(who).ok()?;
        let nanos = |time: TimeVal| (time.tv_sec().unsigned_abs() * 1_000_000 + time.tv_usec().unsigned_abs()) * 1000;
        Some(nanos(usage.user_time()) + nanos(usage.system_time()))
    };
    [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN].into_iter().filter_map(usage_of).sum()
}

/// CPU time of all threads of this process, including ended threads, nanoseconds.
#[must_use]
pub fn process_cpu_ns() -> u64 {
    clock_ns(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

/// CPU time of the calling thread, nanoseconds.
#[must_use]
pub fn thread_cpu_ns() -> u64 {
    clock_ns(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID)
}

fn clock_ns(clock: nix::time::ClockId) -> u64 {
    nix::time::clock_gettime(clock)
        .map_or(0, |time| time.tv_sec().unsigned_abs() * 1_000_000_000 + time.tv_nsec().unsigned_abs())
}

/// Creates the persistent tap interface `name` (`TUNSETIFF` with `IFF_TAP | IFF_NO_PI | IFF_VNET_HDR`). User `owner`
/// may attach to it without privileges (`TUNSETOWNER`).
///
/// The interface outlives the descriptor (`TUNSETPERSIST`), so that a VMM can attach to it later.
///
/// # Errors
/// The error of `open(2)` or `ioctl(2)`; [`io::ErrorKind::InvalidInput`] if the name is too long.
pub fn tap_create(name: &str, owner: u32) -> io::Result<()> {
    nix::ioctl_write_ptr_bad!(tun_set_iff, libc::TUNSETIFF, libc::ifreq);
    nix::ioctl_write_int_bad!(tun_set_owner, libc::TUNSETOWNER);
    nix::ioctl_write_int_bad!(tun_set_persist, libc::TUNSETPERSIST);
    let tun = File::options().read(true).write(true).open("/dev/net/tun")?;
    let flags = i16::try_from(libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR).unwrap_or(0);
    let request = interface_request(name, libc::__c_anonymous_ifr_ifru { ifru_flags: flags })?;
    // SAFETY: `tun` is open during the call, and `request` is an initialised `ifreq` that outlives it.
    unsafe { tun_set_iff(tun.as_raw_fd(), &raw const request) }?;
    // SAFETY: `tun` is open during the call; the argument is an integer.
    unsafe { tun_set_owner(tun.as_raw_fd(), owner.cast_signed()) }?;
    // SAFETY: `tun` is open during the call; the argument is an integer.
    unsafe { tun_set_persist(tun.as_raw_fd(), 1) }?;
    Ok(())
}

/// Attaches to the tap interface `name` as a VMM does. If it does not exist, it is created and removed with the file.
/// Frames have no header.
///
/// # Errors
/// The error of `open(2)` or `ioctl(2)`; [`io::ErrorKind::InvalidInput`] if the name is too long.
pub fn tap_attach(name: &str) -> io::Result<File> {
    nix::ioctl_write_ptr_bad!(tun_set_iff, libc::TUNSETIFF, libc::ifreq);
    let tun = File::options().read(true).write(true).open("/dev/net/tun")?;
    let flags = i16::try_from(libc::IFF_TAP | libc::IFF_NO_PI).unwrap_or(0);
    let request = interface_request(name, libc::__c_anonymous_ifr_ifru { ifru_flags: flags })?;
    // SAFETY: `tun` is open during the call, and `request` is an initialised `ifreq` that outlives it.
    unsafe { tun_set_iff(tun.as_raw_fd(), &raw const request) }?;
    Ok(tun)
}

/// Makes the kernel process a pending link event of the tap `name` at once (`ETHTOOL_GLINK`, effective since Linux
/// 6.8).
///
/// After a VMM attaches, packets to the tap are lost until the kernel has processed this event. Without this call the
/// kernel processes 100 to 200 interfaces a second (net/core/link_watch.c).
///
/// # Errors
/// The error of `ioctl(2)`.
pub fn flush_link_state(socket: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    /// `ETHTOOL_GLINK`: get the link state (linux/ethtool.h).
    const GET_LINK: u32 = 0xa;
    nix::ioctl_write_ptr_bad!(ethtool, libc::SIOCETHTOOL, libc::ifreq);
    let mut value = [GET_LINK, 0];
    let data = libc::__c_anonymous_ifr_ifru { ifru_data: value.as_mut_ptr().cast() };
    let request = interface_request(name, data)?;
    // SAFETY: the socket is open, `request` outlives the call, and its data pointer is to `value`, which outlives it
    // too and has the layout of `struct ethtool_value` (two u32: command, result).
    unsafe { ethtool(socket.as_raw_fd(), &raw const request) }?;
    Ok(())
}

/// Makes `target` share the blocks of `source` (`FICLONE`).
///
/// # Errors
/// The error of `ioctl_ficlone(2)`: `EOPNOTSUPP`, `EXDEV` or `EINVAL` if the file system does not support it.
pub fn reflink(source: &File, target: &File) -> io::Result<()> {
    Ok(rustix::fs::ioctl_ficlone(target, source)?)
}

/// A duplicate of the descriptor `number`, which this process has inherited.
///
/// # Errors
/// `EBADF` if it is not open.
pub fn duplicate_inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the arguments are integers. The new descriptor has no other owner.
    owned(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, FIRST_DESCRIPTOR) }.into())
}

/// The descriptor of a sampled perf event, which is readable when the kernel has added a record.
#[must_use]
pub fn perf_descriptor(sampler: &perf_event::Sampler) -> BorrowedFd<'_> {
    // SAFETY: `sampler` owns the descriptor, is borrowed for the result's lifetime, and keeps the descriptor open.
    unsafe { BorrowedFd::borrow_raw(sampler.as_raw_fd()) }
}

/// Sets the filter of a tracepoint's perf event (`PERF_EVENT_IOC_SET_FILTER`); other records are discarded.
///
/// # Errors
/// The error of `ioctl(2)`: `EINVAL` if the filter does not fit the tracepoint's fields.
pub fn set_perf_filter(event: &impl AsRawFd, filter: &str) -> io::Result<()> {
    /// `_IOW('$', 6, char *)` (linux/perf_event.h).
    const SET_FILTER: libc::c_ulong = 0x4008_2406;
    let filter = CString::new(filter)?;
    // SAFETY: `event` is open, and `filter` is a NUL-terminated string that outlives the call; the kernel copies it.
    let result = unsafe { libc::ioctl(event.as_raw_fd(), SET_FILTER, filter.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Argument of `LOOP_CONFIGURE`: `struct loop_config` in linux/loop.h.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// `struct loop_info64` in linux/loop.h.
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

impl LoopInfo {
    /// With these flags; all other fields are zero, the kernel's default.
    const fn with_flags(flags: u32) -> Self {
        Self {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        }
    }
}

/// Number of an unused loop device (`LOOP_CTL_GET_FREE`); `control` is /dev/loop-control. Another process may use the
/// device before the caller does.
///
/// # Errors
/// The error of `ioctl(2)`.
pub fn find_free_loop_device(control: &File) -> io::Result<u32> {
    const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;
    // SAFETY: `control` is open, and the request has no argument.
    let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
    u32::try_from(number).map_err(|_| io::Error::last_os_error())
}

/// Attaches `image` to the loop `device` (`LOOP_CONFIGURE`, Linux 5.8). The kernel detaches it when its last user
/// closes it (`LO_FLAGS_AUTOCLEAR`): `device`, or a mount.
///
/// # Errors
/// The error of `ioctl(2)`: `EBUSY` if the device is in use.
pub fn configure_loop_device(device: &File, image: &File, read_only: bool) -> io::Result<()> {
    const LOOP_CONFIGURE: libc::Ioctl = 0x4c0a;
    const LO_FLAGS_READ_ONLY: u32 = 1;
    const LO_FLAGS_AUTOCLEAR: u32 = 4;
    let flags = LO_FLAGS_AUTOCLEAR | if read_only { LO_FLAGS_READ_ONLY } else { 0 };
    let config = LoopConfig {
        fd: image.as_raw_fd().unsigned_abs(),
        block_size: 0,
        info: LoopInfo::with_flags(flags),
        reserved: [0; 8],
    };
    // SAFETY: both descriptors are open, and `config` is initialised, outlives the call and has the layout of
    // `struct loop_config`.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Ends this process by SIGPIPE, as a pipe without a reader ends other programs; the standard library ignores the
/// signal. Returns only if the signal is blocked.
pub fn end_by_sigpipe() {
    // SAFETY: the arguments are integers. `SIG_DFL` removes a handler, so that no code of this program runs in the
    // signal.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::raise(libc::SIGPIPE);
    }
}

/// Forks. Returns the child's PID in the parent, `None` in the child.
///
/// # Errors
/// The error of `fork(2)`. The process has more than one thread, or /proc does not list its threads.
pub fn fork() -> io::Result<Option<u32>> {
    require_one_thread(Path::new("/proc/self/task"))?;
    // SAFETY: the process has a single thread (checked above), so that no lock is held by a thread that the child does
    // not have.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(pid.unsigned_abs())),
    }
}

/// Checks that the folder `tasks` lists a single thread. A child of `fork(2)` has the calling thread only; locks held
/// by other threads would never be released.
fn require_one_thread(tasks: &Path) -> io::Result<()> {
    let threads = std::fs::read_dir(tasks)
        .and_then(|tasks| tasks.collect::<io::Result<Vec<_>>>())
        .map_err(|error| io::Error::new(error.kind(), format!("cannot count threads in {}: {error}", tasks.display())))?
        .len();
    if threads == 1 {
        Ok(())
    } else {
        Err(io::Error::other(format!("the process has {threads} threads; it can only fork safely with 1")))
    }
}

/// Makes the kernel kill this process when the thread that forked it ends (`PR_SET_PDEATHSIG`).
///
/// Has no effect if that thread has ended already.
///
/// # Errors
/// The error of `prctl(2)`.
pub fn die_with_parent() -> io::Result<()> {
    Ok(process::set_parent_process_death_signal(Some(process::Signal::KILL))?)
}

/// Makes the program of `command` end when the thread that starts it ends (see [`die_with_parent`]).
pub fn ends_with_this_thread(command: &mut std::process::Command) -> &mut std::process::Command {
    use std::os::unix::process::CommandExt;
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(die_with_parent) }
}

/// Clears the ambient capabilities of this process (`PR_CAP_AMBIENT_CLEAR_ALL`), which programs would otherwise keep
/// when they are executed as another user.
///
/// # Errors
/// The error of `prctl(2)`.
pub fn drop_ambient_capabilities() -> io::Result<()> {
    Ok(thread::clear_ambient_capability_set()?)
}

/// Makes all programs executed from now on start without capabilities although their user is root (`SECBIT_NOROOT`).
/// The setting is locked (`SECBIT_NOROOT_LOCKED`), so that no child process can undo it.
///
/// # Errors
/// The error of `prctl(2)`: `EPERM` without `CAP_SETPCAP`.
pub fn drop_root_capabilities_on_exec() -> io::Result<()> {
    Ok(thread::set_capabilities_secure_bits(SecureBits::NO_ROOT | SecureBits::NO_ROOT_LOCKED)?)
}

/// Whether `SECBIT_NOROOT` is set (see [`drop_root_capabilities_on_exec`]).
///
/// # Errors
/// The error of `prctl(2)`.
pub fn exec_drops_root_capabilities() -> io::Result<bool> {
    Ok(thread::capabilities_secure_bits()?.contains(SecureBits::NO_ROOT))
}

/// Owns the descriptor `fd` that a system call has just returned; a negative `fd` is the error in `errno`.
fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    match i32::try_from(fd) {
        // SAFETY: the kernel has just returned this descriptor, so that it is open and has no other owner.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// An ioctl request for the interface `name` with the argument `data`.
fn interface_request(name: &str, data: libc::__c_anonymous_ifr_ifru) -> io::Result<libc::ifreq> {
    let mut request = libc::ifreq { ifr_name: [0; libc::IFNAMSIZ], ifr_ifru: data };
    let name = CString::new(name)?;
    if name.as_bytes_with_nul().len() > request.ifr_name.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("interface name {name:?} is too long")));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_bytes()) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    Ok(request)
}

/// Bytes of `file` in the page cache (`mincore(2)`), a multiple of the page size.
///
/// # Errors
/// The error of `mmap(2)` or `mincore(2)`.
pub fn resident_bytes(file: &File) -> io::Result<u64> {
    const PAGE: usize = 4096;
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    if length == 0 {
        return Ok(0);
    }
    let descriptor = file.as_raw_fd();
    // SAFETY: the kernel chooses an unused address, so that no existing mapping is replaced. The pages are never
    // accessed, so that truncation of the file cannot raise SIGBUS.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, descriptor, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let mut pages = vec![0_u8; length.div_ceil(PAGE)];
    // SAFETY: `start` is the page-aligned start of a mapping of `length` bytes, and `pages` has one byte for each page.
    let counted = unsafe { libc::mincore(start, length, pages.as_mut_ptr()) };
    let counted = if counted == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: `start` and `length` are those of the mapping above, and no reference to it exists.
    unsafe { libc::munmap(start, length) };
    counted?;
    Ok((pages.iter().filter(|page| **page & 1 == 1).count() * PAGE) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fork_fails_with_several_or_uncountable_threads() {
        let tasks = tempfile::tempdir().unwrap();
        let error = require_one_thread(&tasks.path().join("missing")).unwrap_err();
        assert!(error.to_string().contains("cannot count threads"), "{error}");
        assert!(require_one_thread(tasks.path()).is_err());
        std::fs::create_dir(tasks.path().join("1")).unwrap();
        assert!(require_one_thread(tasks.path()).is_ok());
        std::fs::create_dir(tasks.path().join("2")).unwrap();
        assert!(require_one_thread(tasks.path()).is_err());
        // The test process has this thread and the test harness's.
        assert!(fork().is_err());
    }
}
