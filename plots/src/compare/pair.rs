//! The rows of one pair of cells: each metric, missing values, and whether a smaller share of VMs completed.

use std::collections::BTreeMap;

use microbench_formats::direction::Better;
use microbench_formats::statistic::Statistic;

use super::missing::{self, Availability, MissingItem, MissingSide};
use super::{Comparison, EVERY_METRIC, Missing, Pair, Settings, Side, VMS_COMPLETED, Verdict};
use crate::completed::Completed;
use crate::stats::contrast::{Contrast, Kind, Stratum};
use crate::stats::median::median;
use crate::stats::permutation::{Block, smallest_p, within_blocks};
use crate::stats::rank;
use crate::summary::{LEVEL, Row, no_shared_machine, shared_machines};

/// Adds the rows of one pair to `found`; `rows` are the summary rows of its two cells. Each contrast uses the next
/// `stream` of random numbers.
pub(super) fn compare(
    pair: &Pair,
    sides: [Side<'_>; 2],
    rows: &[Vec<&Row>; 2],
    settings: &Settings,
    stream: &mut u64,
    found: &mut Vec<Comparison>,
) {
    let metrics = metrics(rows);
    let availability = |side: usize, metric: &str| {
        let row = rows[side].iter().find(|row| row.metric == metric).copied();
        missing::availability(row, metric, &pair.absent, settings.statistic)
    };
    let of_both: Vec<(&str, [Availability<'_>; 2])> =
        metrics.into_iter().map(|metric| (metric, [availability(0, metric), availability(1, metric)])).collect();
    let is_empty = |side: usize| !of_both.iter().any(|(_, of)| matches!(of[side], Availability::Value(_)));
    if is_empty(0) || is_empty(1) {
        found.extend(missing_cell(pair, sides, &of_both));
        return;
    }
    let fewer_vms = fewer_completed(pair, sides);
    for (metric, of) in &of_both {
        let better = direction(sides, metric);
        match of {
            [Availability::Value(a), Availability::Value(b)] if a.unit == b.unit => {
                found.push(contrast(a, b, better, settings, *stream));
                *stream += 1;
                // A VM that did not complete misses several metrics; one row reports it.
                if fewer_vms.is_none() {
                    found.extend(fewer_values(pair, [a, b], better));
                }
            }
            of => found.extend(missing_metric(pair, metric, of, better, settings.statistic)),
        }
    }
    found.extend(fewer_vms);
}

/// The rows of a pair of cells that are not compared, each with the values of both sides and the reason `why`.
pub(super) fn without_contrast(
    sides: [Side<'_>; 2],
    rows: &[Vec<&Row>; 2],
    statistic: Statistic,
    why: &str,
) -> Vec<Comparison> {
    let row_of = |side: usize, metric: &str| rows[side].iter().find(|row| row.metric == metric).copied();
    let mut found = Vec::new();
    for metric in metrics(rows) {
        if let (Some(a), Some(b)) = (row_of(0, metric), row_of(1, metric)) {
            found.push(Comparison {
                n: [a.n(), b.n()],
                values: [a, b].map(|row| row.statistic(statistic)),
                remark: why.to_owned(),
                ..Comparison::empty(&b.cell, metric, &b.unit, direction(sides, metric))
            });
        }
    }
    found
}

/// The metrics of both cells: those of the first side in its order, then those that only the second side has.
fn metrics<'a>(rows: &[Vec<&'a Row>; 2]) -> Vec<&'a str> {
    let mut all: Vec<&str> = Vec::new();
    for row in rows.iter().flatten() {
        if !all.contains(&row.metric.as_str()) {
            all.push(&row.metric);
        }
    }
    all
}

/// The better direction of a metric, of the second side's plan if it has the metric.
fn direction(sides: [Side<'_>; 2], name: &str) -> Better {
    let metrics = sides.iter().rev().flat_map(|side| &side.plan.metrics);
    metrics.into_iter().find(|metric| metric.name == name).map_or(Better::Neither, |metric| metric.direction())
}

/// The row of a cell without any value on a side; `None` if no value was expected on either side.
fn missing_cell(pair: &Pair, sides: [Side<'_>; 2], of_both: &[(&str, [Availability<'_>; 2])]) -> Option<Comparison> {
    let with_value = |side: usize| of_both.iter().filter(move |(_, of)| matches!(of[side], Availability::Value(_)));
    let (in_first, in_second) = (with_value(0).count() > 0, with_value(1).count() > 0);
    let side = missing::side_without_value([in_first, in_second]);
    let why = |side: usize| missing::main_reason(of_both.iter().map(|(_, of)| &of[side]));
    if side == MissingSide::Both && [why(0), why(1)].iter().all(|why| !why.is_failure) {
        return None;
    }
    let with_row: Vec<(&str, &Row)> = (of_both.iter())
        .filter_map(|(metric, of)| of.iter().find_map(Availability::row).map(|row| (*metric, row)))
        .collect();
    let (metric, unit) = match with_row.as_slice() {
        [(metric, row)] => (*metric, row.unit.as_str()),
        _ => (EVERY_METRIC, ""),
    };
    let better = direction(sides, metric);
    let n = |side: usize| with_value(side).filter_map(|(_, of)| of[side].row()).map(Row::n).max().unwrap_or(0);
    let planned = pair.first.is_some() && pair.second.is_some();
    Some(Comparison {
        n: [n(0), n(1)],
        verdict: Verdict::Missing,
        missing: Some(Missing { item: MissingItem::Cell, side, planned }),
        remark: missing::remark(side, [&why(0).reason, &why(1).reason]),
        ..Comparison::empty(&pair.name, metric, unit, better)
    })
}

/// The row of a metric without a value on a side, in a cell with values on both sides; `None` if no value was
/// expected on either side.
fn missing_metric(
    pair: &Pair,
    metric: &str,
    of: &[Availability<'_>; 2],
    better: Better,
    statistic: Statistic,
) -> Option<Comparison> {
    let value = |of: &Availability<'_>| if let Availability::Value(row) = of { row.statistic(statistic) } else { None };
    let mut side = missing::side_without_value([0, 1].map(|side| matches!(of[side], Availability::Value(_))));
    let mut values = [value(&of[0]), value(&of[1])];
    let why = [0, 1].map(|side| missing::main_reason(std::iter::once(&of[side])));
    if side == MissingSide::Both && why.iter().all(|why| !why.is_failure) {
        return None;
    }
    let mut remark = missing::remark(side, [&why[0].reason, &why[1].reason]);
    let rows = [of[0].row(), of[1].row()];
    if let [Availability::Value(a), Availability::Value(b)] = of {
        side = MissingSide::B;
        values[1] = None;
        remark = format!("the units differ: A is in {}, B in {}", a.unit, b.unit);
    }
    let unit = rows.iter().flatten().next().map_or("", |row| row.unit.as_str());
    Some(Comparison {
        n: [0, 1].map(|side| rows[side].map_or(0, Row::n)),
        values,
        verdict: Verdict::Missing,
        missing: Some(Missing { item: MissingItem::Metric, side, planned: rows.iter().all(Option::is_some) }),
        remark,
        ..Comparison::empty(&pair.name, metric, unit, better)
    })
}

/// The row of a cell in which a smaller share of VMs completed on the second side; `None` if the share did not drop.
fn fewer_completed(pair: &Pair, sides: [Side<'_>; 2]) -> Option<Comparison> {
    let first = sides[0].completed.get(pair.first.as_ref()?)?;
    let second = sides[1].completed.get(pair.second.as_ref()?)?;
    dropped([first, second], Comparison::empty(&pair.name, VMS_COMPLETED, "1", Better::Higher))
}

/// The row of a metric if a smaller share of VMs has a value on the second side; `None` if the share did not drop.
fn fewer_values(pair: &Pair, [a, b]: [&Row; 2], better: Better) -> Option<Comparison> {
    let [first, second] = [a, b].map(missing::vms_with_value);
    dropped([&first, &second], Comparison::empty(&pair.name, &a.metric, &a.unit, better))
}

/// `row` with the verdict *dropped*; `None` if the second share is not below the first.
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

/// The comparison of two rows that have the statistic, the same metric and the same unit; without the verdict.
pub(super) fn contrast(a: &Row, b: &Row, better: Better, settings: &Settings, stream: u64) -> Comparison {
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
    // The values of the first and of the second side on each host.
    let values_of = |row: &Row, machine: &str| match settings.pooled {
        true => row.values(statistic),
        false => row.by_machine(statistic).remove(machine).unwrap_or_default(),
    };
    let hosts: Vec<Block> = shared.iter().map(|machine| (values_of(a, machine), values_of(b, machine))).collect();
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
    set_ratio_or_difference(&mut comparison, &hosts, settings, stream);
    let finite = |value: &f64| value.is_finite();
    let (first, second) = align_hosts(&hosts);
    comparison.shift = rank::hodges_lehmann(&second, &first).filter(finite);
    comparison.shift_interval =
        rank::moses_interval(&second, &first, LEVEL).filter(|i| finite(&i.low) && finite(&i.high));
    comparison.a12 = rank::a12(&second, &first);
    let blocks = match (settings.blocks, hosts.len()) {
        (true, _) => blocks_of(a, b, settings, &shared),
        (false, 2..) => hosts,
        (false, _) => Vec::new(),
    };
    let smallest;
    (comparison.p, smallest) = match within_blocks(&blocks, settings.seed) {
        Some(p) => (Some(p), smallest_p(&blocks)),
        None => (rank::mann_whitney(&second, &first), rank::smallest_mann_whitney(&second, &first)),
    };
    // Random labellings can yield a p-value slightly below the exact minimum.
    comparison.smallest_p = comparison.p.zip(smallest).map(|(p, smallest)| p.min(smallest));
    comparison
}

/// Sets the ratio and its interval. If a value of the first side is not above zero, the ratio of a resample may be
/// undefined. Then the difference and its interval are set as well and decide the verdict.
fn set_ratio_or_difference(comparison: &mut Comparison, hosts: &[Block], settings: &Settings, stream: u64) {
    let contrast_of = |kind| {
        let strata = |values: fn(&Block) -> Stratum| hosts.iter().map(values);
        let second = strata(|host| Stratum { first: host.1.clone(), second: Vec::new() });
        let first = strata(|host| Stratum { first: Vec::new(), second: host.0.clone() });
        let contrast = Contrast { kind, statistic: settings.statistic, strata: second.chain(first).collect() };
        let interval = contrast.interval(LEVEL, settings.seed, stream).map(|(interval, _)| interval);
        (contrast.estimate(), interval)
    };
    if hosts.iter().flat_map(|host| &host.0).all(|value| *value > 0.0) {
        (comparison.ratio, comparison.interval) = contrast_of(Kind::Ratio);
        return;
    }
    comparison.ratio = match comparison.values {
        [Some(first), Some(second)] if first == second => Some(1.0),
        _ => contrast_of(Kind::Ratio).0,
    };
    (comparison.difference, comparison.difference_interval) = contrast_of(Kind::Difference);
}

/// All values of the first and of the second side, minus the median of their host: aligned ranks (J. L. Hodges & E. L.
/// Lehmann, Annals of Mathematical Statistics 33, 1962, page 482). The values of a single host are unchanged.
fn align_hosts(hosts: &[Block]) -> Block {
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

/// The values of both sides in each block of each host.
fn blocks_of(a: &Row, b: &Row, settings: &Settings, shared: &[String]) -> Vec<Block> {
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
    blocks.into_values().collect()
}
