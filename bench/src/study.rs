//! Overhead of a study: its wall time compared with the total life of its VMs. The VMs have no cost: each is
//! the guest's agent as a plain process, which is held for a second.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use microbench_plots::journal;

use crate::outcome::{Figure, Named, Outcome, Row};
use crate::{Bench, measure};

const VMS: usize = 20;

const MANIFEST: &str = r#"
[study]
name = "life"
title = "VMs that live for a second"
seed = 1
[guest]
kernel = "microvm-6.1"
rootfs = "minimal"
memory_mib = 64
hold_s = 1
[variants.process]
label = "Plain process"
engine = "process"
[matrix]
concurrency = [1]
trials = 20
warmup = false
[metrics]
webservice_startup_time = {}
"#;

pub(crate) fn measure(bench: &Bench) -> Result<Outcome> {
    let folder = tempfile::tempdir().context("cannot create a folder")?;
    let manifest = folder.path().join("life.toml");
    fs::write(&manifest, MANIFEST).context("cannot write the study")?;
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for round in 0..bench.rounds {
        let run = folder.path().join(format!("run-{round}"));
        let mut command = Command::new(&bench.microbench);
        command.arg("run").arg(&manifest).args(["--host", "fake", "--project", ".", "--out"]).arg(&run);
        let wall = measure::run(command.env("MICROBENCH_AGENT", &bench.agent))?.wall.as_secs_f64();
        ours.push(overhead_percent(wall, lives(&run)?));
        peers.extend(hyperfine(folder.path())?);
    }
    let figure = Figure::of(&ours);
    let row = Row {
        what: format!("study of {VMS} VMs of 1 s, one after the other: share of its wall time outside their lives"),
        unit: "%",
        ours: figure,
        peer: (!peers.is_empty())
            .then(|| Named { name: format!("hyperfine, {VMS} runs of sleep 1"), figure: Figure::of(&peers) }),
        limit: None,
        goal: "under 5 %",
        met: Some(figure.median < 5.0),
    };
    Ok(Outcome { rows: vec![row], curves: Vec::new() })
}

/// Returns the part of `wall` that is not in `lives`, percent; both are in seconds.
fn overhead_percent(wall: f64, lives: f64) -> f64 {
    (wall - lives) / wall * 100.0
}

/// Returns the total life of a run's VMs, from spawn to exit, seconds.
fn lives(run: &Path) -> Result<f64> {
    let journal = journal::read(&run.join("journal.ndjson"))?;
    let vms: Vec<_> = journal.executions.iter().flat_map(|execution| execution.vms.values()).collect();
    anyhow::ensure!(vms.len() == VMS, "the run has {} VMs instead of {VMS}", vms.len());
    let life = |events: &std::collections::BTreeMap<String, u64>| {
        Some(events.get("exit")?.saturating_sub(*events.get("spawn")?))
    };
    let lives = vms.iter().map(|vm| life(&vm.events).context("a VM did not complete")).collect::<Result<Vec<_>>>()?;
    Ok(lives.iter().sum::<u64>() as f64 / 1e9)
}

/// Returns the same share for hyperfine; `None` if hyperfine is not installed.
fn hyperfine(folder: &Path) -> Result<Option<f64>> {
    if Command::new("hyperfine").arg("--version").output().is_err() {
        return Ok(None);
    }
    let times = folder.join("times.json");
    let mut command = Command::new("hyperfine");
    command.args(["--shell=none", "--runs", &VMS.to_string(), "--export-json"]).arg(&times).arg("sleep 1");
    let wall = measure::run(&mut command)?.wall.as_secs_f64();
    let found: serde_json::Value =
        serde_json::from_slice(&fs::read(&times).context("cannot read the times of hyperfine")?)?;
    let times = found["results"][0]["times"].as_array().context("cannot read the times of hyperfine")?;
    Ok(Some(overhead_percent(wall, times.iter().filter_map(serde_json::Value::as_f64).sum())))
}
