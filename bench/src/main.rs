//! Benchmarks of microbench itself, compared with alternative tools and with a lower limit: `make bench`.
//!
//! A benchmark is a module with one function from [`Bench`] to an [`Outcome`]: rows of the table, and points
//! of cost curves. Each round measures microbench, the peer and the limit in turn, so that a disturbance of
//! the machine affects all of them. A row compares medians over the rounds. A benchmark is not a test: no
//! value makes a build fail.

mod agent;
mod analysis;
mod emulated_host;
mod figures;
mod host_resources;
mod measure;
mod outcome;
mod perturbation;
mod plan;
mod project;
mod release;
mod report;
mod scale;
mod spawn;
mod study;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use microbench_measure::host::machine::{facts::Facts, tree::Tree};
use microbench_measure::{errln, out, outln};
use outcome::Outcome;

/// Name and function of a benchmark.
type Benchmark = (&'static str, fn(&Bench) -> Result<Outcome>);

/// The benchmarks, in the order of the table.
const BENCHMARKS: &[Benchmark] = &[
    ("spawn", spawn::measure),
    ("host-resources", host_resources::measure),
    ("release", release::measure),
    ("perturbation", perturbation::measure),
    ("scale", scale::measure),
    ("plan", plan::measure),
    ("analysis", analysis::measure),
    ("figures", figures::measure),
    ("agent", agent::measure),
    ("emulated-host", emulated_host::measure),
    ("study", study::measure),
];

/// Options of the benchmarks.
#[derive(Debug, Parser)]
#[command(about = "Measure microbench and compare it with its peers; print a table")]
pub(crate) struct Bench {
    /// Benchmarks to run [default: all].
    names: Vec<String>,
    /// Rounds of each benchmark.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// The `microbench` program to measure.
    #[arg(long, default_value = "target/release/microbench")]
    microbench: PathBuf,
    /// The guest's agent, built by `make build`.
    #[arg(long, default_value = "target/x86_64-unknown-linux-gnu/agent/microbench-agent")]
    agent: PathBuf,
    /// Python interpreter with pandas, duckdb and matplotlib; without it, the peers in Python are skipped.
    #[arg(long)]
    python: Option<PathBuf>,
    /// Folder for the results, bench/results/DATE-HOST; BENCHMARKS.md is then made from all folders next to it.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Measure nothing; make BENCHMARKS.md from the results in bench/results.
    #[arg(long)]
    render_only: bool,
    /// Only write the samples of `analysis` to this folder. This is done in a process of its own, because the
    /// peak resident set of a process includes its parent's at the fork.
    #[arg(long, hide = true)]
    write_samples: Option<PathBuf>,
    /// Only expand this manifest and print the time in seconds; in a process of its own for the same reason.
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
        anyhow::bail!("unknown benchmark `{unknown}`; choose from: {}", known.join(", "));
    }
    if bench.render_only {
        return write_page(Path::new("bench/results"));
    }
    let machine = Facts::read(&Tree::machine());
    let mut printed = Ok(());
    for (name, measure) in BENCHMARKS {
        if !bench.names.is_empty() && bench.names.iter().all(|chosen| chosen != name) {
            continue;
        }
        errln!("bench: {name}");
        let outcome = measure(&bench).with_context(|| format!("benchmark `{name}` failed"))?;
        printed = printed.and(out!("{}", table::render_text(&outcome.rows)));
        // At once: a later benchmark may fail, and this one may have taken minutes.
        if let Some(folder) = &bench.out {
            report::save(folder, name, &host(&machine), &outcome.rows)?;
            outcome.write_curves(folder)?;
        }
    }
    if let Some(results) = bench.out.as_deref().and_then(Path::parent) {
        write_page(results)?;
    }
    Ok(printed?)
}

/// Makes BENCHMARKS.md in the working directory from the results below `results`.
fn write_page(results: &Path) -> Result<()> {
    let page = report::render(&report::newest(results)?)?;
    fs::write("BENCHMARKS.md", page).context("cannot write BENCHMARKS.md")
}

/// Processor, number of CPUs and kernel of this machine.
fn host(machine: &Facts) -> String {
    let unknown = || "unknown".to_owned();
    let processor = machine.cpu.processor.model_name.clone().unwrap_or_else(unknown);
    let cpus = machine.cpu.online.map_or_else(unknown, |cpus| cpus.to_string());
    let kernel = machine.kernel.release.clone().unwrap_or_else(unknown);
    format!("{processor}, {cpus} CPUs, Linux {kernel}, release build")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn benchmarks_md_has_a_table_for_each_benchmark() {
        let names: Vec<&str> = BENCHMARKS.iter().map(|(name, _)| *name).collect();
        assert_eq!(report::names_in_template(), names);
    }
}
