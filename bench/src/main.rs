//! What microbench itself costs, beside the tools that one would use in its place and beside the limit: `make bench`.
//!
//! A benchmark is a module with one function from [`Bench`] to an [`Outcome`]: rows of the table, and points of a cost curve. It runs
//! ours, the peer and the limit in turn within each round, so that what disturbs the machine disturbs all of them, and a row compares medians
//! over the rounds. Nothing here is a test: no figure makes a build fail.

mod agent;
mod analysis;
mod figures;
mod lend;
mod measure;
mod outcome;
mod perturbation;
mod plan;
mod project;
mod release;
mod scale;
mod spawn;
mod study;
mod table;
mod testbed;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use microbench_measure::{errln, out, outln};
use outcome::Outcome;

/// A name, and what measures.
type Benchmark = (&'static str, fn(&Bench) -> Result<Outcome>);

/// The benchmarks, in the order of the table.
const BENCHMARKS: &[Benchmark] = &[
    ("spawn", spawn::measure),
    ("lend", lend::measure),
    ("release", release::measure),
    ("perturbation", perturbation::measure),
    ("scale", scale::measure),
    ("plan", plan::measure),
    ("analysis", analysis::measure),
    ("figures", figures::measure),
    ("agent", agent::measure),
    ("testbed", testbed::measure),
    ("study", study::measure),
];

/// What a benchmark is given.
#[derive(Debug, Parser)]
#[command(about = "Measures microbench beside its peers; prints one table")]
pub(crate) struct Bench {
    /// Which benchmarks [default: all].
    names: Vec<String>,
    /// Rounds of each.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// The program that is measured.
    #[arg(long, default_value = "target/release/microbench")]
    microbench: PathBuf,
    /// The guest's agent, as `make build` builds it.
    #[arg(long, default_value = "target/x86_64-unknown-linux-gnu/agent/microbench-agent")]
    agent: PathBuf,
    /// A Python with pandas, duckdb and matplotlib; what needs one is left out without it.
    #[arg(long)]
    python: Option<PathBuf>,
    /// Where `results.json`, `table.md` and the points of the curves are written.
    #[arg(long, default_value = "bench/results")]
    out: PathBuf,
    /// Only write the samples of `analysis` into this folder. A process of its own does it, because the largest resident set of a process
    /// is at least what its parent's was.
    #[arg(long, hide = true)]
    write_samples: Option<PathBuf>,
    /// Only expand this manifest, and print the seconds; as above.
    #[arg(long, hide = true)]
    expand: Option<PathBuf>,
}

fn main() -> Result<()> {
    let bench = Bench::parse();
    if let Some(folder) = &bench.write_samples {
        return analysis::write(folder);
    }
    if let Some(manifest) = &bench.expand {
        outln!("{}", plan::expand(manifest)?)?;
        return Ok(());
    }
    if let Some(unknown) = bench.names.iter().find(|name| BENCHMARKS.iter().all(|(known, _)| known != name)) {
        let known: Vec<&str> = BENCHMARKS.iter().map(|(name, _)| *name).collect();
        anyhow::bail!("there is no benchmark `{unknown}`; there are: {}", known.join(", "));
    }
    let (mut all, mut printed) = (Outcome::default(), Ok(()));
    for (name, measure) in BENCHMARKS {
        if !bench.names.is_empty() && bench.names.iter().all(|wanted| wanted != name) {
            continue;
        }
        errln!("bench: {name}");
        let outcome = measure(&bench).with_context(|| format!("benchmark {name}"))?;
        printed = printed.and(out!("{}", table::text(&outcome.rows)));
        all.rows.extend(outcome.rows);
        all.curves.extend(outcome.curves);
    }
    all.write(&bench.out)?;
    Ok(printed?)
}
