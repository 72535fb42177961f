//! Two runs, or the variants of one, side by side; a run against a reference.

use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use microbench::error::code::Code;
use microbench::run::directory::Directory;
use microbench::screen::Stream;
use microbench::{errln, outln};
use microbench_plots::{claim, compare, summary};
use serde::Serialize;

use super::store::{print_json, print_text};

/// How a comparison is printed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Output {
    Text { detail: bool },
    Json,
}

/// Prints the comparison of two runs.
pub(super) fn compare_runs(
    a: &Path,
    b: &Path,
    settings: compare::Settings,
    across_hosts: bool,
    output: Output,
    gate: bool,
) -> anyhow::Result<ExitCode> {
    let (a, b) = (Directory::open(a)?, Directory::open(b)?);
    let (first, second) = (microbench_plots::load(a.path())?, microbench_plots::load(b.path())?);
    let host = |rows: &[summary::Row]| rows.iter().find_map(|row| row.host);
    let fingerprints = [first.2.as_deref(), second.2.as_deref()];
    compare::check([host(&first.1), host(&second.1)], fingerprints, across_hosts)?;
    // Two runs of one host each, whose fingerprints say that they compare.
    let pooled = across_hosts || [&first.1, &second.1].iter().all(|rows| summary::machines(rows).len() <= 1);
    let settings = compare::Settings { seed: second.0.seed, family: second.0.family.clone(), pooled, ..settings };
    let found = compare::compare(&first.1, &second.1, &settings, |cell| vec![cell.to_owned()]);
    conclude(&found, [&a.name(), &b.name()], &second.0.title, &settings, output, gate)
}

/// Prints the comparison of a run's variants with one of them.
pub(super) fn compare_variants(
    run: &Path,
    baseline: Option<&str>,
    settings: compare::Settings,
    output: Output,
    gate: bool,
) -> anyhow::Result<ExitCode> {
    let run = Directory::open(run)?;
    let (plan, rows, _) = microbench_plots::load(run.path())?;
    let mut variants: Vec<&str> = plan.cells.iter().map(|cell| cell.variant.as_str()).collect();
    variants.dedup();
    let baseline = baseline.or(variants.first().copied()).unwrap_or_default();
    if !variants.contains(&baseline) {
        bail!(Code::UnknownVariant.says(format!("the run has no variant {baseline}; it has {}", variants.join(", "))));
    }
    let settings = compare::Settings { seed: plan.seed, family: plan.family.clone(), ..settings };
    let found = compare::within(&plan, &rows, baseline, &settings);
    conclude(&found, [baseline, "each cell's variant"], &plan.title, &settings, output, gate)
}

/// Prints a comparison. The exit code is 1 when the gate is closed.
pub(super) fn conclude(
    found: &[compare::Comparison],
    sides: [&str; 2],
    title: &str,
    settings: &compare::Settings,
    output: Output,
    gate: bool,
) -> anyhow::Result<ExitCode> {
    if found.is_empty() {
        return Err(compare::Refusal::Nothing.into());
    }
    match output {
        Output::Text { detail } => {
            print_text(&compare::text_in(found, sides, title, settings, detail, Stream::Out.room()))?;
        }
        Output::Json => outln!("{}", serde_json::to_string_pretty(found)?)?,
    }
    let closed = gate && found.iter().any(|one| one.verdict == compare::Verdict::Slower);
    if closed {
        errln!(
            "microbench: the gate is closed: something is slower beyond the margin; the rows marked `slower` say what"
        );
    }
    Ok(if closed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What `verify` found, as JSON has it.
#[derive(Serialize)]
struct VerifyReport<'a> {
    run: String,
    against: String,
    same: bool,
    claims: &'a [claim::Confirmation],
}

/// Prints both runs' verdicts on each claim of the reference. The exit code is 1 when one differs.
pub(super) fn verify(run: &Path, against: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let (run, reference) = (Directory::open(run)?, Directory::open(against)?);
    let (here, there) = (microbench_plots::load(run.path())?, microbench_plots::load(reference.path())?);
    let (here, there) = (claim::judge(&here.0, &here.1), claim::judge(&there.0, &there.1));
    let checks = claim::confirm(&there, &here);
    let same = checks.iter().all(claim::Confirmation::same);
    if json {
        print_json(&VerifyReport { run: run.name(), against: reference.name(), same, claims: &checks })?;
    } else {
        print_text(&claim::confirmations(&checks, &reference.name(), &run.name(), Stream::Out.room()))?;
    }
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
