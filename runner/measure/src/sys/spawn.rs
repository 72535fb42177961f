//! Starting a program without a copy of this process: the child runs in this one's memory, on a stack of its own, until it executes
//! the program (`CLONE_VM | CLONE_VFORK`, as `posix_spawn(3)` does, which knows no other user).
//!
//! A fork would copy the page tables of a process with thousands of VMs, and every thread of it would then fault on every page that it
//! writes, beside guests that are timed.
//!
//! A child that becomes another user makes the memory that it shares non-dumpable (`commit_creds` in the kernel's kernel/cred.c), and so this
//! process, for good: it leaves no core file (but as `fs.suid_dumpable` says), its files in /proc belong to root, and who
//! reads those of them that tell of its memory or traces it needs `CAP_SYS_PTRACE`. Nothing changes for what this process
//! reads of itself, and only root becomes another user. It is not set back (`PR_SET_DUMPABLE`): another thread's child may be another user in
//! this memory just then, and a VMM of the same user could trace it and read all of root's process.

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

/// Bytes of the child's stack: it calls a few functions, one below the other.
const STACK: usize = 64 << 10;

/// What this process was allowed before [`allow_descriptors`], and what its programs are.
static DESCRIPTORS: OnceLock<Rlimit> = OnceLock::new();

/// Allows this process as many descriptors as the kernel gives it: a trial has several for each VM. What is started by
/// [`Program::spawn`] is allowed what this process was before.
///
/// # Errors
/// That of `setrlimit(2)`.
pub fn allow_descriptors() -> io::Result<()> {
    let set = |limit: Option<u64>| setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit });
    let before = DESCRIPTORS.get_or_init(|| getrlimit(Resource::Nofile));
    // Root may have more than it was given.
    let most = std::fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|text| text.trim().parse::<u64>().ok());
    let more = most.filter(|most| before.maximum.is_some_and(|maximum| *most > maximum));
    if more.is_some_and(|more| set(Some(more)).is_ok()) { Ok(()) } else { Ok(set(before.maximum)?) }
}

/// A program with all that its process begins with; made before anything is timed.
#[derive(Debug)]
pub struct Program {
    path: CString,
    arguments: Vec<CString>,
    variables: Vec<CString>,
    /// User and group of the process, which then has no other group and no capability; `None` for those of this process.
    user: Option<u32>,
    /// It leads a process group of its own.
    leads: bool,
    stack: Vec<MaybeUninit<u8>>,
    /// What the child does first, with every signal blocked.
    #[cfg(test)]
    first: Option<fn()>,
}

/// What the child reads in its parent's memory, and where it leaves why it failed.
struct Plan {
    path: *const c_char,
    arguments: *const *const c_char,
    variables: *const *const c_char,
    input: RawFd,
    output: RawFd,
    user: Option<u32>,
    leads: bool,
    descriptors: Option<libc::rlimit>,
    error: AtomicI32,
    #[cfg(test)]
    first: Option<fn()>,
}

impl Program {
    /// The program at `path` with the words `argv`, its own name first, and the variables of [`environment::PASSED`].
    ///
    /// # Errors
    /// When a word holds a zero byte, or `path` is empty.
    pub fn new(path: &std::path::Path, argv: &[String], user: Option<u32>, leads: bool) -> io::Result<Self> {
        let variable = |(name, value): (&str, std::ffi::OsString)| {
            CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())
        };
        Ok(Self {
            // The child changes its working folder.
            path: CString::new(std::path::absolute(path)?.into_os_string().as_bytes())?,
            arguments: argv.iter().map(|word| CString::new(word.as_str())).collect::<Result<_, _>>()?,
            variables: environment::passed().map(variable).collect::<Result<_, _>>()?,
            user,
            leads,
            stack: Vec::with_capacity(STACK),
            #[cfg(test)]
            first: None,
        })
    }

    /// Starts it, its standard input `input`, its standard output and error `output`. It has no other descriptor of
    /// this process, its working folder is `/`, and its signals are as those of a program that a shell starts.
    ///
    /// # Returns
    /// Its PID, and a descriptor that becomes readable when it ends. The caller reaps it.
    ///
    /// # Errors
    /// That of the call that failed, here or in the child.
    pub fn spawn(&mut self, input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> io::Result<(u32, OwnedFd)> {
        let pointers = |words: &[CString]| -> Vec<*const c_char> {
            words.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect()
        };
        let (arguments, variables) = (pointers(&self.arguments), pointers(&self.variables));
        let plan = Plan {
            path: self.path.as_ptr(),
            arguments: arguments.as_ptr(),
            variables: variables.as_ptr(),
            input: input.as_raw_fd(),
            output: output.as_raw_fd(),
            user: self.user,
            leads: self.leads,
            descriptors: DESCRIPTORS.get().map(|limit| libc::rlimit {
                rlim_cur: limit.current.unwrap_or(libc::RLIM_INFINITY),
                rlim_max: limit.maximum.unwrap_or(libc::RLIM_INFINITY),
            }),
            error: AtomicI32::new(0),
            #[cfg(test)]
            first: self.first,
        };
        let mut pidfd: c_int = -1;
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
        let (mut all, mut before) = (MaybeUninit::<libc::sigset_t>::uninit(), MaybeUninit::<libc::sigset_t>::uninit());
        // SAFETY: the pointers are to live, writable objects. The child has a stack of its own, `STACK` bytes that nobody else uses, whose
        // end is aligned as the ABI asks. It runs `child` alone, which only reads what `plan` points to, calls the kernel and ends in
        // `execve` or `_exit`; all of it lives until then, because CLONE_VFORK stops this thread so long. No handler of this process runs
        // in the child: signals are blocked until the child has none.
        let (pid, error) = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            let end = self.stack.as_mut_ptr().add(STACK).cast::<c_void>();
            let top = end.wrapping_sub(end as usize % 16);
            let argument = (&raw const plan).cast_mut().cast::<c_void>();
            let pid = libc::clone(child, top, flags, argument, &raw mut pidfd);
            let error = io::Error::last_os_error();
            libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut());
            (pid, error)
        };
        let pid = u32::try_from(pid).map_err(|_| error)?;
        let pidfd = owned(pidfd.into())?;
        match plan.error.load(Ordering::Relaxed) {
            0 => Ok((pid, pidfd)),
            error => {
                reap(pid)?;
                Err(io::Error::from_raw_os_error(error))
            }
        }
    }
}

/// `struct sigaction` as the kernel has it (asm/signal.h).
#[repr(C)]
struct Action {
    handler: libc::sighandler_t,
    flags: c_ulong,
    restorer: usize,
    mask: u64,
}

/// Bytes of the kernel's set of signals, and the last signal in it.
const SIGNALS: (usize, c_int) = (8, 64);

/// In the child: gives every signal that this process handles its default action. What this process ignores the program ignores, but
/// for SIGPIPE, which the standard library ignores on its own account.
///
/// The child asks, as that of `posix_spawn(3)` does: its table is a copy of that moment, and a handler that another thread installed since
/// the program was prepared would run in this process's memory. The calls are bare, because the library hides the signals it uses itself.
///
/// # Safety
/// As [`become_it`].
unsafe fn forget_handlers() {
    let (bytes, last) = SIGNALS;
    for signal in 1..=last {
        let mut action = Action { handler: libc::SIG_DFL, flags: 0, restorer: 0, mask: 0 };
        let none = ptr::null::<Action>();
        // SAFETY: the pointers are to a live object of the kernel's layout, or null, which means no change.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, none, &raw mut action, bytes);
            let ignored = action.handler == libc::SIG_IGN && signal != libc::SIGPIPE;
            if action.handler != libc::SIG_DFL && !ignored {
                action = Action { handler: libc::SIG_DFL, flags: 0, restorer: 0, mask: 0 };
                libc::syscall(libc::SYS_rt_sigaction, signal, &raw const action, ptr::null_mut::<Action>(), bytes);
            }
        }
    }
}

/// The child: in its parent's memory, so that it may call nothing but the kernel.
extern "C" fn child(argument: *mut c_void) -> c_int {
    // SAFETY: the parent passes a plan and waits, so that it and all that it points to live.
    let plan = unsafe { &*argument.cast::<Plan>() };
    // SAFETY: system calls with integer arguments or pointers to what the plan holds. The calls for user and groups are bare: those of the
    // library would change all threads of the parent. `execve` returns only when it failed, and `_exit` never does.
    unsafe {
        if become_it(plan) == 0 {
            libc::execve(plan.path, plan.arguments, plan.variables);
        }
        plan.error.store(*libc::__errno_location(), Ordering::Relaxed);
        libc::_exit(127)
    }
}

/// Makes this process what the plan says; not zero when a call failed.
///
/// # Safety
/// The caller is a child that shares nothing but memory with its parent, and has every signal blocked.
unsafe fn become_it(plan: &Plan) -> c_int {
    // SAFETY: see the callers' duty; the pointers are to live objects or null where the calls allow it.
    unsafe {
        #[cfg(test)]
        if let Some(first) = plan.first {
            first();
        }
        if plan.leads && libc::setpgid(0, 0) != 0 {
            return -1;
        }
        let (input, output) = (above_standard(plan.input), above_standard(plan.output));
        for (from, to) in [(input, 0), (output, 1), (output, 2)] {
            if libc::dup2(from, to) < 0 {
                return -1;
            }
        }
        // What this process inherited, and what std opens, closes on `execve` already; a library may open a descriptor
        // that does not. A kernel without the call (before 5.11) is no error for that reason.
        libc::syscall(libc::SYS_close_range, FIRST_DESCRIPTOR, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
        // A working folder gives access below it to those who may not pass through the folders above it.
        if libc::chdir(c"/".as_ptr()) != 0 {
            return -1;
        }
        if let Some(limit) = &plan.descriptors
            && libc::setrlimit(libc::RLIMIT_NOFILE, limit) != 0
        {
            return -1;
        }
        if let Some(user) = plan.user {
            let none = ptr::null::<libc::gid_t>();
            if libc::syscall(libc::SYS_setgroups, 0, none) != 0
                || libc::syscall(libc::SYS_setgid, user) != 0
                || libc::syscall(libc::SYS_setuid, user) != 0
            {
                return -1;
            }
        }
        // An empty session keyring of its own: through one that VMMs share, users of different numbers would exchange
        // keys. The user's is left already (`leave_session_keyring`), so that a refusal (a filter of system calls, the
        // quota of an ordinary user) gives nothing of the user away.
        libc::syscall(libc::SYS_keyctl, super::JOIN_SESSION_KEYRING, ptr::null::<c_char>());
        // A handler is not to run here once signals are let through.
        forget_handlers();
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut())
    }
}

/// `descriptor`, or a copy of it above the standard ones: `dup2` to its own number would leave it closed on `execve`,
/// and to another standard number would close what is still to be copied from there. Negative when there is no copy.
///
/// # Safety
/// As [`become_it`].
unsafe fn above_standard(descriptor: RawFd) -> RawFd {
    if descriptor >= FIRST_DESCRIPTOR {
        return descriptor;
    }
    // SAFETY: a system call with integer arguments.
    unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, FIRST_DESCRIPTOR) }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::path::Path;

    use super::*;

    fn said(path: &str, words: &[&str]) -> io::Result<(String, Option<i32>)> {
        said_with(path, words, File::open("/dev/null")?.as_fd(), None)
    }

    fn said_with(
        path: &str,
        words: &[&str],
        input: BorrowedFd<'_>,
        first: Option<fn()>,
    ) -> io::Result<(String, Option<i32>)> {
        let argv: Vec<String> = [path].iter().chain(words).map(ToString::to_string).collect();
        let mut program = Program::new(Path::new(path), &argv, None, true)?;
        program.first = first;
        let (mut reader, writer) = io::pipe()?;
        let (pid, _) = program.spawn(input, writer.as_fd())?;
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text)?;
        Ok((text, reap(pid)?.code))
    }

    #[test]
    fn a_program_has_the_passed_variables_alone() {
        assert!(
            std::env::vars().any(|(name, _)| !environment::PASSED.contains(&name.as_str())),
            "nothing to leave out"
        );
        let (text, _) = said("/usr/bin/env", &[]).unwrap();
        let names: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        assert!(names.contains(&"PATH") && names.iter().all(|name| environment::PASSED.contains(name)), "{text}");
    }

    #[test]
    fn a_program_begins_in_the_root_folder_and_its_relative_path_is_this_process_s() {
        let pwd = std::env::current_dir().unwrap().ancestors().skip(1).map(|_| "../").collect::<String>() + "bin/pwd";
        assert_eq!(said(&pwd, &[]).unwrap().0, "/\n");
    }

    #[test]
    fn a_program_has_its_words_and_one_stream_for_all_that_it_says() {
        let (text, code) = said("/bin/sh", &["-c", "echo \"$0\" \"$PATH\"; echo error >&2; exit 7", "name"]).unwrap();
        assert_eq!((text, code), (format!("name {}\nerror\n", std::env::var("PATH").unwrap()), Some(7)));
    }

    #[test]
    fn a_program_has_the_signals_of_one_that_a_shell_starts() {
        let (text, _) = said("/bin/cat", &["/proc/self/status"]).unwrap();
        let word = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
        assert_eq!((word("SigBlk:"), word("SigCgt:")), ("0000000000000000", "0000000000000000"));
        let pipe = 1 << (libc::SIGPIPE - 1);
        assert_eq!(u64::from_str_radix(word("SigIgn:"), 16).unwrap() & pipe, 0);
    }

    #[test]
    fn a_program_is_allowed_the_descriptors_that_this_process_was() {
        let limit = || {
            let text = std::fs::read_to_string("/proc/self/limits").unwrap();
            text.lines().find(|line| line.starts_with("Max open files")).map(str::to_owned)
        };
        let before = limit();
        allow_descriptors().unwrap();
        let (text, _) = said("/bin/cat", &["/proc/self/limits"]).unwrap();
        assert!(before.is_some_and(|line| text.contains(&line)), "{text}");
    }

    #[test]
    fn why_a_program_cannot_be_started_comes_back_and_its_process_is_gone() {
        assert_eq!(said("/nowhere", &[]).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(said("/", &[]).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn no_descriptor_of_this_process_is_left_to_a_program() {
        let open = tempfile::NamedTempFile::new().unwrap();
        // As a library does that opens it without O_CLOEXEC.
        nix::fcntl::fcntl(open.as_file(), nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
        let (text, _) = said("/bin/sh", &["-c", "readlink /proc/self/fd/*"]).unwrap();
        assert!(text.contains("/dev/null") && !text.contains(open.path().to_str().unwrap()), "{text}");
    }
    #[test]
    fn a_handler_that_was_installed_after_the_program_was_prepared_does_not_run_in_this_process_s_memory() {
        static RAN: AtomicI32 = AtomicI32::new(0);
        extern "C" fn handler(signal: c_int) {
            RAN.store(signal, Ordering::SeqCst);
        }
        /// In the child: the signal waits until signals are let through. Its default action is none.
        fn signal_itself() {
            // SAFETY: plain system calls with integer arguments; the library's `getpid` asks the kernel.
            unsafe { libc::kill(libc::getpid(), libc::SIGURG) };
        }
        let mut program = Program::new(Path::new("/bin/true"), &["true".to_owned()], None, true).unwrap();
        program.first = Some(signal_itself);
        let action = nix::sys::signal::SigAction::new(
            nix::sys::signal::SigHandler::Handler(handler),
            nix::sys::signal::SaFlags::empty(),
            nix::sys::signal::SigSet::empty(),
        );
        // SAFETY: the handler stores a number, which is safe at any time; no test has a handler of its own for this signal.
        unsafe { nix::sys::signal::sigaction(nix::sys::signal::Signal::SIGURG, &action) }.unwrap();
        let null = File::options().read(true).write(true).open("/dev/null").unwrap();
        let (pid, _) = program.spawn(null.as_fd(), null.as_fd()).unwrap();
        assert_eq!((reap(pid).unwrap().code, RAN.load(Ordering::SeqCst)), (Some(0), 0));
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGURG).unwrap();
        assert_eq!(RAN.load(Ordering::SeqCst), libc::SIGURG, "the handler is not installed");
    }

    #[test]
    fn a_descriptor_that_is_given_at_its_own_number_is_open_in_the_program() {
        /// In the child: as a descriptor that std opened.
        fn close_input_on_execution() {
            // SAFETY: a plain system call with integer arguments; the child has a table of descriptors of its own.
            unsafe { libc::fcntl(0, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
        let words = ["-e", "/proc/self/fd/0"];
        let input = io::stdin();
        let (_, code) = said_with("/usr/bin/test", &words, input.as_fd(), Some(close_input_on_execution)).unwrap();
        assert_eq!(code, Some(0));
    }

    #[test]
    fn a_program_of_another_user_leaves_this_process_as_the_kernel_says_of_core_files() {
        if !nix::unistd::getuid().is_root() {
            println!("skipped: only root starts programs as other users");
            return;
        }
        let words = ["true".to_owned()];
        let mut program = Program::new(Path::new("/bin/true"), &words, Some(65_533), true).unwrap();
        let null = File::options().read(true).write(true).open("/dev/null").unwrap();
        let (pid, _) = program.spawn(null.as_fd(), null.as_fd()).unwrap();
        assert_eq!(reap(pid).unwrap().code, Some(0));
        let allowed = std::fs::read_to_string("/proc/sys/fs/suid_dumpable").unwrap();
        assert_eq!(nix::sys::prctl::get_dumpable().unwrap(), allowed.trim() != "0");
    }
}
