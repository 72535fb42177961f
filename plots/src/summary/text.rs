//! The summary as text for a terminal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use microbench_formats::plan::Plan;
use microbench_formats::precision::{Look, Precision};
use microbench_formats::statistic::Statistic;
use microbench_formats::terminal::{self, Room, fitted, wrapped_to};

use super::{LEVEL, Row};
use crate::journal::{Execution, Journal};
use crate::samples::said;
use crate::stats::bca;
use crate::stats::drift::drift;
use crate::stats::median::Interval;
use crate::stats::outlier::outliers;
use crate::stats::quantile::smallest_n;

/// The interval of the mean over trials, or why there is none.
fn mean_interval(row: &Row, seed: u64) -> Result<Interval, bca::Withheld> {
    bca::interval(&row.values(Statistic::Mean), LEVEL, seed, 0)
}

/// The summary as text for a terminal: the host, the results as a tree, why values are missing, what each metric is.
#[must_use]
pub fn text(plan: &Plan, rows: &[Row], journal: &Journal, room: Room) -> String {
    let wrapped = |line: &str, indent: usize| wrapped_to(room.words, line, indent);
    let mut out = String::new();
    if let Some(host) = rows.iter().find_map(|row| row.host) {
        let _ = writeln!(out, "{}", wrapped(&format!("host: {}", host.note()), 4));
    }
    if let Some(worst) = journal.probe_errors.iter().max_by(|a, b| a.max_ms.total_cmp(&b.max_ms)) {
        let words = format!(
            "probe: late by {:.3} ms (median), {:.3} ms at most, of {} fake guests at the start of the session",
            worst.median_ms, worst.max_ms, worst.n
        );
        let _ = writeln!(out, "{}", wrapped(&words, 4));
    }
    let again: Vec<&Execution> = journal.executions.iter().filter(|e| !e.warmup && !e.invalid.is_empty()).collect();
    if !again.is_empty() {
        let reasons: BTreeSet<String> =
            again.iter().flat_map(|execution| &execution.invalid).map(|(reason, _)| reason.to_string()).collect();
        let executions = journal.executions.iter().filter(|execution| !execution.warmup).count();
        let reasons = reasons.into_iter().collect::<Vec<_>>().join(", ");
        let words = format!(
            "disturbed: {} of {executions} executions, none of which counts ({reasons}; samples.csv keeps them)",
            again.len()
        );
        let _ = writeln!(out, "{}", wrapped(&words, 4));
    }
    if let (Some(rule), Some((blocks, cells))) = (&plan.precision, journal.looks.last()) {
        let _ = writeln!(out, "{}", wrapped(&stopped(rule, *blocks, cells), 4));
    }
    for sweep in crate::limit::said(plan, journal) {
        let _ = writeln!(out, "{}", wrapped(&format!("limit: {sweep}"), 4));
    }
    out.push_str(&wrapped(
        "n is the number of trials; a trial's value is the median (for the mean: the mean) over its VMs; interval of the median: \
         order statistics, from 6 trials on; cv: standard deviation / mean",
        0,
    ));
    out.push_str("\n\n");
    out.push_str(&crate::summary::results::text(plan, rows, room));
    out.push('\n');
    let reasons = reasons(rows);
    for (reason, places) in &reasons {
        let places: Vec<String> = places
            .iter()
            .map(|(metric, cells)| match *metric {
                "" => cells.join(", "),
                _ => format!("{metric} of {}", cells.join(", ")),
            })
            .collect();
        let _ = writeln!(out, "{}", wrapped(&format!("{}: {reason}", places.join("; ")), 4));
    }
    if !reasons.is_empty() {
        out.push('\n');
    }
    for metric in &plan.metrics {
        let _ = writeln!(out, "{}", wrapped(&format!("{}: {}", metric.name, metric.definition), 4));
    }
    out
}

/// What a median does not say: tails, the mean's interval, outliers, drift; one line for each cell and metric with a value.
#[must_use]
pub fn detail(rows: &[Row], seed: u64, room: Room) -> String {
    const COLUMNS: [terminal::Column; 10] = [
        terminal::Column::left("cell", 0),
        terminal::Column::left("metric", 0),
        terminal::Column::right("p90", 6),
        terminal::Column::right("p95", 5),
        terminal::Column::right("p99", 4),
        terminal::Column::right("mean, 95 % interval", 3),
        terminal::Column::right("outliers", 0),
        terminal::Column::right("drift", 1),
        terminal::Column::right("p", 1),
        terminal::Column::right("lag 1", 2),
    ];
    let mut lines = Vec::new();
    let tail = |row: &Row, statistic: Statistic| match (row.statistic(statistic), row.quantile_interval(statistic)) {
        (Some(value), Some(i)) => format!("{value:.2} ({:.2} to {:.2})", i.low, i.high),
        _ => {
            let least = statistic.share().and_then(|share| smallest_n(share, LEVEL)).unwrap_or(0);
            if row.n() < least { format!("n too small (< {least})") } else { "censored".to_owned() }
        }
    };
    for row in rows.iter().filter(|row| row.n() > 0) {
        let found = outliers(&row.finite(Statistic::Median));
        let drift = drift(&row.values(Statistic::Median));
        let of = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
        let mean = mean_interval(row, seed)
            .map_or_else(|why| format!("withheld: {why}"), |i| format!("{:.2} to {:.2}", i.low, i.high));
        lines.push(vec![
            row.cell.clone(),
            if row.unit == "1" { row.metric.clone() } else { format!("{} ({})", row.metric, row.unit) },
            tail(row, Statistic::P90),
            tail(row, Statistic::P95),
            tail(row, Statistic::P99),
            mean,
            format!("{} mild, {} severe", found.mild, found.severe),
            of(drift.map(|drift| drift.rank_correlation)),
            of(drift.map(|drift| drift.p)),
            of(drift.map(|drift| drift.lag_1)),
        ]);
    }
    let words = wrapped_to(
        room.words,
        "quantiles over trials with 95 % order-statistic intervals; mean: BCa bootstrap, withheld below 30 trials and with severe \
         outliers; outliers: Tukey's, kept in every statistic; drift: rank correlation with the order, its p; lag 1: autocorrelation",
        0,
    );
    let (table, left_out) = fitted(&COLUMNS, &lines, room.table);
    format!("{words}\n\n{table}{}", room.left_out(&left_out))
}

/// Why the stopping rule stopped, or that it did not.
fn stopped(rule: &Precision, blocks: u32, cells: &BTreeMap<String, Look>) -> String {
    let wanted = format!("the half width of the interval of {} at {:.2} %", rule.metric, rule.relative * 100.0);
    let of = |wide: fn(&Look) -> bool| cells.iter().filter(move |(_, look)| wide(look)).map(|(cell, _)| cell.as_str());
    let open: Vec<&str> = of(|look| matches!(look, Look::GoOn { .. })).collect();
    let wide: Vec<&str> = of(|look| matches!(look, Look::AtMost { .. })).collect();
    match (open.as_slice(), wide.as_slice()) {
        ([], []) => format!("stopped after {blocks} blocks: every cell had {wanted} or less, at two looks in a row"),
        ([], wide) => format!("stopped after {blocks} blocks, the most allowed, without {wanted}: {}", wide.join(", ")),
        (open, _) => format!("not stopped at {blocks} blocks: {wanted} is wanted of {}", open.join(", ")),
    }
}

/// The first row of `row`'s cell, when none of its rows has a value and all for the same reason: one line stands for them.
pub(crate) fn refused<'a>(rows: &'a [Row], row: &Row) -> Option<&'a Row> {
    let mut all = rows.iter().filter(|other| other.cell == row.cell && other.planned() > 0);
    let first = all.next()?;
    let reason =
        |row: &Row| row.missing.iter().map(|(status, (_, reason))| (*status, reason.clone())).collect::<Vec<_>>();
    let same = |other: &Row| other.n() == 0 && reason(other) == reason(first);
    (same(first) && all.all(same)).then_some(first)
}

/// Every reason for which values are missing, with the cells of each metric; the metric is empty where it is every metric's.
pub(crate) fn reasons(rows: &[Row]) -> Vec<(String, BTreeMap<&str, Vec<&str>>)> {
    let mut all: Vec<(String, BTreeMap<&str, Vec<&str>>)> = Vec::new();
    for row in rows {
        let metric = if refused(rows, row).is_some() { "" } else { &row.metric };
        for (status, (_, reason)) in &row.missing {
            let reason = said(*status, reason);
            let at = all.iter().position(|(known, _)| *known == reason).unwrap_or_else(|| {
                all.push((reason, BTreeMap::new()));
                all.len() - 1
            });
            let cells = all[at].1.entry(metric).or_default();
            if cells.last() != Some(&row.cell.as_str()) {
                cells.push(&row.cell);
            }
        }
    }
    all
}
