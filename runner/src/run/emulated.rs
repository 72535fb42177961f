//! Executes trials in an emulated host; when one hangs or dies, the trial it held is recorded so and a fresh one goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use microbench_plots::record::{Cell, Level, Plan};

use super::directory::Directory;
use super::session::{Session, stop_requested};
use super::parts;
use crate::artifact::Kind;
use crate::artifact::lock::Lock;
use crate::progress::Step;
use crate::testbed::emulator::{Emulated, Machine};
use crate::testbed::initramfs;
use crate::testbed::wire::{Job, JobTrial, Message};
use crate::tool::Tool;
use crate::vm::Parts;

/// Real time that a trial may take: this much, and more a VM.
const TRIAL_LIMIT: Duration = Duration::from_secs(180);
const VM_LIMIT: Duration = Duration::from_secs(60);
/// Memory of the emulated host beside its files and guests, MiB, and a guest's beside its own.
const HOST_MIB: u64 = 768;
const GUEST_MIB: u64 = 64;
/// Emulated hosts that may end without ending a trial before the run gives up.
const IDLE_DEATHS: u32 = 2;

/// Executes every missing trial until the end or a signal.
///
/// # Errors
/// When the emulated host cannot be made or the journal cannot be written.
pub fn execute(
    session: &mut Session,
    plan: &Plan,
    parts: &BTreeMap<String, Parts>,
    lock: &Lock,
    run: &Directory,
    scratch: &Path,
) -> anyhow::Result<()> {
    let machine = pack(plan, parts, lock, scratch)?;
    let (mut number, mut idle) = (0, 0);
    while !session.todo().is_empty() && stop_requested().is_none() {
        let before = session.todo().len();
        let log = run.path().join(format!("testbed-{number}.log"));
        number += 1;
        let step = Step::begin("emulated host (QEMU TCG, virtual time: 1 instruction = 1 ns)");
        let job = job(session.todo(), plan, parts, run);
        let mut host = Emulated::boot(&machine, &job, scratch, &log)?;
        step.done("booted");
        if number == 1 {
            session.show("trials");
        }
        serve(&mut host, session, plan)?;
        idle = if session.todo().len() == before { idle + 1 } else { 0 };
        if idle == IDLE_DEATHS {
            bail!("the emulated host ends before it completes a trial; its console is {}", log.display());
        }
    }
    Ok(())
}

/// Takes messages until the job is done, the host is lost, or a signal.
fn serve(host: &mut Emulated, session: &mut Session, plan: &Plan) -> anyhow::Result<()> {
    let mut current: Option<JobTrial> = None;
    loop {
        let vms = current.as_ref().map_or(1, |trial| vms(trial, plan));
        match host.next(TRIAL_LIMIT + VM_LIMIT * vms) {
            Ok(Message::Begin(trial)) => current = Some(trial),
            Ok(Message::End { records, consoles }) => {
                let trial = current.take().context("the emulated host ended a trial that it had not begun")?;
                session.ended(&trial, &records, &consoles)?;
                if stop_requested().is_some() {
                    return Ok(());
                }
            }
            Ok(Message::Done) => return Ok(()),
            Ok(Message::Failed(error)) => bail!("in the emulated host: {error}"),
            Ok(Message::Up { .. }) => bail!("the emulated host restarted"),
            Err(silence) => {
                if let Some(trial) = current {
                    session.lost(&trial, vms, &silence.to_string())?;
                }
                return Ok(());
            }
        }
    }
}

fn vms(trial: &JobTrial, plan: &Plan) -> u32 {
    let cell = plan.cells.iter().find(|cell| cell.id == trial.cell);
    if trial.warmup { 1 } else { cell.map_or(1, |cell| cell.concurrency) }
}

fn job(todo: &[JobTrial], plan: &Plan, parts: &BTreeMap<String, Parts>, run: &Directory) -> Job {
    let used: BTreeSet<&str> = todo.iter().map(|trial| trial.cell.as_str()).collect();
    Job {
        run: run.name(),
        cells: plan.cells.iter().filter(|cell| used.contains(cell.id.as_str())).cloned().collect(),
        parts: parts.iter().map(|(cell, parts)| (cell.clone(), parts.clone().into())).collect(),
        workloads: plan.workloads.clone(),
        trials: todo.to_vec(),
    }
}

/// Packs the emulated host's file system and sizes its memory.
fn pack(plan: &Plan, parts: &BTreeMap<String, Parts>, lock: &Lock, scratch: &Path) -> anyhow::Result<Machine> {
    let step = Step::begin("emulated host's file system");
    let this = std::env::current_exe().context("cannot find this program")?;
    // Symbols and debug information are most of the program, and the emulated host would unpack them in every boot.
    let stripped = scratch.join("microbench");
    Tool::new("strip").arg("-o").arg(&stripped).arg(&this).run(None).context("cannot strip this program")?;
    let files = parts::closure(parts, lock, &this, &stripped)?;
    let initramfs = scratch.join("initramfs.cpio");
    let bytes = initramfs::write(&files, &initramfs)?;
    step.done(&format!("{} files, {} MB", files.len(), bytes / 1_000_000));
    let path = |kind, name| lock.get(kind, name).map(|artifact| artifact.path.clone());
    Ok(Machine {
        emulator: path(Kind::Program, parts::EMULATOR)?,
        kernel: path(Kind::Kernel, parts::TESTBED_KERNEL)?,
        initramfs,
        first: this,
        memory_mib: memory_mib(plan, parts, bytes)?,
    })
}

/// Memory that the emulated host needs: its files twice (the archive and what is unpacked of it, which may fill half of the
/// memory), and the largest trial's guests with their disks.
fn memory_mib(plan: &Plan, parts: &BTreeMap<String, Parts>, archive: u64) -> anyhow::Result<u64> {
    let image_mib = |cell: &Cell| -> anyhow::Result<u64> {
        let image: &PathBuf = &parts.get(&cell.id).with_context(|| format!("no cell {}", cell.id))?.image;
        let clone = cell.settings.get("disk") == Some(&Level::Text("clone".into()));
        Ok(if clone { fs::metadata(image)?.len() >> 20 } else { 0 })
    };
    let mut guests = 0;
    for cell in &plan.cells {
        let memory = match cell.settings.get("memory_mib") {
            Some(Level::Int(mib)) => mib.unsigned_abs(),
            _ => 512,
        };
        guests = guests.max(u64::from(cell.concurrency) * (memory + GUEST_MIB + image_mib(cell)?));
    }
    Ok(HOST_MIB + 3 * (archive >> 20) + guests)
}

