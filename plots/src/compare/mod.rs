//! The comparison of two runs, or of the variants of one run. It has the ratio of each cell and metric, with its
//! interval and verdict, and the cells and metrics that are missing on a side.
//!
//! Estimate, interval and p-value of a row belong to one statistic: the Hodges-Lehmann ratio with its rank test (see
//! [`shift`](crate::stats::shift)), or the ratio of means with its bootstrap.
//!
//! Runs on several hosts are compared within hosts. Each side is the mean of the medians of its hosts, over the hosts
//! that both sides have. Sides that share no host are not compared.
//!
//! The verdict depends on an equivalence margin that is declared beforehand: differences within it do not matter, all
//! others do. With and without a margin, the p-values are adjusted for the family of comparisons. Wall time is never
//! compared with virtual time, and two hosts only with `--across-hosts`.

mod contrast;
mod gate;
pub(crate) mod markdown;
mod missing;
mod pair;
mod pairs;
#[cfg(test)]
mod simulation;
mod text;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use self::gate::Gate;
pub use self::markdown::{render_annotations, render_markdown};
pub use self::missing::{Missing, MissingItem, MissingSide};
pub use self::pairs::{Pair, pairs_of_plans};
pub use self::text::{View, render};
pub(crate) use self::text::{count_tests, ratio};
pub use self::verdict::Verdict;

use microbench_formats::code::Code;
use microbench_formats::direction::Better;
use microbench_formats::family::ALPHA;
use microbench_formats::host::HostKind;
use microbench_formats::plan::Plan;
use microbench_formats::statistic::Statistic;

use self::pair::{HostCpus, Matched};
use self::verdict::Decision;
use crate::completed::{ByCell, Completed};
use crate::host::Host;
use crate::host_cpu;
use crate::stats::holm::{holm, testable};
use crate::stats::median::Interval;
use crate::stats::shift::Test;
use crate::summary::Row;

/// One row of a comparison: a metric of a cell on both sides, or a cell or metric that is missing on a side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The cell of the second side, or the name that this cell would have.
    pub cell: String,
    /// The metric, or [`EVERY_METRIC`] if a whole cell is missing, or [`VMS_COMPLETED`] if a smaller share of VMs
    /// completed.
    pub metric: String,
    pub unit: String,
    pub better: Better,
    /// Number of trials of each side; number of VMs in a row with the verdict *dropped*.
    pub n: [usize; 2],
    /// Statistic of each side, in `unit`; `None` for a side without a value.
    pub values: [Option<f64>; 2],
    /// VMs of each side with a value, and VMs that were expected to have one.
    #[serde(skip_serializing_if = "all_have_values")]
    pub with_value: [(usize, usize); 2],
    /// Hodges-Lehmann estimate of the ratio of the second side to the first, or the ratio of means. `None` if the sides
    /// are not compared (see `remark`), if the ratio is censored, or if the first value is zero.
    pub ratio: Option<f64>,
    pub interval: Option<Interval>,
    /// Equivalence margin of the row, as a share; `None` if none is declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// Difference up to which the sides are equivalent with any ratio, in `unit`: `floor` of the metric's gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
    /// Second value minus the first, if a value of the first side is not above zero; it then decides the verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference_interval: Option<Interval>,
    /// Hodges-Lehmann estimate of the shift from the first to the second side, in `unit`.
    pub shift: Option<f64>,
    pub shift_interval: Option<Interval>,
    /// Vargha and Delaney's A12: the probability that a trial of the second side exceeds one of the first.
    pub a12: Option<f64>,
    /// Two-sided p-value of the hypothesis that the effect is not on this side of the margin (without a margin, that
    /// there is no effect). In a row with the verdict *dropped*, one-sided, of the permutation test of trials.
    pub p: Option<f64>,
    /// The test of `p`; `None` without `p`, and in a row with the verdict *dropped*.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Test>,
    /// The finding that `p` belongs to.
    #[serde(skip)]
    pub(crate) decision: Option<Decision>,
    /// The smallest p-value that the test can have with this number of trials.
    #[serde(skip)]
    pub smallest_p: Option<f64>,
    /// `p` with Holm's adjustment over the comparisons of the family that can be significant; `None` for the others.
    pub adjusted_p: Option<f64>,
    pub verdict: Verdict,
    /// `None` if both sides have a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
    /// In a row with the verdict *dropped*, the VMs of each side that completed or have a value; else `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<[Completed; 2]>,
    /// Names of the hosts within which the sides were compared; empty for a single host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Why a side has no value, why the sides are not compared, or how many trials were left out; else empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remark: String,
}

/// [`Comparison::metric`] of the row of a missing cell.
pub const EVERY_METRIC: &str = "every metric";
/// [`Comparison::metric`] of the row of a cell in which a smaller share of VMs completed.
pub const VMS_COMPLETED: &str = "VMs completed";

fn all_have_values(vms: &[(usize, usize); 2]) -> bool {
    vms.iter().all(|(with, of)| with == of)
}

impl Comparison {
    /// A row without values.
    pub(crate) fn empty(cell: &str, metric: &str, unit: &str, better: Better) -> Self {
        Self {
            cell: cell.to_owned(),
            metric: metric.to_owned(),
            unit: unit.to_owned(),
            better,
            n: [0, 0],
            values: [None, None],
            with_value: [(0, 0); 2],
            ratio: None,
            interval: None,
            margin: None,
            floor: None,
            difference: None,
            difference_interval: None,
            shift: None,
            shift_interval: None,
            a12: None,
            p: None,
            test: None,
            decision: None,
            smallest_p: None,
            adjusted_p: None,
            verdict: Verdict::Inconclusive,
            missing: None,
            completed: None,
            hosts: Vec::new(),
            remark: String::new(),
        }
    }

    /// Adds a clause to the remark.
    fn add_remark(&mut self, clause: &str) {
        let separator = if self.remark.is_empty() { "" } else { "; " };
        self.remark = format!("{}{separator}{clause}", self.remark);
    }

    /// Whether the row has two sides with values; false for a missing cell or metric and for a smaller share of VMs.
    #[must_use]
    pub fn is_contrast(&self) -> bool {
        self.missing.is_none() && self.completed.is_none()
    }

    /// Whether two values were compared.
    #[must_use]
    pub fn is_compared(&self) -> bool {
        self.is_contrast() && self.verdict != Verdict::NotCompared
    }
}

/// How two sides are compared.
///
/// ```
/// use microbench_formats::statistic::Statistic;
/// use microbench_plots::compare::Settings;
///
/// // Medians of two runs, equivalent within 2 %.
/// let settings = Settings {
///     statistic: Statistic::Median,
///     margin: Some(0.02),
///     seed: 1,
///     family: Vec::new(),
///     blocks: false,
///     alternating: false,
///     pooled: false,
///     across_host_cpus: false,
/// };
/// # let _ = settings;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Statistic over trials.
    pub statistic: Statistic,
    /// Equivalence margin, for example 0.02 for ±2 %; `None` if none is declared.
    pub margin: Option<f64>,
    /// Seed of the bootstrap of means.
    pub seed: u64,
    /// Metrics whose comparisons are one family for Holm's adjustment; empty for all metrics. A metric outside of the
    /// family has no verdict.
    pub family: Vec<String>,
    /// Whether both sides are of one run, whose blocks contain trials of both sides in random order.
    pub blocks: bool,
    /// Whether repetitions with the same number belong together: of one run, or of two interleaved runs.
    pub alternating: bool,
    /// Whether trials are pooled over hosts instead of compared within each host.
    pub pooled: bool,
    /// Whether cells of different CPUs of the emulated host are compared.
    pub across_host_cpus: bool,
}

impl Settings {
    /// Whether comparisons of `metric` belong to the family.
    #[must_use]
    pub fn is_in_family(&self, metric: &str) -> bool {
        self.family.is_empty() || self.family.iter().any(|member| member == metric)
    }
}

/// One side of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    pub plan: &'a Plan,
    /// One row for each cell and metric of the plan.
    pub rows: &'a [Row],
    /// Completed VMs by cell; empty if they are not to be compared.
    pub completed: &'a ByCell,
}

/// Compares the cells of `pairs`: each metric with a value on both sides, missing cells and metrics, and the share of
/// completed VMs. The better direction of a metric is that of the second side's plan.
#[must_use]
pub fn compare(first: Side<'_>, second: Side<'_>, pairs: &[Pair], settings: &Settings) -> Vec<Comparison> {
    let (of_first, of_second) = (by_cell(first.rows), by_cell(second.rows));
    let cpus = [first, second].map(|side| host_cpus(side.plan));
    let matched = pairs.iter().map(|pair| {
        let rows = [rows_of_cell(&of_first, pair.first.as_deref()), rows_of_cell(&of_second, pair.second.as_deref())];
        let host = rows.iter().flatten().find_map(|row| row.host);
        let cpus = cpus_of_pair(pair, &cpus);
        let differing = host_cpu::differing(host, cpus.iter().copied()).filter(|_| settings.across_host_cpus);
        let refused = host_cpu::why_not_compared(host, cpus).filter(|_| !settings.across_host_cpus);
        Matched::new(pair, &rows, settings.statistic, HostCpus { refused, differing })
    });
    let matched: Vec<Matched<'_>> = matched.collect();
    let compared = matched.iter().flat_map(Matched::compared);
    let tests = compared.filter(|metric| settings.is_in_family(metric)).count();
    let (mut found, mut stream) = (Vec::new(), 0);
    for pair in matched {
        pair.compare([first, second], settings, tests, &mut stream, &mut found);
    }
    set_verdicts(&mut found, settings);
    found
}

/// The CPU of the emulated host of each cell.
fn host_cpus(plan: &Plan) -> BTreeMap<&str, &str> {
    plan.cells.iter().map(|cell| (cell.id.as_str(), cell.host_cpu())).collect()
}

/// The cells of a pair, with the CPU of the emulated host of each.
fn cpus_of_pair<'a>(pair: &'a Pair, cpus: &[BTreeMap<&'a str, &'a str>; 2]) -> Vec<(&'a str, &'a str)> {
    let cells = [pair.first.as_deref(), pair.second.as_deref()];
    let cpu = |(cell, cpus): (Option<&'a str>, &BTreeMap<&'a str, &'a str>)| Some((cell?, *cpus.get(cell?)?));
    cells.into_iter().zip(cpus).filter_map(cpu).collect()
}

fn rows_of_cell<'a>(of: &BTreeMap<&str, Vec<&'a Row>>, cell: Option<&str>) -> Vec<&'a Row> {
    cell.and_then(|cell| of.get(cell)).cloned().unwrap_or_default()
}

fn by_cell(rows: &[Row]) -> BTreeMap<&str, Vec<&Row>> {
    let mut found: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        found.entry(&row.cell).or_default().push(row);
    }
    found
}

/// Compares the cells of the variant `baseline` with those of every other variant at the same levels, within one run.
#[must_use]
pub fn compare_with_baseline(run: Side<'_>, baseline: &str, settings: &Settings) -> Vec<Comparison> {
    compare(run, run, &pairs::pairs_with_baseline(run.plan, baseline), settings)
}

/// Whether the plans have at least one cell and metric in common.
#[must_use]
pub fn have_common_metric(comparisons: &[Comparison]) -> bool {
    comparisons.iter().any(|row| row.missing.as_ref().is_none_or(|missing| missing.planned))
}

/// Adjusts the p-values of the family and sets the verdicts.
fn set_verdicts(comparisons: &mut [Comparison], settings: &Settings) {
    let family: Vec<(usize, f64, f64)> = (comparisons.iter().enumerate())
        .filter(|(_, row)| settings.is_in_family(&row.metric))
        .filter_map(|(at, row)| Some((at, row.p?, row.smallest_p?)))
        .collect();
    let testable = testable(&family.iter().map(|(.., smallest)| *smallest).collect::<Vec<_>>(), ALPHA);
    let family: Vec<_> =
        family.into_iter().zip(testable).filter(|(_, testable)| *testable).map(|(row, _)| row).collect();
    let adjusted = holm(&family.iter().map(|(_, p, _)| *p).collect::<Vec<_>>());
    for ((at, ..), adjusted) in family.into_iter().zip(adjusted) {
        comparisons[at].adjusted_p = Some(adjusted);
    }
    for row in comparisons.iter_mut() {
        if let Some(decision) = row.decision {
            row.verdict = decision.verdict(row.adjusted_p, row.better);
        }
    }
}

/// Why two runs are not compared.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// One run has wall time, the other virtual time.
    #[error("the runs were measured on different kinds of host ({first} and {second}): their times are not comparable")]
    HostKinds { first: HostKind, second: HostKind },
    /// The hosts are different, or one host was configured differently.
    #[error(
        "the hosts differ (fingerprints {first} and {second}){differ}, so the comparison would show differences of the \
         hosts; use `--across-hosts` to compare anyway"
    )]
    Fingerprints {
        first: String,
        second: String,
        /// The names of the facts that differ, after ` in `; empty if they are not known.
        differ: String,
    },
    /// No cell and metric has a value in both runs.
    #[error("the runs have no cell and metric in common that has a value in both")]
    Nothing,
}

impl Refusal {
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::HostKinds { .. } => Code::HostKindsDiffer,
            Self::Fingerprints { .. } => Code::HostsDiffer,
            Self::Nothing => Code::NothingInCommon,
        }
    }
}

/// Checks that two runs can be compared by their kinds of host and fingerprints. An unknown fingerprint (`None`)
/// passes.
///
/// # Errors
/// [`Refusal`] if the kinds differ, or the fingerprints differ without `across_hosts`.
pub fn check_comparable(
    kinds: [Option<HostKind>; 2],
    hosts: [Option<&Host>; 2],
    across_hosts: bool,
) -> Result<(), Refusal> {
    if let [Some(first), Some(second)] = kinds
        && first != second
        && (first == HostKind::Emulated || second == HostKind::Emulated || !across_hosts)
    {
        return Err(Refusal::HostKinds { first, second });
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

    /// A row of trials, given as host and value; each trial is a block of its own.
    fn row(cell: &str, values: &[(&str, f64)]) -> Row {
        let mut machines: Vec<String> = values.iter().map(|(machine, _)| (*machine).to_owned()).collect();
        machines.sort();
        machines.dedup();
        let trial = |(at, (machine, value)): (u32, &(&str, f64))| crate::summary::Trial {
            index: at,
            block: at,
            repetition: 0,
            machine: machines.iter().position(|name| name == machine).unwrap(),
            median: *value,
            mean: Some(*value),
        };
        Row {
            cell: cell.into(),
            metric: "m".into(),
            unit: "ms".into(),
            host: Some(HostKind::Kvm),
            trials: (0..).zip(values).map(trial).collect(),
            vms: values.len(),
            machines,
            ..Row::default()
        }
    }

    fn compared(first: &Row, second: &Row, pooled: bool) -> Comparison {
        let settings = Settings {
            statistic: Statistic::Median,
            margin: None,
            seed: 1,
            family: Vec::new(),
            blocks: true,
            alternating: true,
            pooled,
            across_host_cpus: false,
        };
        contrast::contrast(first, second, Better::Lower, None, &settings, 1, 0)
    }

    /// n2 is twice as slow as n1, and the second cell has most of its trials on n2. On each host it is 10 % slower.
    #[test]
    fn a_difference_between_hosts_is_not_a_difference_between_cells() {
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
        // Pooled over hosts, the interval shows the hosts and not the cells.
        assert!(compared(&first, &second, true).interval.unwrap().high > 1.2);
        // Aligned by host, trials of the second cell exceed those of the first by a tenth of the host's level.
        assert!(found.a12.unwrap() > 0.95, "{:?}", found.a12);
        assert!(found.shift.unwrap() > 9.0 && found.shift.unwrap() < 21.0, "{:?}", found.shift);
    }

    #[test]
    fn sides_without_a_shared_host_are_not_compared_and_trials_on_other_hosts_are_left_out() {
        let of = |host: &'static str| (0..6).map(move |n| (host, 100.0 + f64::from(n)));
        let (first, second) = (row("a", &of("n1").collect::<Vec<_>>()), row("b", &of("n2").collect::<Vec<_>>()));
        let apart = compared(&first, &second, false);
        assert_eq!((apart.ratio, apart.verdict), (None, Verdict::NotCompared));
        assert_eq!(apart.remark, "not compared: no host has all of them (a on n1; b on n2)");
        let both = row("b", &of("n1").chain(of("n2")).collect::<Vec<_>>());
        let found = compared(&first, &both, false);
        assert_eq!((found.ratio, found.n, found.hosts), (Some(1.0), [6, 6], vec!["n1".to_owned()]));
        assert_eq!(found.remark, "6 trials of hosts that only one side has are left out");
    }

    #[test]
    fn virtual_time_is_never_compared_with_wall_time() {
        let (kvm, emulated) = (Some(HostKind::Kvm), Some(HostKind::Emulated));
        assert!(matches!(check_comparable([kvm, emulated], [None, None], true), Err(Refusal::HostKinds { .. })));
        let host = |fingerprint: &str, program: &str| Host {
            fingerprint: fingerprint.to_owned(),
            facts: [("kernel.release", "6.1"), ("program.microbench", program)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        };
        let (a, b) = (&host("a", "1"), &host("b", "2"));
        assert_eq!(check_comparable([emulated, emulated], [Some(a), Some(a)], false), Ok(()));
        let refusal = check_comparable([kvm, kvm], [Some(a), Some(b)], false).unwrap_err().to_string();
        assert!(refusal.starts_with("the hosts differ (fingerprints a and b) in program.microbench, "), "{refusal}");
        assert_eq!(check_comparable([kvm, kvm], [Some(a), Some(b)], true), Ok(()));
        assert_eq!(check_comparable([kvm, None], [Some(a), None], false), Ok(()));
    }
}
