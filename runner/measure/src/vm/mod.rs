//! The life of one VM, start to end, as events: clone, tap, spawn, probe, readings, work, stop, exit.
//!
//! [`Vm::prepare`] does everything that may be done before the release; [`Vm::run`] is the timed part and runs on a thread of
//! its own. Every wait has a deadline. A VM that misses one is killed and keeps what it recorded so far.

mod alone;
pub mod api;
mod failed;
mod live;
pub(crate) mod process;
mod readings;
pub(crate) mod shared;
mod snapshot;
mod work;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use microbench_formats::record::{Cell, Instrument, Level, Record, Workload};
use nix::sys::inotify::Inotify;

use self::process::{Ready, Start};
use self::shared::Shared;
pub use self::snapshot::NotTaken;
use microbench_formats::event::{self, reading};
use microbench_study::engine::addresses::Addresses;
use microbench_study::engine::context::{Context, GuestArgs, boot_args};
use microbench_study::engine::description::{GuestKind, SettingKind};
use microbench_study::engine::launch::{self, Launch};
use microbench_study::engine::machine;

use self::snapshot::Place;
use crate::guest::client::Guest;
use crate::guest::ready_datagram::Announcements;
use crate::host::counters::strace;
use crate::host::counters::trace::Trace;
use crate::host::resources::disk::Disk;
use crate::host::resources::net::{Link, Tap};
use crate::host::resources::veth::Veth;
use crate::host::resources::{huge_pages, page_cache};
use crate::parts::Parts;
use crate::probe::Probe;
use crate::rendezvous::Together;
use crate::sandbox::isolation::Isolation;
use crate::sys;
use crate::sys::clock::Instant;
use crate::sys::mount;
use crate::sys::mount::Shown;
use crate::vm::api::ApiClient;
use crate::workload::Task;

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
        let seconds = |name: &str, default: u64| Duration::from_secs(cell.number(name).unwrap_or(default));
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

/// A VM that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its number in the trial.
    pub vm: u32,
    /// Unique in the run: names its files.
    pub id: &'a str,
    /// The cell.
    pub cell: &'a Cell,
    /// What its VMM is started under.
    pub instrument: Option<Instrument>,
    /// What its guest does.
    pub workloads: &'a [Workload],
    /// What it is made of.
    pub parts: &'a Parts,
    /// Where it keeps things.
    pub folders: Folders<'a>,
    /// What it shares with the others of its trial.
    pub shared: &'a Shared,
}

/// How a VM's life begins and ends.
#[derive(Clone, Copy, Debug)]
enum Life<'a> {
    /// Its guest boots, and is measured.
    Boots,
    /// Its guest boots, and its snapshot is taken.
    IsSaved(&'a Place),
    /// Its guest is restored from that, and measured.
    IsRestored(&'a Place),
}

/// A VM that is ready to be released.
#[derive(Debug)]
pub struct Vm {
    vm: u32,
    nonce: String,
    launch: Launch,
    /// The guest kernel's command line, as it was given to the VMM.
    words: String,
    /// Where an instrument leaves what it counted; `None` in a timed trial.
    counts: Option<PathBuf>,
    /// KVM runs the guest.
    kvm: bool,
    /// The boot is traced.
    traced: bool,
    /// What runs the agent.
    kind: GuestKind,
    messages: Vec<String>,
    tasks: Vec<Task>,
    deadlines: Deadlines,
    /// The guest's memory.
    memory_bytes: Option<u64>,
    /// How long it is held when every VM of the trial has answered; `None` not to hold it.
    steady: Option<Duration>,
    probe: Probe,
    /// What is started at the release; `None` from then on.
    ready: Option<Ready>,
    /// Its guest was restored, it did not boot.
    restored: bool,
    folder: PathBuf,
    /// What is mounted for it: files in a jailed VMM's root, the root file system of a guest without a kernel of its own.
    shown: Vec<Shown>,
    isolation: Isolation,
    /// Processes that the kernel had killed for want of memory before the trial.
    oom_kills: Option<u64>,
    addresses: Addresses,
    records: Vec<Record>,
    ended: Option<Instant>,
    complaint: Option<String>,
    guest: Guest,
    /// Of a VMM that is told over its API; `None` once its guest has answered.
    api: Option<ApiClient>,
    /// Wakes when the API socket appears; `None` without one. Made before the release and kept to the end, because closing it waits for
    /// a grace period of the host's kernel (fsnotify, SRCU), which can last longer than a boot.
    watch: Option<Inotify>,
    /// `None` for a guest that is seen on its console alone.
    net: Option<Net>,
    // Held for the VM's life, never read.
    _disk: Disk,
}

/// A VM's network on the host's side.
#[derive(Debug)]
struct Net {
    announcements: Announcements,
    /// Held for the VM's life.
    link: Link,
}

impl Net {
    fn on(link: Link) -> anyhow::Result<Self> {
        let announcements = Announcements::on(link.name())
            .with_context(|| format!("cannot listen for announcements on {}", link.name()))?;
        Ok(Self { announcements, link })
    }
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
    /// What joined it to the host, to be removed with those of the trial's other VMs.
    pub link: Option<Link>,
}

impl Vm {
    /// Prepares a VM of a trial: disk, tap, files, client. `nonce` is this VM's.
    ///
    /// # Errors
    /// When the host cannot lend something.
    pub fn prepare(wanted: Wanted<'_>, nonce: String) -> anyhow::Result<Self> {
        let Wanted { vm, cell, parts, folders, .. } = wanted;
        if let Some(reason) = &parts.unfit {
            return Err(NotHere(reason.clone()).into());
        }
        if let Some(reason) = huge_pages::refusal(cell, u64::from(vm) + 1) {
            return Err(NotHere(reason).into());
        }
        let Some(place) = Place::of(vm, cell, parts, folders.scratch)? else {
            return Self::assemble(wanted, nonce, Life::Boots);
        };
        if !place.is_taken() {
            let unmeasured = Wanted { instrument: None, ..wanted };
            Self::assemble(unmeasured, nonce, Life::IsSaved(&place))?.save(&place)?;
        }
        Self::assemble(wanted, place.nonce()?, Life::IsRestored(&place))
    }

    fn assemble(wanted: Wanted<'_>, nonce: String, life: Life<'_>) -> anyhow::Result<Self> {
        let Wanted { vm, id, cell, instrument, workloads, parts, folders, shared } = wanted;
        let mut records = Vec::with_capacity(96);
        let isolation = Isolation::of(vm);
        let folder = life.folder(folders.scratch, id)?;
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let text = |name: &str| cell.settings.get(name).map(ToString::to_string).unwrap_or_default();
        let stamp = |name: &str| Record::Event { vm, name: name.into(), t_ns: Instant::now().0 };

        records.push(stamp(event::CLONE_BEGIN));
        let disk = match text("disk").as_str() {
            "clone" => Disk::clone_of(&life.image(&parts.image), folder.join("disk.img"))?,
            _ => Disk::shared(&parts.image),
        };
        records.push(stamp(event::CLONE_END));
        // Regions of disk work lie behind the image, on the clone of a saved guest's disk as well.
        let tasks = Task::prepare(workloads, Disk::shared(&parts.image).bytes()?);
        if let Disk::Clone(path, _) = &disk {
            let file = File::options().write(true).open(path);
            let laid = file.and_then(|file| Task::lay(&tasks, &file));
            laid.with_context(|| format!("cannot lay the regions of disk work on {}", path.display()))?;
        }
        let kind = parts.engine.guest;
        let mut shown = Vec::new();
        let root = folder.join("root");
        if kind.shares_kernel() {
            if !isolation.is_own() {
                let what = "a guest without a kernel of its own, because only root may mount its file system";
                return Err(NotHere(what.into()).into());
            }
            shown.push(disk.mount(&root)?);
        }

        let addresses = Addresses::of(vm);
        let neighbour = cell.settings.get("neighbour") != Some(&Level::Bool(false));
        records.push(stamp(event::TAP_BEGIN));
        let link = match (machine::networked(&parts.engine, &cell.settings), kind.shares_kernel()) {
            (false, _) => None,
            (true, false) => Some(Link::Tap(Tap::create(vm, &addresses, neighbour, isolation.owner())?)),
            (true, true) => Some(Link::Veth(Veth::create(vm, &addresses, neighbour)?)),
        };
        records.push(stamp(event::TAP_END));
        let net = link.map(Net::on).transpose()?;
        let words = boot_args(
            &machine::words(&parts.engine, &cell.settings)?,
            &GuestArgs {
                init: &parts.init,
                read_only: disk.read_only(),
                addresses: net.as_ref().map(|_| &addresses),
                nonce: &nonce,
                extra: &text("boot_args"),
            },
        );
        let given = words.clone();
        let context = Context {
            program: parts.program.display().to_string(),
            program_name: parts.program.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            jail_program: parts.jailer.as_deref().map_or_else(String::new, |path| path.display().to_string()),
            user: isolation.owner(),
            id: id.to_owned(),
            folder: folder.display().to_string(),
            kernel: parts.kernel.as_deref().map_or_else(String::new, |path| path.display().to_string()),
            boot_args: if kind.shares_kernel() { String::new() } else { words },
            disk: disk.path().display().to_string(),
            disk_read_only: disk.read_only(),
            root: if kind.shares_kernel() { root.display().to_string() } else { String::new() },
            agent: parts.agent.clone(),
            nonce: nonce.clone(),
            tap: net.as_ref().map_or_else(String::new, |net| net.link.name().to_owned()),
            mac: addresses.mac_text(),
            guest_ip: addresses.guest.to_string(),
            host_ip: addresses.host.to_string(),
            settings: cell.settings.clone(),
            files: setting_files(cell, parts)?,
        };
        let mut launch = launch::render(&parts.engine, &context)?;
        if let Some(root) = &launch.root {
            if !isolation.is_own() {
                return Err(NotHere("a jailed VMM, because the runner is not root here".into()).into());
            }
            if parts.jailer.is_none() {
                let program = parts.program.display();
                return Err(NotHere(format!("a jailed VMM, because no jailer is beside {program}")).into());
            }
            fs::create_dir_all(root).with_context(|| format!("cannot create {}", root.display()))?;
            let inside = |path: &str| root.join(path.trim_start_matches('/'));
            let kernel = parts.kernel.as_deref().context("a jailed VMM has a guest kernel")?;
            shown.push(mount::show(kernel, &inside(launch::JAILED_KERNEL))?);
            let place = inside(launch::JAILED_DISK);
            match &disk {
                Disk::Shared(path) => shown.push(mount::show(path, &place)?),
                Disk::Clone(path, _) => {
                    fs::hard_link(path, &place).with_context(|| format!("cannot link {}", place.display()))?
                }
            }
            isolation.give(root)?;
        }
        if let Life::IsRestored(place) = life {
            place.lend(&mut launch, &folder)?;
        }
        let mut counts = None;
        if instrument == Some(Instrument::Strace) {
            let strace = parts.strace.as_deref().context("the run has no strace")?;
            let file = folder.join("strace");
            launch.argv = strace::argv(strace, &file, &launch.argv);
            counts = Some(file);
        }
        for (name, content) in &launch.files {
            let path = launch.root.as_deref().unwrap_or(&folder).join(name);
            fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
            isolation.give(&path)?;
        }
        if let Disk::Clone(path, _) = &disk {
            isolation.give(path)?;
        }
        isolation.give(&folder)?;
        if text("page_cache") == "cold" {
            // Last of all that reads files, first of all that is timed.
            let files = [parts.program.as_path(), disk.path()].into_iter().chain(parts.kernel.as_deref());
            let mut stay = 0;
            for file in files {
                let Some(bytes) = page_cache::forget(file)? else {
                    return Err(NotHere(format!("a cold page cache: {} is in memory", file.display())).into());
                };
                stay += bytes;
            }
            let (name, unit) = (reading::HOST_CACHED.to_owned(), "bytes".to_owned());
            records.push(Record::Reading { vm, name, value: Some(stay as f64), unit, reason: String::new() });
        }
        let deadlines = Deadlines::of(cell);
        let watched = launch.root.as_deref().unwrap_or(&folder);
        let watch = launch.api.as_ref().map(|_| process::watch(watched)).transpose()?;
        let api = launch.api.as_ref().map(|api| ApiClient::new(&api.socket)).transpose()?;
        let agent = (addresses.guest, microbench_agent::PORT).into();
        let guest = shared.agents.guest(agent, &nonce, deadlines.request, deadlines.work);
        let ready = Start {
            argv: &launch.argv,
            isolation,
            as_root: launch.root.is_some() || kind == GuestKind::Container,
            leads: counts.is_some(),
            contains: kind == GuestKind::Container,
            console_log: &folders.console.join(life.console(id)),
            nonce: &nonce,
        };
        let ready = ready.ready(&shared.input, &shared.consoles)?;
        Ok(Self {
            vm,
            nonce,
            launch,
            words: given,
            counts,
            kvm: parts.engine.needs_kvm,
            traced: machine::traced(&parts.engine, &cell.settings),
            kind,
            messages: parts.engine.not_applicable.messages.clone(),
            tasks,
            deadlines,
            memory_bytes: cell.number("memory_mib").map(|mib| mib << 20),
            steady: cell.number("steady_s").filter(|seconds| *seconds > 0).map(Duration::from_secs),
            probe: match text("probe").as_str() {
                "paper" => Probe::Paper,
                "busy" => Probe::Busy,
                _ => Probe::Exact,
            },
            ready: Some(ready),
            restored: matches!(life, Life::IsRestored(_)),
            folder,
            shown,
            isolation,
            oom_kills: shared.oom_kills,
            addresses,
            records,
            ended: None,
            complaint: None,
            guest,
            api,
            watch,
            net,
            _disk: disk,
        })
    }

    /// Runs the VM's whole life; returns when its process is reaped.
    #[must_use]
    pub fn run(mut self, together: &Together) -> Report {
        let _leaves = Leaves(together);
        // This thread forks the VMM.
        let trace = self.traced.then(Trace::of_this_threads_child);
        together.release();
        let cpu_before = sys::thread_cpu_ns();
        let failure = self.live(together).err();
        self.reading(reading::RUNNER_VM_CPU_TIME, sys::thread_cpu_ns().saturating_sub(cpu_before) as f64, "ns");
        for (name, instant) in trace.map(Trace::finish).unwrap_or_default() {
            self.told(name, instant);
        }
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
        let (records, complaint) = (std::mem::take(&mut self.records), self.complaint.take());
        let link = self.into_link();
        Report { ok: failure.is_none(), records, complaint, link }
    }

    /// What joins it to the host, when nothing else is left of it.
    #[must_use]
    pub fn into_link(self) -> Option<Link> {
        self.net.map(|net| net.link)
    }
}

/// A VM that is waited for no longer once this is dropped, whatever became of it.
struct Leaves<'a>(&'a Together);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.leave();
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
