//! Executes trials in emulated hosts, one beside the other on this machine's CPUs; when one hangs or dies, the trial it held is
//! recorded so and a fresh one goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use microbench_formats::code::Code;
use microbench_formats::plan::Plan;
use microbench_formats::record::{ProbeError, Record};
use microbench_measure::artifacts::Kind;
use microbench_measure::artifacts::lock::Lock;
use microbench_measure::artifacts::program;
use microbench_measure::artifacts::tool::Tool;
use microbench_measure::emulated_host::emulator::{EmulatedHost, EmulatedHostConfig};
use microbench_measure::emulated_host::initramfs;
use microbench_measure::emulated_host::wire::{Job, Message};
use microbench_measure::host::counters::memory;
use microbench_measure::parts::Parts;
use microbench_measure::terminal::log;
use microbench_measure::terminal::progress::Step;
use microbench_measure::trial::budget::Budget;
use microbench_measure::trial::request::TrialRequest;
use microbench_measure::workload::PreparedWorkload;
use microbench_study::engine::guest_settings::DiskKind;
use microbench_study::engine::launch;
use tracing::info;

use super::execute::Options;
use super::parts;
use super::session::{Session, stop_requested, vms, with_warmups};
use super::share::share;
use crate::store::directory::Directory;

/// Real time that a trial may take before its host counts as hung: this much, and a tenth of it more a VM. Long enough for a guest
/// that spins to meet its deadlines in virtual time first, which is up to ten times slower.
pub const PATIENCE_S: u64 = 600;
/// Memory of the emulated host beside its files and guests, MiB, and a guest's beside its own.
const HOST_MIB: u64 = 768;
const GUEST_MIB: u64 = 64;
/// What a guest touches of its memory at most, MiB, as far as sharing this machine goes: an emulated host takes real memory only
/// for what is touched in it. (20 guests of 128 MiB: 2.9 GB resident in all.)
const TOUCHED_MIB: u64 = 192;
/// EmulatedHost hosts that may end without ending a trial before the run gives up.
const IDLE_DEATHS: u32 = 2;

/// What a lane, which is one emulated host after the other, tells the session.
#[derive(Debug)]
enum News {
    /// An emulated host is up.
    Up,
    /// The error of the probe in it.
    Probe(ProbeError),
    /// A trial has begun.
    Begun(TrialRequest),
    /// A trial has ended, after so long a time of this machine.
    Trial { trial: TrialRequest, records: Vec<Record>, consoles: BTreeMap<String, String>, took: Duration },
    /// A trial went down with its host.
    Lost { trial: TrialRequest, vms: u32, message: String, took: Duration },
    /// The lane has no trials left, or cannot go on.
    Over(anyhow::Result<()>),
}

/// Where and of what trials are executed.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// The emulated host.
    pub machine: &'a EmulatedHostConfig,
    /// The run's plan.
    pub plan: &'a Plan,
    /// What each cell's VMs are made of.
    pub parts: &'a BTreeMap<String, Parts>,
    /// The run.
    pub run: &'a Directory,
    /// How the session is executed.
    pub options: Options,
}

/// One lane: its trials and what they are made of.
#[derive(Debug)]
struct Lane<'a> {
    number: usize,
    trials: Vec<TrialRequest>,
    site: Site<'a>,
    folder: PathBuf,
    budget: Budget,
    news: Sender<News>,
}

/// Divides `todo` over as many emulated hosts as this machine has CPUs and memory for.
#[must_use]
pub fn shares(todo: &[TrialRequest], plan: &Plan, machine: &EmulatedHostConfig) -> Vec<Vec<TrialRequest>> {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let fit = memory::available_bytes()
        .map_or(1, |bytes| usize::try_from((bytes >> 20) / machine.resident_mib.max(1)).unwrap_or(usize::MAX));
    share(todo, cpus.min(fit).max(1), |trial| u64::from(vms(trial, plan)))
}

/// Executes every share in its own emulated host until the end or a signal.
///
/// # Errors
/// When an emulated host cannot be made or the journal cannot be written.
pub fn execute(
    session: &mut Session<'_>,
    shares: Vec<Vec<TrialRequest>>,
    site: Site<'_>,
    scratch: &Path,
) -> anyhow::Result<()> {
    let hosts = shares.len();
    let all: Vec<TrialRequest> = shares.iter().flat_map(|share| with_warmups(share, site.plan)).collect();
    let (sender, news) = channel();
    std::thread::scope(|scope| {
        for (number, trials) in shares.into_iter().enumerate() {
            let folder = scratch.join(format!("lane-{number}"));
            fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
            let budget = session.budget().clone();
            let lane = Lane { number, trials, site, folder, budget, news: sender.clone() };
            scope.spawn(move || {
                let over = lane.run();
                drop(lane.news.send(News::Over(over)));
            });
        }
        drop(sender);
        let title = if hosts == 1 { "emulated host".to_owned() } else { format!("{hosts} emulated hosts") };
        let mut step = Some(Step::begin(format!("{title} (QEMU TCG, virtual time: 1 instruction = 1 ns)")));
        let mut up = 0;
        // A lane that finds nobody listening ends after the trial that it is in.
        for news in news {
            match news {
                News::Up => {
                    up += 1;
                    if up == hosts {
                        if let Some(step) = step.take() {
                            step.done("up");
                        }
                        session.show(&all, hosts);
                    }
                }
                News::Probe(error) => session.probe(error)?,
                News::Begun(trial) => session.begins(&trial),
                News::Trial { trial, records, consoles, took } => {
                    session.ended(&trial, &records, &consoles, took)?;
                    session.room(vms(&trial, site.plan))?;
                }
                News::Lost { trial, vms, message, took } => session.lost(&trial, vms, &message, took)?,
                News::Over(outcome) => outcome?,
            }
        }
        Ok(())
    })
}

impl Lane<'_> {
    fn run(&self) -> anyhow::Result<()> {
        let mut left = self.trials.clone();
        let mut idle = 0;
        while !left.is_empty() && stop_requested().is_none() {
            let log = self.log();
            let before = left.len();
            let mut host = EmulatedHost::boot(self.site.machine, &self.job(&left), &self.folder, &log)?;
            self.tell(News::Up)?;
            self.serve(&mut host, &mut left)?;
            idle = if left.len() == before { idle + 1 } else { 0 };
            if idle == IDLE_DEATHS {
                bail!(Code::EmulatedHostEnds.says(format!(
                    "the emulated host ends before it completes a trial; its console is {}",
                    log.display()
                )));
            }
        }
        Ok(())
    }

    /// Takes messages until the job is done, the host is lost, or a signal.
    fn serve(&self, host: &mut EmulatedHost, left: &mut Vec<TrialRequest>) -> anyhow::Result<()> {
        let mut current: Option<TrialRequest> = None;
        let mut begun = Instant::now();
        loop {
            let vms = current.as_ref().map_or(1, |trial| vms(trial, self.site.plan));
            match host.next(self.site.options.patience + self.site.options.patience / 10 * vms) {
                Ok(Message::Probe(error)) => self.tell(News::Probe(error))?,
                Ok(Message::Begin(trial)) => {
                    begun = Instant::now();
                    current = Some(trial.clone());
                    self.tell(News::Begun(trial))?;
                }
                Ok(Message::End { records, consoles }) => {
                    let trial = current.take().context("the emulated host ended a trial that it had not begun")?;
                    left.retain(|other| *other != trial);
                    self.tell(News::Trial { trial, records, consoles, took: begun.elapsed() })?;
                    if stop_requested().is_some() {
                        return Ok(());
                    }
                }
                Ok(Message::Done) => return Ok(()),
                Ok(Message::Failed(error)) => {
                    bail!(Code::EmulatedHostFailed.says(format!("in the emulated host: {error}")))
                }
                Ok(Message::Up { .. }) => bail!(Code::EmulatedHostFailed.says("the emulated host restarted")),
                Err(silence) => {
                    info!(host = self.number, "{silence}; {} trials are left", left.len());
                    if let Some(trial) = current {
                        left.retain(|other| *other != trial);
                        let message = silence.to_string();
                        self.tell(News::Lost { trial, vms, message, took: begun.elapsed() })?;
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Where the next host's console goes: a name that no host of this run has had.
    fn log(&self) -> PathBuf {
        let named = |boot: u32| self.site.run.path().join(format!("emulated-host-{}-{boot}.log", self.number));
        (0..).map(named).find(|path| !path.exists()).unwrap_or_else(|| named(0))
    }

    fn job(&self, trials: &[TrialRequest]) -> Job {
        let used: BTreeSet<&str> = trials.iter().map(|trial| trial.cell.as_str()).collect();
        Job {
            run: self.site.run.name(),
            cells: self.site.plan.cells.iter().filter(|cell| used.contains(cell.id.as_str())).cloned().collect(),
            parts: self.site.parts.clone(),
            workloads: self.site.plan.workloads.clone(),
            trials: with_warmups(trials, self.site.plan),
            budget: self.budget.clone(),
            fake_guests: self.site.options.fake_guests,
            log: log::variable(),
        }
    }

    fn tell(&self, news: News) -> anyhow::Result<()> {
        self.news.send(news).ok().context("the session has ended")
    }
}

/// Packs the emulated host's file system and sizes its memory.
///
/// # Errors
/// When a file cannot be read or written.
pub fn pack(
    plan: &Plan,
    parts: &BTreeMap<String, Parts>,
    lock: &Lock,
    scratch: &Path,
) -> anyhow::Result<EmulatedHostConfig> {
    let step = Step::begin("emulated host's file system");
    let first = parts::first_process()?;
    // Symbols and debug information are most of the program, and the emulated host would unpack them in every boot.
    let stripped = scratch.join("first-process");
    Tool::new("strip").arg("-o").arg(&stripped).arg(&first).run(None).context("cannot strip the first process")?;
    let files = parts::closure(parts, lock, &first, &stripped)?;
    let initramfs = scratch.join("initramfs.cpio");
    let bytes = initramfs::write(&files, &initramfs)?;
    step.done(&format!("{} files, {} MB", files.len(), bytes / 1_000_000));
    let path = |kind, name| lock.get(kind, name).map(|artifact| artifact.path.clone());
    Ok(EmulatedHostConfig {
        emulator: path(Kind::Program, program::EMULATOR)?,
        kernel: path(Kind::Kernel, parts::EMULATED_HOST_KERNEL)?,
        initramfs,
        init: first,
        memory_mib: memory_mib(plan, parts, bytes, u64::MAX)?,
        resident_mib: memory_mib(plan, parts, bytes, TOUCHED_MIB)?,
    })
}

/// Memory that the emulated host needs: its files twice (the archive and what is unpacked of it, which may fill half of the
/// memory), the largest trial's guests, each with at most `guest_mib` of its memory, with their disks, and the snapshots.
fn memory_mib(plan: &Plan, parts: &BTreeMap<String, Parts>, archive: u64, guest_mib: u64) -> anyhow::Result<u64> {
    let image_mib = |parts: &Parts| -> anyhow::Result<u64> {
        let regions: u64 = plan.workloads.iter().map(PreparedWorkload::disk_region_bytes).sum();
        Ok(match parts.guest.disk {
            DiskKind::Clone => (fs::metadata(&parts.image)?.len() + regions) >> 20,
            DiskKind::Shared => 0,
        })
    };
    let mut guests = 0;
    for cell in &plan.cells {
        let parts = parts.get(cell.id.as_str()).with_context(|| format!("no cell {}", cell.id))?;
        let each = parts.guest.memory_mib.min(guest_mib) + GUEST_MIB + image_mib(parts)?;
        guests = guests.max(u64::from(cell.concurrency) * each);
    }
    Ok(HOST_MIB + 3 * (archive >> 20) + guests + snapshots_mib(plan, parts)?)
}

/// Memory for the snapshots of guests that are restored, which a session keeps: a guest's memory for each machine and VM of a trial.
fn snapshots_mib(plan: &Plan, parts: &BTreeMap<String, Parts>) -> anyhow::Result<u64> {
    let mut machines: BTreeMap<String, u64> = BTreeMap::new();
    for cell in &plan.cells {
        let parts = parts.get(cell.id.as_str()).with_context(|| format!("no cell {}", cell.id))?;
        if launch::restores_from_snapshot(&parts.engine, &cell.settings)? {
            let memory = u64::from(cell.concurrency) * parts.guest.memory_mib;
            let most = machines.entry(cell.configuration_key()).or_default();
            *most = memory.max(*most);
        }
    }
    Ok(machines.values().sum())
}
