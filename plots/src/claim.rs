//! The verdicts on the claims of a study.
//!
//! A claim compares one or two sides, each a metric over some cells. It *holds* if the whole interval is within the
//! claim's limits, is *contradicted* if the whole interval is outside, and is *inconclusive* otherwise. Without data
//! on a side it is *not measured*, with the reason.
//!
//! In a run on several hosts, a ratio or a difference is computed within hosts (see [`compare`](crate::compare)). It
//! uses the hosts that all its cells have, each with the same weight. Without such a host the claim is inconclusive. A
//! value is over all trials.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use microbench_formats::claim::{Claim, Comparison, Side};
use microbench_formats::host::HostKind;
use microbench_formats::plan::Plan;
use microbench_formats::statistic::Statistic;
use microbench_formats::terminal::{Column, OutputWidth, fitted, wrapped_to};
use serde::Serialize;

use crate::Error;
use crate::figure::cells::selects;
use crate::file::write;
use crate::host_cpu;
use crate::number;
use crate::samples::status_and_reason;
use crate::stats::contrast::{CONTRAST_INTERVAL_FROM, Contrast, Kind, Method, Stratum};
use crate::stats::median::Interval;
use crate::summary::{LEVEL, Row, no_shared_machine, shared_machines};

/// The verdict on a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The interval is within the limits.
    Holds,
    /// The interval is outside the limits.
    Contradicted,
    /// The interval includes a limit, or there are too few trials for an interval.
    Inconclusive,
    /// A side has no data, or the claim cannot be measured.
    NotMeasured,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Holds => "holds",
            Self::Contradicted => "contradicted",
            Self::Inconclusive => "inconclusive",
            Self::NotMeasured => "not measured",
        })
    }
}

/// A claim, its verdict, and the numbers behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub claim: Claim,
    pub outcome: Outcome,
    /// The value, ratio or difference of the claim.
    pub value: Option<f64>,
    /// The interval of `value` and its method.
    pub interval: Option<(Interval, Method)>,
    /// The number of trials on each side.
    pub n: Vec<usize>,
    /// Unit of `value`; empty for a ratio or a count.
    pub unit: String,
    /// Why the claim was not measured or not decided, and which cells have no data; else empty.
    pub remark: String,
    pub host: Option<HostKind>,
}

/// The rows of one side that have data, and the cells without data, with the reason.
struct SideRows<'a> {
    rows: Vec<&'a Row>,
    missing: Vec<(&'a str, String)>,
}

/// The cells without data, grouped by reason.
fn describe_missing(found: &[SideRows<'_>]) -> String {
    let mut all: Vec<(&str, Vec<&str>)> = Vec::new();
    for (cell, reason) in found.iter().flat_map(|side| &side.missing) {
        match all.iter_mut().find(|(known, _)| known == reason) {
            Some((_, cells)) if !cells.contains(cell) => cells.push(cell),
            Some(_) => {}
            None => all.push((reason, vec![cell])),
        }
    }
    let describe = |(reason, cells): &(&str, Vec<&str>)| format!("{} ({reason})", cells.join(", "));
    all.iter().map(describe).collect::<Vec<_>>().join("; ")
}

/// The verdict on every claim of the plan, in plan order, from the rows of the run's summary.
#[must_use]
pub fn judge(plan: &Plan, rows: &[Row]) -> Vec<Verdict> {
    (0..).zip(&plan.claims).map(|(stream, claim)| verdict(plan, rows, claim, stream)).collect()
}

fn verdict(plan: &Plan, rows: &[Row], claim: &Claim, stream: u64) -> Verdict {
    let mut verdict = Verdict {
        claim: claim.clone(),
        outcome: Outcome::NotMeasured,
        value: None,
        interval: None,
        n: Vec::new(),
        unit: String::new(),
        remark: claim.unmeasured.clone(),
        host: rows.iter().find_map(|row| row.host),
    };
    let (kind, sides): (Kind, Vec<&Side>) = match &claim.comparison {
        Some(Comparison::Value(side)) => (Kind::Value, vec![side]),
        Some(Comparison::Ratio(first, second)) => (Kind::Ratio, vec![first, second]),
        Some(Comparison::Difference(first, second)) => (Kind::Difference, vec![first, second]),
        None => return verdict,
    };
    let found: Vec<SideRows<'_>> = sides.iter().map(|side| rows_of_side(plan, rows, side)).collect();
    let missing = describe_missing(&found);
    if found.iter().any(|side| side.rows.is_empty()) {
        verdict.remark = if missing.is_empty() { "the plan has no such cell".to_owned() } else { missing };
        return verdict;
    }
    if kind != Kind::Ratio {
        verdict.unit = found[0].rows[0].unit.replace('1', "");
    }
    let mut remarks = Vec::new();
    let all: Vec<&Row> = found.iter().flat_map(|side| side.rows.iter().copied()).collect();
    verdict.n = found.iter().map(|side| side.rows.iter().map(|row| row.n()).sum()).collect();
    let compared: BTreeSet<&str> = all.iter().map(|row| row.cell.as_str()).collect();
    let cpus = plan.cells.iter().filter(|cell| compared.contains(cell.id.as_str()));
    let cpus = cpus.map(|cell| (cell.id.as_str(), cell.host_cpu()));
    if kind != Kind::Value
        && !plan.across_host_cpus
        && let Some(why) = host_cpu::why_not_compared(verdict.host, cpus)
    {
        verdict.remark = why;
        return verdict;
    }
    // A value has one side, so hosts need not be shared.
    let machines = if kind == Kind::Value { Vec::new() } else { shared_machines(&all) };
    let within: Vec<Option<&str>> = match kind {
        Kind::Value => vec![None],
        _ => machines.iter().map(|machine| Some(machine.as_str())).collect(),
    };
    if within.is_empty() {
        verdict.outcome = Outcome::Inconclusive;
        remarks.push(no_shared_machine(&all));
        if !missing.is_empty() {
            remarks.push(format!("without {missing}"));
        }
        verdict.remark = remarks.join("; ");
        return verdict;
    }
    let strata: Vec<Stratum> = within.iter().flat_map(|machine| strata(&found, claim.statistic, *machine)).collect();
    if kind != Kind::Value {
        let on = |row: &&Row| {
            let shared = |trial: &&crate::summary::Trial| {
                let name = row.machines.get(trial.machine);
                trial.median.is_finite() && name.is_none_or(|name| machines.contains(name))
            };
            row.trials.iter().filter(shared).count()
        };
        let trials_with_value: Vec<usize> = found.iter().map(|side| side.rows.iter().map(on).sum()).collect();
        let left_out: usize = verdict.n.iter().sum::<usize>() - trials_with_value.iter().sum::<usize>();
        if left_out > 0 {
            remarks.push(format!("{left_out} trials are left out, on hosts that not every cell has"));
        }
        if machines.len() > 1 {
            remarks.push(format!("within {} hosts of equal weight ({})", machines.len(), machines.join(", ")));
        }
        verdict.n = trials_with_value;
    }
    let contrast = Contrast { kind, statistic: claim.statistic, strata };
    verdict.value = contrast.estimate();
    verdict.interval = contrast.interval(LEVEL, plan.seed, stream);
    verdict.outcome = match &verdict.interval {
        Some((interval, _)) => outcome(claim, interval),
        None => Outcome::Inconclusive,
    };
    if verdict.interval.is_none() {
        let on = if machines.len() > 1 { " on each host" } else { "" };
        remarks.push(format!("an interval needs {CONTRAST_INTERVAL_FROM} trials of each cell{on}"));
    }
    if !missing.is_empty() {
        remarks.push(format!("without {missing}"));
    }
    verdict.remark = remarks.join("; ");
    verdict
}

fn outcome(claim: &Claim, interval: &Interval) -> Outcome {
    let least = claim.least.unwrap_or(f64::NEG_INFINITY);
    let most = claim.most.unwrap_or(f64::INFINITY);
    // The interval is a single point if all values are equal.
    let (met, missed) = if claim.strict {
        (interval.low > least && interval.high < most, interval.high <= least || interval.low >= most)
    } else {
        (interval.low >= least && interval.high <= most, interval.high < least || interval.low > most)
    };
    if met {
        Outcome::Holds
    } else if missed {
        Outcome::Contradicted
    } else {
        Outcome::Inconclusive
    }
}

/// The rows of a side's cells, and the cells without a value with the first reason of each.
fn rows_of_side<'a>(plan: &'a Plan, rows: &'a [Row], side: &Side) -> SideRows<'a> {
    let mut found = SideRows { rows: Vec::new(), missing: Vec::new() };
    for cell in plan.cells.iter().filter(|cell| selects(&side.of, cell)) {
        let row = rows.iter().find(|row| row.cell == cell.id && row.metric == side.metric);
        match row {
            Some(row) if row.n() > 0 => found.rows.push(row),
            Some(row) if row.planned() == 0 => {}
            Some(row) => {
                let reason = row.missing.iter().map(|(status, (_, reason))| status_and_reason(*status, reason)).next();
                found.missing.push((&cell.id, reason.unwrap_or_default().chars().take(160).collect()));
            }
            None => found.missing.push((&cell.id, format!("no `{}`", side.metric))),
        }
    }
    found
}

/// The values of each cell on a side, of the host `machine` or of all hosts.
fn strata(found: &[SideRows<'_>], statistic: Statistic, machine: Option<&str>) -> Vec<Stratum> {
    let values = |row: &Row| match machine {
        Some(machine) => row.by_machine(statistic).remove(machine).unwrap_or_default(),
        None => row.values(statistic),
    };
    let cells: BTreeSet<&str> = found.iter().flat_map(|side| &side.rows).map(|row| row.cell.as_str()).collect();
    let value_of = |side: Option<&SideRows<'_>>, cell: &str| {
        side.and_then(|side| side.rows.iter().find(|row| row.cell == cell)).map_or(Vec::new(), |row| values(row))
    };
    let mut strata = Vec::new();
    for cell in cells {
        let (first, second) = (value_of(found.first(), cell), value_of(found.get(1), cell));
        // The two metrics of a cell are resampled together only if every trial has both.
        if first.is_empty() || second.is_empty() || first.len() == second.len() {
            strata.push(Stratum { first, second });
        } else {
            strata.push(Stratum { first, second: Vec::new() });
            strata.push(Stratum { first: Vec::new(), second });
        }
    }
    strata
}

impl Verdict {
    /// The limits of the claim, for example `at least 2 ms`; empty without limits.
    #[must_use]
    pub fn expectation(&self) -> String {
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        match (self.claim.least, self.claim.most) {
            (Some(least), Some(most)) => format!("{least} to {most}{unit}"),
            (Some(least), None) if self.claim.strict => format!("more than {least}{unit}"),
            (Some(least), None) => format!("at least {least}{unit}"),
            (None, Some(most)) if self.claim.strict => format!("less than {most}{unit}"),
            (None, Some(most)) => format!("at most {most}{unit}"),
            (None, None) => String::new(),
        }
    }

    /// Value, interval, method and number of trials; empty if the claim was not measured.
    #[must_use]
    pub fn measured(&self) -> String {
        let Some(value) = self.value else { return String::new() };
        let kind = match &self.claim.comparison {
            Some(Comparison::Ratio(..)) => "ratio ",
            Some(Comparison::Difference(..)) => "difference ",
            _ => "",
        };
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        let mut text = format!("{kind}{}{unit}", format_number(value));
        if let Some((interval, method)) = &self.interval {
            let percent = LEVEL * 100.0;
            let _ = write!(
                text,
                ", {percent} % interval {} to {} ({})",
                format_number(interval.low),
                format_number(interval.high),
                method.name()
            );
        }
        let n: Vec<String> = self.n.iter().map(ToString::to_string).collect();
        let _ = write!(text, ", n = {} trials", n.join(" and "));
        text
    }
}

/// `value` with three or four significant digits.
pub(crate) fn format_number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The verdicts as text that fits `width`, with a line that counts them.
#[must_use]
pub fn render(verdicts: &[Verdict], width: OutputWidth) -> String {
    let mut out = String::new();
    for verdict in verdicts {
        let _ = writeln!(out, "{:12}  {}: {}", verdict.outcome, verdict.claim.name, verdict.claim.text.trim());
        for (label, text) in details(verdict) {
            let _ = writeln!(out, "              {label}: {text}");
        }
    }
    let _ = writeln!(out, "{}", count_outcomes(verdicts));
    out.lines().fold(String::new(), |all, line| all + &wrapped_to(width.prose, line, 16) + "\n")
}

/// The number of claims with each verdict, as one line.
#[must_use]
pub fn count_outcomes(verdicts: &[Verdict]) -> String {
    let count = |outcome| verdicts.iter().filter(|verdict| verdict.outcome == outcome).count();
    format!(
        "{}: {} hold, {} are contradicted, {} inconclusive, {} not measured",
        number::count(verdicts.len(), "claim"),
        count(Outcome::Holds),
        count(Outcome::Contradicted),
        count(Outcome::Inconclusive),
        count(Outcome::NotMeasured)
    )
}

/// The details of a verdict as label and text; entries without text are left out.
pub(crate) fn details(verdict: &Verdict) -> Vec<(&'static str, String)> {
    let published = verdict.claim.published.map_or_else(String::new, format_number);
    [
        ("measured", verdict.measured()),
        ("expected", verdict.expectation()),
        ("published", published),
        ("in the paper's data", verdict.claim.data.clone()),
        ("remark", verdict.remark.clone()),
    ]
    .into_iter()
    .filter(|(_, text)| !text.is_empty())
    .collect()
}

/// The verdicts of two runs on one claim of the reference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Confirmation {
    pub name: String,
    /// The verdict of the reference.
    #[serde(rename = "there")]
    pub reference: Outcome,
    /// The verdict of the run; `None` if it has no such claim.
    #[serde(rename = "here")]
    pub run: Option<Outcome>,
    /// The values of the reference and of the run.
    pub values: [Option<f64>; 2],
}

impl Confirmation {
    /// Whether both verdicts are the same.
    #[must_use]
    pub fn same(&self) -> bool {
        self.run == Some(self.reference)
    }
}

/// The verdicts of `run` and of `reference` on each claim of `reference`.
#[must_use]
pub fn confirm(reference: &[Verdict], run: &[Verdict]) -> Vec<Confirmation> {
    let confirmation = |verdict: &Verdict| {
        let other = run.iter().find(|other| other.claim.name == verdict.claim.name);
        Confirmation {
            name: verdict.claim.name.clone(),
            reference: verdict.outcome,
            run: other.map(|other| other.outcome),
            values: [verdict.value, other.and_then(|other| other.value)],
        }
    };
    reference.iter().map(confirmation).collect()
}

/// The confirmations as a table that fits `width`, with a line that counts them.
#[must_use]
pub fn render_confirmations(all: &[Confirmation], reference: &str, run: &str, width: OutputWidth) -> String {
    const COLUMNS: [Column; 6] = [
        Column::left("claim", 0),
        Column::left("reference", 0),
        Column::left("here", 0),
        Column::right("reference's value", 2),
        Column::right("value here", 1),
        Column::left("", 0),
    ];
    let show = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), format_number);
    let row = |one: &Confirmation| {
        vec![
            one.name.clone(),
            one.reference.to_string(),
            one.run.map_or_else(|| "no such claim".to_owned(), |outcome| outcome.to_string()),
            show(one.values[0]),
            show(one.values[1]),
            if one.same() { String::new() } else { "differs".to_owned() },
        ]
    };
    let same = all.iter().filter(|claim| claim.same()).count();
    let (table, left_out) = fitted(&COLUMNS, &all.iter().map(row).collect::<Vec<_>>(), width.table);
    format!(
        "reference: {reference}\nhere: {run}\n\n{table}{}\n{}: {same} with the same verdict, {} not\n",
        width.left_out(&left_out),
        number::count(all.len(), "claim"),
        all.len() - same
    )
}

/// Writes `claims.md` and `claims.csv` into the directory `run` and returns their paths.
///
/// # Errors
/// If a file cannot be written.
pub fn save(run: &Path, plan: &Plan, verdicts: &[Verdict]) -> Result<Vec<PathBuf>, Error> {
    let files = [run.join("claims.md"), run.join("claims.csv")];
    write(&files[0], markdown(plan, verdicts).as_bytes())?;
    let refused = |problem: String| Error::Figure { name: "claims.csv".into(), problem };
    let mut csv = csv::Writer::from_writer(Vec::new());
    let header = [
        "claim",
        "verdict",
        "value",
        "low",
        "high",
        "method",
        "n",
        "unit",
        "least",
        "most",
        "published",
        "host",
        "remark",
    ];
    csv.write_record(header).map_err(|error| refused(error.to_string()))?;
    let show = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    for verdict in verdicts {
        let interval = verdict.interval.as_ref();
        let n: Vec<String> = verdict.n.iter().map(ToString::to_string).collect();
        csv.write_record([
            verdict.claim.name.clone(),
            verdict.outcome.to_string(),
            show(verdict.value),
            show(interval.map(|(interval, _)| interval.low)),
            show(interval.map(|(interval, _)| interval.high)),
            interval.map_or_else(String::new, |(_, method)| method.name().to_owned()),
            n.join("+"),
            verdict.unit.clone(),
            show(verdict.claim.least),
            show(verdict.claim.most),
            show(verdict.claim.published),
            verdict.host.map_or_else(String::new, |host| host.to_string()),
            verdict.remark.clone(),
        ])
        .map_err(|error| refused(error.to_string()))?;
    }
    let bytes = csv.into_inner().map_err(|error| refused(error.to_string()))?;
    write(&files[1], &bytes)?;
    Ok(files.into())
}

fn markdown(plan: &Plan, verdicts: &[Verdict]) -> String {
    let mut out = format!("# {}: claims\n\n", plan.title);
    if let Some(host) = verdicts.iter().find_map(|verdict| verdict.host) {
        let _ = writeln!(out, "Host: {}.\n", host.note());
    }
    out.push_str("| claim | verdict | measured | expected | published | in the paper's data | remark |\n");
    out.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
    for verdict in verdicts {
        let cells = [
            verdict.claim.text.clone(),
            verdict.outcome.to_string(),
            verdict.measured(),
            verdict.expectation(),
            verdict.claim.published.map_or_else(String::new, format_number),
            verdict.claim.data.clone(),
            verdict.remark.clone(),
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_at_the_limit_fails_a_strict_claim() {
        let claim = |least, most, strict| Claim {
            name: String::new(),
            text: String::new(),
            comparison: None,
            statistic: Statistic::Mean,
            least,
            most,
            strict,
            published: None,
            data: String::new(),
            unmeasured: String::new(),
        };
        let interval = |low, high| Interval { low, high, level: 0.95 };
        // Every VM of every trial completed, so the share is not less than 1.
        assert_eq!(outcome(&claim(None, Some(1.0), true), &interval(1.0, 1.0)), Outcome::Contradicted);
        assert_eq!(outcome(&claim(None, Some(1.0), false), &interval(1.0, 1.0)), Outcome::Holds);
        assert_eq!(outcome(&claim(Some(1.0), None, true), &interval(1.0, 1.0)), Outcome::Contradicted);
        assert_eq!(outcome(&claim(Some(1.0), None, true), &interval(1.0, 1.1)), Outcome::Inconclusive);
        assert_eq!(outcome(&claim(Some(1.0), None, true), &interval(1.01, 1.1)), Outcome::Holds);
        assert_eq!(outcome(&claim(Some(1.0), Some(2.0), false), &interval(1.0, 2.0)), Outcome::Holds);
    }
}
