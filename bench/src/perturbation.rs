//! What the runner takes from its guests: its CPU time beside that of the VMMs whose VMs start at once, in the emulated host, where nothing else
//! runs.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use microbench_formats::event::reading;
use microbench_plots::journal;

use crate::Bench;
use crate::outcome::{Figure, Outcome, Row};

const VMS: usize = 20;

/// What is measured: the reading, the words, and the goal with its limit in percent.
type Part = (&'static str, &'static str, &'static str, Option<f64>);

/// The parts, from the smallest to the whole. The last is the process's, the same in each VM's readings.
const PARTS: [Part; 3] = [
    (reading::PROBE_CPU_TIME, "the probes", "under 1 %", Some(1.0)),
    (reading::RUNNER_VM_CPU_TIME, "the VMs' threads from the release to the end", "stated", None),
    (
        reading::RUNNER_CPU_TIME,
        "all that the runner does for the trial, before, within and after",
        "under 1 %",
        Some(1.0),
    ),
];

/// Measures: as many trials as rounds of each engine.
pub(crate) fn measure(bench: &Bench) -> Result<Outcome> {
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let (manifest, run) = (folder.path().join("load.toml"), folder.path().join("run"));
    let text = format!(
        "[study]\nname = \"load\"\ntitle = \"Twenty at once\"\nseed = 1\n\
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
        let of = |name: &str| -> Result<Vec<f64>> {
            let all = execution.vms.values().map(|vm| vm.readings.get(name)?.0.clone().ok());
            all.collect::<Option<Vec<f64>>>().with_context(|| format!("a VM has no {name}"))
        };
        let vmms: f64 = of(reading::VMM_CPU_TIME)?.iter().sum();
        for (at, (name, ..)) in PARTS.into_iter().enumerate() {
            let own = of(name)?;
            let time = if name == reading::RUNNER_CPU_TIME { own[0] } else { own.iter().sum() };
            shares.entry((execution.cell.clone(), at)).or_default().push(time / vmms * 100.0);
        }
    }
    let rows = shares.into_iter().map(|((cell, at), shares)| {
        let (_, what, goal, limit) = PARTS[at];
        let figure = Figure::of(&shares);
        Row {
            what: format!("{cell}: CPU time of {what}, beside that of the VMMs"),
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
