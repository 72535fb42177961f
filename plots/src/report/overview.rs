//! The head of the page, failures and missing values, claims, metrics.

use std::collections::BTreeMap;

use microbench_formats::cell::{DEFAULT_HOST_CPU, HOST_CPU};
use microbench_formats::direction::Better;
use microbench_formats::host::HostKind;
use microbench_formats::plan::Plan;
use microbench_formats::record::{FailureReason, vm_id};
use serde::Serialize;

use super::{Fact, Input, Limited};
use crate::claim::{self, Verdict};
use crate::definition::definition;
use crate::host_cpu;
use crate::journal::Journal;
use crate::limit;
use crate::samples::{Sample, Status};
use crate::summary::{Row, missing_by_reason};

/// Largest number of rows in a list of failures.
const MOST: usize = 200;
/// Largest number of console logs that a row links to.
const MOST_CONSOLES: usize = 4;
/// Largest number of characters of a reason.
const REASON: usize = 600;

/// Samples that are missing for the same reason.
#[derive(Serialize)]
pub(super) struct Missing {
    count: usize,
    reason: String,
    places: String,
}

/// VMs of a cell that failed at the same stage with the same kind of reason.
#[derive(Serialize)]
pub(super) struct Failed {
    cell: String,
    vms: usize,
    /// Reason of the first of these VMs.
    why: String,
    consoles: Vec<String>,
    more_consoles: usize,
    #[serde(skip)]
    applicable: bool,
}

/// A trial execution that does not count.
#[derive(Serialize)]
pub(super) struct Disturbed {
    cell: String,
    trial: u32,
    attempt: u32,
    why: String,
}

/// A claim with its verdict.
#[derive(Serialize)]
pub(super) struct ClaimVerdict {
    text: String,
    verdict: String,
    class: String,
    details: Vec<Fact>,
}

/// The definition of a metric.
#[derive(Serialize)]
pub(super) struct MetricEntry {
    name: String,
    label: String,
    definition: String,
    better: String,
    unit: String,
}

/// The host kind of the run; `None` if it has no session.
pub(super) fn host(input: &Input<'_>) -> Option<HostKind> {
    input.journal.sessions.first().map(|session| session.host)
}

/// One sentence on the size of the study.
pub(super) fn study_sentence(plan: &Plan) -> String {
    // An axis with one level does not divide the study into cells.
    let axes: Vec<String> = (plan.axes.iter())
        .filter(|axis| axis.levels.len() > 1)
        .map(|axis| count_levels(&axis.name, axis.levels.len()))
        .collect();
    let axes = if axes.is_empty() { String::new() } else { format!(" of {}", axes.join(" × ")) };
    let count = |word: &str, n: usize| format!("{n} {}", plural(word, n));
    let excluded = match plan.excluded.len() {
        0 => String::new(),
        n => format!(" ({} excluded)", count("combination", n)),
    };
    let profile = if plan.profile.is_empty() { String::new() } else { format!(", profile {}", plan.profile) };
    format!(
        "Study {}{profile}: {}{axes}{excluded}, {} planned, {}.",
        plan.study,
        count("cell", plan.cells.len()),
        count("trial", plan.trials.len()),
        count("metric", plan.metrics.len())
    )
}

/// The number `n` of levels of an axis, at least 2: `2 memory sizes`.
fn count_levels(axis: &str, n: usize) -> String {
    let word = match axis {
        "variant" | "kernel" => axis,
        "concurrency" => "concurrency level",
        "memory_mib" => "memory size",
        "rootfs" => "root file system",
        "vcpus" => "vCPU count",
        other => return format!("{n} levels of {}", other.replace('_', " ")),
    };
    format!("{n} {}", plural(word, n))
}

fn plural(word: &str, n: usize) -> String {
    if n == 1 { word.to_owned() } else { format!("{word}s") }
}

/// Start of each session, end of the run, and how far each sweep of concurrency went.
pub(super) fn sessions(plan: &Plan, journal: &Journal) -> Vec<Fact> {
    let label = journal.label().map(|label| Fact { name: "Label".to_owned(), value: label.to_string() });
    let started = (journal.sessions.iter()).map(|session| {
        let hosts = if session.hosts > 1 { format!(", {} parallel hosts", session.hosts) } else { String::new() };
        let value = format!("{}{hosts}, microbench {}", whole_seconds(&session.started), session.version);
        Fact { name: "Started".to_owned(), value }
    });
    let mut all: Vec<Fact> = label.into_iter().chain(started).collect();
    all.push(match &journal.ended {
        Some(ended) => Fact { name: "Ended".to_owned(), value: whole_seconds(ended) },
        None => Fact { name: "Ended".to_owned(), value: "not ended, trials are missing".to_owned() },
    });
    let host = journal.sessions.first().map(|session| session.host);
    let cpus = host_cpu::sentence(host, &plan.cells);
    all.extend(cpus.map(|value| Fact { name: "Emulated host".to_owned(), value }));
    all.extend(not_applied(plan, journal).map(|value| Fact { name: "Not applied".to_owned(), value }));
    let sweeps = limit::describe_sweeps(plan, journal).into_iter();
    all.extend(sweeps.map(|value| Fact { name: "Sweep".to_owned(), value }));
    all
}

/// The CPUs of the emulated host that cells set, if the run has another kind of host. `None` if all have the default.
fn not_applied(plan: &Plan, journal: &Journal) -> Option<String> {
    let host = journal.sessions.first().map(|session| session.host)?;
    let set: Vec<&str> = plan.host_cpus().into_iter().filter(|cpu| *cpu != DEFAULT_HOST_CPU).collect();
    let applies = matches!(host, HostKind::Emulated | HostKind::Imported);
    (!applies && !set.is_empty()).then(|| format!("{HOST_CPU} ({}): only in the emulated host", set.join(", ")))
}

/// An RFC 3339 time without fractional seconds.
fn whole_seconds(time: &str) -> String {
    match time.split_once('.') {
        Some((whole, rest)) => whole.to_owned() + rest.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => time.to_owned(),
    }
}

/// Number of samples with and without a value.
pub(super) fn counts(samples: &[Sample]) -> String {
    let counted = samples.iter().filter(|sample| sample.counts());
    let (mut values, mut missing) = (0, 0);
    for sample in counted {
        if sample.status == Status::Ok { values += 1 } else { missing += 1 }
    }
    format!("{values} with a value, {missing} without")
}

/// Missing samples by reason: failures first, and the most frequent reason first within a status.
pub(super) fn missing(rows: &[Row]) -> Vec<Missing> {
    let count = |metric: &str, cell: &str, reason: &str| -> usize {
        let own = |row: &&Row| row.cell == cell && (metric.is_empty() || row.metric == metric);
        let value_of = |row: &Row| {
            let same = row
                .missing
                .iter()
                .find(|(status, (_, why))| crate::samples::status_and_reason(**status, why) == reason);
            same.map_or(0, |(_, (count, _))| *count)
        };
        // A VM without values is missing in every metric, so counts must not be added up over metrics.
        rows.iter().filter(own).map(value_of).max().unwrap_or(0)
    };
    let mut all: Vec<Missing> = (missing_by_reason(rows).into_iter())
        .map(|(reason, places)| Missing {
            count: {
                let mut cells = BTreeMap::new();
                for (metric, cell) in
                    places.iter().flat_map(|(metric, cells)| cells.iter().map(move |cell| (metric, cell)))
                {
                    let most: &mut usize = cells.entry(*cell).or_default();
                    *most = count(metric, cell, &reason).max(*most);
                }
                cells.values().sum()
            },
            places: metrics_and_cells(&places),
            reason: truncated(&reason),
        })
        .collect();
    // Each reason begins with its status.
    let rank = |reason: &str| {
        let order = ["failed", "censored", "invalid", "not-run", "beyond-limit", "not-applicable", "not-available"];
        order.iter().position(|status| reason.starts_with(status)).unwrap_or(order.len())
    };
    all.sort_by_key(|missing| (rank(&missing.reason), std::cmp::Reverse(missing.count)));
    all
}

/// Text of metrics and cells; metrics with the same cells are grouped.
fn metrics_and_cells(places: &BTreeMap<&str, Vec<&str>>) -> String {
    let mut groups: Vec<(&Vec<&str>, Vec<&str>)> = Vec::new();
    for (metric, cells) in places {
        match groups.iter_mut().find(|(known, _)| *known == cells) {
            Some((_, metrics)) => metrics.push(metric),
            None => groups.push((cells, vec![metric])),
        }
    }
    let group_text = |(cells, metrics): &(&Vec<&str>, Vec<&str>)| match metrics.as_slice() {
        [""] => format!("every metric of {}", cells.join(", ")),
        _ => format!("{} of {}", metrics.join(", "), cells.join(", ")),
    };
    groups.iter().map(group_text).collect::<Vec<_>>().join("; ")
}

/// VMs that did not complete, including warm-ups: failures first, then VMs that are not applicable.
pub(super) fn failed(input: &Input<'_>) -> Limited<Failed> {
    let vms = input.journal.executions.iter().flat_map(|execution| {
        execution.vms.iter().filter_map(move |(vm, records)| Some((execution, *vm, records.failure.as_ref()?)))
    });
    // VMs beyond the limit were not meant to run; they are listed as missing only.
    let vms = vms.filter(|(_, _, failure)| failure.reason != FailureReason::BeyondLimit);
    let mut groups: BTreeMap<(&str, String, &str), Failed> = BTreeMap::new();
    for (execution, vm, failure) in vms {
        let key = (execution.cell.as_str(), failure.reason.to_string(), failure.stage.as_str());
        let group = groups.entry(key).or_insert_with(|| Failed {
            cell: execution.cell.clone(),
            vms: 0,
            why: truncated(&format!("{} at {}: {}", failure.reason, failure.stage, failure.message)),
            consoles: Vec::new(),
            more_consoles: 0,
            applicable: failure.reason != FailureReason::NotApplicable,
        });
        group.vms += 1;
        let console = console(input.run, execution.trial, execution.warmup, execution.attempt, vm);
        if !console.is_empty() {
            if group.consoles.len() < MOST_CONSOLES { group.consoles.push(console) } else { group.more_consoles += 1 }
        }
    }
    let mut rows: Vec<Failed> = groups.into_values().collect();
    rows.sort_by_key(|row| !row.applicable);
    Limited::new(rows, MOST)
}

/// Name of a VM's console log without extension; empty if there is no log.
pub(super) fn console(run: &std::path::Path, trial: u32, warmup: bool, attempt: u32, vm: u32) -> String {
    let id = vm_id(trial, warmup, attempt, vm);
    if run.join("console").join(format!("{id}.log")).is_file() { id } else { String::new() }
}

/// Disturbed trial executions, then those that were interrupted.
pub(super) fn disturbed(journal: &Journal) -> Limited<Disturbed> {
    let invalid = journal.executions.iter().filter(|execution| !execution.invalid.is_empty()).map(|execution| {
        let why: Vec<String> =
            execution.invalid.iter().map(|(reason, message)| format!("{reason}: {message}")).collect();
        Disturbed {
            cell: execution.cell.clone(),
            trial: execution.trial,
            attempt: execution.attempt,
            why: truncated(&why.join("; ")),
        }
    });
    let cell = |trial: u32| {
        let same = journal.executions.iter().find(|execution| execution.trial == trial);
        same.map_or_else(|| "not retried".to_owned(), |execution| execution.cell.clone())
    };
    let cut_off = journal.cut_off.iter().map(|(trial, attempt)| Disturbed {
        cell: cell(*trial),
        trial: *trial,
        attempt: *attempt,
        why: "interrupted before its end".to_owned(),
    });
    Limited::new(invalid.chain(cut_off).collect(), MOST)
}

/// The claims in the order of the study.
pub(super) fn claims(verdicts: &[Verdict]) -> Vec<ClaimVerdict> {
    let judged = |verdict: &Verdict| ClaimVerdict {
        text: verdict.claim.text.trim().to_owned(),
        verdict: verdict.outcome.to_string(),
        class: verdict.outcome.to_string().replace(' ', "-"),
        details: (claim::details(verdict).into_iter())
            .map(|(name, value)| Fact { name: name.to_owned(), value: truncated(&value) })
            .collect(),
    };
    verdicts.iter().map(judged).collect()
}

/// The definitions of the metrics.
pub(super) fn metrics(plan: &Plan) -> Vec<MetricEntry> {
    let entry = |metric: &microbench_formats::metric::Metric| MetricEntry {
        name: metric.name.clone(),
        label: metric.label.clone(),
        definition: format!("{}.", definition(metric).trim().trim_end_matches('.').replace('`', "")),
        better: match metric.direction() {
            Better::Neither => String::new(),
            better => format!(" Better when {better}."),
        },
        unit: match metric.unit_or_kind() {
            unit if unit == metric.unit => unit.to_owned(),
            kind => format!("none, a {kind}"),
        },
    };
    plan.metrics.iter().map(entry).collect()
}

/// A reason, cut after [`REASON`] characters.
pub(super) fn truncated(reason: &str) -> String {
    let kept: String = reason.chars().take(REASON).collect();
    if kept.len() < reason.len() { format!("{kept}… (shortened; samples.csv has the full text)") } else { kept }
}
