//! Scaling of a trial with its VMs: time, CPU time and memory of the runner, with fake VMMs that respond as
//! real guests do.

use anyhow::{Context, Result};
use microbench_formats::event::reading;

use crate::Bench;
use crate::measure;
use crate::outcome::{Figure, Outcome, Point, Row};
use crate::project::Project;

/// Numbers of VMs of a trial.
const LEVELS: [u32; 4] = [125, 250, 500, 1000];
/// Number of VMs of the largest trial, which is executed once. Each VM needs three descriptors of the runner,
/// and many machines allow 20,000.
const MOST: u32 = 5000;

/// Cost of a trial.
struct Trial {
    seconds: f64,
    /// Peak resident set of the runner, MiB.
    peak_mib: f64,
    /// CPU time of the runner, milliseconds.
    cpu_ms: f64,
}

pub(crate) fn measure(bench: &Bench) -> Result<Outcome> {
    let fake = bench.microbench.with_file_name("examples").join("fake-vmm");
    let fake = std::fs::canonicalize(&fake).with_context(|| format!("cannot find {}", fake.display()))?;
    let arguments = ["{{program}}", "ok", "{{tap}}", "{{mac}}", "{{guest_ip}}", "{{boot_args}}", "{{folder}}"];
    let project = Project::new(&fake, &format!("{arguments:?}"))?;
    let mut outcome = Outcome::default();
    let mut exponents = Vec::new();
    let (mut cpu, mut last) = (Vec::new(), Vec::new());
    for round in 1..=bench.rounds {
        let trials = LEVELS.map(|vms| trial(bench, &project, vms, &format!("run-{vms}-{round}")));
        let trials = trials.into_iter().collect::<Result<Vec<_>>>()?;
        for (vms, trial) in LEVELS.into_iter().zip(&trials) {
            outcome.curves.extend(points(vms, round, trial));
        }
        exponents
            .push(slope(LEVELS.iter().zip(&trials).map(|(vms, trial)| (f64::from(*vms).ln(), trial.seconds.ln()))));
        let against_vms =
            |of: fn(&Trial) -> f64| slope(LEVELS.iter().zip(&trials).map(|(vms, it)| (f64::from(*vms), of(it))));
        cpu.push(against_vms(|trial| trial.cpu_ms));
        last.extend(trials.into_iter().last());
    }
    let most = trial(bench, &project, MOST, "run-most")?;
    let small = LEVELS[LEVELS.len() - 1];
    let median = |of: fn(&Trial) -> f64| Figure::of(&last.iter().map(of).collect::<Vec<_>>()).median;
    let exponent_to_most =
        (most.seconds / median(|trial| trial.seconds)).ln() / (f64::from(MOST) / f64::from(small)).ln();
    // Computed from the largest trial: in smaller ones the runner's memory peaks before the first VM.
    let memory = (most.peak_mib - median(|trial| trial.peak_mib)) * 1024.0 / f64::from(MOST - small);
    outcome.curves.extend(points(MOST, 1, &most));
    let row = |what: String, unit, values: &[f64], goal, met| Row {
        what,
        unit,
        ours: Figure::of(values),
        peer: None,
        limit: None,
        goal,
        met,
    };
    let linear = Figure::of(&exponents).median;
    let levels = format!("{} to {} fake VMs in one trial", LEVELS[0], LEVELS[LEVELS.len() - 1]);
    outcome.rows = vec![
        row(
            format!("{levels}: exponent of the run's time by VMs"),
            "1",
            &exponents,
            "linear: at most 1.1",
            Some(linear <= 1.1),
        ),
        row(
            format!("{small} to {MOST} fake VMs: exponent of the run's time"),
            "1",
            &[exponent_to_most],
            "linear: at most 1.1",
            Some(exponent_to_most <= 1.1),
        ),
        row(format!("{small} to {MOST} fake VMs: memory of the runner per VM"), "KiB", &[memory], "stated", None),
        row(format!("{levels}: CPU time of the runner per VM"), "ms", &cpu, "stated", None),
        row(format!("trial of {MOST} fake VMs, all of which complete"), "s", &[most.seconds], "completes", Some(true)),
    ];
    Ok(outcome)
}

/// Executes one trial of `vms` VMs; fails unless each of them completes.
fn trial(bench: &Bench, project: &Project, vms: u32, run: &str) -> Result<Trial> {
    project.write(
        "study.toml",
        &format!(
            "[study]\nname = \"scale\"\ntitle = \"Scale\"\nseed = 1\n[guest]\nkernel = \"tiny\"\nrootfs = \"tiny\"\n\
             boot_deadline_s = 600\nstop_deadline_s = 600\n\
             [variants.fake]\nlabel = \"fake\"\nengine = \"fake\"\n\
             [matrix]\nconcurrency = [{vms}]\ntrials = 1\nwarmup = false\n\
             [metrics]\nwebservice_startup_time = {{}}\nshutdown_time = {{}}\n"
        ),
    )?;
    let arguments = ["run", "study.toml", "--host", "fake", "--fake-guests", "1", "--out", run];
    let cost = measure::run(&mut project.command(bench, &arguments)?)?;
    let journal = project.journal(run)?;
    let execution = journal.executions.first().context("the trial is missing from the journal")?;
    let failed = execution.vms.iter().find_map(|(vm, it)| Some((vm, it.failure.as_ref()?)));
    if let Some((vm, failure)) = failed {
        anyhow::bail!("VM {vm} of {vms} failed: {}", failure.message);
    }
    anyhow::ensure!(
        execution.vms.len() == usize::try_from(vms)?,
        "{} of {vms} VMs are in the journal",
        execution.vms.len()
    );
    let cpu = execution.vms.values().find_map(|vm| vm.readings.get(reading::RUNNER_CPU_TIME)?.0.clone().ok());
    Ok(Trial {
        seconds: cost.wall.as_secs_f64(),
        peak_mib: cost.peak_bytes as f64 / f64::from(1 << 20),
        cpu_ms: cpu.context("the runner's CPU time is missing from the journal")? / 1e6,
    })
}

fn points(vms: u32, round: usize, trial: &Trial) -> [Point; 3] {
    [("trial_time", trial.seconds * 1e3), ("trial_memory", trial.peak_mib), ("trial_cpu", trial.cpu_ms)]
        .map(|(metric, value)| Point { metric, size: vms.into(), round, value })
}

/// Returns the slope of the least-squares line.
fn slope(points: impl Iterator<Item = (f64, f64)>) -> f64 {
    let points: Vec<(f64, f64)> = points.collect();
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let [mut xy, mut xx] = [0.0; 2];
    for point in &points {
        xy += (point.0 - x) * (point.1 - y);
        xx += (point.0 - x).powi(2);
    }
    xy / xx
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slope_of_a_line_is_exact() {
        assert!((slope([(1.0, 5.0), (2.0, 7.0), (4.0, 11.0)].into_iter()) - 2.0).abs() < 1e-12);
    }
}
