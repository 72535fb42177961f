//! Two runs side by side, or the variants of one: the ratio of each cell and metric that both have, with an interval and a verdict.
//!
//! The ratio is that of medians (or means) over trials, as [`contrast`](crate::stats::contrast) makes it. Whether it says anything
//! depends on a margin that is declared beforehand: within it nothing matters, beyond it everything does. Wall time and virtual time are not comparable at
//! all; two machines are only when somebody says so.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::Serialize;

use crate::record::{Cell, HostKind, Plan, Statistic};
use crate::stats::contrast::{Contrast, INTERVAL_FROM, Kind, Stratum};
use crate::stats::holm::holm;
use crate::stats::median::Interval;
use crate::stats::permutation::{Block, within_blocks};
use crate::stats::rank;
use crate::summary::{LEVEL, Row};
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
    /// Second over first.
    pub ratio: f64,
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
    let others = |cell: &Cell| {
        let mut levels = cell.levels.clone();
        levels.remove("variant");
        levels
    };
    compare(rows, rows, settings, |name| {
        let Some(cell) = plan.cells.iter().find(|cell| cell.id == name && cell.variant == baseline) else {
            return Vec::new();
        };
        let alike = |other: &&Cell| other.variant != baseline && others(other) == others(cell);
        plan.cells.iter().filter(alike).map(|other| other.id.clone()).collect()
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
    let (first, second) = (a.values(statistic), b.values(statistic));
    let contrast = Contrast {
        kind: Kind::Ratio,
        statistic,
        strata: vec![
            Stratum { first: second.clone(), second: Vec::new() },
            Stratum { first: Vec::new(), second: first.clone() },
        ],
    };
    let values = [a.statistic(statistic)?, b.statistic(statistic)?];
    // Both zero is the same; zero against something has no ratio.
    let (ratio, interval) = match values {
        [0.0, 0.0] => (1.0, None),
        _ => (contrast.estimate()?, contrast.interval(LEVEL, settings.seed, stream).map(|(interval, _)| interval)),
    };
    let finite = |value: &f64| value.is_finite();
    Some(Comparison {
        cell: b.cell.clone(),
        metric: a.metric.clone(),
        unit: a.unit.clone(),
        n: [a.n(), b.n()],
        values,
        ratio,
        verdict: Verdict::Inconclusive,
        interval,
        shift: rank::shift(&second, &first).filter(finite),
        shift_interval: rank::shift_interval(&second, &first, LEVEL).filter(|i| finite(&i.low) && finite(&i.high)),
        a12: rank::a12(&second, &first),
        p: if settings.blocks { permuted(a, b, settings) } else { rank::mann_whitney(&second, &first) },
        adjusted_p: None,
    })
}

/// The p-value by permutation within blocks; of censored trials by ranks, which need no value.
fn permuted(a: &Row, b: &Row, settings: &Settings) -> Option<f64> {
    let mut blocks: BTreeMap<u32, Block> = BTreeMap::new();
    for (row, second) in [(a, false), (b, true)] {
        for trial in &row.trials {
            let value = if settings.statistic == Statistic::Mean { trial.mean } else { Some(trial.median) };
            let block = blocks.entry(trial.block).or_default();
            if second { block.1.extend(value) } else { block.0.extend(value) }
        }
    }
    within_blocks(&blocks.into_values().collect::<Vec<_>>(), settings.seed)
        .or_else(|| rank::mann_whitney(&b.values(settings.statistic), &a.values(settings.statistic)))
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
    let words = format!(
        "{} over trials; ratio B / A with its {percent} % interval, each by itself; {margin}",
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
            format!("{:.4}", one.ratio),
            one.interval.as_ref().map_or_else(
                || format!("n < {INTERVAL_FROM}"),
                |interval| format!("{:.4} to {:.4}", interval.low, interval.high),
            ),
            format!("{} and {}", one.n[0], one.n[1]),
            one.verdict.to_string(),
        ]
    };
    let (table, left_out) = fitted(&COLUMNS, &comparisons.iter().map(row).collect::<Vec<_>>(), room.table);
    out.push_str(&table);
    out.push_str(&room.left_out(&left_out));
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
