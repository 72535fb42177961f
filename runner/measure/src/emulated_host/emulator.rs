//! Boots the emulated host in its emulator, QEMU, and receives the messages of its init.

use std::fs;
use std::io::{BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use microbench_formats::code::Code;
use microbench_formats::input;
use microbench_study::engine::host_cpu::{self, HostCpu, NAMES};
use tracing::debug;

use super::wire::{self, Job, Message, PORT_NAME};
use crate::emulated_host::init::INIT_ARGUMENT;
use crate::sys::environment;

/// Real time within which the init must start.
const BOOT_LIMIT: Duration = Duration::from_secs(300);

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
    /// Returns the emulator's command line for an emulated host with the CPU `host_cpu`. `socket` is the Unix socket of
    /// the virtio-serial port, `log` the file of the console. Reasons of the options:
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
    pub fn argv(&self, host_cpu: HostCpu, socket: &Path, log: &Path) -> Vec<String> {
        let mut argv = self.argv_without_cpu_and_memory(socket, log);
        argv.extend(["-cpu".to_owned(), format!("{},{CPU_FEATURES}", host_cpu.model)]);
        argv.extend(["-m".to_owned(), format!("{}M", self.memory_mib)]);
        argv
    }

    /// Returns the command line without the CPU, which depends on the trials, and without the size of the memory,
    /// which depends on the study's largest trial.
    #[must_use]
    pub fn argv_without_cpu_and_memory(&self, socket: &Path, log: &Path) -> Vec<String> {
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
        add(&["-chardev", &format!("file,id=log,path={}", log.display()), "-serial", "chardev:log"]);
        add(&["-device", "virtio-serial-pci"]);
        add(&["-chardev", &format!("socket,id=port,path={}", socket.display())]);
        add(&["-device", &format!("virtserialport,chardev=port,name={PORT_NAME}")]);
        add(&["-kernel", &self.kernel.display().to_string()]);
        add(&["-initrd", &self.initramfs.display().to_string(), "-append", &kernel_parameters]);
        argv
    }
}

/// Running emulated host; killed on drop.
#[derive(Debug)]
pub struct EmulatedHost {
    process: Child,
    log: PathBuf,
    messages: Receiver<std::io::Result<Option<Message>>>,
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
    /// Boots an emulated host with the CPU of the name `host_cpu` and sends it `job`. `folder` is where the socket is
    /// created, `log` the file of the console.
    ///
    /// # Errors
    /// Fails if there is no such CPU, if the emulator does not start, or if the init does not start in time or is of another build.
    pub fn boot(
        config: &EmulatedHostConfig,
        host_cpu: &str,
        job: &Job,
        folder: &Path,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let socket = folder.join("port.sock");
        drop(fs::remove_file(&socket));
        let listener = UnixListener::bind(&socket).with_context(|| format!("cannot bind {}", socket.display()))?;
        let cpu = host_cpu::find(host_cpu)
            .with_context(|| format!("the emulated host has no CPU {host_cpu:?}: use one of {}", NAMES.join(", ")))?;
        let argv = config.argv(*cpu, &socket, log);
        // A run of others can have a link in this place, which the emulator would follow.
        input::create_new(log).with_context(|| format!("cannot create {}", log.display()))?;
        let errors_path = log.with_extension("stderr.log");
        let errors =
            input::create_new(&errors_path).with_context(|| format!("cannot create {}", errors_path.display()))?;
        debug!("starting the emulated host `{}`", argv.join(" "));
        let started_at = Instant::now();
        let process = Command::new(&argv[0])
            .args(&argv[1..])
            .env_clear()
            .envs(environment::passed_variables())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {}", argv[0]))?;
        let (sender, messages) = channel();
        let mut emulated = Self { process, log: log.to_path_buf(), messages };
        // QEMU connects to the socket before the machine runs; if it cannot, it exits.
        listener.set_nonblocking(true)?;
        let stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    if let Some(status) = emulated.process.try_wait()? {
                        let errors = fs::read_to_string(&errors_path).unwrap_or_default();
                        bail!(
                            Code::EmulatorFailed
                                .with_message(format!("the emulator exited ({status}): {}", errors.trim()))
                        );
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(error) => return Err(error).context("the emulator does not connect to its socket"),
            }
        };
        stream.set_nonblocking(false)?;
        let mut writer: UnixStream = stream.try_clone()?;
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

    /// Returns the last lines of the console.
    fn console_tail(&self) -> String {
        let text = fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let last: Vec<&str> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
        if last.is_empty() {
            return format!("its console {} is empty", self.log.display());
        }
        last.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}

impl Drop for EmulatedHost {
    fn drop(&mut self) {
        debug!("stopping the emulated host whose console is {}", self.log.display());
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
