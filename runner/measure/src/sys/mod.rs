//! The only unsafe code of the runner: system calls that neither std, nix nor rustix wraps safely.
//!
//! Each function is one call with its arguments checked and its errors turned into `std::io::Error`. What it takes to start a program
//! is in a module of its own, [`spawn`].

pub mod clock;
pub mod durable;
pub mod environment;
pub mod mount;
pub mod processes;
pub mod program;
pub mod spawn;

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use rustix::process::{self, Pid};
use rustix::thread::{self, CapabilitiesSecureBits as SecureBits};

/// `KEYCTL_JOIN_SESSION_KEYRING` of `keyctl(2)`.
const JOIN_SESSION_KEYRING: libc::c_int = 1;
/// The first descriptor that is not standard input, output or error.
const FIRST_DESCRIPTOR: RawFd = 3;

/// Has every descriptor that this process inherited, but for the standard ones, closed in the programs that it
/// executes. A caller that left one open (`exec 7</etc/shadow` in a shell) would else hand it on to VMMs and tools.
///
/// # Errors
/// When neither the kernel has a call for it nor /proc lists the descriptors.
pub fn keep_inherited_descriptors() -> io::Result<()> {
    // SAFETY: a plain system call with integer arguments; no descriptor is closed.
    let marked =
        unsafe { libc::syscall(libc::SYS_close_range, FIRST_DESCRIPTOR, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if marked == 0 {
        return Ok(());
    }
    // Before Linux 5.11, or under a filter of system calls that does not know this one.
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()) else { continue };
        // SAFETY: a plain system call with integer arguments; a number that is no descriptor any more is an error that
        // changes nothing.
        if number >= FIRST_DESCRIPTOR && unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Leaves the session keyring, which holds the keys of the user's log-in, for a new and empty one
/// (`KEYCTL_JOIN_SESSION_KEYRING`). Whatever this process starts from now on has the new one.
///
/// # Errors
/// When the kernel refuses although it has keyrings that this process can use. Without the call (a kernel without
/// keyrings, a filter of system calls as container managers set it) nothing that this process starts can use a keyring
/// either.
pub fn leave_session_keyring() -> io::Result<()> {
    let no_name = std::ptr::null::<libc::c_char>();
    // SAFETY: a system call with an integer and a null pointer, which means a keyring without a name.
    if unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, no_name) } >= 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    let unusable = [libc::ENOSYS, libc::EPERM, libc::EACCES].map(Some);
    if session_keyring().is_err_and(|error| unusable.contains(&error.raw_os_error())) { Ok(()) } else { Err(error) }
}

/// The number of the session keyring of the calling thread (`KEYCTL_GET_KEYRING_ID`).
///
/// # Errors
/// That of `keyctl(2)`: `ENOSYS` without keyrings in the kernel, `EPERM` under a filter of system calls.
pub fn session_keyring() -> io::Result<libc::c_long> {
    const GET_KEYRING_ID: libc::c_int = 0;
    const SESSION_KEYRING: libc::c_int = -3;
    // SAFETY: a plain system call with integer arguments; 0: no keyring is made.
    let number = unsafe { libc::syscall(libc::SYS_keyctl, GET_KEYRING_ID, SESSION_KEYRING, 0) };
    if number < 0 { Err(io::Error::last_os_error()) } else { Ok(number) }
}

/// What the kernel accounted to a process that has ended (`wait4(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Exit code, when the process exited.
    pub code: Option<i32>,
    /// Signal, when one killed it.
    pub signal: Option<i32>,
    /// User time of the process and of its waited-for children, nanoseconds; a guest's time is user time.
    pub user_time_ns: u64,
    /// System time of the same, nanoseconds.
    pub system_time_ns: u64,
    /// Largest resident set, bytes.
    pub peak_rss_bytes: u64,
    /// Voluntary context switches.
    pub voluntary_switches: u64,
    /// Involuntary context switches.
    pub involuntary_switches: u64,
    /// Page faults that needed no reading from a disk.
    pub minor_faults: u64,
    /// Page faults that did.
    pub major_faults: u64,
}

/// Reaps the child `pid`, which must have ended or be about to: waits for it.
///
/// # Errors
/// That of `wait4(2)`.
pub fn reap(pid: u32) -> io::Result<Exit> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to live, writable objects of the types that wait4 fills.
        let reaped = unsafe { libc::wait4(pid.cast_signed(), &raw mut status, 0, usage.as_mut_ptr()) };
        if reaped >= 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: wait4 succeeded and has filled the structure, which was zeroed before.
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

/// A descriptor that becomes readable when the process ends (`pidfd_open(2)`).
///
/// # Errors
/// That of `pidfd_open(2)`.
pub fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid.cast_signed()).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(process::pidfd_open(pid, process::PidfdFlags::empty())?)
}

/// Kills the process of a pidfd (`pidfd_send_signal(2)` with SIGKILL).
///
/// # Errors
/// That of the call; a process that has ended is no error.
pub fn pidfd_kill(pidfd: BorrowedFd<'_>) -> io::Result<()> {
    match process::pidfd_send_signal(pidfd, process::Signal::KILL) {
        Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// CPU time of this process and of its children that it has reaped, nanoseconds (`getrusage(2)`).
#[must_use]
pub fn own_cpu_ns() -> u64 {
    let of = |who| {
        let usage = getrusage(who).ok()?;
        let nanos = |time: TimeVal| (time.tv_sec().unsigned_abs() * 1_000_000 + time.tv_usec().unsigned_abs()) * 1000;
        Some(nanos(usage.user_time()) + nanos(usage.system_time()))
    };
    [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN].into_iter().filter_map(of).sum()
}

/// CPU time of this process, all its threads, those that have ended included, nanoseconds.
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

/// Makes a tap interface `name` (`TUNSETIFF` with `IFF_TAP | IFF_NO_PI`): persistent, so that the VMM can attach to it after the
/// descriptor is closed, and owned by `owner` (`TUNSETOWNER`), who needs no privilege to attach then.
///
/// # Errors
/// That of the open or of the ioctl; a name too long.
pub fn tap_create(name: &str, owner: u32) -> io::Result<()> {
    nix::ioctl_write_ptr_bad!(tun_set_iff, libc::TUNSETIFF, libc::ifreq);
    nix::ioctl_write_int_bad!(tun_set_owner, libc::TUNSETOWNER);
    nix::ioctl_write_int_bad!(tun_set_persist, libc::TUNSETPERSIST);
    let tun = File::options().read(true).write(true).open("/dev/net/tun")?;
    let flags = i16::try_from(libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR).unwrap_or(0);
    let request = interface_request(name, libc::__c_anonymous_ifr_ifru { ifru_flags: flags })?;
    // SAFETY: the descriptor is open and the request is a live, initialised ifreq.
    unsafe { tun_set_iff(tun.as_raw_fd(), &raw const request) }?;
    // SAFETY: the descriptor is open; the argument is an integer.
    unsafe { tun_set_owner(tun.as_raw_fd(), owner.cast_signed()) }?;
    // SAFETY: the descriptor is open; the argument is an integer.
    unsafe { tun_set_persist(tun.as_raw_fd(), 1) }?;
    Ok(())
}

/// Attaches to the tap interface `name` as its other end, which a VMM is else; makes one, which goes with the file, where none has
/// the name. Frames are read and written bare.
///
/// # Errors
/// That of the open or of the ioctl; a name too long.
pub fn tap_attach(name: &str) -> io::Result<File> {
    nix::ioctl_write_ptr_bad!(tun_set_iff, libc::TUNSETIFF, libc::ifreq);
    let tun = File::options().read(true).write(true).open("/dev/net/tun")?;
    let flags = i16::try_from(libc::IFF_TAP | libc::IFF_NO_PI).unwrap_or(0);
    let request = interface_request(name, libc::__c_anonymous_ifr_ifru { ifru_flags: flags })?;
    // SAFETY: the descriptor is open and the request is a live, initialised ifreq.
    unsafe { tun_set_iff(tun.as_raw_fd(), &raw const request) }?;
    Ok(tun)
}

/// Has the kernel act on it at once when a VMM has attached to the tap `name` (`ETHTOOL_GLINK`, on Linux from 6.8): until it does, nothing
/// that is sent there arrives, and it does so for 100 or 200 interfaces at a time, the others a second later (net/core/link_watch.c).
///
/// # Errors
/// That of the ioctl.
pub fn link_settle(socket: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    /// Whether there is a link (linux/ethtool.h).
    const GET_LINK: u32 = 0xa;
    nix::ioctl_write_ptr_bad!(ask_driver, libc::SIOCETHTOOL, libc::ifreq);
    let mut asked = [GET_LINK, 0];
    let data = libc::__c_anonymous_ifr_ifru { ifru_data: asked.as_mut_ptr().cast() };
    let request = interface_request(name, data)?;
    // SAFETY: an open socket and a live ifreq, which points to a live `struct ethtool_value`: two numbers, the first says what is asked.
    unsafe { ask_driver(socket.as_raw_fd(), &raw const request) }?;
    Ok(())
}

/// Makes `target` share `source`'s blocks (`FICLONE`), where the file system can.
///
/// # Errors
/// That of the ioctl: `EOPNOTSUPP`, `EXDEV` or `EINVAL` where it cannot.
pub fn reflink(source: &File, target: &File) -> io::Result<()> {
    Ok(rustix::fs::ioctl_ficlone(target, source)?)
}

/// Lets only those records of a tracepoint's perf event through that `filter` describes (`PERF_EVENT_IOC_SET_FILTER`).
///
/// # Errors
/// That of the ioctl: `EINVAL` for a filter that the tracepoint cannot have.
pub fn perf_filter(event: &impl AsRawFd, filter: &str) -> io::Result<()> {
    /// `_IOW('$', 6, char *)` (linux/perf_event.h).
    const SET_FILTER: libc::c_ulong = 0x4008_2406;
    let filter = CString::new(filter)?;
    // SAFETY: an open descriptor, and a string that lives through the call, which copies it.
    let result = unsafe { libc::ioctl(event.as_raw_fd(), SET_FILTER, filter.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What `LOOP_CONFIGURE` takes (`struct loop_config` in linux/loop.h).
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
    /// With these flags, and all else as the kernel has it.
    const fn of(flags: u32) -> Self {
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

/// Number of a loop device that nobody uses now (`LOOP_CTL_GET_FREE`); `control` is /dev/loop-control.
///
/// # Errors
/// That of the ioctl.
pub fn loop_free(control: &File) -> io::Result<u32> {
    const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;
    // SAFETY: an open descriptor; the call has no argument.
    let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
    u32::try_from(number).map_err(|_| io::Error::last_os_error())
}

/// Makes the loop `device` show `image`, for reading only or not (`LOOP_CONFIGURE`, Linux 5.8). It frees itself with its last user
/// (`LO_FLAGS_AUTOCLEAR`), which is `device` or a mount.
///
/// # Errors
/// That of the ioctl: `EBUSY` when somebody else has taken the device.
pub fn loop_configure(device: &File, image: &File, read_only: bool) -> io::Result<()> {
    const LOOP_CONFIGURE: libc::Ioctl = 0x4c0a;
    const LO_FLAGS_READ_ONLY: u32 = 1;
    const LO_FLAGS_AUTOCLEAR: u32 = 4;
    let flags = LO_FLAGS_AUTOCLEAR | if read_only { LO_FLAGS_READ_ONLY } else { 0 };
    let config =
        LoopConfig { fd: image.as_raw_fd().unsigned_abs(), block_size: 0, info: LoopInfo::of(flags), reserved: [0; 8] };
    // SAFETY: open descriptors and a live, initialised structure of the kernel's layout.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Ends this process by SIGPIPE, which the standard library ignores, as a pipe without a reader ends other programs.
/// Returns only where the signal is blocked.
pub fn end_by_sigpipe() {
    // SAFETY: plain system calls with integer arguments; the default action runs no code of ours.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::raise(libc::SIGPIPE);
    }
}

/// Forks. The caller must be single-threaded. `Some(pid)` in the parent, `None` in the child.
///
/// # Errors
/// That of `fork(2)`; more than one thread running, or no /proc that lists them.
pub fn fork() -> io::Result<Option<u32>> {
    require_one_thread(Path::new("/proc/self/task"))?;
    // SAFETY: the process is single-threaded (checked above), so no lock can be held by a thread that vanishes.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(pid.unsigned_abs())),
    }
}

/// Requires that the process whose threads the folder `tasks` lists has one: in a child of `fork(2)` the others are gone, with the locks that
/// they hold.
fn require_one_thread(tasks: &Path) -> io::Result<()> {
    let threads = std::fs::read_dir(tasks)
        .and_then(|tasks| tasks.collect::<io::Result<Vec<_>>>())
        .map_err(|error| io::Error::new(error.kind(), format!("cannot count threads in {}: {error}", tasks.display())))?
        .len();
    if threads == 1 {
        Ok(())
    } else {
        Err(io::Error::other(format!("the process has {threads} threads; it can fork safely with 1 only")))
    }
}

/// Makes the kernel kill this process when the thread that forked it ends (`PR_SET_PDEATHSIG`).
///
/// # Errors
/// That of `prctl(2)`.
pub fn die_with_parent() -> io::Result<()> {
    Ok(process::set_parent_process_death_signal(Some(process::Signal::KILL))?)
}

/// Takes the ambient capabilities from this process (`PR_CAP_AMBIENT_CLEAR_ALL`), which programs keep that it executes
/// as another user.
///
/// # Errors
/// That of `prctl(2)`.
pub fn drop_ambient_capabilities() -> io::Result<()> {
    Ok(thread::clear_ambient_capability_set()?)
}

/// Makes every program that this process executes from now on start without capabilities, though its user is root here
/// (`SECBIT_NOROOT`, `SECBIT_NO_SETUID_FIXUP` left as it is); locked, so that nobody below can undo it.
///
/// # Errors
/// That of `prctl(2)`: without `CAP_SETPCAP`.
pub fn executed_programs_are_not_root() -> io::Result<()> {
    Ok(thread::set_capabilities_secure_bits(SecureBits::NO_ROOT | SecureBits::NO_ROOT_LOCKED)?)
}

/// Whether [`executed_programs_are_not_root`] holds for this process.
///
/// # Errors
/// That of `prctl(2)`.
pub fn are_executed_programs_not_root() -> io::Result<bool> {
    Ok(thread::capabilities_secure_bits()?.contains(SecureBits::NO_ROOT))
}

fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    match i32::try_from(fd) {
        // SAFETY: a fresh descriptor that nobody else owns.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A request about the interface `name` with the argument `data`.
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

/// Bytes of `file` that the page cache holds (`mincore(2)`), in whole pages.
///
/// # Errors
/// That of `mmap(2)` or `mincore(2)`.
pub fn resident_bytes(file: &File) -> io::Result<u64> {
    const PAGE: usize = 4096;
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    if length == 0 {
        return Ok(0);
    }
    let descriptor = file.as_raw_fd();
    // SAFETY: a new mapping at an address of the kernel's choice, which nothing else knows; its pages are never touched.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, descriptor, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let mut pages = vec![0_u8; length.div_ceil(PAGE)];
    // SAFETY: the mapping is `length` bytes long, and `pages` has a byte for each of its pages.
    let counted = unsafe { libc::mincore(start, length, pages.as_mut_ptr()) };
    let counted = if counted == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: the mapping made above, which nothing refers to.
    unsafe { libc::munmap(start, length) };
    counted?;
    Ok((pages.iter().filter(|page| **page & 1 == 1).count() * PAGE) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_threads_are_many_or_unknown_does_not_fork() {
        let tasks = tempfile::tempdir().unwrap();
        let error = require_one_thread(&tasks.path().join("missing")).unwrap_err();
        assert!(error.to_string().contains("cannot count threads"), "{error}");
        assert!(require_one_thread(tasks.path()).is_err());
        std::fs::create_dir(tasks.path().join("1")).unwrap();
        assert!(require_one_thread(tasks.path()).is_ok());
        std::fs::create_dir(tasks.path().join("2")).unwrap();
        assert!(require_one_thread(tasks.path()).is_err());
        // The test's own process has this thread and the harness's.
        assert!(fork().is_err());
    }
}
