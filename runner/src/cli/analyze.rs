//! `microbench analyze`: the samples and the summary of a run, or the pooled summary of several runs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use microbench::store::directory::Directory;
use microbench::store::identity::Identity;
use microbench::store::merge;
use microbench::store::noise_floor::NoiseFloor;
use microbench_formats::code::Code;
use microbench_formats::exit;
use microbench_formats::host::HostKind;
use microbench_formats::terminal::wrapped_to;
use microbench_measure::errln;
use microbench_measure::terminal::screen::Stream;
use microbench_plots::claim::{ClaimGate, Outcome, Verdict};
use microbench_plots::hint::{self, Hint};
use microbench_plots::journal::UNISOLATED;
use microbench_plots::sentence::{self, Sentence};
use microbench_plots::stats::median::Interval;
use microbench_plots::summary::results::{CellResult, cell_results};
use microbench_plots::uncertainty::Budget;
use microbench_plots::{Analysis, claim, pooled, summary, uncertainty};
use serde::Serialize;

use super::store::{print_json, print_text};

/// The output of `analyze RUN --json`.
#[derive(Serialize)]
struct Report<'a> {
    run: String,
    study: &'a str,
    host: Option<HostKind>,
    machine: Option<String>,
    unisolated: Option<&'a str>,
    values: usize,
    missing: usize,
    results: Vec<CellResult>,
    uncertainty: &'a [Budget],
    sentences: Vec<Sentence>,
    hints: Vec<HintReport<'a>>,
    claims: Vec<ClaimReport<'a>>,
    torn_line: Option<usize>,
}

/// A hint with its text.
#[derive(Serialize)]
struct HintReport<'a> {
    hint: &'a Hint,
    message: String,
    advice: String,
}

/// The verdict on a claim.
#[derive(Serialize)]
pub(super) struct ClaimReport<'a> {
    name: &'a str,
    outcome: Outcome,
    value: Option<f64>,
    interval: Option<&'a Interval>,
    bound: Option<&'static str>,
    n: &'a [usize],
    unit: &'a str,
    remark: &'a str,
}

impl<'a> From<&'a Verdict> for ClaimReport<'a> {
    fn from(verdict: &'a Verdict) -> Self {
        Self {
            name: &verdict.claim.name,
            outcome: verdict.outcome,
            value: verdict.value,
            interval: verdict.interval.as_ref().map(|(interval, _)| interval),
            bound: verdict.bound().map(claim::Bound::name),
            n: &verdict.n,
            unit: &verdict.unit,
            remark: &verdict.remark,
        }
    }
}

/// Whether `analyze` judges the claims with a gate.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnalyzeGate {
    pub(super) allow_missing: bool,
}

/// Writes the samples and the summary of a run from its journal, and prints the results. With a gate, the exit code is 4
/// if it does not pass.
pub(super) fn analyze(given: &Path, detail: bool, json: bool, gate: Option<AnalyzeGate>) -> anyhow::Result<ExitCode> {
    let run = Directory::open(given)?;
    run.check_trusted()?;
    let analysis = microbench_plots::analyze(run.path())?;
    let identities = merge::identities(&run);
    let named = given.display().to_string();
    let sentences = sentence::sentences(&analysis.plan, &analysis.summary);
    let hints = hint::hints(&analysis.plan, &analysis.summary, &analysis.journal, &analysis.kernels);
    let host = analysis.summary.iter().find_map(|row| row.host);
    if json {
        let hints =
            hints.iter().map(|hint| HintReport { hint, message: hint.message(), advice: hint.advice(&named, host) });
        print_json(&Report {
            run: run.name(),
            study: &analysis.plan.study,
            host,
            machine: machine(&identities),
            unisolated: analysis.journal.unisolated(),
            values: analysis.values,
            missing: analysis.missing,
            results: cell_results(&analysis.summary),
            uncertainty: &analysis.uncertainty,
            sentences,
            hints: hints.collect(),
            claims: analysis.verdicts.iter().map(ClaimReport::from).collect(),
            torn_line: analysis.journal.torn,
        })?;
        return judge(&analysis, gate);
    }
    let width = Stream::Out.output_width();
    let mut out = summary::render(&analysis.plan, &analysis.summary, &analysis.journal, width);
    let mut push = |line: &str| {
        out.push_str(&wrapped_to(width.prose, line, 4));
        out.push('\n');
    };
    if let Some(why) = analysis.journal.unisolated() {
        push(&format!("{UNISOLATED}: {why}"));
    }
    for identity in &identities {
        push(&format!("machine: {}", identity.line()));
        let measured = |metric: &str| analysis.plan.metrics.iter().any(|own| own.name == metric);
        match NoiseFloor::load(&identity.fingerprint) {
            Some(noise) => push(&noise.line(measured)),
            None => push("noise floor of this host: not measured; `microbench selftest noise-floor STUDY` measures it"),
        }
    }
    if detail {
        out.push_str(&format!("\n{}\n", summary::render_detail(&analysis.summary, analysis.plan.seed, width)));
    }
    out.push_str(&format!("{} samples, {} missing (reasons: samples.csv)\n", analysis.values, analysis.missing));
    let verdicts = if analysis.verdicts.is_empty() { String::new() } else { claim::render(&analysis.verdicts, width) };
    let budgets = uncertainty::render(&analysis.uncertainty, width);
    let sentences = sentence::render(&sentences, &named, width);
    for text in [budgets, verdicts, sentences, hint::render(&hints, &named, host, width)] {
        if !text.is_empty() {
            out.push_str(&format!("\n{text}"));
        }
    }
    if let Some(line) = analysis.journal.torn {
        out.push_str(&format!("the journal's last line ({line}) is torn and is ignored\n"));
    }
    print_text(&out)?;
    judge(&analysis, gate)
}

/// The exit code of the gate, whose messages are printed.
fn judge(analysis: &Analysis, gate: Option<AnalyzeGate>) -> anyhow::Result<ExitCode> {
    let Some(AnalyzeGate { allow_missing }) = gate else { return Ok(ExitCode::SUCCESS) };
    let gate = ClaimGate::new(&analysis.verdicts, allow_missing);
    for message in gate.messages() {
        errln!("microbench: {message}");
    }
    match (gate.verdicts().is_empty(), gate.passes(), gate.is_empty()) {
        (true, ..) => bail!("no claim of the study has a gate: add `gate = true` to a claim"),
        (_, false, _) => Ok(ExitCode::from(exit::GATE)),
        (_, true, true) => bail!("the gate has judged no claim"),
        (_, true, false) => Ok(ExitCode::SUCCESS),
    }
}

/// The hosts as one line; `None` if no host is recorded.
fn machine(identities: &[Identity]) -> Option<String> {
    let lines: Vec<String> = identities.iter().map(Identity::line).collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

/// The output of `analyze` with several runs and `--json`.
#[derive(Serialize)]
struct PooledReport {
    files: Vec<String>,
    left_out: Vec<String>,
    results: Vec<pooled::PooledRow>,
}

/// Whether `given` is a table of samples or a glob pattern instead of a run.
pub(super) fn is_table_or_pattern(given: &Path) -> bool {
    let text = given.to_string_lossy();
    text.contains(['*', '?', '[']) || given.extension().is_some_and(|end| end == "parquet")
}

/// Prints the pooled summary of several runs. A shard is left out if a merged run among them contains it.
pub(super) fn analyze_pooled(given: &[PathBuf], json: bool) -> anyhow::Result<ExitCode> {
    let mut files = Vec::new();
    for given in given {
        if !is_table_or_pattern(given) {
            files.push(Directory::open(given)?.path().join("samples.parquet"));
            continue;
        }
        let pattern = given.display().to_string();
        let not_found = || {
            Code::NotAnalysed
                .with_message(format!("no file matches {pattern}; `microbench analyze RUN` writes RUN/samples.parquet"))
        };
        let found = glob::glob(&pattern)
            .with_context(|| Code::BadValue.with_message(format!("{pattern} is not a valid glob pattern")))?;
        let found: Vec<PathBuf> = found.filter_map(Result::ok).collect();
        anyhow::ensure!(!found.is_empty(), not_found());
        files.extend(found.into_iter().map(|path| if path.is_dir() { path.join("samples.parquet") } else { path }));
    }
    let files = files.iter().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()));
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    files.dedup();
    let folder = |path: &Path| path.parent().and_then(|folder| Directory::open(folder).ok());
    let parts = files.iter().filter_map(|path| folder(path)).map(|run| merge::read_parts(&run));
    let merged: Vec<String> =
        parts.collect::<anyhow::Result<Vec<_>>>()?.into_iter().flatten().map(|part| part.name).collect();
    let is_part = |path: &PathBuf| {
        folder(path).is_some_and(|run| run.shard().is_ok_and(|shard| shard.is_some()) && merged.contains(&run.name()))
    };
    let (left_out, files): (Vec<PathBuf>, Vec<PathBuf>) = files.into_iter().partition(is_part);
    let results = pooled::pool(&files)?;
    let named = |files: &[PathBuf]| files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
    if json {
        return print_json(&PooledReport { files: named(&files), left_out: named(&left_out), results });
    }
    let width = Stream::Out.output_width();
    let mut out = format!("{} table{} of samples", files.len(), if files.len() == 1 { "" } else { "s" });
    if !left_out.is_empty() {
        out.push_str(&format!("; {} of shards left out, because a merged run contains them", left_out.len()));
    }
    out.push_str(&format!("\n{}", pooled::render(&results, width)));
    print_text(&out)
}
