//! Overhead of the runner: its CPU time relative to that of the VMMs, when VMs start at the same time. It is
//! measured on the emulated host, where nothing else runs.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use microbench_formats::event::reading;
use microbench_plots::journal;

use crate::Bench;
use crate::outcome::{Figure, Outcome, Row};

const VMS: usize = 20;

/// A measured part: its reading, its description, its goal, and the goal's limit in percent.
type Part = (&'static str, &'static str, &'static str, Option<f64>);

/// The parts, from the smallest to the total. The last reading belongs to the process and is the same for
/// each VM.
const PARTS: [Part; 3] = [
    (reading::PROBE_CPU_TIME, "the probes", "under 1 %", Some(1.0)),
    (reading::RUNNER_VM_CPU_TIME, "the VMs' threads from the release to the exit", "stated", None),
    (reading::RUNNER_CPU_TIME, "the runner for the trial, including preparation and clean-up", "under 1 %", Some(1.0)),
];

/// Runs one trial per round and engine.
pub(crate) fn measure(bench: &Bench) -> Result<Outcome> {
    let folder = tempfile::tempdir().context("cannot create a folder")?;
    let (manifest, run) = (folder.path().join("load.toml"), folder.path().join("run"));
    let text = format!(
        "[study]\nname = \"load\"\ntitle = \"Twenty VMs at once\"\nseed = 1\n\
         [guest]\nkernel = \"microvm-6.1\"\nrootfs = \"minimal\"\nmemory_mib = 128\n\
         [variants.fc]\nlabel = \"Firecracker\"\nengine = \"firecracker\"\n\
         [variants.qemu]\nlabel = \"QEMU\"\nengine = \"qemu-microvm\"\n\
         [matrix]\nconcurrency = [{VMS}]\ntrials = {}\nwarmup = false\n[metrics]\nwebservice_startup_time = {{}}\n",
        bench.rounds
    );
    fs::write(&manifest, text).context("cannot write the study")?;
    let mut command = Command::new(&bench.microbench);
    command.arg("run").arg(&manifest).args(["--host", "emulated", "--project", ".", "--out"]).arg(&run);
    let output = command.env("MICROBENCH_AGENT", &bench.agent).stdin(Stdio::null()).output()?;
    anyhow::ensure!(output.status.success(), "the run failed:\n{}", String::from_utf8_lossy(&output.stderr));

    let mut shares: BTreeMap<(String, usize), Vec<f64>> = BTreeMap::new();
    for execution in &journal::read(&run.join("journal.ndjson"))?.executions {
        let values = |name: &str| -> Result<Vec<f64>> {
            let all = execution.vms.values().map(|vm| vm.readings.get(name)?.0.clone().ok());
            all.collect::<Option<Vec<f64>>>().with_context(|| format!("a VM has no reading {name}"))
        };
        let vmms: f64 = values(reading::VMM_CPU_TIME)?.iter().sum();
        for (at, (name, ..)) in PARTS.into_iter().enumerate() {
            let own = values(name)?;
            let time = if name == reading::RUNNER_CPU_TIME { own[0] } else { own.iter().sum() };
            shares.entry((execution.cell.clone(), at)).or_default().push(time / vmms * 100.0);
        }
    }
    let rows = shares.into_iter().map(|((cell, at), shares)| {
        let (_, what, goal, limit) = PARTS[at];
        let figure = Figure::of(&shares);
        Row {
            what: format!("{cell}: CPU time of {what}, relative to that of the VMMs"),
            unit: "%",
            ours: figure,
            peer: None,
            limit: None,
            goal,
            met: limit.map(|limit| figure.median < limit),
        }
    });
    Ok(Outcome { rows: rows.collect(), curves: Vec::new() })
}
