//! The verdicts on the claims of a study.
//!
//! A claim compares one or two sides, each a metric over some cells. It *holds* if the whole interval is within the
//! claim's limits, is *contradicted* if the whole interval is outside, and is *inconclusive* otherwise. Without data
//! on a side it is *not measured*, with the reason. If its limits are for the wall clock and the run is in virtual
//! time, it is *not comparable*.
//!
//! A censored value is larger than all others. If it makes the statistic of a side infinite, the claim has a bound
//! instead of a value, and the bound can decide.
//!
//! In a run on several hosts, a ratio or a difference is computed within hosts (see [`compare`](crate::compare)). It
//! uses the hosts that all its cells have, each with the same weight. Without such a host the claim is inconclusive. A
//! value is over all trials.

mod confirm;
mod gate;
mod save;
mod text;
mod values;

use std::collections::BTreeSet;
use std::fmt;

use microbench_formats::claim::{Claim, Comparison, Side, Subject};
use microbench_formats::host::HostKind;
use microbench_formats::plan::Plan;
use microbench_formats::selection::selects;
use microbench_formats::statistic::Statistic;
use serde::Serialize;

pub use self::confirm::{Confirmation, confirm, render_confirmations};
pub use self::gate::ClaimGate;
pub use self::save::save;
pub(crate) use self::text::details;
pub use self::text::{count_outcomes, render};
use crate::host_cpu;
use crate::samples::{Status, status_and_reason};
use crate::stats::clusters::{self, TrialVms};
use crate::stats::contrast::{Contrast, Kind, Method, Stratum};
use crate::stats::median::Interval;
use crate::stats::no_interval::NoInterval;
use crate::summary::{LEVEL, Row, no_shared_machine, shared_machines};

/// The verdict on a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The interval is within the limits.
    Holds,
    /// The interval is outside the limits.
    Contradicted,
    /// The interval includes a limit, or there is no interval.
    Inconclusive,
    /// The limits are for the wall clock, and the run is in virtual time.
    NotComparable,
    /// A side has no data, or the claim cannot be measured.
    NotMeasured,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Holds => "holds",
            Self::Contradicted => "contradicted",
            Self::Inconclusive => "inconclusive",
            Self::NotComparable => "not comparable",
            Self::NotMeasured => "not measured",
        })
    }
}

/// A claim, its verdict, and the numbers behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub claim: Claim,
    pub outcome: Outcome,
    /// The value, ratio, difference or share of the claim; of `every value` the value that decides. `None` if it is
    /// censored.
    pub value: Option<f64>,
    /// The interval of `value` and its method; without a value the interval of the bound. A censored end is infinite.
    pub interval: Option<(Interval, Method)>,
    /// The number of trials on each side, with those that are censored.
    pub n: Vec<usize>,
    /// Unit of `value`; empty for a ratio, a share or a count.
    pub unit: String,
    /// Unit of the claim's limits; empty for a ratio or a count.
    pub limit_unit: String,
    /// The smallest value of a VM, for a claim on `every value`.
    extreme_low: Option<f64>,
    /// The VMs that failed before their value was known, or whose value is not available.
    pub unknown: usize,
    /// Why the claim was not measured or not decided, and which cells have no data; else empty.
    pub remark: String,
    pub host: Option<HostKind>,
}

/// The end of an interval that is known if the value is censored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    /// The name in a table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AtLeast(_) => "at least",
            Self::AtMost(_) => "at most",
        }
    }
}

impl Verdict {
    /// The bound of the value; `None` if the value is known, or without a bound. Zero as lower bound of a ratio says
    /// nothing.
    #[must_use]
    pub fn bound(&self) -> Option<Bound> {
        let (interval, _) = self.interval.as_ref().filter(|_| self.value.is_none())?;
        let is_low_known = interval.low.is_finite() && !(self.is_ratio() && interval.low <= 0.0);
        match (is_low_known, interval.high.is_finite()) {
            (true, _) => Some(Bound::AtLeast(interval.low)),
            (false, true) => Some(Bound::AtMost(interval.high)),
            (false, false) => None,
        }
    }

    /// Whether the value is a ratio of two cells.
    fn is_ratio(&self) -> bool {
        matches!(self.claim.comparison, Some(Comparison::Ratio(..)))
    }
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
    let same = |one: &Claim, other: &Claim| one.comparison == other.comparison && one.statistic == other.statistic;
    // Claims on the same value have the same interval.
    let stream = |claim: &Claim| plan.claims.iter().position(|other| same(claim, other)).unwrap_or(0) as u64;
    plan.claims.iter().map(|claim| with_clock(verdict(plan, rows, claim, stream(claim)))).collect()
}

/// The verdict, or *not comparable* if the limits are for another clock than that of the run.
fn with_clock(verdict: Verdict) -> Verdict {
    let is_virtual = verdict.host == Some(HostKind::Emulated);
    if verdict.outcome == Outcome::NotMeasured || !is_virtual || !verdict.claim.needs_wall_clock(&verdict.limit_unit) {
        return verdict;
    }
    let mut remarks = vec!["the limits are for the wall clock, and this run is in virtual time".to_owned()];
    remarks.extend(Some(verdict.remark).filter(|remark| !remark.is_empty()));
    Verdict { outcome: Outcome::NotComparable, remark: remarks.join("; "), ..verdict }
}

fn verdict(plan: &Plan, rows: &[Row], claim: &Claim, stream: u64) -> Verdict {
    let mut verdict = Verdict {
        claim: claim.clone(),
        outcome: Outcome::NotMeasured,
        value: None,
        interval: None,
        n: Vec::new(),
        unit: String::new(),
        limit_unit: String::new(),
        extreme_low: None,
        unknown: 0,
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
        verdict.limit_unit.clone_from(&verdict.unit);
    }
    let all: Vec<&Row> = found.iter().flat_map(|side| side.rows.iter().copied()).collect();
    verdict.n = found.iter().map(|side| side.rows.iter().map(|row| row.trials.len()).sum()).collect();
    verdict.unknown = all.iter().map(|row| row.unknown()).sum();
    let compared: BTreeSet<&str> = all.iter().map(|row| row.cell.as_str()).collect();
    let cpus = plan.cells.iter().filter(|cell| compared.contains(cell.id.as_str()));
    let cpus = cpus.map(|cell| (cell.id.as_str(), cell.host_cpu())).filter(|_| kind != Kind::Value);
    let mut remarks = Vec::new();
    if plan.across_host_cpus {
        remarks.extend(host_cpu::differing(verdict.host, cpus));
    } else if let Some(why) = host_cpu::why_not_compared(verdict.host, cpus) {
        verdict.remark = why;
        return verdict;
    }
    let is_tail = claim.statistic.quantile().is_some_and(|p| p > 0.5);
    match claim.subject {
        Subject::EveryValue => values::judge_every_value(&mut verdict, &all, &mut remarks),
        Subject::Share(share) => values::judge_share(&mut verdict, &all, share, &mut remarks),
        Subject::Statistic if is_tail && kind == Kind::Value && all.len() == 1 => {
            judge_percentile(&mut verdict, all[0], &mut remarks);
        }
        Subject::Statistic | Subject::Equivalence(_)
            if is_tail && all.iter().any(|row| !row.vms_of_trials.is_empty()) =>
        {
            verdict.outcome = Outcome::Inconclusive;
            remarks.push(
                "a percentile of several cells has an interval only if each trial has one VM, with a value".to_owned(),
            );
        }
        Subject::Statistic | Subject::Equivalence(_) => {
            judge_contrast(&mut verdict, &found, kind, (plan.seed, stream), &mut remarks);
        }
    }
    remarks.extend(describe_failures(&all));
    if !missing.is_empty() {
        remarks.push(format!("without {missing}"));
    }
    verdict.remark = remarks.join("; ");
    verdict
}

/// Sets the numbers and the outcome of a claim on a percentile over the VMs of one cell, and adds to `remarks`. A VM
/// without a value can have any.
fn judge_percentile(verdict: &mut Verdict, row: &Row, remarks: &mut Vec<String>) {
    let statistic = verdict.claim.statistic;
    verdict.outcome = Outcome::Inconclusive;
    verdict.value = row.statistic(statistic).filter(|_| verdict.unknown == 0);
    if row.is_repeated() {
        remarks.push("a percentile has no interval over repetitions".to_owned());
        return;
    }
    let trials = row.clusters();
    let (trials, fewest) = (trials.iter().collect::<Vec<&TrialVms>>(), trials.len());
    let interval = statistic.quantile().and_then(|p| clusters::interval(&trials, p, LEVEL));
    match (interval, row.trials_for_tail(statistic)) {
        (Some(found), _) if found.low.is_infinite() && found.high.is_infinite() => {
            // A side that is never reached exceeds every upper limit.
            let never = found.low == f64::INFINITY && verdict.claim.most.is_some();
            verdict.outcome = if never { Outcome::Contradicted } else { Outcome::Inconclusive };
            remarks.push(NoInterval::Censored.to_string());
        }
        (Some(found), _) => {
            verdict.outcome = outcome(&verdict.claim, &found);
            verdict.interval = Some((found, Method::OrderStatistics));
        }
        (None, Some(needed)) if fewest < needed => {
            remarks.push(NoInterval::TooFewTrials { statistic, fewest, needed }.to_string());
            judge_lower_bound(verdict, &trials, remarks);
        }
        (None, _) => {
            remarks.push("the trials have different numbers of VMs, so a percentile has no interval".to_owned())
        }
    }
    if verdict.unknown > 0 {
        remarks.push("a VM without a value counts as below and as above every limit".to_owned());
    }
}

/// Contradicts a claim on a percentile of too few trials for an interval if even its lower bound exceeds the limit.
fn judge_lower_bound(verdict: &mut Verdict, trials: &[&TrialVms], remarks: &mut Vec<String>) {
    let low = verdict.claim.statistic.quantile().and_then(|p| clusters::lower_bound(trials, p, LEVEL));
    let bound = low.map(|low| Interval { low, high: f64::INFINITY, level: LEVEL });
    let Some(bound) = bound.filter(|bound| outcome(&verdict.claim, bound) == Outcome::Contradicted) else { return };
    verdict.outcome = Outcome::Contradicted;
    if bound.low.is_finite() {
        verdict.interval = Some((bound, Method::OrderStatistics));
    } else {
        remarks.push("a censored value counts as larger than every limit".to_owned());
    }
}

/// The contrast of a claim's sides if every VM without a value has the smallest or, unless `is_smallest`, the largest one.
fn extreme(found: &[SideRows<'_>], is_smallest: [bool; 2], contrast: impl Fn(&[SideRows<'_>]) -> Contrast) -> Contrast {
    let replaced = |(side, is_smallest): (&SideRows<'_>, bool)| -> Vec<Row> {
        side.rows.iter().map(|row| row.with_failures(is_smallest)).collect()
    };
    let rows: Vec<Vec<Row>> = found.iter().zip(is_smallest).map(replaced).collect();
    let sides: Vec<SideRows<'_>> =
        rows.iter().map(|rows| SideRows { rows: rows.iter().collect(), missing: Vec::new() }).collect();
    contrast(&sides)
}

/// Sets the numbers and the outcome of a claim on the statistics of its sides, and adds to `remarks`.
fn judge_contrast(
    verdict: &mut Verdict,
    found: &[SideRows<'_>],
    kind: Kind,
    (seed, stream): (u64, u64),
    remarks: &mut Vec<String>,
) {
    let statistic = verdict.claim.statistic;
    let all: Vec<&Row> = found.iter().flat_map(|side| side.rows.iter().copied()).collect();
    verdict.outcome = Outcome::Inconclusive;
    let withheld =
        all.iter().find_map(|row| Some(format!("the mean of {} is withheld: {}", row.cell, row.mean_withheld()?)));
    if let Some(why) = withheld.filter(|_| statistic == Statistic::Mean) {
        remarks.push(why);
        return;
    }
    // A value has one side, so hosts need not be shared.
    let machines = if kind == Kind::Value { Vec::new() } else { shared_machines(&all) };
    let within: Vec<Option<&str>> = match kind {
        Kind::Value => vec![None],
        _ => machines.iter().map(|machine| Some(machine.as_str())).collect(),
    };
    if within.is_empty() {
        remarks.push(no_shared_machine(&all));
        return;
    }
    let contrast_of = |found: &[SideRows<'_>]| Contrast {
        kind,
        statistic,
        strata: within.iter().flat_map(|machine| strata(found, statistic, *machine)).collect(),
    };
    if kind != Kind::Value {
        let on = |row: &&Row| {
            let shared = |trial: &&crate::summary::Trial| {
                row.machines.get(trial.machine).is_none_or(|name| machines.contains(name))
            };
            row.trials.iter().filter(shared).count()
        };
        let shared: Vec<usize> = found.iter().map(|side| side.rows.iter().map(on).sum()).collect();
        let left_out: usize = verdict.n.iter().sum::<usize>() - shared.iter().sum::<usize>();
        if left_out > 0 {
            remarks.push(format!("{left_out} trials are left out, on hosts that not every cell has"));
        }
        if machines.len() > 1 {
            remarks.push(format!("within {} hosts of equal weight ({})", machines.len(), machines.join(", ")));
        }
        verdict.n = shared;
    }
    let contrast = contrast_of(found);
    verdict.value = contrast.estimate();
    let interval_of = |contrast: &Contrast| contrast.interval_or_bound(LEVEL, seed, stream);
    let mut interval = interval_of(&contrast);
    if statistic == Statistic::Median && all.iter().any(|row| !row.failed.is_empty()) {
        // The largest ratio and difference have the smallest second side.
        let ends =
            [[true, false], [false, true]].map(|is_smallest| interval_of(&extreme(found, is_smallest, contrast_of)));
        interval = match ends {
            [Ok((low, method)), Ok((high, _))] => interval.map(|(found, _)| {
                let (low, high) = (low.low.min(found.low), high.high.max(found.high));
                (Interval { low, high, ..found }, method)
            }),
            [low, high] => low.and(high),
        };
        remarks.push("the interval counts VMs without a value as the smallest and as the largest value".to_owned());
    }
    match interval {
        Ok((interval, method)) => {
            verdict.outcome = outcome(&verdict.claim, &interval);
            verdict.interval = Some((interval, method));
        }
        Err(why) => {
            if verdict.unknown == 0
                && why == NoInterval::Censored
                && is_contradicted_without_bound(&verdict.claim, &contrast)
            {
                verdict.outcome = Outcome::Contradicted;
                remarks.push("a censored value counts as larger than every limit".to_owned());
            }
            let on = if machines.len() > 1 { ", counted on each host" } else { "" };
            remarks.push(format!("{why}{on}"));
        }
    }
    if verdict.value.is_none() && verdict.interval.is_some() {
        let censored: BTreeSet<&str> =
            all.iter().filter(|row| row.statistic(statistic).is_none()).map(|row| row.cell.as_str()).collect();
        let cells = censored.into_iter().collect::<Vec<_>>().join(", ");
        remarks.push(format!("the {} of {cells} is censored, so the result is a bound", statistic.label()));
    }
}

/// Whether a side that is never reached contradicts the claim: it exceeds every upper limit. It is no evidence for a
/// lower limit, which can be larger than the time that was waited.
fn is_contradicted_without_bound(claim: &Claim, contrast: &Contrast) -> bool {
    match (contrast.censored_sides(), contrast.kind) {
        ([true, false], _) => claim.most.is_some(),
        ([false, true], Kind::Ratio) => claim.least.is_some_and(|least| least > 0.0),
        ([false, true], _) => claim.least.is_some(),
        _ => false,
    }
}

/// The VMs of `rows` that are censored or failed, for example `fc/1: 2 of 20 VMs censored`.
fn describe_failures(rows: &[&Row]) -> Vec<String> {
    let mut all = Vec::new();
    for row in rows {
        let counts: Vec<String> = [Status::Censored, Status::Failed]
            .iter()
            .filter_map(|status| Some(format!("{} {}", row.missing.get(status)?.0, status.name())))
            .collect();
        let vms = if row.planned() == 1 { "VM" } else { "VMs" };
        let text = format!("{}: {} of {} {vms}", row.cell, counts.join(" and "), row.planned());
        if !counts.is_empty() && !all.contains(&text) {
            all.push(text);
        }
    }
    all
}

fn outcome(claim: &Claim, interval: &Interval) -> Outcome {
    // The interval is a single point if all values are equal, and has an infinite end if it is a bound.
    let is_below = |value: f64, most: f64| if claim.strict { value < most } else { value <= most };
    let met = claim.least.is_none_or(|least| is_below(least, interval.low))
        && claim.most.is_none_or(|most| is_below(interval.high, most));
    let missed = claim.least.is_some_and(|least| !is_below(least, interval.high))
        || claim.most.is_some_and(|most| !is_below(interval.low, most));
    if met {
        Outcome::Holds
    } else if missed {
        Outcome::Contradicted
    } else {
        Outcome::Inconclusive
    }
}

/// The rows of a side's cells, and the cells without a trial with the first reason of each.
fn rows_of_side<'a>(plan: &'a Plan, rows: &'a [Row], side: &Side) -> SideRows<'a> {
    let mut found = SideRows { rows: Vec::new(), missing: Vec::new() };
    for cell in plan.cells.iter().filter(|cell| selects(&side.of, cell)) {
        let row = rows.iter().find(|row| row.cell == cell.id && row.metric == side.metric);
        match row {
            Some(row) if !row.trials.is_empty() => found.rows.push(row),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_at_the_limit_fails_a_strict_claim() {
        let claim = |least, most, strict| Claim {
            name: String::new(),
            text: String::new(),
            comparison: None,
            statistic: Statistic::Median,
            least,
            most,
            strict,
            subject: Subject::Statistic,
            clock: None,
            gate: false,
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
        // Bounds.
        assert_eq!(outcome(&claim(Some(1.0), None, true), &interval(1.1, f64::INFINITY)), Outcome::Holds);
        assert_eq!(outcome(&claim(None, Some(1.0), true), &interval(1.0, f64::INFINITY)), Outcome::Contradicted);
        assert_eq!(outcome(&claim(None, Some(1.0), true), &interval(0.9, f64::INFINITY)), Outcome::Inconclusive);
        assert_eq!(outcome(&claim(None, Some(1.0), true), &interval(f64::NEG_INFINITY, 0.9)), Outcome::Holds);
    }
}
