//! Spread of the VMs' starts in one trial, compared with threads that only spawn a process behind a barrier.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::Instant;

use anyhow::{Context, Result};
use microbench_formats::event;

use crate::Bench;
use crate::outcome::{Figure, Named, Outcome, Row};
use crate::project::Project;

/// Program that does nothing until all processes have started.
const PROGRAM: &str = "/usr/bin/sleep";
/// Run time of the program, seconds.
const SECONDS: &str = "3";
/// Numbers of VMs of a trial.
const LEVELS: [u32; 2] = [20, 200];

pub(crate) fn measure(bench: &Bench) -> Result<Outcome> {
    let project = Project::new(Path::new(PROGRAM), &format!("[\"{{{{program}}}}\", \"{SECONDS}\"]"))?;
    let mut spreads = LEVELS.map(|vms| (vms, Vec::new(), Vec::new()));
    for round in 0..bench.rounds {
        for (vms, ours, limit) in &mut spreads {
            ours.push(spawn_spread(bench, &project, *vms, round)?);
            limit.push(thread_spread(*vms)?);
        }
    }
    let rows = spreads.map(|(vms, ours, limit)| {
        let (ours, limit) = (Figure::of(&ours), Figure::of(&limit));
        Row {
            what: format!("trial of {vms} VMs that do nothing: first spawn to last spawn"),
            unit: "ms",
            ours,
            peer: None,
            limit: Some(Named { name: "threads that spawn behind a std::sync::Barrier".into(), figure: limit }),
            goal: "limited by the forks: within 1.5x of the limit",
            met: Some(ours.median <= 1.5 * limit.median),
        }
    });
    Ok(Outcome { rows: rows.into(), curves: Vec::new() })
}

/// Runs a trial of `vms` VMs; returns the time from the first spawn to the last, milliseconds.
fn spawn_spread(bench: &Bench, project: &Project, vms: u32, round: usize) -> Result<f64> {
    // Every VM fails, because its VMM exits; the spawns are recorded nevertheless.
    project.write(
        "study.toml",
        &format!(
            "[study]\nname = \"release\"\ntitle = \"Release\"\nseed = 1\n[guest]\nkernel = \"tiny\"\nrootfs = \"tiny\"\n\
             [variants.ends]\nlabel = \"ends\"\nengine = \"fake\"\n\
             [matrix]\nconcurrency = [{vms}]\ntrials = 1\nwarmup = false\n[metrics]\nwebservice_startup_time = {{}}\n"
        ),
    )?;
    let run = format!("run-{vms}-{round}");
    let arguments = ["run", "study.toml", "--host", "fake", "--fake-guests", "1", "--out", &run];
    let output = project.command(bench, &arguments)?.stdin(Stdio::null()).output().context("cannot start a run")?;
    let journal = project.journal(&run).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let trial = journal.executions.first().context("the trial is missing from the journal")?;
    let spawns = trial.vms.values().map(|vm| vm.events.get(event::SPAWN).context("a VM was not started"));
    let spawns = spawns.collect::<Result<Vec<_>>>()?;
    let (first, last) =
        (spawns.iter().min().context("the trial has no VMs")?, spawns.iter().max().context("the trial has no VMs")?);
    Ok((*last - *first) as f64 / 1e6)
}

/// Spawns `vms` processes from as many threads; returns the time from the first spawn to the last,
/// milliseconds.
fn thread_spread(vms: u32) -> Result<f64> {
    let barrier = Barrier::new(usize::try_from(vms)?);
    let start = || -> Result<Instant> {
        let mut command = Command::new(PROGRAM);
        command.arg(SECONDS).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        barrier.wait();
        let begun = Instant::now();
        command.spawn().context("cannot start the program")?.wait()?;
        Ok(begun)
    };
    let begun = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..vms).map(|_| scope.spawn(start)).collect();
        let all = threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?);
        all.collect::<Result<Vec<_>>>()
    })?;
    let (first, last) =
        (begun.iter().min().context("the trial has no VMs")?, begun.iter().max().context("the trial has no VMs")?);
    Ok((*last - *first).as_secs_f64() * 1e3)
}
