//! What a run says of its variants, in sentences: each compared with the first, at the same levels of everything else.
//!
//! The numbers are those of `microbench compare RUN`: ratios of medians over trials with their intervals, as
//! [`contrast`](crate::stats::contrast) makes them. A sentence says that something differs only when its interval does not hold 1.

use std::collections::BTreeMap;

use microbench_formats::cell::Cell;
use microbench_formats::direction::Better;
use microbench_formats::host::HostKind;
use microbench_formats::plan::Plan;
use microbench_formats::statistic::Statistic;
use microbench_formats::terminal::{Room, wrapped_to};
use serde::Serialize;

use crate::compare::{self, ALPHA, Comparison, Settings, Side};
use crate::completed::ByCell;
use crate::stats::contrast::{BOOTSTRAP_FROM, CONTRAST_INTERVAL_FROM};
use crate::summary::{LEVEL, Row};

/// Sentences that a terminal shows at most.
const SHOWN: usize = 12;

/// What a sentence says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Says {
    /// The interval of the ratio does not hold 1.
    Differs,
    /// It does.
    NoDifferenceShown,
    /// There is no interval.
    Withheld,
}

/// One sentence and what it rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sentence {
    /// What it says.
    pub says: Says,
    /// In words.
    pub text: String,
    /// What is compared: the second side's cell, the metric, values, ratio of the second to the first, interval.
    pub comparison: Comparison,
    /// The first side's cell.
    pub baseline: String,
    /// Tests in the family that the comparison's adjusted p is over.
    pub tests: usize,
}

/// The metrics that sentences are about: the study's `family`; without one those that its figures draw; without figures the first.
#[must_use]
pub fn headline(plan: &Plan) -> Vec<&str> {
    let own = plan.metrics.iter().map(|metric| metric.name.as_str());
    if !plan.family.is_empty() {
        return own.filter(|name| plan.family.iter().any(|member| member == name)).collect();
    }
    let drawn: Vec<&str> = own
        .filter(|name| plan.figures.iter().any(|figure| figure.metrics.iter().any(|metric| metric == name)))
        .filter(|name| !name.starts_with("phase_"))
        .collect();
    if drawn.is_empty() { plan.metrics.iter().take(1).map(|metric| metric.name.as_str()).collect() } else { drawn }
}

/// The sentences of a run, by metric and then in plan order.
#[must_use]
pub fn sentences(plan: &Plan, rows: &[Row]) -> Vec<Sentence> {
    let Some(baseline) = plan.cells.first().map(|cell| cell.variant.as_str()) else { return Vec::new() };
    let settings = Settings {
        statistic: Statistic::Median,
        margin: None,
        seed: plan.seed,
        family: plan.family.clone(),
        blocks: true,
        pooled: false,
    };
    let completed = ByCell::new();
    let found = compare::within(Side { plan, rows, completed: &completed }, baseline, &settings);
    let tests = found.iter().filter(|one| one.adjusted_p.is_some()).count();
    let host = rows.iter().find_map(|row| row.host);
    let mut sentences = Vec::new();
    for metric in headline(plan) {
        for one in found.iter().filter(|one| one.is_contrast() && one.metric == metric) {
            let second = plan.cells.iter().find(|cell| cell.id == one.cell);
            let first = second.and_then(|second| {
                plan.cells.iter().find(|cell| cell.variant == baseline && cell.is_like(second, "variant"))
            });
            if let Some((first, second)) = first.zip(second) {
                sentences.push(sentence(plan, one, first, second, host, tests));
            }
        }
    }
    sentences
}

fn sentence(
    plan: &Plan,
    one: &Comparison,
    first: &Cell,
    second: &Cell,
    host: Option<HostKind>,
    tests: usize,
) -> Sentence {
    let metric = plan.metrics.iter().find(|metric| metric.name == one.metric);
    let name = lower(metric.map_or(one.metric.as_str(), |metric| metric.label.as_str()));
    let (a, b) = (first.label.as_str(), second.label.as_str());
    let levels = levels(plan, second);
    let n = if one.n[0] == one.n[1] { one.n[0].to_string() } else { format!("{} and {}", one.n[1], one.n[0]) };
    let within = match one.hosts.len() {
        0 | 1 => String::new(),
        several => format!(" within {several} hosts"),
    };
    let basis = format!("(medians{within}, {} % interval, n = {n} trials; {})", LEVEL * 100.0, said(host));
    let fewest = one.n[0].min(one.n[1]);
    let own = one.ratio.unwrap_or(1.0);
    let is_time = one.unit == "ms" && one.better == Better::Lower;
    let (says, text) = match &one.interval {
        None if one.difference_interval.is_some() => by_difference(one, [&name, a, b], &levels, &basis),
        None if one.ratio.is_none() && one.difference.is_none() => {
            (Says::Withheld, format!("{name} of {b} and {a}, {levels}: no sentence, {}", one.remark))
        }
        None if one.hosts.len() > 1 => (
            Says::Withheld,
            format!(
                "{name} of {b} and {a}, {levels}: no sentence, because their ratio has no interval (n = {n}; {CONTRAST_INTERVAL_FROM} trials of \
                 each on every one of {} hosts are needed)",
                one.hosts.len()
            ),
        ),
        None if fewest < CONTRAST_INTERVAL_FROM => (
            Says::Withheld,
            format!(
                "{name} of {b} and {a}, {levels}: no sentence, because there is no interval below {CONTRAST_INTERVAL_FROM} trials (n = {n})"
            ),
        ),
        None => (
            Says::Withheld,
            format!("{name} of {b} and {a}, {levels}: no sentence, because their ratio has no interval (n = {n})"),
        ),
        Some(interval) if interval.low <= 1.0 && interval.high >= 1.0 => {
            let ratio = times([own, interval.low, interval.high]);
            (
                Says::NoDifferenceShown,
                format!("no difference shown in {name} of {b} and {a}, {levels}: {b}'s is {ratio} times {a}'s {basis}"),
            )
        }
        Some(interval) => {
            let inverse = [1.0 / own, 1.0 / interval.high, 1.0 / interval.low];
            let (subject, object, ratio) = match (is_time, own < 1.0) {
                (true, true) => (b, a, inverse),
                (true, false) => (a, b, [own, interval.low, interval.high]),
                (false, _) => (b, a, [own, interval.low, interval.high]),
            };
            let what = if is_time {
                format!("times as fast as {object}'s")
            } else {
                format!("times {object}'s{}", judged(one.better, own > 1.0))
            };
            let name = if is_time { name } else { format!("value of {name}") };
            let mut text = format!("{subject}'s {name} is {} {what}, {levels} {basis}", times(ratio));
            if fewest < BOOTSTRAP_FROM {
                text.push_str("; the interval takes trials for normal, there are too few for another");
            }
            (Says::Differs, text)
        }
    };
    Sentence { says, text: text + ".", comparison: one.clone(), baseline: first.id.to_string(), tests }
}

/// The sentence on two values of which the first side's is not above zero, by their difference.
fn by_difference(one: &Comparison, [name, a, b]: [&str; 3], levels: &str, basis: &str) -> (Says, String) {
    let unit = if one.unit == "1" { String::new() } else { format!(" {}", one.unit) };
    let difference = one.difference.unwrap_or(0.0);
    let (low, high) = one.difference_interval.as_ref().map_or((difference, difference), |i| (i.low, i.high));
    if low <= 0.0 && high >= 0.0 {
        let text = format!(
            "no difference shown in {name} of {b} and {a}, {levels}: {b}'s less {a}'s is {difference:.2} ({low:.2} to \
            {high:.2}){unit} \
             {basis}"
        );
        return (Says::NoDifferenceShown, text);
    }
    let is_higher = difference > 0.0;
    let (low, high) = if is_higher { (low, high) } else { (-high, -low) };
    let text = format!(
        "{b}'s value of {name} is {:.2} ({low:.2} to {high:.2}){unit} {} than {a}'s{}, {levels} {basis}",
        difference.abs(),
        if is_higher { "higher" } else { "lower" },
        judged(one.better, is_higher)
    );
    (Says::Differs, text)
}

/// What a difference is, as the end of a clause; empty where neither direction is better.
fn judged(better: Better, is_higher: bool) -> &'static str {
    match better {
        Better::Neither => "",
        Better::Higher if is_higher => ", which is better",
        Better::Lower if !is_higher => ", which is better",
        Better::Higher | Better::Lower => ", which is worse",
    }
}

/// `1.44 (1.42 to 1.46)`, with as many digits as tell the three apart and from 1.
fn times([ratio, low, high]: [f64; 3]) -> String {
    let near = (ratio - 1.0).abs().min(high - low);
    let digits = if near >= 0.02 {
        2
    } else if near >= 0.002 {
        3
    } else {
        4
    };
    let of = |value: f64| if value.is_finite() { format!("{value:.digits$}") } else { "unbounded".to_owned() };
    format!("{} ({} to {})", of(ratio), of(low), of(high))
}

/// The levels that both sides share, in words: how many VMs at once, and every axis that has several.
fn levels(plan: &Plan, cell: &Cell) -> String {
    let at_once = match cell.concurrency {
        1 => "one VM at a time".to_owned(),
        several => format!("{several} VMs at once"),
    };
    let others =
        plan.axes.iter().filter(|axis| axis.levels.len() > 1 && axis.name != "variant" && axis.name != "concurrency");
    let others = others.filter_map(|axis| Some(format!("{} {}", axis.name, cell.levels.get(&axis.name)?)));
    std::iter::once(at_once).chain(others).collect::<Vec<_>>().join(", ")
}

/// Where and on which clock, in a few words.
fn said(host: Option<HostKind>) -> &'static str {
    match host {
        Some(HostKind::Kvm) => "KVM, wall time",
        Some(HostKind::Emulated) => "emulated host, virtual time",
        Some(HostKind::Fake) => "a test's stand-in, no measurement",
        Some(HostKind::Imported) => "imported values",
        None => "no host",
    }
}

/// A label within a sentence: its first letter is small, unless it begins an abbreviation.
fn lower(label: &str) -> String {
    let mut letters = label.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(letters).collect(),
        _ => label.to_owned(),
    }
}

/// The sentences as text, the first of each metric where there are many; those that are withheld in one line. `run` is what the run is
/// called in a command.
#[must_use]
pub fn text(sentences: &[Sentence], run: &str, room: Room) -> String {
    let mut out = String::new();
    let mut say = |words: &str| {
        out.push_str(&wrapped_to(room.words, words, 4));
        out.push('\n');
    };
    let (withheld, said): (Vec<&Sentence>, Vec<&Sentence>) =
        sentences.iter().partition(|sentence| sentence.says == Says::Withheld);
    let mut of_metric: BTreeMap<&str, usize> = BTreeMap::new();
    said.iter().for_each(|sentence| *of_metric.entry(&sentence.comparison.metric).or_default() += 1);
    let each = if said.len() <= SHOWN { SHOWN } else { (SHOWN / of_metric.len().max(1)).max(1) };
    let mut shown: BTreeMap<&str, usize> = BTreeMap::new();
    for sentence in &said {
        let before = shown.entry(&sentence.comparison.metric).or_default();
        if *before < each {
            *before += 1;
            say(&sentence.text);
        }
    }
    if let Some(more) = said.len().checked_sub(shown.values().sum()).filter(|more| *more > 0) {
        say(&format!("and {more} more: microbench compare {run}"));
    }
    if let Some(first) = withheld.first() {
        let more = withheld.len() - 1;
        let more = if more == 0 { String::new() } else { format!(" So it is with {more} more.") };
        say(&format!("{}{more}", first.text));
    }
    if let Some(note) = note(sentences, run) {
        out.push_str(&wrapped_to(room.words, &note, 4));
        out.push('\n');
    }
    out
}

/// What many intervals are together, which no single one says.
fn note(sentences: &[Sentence], run: &str) -> Option<String> {
    let tests = sentences.first()?.tests;
    let differ: Vec<&Sentence> = sentences.iter().filter(|sentence| sentence.says == Says::Differs).collect();
    let unsure = differ.iter().filter(|one| one.comparison.adjusted_p.is_none_or(|p| p > ALPHA)).count();
    if unsure == 0 {
        return None;
    }
    Some(format!(
        "each interval stands by itself; for {unsure} of these {} differences the test over the family of {tests} (permutation within \
         blocks, Holm) does not reach p <= {ALPHA}: more trials, or fewer metrics in `family` of [study], can (microbench compare {run})",
        differ.len()
    ))
}
