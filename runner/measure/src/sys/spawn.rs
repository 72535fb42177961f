//! Starts programs without copying this process.
//!
//! The child shares this process's memory, on its own stack, until it executes the program (`CLONE_VM | CLONE_VFORK`).
//! `posix_spawn(3)` does the same but cannot change the user. `fork(2)` would copy the page tables of a process with
//! thousands of VMs. Every thread would then fault on every page it writes, while guests are being timed.
//!
//! # Dumpable flag
//!
//! A child that changes its user makes the shared memory non-dumpable (`commit_creds` in the kernel's kernel/cred.c).
//! The flag is a property of the memory, so this process stays non-dumpable:
//! - it leaves no core file, unless `fs.suid_dumpable` allows it;
//! - its files in /proc belong to root;
//! - tracing it, or reading files of /proc about its memory, requires `CAP_SYS_PTRACE`.
//!
//! What this process reads about itself does not change, and only root changes the user of a child. The flag must not
//! be restored (`PR_SET_DUMPABLE`): at that moment another thread's child may run in this memory as a VMM's user. A VMM
//! of that user could trace the child and read the memory of a root process.

use std::ffi::{CString, c_char, c_int, c_ulong, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{FIRST_DESCRIPTOR, owned, reap};
use crate::sys::environment;

/// Size of the child's stack in bytes: the child calls a few functions, without recursion.
const STACK: usize = 64 << 10;

/// `RLIMIT_NOFILE` before [`raise_descriptor_limit`], which programs get.
static ORIGINAL_LIMIT: OnceLock<Rlimit> = OnceLock::new();

/// Raises the limit of open descriptors to the kernel's maximum, because a trial uses several for each VM. Programs
/// started by [`Program::spawn`] get the original limit.
///
/// # Errors
/// The error of `setrlimit(2)`.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let set = |limit: Option<u64>| setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit });
    let before = ORIGINAL_LIMIT.get_or_init(|| getrlimit(Resource::Nofile));
    // Root may exceed the hard limit.
    let most = std::fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|text| text.trim().parse::<u64>().ok());
    let more = most.filter(|most| before.maximum.is_some_and(|maximum| *most > maximum));
    if more.is_some_and(|more| set(Some(more)).is_ok()) { Ok(()) } else { Ok(set(before.maximum)?) }
}

/// Type of the first argument of `setrlimit(2)`.
type Limited = libc::__rlimit_resource_t;

/// Limits of a process (`setrlimit(2)`); `None` for those of this process. A process never leaves a core file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Largest size of a file that the process writes or truncates, bytes. A file in memory counts, too.
    pub file_bytes: Option<u64>,
    /// Most processes and threads of the process's user.
    pub processes: Option<u64>,
}

/// Most descriptors of [`Descriptors::inherited`].
pub const MOST_INHERITED: usize = 4;

/// Descriptors that the start of a program uses.
#[derive(Clone, Copy, Debug)]
pub struct Descriptors<'a> {
    /// Standard input.
    pub input: BorrowedFd<'a>,
    /// Standard output and error.
    pub output: BorrowedFd<'a>,
    /// Namespaces that the process enters before anything else (`setns(2)`).
    pub namespaces: &'a [BorrowedFd<'a>],
    /// Descriptors 3, 4 ... of the program, [`MOST_INHERITED`] at most.
    pub inherited: &'a [BorrowedFd<'a>],
}

/// A program to start, with its arguments, environment and user.
///
/// [`Program::new`] allocates everything, so that [`Program::spawn`] allocates little in the timed window.
///
/// ```no_run
/// use std::fs::File;
/// use std::os::fd::AsFd;
/// use std::path::Path;
///
/// use microbench_measure::sys::{reap, spawn::Program};
///
/// # fn main() -> std::io::Result<()> {
/// let argv = ["sleep".to_owned(), "1".to_owned()];
/// let mut program = Program::new(Path::new("/bin/sleep"), &argv, None)?;
/// let null = File::options().read(true).write(true).open("/dev/null")?;
/// let (pid, _pidfd) = program.spawn(null.as_fd(), null.as_fd())?;
/// assert_eq!(reap(pid)?.code, Some(0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Program {
    path: CString,
    arguments: Vec<CString>,
    variables: Vec<CString>,
    /// User and group ID of the process, which has no supplementary groups and, unless it is root, no capabilities.
    /// `None`: those of this process.
    user: Option<u32>,
    limits: Limits,
    stack: Vec<MaybeUninit<u8>>,
    /// Runs in the child before anything else, with all signals blocked.
    #[cfg(test)]
    test_hook: Option<fn()>,
}

/// Input of the child, which reads it in its parent's memory, and the place for its error.
struct ChildSetup<'a> {
    path: *const c_char,
    arguments: *const *const c_char,
    variables: *const *const c_char,
    input: RawFd,
    output: RawFd,
    user: Option<u32>,
    /// Namespaces to enter, by descriptor.
    namespaces: &'a [RawFd],
    /// Descriptors that become those from [`FIRST_DESCRIPTOR`] on; at most [`MOST_INHERITED`].
    inherited: &'a [RawFd],
    limits: &'a [(Limited, libc::rlimit)],
    /// `errno` of the call that failed; 0 if none did.
    error: AtomicI32,
    #[cfg(test)]
    test_hook: Option<fn()>,
}

impl Program {
    /// The program at `path` with the argument vector `argv` (its name first) and the variables of
    /// [`environment::PASSED_VARIABLES`].
    ///
    /// `user` is the user and group ID of its process, `None` for those of this process.
    ///
    /// # Errors
    /// If an argument or a variable contains a NUL byte, or `path` is empty.
    pub fn new(path: &std::path::Path, argv: &[String], user: Option<u32>) -> io::Result<Self> {
        let variable = |(name, value): (&str, std::ffi::OsString)| {
            CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())
        };
        Ok(Self {
            // Absolute, because the child changes its working directory.
            path: CString::new(std::path::absolute(path)?.into_os_string().as_bytes())?,
            arguments: argv.iter().map(|word| CString::new(word.as_str())).collect::<Result<_, _>>()?,
            variables: environment::passed_variables().map(variable).collect::<Result<_, _>>()?,
            user,
            limits: Limits::default(),
            stack: Vec::with_capacity(STACK),
            #[cfg(test)]
            test_hook: None,
        })
    }

    /// Sets the limits of the process, at most the hard limits of this process, which only root of the host may exceed.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        let at_most_hard =
            |limit: Option<u64>, resource| limit.map(|limit| limit.min(getrlimit(resource).maximum.unwrap_or(limit)));
        let limits = Limits {
            file_bytes: at_most_hard(limits.file_bytes, Resource::Fsize),
            processes: at_most_hard(limits.processes, Resource::Nproc),
        };
        Self { limits, ..self }
    }

    /// Starts the program with standard input `input`, and standard output and error `output`. It inherits no other
    /// descriptor.
    ///
    /// # Errors
    /// See [`Self::spawn_with`].
    pub fn spawn(&mut self, input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> io::Result<(u32, OwnedFd)> {
        self.spawn_with(Descriptors { input, output, namespaces: &[], inherited: &[] })
    }

    /// Starts the program with these descriptors.
    ///
    /// It inherits no other descriptor. Its working directory is `/`. It blocks no signal, and ignores only the signals
    /// that this process ignores, except SIGPIPE.
    ///
    /// # Returns
    /// The PID, and a pidfd that becomes readable when the process ends. The caller reaps the process.
    ///
    /// # Errors
    /// That of the system call that failed, in this process or in the child. `InvalidInput` if too many descriptors are
    /// inherited.
    pub fn spawn_with(&mut self, descriptors: Descriptors<'_>) -> io::Result<(u32, OwnedFd)> {
        let Descriptors { input, output, namespaces, inherited } = descriptors;
        if inherited.len() > MOST_INHERITED {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let raw =
            |descriptors: &[BorrowedFd<'_>]| -> Vec<RawFd> { descriptors.iter().map(AsRawFd::as_raw_fd).collect() };
        let (namespaces, inherited, limits) = (raw(namespaces), raw(inherited), self.limits());
        let pointers = |strings: &[CString]| -> Vec<*const c_char> {
            strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
        };
        let (arguments, variables) = (pointers(&self.arguments), pointers(&self.variables));
        let setup = ChildSetup {
            path: self.path.as_ptr(),
            arguments: arguments.as_ptr(),
            variables: variables.as_ptr(),
            input: input.as_raw_fd(),
            output: output.as_raw_fd(),
            user: self.user,
            namespaces: &namespaces,
            inherited: &inherited,
            limits: &limits,
            error: AtomicI32::new(0),
            #[cfg(test)]
            test_hook: self.test_hook,
        };
        let mut pidfd: c_int = -1;
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
        let (mut all, mut before) = (MaybeUninit::<libc::sigset_t>::uninit(), MaybeUninit::<libc::sigset_t>::uninit());
        // SAFETY:
        // - `all`, `before` and `pidfd` are live and writable.
        // - The child's stack is the spare capacity of `self.stack`: `STACK` bytes that nothing else uses, because
        //   `&mut self` is exclusive. Its top is aligned to 16 bytes, as the x86-64 ABI requires.
        // - The child runs only `child`. It reads `setup` and what `setup` points to, makes system calls, and ends in
        //   `execve` or `_exit`. CLONE_VFORK stops this thread until then, so that all of these objects stay alive.
        // - No signal handler of this process runs in the child: all signals are blocked until the child has reset the
        //   handlers.
        let (pid, error) = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            let end = self.stack.as_mut_ptr().add(STACK).cast::<c_void>();
            let top = end.wrapping_sub(end as usize % 16);
            let argument = (&raw const setup).cast_mut().cast::<c_void>();
            let pid = libc::clone(child, top, flags, argument, &raw mut pidfd);
            let error = io::Error::last_os_error();
            libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut());
            (pid, error)
        };
        let pid = u32::try_from(pid).map_err(|_| error)?;
        let pidfd = owned(pidfd.into())?;
        match setup.error.load(Ordering::Relaxed) {
            0 => Ok((pid, pidfd)),
            error => {
                reap(pid)?;
                Err(io::Error::from_raw_os_error(error))
            }
        }
    }
}

impl Program {
    /// The limits of the process, by resource.
    fn limits(&self) -> Vec<(Limited, libc::rlimit)> {
        let both = |limit: u64| libc::rlimit { rlim_cur: limit, rlim_max: limit };
        let descriptors = ORIGINAL_LIMIT.get().map(|limit| libc::rlimit {
            rlim_cur: limit.current.unwrap_or(libc::RLIM_INFINITY),
            rlim_max: limit.maximum.unwrap_or(libc::RLIM_INFINITY),
        });
        let limits = [
            (libc::RLIMIT_CORE, Some(both(0))),
            (libc::RLIMIT_NOFILE, descriptors),
            (libc::RLIMIT_FSIZE, self.limits.file_bytes.map(both)),
            (libc::RLIMIT_NPROC, self.limits.processes.map(both)),
        ];
        limits.into_iter().filter_map(|(resource, limit)| Some((resource, limit?))).collect()
    }
}

/// `struct sigaction` of the kernel (asm/signal.h), which differs from that of the C library.
#[repr(C)]
pub(super) struct Action {
    handler: libc::sighandler_t,
    flags: c_ulong,
    restorer: usize,
    mask: u64,
}

impl Action {
    /// The action `handler`, without flags.
    pub(super) const fn new(handler: libc::sighandler_t) -> Self {
        Self { handler, flags: 0, restorer: 0, mask: 0 }
    }
}

/// Size in bytes of the kernel's signal set, and the number of its last signal.
pub(super) const SIGNALS: (usize, c_int) = (8, 64);

/// In the child: resets all handled signals to their default action. Ignored signals stay ignored, except SIGPIPE,
/// which the Rust standard library ignores.
///
/// The child queries its own handlers, as that of `posix_spawn(3)` does. A list made earlier would miss a handler that
/// another thread has installed since, and that handler would run in this process's memory. The system calls are direct
/// because the C library hides the signals that it uses itself.
///
/// # Safety
/// See [`set_up_child`].
unsafe fn reset_signal_handlers() {
    let (bytes, last) = SIGNALS;
    for signal in 1..=last {
        let mut action = Action::new(libc::SIG_DFL);
        let none = ptr::null::<Action>();
        // SAFETY: `action` is live and writable, has the layout of the kernel's `struct sigaction`, and `bytes` is the
        // size of the kernel's signal set. The other pointer is null, which the call accepts.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, none, &raw mut action, bytes);
            let ignored = action.handler == libc::SIG_IGN && signal != libc::SIGPIPE;
            if action.handler != libc::SIG_DFL && !ignored {
                action = Action::new(libc::SIG_DFL);
                libc::syscall(libc::SYS_rt_sigaction, signal, &raw const action, ptr::null_mut::<Action>(), bytes);
            }
        }
    }
}

/// Entry point of the child. It runs in its parent's memory, so that it may make system calls only: no allocation, no
/// lock, no panic.
extern "C" fn child(argument: *mut c_void) -> c_int {
    // SAFETY: `Program::spawn` passes a pointer to a `ChildSetup`, and its thread is stopped until the child has
    // executed the program or exited. The object is therefore alive and not mutated.
    let setup = unsafe { &*argument.cast::<ChildSetup<'_>>() };
    // SAFETY: this is the child of `Program::spawn` with all signals blocked, as `set_up_child` requires. `path` is a
    // NUL-terminated string; `arguments` and `variables` are null-terminated arrays of such strings; `setup` keeps all
    // of them alive. `execve` returns only on failure, and `_exit` does not return.
    unsafe {
        if set_up_child(setup) == 0 {
            libc::execve(setup.path, setup.arguments, setup.variables);
        }
        setup.error.store(*libc::__errno_location(), Ordering::Relaxed);
        libc::_exit(127)
    }
}

/// In the child: enters namespaces, and sets up descriptors, working directory, limits, user, keyring and signals. Returns 0,
/// or -1 with `errno` set if a call failed.
///
/// # Safety
/// The caller must be a child made with `CLONE_VM`, with all signals blocked. It must share only its memory with the
/// parent, and have its own descriptor table and signal table.
unsafe fn set_up_child(setup: &ChildSetup<'_>) -> c_int {
    // SAFETY: the caller is such a child, so that descriptors, groups, user, limits and signals are changed in the
    // child only. All pointers are to live objects, or null where the call accepts null.
    unsafe {
        #[cfg(test)]
        if let Some(hook) = setup.test_hook {
            hook();
        }
        for namespace in setup.namespaces {
            if libc::setns(*namespace, 0) != 0 {
                return -1;
            }
        }
        let mut inherited = [-1; MOST_INHERITED];
        for (place, descriptor) in inherited.iter_mut().zip(setup.inherited) {
            *place = libc::fcntl(*descriptor, libc::F_DUPFD_CLOEXEC, FIRST_DESCRIPTOR + MOST_INHERITED as c_int);
            if *place < 0 {
                return -1;
            }
        }
        let (input, output) = (duplicate_above_standard(setup.input), duplicate_above_standard(setup.output));
        for (from, to) in [(input, 0), (output, 1), (output, 2)] {
            if libc::dup2(from, to) < 0 {
                return -1;
            }
        }
        // Inherited descriptors and those of std are close-on-exec already; a library may open one that is not. A
        // kernel without the call (before 5.11) is therefore not an error.
        libc::syscall(libc::SYS_close_range, FIRST_DESCRIPTOR, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
        for (to, from) in (FIRST_DESCRIPTOR..).zip(inherited).take(setup.inherited.len()) {
            if libc::dup2(from, to) < 0 {
                return -1;
            }
        }
        // A process can access its working directory even if it may not enter the folders above.
        if libc::chdir(c"/".as_ptr()) != 0 {
            return -1;
        }
        for (resource, limit) in setup.limits {
            if libc::setrlimit(*resource, limit) != 0 {
                return -1;
            }
        }
        if let Some(user) = setup.user {
            // Direct system calls: the C library's functions would change the user of all threads of the parent.
            let none = ptr::null::<libc::gid_t>();
            if libc::syscall(libc::SYS_setgroups, 0, none) != 0
                || libc::syscall(libc::SYS_setgid, user) != 0
                || libc::syscall(libc::SYS_setuid, user) != 0
            {
                return -1;
            }
        }
        // The sandbox has set this already, and a process outside of a sandbox has not.
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return -1;
        }
        // A new session keyring for each program: VMMs with different users could exchange keys through a shared one.
        // This process has left the user's keyring already (`join_empty_session_keyring`), so that a failure (a seccomp
        // filter, an ordinary user's quota) exposes none of the user's keys.
        libc::syscall(libc::SYS_keyctl, super::JOIN_SESSION_KEYRING, ptr::null::<c_char>());
        // Before the signals are unblocked: a handler must not run in this memory.
        reset_signal_handlers();
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut())
    }
}

/// `descriptor` itself if it is not a standard descriptor, else a duplicate above those; negative on failure.
///
/// `dup2` of a standard descriptor to itself would leave it close-on-exec. `dup2` to another standard number could
/// close a descriptor that must still be duplicated.
///
/// # Safety
/// See [`set_up_child`].
unsafe fn duplicate_above_standard(descriptor: RawFd) -> RawFd {
    if descriptor >= FIRST_DESCRIPTOR {
        return descriptor;
    }
    // SAFETY: the arguments are integers; the new descriptor belongs to the child's own table.
    unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, FIRST_DESCRIPTOR) }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::path::Path;

    use super::*;

    fn run(path: &str, arguments: &[&str]) -> io::Result<(String, Option<i32>)> {
        run_with(path, arguments, File::open("/dev/null")?.as_fd(), None)
    }

    fn run_with(
        path: &str,
        arguments: &[&str],
        input: BorrowedFd<'_>,
        test_hook: Option<fn()>,
    ) -> io::Result<(String, Option<i32>)> {
        let argv: Vec<String> = [path].iter().chain(arguments).map(ToString::to_string).collect();
        let mut program = Program::new(Path::new(path), &argv, None)?;
        program.test_hook = test_hook;
        let (mut reader, writer) = io::pipe()?;
        let (pid, _) = program.spawn(input, writer.as_fd())?;
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text)?;
        Ok((text, reap(pid)?.code))
    }

    #[test]
    fn program_gets_only_the_passed_variables() {
        assert!(
            std::env::vars().any(|(name, _)| !environment::PASSED_VARIABLES.contains(&name.as_str())),
            "the test has no variable that is not passed"
        );
        let (text, _) = run("/usr/bin/env", &[]).unwrap();
        let names: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        assert!(
            names.contains(&"PATH") && names.iter().all(|name| environment::PASSED_VARIABLES.contains(name)),
            "{text}"
        );
    }

    #[test]
    fn program_starts_in_the_root_folder_and_a_relative_path_is_resolved_before() {
        let pwd = std::env::current_dir().unwrap().ancestors().skip(1).map(|_| "../").collect::<String>() + "bin/pwd";
        assert_eq!(run(&pwd, &[]).unwrap().0, "/\n");
    }

    #[test]
    fn program_gets_its_arguments_and_one_stream_for_output_and_errors() {
        let (text, code) = run("/bin/sh", &["-c", "echo \"$0\" \"$PATH\"; echo error >&2; exit 7", "name"]).unwrap();
        assert_eq!((text, code), (format!("name {}\nerror\n", std::env::var("PATH").unwrap()), Some(7)));
    }

    #[test]
    fn program_blocks_and_handles_no_signal_and_does_not_ignore_sigpipe() {
        let (text, _) = run("/bin/cat", &["/proc/self/status"]).unwrap();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
        assert_eq!((field("SigBlk:"), field("SigCgt:")), ("0000000000000000", "0000000000000000"));
        let pipe = 1 << (libc::SIGPIPE - 1);
        assert_eq!(u64::from_str_radix(field("SigIgn:"), 16).unwrap() & pipe, 0);
    }

    #[test]
    fn program_gets_the_descriptor_limit_from_before_it_was_raised() {
        let limit = || {
            let text = std::fs::read_to_string("/proc/self/limits").unwrap();
            text.lines().find(|line| line.starts_with("Max open files")).map(str::to_owned)
        };
        let before = limit();
        raise_descriptor_limit().unwrap();
        let (text, _) = run("/bin/cat", &["/proc/self/limits"]).unwrap();
        assert!(before.is_some_and(|line| text.contains(&line)), "{text}");
    }

    #[test]
    fn spawn_returns_the_error_of_the_child_and_reaps_it() {
        assert_eq!(run("/nowhere", &[]).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(run("/", &[]).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn program_inherits_no_descriptor() {
        let open = tempfile::NamedTempFile::new().unwrap();
        // As if a library had opened the file without O_CLOEXEC.
        nix::fcntl::fcntl(open.as_file(), nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
        let (text, _) = run("/bin/sh", &["-c", "readlink /proc/self/fd/*"]).unwrap();
        assert!(text.contains("/dev/null") && !text.contains(open.path().to_str().unwrap()), "{text}");
    }

    #[test]
    fn handler_installed_after_new_does_not_run_in_the_child() {
        static RAN: AtomicI32 = AtomicI32::new(0);
        extern "C" fn handler(signal: c_int) {
            RAN.store(signal, Ordering::SeqCst);
        }
        /// In the child: sends a signal that stays pending until signals are unblocked. Its default action is to ignore
        /// it.
        fn signal_itself() {
            // SAFETY: the arguments are integers; glibc's `getpid` makes a system call, so that it returns the child's
            // PID.
            unsafe { libc::kill(libc::getpid(), libc::SIGURG) };
        }
        let mut program = Program::new(Path::new("/bin/true"), &["true".to_owned()], None).unwrap();
        program.test_hook = Some(signal_itself);
        let action = nix::sys::signal::SigAction::new(
            nix::sys::signal::SigHandler::Handler(handler),
            nix::sys::signal::SaFlags::empty(),
            nix::sys::signal::SigSet::empty(),
        );
        // SAFETY: the handler stores to an atomic, which is async-signal-safe. No other test handles this signal.
        unsafe { nix::sys::signal::sigaction(nix::sys::signal::Signal::SIGURG, &action) }.unwrap();
        let null = File::options().read(true).write(true).open("/dev/null").unwrap();
        let (pid, _) = program.spawn(null.as_fd(), null.as_fd()).unwrap();
        assert_eq!((reap(pid).unwrap().code, RAN.load(Ordering::SeqCst)), (Some(0), 0));
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGURG).unwrap();
        assert_eq!(RAN.load(Ordering::SeqCst), libc::SIGURG, "the handler is not installed in this process");
    }

    #[test]
    fn standard_input_passed_as_input_is_open_in_the_program() {
        /// In the child: makes standard input close-on-exec, as the descriptors that std opens are.
        fn close_input_on_execution() {
            // SAFETY: the arguments are integers; the child has its own descriptor table.
            unsafe { libc::fcntl(0, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
        let arguments = ["-e", "/proc/self/fd/0"];
        let input = io::stdin();
        let (_, code) = run_with("/usr/bin/test", &arguments, input.as_fd(), Some(close_input_on_execution)).unwrap();
        assert_eq!(code, Some(0));
    }

    #[test]
    fn program_of_another_user_leaves_this_process_non_dumpable_unless_suid_dumpable_is_set() {
        if !nix::unistd::getuid().is_root() {
            println!("skipped: only root starts programs as other users");
            return;
        }
        let argv = ["true".to_owned()];
        let mut program = Program::new(Path::new("/bin/true"), &argv, Some(65_533)).unwrap();
        let null = File::options().read(true).write(true).open("/dev/null").unwrap();
        let (pid, _) = program.spawn(null.as_fd(), null.as_fd()).unwrap();
        assert_eq!(reap(pid).unwrap().code, Some(0));
        let allowed = std::fs::read_to_string("/proc/sys/fs/suid_dumpable").unwrap();
        assert_eq!(nix::sys::prctl::get_dumpable().unwrap(), allowed.trim() != "0");
    }
}
