//! The results of a run as sentences: each variant compared with the first one, at the same levels of all other axes.
//!
//! The numbers and verdicts are those of `microbench compare RUN`. A sentence states a difference only if the comparison
//! has the verdict *better*, *worse* or *differs*.

use std::collections::BTreeMap;

use microbench_formats::cell::Cell;
use microbench_formats::direction::Better;
use microbench_formats::family::{self, ALPHA, trials_needed};
use microbench_formats::host::HostKind;
use microbench_formats::plan::Plan;
use microbench_formats::statistic::Statistic;
use microbench_formats::terminal::{OutputWidth, wrapped_to};
use serde::Serialize;

use crate::compare::{self, Comparison, Settings, Side, Verdict};
use crate::completed::ByCell;
use crate::host_cpu;
use crate::number::{Estimate, declared_percent, unit_suffix};
use crate::stats::shift::Test;
use crate::summary::{LEVEL, Row};

/// The number of sentences that a terminal shows at most.
const MAX_SHOWN: usize = 12;

/// The finding that a sentence states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// The verdict is that the two cells differ.
    Differs,
    /// The verdict is another one.
    NoDifferenceShown,
    /// There is no interval.
    Withheld,
}

/// A sentence and the comparison behind it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sentence {
    #[serde(rename = "says")]
    pub finding: Finding,
    pub text: String,
    /// The comparison of `baseline` (first side) with [`Comparison::cell`] (second side).
    pub comparison: Comparison,
    /// The cell of the first variant.
    pub baseline: String,
    /// The number of tests over which [`Comparison::adjusted_p`] is adjusted.
    pub tests: usize,
}

/// The names of the metrics that sentences are about: the study's `family`, or its metrics with a gate. Without these,
/// the metrics in its figures; without figures, the first metric.
#[must_use]
pub fn headline_metrics(plan: &Plan) -> Vec<&str> {
    let own = plan.metrics.iter().map(|metric| metric.name.as_str());
    let family = family::metrics(plan);
    if !family.is_empty() {
        return own.filter(|name| family.iter().any(|member| member == name)).collect();
    }
    let drawn: Vec<&str> = own
        .filter(|name| plan.figures.iter().any(|figure| figure.metrics.iter().any(|metric| metric == name)))
        .filter(|name| !name.starts_with("phase_"))
        .collect();
    if drawn.is_empty() { plan.metrics.iter().take(1).map(|metric| metric.name.as_str()).collect() } else { drawn }
}

/// The sentences of a run, by metric, then in plan order.
#[must_use]
pub fn sentences(plan: &Plan, rows: &[Row]) -> Vec<Sentence> {
    let Some(baseline) = plan.cells.first().map(|cell| cell.variant.as_str()) else { return Vec::new() };
    let settings = Settings {
        statistic: Statistic::Median,
        margin: None,
        seed: plan.seed,
        family: family::metrics(plan),
        blocks: true,
        alternating: true,
        pooled: false,
        across_host_cpus: plan.across_host_cpus,
    };
    let completed = ByCell::new();
    let found = compare::compare_with_baseline(Side { plan, rows, completed: &completed }, baseline, &settings);
    let tests = found.iter().filter(|comparison| comparison.adjusted_p.is_some()).count();
    let host = rows.iter().find_map(|row| row.host);
    let mut sentences = Vec::new();
    for metric in headline_metrics(plan) {
        for comparison in found.iter().filter(|comparison| comparison.is_contrast() && comparison.metric == metric) {
            let second = plan.cells.iter().find(|cell| cell.id == comparison.cell);
            let first = second.and_then(|second| {
                plan.cells.iter().find(|cell| cell.variant == baseline && cell.equals_except(second, "variant"))
            });
            if let Some((first, second)) = first.zip(second) {
                sentences.push(sentence(plan, comparison, first, second, host, tests));
            }
        }
    }
    sentences
}

fn sentence(
    plan: &Plan,
    comparison: &Comparison,
    first: &Cell,
    second: &Cell,
    host: Option<HostKind>,
    tests: usize,
) -> Sentence {
    let metric = plan.metrics.iter().find(|metric| metric.name == comparison.metric);
    let name = lowercase_first(metric.map_or(comparison.metric.as_str(), |metric| metric.label.as_str()));
    let (a, b) = (first.label.as_str(), second.label.as_str());
    let levels = levels(plan, second);
    let n = if comparison.n[0] == comparison.n[1] {
        comparison.n[0].to_string()
    } else {
        format!("{} and {}", comparison.n[1], comparison.n[0])
    };
    let within = match comparison.hosts.len() {
        0 | 1 => String::new(),
        several => format!(" within {several} hosts"),
    };
    let (estimate, unit) = match (comparison.test, comparison.difference_interval) {
        (Some(Test::Repetitions), None) => ("ratio over repetitions", "repetitions"),
        (Some(Test::Repetitions), Some(_)) => ("difference over repetitions", "repetitions"),
        (_, None) => ("Hodges-Lehmann ratio", "trials"),
        (_, Some(_)) => ("Hodges-Lehmann difference", "trials"),
    };
    let cpus = host_cpu::differing(host, [first, second].map(|cell| (cell.id.as_str(), cell.host_cpu())));
    let cpus = cpus.map_or_else(String::new, |cpus| format!("; {cpus}"));
    let basis =
        format!("({estimate}{within}, {} % interval, n = {n} {unit}; {}{cpus})", LEVEL * 100.0, host_and_clock(host));
    let needed = trials_needed(1);
    let fewest = comparison.n[0].min(comparison.n[1]);
    // The ratio of a censored side is only known to be beyond the interval.
    let own = comparison.ratio.unwrap_or_else(|| match &comparison.interval {
        Some(interval) if interval.high.is_infinite() => f64::INFINITY,
        Some(_) => 0.0,
        None => 1.0,
    });
    let is_time = comparison.unit == "ms" && comparison.better == Better::Lower;
    let (finding, text) = match &comparison.interval {
        None if comparison.difference_interval.is_some() => by_difference(comparison, [&name, a, b], &levels, &basis),
        None if comparison.verdict == Verdict::NotCompared => {
            (Finding::Withheld, format!("{name} of {b} and {a}, {levels}: no result, {}", comparison.remark))
        }
        None if fewest < needed => (
            Finding::Withheld,
            format!(
                "{name} of {b} and {a}, {levels}: no result, because an interval needs {needed} trials of each (n = {n})"
            ),
        ),
        None => (
            Finding::Withheld,
            format!("{name} of {b} and {a}, {levels}: no result, because the ratio has no interval (n = {n})"),
        ),
        Some(interval) if !comparison.verdict.is_difference() => {
            let ratio = compare::ratio(comparison).with_range();
            let limits = limits(comparison);
            let unsure = match (comparison.adjusted_p, comparison.p) {
                _ if comparison.verdict == Verdict::Equivalent || interval.low <= 1.0 && interval.high >= 1.0 => {
                    String::new()
                }
                (None, _) => ", but n is too small for this family of tests".to_owned(),
                (_, Some(p)) if p <= ALPHA => format!(", not significant over {}", compare::count_tests(tests)),
                _ if !limits.is_empty() => format!(", neither beyond nor within {limits}"),
                _ if !comparison.remark.is_empty() => format!(", not significant ({})", comparison.remark),
                _ => ", not significant".to_owned(),
            };
            let shown = match comparison.verdict {
                Verdict::Equivalent => format!("{name} of {b} and {a} is equivalent within {limits}"),
                _ => format!("no difference shown in {name} of {b} and {a}"),
            };
            let text = format!("{shown}, {levels}: {b}'s is {ratio} times {a}'s{unsure} {basis}");
            (Finding::NoDifferenceShown, text)
        }
        Some(interval) => {
            // The inverse of a censored ratio, which is infinite, is zero.
            let inverse =
                Estimate::new(comparison.ratio.map(f64::recip), Some([interval.high.recip(), interval.low.recip()]));
            let ratio = compare::ratio(comparison);
            // Nothing is a number of times as fast as zero.
            let is_time = is_time && comparison.ratio != Some(0.0);
            let (subject, object, ratio) = match (is_time, own < 1.0) {
                (true, true) => (b, a, inverse),
                (true, false) => (a, b, ratio),
                (false, _) => (b, a, ratio),
            };
            let comparison = if is_time {
                format!("times as fast as {object}'s")
            } else {
                format!("times {object}'s{}", judgement(comparison.better, own > 1.0))
            };
            let name = if is_time { name } else { format!("value of {name}") };
            let text = format!("{subject}'s {name} is {} {comparison}, {levels} {basis}", ratio.with_range());
            (Finding::Differs, text)
        }
    };
    Sentence { finding, text: text + ".", comparison: comparison.clone(), baseline: first.id.to_string(), tests }
}

/// The margin and the floor of a comparison, for example `2 % or 1 ms`; empty without both.
fn limits(comparison: &Comparison) -> String {
    let floor = comparison.floor.map(|floor| format!("{floor}{}", unit_suffix(&comparison.unit)));
    let both = comparison.margin.map(declared_percent).into_iter().chain(floor);
    both.collect::<Vec<_>>().join(" or ")
}

/// The sentence about the difference of two values, for a first side whose values are not all above zero.
fn by_difference(comparison: &Comparison, [name, a, b]: [&str; 3], levels: &str, basis: &str) -> (Finding, String) {
    let unit = unit_suffix(&comparison.unit);
    let ends = comparison.difference_interval.map(|interval| [interval.low, interval.high]);
    let difference = Estimate::new(comparison.difference, ends);
    if !comparison.verdict.is_difference() {
        let difference = difference.with_range();
        let text = format!(
            "no difference shown in {name} of {b} and {a}, {levels}: {b}'s minus {a}'s is {difference}{unit} {basis}"
        );
        return (Finding::NoDifferenceShown, text);
    }
    let own = comparison.difference.or_else(|| ends.and_then(|ends| ends.into_iter().find(|end| end.is_finite())));
    let is_higher = own.unwrap_or(0.0) > 0.0;
    let size = match is_higher {
        true => difference,
        false => Estimate::new(comparison.difference.map(f64::abs), ends.map(|[low, high]| [-high, -low])),
    };
    let text = format!(
        "{b}'s value of {name} is {}{unit} {} than {a}'s{}, {levels} {basis}",
        size.with_range(),
        if is_higher { "higher" } else { "lower" },
        judgement(comparison.better, is_higher)
    );
    (Finding::Differs, text)
}

/// Whether a difference is better or worse, as the end of a clause; empty if the metric has no better direction.
fn judgement(better: Better, is_higher: bool) -> &'static str {
    match better {
        Better::Neither => "",
        Better::Higher if is_higher => ", which is better",
        Better::Lower if !is_higher => ", which is better",
        Better::Higher | Better::Lower => ", which is worse",
    }
}

/// The levels that both sides share: the number of VMs at once, and each axis with several levels.
fn levels(plan: &Plan, cell: &Cell) -> String {
    // An imported table may have one row for each trial of several VMs; then only the axis has the number of VMs.
    let concurrency = match cell.levels.get("concurrency") {
        Some(level) => level.to_string().parse().unwrap_or(cell.concurrency),
        None => cell.concurrency,
    };
    let at_once = match concurrency {
        1 => "one VM at a time".to_owned(),
        several => format!("{several} VMs at once"),
    };
    let others =
        plan.axes.iter().filter(|axis| axis.levels.len() > 1 && axis.name != "variant" && axis.name != "concurrency");
    let others = others.filter_map(|axis| Some(format!("{} {}", axis.name, cell.levels.get(&axis.name)?)));
    std::iter::once(at_once).chain(others).collect::<Vec<_>>().join(", ")
}

/// The kind of host and its clock.
fn host_and_clock(host: Option<HostKind>) -> &'static str {
    match host {
        Some(HostKind::Kvm) => "KVM, wall time",
        Some(HostKind::Emulated) => "emulated host, virtual time",
        Some(HostKind::Fake) => "fake VMM for tests, not a measurement",
        Some(HostKind::Imported) => "imported values",
        None => "no host",
    }
}

/// A label for use within a sentence: its first letter in lower case, unless the second is upper case as in an
/// abbreviation.
fn lowercase_first(label: &str) -> String {
    let mut letters = label.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(letters).collect(),
        _ => label.to_owned(),
    }
}

/// The sentences as text that fits `width`: of many, the first ones of each metric; all withheld ones as one line.
/// `run` is the run's name for a command.
#[must_use]
pub fn render(sentences: &[Sentence], run: &str, width: OutputWidth) -> String {
    let mut out = String::new();
    let mut push = |line: &str| {
        out.push_str(&wrapped_to(width.prose, line, 4));
        out.push('\n');
    };
    let (withheld, stated): (Vec<&Sentence>, Vec<&Sentence>) =
        sentences.iter().partition(|sentence| sentence.finding == Finding::Withheld);
    let mut of_metric: BTreeMap<&str, usize> = BTreeMap::new();
    stated.iter().for_each(|sentence| *of_metric.entry(&sentence.comparison.metric).or_default() += 1);
    let each = if stated.len() <= MAX_SHOWN { MAX_SHOWN } else { (MAX_SHOWN / of_metric.len().max(1)).max(1) };
    let mut shown: BTreeMap<&str, usize> = BTreeMap::new();
    for sentence in &stated {
        let before = shown.entry(&sentence.comparison.metric).or_default();
        if *before < each {
            *before += 1;
            push(&sentence.text);
        }
    }
    if let Some(more) = stated.len().checked_sub(shown.values().sum()).filter(|more| *more > 0) {
        push(&format!("{more} more: microbench compare {run}"));
    }
    if let Some(first) = withheld.first() {
        let more = withheld.len() - 1;
        let more = match more {
            0 => String::new(),
            1 => " The same holds for 1 more comparison.".to_owned(),
            more => format!(" The same holds for {more} more comparisons."),
        };
        push(&format!("{}{more}", first.text));
    }
    out
}
