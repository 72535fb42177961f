//! Execution of trials in emulated hosts, which run in parallel on the CPUs of this machine. When an emulated host
//! hangs or exits, its current trial is recorded as lost, and a new emulated host continues with the next trial.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use microbench_formats::cell::DEFAULT_HOST_CPU;
use microbench_formats::code::Code;
use microbench_formats::plan::Plan;
use microbench_formats::record::{self, ProbeError, Record};
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
use super::session::{Session, record_host, stop_requested, vms, with_warmups};
use super::share::{Group, lanes};
use crate::store::directory::Directory;

/// Default of [`Options::patience`], seconds. Virtual time is up to ten times slower than wall time. The value is large
/// enough for a guest that spins to exceed its own deadlines first.
pub const PATIENCE_S: u64 = 600;
/// Memory of the emulated host in addition to its files and guests, MiB.
const HOST_MIB: u64 = 768;
/// Memory of the emulated host for each guest in addition to the guest's own, MiB.
const GUEST_MIB: u64 = 64;
/// Memory that a guest touches at most, MiB. Only touched memory of an emulated host is resident on this machine. This
/// value therefore decides how many emulated hosts fit. (20 guests of 128 MiB: 2.9 GB resident in total.)
const TOUCHED_MIB: u64 = 192;
/// Number of emulated hosts in a row that may exit without completing a trial before the run fails.
const MAX_IDLE_EXITS: u32 = 2;

/// Message of a lane to the session.
#[derive(Debug)]
enum LaneMessage {
    /// An emulated host of the lane with this number has booted.
    HostBooted(usize),
    /// The error of the probe in the emulated host.
    Probe(ProbeError),
    TrialStarted(TrialRequest),
    /// A trial has ended; `duration` is time of this machine.
    TrialEnded {
        trial: TrialRequest,
        records: Vec<Record>,
        consoles: BTreeMap<String, String>,
        duration: Duration,
    },
    /// A trial was lost because its emulated host hung or exited.
    TrialLost {
        trial: TrialRequest,
        vms: u32,
        message: String,
        host: record::EmulatedHost,
        duration: Duration,
    },
    /// The lane has ended: no trials are left, or an error occurred.
    LaneEnded(anyhow::Result<()>),
}

/// The input of all lanes.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// The emulated machine of every lane.
    pub machine: &'a EmulatedHostConfig,
    pub plan: &'a Plan,
    /// Parts of the VMs, by cell.
    pub parts: &'a BTreeMap<String, Parts>,
    pub run: &'a Directory,
    pub options: &'a Options,
}

/// One lane: a share of the trials, executed in one emulated host after the other.
#[derive(Debug)]
struct Lane<'a> {
    number: usize,
    groups: Vec<Group>,
    site: Site<'a>,
    folder: PathBuf,
    budget: Budget,
    messages: Sender<LaneMessage>,
}

/// Divides `todo` among as many lanes as the CPUs and the memory of this machine allow. Each lane has one emulated host
/// at a time.
#[must_use]
pub fn shares(todo: &[TrialRequest], plan: &Plan, machine: &EmulatedHostConfig) -> Vec<Vec<Group>> {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let fit = memory::available_bytes()
        .map_or(1, |bytes| usize::try_from((bytes >> 20) / machine.resident_mib.max(1)).unwrap_or(usize::MAX));
    let of_cell: BTreeMap<&str, &str> = plan.cells.iter().map(|cell| (cell.id.as_str(), cell.host_cpu())).collect();
    let host_cpu = |trial: &TrialRequest| of_cell.get(trial.cell.as_str()).copied().unwrap_or(DEFAULT_HOST_CPU);
    lanes(todo, cpus.min(fit).max(1), host_cpu, |trial| u64::from(vms(trial, plan)))
}

/// Executes every share in emulated hosts of its own, one for each CPU, until all trials have ended or a signal requests
/// a stop.
///
/// # Errors
/// When an emulated host cannot be started, or the journal cannot be written.
pub fn execute(
    session: &mut Session<'_>,
    shares: Vec<Vec<Group>>,
    site: Site<'_>,
    scratch: &Path,
) -> anyhow::Result<()> {
    let hosts = shares.len();
    let all: Vec<TrialRequest> =
        shares.iter().flatten().flat_map(|group| with_warmups(&group.trials, site.plan)).collect();
    let title = title(&shares);
    let (sender, messages) = channel();
    std::thread::scope(|scope| {
        for (number, groups) in shares.into_iter().enumerate() {
            let folder = scratch.join(format!("lane-{number}"));
            fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
            let budget = session.budget().clone();
            let lane = Lane { number, groups, site, folder, budget, messages: sender.clone() };
            scope.spawn(move || {
                let over = lane.run();
                drop(lane.messages.send(LaneMessage::LaneEnded(over)));
            });
        }
        drop(sender);
        let mut step = Some(Step::begin(title));
        let mut up = BTreeSet::new();
        // After an error here, each lane ends after its current trial, because the channel is closed.
        for message in messages {
            match message {
                LaneMessage::HostBooted(lane) => {
                    if up.insert(lane) && up.len() == hosts {
                        if let Some(step) = step.take() {
                            step.done("booted");
                        }
                        session.start_progress(&all, hosts);
                    }
                }
                LaneMessage::Probe(error) => session.probe(error)?,
                LaneMessage::TrialStarted(trial) => session.trial_started(&trial),
                LaneMessage::TrialEnded { trial, records, consoles, duration } => {
                    session.trial_ended(&trial, &records, &consoles, duration)?;
                    session.require_disk_space(vms(&trial, site.plan))?;
                }
                LaneMessage::TrialLost { trial, vms, message, host, duration } => {
                    session.trial_lost(&trial, vms, &message, host, duration)?
                }
                LaneMessage::LaneEnded(outcome) => outcome?,
            }
        }
        Ok(())
    })
}

/// What boots: the number of emulated hosts at a time, their CPUs unless all are the default, and the clock.
fn title(shares: &[Vec<Group>]) -> String {
    let hosts = if shares.len() == 1 { "emulated host".to_owned() } else { format!("{} emulated hosts", shares.len()) };
    let cpus: BTreeSet<&str> = shares.iter().flatten().map(|group| group.host_cpu.as_str()).collect();
    let cpus: Vec<&str> = cpus.into_iter().collect();
    let cpus = if cpus == [DEFAULT_HOST_CPU] { String::new() } else { format!("{}; ", cpus.join(", ")) };
    format!("{hosts} ({cpus}QEMU TCG, virtual time: 1 instruction = 1 ns)")
}

impl Lane<'_> {
    fn run(&self) -> anyhow::Result<()> {
        self.groups.iter().try_for_each(|group| self.run_group(group))
    }

    /// Executes a group in an emulated host, and in further ones after each that hangs or exits.
    fn run_group(&self, group: &Group) -> anyhow::Result<()> {
        let mut left = group.trials.clone();
        let mut idle = 0;
        while !left.is_empty() && stop_requested().is_none() {
            let (number, log) = self.next_console();
            let own = record::EmulatedHost {
                number,
                host_cpu: group.host_cpu.clone(),
                memory_mib: self.site.machine.memory_mib,
            };
            let before = left.len();
            let mut host =
                EmulatedHost::boot(self.site.machine, &group.host_cpu, &self.job(&left), &self.folder, &log)?;
            self.send(LaneMessage::HostBooted(self.number))?;
            self.serve(&mut host, &own, &mut left)?;
            idle = if left.len() == before { idle + 1 } else { 0 };
            if idle == MAX_IDLE_EXITS {
                bail!(Code::EmulatedHostEnds.with_message(format!(
                    "the emulated host exits before it completes a trial; see its console {}",
                    log.display()
                )));
            }
        }
        Ok(())
    }

    /// Receives messages until the job is done, the emulated host is lost, or a signal requests a stop. Removes ended
    /// and lost trials from `left`. `own` describes `host` in their records.
    fn serve(
        &self,
        host: &mut EmulatedHost,
        own: &record::EmulatedHost,
        left: &mut Vec<TrialRequest>,
    ) -> anyhow::Result<()> {
        let mut current: Option<TrialRequest> = None;
        let mut started_at = Instant::now();
        loop {
            let vms = current.as_ref().map_or(1, |trial| vms(trial, self.site.plan));
            match host.next(self.site.options.patience + self.site.options.patience / 10 * vms) {
                Ok(Message::Probe(error)) => self.send(LaneMessage::Probe(error))?,
                Ok(Message::Begin(trial)) => {
                    started_at = Instant::now();
                    current = Some(trial.clone());
                    self.send(LaneMessage::TrialStarted(trial))?;
                }
                Ok(Message::End { mut records, consoles }) => {
                    record_host(&mut records, own);
                    let trial = current.take().context("the emulated host ended a trial that it had not started")?;
                    left.retain(|other| *other != trial);
                    self.send(LaneMessage::TrialEnded { trial, records, consoles, duration: started_at.elapsed() })?;
                    if stop_requested().is_some() {
                        return Ok(());
                    }
                }
                Ok(Message::Done) => return Ok(()),
                Ok(Message::Failed(error)) => {
                    bail!(Code::EmulatedHostFailed.with_message(format!("in the emulated host: {error}")))
                }
                Ok(Message::Up { .. }) => bail!(Code::EmulatedHostFailed.with_message("the emulated host restarted")),
                Err(silence) => {
                    info!(host = self.number, "{silence}; {} trials left", left.len());
                    if let Some(trial) = current {
                        left.retain(|other| *other != trial);
                        let message = silence.to_string();
                        let duration = started_at.elapsed();
                        self.send(LaneMessage::TrialLost { trial, vms, message, host: own.clone(), duration })?;
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Number and console log of the next emulated host; no other emulated host of the run has them.
    fn next_console(&self) -> (String, PathBuf) {
        let named = |boot: u32| {
            let number = format!("{}-{boot}", self.number);
            let path = self.site.run.path().join(format!("emulated-host-{number}.log"));
            (number, path)
        };
        (0..).map(named).find(|(_, path)| !path.exists()).unwrap_or_else(|| named(0))
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

    fn send(&self, message: LaneMessage) -> anyhow::Result<()> {
        self.messages.send(message).ok().context("the session has ended")
    }
}

/// Packs the file system of the emulated host into `scratch`, and computes the size of its memory.
///
/// # Errors
/// When a file cannot be read or written.
pub fn pack_file_system(
    plan: &Plan,
    parts: &BTreeMap<String, Parts>,
    lock: &Lock,
    scratch: &Path,
) -> anyhow::Result<EmulatedHostConfig> {
    let step = Step::begin("file system of the emulated host");
    let init = parts::emulated_init()?;
    // Without symbols and debug information, which are most of the file: the emulated host unpacks it in every boot.
    let stripped = scratch.join("init");
    Tool::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(&init)
        .run(None)
        .context("cannot strip the init of the emulated host")?;
    let files = parts::emulated_files(parts, lock, &init, &stripped)?;
    let initramfs = scratch.join("initramfs.cpio");
    let bytes = initramfs::write(&files, &initramfs)?;
    // The emulator has another user.
    fs::set_permissions(&initramfs, fs::Permissions::from_mode(0o644))?;
    step.done(&format!("{} files, {} MB", files.len(), bytes / 1_000_000));
    let path = |kind, name| lock.get(kind, name).map(|artifact| artifact.path.clone());
    Ok(EmulatedHostConfig {
        emulator: path(Kind::Program, program::EMULATOR)?,
        kernel: path(Kind::Kernel, parts::EMULATED_HOST_KERNEL)?,
        initramfs,
        init,
        memory_mib: memory_mib(plan, parts, bytes, u64::MAX)?,
        resident_mib: memory_mib(plan, parts, bytes, TOUCHED_MIB)?,
    })
}

/// Memory of the emulated host in MiB. It is large enough for the largest trial's guests, each with at most `guest_mib`
/// and its disk, for snapshots, and for the host's files. The files count three times: the archive, and the unpacked
/// files, which may fill at most half of the memory.
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
        let parts = parts.get(cell.id.as_str()).with_context(|| format!("the plan has no cell {}", cell.id))?;
        let each = parts.guest.memory_mib.min(guest_mib) + GUEST_MIB + image_mib(parts)?;
        guests = guests.max(u64::from(cell.concurrency) * each);
    }
    Ok(HOST_MIB + 3 * (archive >> 20) + guests + snapshots_mib(plan, parts)?)
}

/// Memory for the snapshots that an emulated host keeps, MiB: the memory of a guest for each machine and VM of a trial,
/// for the CPU with the largest sum.
fn snapshots_mib(plan: &Plan, parts: &BTreeMap<String, Parts>) -> anyhow::Result<u64> {
    let mut machines: BTreeMap<&str, BTreeMap<String, u64>> = BTreeMap::new();
    for cell in &plan.cells {
        let parts = parts.get(cell.id.as_str()).with_context(|| format!("the plan has no cell {}", cell.id))?;
        if launch::restores_from_snapshot(&parts.engine, &cell.settings)? {
            let memory = u64::from(cell.concurrency) * parts.guest.memory_mib;
            let most = machines.entry(cell.host_cpu()).or_default().entry(cell.configuration_key()).or_default();
            *most = memory.max(*most);
        }
    }
    Ok(machines.values().map(|machines| machines.values().sum()).max().unwrap_or(0))
}
