//! The rows of one pair of cells: each metric, what a side lacks, and whether fewer VMs completed.

use std::collections::BTreeMap;

use microbench_formats::direction::Better;
use microbench_formats::statistic::Statistic;

use super::missing::{self, Has, Lacking};
use super::{Comparison, EVERY_METRIC, Missing, Pair, Settings, Side, VMS_COMPLETED, Verdict, What};
use crate::completed::Completed;
use crate::stats::contrast::{Contrast, Kind, Stratum};
use crate::stats::median::median;
use crate::stats::permutation::{Block, within_blocks};
use crate::stats::rank;
use crate::summary::{LEVEL, Row, no_shared_machine, shared_machines};

/// Adds the rows of one pair to `found`; `rows` are those of its cells. Each contrast takes one more `stream` of random
/// numbers.
pub(super) fn compare(
    pair: &Pair,
    sides: [Side<'_>; 2],
    rows: &[Vec<&Row>; 2],
    settings: &Settings,
    stream: &mut u64,
    found: &mut Vec<Comparison>,
) {
    let metrics = metrics(rows);
    let has = |side: usize, metric: &str| {
        let row = rows[side].iter().find(|row| row.metric == metric).copied();
        missing::of(row, metric, &pair.absent, settings.statistic)
    };
    let of_both: Vec<(&str, [Has<'_>; 2])> =
        metrics.into_iter().map(|metric| (metric, [has(0, metric), has(1, metric)])).collect();
    let lacks = |side: usize| !of_both.iter().any(|(_, has)| matches!(has[side], Has::Value(_)));
    if lacks(0) || lacks(1) {
        found.extend(whole_cell(pair, sides, &of_both));
        return;
    }
    let fewer_vms = fewer_completed(pair, sides);
    for (metric, has) in &of_both {
        let better = direction(sides, metric);
        match has {
            [Has::Value(a), Has::Value(b)] if a.unit == b.unit => {
                found.push(contrasted(a, b, better, settings, *stream));
                *stream += 1;
                // A VM that did not complete lacks the values of several metrics.
                if fewer_vms.is_none() {
                    found.extend(fewer_values(pair, [a, b], better));
                }
            }
            has => found.extend(one_metric(pair, metric, has, better, settings.statistic)),
        }
    }
    found.extend(fewer_vms);
}

/// The metrics of both cells: the first side's in its order, then those that only the second has.
fn metrics<'a>(rows: &[Vec<&'a Row>; 2]) -> Vec<&'a str> {
    let mut all: Vec<&str> = Vec::new();
    for row in rows.iter().flatten() {
        if !all.contains(&row.metric.as_str()) {
            all.push(&row.metric);
        }
    }
    all
}

/// The better direction of a metric, by the second side's plan where that has it.
fn direction(sides: [Side<'_>; 2], name: &str) -> Better {
    let metrics = sides.iter().rev().flat_map(|side| &side.plan.metrics);
    metrics.into_iter().find(|metric| metric.name == name).map_or(Better::Neither, |metric| metric.direction())
}

/// The row of a cell of which a side has no value at all; `None` where neither side could have one.
fn whole_cell(pair: &Pair, sides: [Side<'_>; 2], of_both: &[(&str, [Has<'_>; 2])]) -> Option<Comparison> {
    let with_value = |side: usize| of_both.iter().filter(move |(_, has)| matches!(has[side], Has::Value(_)));
    let (in_first, in_second) = (with_value(0).count() > 0, with_value(1).count() > 0);
    let side = missing::side([in_first, in_second]);
    let why = |side: usize| missing::worst(of_both.iter().map(|(_, has)| &has[side]));
    if side == Lacking::Both && [why(0), why(1)].iter().all(|why| !why.is_failure) {
        return None;
    }
    let there: Vec<(&str, &Row)> = (of_both.iter())
        .filter_map(|(metric, has)| has.iter().find_map(|has| has.row()).map(|row| (*metric, row)))
        .collect();
    let (metric, unit) = match there.as_slice() {
        [(metric, row)] => (*metric, row.unit.as_str()),
        _ => (EVERY_METRIC, ""),
    };
    let better = direction(sides, metric);
    let n = |side: usize| with_value(side).filter_map(|(_, has)| has[side].row()).map(Row::n).max().unwrap_or(0);
    let planned = pair.first.is_some() && pair.second.is_some();
    Some(Comparison {
        n: [n(0), n(1)],
        verdict: Verdict::Missing,
        missing: Some(Missing { what: What::Cell, side, planned }),
        remark: missing::remark(side, [&why(0).reason, &why(1).reason]),
        ..Comparison::empty(&pair.name, metric, unit, better)
    })
}

/// The row of a metric that is not compared in a cell of which both sides have values; `None` where neither side could
/// have it.
fn one_metric(
    pair: &Pair,
    metric: &str,
    has: &[Has<'_>; 2],
    better: Better,
    statistic: Statistic,
) -> Option<Comparison> {
    let value = |has: &Has<'_>| if let Has::Value(row) = has { row.statistic(statistic) } else { None };
    let mut side = missing::side([0, 1].map(|side| matches!(has[side], Has::Value(_))));
    let mut values = [value(&has[0]), value(&has[1])];
    let why = [0, 1].map(|side| missing::worst(std::iter::once(&has[side])));
    if side == Lacking::Both && why.iter().all(|why| !why.is_failure) {
        return None;
    }
    let mut remark = missing::remark(side, [&why[0].reason, &why[1].reason]);
    let rows = [has[0].row(), has[1].row()];
    if let [Has::Value(a), Has::Value(b)] = has {
        side = Lacking::B;
        values[1] = None;
        remark = format!("the units differ: A is in {}, B in {}", a.unit, b.unit);
    }
    let unit = rows.iter().flatten().next().map_or("", |row| row.unit.as_str());
    Some(Comparison {
        n: [0, 1].map(|side| rows[side].map_or(0, Row::n)),
        values,
        verdict: Verdict::Missing,
        missing: Some(Missing { what: What::Metric, side, planned: rows.iter().all(Option::is_some) }),
        remark,
        ..Comparison::empty(&pair.name, metric, unit, better)
    })
}

/// The row that says that a smaller share of the second side's VMs completed.
fn fewer_completed(pair: &Pair, sides: [Side<'_>; 2]) -> Option<Comparison> {
    let first = sides[0].completed.get(pair.first.as_ref()?)?;
    let second = sides[1].completed.get(pair.second.as_ref()?)?;
    dropped([first, second], Comparison::empty(&pair.name, VMS_COMPLETED, "1", Better::Higher))
}

/// The row that says that a smaller share of the second side's VMs gave a value to the metric.
fn fewer_values(pair: &Pair, [a, b]: [&Row; 2], better: Better) -> Option<Comparison> {
    let [first, second] = [a, b].map(missing::valued);
    dropped([&first, &second], Comparison::empty(&pair.name, &a.metric, &a.unit, better))
}

/// `row` as one that says that the second share is below the first; `None` when it is not.
fn dropped([first, second]: [&Completed; 2], row: Comparison) -> Option<Comparison> {
    second.is_below(first).then(|| Comparison {
        n: [first.of, second.of],
        values: [Some(first.share()), Some(second.share())],
        verdict: Verdict::Dropped,
        remark: format!("B: {}", second.reason),
        completed: Some([first.clone(), second.clone()]),
        ..row
    })
}

/// The comparison of two rows of one metric and unit that both have the statistic; the verdict is not yet given.
pub(super) fn contrasted(a: &Row, b: &Row, better: Better, settings: &Settings, stream: u64) -> Comparison {
    let statistic = settings.statistic;
    let shared = if settings.pooled { vec![String::new()] } else { shared_machines(&[a, b]) };
    let mut comparison = Comparison {
        n: [a.n(), b.n()],
        values: [a, b].map(|row| row.statistic(statistic)),
        ..Comparison::empty(&b.cell, &a.metric, &a.unit, better)
    };
    if shared.is_empty() {
        comparison.remark = no_shared_machine(&[a, b]);
        return comparison;
    }
    // Of each host: the first side's values and the second's.
    let of = |row: &Row, machine: &str| match settings.pooled {
        true => row.values(statistic),
        false => row.by_machine(statistic).remove(machine).unwrap_or_default(),
    };
    let hosts: Vec<Block> = shared.iter().map(|machine| (of(a, machine), of(b, machine))).collect();
    if shared.len() > 1 || shared.iter().any(|machine| !machine.is_empty()) {
        let side = |of: fn(&Block) -> &Vec<f64>| Contrast {
            kind: Kind::Value,
            statistic,
            strata: hosts.iter().map(|host| Stratum { first: of(host).clone(), second: Vec::new() }).collect(),
        };
        let sides = [side(|host| &host.0), side(|host| &host.1)];
        let finite = |side: &Contrast| side.strata.iter().flat_map(|s| &s.first).filter(|v| v.is_finite()).count();
        comparison.n = [finite(&sides[0]), finite(&sides[1])];
        comparison.values = [sides[0].estimate(), sides[1].estimate()];
        let left_out = a.n() + b.n() - comparison.n[0] - comparison.n[1];
        if left_out > 0 {
            comparison.remark = format!("{left_out} trials of hosts that only one side has are left out");
        }
        comparison.hosts.clone_from(&shared);
    }
    differ(&mut comparison, &hosts, settings, stream);
    let finite = |value: &f64| value.is_finite();
    let (first, second) = aligned(&hosts);
    comparison.shift = rank::shift(&second, &first).filter(finite);
    comparison.shift_interval =
        rank::shift_interval(&second, &first, LEVEL).filter(|i| finite(&i.low) && finite(&i.high));
    comparison.a12 = rank::a12(&second, &first);
    comparison.p = match (settings.blocks, hosts.len()) {
        (true, _) => permuted(a, b, settings, &shared),
        (false, 2..) => within_blocks(&hosts, settings.seed),
        (false, _) => None,
    };
    comparison.p = comparison.p.or_else(|| rank::mann_whitney(&second, &first));
    comparison
}

/// The ratio with its interval. Where a value of the first side is not above zero, a ratio or that of a resample may be
/// undefined: the difference decides there.
fn differ(comparison: &mut Comparison, hosts: &[Block], settings: &Settings, stream: u64) {
    let of = |kind| {
        let strata = |values: fn(&Block) -> Stratum| hosts.iter().map(values);
        let second = strata(|host| Stratum { first: host.1.clone(), second: Vec::new() });
        let first = strata(|host| Stratum { first: Vec::new(), second: host.0.clone() });
        let contrast = Contrast { kind, statistic: settings.statistic, strata: second.chain(first).collect() };
        let interval = contrast.interval(LEVEL, settings.seed, stream).map(|(interval, _)| interval);
        (contrast.estimate(), interval)
    };
    if hosts.iter().flat_map(|host| &host.0).all(|value| *value > 0.0) {
        (comparison.ratio, comparison.interval) = of(Kind::Ratio);
        return;
    }
    comparison.ratio = match comparison.values {
        [Some(first), Some(second)] if first == second => Some(1.0),
        _ => of(Kind::Ratio).0,
    };
    (comparison.difference, comparison.difference_interval) = of(Kind::Difference);
}

/// All values of the first side and of the second, those of each host less the median of that host's: aligned ranks (J.
/// L. Hodges & E. L. Lehmann, Annals of Mathematical Statistics 33, 1962, page 482). One host's stay as they are.
fn aligned(hosts: &[Block]) -> Block {
    if let [only] = hosts {
        return only.clone();
    }
    let mut all = Block::default();
    for (first, second) in hosts {
        let finite: Vec<f64> = first.iter().chain(second).copied().filter(|value| value.is_finite()).collect();
        let middle = median(&finite).unwrap_or(0.0);
        all.0.extend(first.iter().map(|value| value - middle));
        all.1.extend(second.iter().map(|value| value - middle));
    }
    all
}

/// The p-value by permutation within blocks, of each host by itself.
fn permuted(a: &Row, b: &Row, settings: &Settings, shared: &[String]) -> Option<f64> {
    let mut blocks: BTreeMap<(u32, &str), Block> = BTreeMap::new();
    for (row, second) in [(a, false), (b, true)] {
        for trial in &row.trials {
            let machine = row.machines.get(trial.machine).map_or("", String::as_str);
            if !settings.pooled && !shared.iter().any(|name| name == machine) {
                continue;
            }
            let value = if settings.statistic == Statistic::Mean { trial.mean } else { Some(trial.median) };
            let block = blocks.entry((trial.block, machine)).or_default();
            if second { block.1.extend(value) } else { block.0.extend(value) }
        }
    }
    within_blocks(&blocks.into_values().collect::<Vec<_>>(), settings.seed)
}
