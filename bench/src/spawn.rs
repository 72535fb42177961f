//! What the runner adds around a VMM that ends at once, beside hyperfine and beside a loop that only spawns and waits.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use microbench_measure::sys;
use serde::Deserialize;

use crate::Bench;
use crate::measure;
use crate::outcome::{Figure, Named, Outcome, Row};

/// What ends at once.
const PROGRAM: &str = "/usr/bin/true";
/// Processes in a round of each.
const TIMES: u32 = 200;

/// `microbench selftest spawn`.
#[derive(Deserialize)]
struct Spawned {
    wall_ns: Vec<u64>,
    cpu_ns: u64,
}

/// hyperfine's JSON.
#[derive(Deserialize)]
struct Export {
    results: [Timed; 1],
}

#[derive(Deserialize)]
struct Timed {
    times: Vec<f64>,
}

/// The rounds' values of one way to start a process, microseconds.
#[derive(Default)]
struct Rounds {
    wall: Vec<f64>,
    cpu: Vec<f64>,
}

impl Rounds {
    /// Adds a round: the wall time of each process, seconds, and CPU time of all of them and of who started them, seconds.
    fn add(&mut self, wall: &[f64], cpu: f64) {
        self.wall.push(Figure::of(wall).median * 1e6);
        self.cpu.push(cpu * 1e6 / wall.len() as f64);
    }
}

pub(crate) fn measure(bench: &Bench) -> Result<Outcome> {
    let folder = tempfile::tempdir().context("cannot make a folder")?;
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
        let cost = measure::whole(&mut command)?;
        let text = fs::read_to_string(&export).context("hyperfine left no results")?;
        let Export { results: [timed] } =
            serde_json::from_str(&text).context("hyperfine's results are not as known")?;
        peer.add(&timed.times, cost.cpu.as_secs_f64());

        let before = sys::own_cpu_ns();
        let wall = (0..TIMES).map(|_| bare()).collect::<Result<Vec<_>>>()?;
        limit.add(&wall, (sys::own_cpu_ns() - before) as f64 / 1e9);
    }
    let row = |what: &str, of: fn(&Rounds) -> &Vec<f64>| {
        let [ours, peer, limit] = [&ours, &peer, &limit].map(|rounds| Figure::of(of(rounds)));
        Row {
            what: format!("{what}, {TIMES} in turn"),
            unit: "us",
            ours,
            peer: Some(Named { name: "hyperfine -N".into(), figure: peer }),
            limit: Some(Named { name: "std::process spawn and wait".into(), figure: limit }),
            goal: "below hyperfine, within 1.5x of the limit",
            met: Some(ours.median < peer.median && ours.median <= 1.5 * limit.median),
        }
    };
    let wall = row("a VMM that ends at once (`true`): wall time from its spawn to its reap", |rounds| &rounds.wall);
    let cpu = row("the same: CPU time for each, its own and that of who starts it", |rounds| &rounds.cpu);
    Ok(Outcome { rows: vec![wall, cpu], curves: Vec::new() })
}

/// Seconds from the spawn to the reap.
fn bare() -> Result<f64> {
    let mut command = Command::new(PROGRAM);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    command.spawn().context("cannot start the program")?.wait()?;
    Ok(begun.elapsed().as_secs_f64())
}
