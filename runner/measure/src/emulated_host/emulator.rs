//! Boots the emulated host in its emulator, QEMU, and receives the messages of its init.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use microbench_formats::code::Code;
use microbench_study::engine::host_cpu::{self, HostCpu, NAMES};
use tracing::debug;

use super::wire::{self, Job, Message, PORT_NAME};
use crate::artifacts::program;
use crate::artifacts::tool::Tool;
use crate::emulated_host::init::INIT_ARGUMENT;
use crate::guest::console::{Console, ConsoleReader};
use crate::probe;
use crate::sandbox::isolation::{self, Isolation};
use crate::sandbox::vm_namespaces::{VmNamespaces, VmRoot};
use crate::sys::clock;
use crate::vm::folder::VmFolder;
use crate::vm::process::{VmmCommand, VmmProcess, describe_exit};
use crate::vm::shared;

/// Real time within which the init must start.
const BOOT_LIMIT: Duration = Duration::from_secs(300);

/// Time in which an emulator that has closed its port exits.
const EXIT_GRACE: Duration = Duration::from_millis(500);
/// Descriptors of the emulator, in the order in which it inherits them from 3 on. Opening a file by such a path checks
/// the permissions of the file, and not those of the folders above it.
const KERNEL: &str = "/proc/self/fd/3";
const INITRAMFS: &str = "/proc/self/fd/4";
const PORT_BACKEND: &str = "socket,id=port,fd=5";
/// The console is the emulator's standard output, which [`ConsoleReader`] bounds.
const CONSOLE_BACKEND: &str = "stdio,id=log,signal=off";
/// Largest size of a file that the emulator writes, bytes. It needs none.
const FILE_LIMIT: u64 = 64 << 20;
/// QEMU's filter of system calls, with everything refused that can be.
const SECCOMP_FILTER: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// Features of every CPU model of the emulated host. SVM exists on Intel's models too: in QEMU it is independent of
/// the vendor, and the kernel of the emulated host accepts it.
const CPU_FEATURES: &str = "+svm,+npt,-avx,-cx16,-erms";

/// Configuration of an emulated host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmulatedHostConfig {
    /// Path of QEMU.
    pub emulator: PathBuf,
    pub kernel: PathBuf,
    /// Archive of the file system ([`super::initramfs`]).
    pub initramfs: PathBuf,
    /// Path of the init, in the archive and on this machine.
    pub init: PathBuf,
    /// Memory of the emulated host, MiB.
    pub memory_mib: u64,
    /// Estimated resident memory of the emulator on this machine, MiB.
    pub resident_mib: u64,
}

impl EmulatedHostConfig {
    /// Returns the emulator's command line for an emulated host with the CPU `host_cpu`. `port` and `log` are the
    /// backends of the virtio-serial port and of the console, as QEMU's `-chardev` takes them. Reasons of the options:
    ///
    /// - `-smp 1`: under icount all CPUs share one clock.
    /// - `-avx`: the guests of KVM would find an inconsistent XSAVE area.
    /// - `-cx16`: QEMU 7.2 (`target/i386/tcg/translate.c`, opcode 0x0f 0xc7) calls the helper of CMPXCHG16B
    ///   without storing the pending flag operation. The helper combines a stale operation with new operands,
    ///   and guests read wrong flags.
    /// - `-erms`: kernels would fill and copy memory bytewise (`rep stosb`), and the emulator counts each repetition
    ///   as an instruction. A start-up of 89 ms took 123 ms on `Skylake-Server`; `EPYC` does not have ERMS.
    /// - `nolapic_timer`: the calibration of the local timer fails after ten real seconds, and the HPET is
    ///   used anyway.
    /// - `tsc=reliable`: the refinement of the TSC rate, a second after boot, loses the timers of an idle
    ///   machine for 0.35 s. Under icount there is nothing to refine.
    /// - `rcu_expedited`: RCU grace periods end as soon as they can. Otherwise they end at a tick, and a VMM
    ///   that waits for one waits up to a whole tick (1 ms), depending on when it began. A shift of a few µs
    ///   can change a start-up time by 1 %.
    /// - `sata=off`: the firmware waits a third of a real second for disks.
    #[must_use]
    pub fn argv(&self, host_cpu: HostCpu, port: &str, log: &str) -> Vec<String> {
        let mut argv = self.argv_without_cpu_and_memory(port, log);
        argv.extend(["-cpu".to_owned(), format!("{},{CPU_FEATURES}", host_cpu.model)]);
        argv.extend(["-m".to_owned(), format!("{}M", self.memory_mib)]);
        argv
    }

    /// Returns the command line without the CPU, which depends on the trials, and without the size of the memory,
    /// which depends on the study's largest trial.
    #[must_use]
    pub fn argv_without_cpu_and_memory(&self, port: &str, log: &str) -> Vec<String> {
        let kernel_parameters = format!(
            "console=ttyS0 quiet reboot=t panic=-1 nolapic_timer tsc=reliable rcupdate.rcu_expedited=1 \
             rdinit={} -- {INIT_ARGUMENT}",
            self.init.display()
        );
        let mut argv = vec![self.emulator.display().to_string()];
        let mut add = |arguments: &[&str]| argv.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        add(&["-machine", "q35,sata=off", "-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off,align=off"]);
        add(&["-smp", "1"]);
        add(&["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        add(&["-chardev", log, "-serial", "chardev:log"]);
        add(&["-device", "virtio-serial-pci"]);
        add(&["-chardev", port]);
        add(&["-device", &format!("virtserialport,chardev=port,name={PORT_NAME}")]);
        add(&["-kernel", &self.kernel.display().to_string()]);
        add(&["-initrd", &self.initramfs.display().to_string(), "-append", &kernel_parameters]);
        argv
    }
}

/// Running emulated host; killed on drop.
#[derive(Debug)]
pub struct EmulatedHost {
    process: VmmProcess,
    console: Option<Console>,
    log: PathBuf,
    messages: Receiver<std::io::Result<Option<Message>>>,
    // Dropped after the console.
    _consoles: ConsoleReader,
    _folder: VmFolder,
}

/// The emulated host sent no message.
#[derive(Debug, thiserror::Error)]
pub enum NoMessage {
    /// No message within the real time allowed.
    #[error("the emulated host sent nothing for {seconds} s of real time")]
    TimedOut {
        /// The time limit.
        seconds: u64,
    },
    /// The emulator exited.
    #[error("the emulated host exited: {0}")]
    Exited(String),
}

impl EmulatedHost {
    /// Boots an emulated host with the CPU of the name `host_cpu` and sends it `job`. `scratch` is a folder for its
    /// files, `log` the file of its console and of the emulator's messages.
    ///
    /// The emulator runs as VMMs do: as an unprivileged user if this process is root, in [`VmNamespaces`]. It gets the
    /// kernel, the archive and the port as descriptors, so that there is no socket to connect to.
    ///
    /// # Errors
    /// Fails if there is no such CPU, if the emulator cannot be isolated or does not start, or if the init does not start
    /// within five minutes or is of another build.
    pub fn boot(
        config: &EmulatedHostConfig,
        host_cpu: &str,
        job: &Job,
        scratch: &Path,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let cpu = host_cpu::find(host_cpu)
            .with_context(|| format!("the emulated host has no CPU {host_cpu:?}: use one of {}", NAMES.join(", ")))?;
        let folder = VmFolder::new(scratch.join("emulator"))?;
        let files = [config.emulator.clone()].into_iter().chain(program::libraries(&config.emulator)?);
        let root = VmRoot::of_this_host(files.collect::<BTreeSet<_>>(), scratch)?;
        let isolation = Isolation::of_emulator();
        isolation.chown_to_vmm(folder.path())?;
        let (stream, port) = UnixStream::pair().context("cannot create the socket pair of the port")?;
        let inherited = vec![
            open_for_all(&config.kernel, scratch)?.into(),
            open_for_all(&config.initramfs, scratch)?.into(),
            port.into(),
        ];
        let given = EmulatedHostConfig { kernel: KERNEL.into(), initramfs: INITRAMFS.into(), ..config.clone() };
        let mut argv = given.argv(*cpu, PORT_BACKEND, CONSOLE_BACKEND);
        // Names the run in a list of processes. QEMU takes two commas for one.
        argv.extend(["-name".to_owned(), log.display().to_string().replace(',', ",,")]);
        if has_seccomp_filter(&config.emulator)? {
            argv.extend(["-sandbox", SECCOMP_FILTER].map(str::to_owned));
        }
        debug!("starting the emulated host `{}`", argv.join(" "));
        let started_at = Instant::now();
        let command = VmmCommand {
            argv: &argv,
            isolation,
            as_root: false,
            namespaces: VmNamespaces::new(&root, folder.path())?,
            inherited,
            file_limit: FILE_LIMIT,
            console_log: log,
            nonce: "",
        };
        let consoles = ConsoleReader::new()?;
        let prepared = command.prepare(&shared::open_vmm_stdin()?, &consoles)?;
        let guard = prepared.enter_for_children().context("cannot enter the PID namespace of the emulator")?;
        let (process, console) = prepared.spawn()?;
        drop(guard);
        let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap_or_default();
        let mut writer: UnixStream = stream.try_clone()?;
        let (sender, messages) = channel();
        let mut emulated = Self {
            process,
            console: Some(console),
            log: log.to_path_buf(),
            messages,
            _consoles: consoles,
            _folder: folder,
        };
        if let Err(problem) = isolation.check(isolation::parse_status(&status), false) {
            bail!(Code::EmulatorFailed.with_message(format!("the emulator: {problem}")));
        }
        std::thread::Builder::new().name("port".into()).spawn(move || {
            let mut reader = BufReader::new(stream);
            loop {
                let message = wire::receive(&mut reader);
                let last = !matches!(message, Ok(Some(_)));
                if sender.send(message).is_err() || last {
                    return;
                }
            }
        })?;
        match emulated.next(BOOT_LIMIT) {
            Ok(Message::Up { build }) if build == wire::BUILD => {}
            Ok(Message::Up { .. }) => bail!(Code::EmulatorFailed.with_message(format!(
                "{} and this program are of different builds: build both with `cargo build -p microbench --bins`",
                config.init.display()
            ))),
            Ok(other) => {
                bail!(Code::EmulatorFailed.with_message(format!("the first message of the emulated host is {other:?}")))
            }
            Err(error) => bail!(Code::EmulatorFailed.with_message(format!("the emulated host did not start: {error}"))),
        }
        debug!(
            "the emulated host is up after {:.1} s; its console is {}",
            started_at.elapsed().as_secs_f64(),
            log.display()
        );
        wire::send(&mut writer, job).and_then(|()| writer.flush()).context("cannot send the job")?;
        Ok(emulated)
    }

    /// Waits for the next message, at most `limit` of real time.
    ///
    /// # Errors
    /// [`NoMessage`]
    pub fn next(&mut self, limit: Duration) -> Result<Message, NoMessage> {
        match self.messages.recv_timeout(limit) {
            Ok(Ok(Some(message))) => Ok(message),
            Ok(Ok(None)) => Err(NoMessage::Exited(self.console_tail())),
            Ok(Err(error)) => Err(NoMessage::Exited(format!("{error}; {}", self.console_tail()))),
            Err(RecvTimeoutError::Timeout) => Err(NoMessage::TimedOut { seconds: limit.as_secs() }),
            Err(RecvTimeoutError::Disconnected) => Err(NoMessage::Exited(self.console_tail())),
        }
    }

    /// Returns the last lines of the console, and the exit code of an emulator that has exited.
    fn console_tail(&mut self) -> String {
        // The emulator closes its port just before it exits.
        let exited = probe::wait_exit(self.process.exited(), clock::Instant::now().after(EXIT_GRACE)).unwrap_or(false);
        let status = match exited.then(|| self.process.reap()) {
            Some(Ok(exit)) => format!("{}; ", describe_exit(exit)),
            _ => String::new(),
        };
        let text = self.console.as_ref().map(Console::tail).unwrap_or_default();
        let last: Vec<&str> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
        if last.is_empty() {
            return format!("{status}its console {} is empty", self.log.display());
        }
        status + &last.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}

impl Drop for EmulatedHost {
    fn drop(&mut self) {
        debug!("stopping the emulated host whose console is {}", self.log.display());
        self.process.end_all();
        // Writes the rest of the log.
        drop(self.console.take().map(Console::finish));
    }
}

/// Opens `file` so that a process of every user can open it again through the descriptor. A file that not every user may
/// read is copied to `scratch`, because the mode of the user's file must not be changed.
fn open_for_all(file: &Path, scratch: &Path) -> anyhow::Result<File> {
    let context = || format!("cannot open {}", file.display());
    let open = File::open(file).with_context(context)?;
    if open.metadata().with_context(context)?.mode() & 0o004 != 0 {
        return Ok(open);
    }
    let copy = scratch.join(file.file_name().with_context(context)?).with_extension("readable");
    fs::copy(file, &copy).with_context(|| format!("cannot copy {}", file.display()))?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o444))?;
    File::open(&copy).with_context(context)
}

/// Whether the emulator has a filter of system calls: it is built without if its help does not list the option.
fn has_seccomp_filter(emulator: &Path) -> anyhow::Result<bool> {
    let help = Tool::new(emulator).arg("-help").clean_environment().run(None);
    Ok(help.context("cannot run the emulator")?.contains("-sandbox on"))
}
