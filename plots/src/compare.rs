//! Two runs side by side, or the variants of one: the ratio of each cell and metric that both have, with an interval and a verdict.
//!
//! The ratio is that of medians (or means) over trials, as [`contrast`](crate::stats::contrast) makes it. Of a run on several hosts it is
//! made within hosts: each side is the mean of its hosts' medians, over the hosts that both sides have, and trials are drawn anew within
//! their host. Sides that share no host are not compared. Whether it says anything
//! depends on a margin that is declared beforehand: within it nothing matters, beyond it everything does. Wall time and virtual time are not comparable at
//! all; two machines are only when somebody says so.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::Serialize;

use crate::record::{Cell, HostKind, Plan, Statistic};
use crate::stats::contrast::{Contrast, INTERVAL_FROM, Kind, Stratum};
use crate::stats::holm::holm;
use crate::stats::median::{Interval, median};
use crate::stats::permutation::{Block, within_blocks};
use crate::stats::rank;
use crate::summary::{LEVEL, Row, no_shared_machine, shared_machines};
use crate::terminal::{Column, Room, fitted, wrapped_to};

/// What a comparison of one cell and metric comes to. Every metric is of the kind of which less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The interval lies wholly below 1, and below the margin if one is declared.
    Faster,
    /// It lies wholly above.
    Slower,
    /// It lies wholly within the declared margin.
    Equivalent,
    /// It does neither, or there are too few trials for one.
    Inconclusive,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::Equivalent => "equivalent",
            Self::Inconclusive => "inconclusive",
        })
    }
}

/// The probability of a false alarm in the whole family that a verdict without a margin allows.
pub const ALPHA: f64 = 0.05;

/// The verdict on the interval of a ratio. `margin` 0.02 means that ratios from 1/1.02 to 1.02 do not matter. Without a margin any
/// difference does, if it is one: `p`, adjusted for the family, must then be at most [`ALPHA`].
#[must_use]
pub fn verdict(interval: Option<&Interval>, margin: Option<f64>, p: Option<f64>) -> Verdict {
    let Some(interval) = interval else { return Verdict::Inconclusive };
    let most = 1.0 + margin.unwrap_or(0.0);
    let least = 1.0 / most;
    let sure = margin.is_some() || p.is_some_and(|p| p <= ALPHA);
    if margin.is_some() && interval.low >= least && interval.high <= most {
        Verdict::Equivalent
    } else if sure && interval.low > most {
        Verdict::Slower
    } else if sure && interval.high < least {
        Verdict::Faster
    } else {
        Verdict::Inconclusive
    }
}

/// One cell and metric on both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The cell of the second side.
    pub cell: String,
    /// The metric.
    pub metric: String,
    /// Its unit.
    pub unit: String,
    /// Trials of both.
    pub n: [usize; 2],
    /// Statistic of both.
    pub values: [f64; 2],
    /// Second over first; `None` when the sides are not compared, and `remark` says why.
    pub ratio: Option<f64>,
    /// Its interval.
    pub interval: Option<Interval>,
    /// Hodges-Lehmann shift, second less first, in `unit`.
    pub shift: Option<f64>,
    /// Its interval.
    pub shift_interval: Option<Interval>,
    /// How often a trial of the second exceeds one of the first.
    pub a12: Option<f64>,
    /// Two-sided p-value: by permutation within blocks where both sides share them, else Mann and Whitney's.
    pub p: Option<f64>,
    /// As `p`, adjusted by Holm for the family; `None` outside of it.
    pub adjusted_p: Option<f64>,
    /// What it comes to.
    pub verdict: Verdict,
    /// Names of the hosts within which it was made; empty where there is but one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Why the sides are not compared, or which trials were left out; empty else.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remark: String,
}

/// What is compared and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Statistic over trials.
    pub statistic: Statistic,
    /// Declared margin, for instance 0.02.
    pub margin: Option<f64>,
    /// Seed of the resamples.
    pub seed: u64,
    /// Metrics whose comparisons make one family; empty for all.
    pub family: Vec<String>,
    /// Both sides are of one run: trials of one block ran one after the other.
    pub blocks: bool,
    /// Trials are taken together whatever their host: of two runs of one host each, or because somebody says so.
    pub pooled: bool,
}

/// Compares every pair of `rows` whose metrics have the same names and of which both have values; the cells are those
/// that `same` pairs with each other: the first side's name to the second's.
#[must_use]
pub fn compare(
    first: &[Row],
    second: &[Row],
    settings: &Settings,
    same: impl Fn(&str) -> Vec<String>,
) -> Vec<Comparison> {
    let mut found = Vec::new();
    for a in first.iter().filter(|row| row.n() > 0) {
        for cell in same(&a.cell) {
            let b = second.iter().find(|b| b.cell == cell && b.metric == a.metric && b.unit == a.unit && b.n() > 0);
            let stream = found.len() as u64;
            found.extend(b.and_then(|b| one(a, b, settings, stream)));
        }
    }
    judge(&mut found, settings);
    found
}

/// Compares the cells of one run with those of the variant `baseline` that differ in nothing else.
#[must_use]
pub fn within(plan: &Plan, rows: &[Row], baseline: &str, settings: &Settings) -> Vec<Comparison> {
    compare(rows, rows, settings, |name| {
        let Some(cell) = plan.cells.iter().find(|cell| cell.id == name && cell.variant == baseline) else {
            return Vec::new();
        };
        let other = |other: &&Cell| other.variant != baseline && cell.is_like(other, "variant");
        plan.cells.iter().filter(other).map(|other| other.id.to_string()).collect()
    })
}

/// Adjusts the p-values of the family, and gives the verdicts.
fn judge(comparisons: &mut [Comparison], settings: &Settings) {
    let member = |one: &Comparison| settings.family.is_empty() || settings.family.contains(&one.metric);
    let family: Vec<(usize, f64)> = (comparisons.iter().enumerate())
        .filter(|(_, one)| member(one))
        .filter_map(|(at, one)| Some((at, one.p?)))
        .collect();
    let adjusted = holm(&family.iter().map(|(_, p)| *p).collect::<Vec<_>>());
    for ((at, _), adjusted) in family.into_iter().zip(adjusted) {
        comparisons[at].adjusted_p = Some(adjusted);
    }
    for one in comparisons {
        one.verdict = verdict(one.interval.as_ref(), settings.margin, one.adjusted_p);
    }
}

fn one(a: &Row, b: &Row, settings: &Settings, stream: u64) -> Option<Comparison> {
    let statistic = settings.statistic;
    let shared = if settings.pooled { vec![String::new()] } else { shared_machines(&[a, b]) };
    let mut comparison = Comparison {
        cell: b.cell.clone(),
        metric: a.metric.clone(),
        unit: a.unit.clone(),
        n: [a.n(), b.n()],
        values: [a.statistic(statistic)?, b.statistic(statistic)?],
        ratio: None,
        interval: None,
        shift: None,
        shift_interval: None,
        a12: None,
        p: None,
        adjusted_p: None,
        verdict: Verdict::Inconclusive,
        hosts: Vec::new(),
        remark: String::new(),
    };
    if shared.is_empty() {
        comparison.remark = no_shared_machine(&[a, b]);
        return Some(comparison);
    }
    // Of each host: the first side's values and the second's.
    let of = |row: &Row, machine: &str| match settings.pooled {
        true => row.values(statistic),
        false => row.by_machine(statistic).remove(machine).unwrap_or_default(),
    };
    let hosts: Vec<Block> = shared.iter().map(|machine| (of(a, machine), of(b, machine))).collect();
    let strata = |values: fn(&Block) -> Stratum| hosts.iter().map(values);
    let second = strata(|host| Stratum { first: host.1.clone(), second: Vec::new() });
    let first = strata(|host| Stratum { first: Vec::new(), second: host.0.clone() });
    let contrast = Contrast { kind: Kind::Ratio, statistic, strata: second.chain(first).collect() };
    if shared.len() > 1 || shared.iter().any(|machine| !machine.is_empty()) {
        let side = |of: fn(&Block) -> &Vec<f64>| Contrast {
            kind: Kind::Value,
            statistic,
            strata: hosts.iter().map(|host| Stratum { first: of(host).clone(), second: Vec::new() }).collect(),
        };
        let sides = [side(|host| &host.0), side(|host| &host.1)];
        let finite = |side: &Contrast| side.strata.iter().flat_map(|s| &s.first).filter(|v| v.is_finite()).count();
        comparison.n = [finite(&sides[0]), finite(&sides[1])];
        comparison.values = [sides[0].estimate()?, sides[1].estimate()?];
        let left_out = a.n() + b.n() - comparison.n[0] - comparison.n[1];
        if left_out > 0 {
            comparison.remark = format!("{left_out} trials of hosts that only one side has are left out");
        }
        comparison.hosts.clone_from(&shared);
    }
    // Both zero is the same; zero against something has no ratio.
    (comparison.ratio, comparison.interval) = match comparison.values {
        [0.0, 0.0] => (Some(1.0), None),
        _ => {
            let interval = contrast.interval(LEVEL, settings.seed, stream).map(|(interval, _)| interval);
            (Some(contrast.estimate()?), interval)
        }
    };
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
    Some(comparison)
}

/// All values of the first side and of the second, those of each host less the median of that host's: aligned ranks (J. L. Hodges &
/// E. L. Lehmann, Annals of Mathematical Statistics 33, 1962, page 482). One host's stay as they are.
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

/// Why two runs are not compared.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Wall time beside virtual time.
    #[error("one run is of {first}, the other of {second}: their times do not compare")]
    HostKinds {
        /// Kind of the first.
        first: String,
        /// Kind of the second.
        second: String,
    },
    /// Not the same machine, or the same machine set up otherwise.
    #[error(
        "the hosts differ (fingerprints {first} and {second}): what would be compared is the machines; `--across-hosts` does so"
    )]
    Fingerprints {
        /// Of the first.
        first: String,
        /// Of the second.
        second: String,
    },
    /// They have nothing in common.
    #[error("no cell and metric is in both runs with a value")]
    Nothing,
}

/// Refuses what cannot be compared. A fingerprint that is unknown differs from nothing.
///
/// # Errors
/// [`Refusal`].
pub fn check(hosts: [Option<HostKind>; 2], fingerprints: [Option<&str>; 2], across_hosts: bool) -> Result<(), Refusal> {
    if let [Some(first), Some(second)] = hosts
        && first != second
        && (first == HostKind::Emulated || second == HostKind::Emulated || !across_hosts)
    {
        return Err(Refusal::HostKinds { first: first.note().to_owned(), second: second.note().to_owned() });
    }
    match fingerprints {
        [Some(first), Some(second)] if first != second && !across_hosts => {
            Err(Refusal::Fingerprints { first: first.to_owned(), second: second.to_owned() })
        }
        _ => Ok(()),
    }
}

/// The comparison as a table and a line that counts the verdicts. `sides` name the two sides; with `detail` the shifts, the
/// probabilities and the tests stand in a table of their own.
#[must_use]
pub fn text(comparisons: &[Comparison], sides: [&str; 2], title: &str, settings: &Settings, detail: bool) -> String {
    text_in(comparisons, sides, title, settings, detail, Room::ANY)
}

/// As [`text`], in so much room.
#[must_use]
pub fn text_in(
    comparisons: &[Comparison],
    sides: [&str; 2],
    title: &str,
    settings: &Settings,
    detail: bool,
    room: Room,
) -> String {
    const COLUMNS: [Column; 8] = [
        Column::left("cell", 0),
        Column::left("metric", 0),
        Column::right("A", 3),
        Column::right("B", 3),
        Column::right("ratio", 0),
        Column::right("interval", 1),
        Column::left("n", 2),
        Column::left("verdict", 0),
    ];
    let mut out = format!("A: {}\nB: {}\n", sides[0], sides[1]);
    let tests = comparisons.iter().filter(|one| one.adjusted_p.is_some()).count();
    let margin = settings.margin.map_or_else(
        || {
            format!(
                "no margin is declared: nothing is called equivalent, and faster or slower needs p <= {ALPHA} over the family of \
                 {tests} tests (Holm)"
            )
        },
        |margin| format!("margin {:.1} %: what lies within is equivalent, beyond it faster or slower", margin * 100.0),
    );
    let percent = LEVEL * 100.0;
    let mut hosts: Vec<&str> = comparisons.iter().flat_map(|one| &one.hosts).map(String::as_str).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let within = match hosts.as_slice() {
        [] => String::new(),
        [host] => format!(" on the host {host}"),
        several => format!(" within each of {} hosts ({}), which count alike", several.len(), several.join(", ")),
    };
    let words = format!(
        "{} over trials{within}; ratio B / A with its {percent} % interval, each by itself; {margin}",
        settings.statistic.text()
    );
    let _ = write!(out, "{}\n\n", wrapped_to(room.words, &words, 0));
    let show = |value: f64, unit: &str| if unit == "1" { format!("{value:.1}") } else { format!("{value:.2} {unit}") };
    let row = |one: &Comparison| {
        vec![
            one.cell.clone(),
            one.metric.clone(),
            show(one.values[0], &one.unit),
            show(one.values[1], &one.unit),
            one.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.4}")),
            one.interval.as_ref().map_or_else(
                || if one.ratio.is_none() { "no common host".to_owned() } else { format!("n < {INTERVAL_FROM}") },
                |interval| format!("{:.4} to {:.4}", interval.low, interval.high),
            ),
            format!("{} and {}", one.n[0], one.n[1]),
            one.verdict.to_string(),
        ]
    };
    let (table, left_out) = fitted(&COLUMNS, &comparisons.iter().map(row).collect::<Vec<_>>(), room.table);
    out.push_str(&table);
    out.push_str(&room.left_out(&left_out));
    for remark in remarks(comparisons) {
        let _ = writeln!(out, "{}", wrapped_to(room.words, &remark, 4));
    }
    if detail {
        out.push_str(&details(comparisons, settings, room));
    }
    let count = |verdict| comparisons.iter().filter(|one| one.verdict == verdict).count();
    let words = format!(
        "{} compared: {} faster, {} slower, {} equivalent, {} inconclusive ({title})",
        comparisons.len(),
        count(Verdict::Faster),
        count(Verdict::Slower),
        count(Verdict::Equivalent),
        count(Verdict::Inconclusive),
    );
    // One line where there is no terminal: scripts look for it.
    let words = if room == Room::ANY { words } else { wrapped_to(room.words, &words, 2) };
    let _ = writeln!(out, "\n{words}");
    out
}

/// What is to be said of single comparisons, those of one remark together.
fn remarks(comparisons: &[Comparison]) -> Vec<String> {
    let mut all: Vec<(&str, Vec<String>)> = Vec::new();
    for one in comparisons.iter().filter(|one| !one.remark.is_empty()) {
        let place = format!("{} of {}", one.metric, one.cell);
        match all.iter_mut().find(|(remark, _)| *remark == one.remark) {
            Some((_, places)) => places.push(place),
            None => all.push((&one.remark, vec![place])),
        }
    }
    all.into_iter().map(|(remark, places)| format!("{}: {remark}", places.join(", "))).collect()
}

/// Shifts, probabilities and tests.
fn details(comparisons: &[Comparison], settings: &Settings, room: Room) -> String {
    const COLUMNS: [Column; 7] = [
        Column::left("cell", 0),
        Column::left("metric", 0),
        Column::right("shift", 1),
        Column::right("interval", 2),
        Column::right("A12", 3),
        Column::right("p", 0),
        Column::right("Holm", 0),
    ];
    let test = if settings.blocks { "permutation of labels within blocks" } else { "Mann and Whitney's test" };
    let words = format!(
        "shift: Hodges and Lehmann's, B - A; A12: how often a trial of B exceeds one of A; p: {test}; Holm: p over the family of {}",
        if settings.family.is_empty() { "every metric".to_owned() } else { settings.family.join(", ") }
    );
    let show = |value: Option<f64>, digits: usize| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.digits$}"));
    let row = |one: &Comparison| {
        let unit = if one.unit == "1" { String::new() } else { format!(" {}", one.unit) };
        vec![
            one.cell.clone(),
            one.metric.clone(),
            one.shift.map_or_else(|| "-".to_owned(), |shift| format!("{shift:.3}{unit}")),
            one.shift_interval
                .as_ref()
                .map_or_else(|| "n too small".to_owned(), |i| format!("{:.3} to {:.3}", i.low, i.high)),
            show(one.a12, 2),
            show(one.p, 4),
            one.adjusted_p.map_or_else(|| "not in it".to_owned(), |p| format!("{p:.4}")),
        ]
    };
    let (table, left_out) = fitted(&COLUMNS, &comparisons.iter().map(row).collect::<Vec<_>>(), room.table);
    format!("\n{}\n\n{table}{}", wrapped_to(room.words, &words, 0), room.left_out(&left_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_the_whole_interval_on_one_side() {
        let of = |low: f64, high: f64, margin| verdict(Some(&Interval { low, high, level: 0.95 }), margin, Some(0.03));
        assert_eq!(of(1.01, 1.05, None), Verdict::Slower);
        assert_eq!(of(0.95, 0.99, None), Verdict::Faster);
        assert_eq!(of(0.99, 1.01, None), Verdict::Inconclusive);
        assert_eq!(of(0.99, 1.01, Some(0.02)), Verdict::Equivalent);
        // A difference that is sure and does not matter is no difference.
        assert_eq!(of(1.005, 1.01, Some(0.02)), Verdict::Equivalent);
        assert_eq!(of(1.01, 1.03, Some(0.02)), Verdict::Inconclusive);
        assert_eq!(of(1.03, 1.04, Some(0.02)), Verdict::Slower);
        assert_eq!(of(0.90, 0.97, Some(0.02)), Verdict::Faster);
        assert_eq!(verdict(None, Some(0.02), None), Verdict::Inconclusive);
        // Without a margin the family's error rate decides too.
        let sure = Interval { low: 1.01, high: 1.05, level: 0.95 };
        assert_eq!(verdict(Some(&sure), None, Some(0.2)), Verdict::Inconclusive);
        assert_eq!(verdict(Some(&sure), Some(0.005), Some(0.2)), Verdict::Slower);
    }

    /// A row of trials on hosts, given as host and value; trial and block count on.
    fn row(cell: &str, values: &[(&str, f64)]) -> Row {
        let mut machines: Vec<String> = values.iter().map(|(machine, _)| (*machine).to_owned()).collect();
        machines.sort();
        machines.dedup();
        let trial = |(at, (machine, value)): (u32, &(&str, f64))| crate::summary::Trial {
            index: at,
            block: at,
            machine: machines.iter().position(|name| name == machine).unwrap(),
            median: *value,
            mean: Some(*value),
        };
        Row {
            cell: cell.into(),
            label: String::new(),
            metric: "m".into(),
            unit: "ms".into(),
            host: Some(HostKind::Kvm),
            trials: (0..).zip(values).map(trial).collect(),
            vms: values.len(),
            missing: BTreeMap::new(),
            machines,
        }
    }

    fn compared(first: &Row, second: &Row, pooled: bool) -> Comparison {
        let settings =
            Settings { statistic: Statistic::Median, margin: None, seed: 1, family: Vec::new(), blocks: true, pooled };
        let (first, second) = (std::slice::from_ref(first), std::slice::from_ref(second));
        compare(first, second, &settings, |_| vec!["b".into()]).remove(0)
    }

    /// n2 is twice as slow as n1, and the second cell has most of its trials there; on each host it is 10 % slower.
    #[test]
    fn what_hosts_differ_in_is_no_difference_of_cells() {
        let on = |host: &'static str, n: u32, middle: f64| -> Vec<(&'static str, f64)> {
            (0..n).map(|at| (host, middle * (1.0 + f64::from(at % 5) * 0.001))).collect()
        };
        let first = row("a", &[on("n1", 15, 100.0), on("n2", 10, 200.0)].concat());
        let second = row("b", &[on("n1", 10, 110.0), on("n2", 15, 220.0)].concat());
        let found = compared(&first, &second, false);
        let interval = found.interval.unwrap();
        assert!((found.ratio.unwrap() - 1.1).abs() < 1e-9, "{:?}", found.ratio);
        assert!(interval.low > 1.09 && interval.high < 1.11, "{interval:?}");
        assert_eq!((found.hosts, found.n), (vec!["n1".to_owned(), "n2".to_owned()], [25, 25]));
        // As if all trials were of one host: the machines, not the cells.
        assert!(compared(&first, &second, true).ratio.unwrap() > 2.0);
        // Aligned by host, trials of the second exceed those of the first but for ties: on each host by a tenth of its own.
        assert!(found.a12.unwrap() > 0.95, "{:?}", found.a12);
        assert!(found.shift.unwrap() > 9.0 && found.shift.unwrap() < 21.0, "{:?}", found.shift);
    }

    #[test]
    fn sides_that_share_no_host_are_not_compared_and_trials_beside_are_left_out() {
        let of = |host: &'static str| (0..6).map(move |n| (host, 100.0 + f64::from(n)));
        let (first, second) = (row("a", &of("n1").collect::<Vec<_>>()), row("b", &of("n2").collect::<Vec<_>>()));
        let apart = compared(&first, &second, false);
        assert_eq!((apart.ratio, apart.verdict), (None, Verdict::Inconclusive));
        assert_eq!(apart.remark, "not compared: no host has all of them (a on n1; b on n2)");
        let both = row("b", &of("n1").chain(of("n2")).collect::<Vec<_>>());
        let found = compared(&first, &both, false);
        assert_eq!((found.ratio, found.n, found.hosts), (Some(1.0), [6, 6], vec!["n1".to_owned()]));
        assert_eq!(found.remark, "6 trials of hosts that only one side has are left out");
    }

    #[test]
    fn virtual_time_is_never_compared_with_wall_time() {
        let (kvm, emulated) = (Some(HostKind::Kvm), Some(HostKind::Emulated));
        assert!(matches!(check([kvm, emulated], [None, None], true), Err(Refusal::HostKinds { .. })));
        assert_eq!(check([emulated, emulated], [Some("a"), Some("a")], false), Ok(()));
        assert!(matches!(check([kvm, kvm], [Some("a"), Some("b")], false), Err(Refusal::Fingerprints { .. })));
        assert_eq!(check([kvm, kvm], [Some("a"), Some("b")], true), Ok(()));
        assert_eq!(check([kvm, None], [Some("a"), None], false), Ok(()));
    }
}
