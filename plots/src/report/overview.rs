//! The head of the page, what failed, the claims, the metrics.

use serde::Serialize;

use crate::claim::{self, Verdict};
use crate::journal::{Failure, Journal};
use crate::record::{HostKind, MetricSource, Plan, vm_id};
use crate::samples::{Sample, Status};
use crate::summary::{Row, reasons};

use super::{Fact, Input, Limited};

/// Rows of a list of failures.
const MOST: usize = 200;
/// Characters of a reason.
const REASON: usize = 600;

/// Samples that are missing for one reason.
#[derive(Serialize)]
pub(super) struct Missing {
    count: usize,
    reason: String,
    places: String,
}

/// A VM that did not complete.
#[derive(Serialize)]
pub(super) struct Failed {
    cell: String,
    trial: u32,
    vm: u32,
    why: String,
    console: String,
}

/// An execution that does not count.
#[derive(Serialize)]
pub(super) struct Disturbed {
    cell: String,
    trial: u32,
    attempt: u32,
    why: String,
}

/// A claim with its verdict.
#[derive(Serialize)]
pub(super) struct Judged {
    text: String,
    verdict: String,
    class: String,
    details: Vec<Fact>,
}

/// A metric.
#[derive(Serialize)]
pub(super) struct Term {
    name: String,
    label: String,
    definition: String,
    unit: String,
}

/// Where the run executed.
pub(super) fn host(input: &Input<'_>) -> Option<HostKind> {
    input.journal.sessions.first().map(|session| session.host)
}

/// What was run, in a sentence.
pub(super) fn what(plan: &Plan) -> String {
    let axes: Vec<String> = plan
        .axes
        .iter()
        .map(|axis| format!("{} {}", axis.levels.len(), plural(&axis.name.replace('_', " "), axis.levels.len())))
        .collect();
    let excluded = match plan.excluded.len() {
        0 => String::new(),
        n => format!(" ({n} combinations are excluded)"),
    };
    let profile = if plan.profile.is_empty() { String::new() } else { format!(", profile {}", plan.profile) };
    format!(
        "Study {}{profile}: {} cells of {}{excluded}, {} trials planned, {} metrics.",
        plan.study,
        plan.cells.len(),
        axes.join(" × "),
        plan.trials.len(),
        plan.metrics.len()
    )
}

fn plural(word: &str, n: usize) -> String {
    match word {
        "concurrency" if n == 1 => "number of VMs at once".to_owned(),
        "concurrency" => "numbers of VMs at once".to_owned(),
        "rootfs" if n == 1 => "root file system".to_owned(),
        "rootfs" => "root file systems".to_owned(),
        _ if n == 1 => word.to_owned(),
        _ => format!("{word}s"),
    }
}

/// When each session began, and the run ended.
pub(super) fn sessions(journal: &Journal) -> Vec<String> {
    let mut all: Vec<String> = (journal.sessions.iter())
        .map(|session| {
            let beside =
                if session.hosts > 1 { format!(", {} hosts beside one another", session.hosts) } else { String::new() };
            format!("{} on {}{beside}, microbench {}", session.started, session.host, session.version)
        })
        .collect();
    all.push(journal.ended.as_ref().map_or_else(
        || "not ended: trials are missing".to_owned(),
        |ended| format!("every trial had ended at {ended}"),
    ));
    all
}

/// How many samples there are.
pub(super) fn counts(samples: &[Sample]) -> String {
    let counted = samples.iter().filter(|sample| sample.counts());
    let (mut values, mut missing) = (0, 0);
    for sample in counted {
        if sample.status == Status::Ok { values += 1 } else { missing += 1 }
    }
    format!("{values} with a value, {missing} without")
}

/// What is missing, the most frequent reason first.
pub(super) fn missing(rows: &[Row]) -> Vec<Missing> {
    let count = |metric: &str, cell: &str, reason: &str| -> usize {
        let own = |row: &&Row| row.cell == cell && (metric.is_empty() || row.metric == metric);
        let of = |row: &Row| {
            let same = row.missing.iter().find(|(status, (_, why))| crate::samples::said(**status, why) == reason);
            same.map_or(0, |(_, (count, _))| *count)
        };
        // The same VMs lack every metric.
        rows.iter().filter(own).map(of).max().unwrap_or(0)
    };
    let mut all: Vec<Missing> = (reasons(rows).into_iter())
        .map(|(reason, places)| Missing {
            count: {
                let mut cells = std::collections::BTreeMap::new();
                for (metric, cell) in
                    places.iter().flat_map(|(metric, cells)| cells.iter().map(move |cell| (metric, cell)))
                {
                    let most: &mut usize = cells.entry(*cell).or_default();
                    *most = count(metric, cell, &reason).max(*most);
                }
                cells.values().sum()
            },
            places: places
                .iter()
                .map(|(metric, cells)| match *metric {
                    "" => cells.join(", "),
                    _ => format!("{metric} of {}", cells.join(", ")),
                })
                .collect::<Vec<_>>()
                .join("; "),
            reason: short(&reason),
        })
        .collect();
    all.sort_by_key(|missing| std::cmp::Reverse(missing.count));
    all
}

/// VMs of executions that count and of warm-ups that did not complete.
pub(super) fn failed(input: &Input<'_>) -> Limited<Failed> {
    let vms = input.journal.executions.iter().flat_map(|execution| {
        execution.vms.iter().filter_map(move |(vm, records)| Some((execution, *vm, records.failure.as_ref()?)))
    });
    let row = |(execution, vm, failure): (&crate::journal::Execution, u32, &Failure)| Failed {
        cell: execution.cell.clone(),
        trial: execution.trial,
        vm,
        why: short(&format!("{} at {}: {}", failure.reason, failure.stage, failure.message)),
        console: console(input.run, execution.trial, execution.warmup, execution.attempt, vm),
    };
    Limited::new(vms.map(row).collect(), MOST)
}

/// The name of a VM's console log; empty when there is none.
pub(super) fn console(run: &std::path::Path, trial: u32, warmup: bool, attempt: u32, vm: u32) -> String {
    let id = vm_id(trial, warmup, attempt, vm);
    if run.join("console").join(format!("{id}.log")).is_file() { id } else { String::new() }
}

/// Executions that something disturbed, then those that were cut off.
pub(super) fn disturbed(journal: &Journal) -> Limited<Disturbed> {
    let invalid = journal.executions.iter().filter(|execution| !execution.invalid.is_empty()).map(|execution| {
        let why: Vec<String> =
            execution.invalid.iter().map(|(reason, message)| format!("{reason}: {message}")).collect();
        Disturbed {
            cell: execution.cell.clone(),
            trial: execution.trial,
            attempt: execution.attempt,
            why: short(&why.join("; ")),
        }
    });
    let cell = |trial: u32| {
        let same = journal.executions.iter().find(|execution| execution.trial == trial);
        same.map_or_else(|| "not run again".to_owned(), |execution| execution.cell.clone())
    };
    let cut_off = journal.cut_off.iter().map(|(trial, attempt)| Disturbed {
        cell: cell(*trial),
        trial: *trial,
        attempt: *attempt,
        why: "cut off before its end".to_owned(),
    });
    Limited::new(invalid.chain(cut_off).collect(), MOST)
}

/// The claims in the study's order.
pub(super) fn claims(verdicts: &[Verdict]) -> Vec<Judged> {
    let judged = |verdict: &Verdict| Judged {
        text: verdict.claim.text.trim().to_owned(),
        verdict: verdict.outcome.to_string(),
        class: verdict.outcome.to_string().replace(' ', "-"),
        details: (claim::details(verdict).into_iter())
            .map(|(name, value)| Fact { name: name.to_owned(), value: short(&value) })
            .collect(),
    };
    verdicts.iter().map(judged).collect()
}

/// What each metric is.
pub(super) fn metrics(plan: &Plan) -> Vec<Term> {
    let term = |metric: &crate::record::Metric| {
        let source = match &metric.source {
            MetricSource::Span { from, to } => format!(" From {from} to {to}."),
            MetricSource::Reading(name) => format!(" Reading {name}."),
        };
        Term {
            name: metric.name.clone(),
            label: metric.label.clone(),
            definition: format!("{}.{source}", metric.definition.trim().trim_end_matches('.').replace('`', "")),
            unit: if metric.unit == "1" { "none, a count".to_owned() } else { metric.unit.clone() },
        }
    };
    plan.metrics.iter().map(term).collect()
}

/// A reason of a bearable length.
pub(super) fn short(reason: &str) -> String {
    let kept: String = reason.chars().take(REASON).collect();
    if kept.len() < reason.len() { format!("{kept}… (cut; samples.csv has the rest)") } else { kept }
}
