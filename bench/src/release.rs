//! How far apart the VMs of one trial are started, beside threads that do nothing but spawn behind a barrier.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::Instant;

use anyhow::{Context, Result};
use microbench_formats::event;

use crate::Bench;
use crate::outcome::{Figure, Named, Outcome, Row};
use crate::project::Project;

/// What does nothing, for as long as it takes to start all.
const PROGRAM: &str = "/usr/bin/sleep";
/// How long, seconds.
const SECONDS: &str = "3";
/// VMs of a trial.
const LEVELS: [u32; 2] = [20, 200];

pub(crate) fn measure(bench: &Bench) -> Result<Outcome> {
    let project = Project::new(Path::new(PROGRAM), &format!("[\"{{{{program}}}}\", \"{SECONDS}\"]"))?;
    let mut spreads = LEVELS.map(|vms| (vms, Vec::new(), Vec::new()));
    for round in 0..bench.rounds {
        for (vms, ours, limit) in &mut spreads {
            ours.push(of_a_trial(bench, &project, *vms, round)?);
            limit.push(bare(*vms)?);
        }
    }
    let rows = spreads.map(|(vms, ours, limit)| {
        let (ours, limit) = (Figure::of(&ours), Figure::of(&limit));
        Row {
            what: format!("a trial of {vms} VMs that do nothing: from the first spawn to the last"),
            unit: "ms",
            ours,
            peer: None,
            limit: Some(Named { name: "threads that spawn behind a std::sync::Barrier".into(), figure: limit }),
            goal: "limited by the forks alone: within 1.5x of the limit",
            met: Some(ours.median <= 1.5 * limit.median),
        }
    });
    Ok(Outcome { rows: rows.into(), curves: Vec::new() })
}

/// The spread of a trial's spawns, milliseconds.
fn of_a_trial(bench: &Bench, project: &Project, vms: u32, round: usize) -> Result<f64> {
    // Every VM fails, because its VMM ends: the spawns are on record all the same.
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
    let trial = journal.executions.first().context("the trial did not end")?;
    let spawns = trial.vms.values().map(|vm| vm.events.get(event::SPAWN).context("a VM was not started"));
    let spawns = spawns.collect::<Result<Vec<_>>>()?;
    let (first, last) = (spawns.iter().min().context("no VM")?, spawns.iter().max().context("no VM")?);
    Ok((*last - *first) as f64 / 1e6)
}

/// The spread of the spawns of threads that do nothing else, milliseconds.
fn bare(vms: u32) -> Result<f64> {
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
    let (first, last) = (begun.iter().min().context("no VM")?, begun.iter().max().context("no VM")?);
    Ok((*last - *first).as_secs_f64() * 1e3)
}
