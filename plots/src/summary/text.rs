//! The summary as text for a terminal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use microbench_formats::plan::Plan;
use microbench_formats::precision::{Look, Precision};
use microbench_formats::statistic::Statistic;
use microbench_formats::terminal::{Column, OutputWidth, fitted, wrapped_to};

use super::Row;
use super::missing::describe_missing;
use crate::definition::definition;
use crate::journal::{Execution, Journal};
use crate::number::{Estimate, declared_percent, p_value, significant};
use crate::stats::drift::drift;
use crate::stats::outlier::outliers;

/// The legend of the results.
const LEGEND: &str = "n is the number of trials; a trial's value is the median (for the mean: the mean) over its VMs; \
                      interval of the median: order statistics, 6 trials or more; cv: standard deviation / mean";
/// The legend of results with repetitions.
const REPEATED: &str = "n is the number of trials; a trial's value is the median (for the mean: the mean) over its \
                        VMs; median and mean: mean over repetitions of the median or mean over their trials, with the \
                        t interval over repetitions, 3 repetitions or more; cv: standard deviation of trials / mean";

/// The summary as text that fits `width`: the host, the results as a tree, the reasons of missing values, and the
/// definition of each metric.
#[must_use]
pub fn render(plan: &Plan, rows: &[Row], journal: &Journal, width: OutputWidth) -> String {
    let wrapped = |line: &str, indent: usize| wrapped_to(width.prose, line, indent);
    let mut out = String::new();
    if let Some(host) = rows.iter().find_map(|row| row.host) {
        let _ = writeln!(out, "{}", wrapped(&format!("host kind: {}", host.note()), 4));
    }
    if let Some(worst) = journal.probe_errors.iter().max_by(|a, b| a.max_ms.total_cmp(&b.max_ms)) {
        let line = format!(
            "probe error: {} ms (median), {} ms (maximum) of {} fake guests at the start of the session",
            significant(worst.median_ms),
            significant(worst.max_ms),
            worst.n
        );
        let _ = writeln!(out, "{}", wrapped(&line, 4));
    }
    let disturbed: Vec<&Execution> = journal.executions.iter().filter(|e| !e.warmup && !e.invalid.is_empty()).collect();
    if !disturbed.is_empty() {
        let reasons: BTreeSet<String> =
            disturbed.iter().flat_map(|execution| &execution.invalid).map(|(reason, _)| reason.to_string()).collect();
        let executions = journal.executions.iter().filter(|execution| !execution.warmup).count();
        let reasons = reasons.into_iter().collect::<Vec<_>>().join(", ");
        let line = format!(
            "disturbed: {} of {executions} trial executions ({reasons}); they do not count, samples.csv contains them",
            disturbed.len()
        );
        let _ = writeln!(out, "{}", wrapped(&line, 4));
    }
    if let (Some(rule), Some((blocks, cells))) = (&plan.precision, journal.looks.last()) {
        let _ = writeln!(out, "{}", wrapped(&describe_stop(rule, *blocks, cells), 4));
    }
    for sweep in crate::limit::describe_sweeps(plan, journal) {
        let _ = writeln!(out, "{}", wrapped(&format!("limit: {sweep}"), 4));
    }
    let repeated = rows.iter().any(Row::is_repeated);
    out.push_str(&wrapped(if repeated { REPEATED } else { LEGEND }, 0));
    out.push_str("\n\n");
    out.push_str(&super::results::render_tree(plan, rows, width));
    out.push('\n');
    let missing = describe_missing(rows);
    for line in &missing {
        let _ = writeln!(out, "{}", wrapped(line, 4));
    }
    if !missing.is_empty() {
        out.push('\n');
    }
    for metric in &plan.metrics {
        let _ = writeln!(out, "{}", wrapped(&format!("{}: {}", metric.name, definition(metric)), 4));
    }
    out
}

/// Tails, the interval of the mean, outliers and drift of each cell and metric with a value: as one table, or if that
/// is too wide, as a table of outliers and drift and a list of the others.
#[must_use]
pub fn render_detail(rows: &[Row], seed: u64, width: OutputWidth) -> String {
    const COLUMNS: [Column; 10] = [
        Column::left("cell", 0),
        Column::left("metric", 0),
        Column::right("p90", 6),
        Column::right("p95", 5),
        Column::right("p99", 4),
        Column::right("mean, 95 % interval", 3),
        Column::right("outliers", 0),
        Column::right("drift", 1),
        Column::right("p", 1),
        Column::right("lag 1", 2),
    ];
    /// Rank of the columns that become a list if the table is too wide.
    const WIDE_FROM: u8 = 3;
    let mut lines = Vec::new();
    let tail = |row: &Row, statistic: Statistic| {
        let least = row.trials_for_tail(statistic).unwrap_or(0);
        match (row.statistic(statistic), row.quantile_interval(statistic)) {
            (value, interval @ Some(_)) => Estimate::with_interval(value, interval).with_range(),
            (value @ Some(_), None) if row.is_repeated() => Estimate::with_interval(value, None).value(),
            _ if row.trials.len() < least => format!("n too small (< {least})"),
            _ => "censored".to_owned(),
        }
    };
    let show = |value: Option<f64>, text: fn(f64) -> String| value.map_or_else(|| "-".to_owned(), text);
    for row in rows.iter().filter(|row| row.n() > 0) {
        let found = outliers(&row.finite(Statistic::Median));
        let drift = drift(&row.values(Statistic::Median));
        let mean = match row.mean_interval(seed) {
            Ok(interval) => Estimate::with_interval(row.mean(), Some(interval)).with_range(),
            Err(why) => format!("withheld: {why}"),
        };
        lines.push(vec![
            row.cell.clone(),
            if row.unit == "1" { row.metric.clone() } else { format!("{} ({})", row.metric, row.unit) },
            tail(row, Statistic::P90),
            tail(row, Statistic::P95),
            tail(row, Statistic::P99),
            mean,
            format!("{} mild, {} severe", found.mild, found.severe),
            show(drift.map(|drift| drift.rank_correlation), significant),
            show(drift.map(|drift| drift.p), p_value),
            show(drift.map(|drift| drift.lag_1), significant),
        ]);
    }
    let legend = wrapped_to(
        width.prose,
        "quantiles over trials with 95 % order-statistic intervals; mean: BCa bootstrap, withheld below 100 \
         trials and with censored or failed VMs; outliers: by Tukey's fences, kept in every statistic; drift: \
         Spearman's rank correlation of value and execution order, with its p-value; lag 1: autocorrelation",
        0,
    );
    let (table, left_out) = fitted(&COLUMNS, &lines, width.table);
    if left_out.is_empty() {
        return format!("{legend}\n\n{table}");
    }
    // The columns with an interval are the widest: they become a list, which fits every width.
    let is_wide = |at: usize| COLUMNS[at].rank >= WIDE_FROM;
    let narrow: Vec<Column> = COLUMNS.into_iter().filter(|column| column.rank < WIDE_FROM).collect();
    let of_narrow = |line: &Vec<String>| {
        line.iter().enumerate().filter(|(at, _)| !is_wide(*at)).map(|(_, text)| text.clone()).collect()
    };
    let (table, left_out) = fitted(&narrow, &lines.iter().map(of_narrow).collect::<Vec<Vec<String>>>(), width.table);
    let mut out = format!("{legend}\n\n{table}{}\n", width.left_out(&left_out));
    for line in &lines {
        let wide = (0..COLUMNS.len()).filter(|at| is_wide(*at));
        let values: Vec<String> = wide.map(|at| format!("{} {}", COLUMNS[at].name, line[at])).collect();
        let text = format!("{}, {}: {}", line[0], line[1], values.join("; "));
        let _ = writeln!(out, "{}", wrapped_to(width.prose, &text, 4));
    }
    out
}

/// The state of the stopping rule after `blocks` blocks, with the cells that decide it.
fn describe_stop(rule: &Precision, blocks: u32, cells: &BTreeMap<String, Look>) -> String {
    let goal = format!("a half width of at most {} of {}", declared_percent(rule.relative), rule.metric);
    let names = |is_it: fn(&Look) -> bool| -> Vec<&str> {
        cells.iter().filter(|(_, look)| is_it(look)).map(|(cell, _)| cell.as_str()).collect()
    };
    let open = names(|look| matches!(look, Look::GoOn { .. }));
    let wide = names(|look| matches!(look, Look::AtMost { .. }));
    match (open.as_slice(), wide.as_slice()) {
        ([], []) => format!("stopped after {blocks} blocks: every cell reached {goal}, at two looks in a row"),
        ([], wide) => {
            format!("stopped after {blocks} blocks, the maximum; these cells did not reach {goal}: {}", wide.join(", "))
        }
        (open, _) => {
            format!("not stopped after {blocks} blocks: these cells have not reached {goal}: {}", open.join(", "))
        }
    }
}
