//! Boots the emulated host and talks to its first process.

use std::fs;
use std::io::{BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use microbench_formats::code::Code;
use tracing::debug;

use super::wire::{self, Job, Message, PORT_NAME};
use crate::emulated_host::init::INIT_WORD;
use crate::sys::environment;

/// Real time that the machine may take to reach its first process.
const BOOT_LIMIT: Duration = Duration::from_secs(300);

/// What an emulated host is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// QEMU.
    pub emulator: PathBuf,
    /// The emulated host's kernel.
    pub kernel: PathBuf,
    /// Its file system.
    pub initramfs: PathBuf,
    /// Its first process, at its path inside and outside.
    pub first: PathBuf,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// What it takes of this machine's memory, MiB: an estimate.
    pub resident_mib: u64,
}

impl Machine {
    /// The emulator's argument vector. `socket` is where the port goes, `log` takes the machine's console.
    ///
    /// One CPU: under icount all CPUs share one clock. `-avx`: KVM's guests would find their XSAVE area inconsistent.
    /// `-cx16`: QEMU 7.2 (`target/i386/tcg/translate.c`, opcode 0x0f 0xc7) calls the helper of CMPXCHG16B without storing the pending
    /// flag operation first, and the helper then combines a stale operation with new operands: guests read wrong flags.
    /// `nolapic_timer`: the calibration of the local timer fails after ten real seconds, and the HPET is taken either way.
    /// `tsc=reliable`: the refinement of its rate, a second after boot, loses the timers of an idle machine for 0.35 s; under icount
    /// there is nothing to refine. `rcu_expedited`: grace periods of RCU end when they can. Else they end at a tick, and a VMM that waits for
    /// one takes a whole tick (1 ms) more or less by when it began: whatever moves that by a few µs seems to change a start-up by 1 %.
    /// `sata=off`: the firmware waits a third of a real second for disks.
    #[must_use]
    pub fn argv(&self, socket: &Path, log: &Path) -> Vec<String> {
        let mut argv = self.argv_without_memory(socket, log);
        argv.extend(["-m".to_owned(), format!("{}M", self.memory_mib)]);
        argv
    }

    /// The argument vector but for the size of the memory, which follows from the study's largest trial.
    #[must_use]
    pub fn argv_without_memory(&self, socket: &Path, log: &Path) -> Vec<String> {
        let words = format!(
            "console=ttyS0 quiet reboot=t panic=-1 nolapic_timer tsc=reliable rcupdate.rcu_expedited=1 rdinit={} -- {INIT_WORD}",
            self.first.display()
        );
        let mut argv = vec![self.emulator.display().to_string()];
        let mut add = |words: &[&str]| argv.extend(words.iter().map(|word| (*word).to_owned()));
        add(&["-machine", "q35,sata=off", "-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off,align=off"]);
        add(&["-cpu", "EPYC,+svm,+npt,-avx,-cx16", "-smp", "1"]);
        add(&["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        add(&["-chardev", &format!("file,id=log,path={}", log.display()), "-serial", "chardev:log"]);
        add(&["-device", "virtio-serial-pci"]);
        add(&["-chardev", &format!("socket,id=port,path={}", socket.display())]);
        add(&["-device", &format!("virtserialport,chardev=port,name={PORT_NAME}")]);
        add(&["-kernel", &self.kernel.display().to_string()]);
        add(&["-initrd", &self.initramfs.display().to_string(), "-append", &words]);
        argv
    }
}

/// A running emulated host; killed when dropped.
#[derive(Debug)]
pub struct Emulated {
    process: Child,
    log: PathBuf,
    messages: Receiver<std::io::Result<Option<Message>>>,
}

/// Why no message came.
#[derive(Debug, thiserror::Error)]
pub enum Silence {
    /// Nothing within the real time allowed.
    #[error("the emulated host was silent for {seconds} s of real time")]
    Hung {
        /// The limit.
        seconds: u64,
    },
    /// It ended.
    #[error("the emulated host ended: {0}")]
    Ended(String),
}

impl Emulated {
    /// Boots `machine` and gives it `job`. `folder` takes the socket, `log` the console.
    ///
    /// # Errors
    /// When it does not reach its first process.
    pub fn boot(machine: &Machine, job: &Job, folder: &Path, log: &Path) -> anyhow::Result<Self> {
        let socket = folder.join("port.sock");
        drop(fs::remove_file(&socket));
        let listener = UnixListener::bind(&socket).with_context(|| format!("cannot bind {}", socket.display()))?;
        let argv = machine.argv(&socket, log);
        let errors_path = log.with_extension("stderr.log");
        let errors =
            fs::File::create(&errors_path).with_context(|| format!("cannot create {}", errors_path.display()))?;
        debug!("starting the emulated host `{}`", argv.join(" "));
        let begun = Instant::now();
        let process = Command::new(&argv[0])
            .args(&argv[1..])
            .env_clear()
            .envs(environment::passed())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {}", argv[0]))?;
        let (sender, messages) = channel();
        let mut emulated = Self { process, log: log.to_path_buf(), messages };
        // QEMU connects before the machine runs; if it cannot, it ends.
        listener.set_nonblocking(true)?;
        let stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    if let Some(status) = emulated.process.try_wait()? {
                        let words = fs::read_to_string(&errors_path).unwrap_or_default();
                        bail!(Code::EmulatorFailed.says(format!("the emulator ended with {status}: {}", words.trim())));
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(error) => return Err(error).context("the emulator does not connect"),
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
            Ok(Message::Up { .. }) => bail!(Code::EmulatorFailed.says(format!(
                "{} is not of the same build as this program: build both (`cargo build -p microbench --bins`)",
                machine.first.display()
            ))),
            Ok(other) => bail!(Code::EmulatorFailed.says(format!("the emulated host began with {other:?}"))),
            Err(silence) => bail!(Code::EmulatorFailed.says(format!("the emulated host did not start: {silence}"))),
        }
        debug!(
            "the emulated host is up after {:.1} s; its console is {}",
            begun.elapsed().as_secs_f64(),
            log.display()
        );
        wire::send(&mut writer, job).and_then(|()| writer.flush()).context("cannot send the job")?;
        Ok(emulated)
    }

    /// The next message, within `limit` of real time.
    ///
    /// # Errors
    /// [`Silence`].
    pub fn next(&mut self, limit: Duration) -> Result<Message, Silence> {
        match self.messages.recv_timeout(limit) {
            Ok(Ok(Some(message))) => Ok(message),
            Ok(Ok(None)) => Err(Silence::Ended(self.last_words())),
            Ok(Err(error)) => Err(Silence::Ended(format!("{error}; {}", self.last_words()))),
            Err(RecvTimeoutError::Timeout) => Err(Silence::Hung { seconds: limit.as_secs() }),
            Err(RecvTimeoutError::Disconnected) => Err(Silence::Ended(self.last_words())),
        }
    }

    fn last_words(&self) -> String {
        let text = fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let last: Vec<&str> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
        if last.is_empty() {
            return format!("its console ({}) is empty", self.log.display());
        }
        last.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}

impl Drop for Emulated {
    fn drop(&mut self) {
        debug!("stopping the emulated host whose console is {}", self.log.display());
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
