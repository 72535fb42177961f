//! Cost of the emulated host in real time: from the start of a run to its first trial, per VM, and the rest.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use microbench_plots::journal;

use crate::Bench;
use crate::outcome::{Figure, Named, Outcome, Row};

/// VMs of a run. Each is a trial of its own; a warm-up precedes the first one.
const VMS: usize = 8;

const MANIFEST: &str = r#"
[study]
name = "boot"
title = "One guest after the other"
seed = 1
[guest]
kernel = "microvm-6.1"
rootfs = "minimal"
memory_mib = 128
[variants.fc]
label = "Firecracker"
engine = "firecracker"
[matrix]
concurrency = [1]
trials = 8
warmup = true
[metrics]
webservice_startup_time = {}
shutdown_time = {}
"#;

/// Each round is a run on one emulated host, and a run on two emulated hosts that share the trials, one per
/// CPU.
pub(crate) fn measure(bench: &Bench) -> Result<Outcome> {
    let folder = tempfile::tempdir().context("cannot create a folder")?;
    let manifest = folder.path().join("boot.toml");
    fs::write(&manifest, MANIFEST).context("cannot write the study")?;
    let [mut first, mut each, mut outside, mut rate, mut rate_two] = [const { Vec::new() }; 5];
    let (mut startup, mut startup_two) = (Vec::new(), Vec::new());
    for round in 0..bench.rounds {
        let one = run(bench, &manifest, &folder.path().join(format!("one-{round}")), "0")?;
        let two = run(bench, &manifest, &folder.path().join(format!("two-{round}")), "0,1")?;
        let (warm, trials) = one.ends.split_first().context("no trial was executed")?;
        anyhow::ensure!(trials.len() == VMS, "the run has {} trials instead of {VMS}", trials.len());
        let within = trials[VMS - 1] - *warm;
        first.push(warm.as_secs_f64());
        each.push(within.as_secs_f64() / VMS as f64);
        outside.push((one.wall - within).as_secs_f64() / one.wall.as_secs_f64() * 100.0);
        rate.push(VMS as f64 / one.wall.as_secs_f64() * 60.0);
        rate_two.push(VMS as f64 / two.wall.as_secs_f64() * 60.0);
        startup.extend(one.startup_ms);
        startup_two.extend(two.startup_ms);
    }
    let row = |what: &str, unit, values: &[f64]| Row {
        what: format!("emulated host: {what}"),
        unit,
        ours: Figure::of(values),
        peer: None,
        limit: None,
        goal: "none set",
        met: None,
    };
    let one = |values: &[f64]| Some(Named { name: "one emulated host".into(), figure: Figure::of(values) });
    let (startup_one_host, startup_two_hosts) = (Figure::of(&startup), Figure::of(&startup_two));
    let rows = vec![
        row("start of a run to its first trial, including a warm-up", "s", &first),
        row("each further VM (Firecracker, 128 MiB)", "s", &each),
        row("share of the time of a run of 8 VMs outside its trials", "%", &outside),
        Row { peer: one(&rate), ..row("VMs per minute of two hosts in parallel, run of 8 VMs", "1/min", &rate_two) },
        Row {
            peer: one(&startup),
            goal: "equal on one and two hosts, within 0.1 %",
            met: Some((startup_two_hosts.median / startup_one_host.median - 1.0).abs() < 1e-3),
            ..row("start-up of the web service in virtual time, two hosts in parallel", "ms", &startup_two)
        },
    ];
    Ok(Outcome { rows, curves: Vec::new() })
}

/// Observations of a run.
struct Observation {
    wall: Duration,
    /// End of each trial since the start of the run; the warm-up is first.
    ends: Vec<Duration>,
    startup_ms: Vec<f64>,
}

/// Runs the study on these CPUs of this machine, with an emulated host per CPU.
fn run(bench: &Bench, manifest: &Path, run: &Path, cpus: &str) -> Result<Observation> {
    let begun = Instant::now();
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", cpus]).arg(&bench.microbench).arg("run").arg(manifest);
    command.args(["--host", "emulated", "--project", ".", "--out"]).arg(run).env("MICROBENCH_AGENT", &bench.agent);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start taskset")?;
    let (mut output, mut ends) = (String::new(), Vec::new());
    for line in BufReader::new(child.stderr.take().context("the run has no standard error")?).lines() {
        let line = line.context("cannot read the output of the run")?;
        // The line of a completed trial contains its time in brackets.
        if line.contains(" s] fc/1") {
            ends.push(begun.elapsed());
        }
        output += &(line + "\n");
    }
    anyhow::ensure!(child.wait()?.success(), "the run failed:\n{output}");
    let wall = begun.elapsed();
    let journal = journal::read(&run.join("journal.ndjson"))?;
    let counted = journal.executions.iter().filter(|execution| !execution.warmup);
    let startup_ms = counted.flat_map(|execution| execution.vms.values()).filter_map(|vm| {
        let (from, to) = (vm.events.get("spawn")?, vm.events.get("http.ok")?);
        Some(to.saturating_sub(*from) as f64 / 1e6)
    });
    Ok(Observation { wall, ends, startup_ms: startup_ms.collect() })
}
