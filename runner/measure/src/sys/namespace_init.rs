//! The init of a PID namespace. When it ends, the kernel ends every process of the namespace.
//!
//! The process shares this process's memory (`CLONE_VM`) and executes nothing, so that it needs a kernel stack and one
//! page of its own, and no page table. It has no descriptor except the write end of a pipe that is closed.

use std::ffi::{c_int, c_void};
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::spawn::{Action, SIGNALS};
use super::{pidfd_open, reap};

/// Size of the process's stack in bytes: it makes a few system calls.
const STACK: usize = 16 << 10;
/// Time within which the kernel ends the processes of a namespace. Only a process in an uninterruptible wait takes
/// longer.
const END_LIMIT: Duration = Duration::from_secs(10);

/// The init of a PID namespace; it and all other processes of the namespace are killed on drop.
#[derive(Debug)]
pub struct NamespaceInit {
    /// Not reused by another process before it is reaped.
    pid: u32,
    /// Used by the process until it has ended.
    stack: Vec<MaybeUninit<u8>>,
    ended: bool,
}

impl NamespaceInit {
    /// Starts the init of the calling thread's PID namespace for children (`unshare(2)` with `CLONE_NEWPID`),
    /// and mounts the namespace's file system of processes on /proc in the calling thread's mount namespace.
    ///
    /// # Errors
    /// That of the system call that failed, in this process or in the new one.
    pub fn start() -> io::Result<Self> {
        let (mut reader, writer) = io::pipe()?;
        let mut stack: Vec<MaybeUninit<u8>> = Vec::with_capacity(STACK);
        let (mut all, mut before) = (MaybeUninit::<libc::sigset_t>::uninit(), MaybeUninit::<libc::sigset_t>::uninit());
        let flags = libc::CLONE_VM | libc::SIGCHLD;
        // SAFETY:
        // - `all` and `before` are live and writable.
        // - The child's stack is the spare capacity of `stack`, whose top is aligned to 16 bytes. Nothing else uses it,
        //   and it is freed only after the process has ended (`Drop`).
        // - The argument is the number of a descriptor and is not dereferenced.
        // - The child runs only `run_init`. It makes system calls and does not return. It has its own descriptor,
        //   signal and file system tables. All signals are blocked in it, so that no handler of this process runs there.
        let (pid, error) = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            let end = stack.as_mut_ptr().add(STACK).cast::<c_void>();
            let top = end.wrapping_sub(end as usize % 16);
            let argument = ptr::without_provenance_mut::<c_void>(writer.as_raw_fd().unsigned_abs() as usize);
            let pid = libc::clone(run_init, top, flags, argument);
            let error = io::Error::last_os_error();
            libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut());
            (pid, error)
        };
        let pid = u32::try_from(pid).map_err(|_| error)?;
        // The process has its own descriptor table: without this end, its exit ends the read below.
        drop(writer);
        let init = Self { pid, stack, ended: false };
        // Until the process has written its result, this thread only waits: the two share `errno`.
        let mut result = [0; 4];
        reader.read_exact(&mut result)?;
        match i32::from_ne_bytes(result) {
            0 => Ok(init),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// Kills all processes of the namespace, and does not wait for their end.
    pub fn kill(&self) {
        if !self.ended {
            let _ = kill(Pid::from_raw(self.pid.cast_signed()), Signal::SIGKILL);
        }
    }

    /// Kills all processes of the namespace and waits until they have ended. The caller has reaped its own children in
    /// the namespace. Does nothing when called again.
    ///
    /// # Errors
    /// If a process has not ended after ten seconds.
    pub fn end(&mut self) -> io::Result<()> {
        if self.ended {
            return Ok(());
        }
        self.kill();
        // Not kept open, because a trial may have thousands of VMs.
        let pidfd = pidfd_open(self.pid)?;
        let mut exited = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(END_LIMIT).unwrap_or(PollTimeout::MAX);
        if poll(&mut exited, limit)? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        reap(self.pid)?;
        self.ended = true;
        Ok(())
    }
}

impl Drop for NamespaceInit {
    fn drop(&mut self) {
        if self.end().is_err() {
            // The process may still use its stack.
            std::mem::forget(std::mem::take(&mut self.stack));
        }
    }
}

/// The code of the process; `argument` is the descriptor of the pipe for its result.
///
/// It runs in its parent's memory, beside its parent's threads, and shares the thread-local variables of the thread
/// that started it. So it makes direct system calls only, and none that can fail once the result is written.
extern "C" fn run_init(argument: *mut c_void) -> c_int {
    let pipe = argument.addr();
    let ignored = Action::new(libc::SIG_IGN);
    // SAFETY: this is the child of `NamespaceInit::start`. The pointers are to live objects and to constants, or null
    // where the call accepts null. Descriptors, signal actions and mounts are those of this process.
    unsafe {
        // Orphans of the namespace become children of this process, and the kernel reaps them.
        let set = libc::syscall(
            libc::SYS_rt_sigaction,
            libc::SIGCHLD,
            &raw const ignored,
            ptr::null_mut::<c_void>(),
            SIGNALS.0,
        );
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        if libc::syscall(libc::SYS_dup2, pipe, 0) != 0 {
            libc::syscall(libc::SYS_exit_group, 1);
        }
        let failed = set != 0
            || libc::syscall(libc::SYS_close_range, 1, libc::c_uint::MAX, 0) != 0
            || libc::syscall(
                libc::SYS_mount,
                c"proc".as_ptr(),
                c"/proc".as_ptr(),
                c"proc".as_ptr(),
                flags,
                ptr::null::<c_void>(),
            ) != 0;
        let error = if failed { *libc::__errno_location() } else { 0 };
        if libc::syscall(libc::SYS_write, 0, &raw const error, size_of::<c_int>()) < 0 || failed {
            libc::syscall(libc::SYS_exit_group, 1);
        }
        loop {
            libc::syscall(libc::SYS_pause);
        }
    }
}
