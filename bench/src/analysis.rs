//! Cost of the analysis of many samples: `microbench analyze` of Parquet files, compared with pandas, DuckDB,
//! and reading the files' bytes.
//!
//! microbench also computes one value per trial first, and the difference between the runs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use microbench::catalog;
use microbench_formats::host::HostKind;
use microbench_formats::plan::{Plan, PlannedTrial};
use microbench_plots::samples::{self, Sample, Status};
use microbench_study::manifest::{self, Catalog};
use microbench_study::plan;
use serde_json::Value;

use crate::Bench;
use crate::measure::{Cost, python, run, stdout};
use crate::outcome::{Figure, Named, Outcome, Point, Row};

/// Number of runs, and of trials per cell and run.
const RUNS: u32 = 10;
const TRIALS: u32 = 1000;
const CELLS: usize = 1000;
/// Rank of the lower end of the 95 % interval of the median of `RUNS * TRIALS` values, from 1.
const LOW: u32 = 4902;
const SCRIPT: &str = include_str!("../python/analysis.py");
const MIB: f64 = 1_048_576.0;

pub(crate) fn measure(bench: &Bench) -> Result<Outcome> {
    let folder = tempfile::tempdir().context("cannot create a folder")?;
    run(Command::new(std::env::current_exe()?).arg("--write-samples").arg(folder.path()))?;
    let pattern = |runs: &str| folder.path().join(runs).join("samples.parquet").display().to_string();
    let all = pattern("run-*");
    let ours = |pattern: &str| {
        let mut command = Command::new(&bench.microbench);
        command.args(["analyze", pattern]);
        command
    };
    let peer = |tool: &str| {
        let values = (RUNS * TRIALS).to_string();
        let arguments = [tool, &all, &values, &LOW.to_string()].map(str::to_owned);
        bench.python.as_ref().map(|program| python(program, SCRIPT, &arguments))
    };
    for tool in ["pandas", "DuckDB"] {
        if let Some(mut peer) = peer(&tool.to_lowercase()) {
            check_equal(&stdout(ours(&all).arg("--json"))?, &stdout(&mut peer)?).with_context(|| tool.to_owned())?;
        }
    }
    let mut costs: BTreeMap<&str, Vec<Cost>> = BTreeMap::new();
    let (mut reading, mut curves) = (Vec::new(), Vec::new());
    for round in 1..=bench.rounds {
        costs.entry("ours").or_default().push(run(&mut ours(&all))?);
        for tool in ["pandas", "DuckDB"] {
            if let Some(mut peer) = peer(&tool.to_lowercase()) {
                costs.entry(tool).or_default().push(run(&mut peer)?);
            }
        }
        reading.push(read_all(folder.path())?);
        for (runs, size) in [("run-0", 1), ("run-[01]", 2), ("run-[0-4]", 5), ("run-*", 10)] {
            let cost = run(&mut ours(&pattern(runs)))?;
            let size = size * u64::from(TRIALS) * CELLS as u64;
            curves.push(Point { metric: "analysis_time", size, round, value: cost.wall.as_secs_f64() * 1e3 });
            curves.push(Point { metric: "analysis_memory", size, round, value: cost.peak_bytes as f64 / MIB });
        }
    }
    let wall = |who: &str| costs.get(who).map(|costs| figure(costs, |cost| cost.wall.as_secs_f64()));
    let peak = |who: &str| costs.get(who).map(|costs| figure(costs, |cost| cost.peak_bytes as f64 / MIB));
    let cpu = |who: &str| costs.get(who).map(|costs| figure(costs, |cost| cost.cpu.as_secs_f64()));
    let what = "Count, median, its 95 % interval, p90 and p99 of 10 million samples in 1000 cells (10 Parquet files): \
                whole processes";
    let named = |name: &str, figure| Some(Named { name: name.to_owned(), figure });
    let mut rows = Vec::new();
    for (peer, least, goal) in [("pandas", 5.0, "5 times as fast as pandas"), ("DuckDB", 1.0, "as fast as DuckDB")] {
        let Some((ours, theirs)) = wall("ours").zip(wall(peer)) else { continue };
        rows.push(Row {
            what: what.to_owned(),
            unit: "s",
            ours,
            peer: named(peer, theirs),
            limit: named("reading the files' bytes", Figure::of(&reading)),
            goal,
            met: Some(ours.median * least <= theirs.median),
        });
    }
    for peer in ["pandas", "DuckDB"] {
        let Some((ours, theirs)) = peak("ours").zip(peak(peer)) else { continue };
        let what = format!("Peak resident set of the same, compared with {peer}");
        rows.push(Row { what, unit: "MiB", ours, peer: named(peer, theirs), limit: None, goal: "bounded", met: None });
        let Some((ours, theirs)) = cpu("ours").zip(cpu(peer)) else { continue };
        let what = format!("CPU time of the same, compared with {peer}");
        rows.push(Row { what, unit: "s", ours, peer: named(peer, theirs), limit: None, goal: "none", met: None });
    }
    Ok(Outcome { rows, curves })
}

fn figure(costs: &[Cost], of: impl Fn(&Cost) -> f64) -> Figure {
    Figure::of(&costs.iter().map(of).collect::<Vec<_>>())
}

/// Writes the samples of [`RUNS`] runs of one study, each run to its own folder in `folder`.
pub(crate) fn write(folder: &Path) -> Result<()> {
    let mut plan = study()?;
    ensure!(plan.cells.len() == CELLS, "the study has {} cells", plan.cells.len());
    let order: Vec<String> = plan.trials.iter().map(|trial| trial.cell.to_string()).collect();
    plan.trials = Vec::<PlannedTrial>::new();
    let mut random = Random(2019);
    for run in 0..RUNS {
        let mut all = Vec::with_capacity(order.len());
        for (trial, cell) in (0..).zip(&order) {
            let place = cell.bytes().fold(0_u32, |sum, byte| (sum * 31 + u32::from(byte)) % 997);
            all.push(Sample {
                cell: cell.clone(),
                block: trial / CELLS as u32,
                repetition: 0,
                trial,
                attempt: 0,
                vm: 0,
                metric: "webservice_startup_time".into(),
                value: Some(random.start_up(100.0 + f64::from(place) / 10.0)),
                unit: "ms".into(),
                status: Status::Ok,
                reason: String::new(),
                host: Some(HostKind::Kvm),
                machine: String::new(),
                emulated_host: None,
                warmup: false,
                superseded: false,
            });
        }
        let folder = folder.join(format!("run-{run}"));
        samples::save(&folder, &plan, &all)?;
        std::fs::remove_file(folder.join("samples.csv"))?;
    }
    Ok(())
}

fn study() -> Result<Plan> {
    let levels = (0..250).map(|at| (128 + 8 * at).to_string()).collect::<Vec<_>>().join(", ");
    let text = format!(
        "[study]\nname = \"many\"\ntitle = \"Many samples\"\n[guest]\nkernel = \"k\"\nrootfs = \"r\"\n\
         [variants.fc]\nlabel = \"Firecracker\"\nengine = \"firecracker\"\n\
         [variants.qemu]\nlabel = \"QEMU\"\nengine = \"qemu-microvm\"\n\
         [matrix]\ntrials = {TRIALS}\nvcpus = [1, 2]\nmemory_mib = [{levels}]\n[metrics]\nwebservice_startup_time = {{}}\n"
    );
    let known = Catalog { kernels: vec!["k".into()], rootfs: vec!["r".into()], ..catalog::built_in()? };
    let study = manifest::parse("many.toml", &text, &known).map_err(|errors| anyhow::anyhow!("{errors}"))?;
    Ok(plan::expand(&study, plan::Overrides::default())?)
}

/// Reproducible pseudo-random numbers (SplitMix64; Steele et al., OOPSLA 2014).
struct Random(u64);

impl Random {
    /// Returns a number that is uniformly distributed in [0, 1).
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns a start-up time around `typical`: skewed to the right, and with a stall in one of twenty.
    fn start_up(&mut self, typical: f64) -> f64 {
        let stall = if self.next() < 0.05 { 1000.0 * self.next() } else { 0.0 };
        typical * (1.0 - 0.05 * self.next().ln()) + stall
    }
}

/// Reads the bytes of all files; returns the time, seconds.
fn read_all(folder: &Path) -> Result<f64> {
    let begun = Instant::now();
    let mut buffer = vec![0; 1 << 20];
    for run in 0..RUNS {
        let path: PathBuf = folder.join(format!("run-{run}/samples.parquet"));
        let mut file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        while file.read(&mut buffer)? > 0 {}
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// Fails unless both outputs contain the same numbers. `ours` is JSON, `theirs` is CSV.
fn check_equal(ours: &str, theirs: &str) -> Result<()> {
    let ours: Value = serde_json::from_str(ours).context("the output of microbench is not JSON")?;
    let rows = ours["results"].as_array().context("the output of microbench has no results")?;
    let lines: Vec<&str> = theirs.lines().collect();
    ensure!(
        rows.len() == CELLS && lines.len() == CELLS,
        "microbench has {} rows, the peer has {}",
        rows.len(),
        lines.len()
    );
    for (row, line) in rows.iter().zip(lines) {
        let fields: Vec<&str> = line.split(',').collect();
        ensure!(fields.len() == 11 && row["cell"] == fields[1], "the cells differ: {row} and {line}");
        let own =
            [&row["n"], &row["median"], &row["interval"]["low"], &row["interval"]["high"], &row["p90"], &row["p99"]];
        for (own, field) in own.iter().zip(&fields[5..]) {
            let (own, other) = (own.as_f64().unwrap_or(f64::NAN), field.parse::<f64>().unwrap_or(f64::NAN));
            ensure!((own - other).abs() <= 1e-9 * other.abs(), "the numbers differ: {row} and {line}");
        }
    }
    Ok(())
}
