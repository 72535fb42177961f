//! Two runs side by side: the ratio of each cell and metric that both have, with an interval and a verdict.
//!
//! The ratio is that of medians (or means) over trials, as [`contrast`](crate::stats::contrast) makes it. Whether it says anything
//! depends on a margin that is declared beforehand: within it nothing matters, beyond it everything does. Wall time and virtual time are not comparable at
//! all; two machines are only when somebody says so.

use std::fmt::{self, Write as _};

use crate::record::{HostKind, Plan, Statistic};
use crate::stats::contrast::{Contrast, INTERVAL_FROM, Kind, Stratum};
use crate::stats::median::Interval;
use crate::summary::{LEVEL, Row};
use crate::terminal::table;

/// What a comparison of one cell and metric comes to. Every metric is of the kind of which less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// The verdict on the interval of a ratio. `margin` 0.02 means that ratios from 1/1.02 to 1.02 do not matter.
#[must_use]
pub fn verdict(interval: Option<&Interval>, margin: Option<f64>) -> Verdict {
    let Some(interval) = interval else { return Verdict::Inconclusive };
    let most = 1.0 + margin.unwrap_or(0.0);
    let least = 1.0 / most;
    if margin.is_some() && interval.low >= least && interval.high <= most {
        Verdict::Equivalent
    } else if interval.low > most {
        Verdict::Slower
    } else if interval.high < least {
        Verdict::Faster
    } else {
        Verdict::Inconclusive
    }
}

/// One cell and metric of both runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The cell.
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
    /// What it comes to.
    pub verdict: Verdict,
}

/// What is compared and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Statistic over trials.
    pub statistic: Statistic,
    /// Declared margin, for instance 0.02.
    pub margin: Option<f64>,
    /// Seed of the resamples.
    pub seed: u64,
}

/// Compares every pair of `rows` whose cells and metrics have the same names and of which both have values; the cells are those
/// that `same` pairs with each other: the first run's name to the second's.
#[must_use]
pub fn compare(first: &[Row], second: &[Row], settings: Settings, same: impl Fn(&str) -> String) -> Vec<Comparison> {
    let pairs = first.iter().filter_map(|a| {
        let cell = same(&a.cell);
        let b = second.iter().find(|b| b.cell == cell && b.metric == a.metric && b.unit == a.unit)?;
        (a.n() > 0 && b.n() > 0).then_some((a, b))
    });
    pairs.zip(0..).filter_map(|((a, b), stream)| one(a, b, settings, stream)).collect()
}

fn one(a: &Row, b: &Row, settings: Settings, stream: u64) -> Option<Comparison> {
    let values = |row: &Row| match settings.statistic {
        Statistic::Median => row.medians.clone(),
        Statistic::Mean => row.means.clone(),
    };
    let side = |kind| {
        let first = Stratum { first: values(b), second: Vec::new() };
        let second = Stratum { first: Vec::new(), second: values(a) };
        Contrast { kind, statistic: settings.statistic, strata: vec![first, second] }
    };
    let contrast = side(Kind::Ratio);
    let statistic = |row: &Row| match settings.statistic {
        Statistic::Median => row.median(),
        Statistic::Mean => row.mean(),
    };
    let values = [statistic(a)?, statistic(b)?];
    // Both zero is the same; zero against something has no ratio.
    let (ratio, interval) = match values {
        [0.0, 0.0] => (1.0, None),
        _ => (contrast.estimate()?, contrast.interval(LEVEL, settings.seed, stream).map(|(interval, _)| interval)),
    };
    Some(Comparison {
        cell: b.cell.clone(),
        metric: a.metric.clone(),
        unit: a.unit.clone(),
        n: [a.n(), b.n()],
        values,
        ratio,
        verdict: verdict(interval.as_ref(), settings.margin),
        interval,
    })
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

/// The comparison as a table and a line that counts the verdicts. `names` are those of the two runs, `plan` is the second's.
#[must_use]
pub fn text(comparisons: &[Comparison], names: [&str; 2], plan: &Plan, settings: Settings) -> String {
    let statistic = match settings.statistic {
        Statistic::Median => "median",
        Statistic::Mean => "mean",
    };
    let mut out = format!("A: {}\nB: {}\n", names[0], names[1]);
    let margin = settings.margin.map_or_else(
        || "no margin is declared, so that nothing is called equivalent".to_owned(),
        |margin| format!("margin {:.1} %: what lies within is equivalent, beyond it faster or slower", margin * 100.0),
    );
    let percent = LEVEL * 100.0;
    let _ =
        write!(out, "{statistic} over trials; ratio B / A with its {percent} % interval, each by itself; {margin}\n\n");
    let show = |value: f64, unit: &str| if unit == "1" { format!("{value:.1}") } else { format!("{value:.2} {unit}") };
    let header = ["cell", "metric", "A", "B", "ratio", "interval", "n", "verdict"].map(str::to_owned);
    let rows = comparisons.iter().map(|one| {
        [
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
    });
    out.push_str(&table(std::iter::once(header).chain(rows), 2..6));
    let count = |verdict| comparisons.iter().filter(|one| one.verdict == verdict).count();
    let _ = writeln!(
        out,
        "\n{} compared: {} faster, {} slower, {} equivalent, {} inconclusive ({})",
        comparisons.len(),
        count(Verdict::Faster),
        count(Verdict::Slower),
        count(Verdict::Equivalent),
        count(Verdict::Inconclusive),
        plan.title
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_the_whole_interval_on_one_side() {
        let of = |low: f64, high: f64, margin| verdict(Some(&Interval { low, high, level: 0.95 }), margin);
        assert_eq!(of(1.01, 1.05, None), Verdict::Slower);
        assert_eq!(of(0.95, 0.99, None), Verdict::Faster);
        assert_eq!(of(0.99, 1.01, None), Verdict::Inconclusive);
        assert_eq!(of(0.99, 1.01, Some(0.02)), Verdict::Equivalent);
        // A difference that is sure and does not matter is no difference.
        assert_eq!(of(1.005, 1.01, Some(0.02)), Verdict::Equivalent);
        assert_eq!(of(1.01, 1.03, Some(0.02)), Verdict::Inconclusive);
        assert_eq!(of(1.03, 1.04, Some(0.02)), Verdict::Slower);
        assert_eq!(of(0.90, 0.97, Some(0.02)), Verdict::Faster);
        assert_eq!(verdict(None, Some(0.02)), Verdict::Inconclusive);
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
