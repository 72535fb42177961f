//! The life of one VM, start to end, as events: clone, tap, spawn, probe, readings, work, stop, exit.
//!
//! [`Vm::prepare`] does everything that may be done before the release; [`Vm::run`] is the timed part and runs on a thread of
//! its own. Every wait has a deadline. A VM that misses one is killed and keeps what it recorded so far.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::time::Duration;

use anyhow::Context as _;
use microbench_agent::{HashKind, HashRequest, Stats, fill_pseudo_random};
use microbench_plots::record::{Cell, FailureReason, Instrument, Level, Record, Workload, WorkloadKind};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use sha2::{Digest, Sha256};
use tokio::runtime::{self, Runtime};

use crate::announcement::Announcements;
use crate::boot;
use crate::clock::Instant;
use crate::console::Console;
use crate::engine::api::{self, ApiError};
use crate::engine::context::{Context, GuestArgs, boot_args};
use crate::engine::description::{Engine, SettingKind};
use crate::engine::launch::{self, Launch, LaunchApi};
use crate::error::{describe, one_line};
use crate::event::{self, reading};
use crate::guest::{Guest, GuestError};
use crate::host::disk::Disk;
use crate::host::isolation::{self, Isolation};
use crate::host::net::{Addresses, Tap};
use crate::host::{kvm, memory, strace};
use crate::probe::{self, Probe, ProbeError};
use crate::sandbox::{self, Shown};
use crate::sys::{self, Exit};

/// Time between a guest's falling silent and the end of its VMM, when the one is of the other.
const MOMENT: Duration = Duration::from_millis(100);

/// Most characters of why a VM did not complete: what a guest answers has no such end.
const MOST_OF_MESSAGE: usize = 2000;

/// Seed of the bytes that a guest hashes.
const HASH_SEED: u64 = 2019;

/// The parts that a cell's VMs are made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The engine's description.
    pub engine: Engine,
    /// Its program.
    pub program: PathBuf,
    /// The guest kernel.
    pub kernel: PathBuf,
    /// The root file system's image.
    pub image: PathBuf,
    /// Path of init in the image.
    pub init: String,
    /// The files that the cell's settings name, by setting.
    pub files: BTreeMap<String, PathBuf>,
    /// The program that jails the engine's, where its description names one that is there.
    pub jailer: Option<PathBuf>,
    /// The program that counts system calls, when the run has trials for that.
    pub strace: Option<PathBuf>,
}

/// How long a VM may take for each part of its life, on the executing host's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Spawn to the first good answer.
    pub boot: Duration,
    /// Each request to the agent but the work.
    pub request: Duration,
    /// The work.
    pub work: Duration,
    /// Request to stop to exit.
    pub stop: Duration,
}

impl Deadlines {
    /// Those of a cell: its settings `boot_deadline_s`, `work_deadline_s` and `stop_deadline_s`, or the defaults.
    #[must_use]
    pub fn of(cell: &Cell) -> Self {
        let seconds = |name: &str, default: u64| match cell.settings.get(name) {
            Some(Level::Int(seconds)) => Duration::from_secs(seconds.unsigned_abs()),
            _ => Duration::from_secs(default),
        };
        Self {
            boot: seconds("boot_deadline_s", 60),
            request: Duration::from_secs(10),
            work: seconds("work_deadline_s", 300),
            stop: seconds("stop_deadline_s", 60),
        }
    }
}

/// What this host cannot do for a VM: its level is not applicable here.
#[derive(Debug, thiserror::Error)]
#[error("this host cannot run {0}")]
pub struct NotHere(String);

/// Where a trial keeps things.
#[derive(Clone, Copy, Debug)]
pub struct Folders<'a> {
    /// Sockets, configuration files, disk clones.
    pub scratch: &'a Path,
    /// Console logs.
    pub console: &'a Path,
}

/// A VM that is ready to be released.
#[derive(Debug)]
pub struct Vm {
    vm: u32,
    nonce: String,
    launch: Launch,
    /// Where an instrument leaves what it counted; `None` in a timed trial.
    counts: Option<PathBuf>,
    /// KVM runs the guest.
    kvm: bool,
    messages: Vec<String>,
    workloads: Vec<(Workload, String)>,
    deadlines: Deadlines,
    probe: Probe,
    console_log: PathBuf,
    folder: PathBuf,
    /// Files that are mounted in the VMM's root.
    shown: Vec<Shown>,
    isolation: Isolation,
    /// Processes that the kernel had killed for want of memory.
    oom_kills: Option<u64>,
    addresses: Addresses,
    records: Vec<Record>,
    ended: Option<Instant>,
    complaint: Option<String>,
    runtime: Runtime,
    guest: Guest,
    /// Wakes when the API socket appears. Made before the release and kept to the end, because closing it waits for a grace
    /// period of the host's kernel (fsnotify, SRCU), which can last longer than a boot.
    watch: Inotify,
    announcements: Announcements,
    // Held for the VM's life, never read; dropped in this order.
    _disk: Disk,
    _tap: Tap,
}

/// What a VM left.
#[derive(Debug)]
pub struct Report {
    /// Events and readings, a failure last.
    pub records: Vec<Record>,
    /// The protocol was completed.
    pub ok: bool,
    /// The first complaint of its kernel on the console.
    pub complaint: Option<String>,
}

/// Why a VM did not complete; becomes a [`Record::Failure`].
#[derive(Debug)]
struct Failed {
    reason: FailureReason,
    stage: &'static str,
    message: String,
}

impl Failed {
    /// The message may quote a guest or a VMM, at any length.
    fn new(reason: FailureReason, stage: &'static str, message: impl ToString) -> Self {
        Self { reason, stage, message: one_line(&message.to_string(), MOST_OF_MESSAGE) }
    }

    fn host(stage: &'static str) -> impl FnOnce(anyhow::Error) -> Self {
        move |error| Self::new(FailureReason::Host, stage, format!("{error:#}"))
    }
}

impl From<(GuestError, &'static str)> for Failed {
    fn from((error, stage): (GuestError, &'static str)) -> Self {
        let reason = match error {
            GuestError::Timeout { .. } => FailureReason::Timeout,
            GuestError::Transport { .. } | GuestError::Protocol { .. } => FailureReason::Protocol,
        };
        Self::new(reason, stage, describe(&error))
    }
}

impl Vm {
    /// Prepares VM `vm` of a trial: disk, tap, files, client. `id` is unique in the run and names its files; `nonce` is
    /// this VM's. With an `instrument` the VMM is started under it.
    ///
    /// # Errors
    /// When the host cannot lend something.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is another aspect of the VM, and the one caller names them all"
    )]
    pub fn prepare(
        vm: u32,
        id: &str,
        nonce: String,
        cell: &Cell,
        instrument: Option<Instrument>,
        workloads: &[Workload],
        parts: &Parts,
        folders: Folders<'_>,
    ) -> anyhow::Result<Self> {
        let mut records = Vec::with_capacity(40);
        let isolation = Isolation::of(vm);
        let folder = folders.scratch.join(id);
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let text = |name: &str| cell.settings.get(name).map(ToString::to_string).unwrap_or_default();
        let stamp = |name: &str| Record::Event { vm, name: name.into(), t_ns: Instant::now().0 };

        records.push(stamp(event::CLONE_BEGIN));
        let disk = match text("disk").as_str() {
            "clone" => Disk::clone_of(&parts.image, folder.join("disk.img"))?,
            _ => Disk::shared(&parts.image),
        };
        records.push(stamp(event::CLONE_END));

        let addresses = Addresses::of(vm);
        let neighbour = cell.settings.get("neighbour") != Some(&Level::Bool(false));
        let tap = Tap::create(vm, &addresses, neighbour, isolation.owner())?;
        let announcements = Announcements::on(tap.name())
            .with_context(|| format!("cannot listen for announcements on {}", tap.name()))?;
        let console = cell.settings.get("console") != Some(&Level::Bool(false));
        let words = boot_args(
            &parts.engine.kernel.words(&text("reboot"), console),
            &GuestArgs {
                init: &parts.init,
                read_only: disk.read_only(),
                addresses: &addresses,
                nonce: &nonce,
                extra: &text("boot_args"),
            },
        );
        let context = Context {
            program: parts.program.display().to_string(),
            program_name: parts.program.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            jail_program: parts.jailer.as_deref().map_or_else(String::new, |path| path.display().to_string()),
            user: isolation.owner(),
            id: id.to_owned(),
            folder: folder.display().to_string(),
            kernel: parts.kernel.display().to_string(),
            boot_args: words,
            disk: disk.path().display().to_string(),
            disk_read_only: disk.read_only(),
            tap: tap.name().to_owned(),
            mac: addresses.mac_text(),
            guest_ip: addresses.guest.to_string(),
            host_ip: addresses.host.to_string(),
            settings: cell.settings.clone(),
            files: setting_files(cell, parts)?,
        };
        let mut launch = launch::render(&parts.engine, &context)?;
        let mut shown = Vec::new();
        if let Some(root) = &launch.root {
            if !isolation.is_own() {
                return Err(NotHere("a jailed VMM, because the runner is not root here".into()).into());
            }
            fs::create_dir_all(root).with_context(|| format!("cannot create {}", root.display()))?;
            let inside = |path: &str| root.join(path.trim_start_matches('/'));
            shown.push(sandbox::show(&parts.kernel, &inside(launch::JAILED_KERNEL))?);
            let place = inside(launch::JAILED_DISK);
            match &disk {
                Disk::Shared(path) => shown.push(sandbox::show(path, &place)?),
                Disk::Clone(path, _) => {
                    fs::hard_link(path, &place).with_context(|| format!("cannot link {}", place.display()))?
                }
            }
            isolation.give(root)?;
        }
        let mut counts = None;
        if instrument == Some(Instrument::Strace) {
            let strace = parts.strace.as_deref().context("the run has no strace")?;
            let file = folder.join("strace");
            launch.argv = strace::argv(strace, &file, &launch.argv);
            counts = Some(file);
        }
        for (name, content) in &launch.files {
            let path = folder.join(name);
            fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
            isolation.give(&path)?;
        }
        if let Disk::Clone(path, _) = &disk {
            isolation.give(path)?;
        }
        isolation.give(&folder)?;
        let deadlines = Deadlines::of(cell);
        let watch = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).context("cannot have an inotify")?;
        watch
            .add_watch(launch.root.as_deref().unwrap_or(&folder), AddWatchFlags::IN_CREATE)
            .with_context(|| format!("cannot watch {}", folder.display()))?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build().context("cannot start tokio")?;
        let guest = Guest::new(addresses.guest, &nonce, deadlines.request, deadlines.work)
            .context("cannot set up the agent's client")?;
        Ok(Self {
            vm,
            nonce,
            launch,
            counts,
            kvm: parts.engine.needs_kvm,
            messages: parts.engine.not_applicable.messages.clone(),
            workloads: workloads.iter().map(|workload| (workload.clone(), digest(workload))).collect(),
            deadlines,
            probe: match text("probe").as_str() {
                "paper" => Probe::Paper,
                "busy" => Probe::Busy,
                _ => Probe::Exact,
            },
            console_log: folders.console.join(format!("{id}.log")),
            folder,
            shown,
            isolation,
            oom_kills: memory::oom_kills(),
            addresses,
            records,
            ended: None,
            complaint: None,
            runtime,
            guest,
            watch,
            announcements,
            _disk: disk,
            _tap: tap,
        })
    }

    /// Runs the VM's whole life; returns when its process is reaped.
    #[must_use]
    pub fn run(mut self, release: &Barrier) -> Report {
        release.wait();
        let failure = self.live().err();
        if let Some(failure) = &failure {
            self.records.push(Record::Failure {
                vm: self.vm,
                reason: failure.reason,
                stage: failure.stage.into(),
                message: failure.message.clone(),
            });
        }
        self.shown.clear();
        drop(fs::remove_dir_all(&self.folder));
        Report { ok: failure.is_none(), records: self.records, complaint: self.complaint }
    }

    fn live(&mut self) -> Result<(), Failed> {
        let (program, arguments) = (self.launch.argv.split_first())
            .ok_or_else(|| Failed::new(FailureReason::Host, event::SPAWN, "the engine's argv is empty"))?;
        let mut command = Command::new(program);
        // Standard error joins the console: a VMM that refuses to start says why there.
        let (reader, writer) = std::io::pipe().context("cannot make a pipe").map_err(Failed::host(event::SPAWN))?;
        let twin = writer.try_clone().context("cannot make a pipe").map_err(Failed::host(event::SPAWN))?;
        command.args(arguments).stdin(Stdio::null()).stdout(writer).stderr(twin);
        // A jailer needs to be root first.
        if self.launch.root.is_none() {
            self.isolation.apply(&mut command);
        }
        if self.counts.is_some() {
            // The VMM is the instrument's child: both are ended as one group.
            command.process_group(0);
        }
        let console = Console::read(reader, &self.console_log, &self.nonce).map_err(Failed::host(event::SPAWN))?;
        self.event(event::SPAWN);
        let spawned = command.spawn();
        // The command holds the pipe's write ends; the console ends only when the VMM alone has them.
        drop(command);
        let child = spawned
            .with_context(|| format!("cannot start {}", self.launch.argv[0]))
            .map_err(Failed::host(event::SPAWN))?;
        self.event(event::VMM_EXEC);
        let mut process = Process::new(child, self.counts.is_some()).map_err(Failed::host(event::SPAWN))?;

        let mut result = self.serve(&process, &console);
        if let Err(failure) = &mut result {
            // A VMM that ended by itself is the cause of what its guest did not answer; both are seen at nearly the same time.
            let moment = Instant::now().after(MOMENT);
            let died = failure.reason == FailureReason::Protocol
                && probe::wait_exit(process.exited(), moment).unwrap_or(false);
            if died {
                failure.reason = FailureReason::Exited;
            }
            process.kill();
        }
        let exit = process.reap();
        let (marks, tail, complaint) = console.finish();
        self.complaint = complaint;
        for (name, instant) in [
            (event::CONSOLE_FIRST, marks.first),
            (event::AGENT_READY, marks.ready),
            (event::GUEST_RESTART, marks.restart),
        ] {
            if let Some(instant) = instant {
                self.records.push(Record::Event { vm: self.vm, name: name.into(), t_ns: instant.0 });
            }
        }
        self.witness(marks.ready);
        let exit = exit
            .map_err(|error| Failed::new(FailureReason::Host, event::EXIT, format!("cannot reap the VMM: {error}")))?;
        match self.counts.clone() {
            None => self.account(exit),
            Some(file) if result.is_ok() => self.count(&file),
            Some(_) => {}
        }
        result.map_err(|failure| self.explain(failure, exit, &tail)).and_then(|()| match (exit.code, self.ended) {
            (Some(0), Some(instant)) => {
                self.records.push(Record::Event { vm: self.vm, name: event::EXIT.into(), t_ns: instant.0 });
                Ok(())
            }
            // An end that is no success is no shutdown: the event is withheld.
            _ => Err(Failed::new(FailureReason::Exited, event::EXIT, format!("the VMM ended with {}", ended(exit)))),
        })
    }

    /// From the running process to its exit.
    fn serve(&mut self, process: &Process, console: &Console) -> Result<(), Failed> {
        let deadline = Instant::now().after(self.deadlines.boot);
        if let Some(api) = self.launch.api.clone() {
            self.configure(&api, process, deadline)?;
        }
        let (guest, announcements) = (self.addresses.guest, &mut self.announcements);
        let found = probe::wait(self.probe, guest, &self.nonce, announcements, deadline, process.exited())
            .map_err(|error| self.probe_failed(&error, console))?;
        if let Some(instant) = found.announced {
            self.records.push(Record::Event { vm: self.vm, name: event::AGENT_ANNOUNCED.into(), t_ns: instant.0 });
        }
        self.records.push(Record::Event { vm: self.vm, name: event::HTTP_OK.into(), t_ns: found.ok.0 });
        self.reading(reading::PROBE_ATTEMPTS, f64::from(found.attempts), "1");
        self.reading(reading::PROBE_CPU_TIME, found.cpu_time_ns as f64, "ns");
        if let Some(last) = found.last_failed {
            self.reading(reading::PROBE_GAP, (found.ok.0 - last.0) as f64, "ns");
        }

        let stats = self.runtime.block_on(self.guest.stats()).map_err(|error| Failed::from((error, "stats")))?;
        self.stats(&stats);
        self.derive(found.ok, &stats);
        for (workload, expected) in self.workloads.clone() {
            self.work(&workload, &expected)?;
        }

        if self.counts.is_none() {
            self.isolated(process.child.id());
        }
        if self.kvm && self.counts.is_none() {
            match kvm::exits(Path::new(kvm::DEBUGFS), process.child.id()) {
                Ok(exits) => self.reading(reading::VMM_KVM_EXITS, exits as f64, "1"),
                Err(reason) => self.no_reading(reading::VMM_KVM_EXITS, "1", reason),
            }
        }
        self.event(event::STOP_REQUESTED);
        let limit = Instant::now().after(self.deadlines.stop);
        // The guest may be gone before its answer is read: then its exit is the answer.
        let asked = self.runtime.block_on(self.guest.shutdown());
        if asked.is_ok() {
            self.event(event::STOP_ACKNOWLEDGED);
        }
        let gone = probe::wait_exit(process.exited(), limit)
            .map_err(|error| Failed::new(FailureReason::Host, event::EXIT, error))?;
        if !gone {
            let seconds = self.deadlines.stop.as_secs();
            let refused = asked.err().map(|error| format!(" ({})", describe(&error))).unwrap_or_default();
            let message = format!("the VMM had not ended {seconds} s after the request to stop{refused}");
            return Err(Failed::new(FailureReason::Timeout, event::EXIT, message));
        }
        self.ended = Some(Instant::now());
        asked.map_err(|error| Failed::from((error, event::STOP_ACKNOWLEDGED)))
    }

    fn configure(&mut self, api: &LaunchApi, process: &Process, deadline: Instant) -> Result<(), Failed> {
        let client = api::client(&api.socket)
            .map_err(|error| Failed::new(FailureReason::Host, event::API_READY, describe(&error)))?;
        wait_for_socket(Path::new(&api.socket), &self.watch, process, deadline)?;
        self.event(event::API_READY);
        for call in &api.calls {
            if call.boots {
                self.event(event::BOOT_REQUESTED);
            }
            let timeout = deadline.remaining().max(Duration::from_millis(1));
            self.runtime.block_on(api::call(&client, call, timeout)).map_err(|error| match &error {
                ApiError::Refused { message, .. } if self.foreign_to_host(message) => {
                    Failed::new(FailureReason::NotApplicable, event::BOOT_REQUESTED, message)
                }
                ApiError::Refused { .. } => Failed::new(FailureReason::Host, event::BOOT_REQUESTED, &error),
                ApiError::Transport { source, .. } if source.is_timeout() => {
                    Failed::new(FailureReason::Timeout, event::BOOT_REQUESTED, describe(&error))
                }
                ApiError::Transport { .. } => {
                    Failed::new(FailureReason::Exited, event::BOOT_REQUESTED, describe(&error))
                }
            })?;
        }
        Ok(())
    }

    /// The two witnesses of the service's start: the first answer, and the agent's mark on the console.
    fn witness(&mut self, mark: Option<Instant>) {
        let is_ok = |record: &Record| match record {
            Record::Event { name, t_ns, .. } if name == event::HTTP_OK => Some(*t_ns),
            _ => None,
        };
        match (self.records.iter().find_map(is_ok), mark) {
            (Some(ok), Some(mark)) => self.reading(reading::PROBE_WITNESS, ok as f64 - mark.0 as f64, "ns"),
            (Some(_), None) => {
                self.no_reading(reading::PROBE_WITNESS, "ns", "the console shows no mark of the agent".into())
            }
            (None, _) => {}
        }
    }

    fn probe_failed(&self, error: &ProbeError, console: &Console) -> Failed {
        let reason = match error {
            ProbeError::Deadline { .. } => FailureReason::Timeout,
            ProbeError::Exited => FailureReason::Exited,
            ProbeError::Protocol(_) => FailureReason::Protocol,
            ProbeError::Host(_) => FailureReason::Host,
        };
        let seconds = self.deadlines.boot.as_secs();
        let message = match (error, console.marks().ready) {
            (ProbeError::Deadline { .. }, Some(_)) => {
                format!("{error}; the deadline is {seconds} s; the agent's console mark was seen: is the network up?")
            }
            (ProbeError::Deadline { .. }, None) => format!("{error}; the deadline is {seconds} s"),
            _ => error.to_string(),
        };
        Failed::new(reason, event::HTTP_OK, message)
    }

    fn work(&mut self, workload: &Workload, expected: &str) -> Result<(), Failed> {
        let kind = kind(workload);
        let request = HashRequest { kind, bytes: workload.bytes, rounds: workload.rounds, seed: HASH_SEED };
        self.event(event::WORK_BEGIN);
        let reply =
            self.runtime.block_on(self.guest.hash(request)).map_err(|error| Failed::from((error, event::WORK_END)))?;
        self.event(event::WORK_END);
        if reply.digest != expected {
            let message = format!("POST /hash: the digest is {}, it should be {expected}", reply.digest);
            return Err(Failed::new(FailureReason::Protocol, event::WORK_END, message));
        }
        self.reading(&reading::work_duration(&workload.metric), reply.duration_ns as f64, "ns");
        if kind == HashKind::Sha256 {
            let hardware = f64::from(u8::from(reply.backend == "sha-ni"));
            self.reading(&format!("work.{}.sha_ni", workload.metric), hardware, "1");
        }
        Ok(())
    }

    fn stats(&mut self, stats: &Stats) {
        let micros = |value: Option<u64>| value.map(|micros| micros as f64 * 1000.0);
        self.reading(reading::KERNEL_MESSAGES, stats.kernel_messages as f64, "1");
        for (name, stamp) in [
            (reading::KERNEL_LAST_MESSAGE, stats.last_message_us),
            (reading::KERNEL_INIT, stats.init_us),
            (reading::KERNEL_RANDOM_SEEDED, stats.random_seeded_us),
            (reading::KERNEL_RANDOM_FAST_INIT, stats.random_fast_init_us),
        ] {
            match micros(stamp) {
                Some(value) => self.reading(name, value, "ns"),
                None if name == reading::KERNEL_RANDOM_FAST_INIT => {
                    self.no_reading(name, "ns", no_fast_init(&stats.kernel_release))
                }
                None => self.no_reading(name, "ns", NO_MESSAGE.into()),
            }
        }
        self.reading(reading::GUEST_UPTIME, stats.uptime_ms as f64 * 1e6, "ns");
        self.reading(reading::GUEST_CPUS, f64::from(stats.cpus), "1");
        self.reading(reading::GUEST_MEMORY, stats.memory_bytes as f64, "bytes");
    }

    /// What isolation the kernel says that the VMM runs under.
    fn isolated(&mut self, pid: u32) {
        let root = |path: &str| fs::metadata(path).map(|data| (data.dev(), data.ino()));
        match (root("/"), root(&format!("/proc/{pid}/root/"))) {
            (Ok(ours), Ok(its)) => self.reading(reading::VMM_OWN_ROOT, f64::from(u8::from(ours != its)), "1"),
            (Err(error), _) | (_, Err(error)) => {
                self.no_reading(reading::VMM_OWN_ROOT, "1", format!("/proc/{pid}/root cannot be read: {error}"));
            }
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status"));
        let found = status.as_deref().map(isolation::read).unwrap_or_default();
        let names =
            [reading::VMM_USER, reading::VMM_CAPABILITIES, reading::VMM_SECCOMP, reading::VMM_NO_NEW_PRIVILEGES];
        for (name, value) in names.into_iter().zip(found) {
            match value {
                Some(value) => self.reading(name, value as f64, "1"),
                None => self.no_reading(name, "1", format!("/proc/{pid}/status does not say it")),
            }
        }
    }

    /// The instants of the boot that only the guest saw.
    fn derive(&mut self, ok: Instant, stats: &Stats) {
        let spawn = self.records.iter().find_map(|record| match record {
            Record::Event { name, t_ns, .. } if name == event::SPAWN => Some(*t_ns),
            _ => None,
        });
        for (name, instant) in boot::derive(spawn.unwrap_or(ok.0), ok.0, stats) {
            match instant {
                Ok(t_ns) => self.records.push(Record::Event { vm: self.vm, name: name.into(), t_ns }),
                Err(reason) => self.no_event(name, reason),
            }
        }
    }

    /// What strace counted.
    fn count(&mut self, file: &Path) {
        let total = fs::read_to_string(file).map_err(|error| format!("strace left no counts: {error}"));
        match total.and_then(|table| strace::total(&table).ok_or_else(|| "strace left no total".to_owned())) {
            Ok(total) => self.reading(reading::VMM_SYSTEM_CALLS, total as f64, "1"),
            Err(reason) => self.no_reading(reading::VMM_SYSTEM_CALLS, "1", reason),
        }
    }

    fn account(&mut self, exit: Exit) {
        self.reading(reading::VMM_CPU_TIME, exit.cpu_time_ns as f64, "ns");
        self.reading(reading::VMM_PEAK_RSS, exit.peak_rss_bytes as f64, "bytes");
        self.reading(reading::VMM_VOLUNTARY_SWITCHES, exit.voluntary_switches as f64, "1");
        self.reading(reading::VMM_INVOLUNTARY_SWITCHES, exit.involuntary_switches as f64, "1");
    }

    /// Adds how the VMM ended and its last words, and finds out whether it refused the configuration on this host.
    fn explain(&self, mut failure: Failed, exit: Exit, tail: &str) -> Failed {
        if failure.reason == FailureReason::NotApplicable {
            // The VMM's answer says it all.
            return failure;
        }
        if failure.reason == FailureReason::Exited {
            if exit.signal == Some(libc::SIGKILL) && memory::oom_kills() > self.oom_kills {
                failure.reason = FailureReason::Memory;
                failure.message = format!("{}: the kernel killed the VMM because memory had run out", failure.message);
            }
            if self.foreign_to_host(tail) {
                failure.reason = FailureReason::NotApplicable;
            }
            failure.message = format!("{} ({})", failure.message, ended(exit));
        }
        let last: Vec<&str> = tail.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
        if !last.is_empty() {
            let words: Vec<&str> = last.into_iter().rev().collect();
            failure.message = format!("{}; console: {}", failure.message, words.join(" | "));
        }
        failure
    }

    fn foreign_to_host(&self, message: &str) -> bool {
        self.messages.iter().any(|pattern| message.contains(pattern.as_str()))
    }

    fn event(&mut self, name: &str) {
        let t_ns = Instant::now().0;
        self.records.push(Record::Event { vm: self.vm, name: name.into(), t_ns });
    }

    /// Says why there is no such event: a reading of its name, without a value.
    fn no_event(&mut self, name: &str, reason: String) {
        self.no_reading(name, "ns", reason);
    }

    fn no_reading(&mut self, name: &str, unit: &str, reason: String) {
        let (name, unit) = (name.to_owned(), unit.to_owned());
        self.records.push(Record::Reading { vm: self.vm, name, value: None, unit, reason });
    }

    fn reading(&mut self, name: &str, value: f64, unit: &str) {
        let (name, unit) = (name.to_owned(), unit.to_owned());
        self.records.push(Record::Reading { vm: self.vm, name, value: Some(value), unit, reason: String::new() });
    }
}

const NO_MESSAGE: &str = "the guest's kernel log has no such message";

/// Why the guest's kernel log has no `random: fast init done`.
fn no_fast_init(release: &str) -> String {
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (5, 18) {
        format!("Linux has had no message `random: fast init done` since 5.18, and the guest runs {release}")
    } else {
        NO_MESSAGE.into()
    }
}

/// A running VMM, with its instrument if it has one; killed when dropped.
#[derive(Debug)]
struct Process {
    child: Child,
    /// It leads a process group of its own.
    leads: bool,
    pidfd: OwnedFd,
    reaped: bool,
}

impl Process {
    fn new(child: Child, leads: bool) -> anyhow::Result<Self> {
        let pidfd = sys::pidfd_open(child.id()).context("cannot watch the VMM's process")?;
        Ok(Self { child, leads, pidfd, reaped: false })
    }

    /// Readable once the process has ended.
    fn exited(&self) -> std::os::fd::BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    fn kill(&self) {
        if self.leads && !self.reaped {
            let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGKILL);
        }
        drop(sys::pidfd_kill(self.pidfd.as_fd(), libc::SIGKILL));
    }

    fn reap(&mut self) -> std::io::Result<Exit> {
        self.reaped = true;
        let exit = sys::reap(self.child.id());
        // The VMM below an instrument that was killed is an orphan, and so this process's to reap.
        while self.leads && waitpid(Pid::from_raw(-self.child.id().cast_signed()), None).is_ok() {}
        exit
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
            drop(self.reap());
        }
    }
}

/// Waits until something listens on the unix socket `path`: woken by `watch`, the folder's change, not by time.
fn wait_for_socket(path: &Path, watch: &Inotify, process: &Process, deadline: Instant) -> Result<(), Failed> {
    loop {
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Ok(()),
            Err(_) if deadline.passed() => {
                return Err(Failed::new(
                    FailureReason::Timeout,
                    event::API_READY,
                    "the VMM's API socket did not appear",
                ));
            }
            Err(error) => {
                // There but not listening yet: bind and listen are two calls, a moment apart.
                let bound = error.kind() == std::io::ErrorKind::ConnectionRefused;
                let time = if bound { Duration::from_micros(100) } else { deadline.remaining() };
                let polled = probe::wait_either(process.exited(), watch.as_fd(), time)
                    .map_err(|error| Failed::new(FailureReason::Host, event::API_READY, error))?;
                if polled {
                    return Err(Failed::new(
                        FailureReason::Exited,
                        event::API_READY,
                        "the VMM ended before its API socket appeared",
                    ));
                }
                drop(watch.read_events());
            }
        }
    }
}

/// Path and text of each file that a setting of the cell's engine names; both empty where it names none.
fn setting_files(cell: &Cell, parts: &Parts) -> anyhow::Result<BTreeMap<String, (String, String)>> {
    let settings = parts.engine.settings.iter().filter(|(_, setting)| setting.kind == SettingKind::File);
    settings
        .map(|(name, _)| {
            let named = cell.settings.get(name).map(ToString::to_string).unwrap_or_default();
            if named.is_empty() {
                return Ok((name.clone(), (String::new(), String::new())));
            }
            let path = parts.files.get(name).with_context(|| format!("the run has no file for `{name}`"))?;
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            Ok((name.clone(), (path.display().to_string(), text)))
        })
        .collect()
}

fn kind(workload: &Workload) -> HashKind {
    match workload.kind {
        WorkloadKind::Sha256 => HashKind::Sha256,
        WorkloadKind::Copy => HashKind::Copy,
    }
}

/// What the guest's digest must be: that of the buffer, or of nothing where nothing is hashed.
fn digest(workload: &Workload) -> String {
    let bytes = match kind(workload) {
        HashKind::Sha256 => workload.bytes.min(HashRequest::MAX_BYTES),
        HashKind::Copy => 0,
    };
    let mut buffer = vec![0; usize::try_from(bytes).unwrap_or(0)];
    fill_pseudo_random(&mut buffer, HASH_SEED);
    Sha256::digest(&buffer).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn ended(exit: Exit) -> String {
    match (exit.code, exit.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}
