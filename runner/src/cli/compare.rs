//! `microbench compare` and `microbench verify`: two runs, the variants of one run, or a run and its reference.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use microbench::store::directory::Directory;
use microbench_formats::code::Code;
use microbench_formats::exit;
use microbench_formats::family;
use microbench_formats::host::HostKind;
use microbench_formats::plan::Plan;
use microbench_formats::statistic::Statistic;
use microbench_measure::errln;
use microbench_measure::out;
use microbench_measure::terminal::screen::Stream;
use microbench_plots::claim::ClaimGate;
use microbench_plots::compare::{self, Comparison, Gate, Settings, Side, View};
use microbench_plots::completed::{self, ByCell};
use microbench_plots::journal::{Session, UNISOLATED, are_interleaved};
use microbench_plots::{Host, claim, summary};
use serde::Serialize;

use super::analyze::ClaimReport;
use super::arguments::{CompareOptions, ComparisonFormat};
use super::store::{print_json, print_text};

/// The form of the output.
#[derive(Debug)]
struct Output {
    format: ComparisonFormat,
    detail: bool,
    /// The metrics to show; empty for all.
    metrics: Vec<String>,
}

/// The rule of `compare --gate`.
#[derive(Clone, Copy, Debug)]
struct GateRule {
    allow_missing: bool,
}

#[derive(Debug)]
pub(super) struct CompareArguments {
    pub(super) a: PathBuf,
    pub(super) b: Option<PathBuf>,
    pub(super) baseline: Option<String>,
    pub(super) margin: Option<f64>,
    pub(super) means: bool,
    pub(super) detail: bool,
    pub(super) format: ComparisonFormat,
    /// The metrics to show; empty for all.
    pub(super) metrics: Vec<String>,
    pub(super) gate: bool,
    pub(super) allow_missing: bool,
    pub(super) across_hosts: bool,
}

impl From<CompareOptions> for CompareArguments {
    fn from(options: CompareOptions) -> Self {
        let json = options.json.then_some(ComparisonFormat::Json);
        Self {
            a: options.a,
            b: options.b,
            baseline: options.baseline,
            margin: options.margin,
            means: options.means,
            detail: options.detail,
            format: json.or(options.format).unwrap_or_default(),
            metrics: options.metrics,
            gate: options.gate,
            allow_missing: options.allow_missing,
            across_hosts: options.across_hosts,
        }
    }
}

/// Compares two runs and prints the comparison.
fn compare_runs(
    a: &Path,
    b: &Path,
    settings: Settings,
    across_hosts: bool,
    output: &Output,
    gate: Option<GateRule>,
) -> anyhow::Result<ExitCode> {
    let (a, b) = (Directory::open(a)?, Directory::open(b)?);
    let (first, second) = (Loaded::new(&a)?, Loaded::new(&b)?);
    compare::check_comparable(
        [first.kind(), second.kind()],
        [first.host.as_ref(), second.host.as_ref()],
        across_hosts,
    )?;
    // Two runs of one host each, whose fingerprints say that they compare.
    let pooled = across_hosts || [&first, &second].iter().all(|run| summary::machines(&run.rows).len() <= 1);
    let plan = &second.plan;
    let across_host_cpus = across_hosts || first.plan.across_host_cpus && plan.across_host_cpus;
    let alternating = are_interleaved(&first.sessions, &second.sessions);
    let settings =
        Settings { seed: plan.seed, family: family::metrics(plan), alternating, pooled, across_host_cpus, ..settings };
    let pairs = compare::pairs_of_plans(&first.plan, plan);
    let found = compare::compare(first.side(), second.side(), &pairs, &settings);
    print_comparison(&found, [&a.name(), &b.name()], &second, &settings, output, gate)
}

/// Compares the variants of a run with the variant `baseline` and prints the comparison.
fn compare_variants(
    run: &Path,
    baseline: Option<&str>,
    settings: Settings,
    across_hosts: bool,
    output: &Output,
    gate: Option<GateRule>,
) -> anyhow::Result<ExitCode> {
    let run = Loaded::new(&Directory::open(run)?)?;
    let plan = &run.plan;
    let mut variants: Vec<&str> = plan.cells.iter().map(|cell| cell.variant.as_str()).collect();
    variants.dedup();
    let baseline = baseline.or(variants.first().copied()).unwrap_or_default();
    if !variants.contains(&baseline) {
        bail!(
            Code::NoSuchVariant
                .with_message(format!("the run has no variant {baseline}; its variants: {}", variants.join(", ")))
        );
    }
    let across_host_cpus = across_hosts || plan.across_host_cpus;
    let settings = Settings { seed: plan.seed, family: family::metrics(plan), across_host_cpus, ..settings };
    let found = compare::compare_with_baseline(run.side(), baseline, &settings);
    print_comparison(&found, [baseline, "each cell's variant"], &run, &settings, output, gate)
}

/// A run with everything that a comparison needs.
struct Loaded {
    plan: Plan,
    rows: Vec<summary::Row>,
    completed: ByCell,
    sessions: Vec<Session>,
    host: Option<Host>,
}

impl Loaded {
    fn new(run: &Directory) -> anyhow::Result<Self> {
        let host = microbench_plots::read_host(run.path())?;
        let microbench_plots::AnalyzedRun { run: opened, rows, .. } = microbench_plots::AnalyzedRun::load(run.path())?;
        let journal = opened.journal()?;
        let plan = opened.plan;
        if journal.unisolated().is_some() {
            errln!("microbench: {}: {UNISOLATED}", run.name());
        }
        let completed = completed::by_cell(&plan, &journal);
        Ok(Self { plan, rows, completed, sessions: journal.sessions, host })
    }

    fn kind(&self) -> Option<HostKind> {
        self.rows.iter().find_map(|row| row.host)
    }

    fn side(&self) -> Side<'_> {
        Side { plan: &self.plan, rows: &self.rows, completed: &self.completed }
    }
}

/// The output of `compare --gate --format json`.
#[derive(Serialize)]
struct GateReport<'a> {
    passes: bool,
    messages: &'a [String],
    rows: &'a [&'a Comparison],
    claims: Vec<ClaimReport<'a>>,
}

/// Prints a comparison and evaluates the gate: exit code 4 if it does not pass. The gate also judges the claims of the
/// second run, `run`.
fn print_comparison(
    found: &[Comparison],
    sides: [&str; 2],
    run: &Loaded,
    settings: &Settings,
    output: &Output,
    gate: Option<GateRule>,
) -> anyhow::Result<ExitCode> {
    let plan = &run.plan;
    if let Some(unknown) = output.metrics.iter().find(|name| !found.iter().any(|row| row.metric == **name)) {
        let known: BTreeSet<&str> = found.iter().map(|row| row.metric.as_str()).collect();
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        bail!(Code::UnknownName.with_message(format!("no row has the metric {unknown}; the metrics: {known}")));
    }
    let needs_margin = gate.is_some() && settings.margin.is_none();
    if needs_margin
        && plan
            .metrics
            .iter()
            .all(|metric| metric.gate.is_none_or(|gate| gate.margin.is_none() && gate.floor.is_none()))
    {
        bail!(Code::BadValue.with_message(
            "`--gate` needs a margin or floor: add `--margin 0.02`, or `gate = { margin = 0.02 }` to a metric of the \
             study; `microbench analyze --gate RUN` judges claims alone"
        ));
    }
    if !compare::have_common_metric(found) {
        return Err(compare::Refusal::Nothing.into());
    }
    let verdicts = gate.map(|_| claim::judge(plan, &run.rows)).unwrap_or_default();
    let gate = gate.map(|GateRule { allow_missing }| {
        (Gate::new(found, plan, allow_missing), ClaimGate::new(&verdicts, allow_missing))
    });
    let messages = gate.as_ref().map(|(gate, claims)| messages(gate, claims)).unwrap_or_default();
    let passes = gate.as_ref().is_none_or(|(gate, claims)| gate.passes() && claims.passes());
    let view = View { sides, title: &plan.title, metrics: &output.metrics };
    let claims = gate.as_ref().map(|(_, claims)| claims).filter(|claims| !claims.verdicts().is_empty());
    match output.format {
        ComparisonFormat::Text => {
            let width = Stream::Out.output_width();
            let claims = claims.map(|claims| format!("\n{}", claims.render(width))).unwrap_or_default();
            print_text(&(compare::render(found, view, settings, output.detail, width) + &claims))?;
        }
        ComparisonFormat::Json => {
            let is_shown = |row: &&Comparison| view.metrics.is_empty() || view.metrics.contains(&row.metric);
            let rows: Vec<&Comparison> = found.iter().filter(is_shown).collect();
            match &gate {
                None => print_json(&rows)?,
                Some((_, claims)) => {
                    let claims = claims.verdicts().iter().map(|verdict| ClaimReport::from(*verdict)).collect();
                    print_json(&GateReport { passes, messages: &messages, rows: &rows, claims })?
                }
            };
        }
        ComparisonFormat::Markdown => {
            let claims = claims.map(|claims| format!("\n{}", claims.render_markdown())).unwrap_or_default();
            // A line of these formats must not be wrapped.
            out!("{}", compare::render_markdown(found, view, settings) + &claims)?;
        }
        ComparisonFormat::Github => {
            let claims = claims.map(ClaimGate::render_annotations).unwrap_or_default();
            out!("{}", compare::render_annotations(found, view) + &claims)?;
        }
    }
    let Some((gate, claims)) = gate else { return Ok(ExitCode::SUCCESS) };
    if passes && gate.is_empty() && claims.is_empty() {
        return Err(compare::Refusal::Nothing.into());
    }
    for message in messages {
        errln!("microbench: {message}");
    }
    Ok(if passes { ExitCode::SUCCESS } else { ExitCode::from(exit::GATE) })
}

/// What a gate reports: of the comparison, then of each claim that does not hold.
fn messages(gate: &Gate, claims: &ClaimGate<'_>) -> Vec<String> {
    gate.message().into_iter().chain(claims.messages()).collect()
}

/// The output of `verify --json`.
#[derive(Serialize)]
struct VerifyReport<'a> {
    run: String,
    against: String,
    same: bool,
    claims: &'a [claim::Confirmation],
}

/// Prints both runs' verdicts on each claim of the reference. The exit code is 1 if a verdict differs.
pub(super) fn verify(run: &Path, against: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let (run, reference) = (Directory::open(run)?, Directory::open(against)?);
    let judge = |run: &Directory| -> anyhow::Result<_> {
        let loaded = microbench_plots::AnalyzedRun::load(run.path())?;
        Ok(claim::judge(&loaded.run.plan, &loaded.rows))
    };
    let (here, there) = (judge(&run)?, judge(&reference)?);
    let checks = claim::confirm(&there, &here);
    let same = checks.iter().all(claim::Confirmation::same);
    if json {
        print_json(&VerifyReport { run: run.name(), against: reference.name(), same, claims: &checks })?;
    } else {
        print_text(&claim::render_confirmations(&checks, &reference.name(), &run.name(), Stream::Out.output_width()))?;
    }
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Compares two runs, or the variants of one run.
pub(super) fn compare(arguments: CompareArguments) -> anyhow::Result<ExitCode> {
    let CompareArguments { a, b, baseline, margin, means, detail, format, metrics, gate, allow_missing, across_hosts } =
        arguments;
    let statistic = if means { Statistic::Mean } else { Statistic::Median };
    let settings = Settings {
        statistic,
        margin,
        seed: 0,
        family: Vec::new(),
        blocks: b.is_none(),
        alternating: b.is_none(),
        pooled: false,
        across_host_cpus: false,
    };
    let output = Output { format, detail, metrics };
    let gate = gate.then_some(GateRule { allow_missing });
    match b {
        Some(b) => compare_runs(&a, &b, settings, across_hosts, &output, gate),
        None => compare_variants(&a, baseline.as_deref(), settings, across_hosts, &output, gate),
    }
}
