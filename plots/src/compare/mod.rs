//! Two runs side by side, or the variants of one: the ratio of each cell and metric, with an interval and a verdict,
//! and what a side lacks.
//!
//! The ratio is that of medians (or means) over trials, as [`contrast`](crate::stats::contrast) makes it. Of a run on
//! several hosts it is made within hosts: each side is the mean of its hosts' medians, over the hosts that both sides
//! have, and trials are drawn anew within their host. Sides that share no host are not compared. Whether it says
//! anything depends on a margin that is declared beforehand: within it nothing matters, beyond it everything does. Wall
//! time and virtual time are not comparable at all; two machines are only when somebody says so.

mod gate;
mod missing;
mod pair;
mod pairs;
mod text;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use self::gate::Gate;
pub use self::missing::{Lacking, Missing, What};
pub use self::pairs::{Pair, between};
pub use self::text::{text, text_in};
pub use self::verdict::{ALPHA, Verdict};

use microbench_formats::code::Code;
use microbench_formats::direction::Better;
use microbench_formats::host::HostKind;
use microbench_formats::plan::Plan;
use microbench_formats::statistic::Statistic;

use self::verdict::{Tolerance, verdict};
use crate::analyze::Host;
use crate::completed::{ByCell, Completed};
use crate::stats::holm::holm;
use crate::stats::median::Interval;
use crate::summary::Row;

/// One row of a comparison: a metric of a cell on both sides, or what a side lacks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The cell of the second side, or the name that it would have.
    pub cell: String,
    /// The metric; [`EVERY_METRIC`] where a whole cell is missing, [`VMS_COMPLETED`] where a smaller share of VMs completed.
    pub metric: String,
    /// Its unit.
    pub unit: String,
    /// Its better direction.
    pub better: Better,
    /// Trials of both; VMs in a row of the verdict *dropped*.
    pub n: [usize; 2],
    /// Statistic of both; `None` for a side without a value.
    pub values: [Option<f64>; 2],
    /// Second over first; `None` when the sides are not compared, and `remark` says why, or when the first is zero.
    pub ratio: Option<f64>,
    /// Its interval.
    pub interval: Option<Interval>,
    /// Second less first, by which the verdict is where a value of the first side is not above zero; else `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<f64>,
    /// Its interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference_interval: Option<Interval>,
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
    /// The verdict.
    pub verdict: Verdict,
    /// What a side lacks; `None` when both sides have a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
    /// In a row of the verdict *dropped*, the VMs of both that completed, or gave a value to the metric; else `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<[Completed; 2]>,
    /// Names of the hosts within which it was made; empty where there is but one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Why a side has no value, why the sides are not compared, or which trials were left out; empty else.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remark: String,
}

/// [`Comparison::metric`] of a row on a whole cell that is missing.
pub const EVERY_METRIC: &str = "every metric";
/// [`Comparison::metric`] of a row on a smaller share of completed VMs.
pub const VMS_COMPLETED: &str = "VMs completed";

impl Comparison {
    /// A row without values.
    fn empty(cell: &str, metric: &str, unit: &str, better: Better) -> Self {
        Self {
            cell: cell.to_owned(),
            metric: metric.to_owned(),
            unit: unit.to_owned(),
            better,
            n: [0, 0],
            values: [None, None],
            ratio: None,
            interval: None,
            difference: None,
            difference_interval: None,
            shift: None,
            shift_interval: None,
            a12: None,
            p: None,
            adjusted_p: None,
            verdict: Verdict::Inconclusive,
            missing: None,
            completed: None,
            hosts: Vec::new(),
            remark: String::new(),
        }
    }

    /// Whether two values are compared: false of a row that says what a side lacks.
    #[must_use]
    pub fn is_contrast(&self) -> bool {
        self.missing.is_none() && self.completed.is_none()
    }
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

/// One side of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// Its plan.
    pub plan: &'a Plan,
    /// One row for each cell and metric of the plan.
    pub rows: &'a [Row],
    /// Completed VMs by cell; empty where they are not compared.
    pub completed: &'a ByCell,
}

/// Compares the cells of `pairs`: each metric that both sides have a value of, what one side lacks, and the share of
/// completed VMs. The better direction of a metric is that of the second side's plan.
#[must_use]
pub fn compare(first: Side<'_>, second: Side<'_>, pairs: &[Pair], settings: &Settings) -> Vec<Comparison> {
    let (of_first, of_second) = (by_cell(first.rows), by_cell(second.rows));
    let (mut found, mut stream) = (Vec::new(), 0);
    for pair in pairs {
        let sides = [rows(&of_first, pair.first.as_deref()), rows(&of_second, pair.second.as_deref())];
        pair::compare(pair, [first, second], &sides, settings, &mut stream, &mut found);
    }
    judge(&mut found, settings);
    found
}

fn rows<'a>(of: &BTreeMap<&str, Vec<&'a Row>>, cell: Option<&str>) -> Vec<&'a Row> {
    cell.and_then(|cell| of.get(cell)).cloned().unwrap_or_default()
}

fn by_cell(rows: &[Row]) -> BTreeMap<&str, Vec<&Row>> {
    let mut found: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        found.entry(&row.cell).or_default().push(row);
    }
    found
}

/// Compares the cells of one run with those of the variant `baseline` that differ in nothing else.
#[must_use]
pub fn within(run: Side<'_>, baseline: &str, settings: &Settings) -> Vec<Comparison> {
    compare(run, run, &pairs::within(run.plan, baseline), settings)
}

/// Whether the plans have a cell and metric in common.
#[must_use]
pub fn is_common(comparisons: &[Comparison]) -> bool {
    comparisons.iter().any(|one| one.missing.as_ref().is_none_or(|missing| missing.planned))
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
    for one in comparisons.iter_mut().filter(|one| one.is_contrast()) {
        let (interval, tolerance) = match (one.difference, one.values[0]) {
            (Some(_), Some(first)) => {
                (one.difference_interval.as_ref(), Tolerance::of_difference(settings.margin, first))
            }
            _ => (one.interval.as_ref(), Tolerance::of_ratio(settings.margin)),
        };
        one.verdict = verdict(interval, tolerance, one.adjusted_p, one.better);
    }
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
        "the hosts differ (fingerprints {first} and {second}){differ}: a comparison would be of the hosts; compare with \
         `--across-hosts` if that is wanted"
    )]
    Fingerprints {
        /// Of the first.
        first: String,
        /// Of the second.
        second: String,
        /// The names of the facts that differ, after ` in `; empty where they are not known.
        differ: String,
    },
    /// They have nothing in common.
    #[error("no cell and metric is in both runs with a value")]
    Nothing,
}

impl Refusal {
    /// The error's code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::HostKinds { .. } => Code::HostKindsDiffer,
            Self::Fingerprints { .. } => Code::HostsDiffer,
            Self::Nothing => Code::NothingInCommon,
        }
    }
}

/// Refuses what cannot be compared. A fingerprint that is unknown differs from nothing.
///
/// # Errors
/// [`Refusal`].
pub fn check(kinds: [Option<HostKind>; 2], hosts: [Option<&Host>; 2], across_hosts: bool) -> Result<(), Refusal> {
    if let [Some(first), Some(second)] = kinds
        && first != second
        && (first == HostKind::Emulated || second == HostKind::Emulated || !across_hosts)
    {
        return Err(Refusal::HostKinds { first: first.note().to_owned(), second: second.note().to_owned() });
    }
    match hosts {
        [Some(first), Some(second)] if first.fingerprint != second.fingerprint && !across_hosts => {
            Err(Refusal::Fingerprints {
                first: first.fingerprint.clone(),
                second: second.fingerprint.clone(),
                differ: differing(first, second),
            })
        }
        _ => Ok(()),
    }
}

/// The names of the facts in which two hosts differ, after ` in `.
fn differing(first: &Host, second: &Host) -> String {
    let names: BTreeSet<&String> = first.facts.keys().chain(second.facts.keys()).collect();
    let differing: Vec<&str> = names
        .into_iter()
        .filter(|name| first.facts.get(*name) != second.facts.get(*name))
        .map(String::as_str)
        .collect();
    if differing.is_empty() { String::new() } else { format!(" in {}", differing.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        pair::contrasted(first, second, Better::Lower, &settings, 0)
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
        // Aligned by host, trials of the second exceed those of the first but for ties: on each host by a tenth of its
        // own.
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
        let host = |fingerprint: &str, program: &str| Host {
            fingerprint: fingerprint.to_owned(),
            facts: [("kernel.release", "6.1"), ("program.microbench", program)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        };
        let (a, b) = (&host("a", "1"), &host("b", "2"));
        assert_eq!(check([emulated, emulated], [Some(a), Some(a)], false), Ok(()));
        let refusal = check([kvm, kvm], [Some(a), Some(b)], false).unwrap_err().to_string();
        assert!(refusal.starts_with("the hosts differ (fingerprints a and b) in program.microbench: "), "{refusal}");
        assert_eq!(check([kvm, kvm], [Some(a), Some(b)], true), Ok(()));
        assert_eq!(check([kvm, None], [Some(a), None], false), Ok(()));
    }
}
