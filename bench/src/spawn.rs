//! Overhead of the runner for a VMM that exits at once, compared with hyperfine and with a loop that only
//! spawns and waits.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use microbench_measure::sys;
use serde::Deserialize;

use crate::Bench;
use crate::measure;
use crate::outcome::{Figure, Named, Outcome, Row};

/// Program that exits at once.
const PROGRAM: &str = "/usr/bin/true";
/// Processes per round.
const TIMES: u32 = 200;

/// Output of `microbench selftest spawn`.
#[derive(Deserialize)]
struct Spawned {
    wall_ns: Vec<u64>,
    cpu_ns: u64,
}

/// JSON export of hyperfine.
#[derive(Deserialize)]
struct Export {
    results: [Timed; 1],
}

#[derive(Deserialize)]
struct Timed {
    times: Vec<f64>,
}

/// Values of all rounds of one tool, microseconds.
#[derive(Default)]
struct Rounds {
    wall: Vec<f64>,
    cpu: Vec<f64>,
}

impl Rounds {
    /// Adds a round: the wall time of each process, seconds, and the CPU time of all processes and of their
    /// parent, seconds.
    fn add(&mut self, wall: &[f64], cpu: f64) {
        self.wall.push(Figure::of(wall).median * 1e6);
        self.cpu.push(cpu * 1e6 / wall.len() as f64);
    }
}

pub(crate) fn measure(bench: &Bench) -> Result<Outcome> {
    let folder = tempfile::tempdir().context("cannot create a folder")?;
    let export = folder.path().join("hyperfine.json");
    let [mut ours, mut peer, mut limit] = [(); 3].map(|()| Rounds::default());
    for _ in 0..bench.rounds {
        let mut command = Command::new(&bench.microbench);
        command.args(["selftest", "spawn", "--times", &TIMES.to_string(), PROGRAM]);
        let spawned: Spawned = measure::json(&mut command)?;
        let seconds = |ns: &u64| *ns as f64 / 1e9;
        ours.add(&spawned.wall_ns.iter().map(seconds).collect::<Vec<_>>(), seconds(&spawned.cpu_ns));

        let mut command = Command::new("hyperfine");
        command.args(["-N", "--runs", &TIMES.to_string(), "--export-json"]).arg(&export).arg(PROGRAM);
        let cost = measure::run(&mut command)?;
        let text = fs::read_to_string(&export).context("cannot read the results of hyperfine")?;
        let Export { results: [timed] } =
            serde_json::from_str(&text).context("the results of hyperfine are not valid")?;
        peer.add(&timed.times, cost.cpu.as_secs_f64());

        let before = sys::own_cpu_ns();
        let wall = (0..TIMES).map(|_| spawn_and_wait()).collect::<Result<Vec<_>>>()?;
        limit.add(&wall, (sys::own_cpu_ns() - before) as f64 / 1e9);
    }
    let row = |what: &str, of: fn(&Rounds) -> &Vec<f64>| {
        let [ours, peer, limit] = [&ours, &peer, &limit].map(|rounds| Figure::of(of(rounds)));
        Row {
            what: format!("{what}, {TIMES} one after the other"),
            unit: "us",
            ours,
            peer: Some(Named { name: "hyperfine -N".into(), figure: peer }),
            limit: Some(Named { name: "std::process spawn and wait".into(), figure: limit }),
            goal: "below hyperfine, within 1.5x of the limit",
            met: Some(ours.median < peer.median && ours.median <= 1.5 * limit.median),
        }
    };
    let wall = row("VMM that exits at once (`true`): wall time from spawn to reap", |rounds| &rounds.wall);
    let cpu = row("VMM that exits at once: its CPU time and that of its parent", |rounds| &rounds.cpu);
    Ok(Outcome { rows: vec![wall, cpu], curves: Vec::new() })
}

/// Spawns the program and waits for it; returns the wall time, seconds.
fn spawn_and_wait() -> Result<f64> {
    let mut command = Command::new(PROGRAM);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    command.spawn().context("cannot start the program")?.wait()?;
    Ok(begun.elapsed().as_secs_f64())
}
