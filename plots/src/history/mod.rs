//! The history of a study: a metric of a cell over the runs of the study, by date, and the changes of its level.
//!
//! A series has one kind of host, and one CPU of the emulated host: wall time and virtual time are never in one series.
//! It is searched for changes within parts in which neither the host's fingerprint nor the settings of the cell change,
//! because such a change can move the values. All parts that are searched are one family: each is tested at the level
//! [`ALPHA`] divided by their number (Bonferroni).

mod read;
mod table;
mod text;

use std::path::PathBuf;

use microbench_formats::build::Build;
use microbench_formats::direction::Better;
use microbench_formats::host::HostKind;
use microbench_formats::label::Label;
use microbench_formats::metric::Metric;
use serde::Serialize;

pub use self::read::{Selection, read};
pub use self::table::to_csv;
pub use self::text::render;
use crate::stats::change_point::{self, ChangePoint, MIN_VALUES, Support};
use crate::stats::median::Interval;

/// The largest probability that a history of stationary series shows a change.
pub const ALPHA: f64 = 0.05;
/// Seed of the permutations. It is fixed, so that the same runs give the same result on every machine.
const SEED: u64 = 2026;

/// The runs of a study, oldest first, and one series for each metric, cell, kind of host and CPU of the emulated host.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct History {
    pub study: String,
    /// The runs of which a series has a point, oldest first.
    pub runs: Vec<HistoryRun>,
    /// Runs without points, each with the reason.
    pub left_out: Vec<LeftOut>,
    /// Level of each search; [`ALPHA`] if nothing was searched.
    pub level: f64,
    /// By metric, kind of host and cell, in the order of the newest plan.
    pub series: Vec<Series>,
}

/// A run of a history.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HistoryRun {
    /// Name of the run's folder.
    pub name: String,
    #[serde(skip)]
    pub path: PathBuf,
    /// Start of the first session, RFC 3339.
    pub started: String,
    pub label: Option<Label>,
    /// What microbench was built from; `None` if the run does not state it.
    pub build: Option<Build>,
    /// Fingerprint of the host; `None` if none is recorded, as in an imported run.
    pub fingerprint: Option<String>,
}

impl HistoryRun {
    /// The label, or the date of a run without one.
    #[must_use]
    pub fn title(&self) -> String {
        self.label.as_ref().map_or_else(|| self.date(), ToString::to_string)
    }

    /// Date of the start: `2026-01-01`.
    #[must_use]
    pub fn date(&self) -> String {
        self.started.chars().take(10).collect()
    }

    /// Date and minute of the start: `2026-01-01 12:00`.
    #[must_use]
    pub fn minute(&self) -> String {
        self.started.chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect()
    }
}

/// A run that has no point in any series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    pub name: String,
    pub reason: String,
}

/// One metric of one cell over runs on one kind of host.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    pub cell: String,
    /// The cell's variant.
    pub label: String,
    #[serde(serialize_with = "metric_name")]
    pub metric: Metric,
    /// Unit of every value.
    pub unit: String,
    pub host: HostKind,
    /// CPU of the emulated host; `None` on other kinds of host.
    pub host_cpu: Option<String>,
    /// One for each run with a trial of the cell, oldest first.
    pub points: Vec<Point>,
    /// The parts without a change of host or settings, in order.
    pub parts: Vec<Part>,
    /// The changes of all parts, in order.
    pub changes: Vec<Change>,
}

fn metric_name<S: serde::Serializer>(metric: &Metric, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&metric.name)
}

/// The value of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Index into [`History::runs`].
    pub run: usize,
    /// The number of trials with a value.
    pub n: usize,
    /// The number of VMs without a value.
    pub missing: u64,
    /// Median over trials; `None` without a trial with a value, and if it is censored.
    pub median: Option<f64>,
    /// Whether the median is censored: it is larger than all others.
    pub censored: bool,
    /// Order-statistic interval of the median; `None` below 6 trials.
    pub interval: Option<Interval>,
    /// Whether the host's fingerprint differs from that of the point before.
    pub host_changed: bool,
    /// Whether the cell's settings, the metric's definition or a workload differ from those of the point before.
    pub settings_changed: bool,
}

impl Point {
    /// The value for a search: infinite if it is censored; `None` without a value.
    fn value(&self) -> Option<f64> {
        if self.censored { Some(f64::INFINITY) } else { self.median }
    }
}

/// Consecutive points of a series without a change of host or settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Index of the first point.
    pub from: usize,
    /// Index after the last point.
    pub to: usize,
    /// The number of points with a value.
    pub values: usize,
    /// Whether it was searched: it has at least [`MIN_VALUES`] points with a value.
    pub searched: bool,
}

/// A change of the level of a series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Index of the first point with the new level, in [`Series::points`].
    pub point: usize,
    /// Index after the last point with the new level.
    pub end: usize,
    /// Index of the first point with the old level.
    pub start: usize,
    /// Median of the points with the old level.
    pub before: f64,
    /// Median of the points with the new level.
    pub after: f64,
    /// p-value of the search, to be compared with [`History::level`].
    pub p: f64,
    pub support: Support,
    /// The number of points after the alarm and before the next change.
    pub added: usize,
}

impl Change {
    /// The change as a share of the old level; `None` unless both levels are finite and the old one is above zero.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        let share = (self.after - self.before) / self.before;
        (self.before > 0.0 && share.is_finite()).then_some(share)
    }

    /// `better`, `worse`, or `differs` for a metric without a better direction.
    #[must_use]
    pub fn verdict(&self, metric: &Metric) -> &'static str {
        match (metric.direction(), self.after > self.before) {
            (Better::Neither, _) => "differs",
            (Better::Lower, true) | (Better::Higher, false) => "worse",
            (Better::Lower, false) | (Better::Higher, true) => "better",
        }
    }
}

/// The parts of a series: a new one begins where the settings change, and unless `across_hosts` where the host changes.
fn parts(points: &[Point], across_hosts: bool) -> Vec<Part> {
    let is_start = |point: &Point| point.settings_changed || point.host_changed && !across_hosts;
    let starts: Vec<usize> = (0..points.len()).filter(|at| *at == 0 || is_start(&points[*at])).collect();
    let ends = starts.iter().skip(1).copied().chain([points.len()]);
    let part = |(from, to): (usize, usize)| {
        let values = points[from..to].iter().filter(|point| point.value().is_some()).count();
        Part { from, to, values, searched: values >= MIN_VALUES }
    };
    starts.iter().copied().zip(ends).map(part).collect()
}

/// Searches the parts of all series for changes, and returns the level of each search.
fn search(series: &mut [Series]) -> f64 {
    use rayon::prelude::*;
    let searches = series.iter().flat_map(|series| &series.parts).filter(|part| part.searched).count();
    let level = ALPHA / searches.max(1) as f64;
    series.par_iter_mut().for_each(|series| {
        let found = series.parts.iter().filter(|part| part.searched);
        series.changes = found.flat_map(|part| changes(&series.points, *part, level)).collect();
    });
    level
}

/// The changes within a part. Points without a value are left out of the search.
fn changes(points: &[Point], part: Part, level: f64) -> Vec<Change> {
    let with: Vec<(usize, f64)> = (part.from..part.to).filter_map(|at| Some((at, points[at].value()?))).collect();
    let values: Vec<f64> = with.iter().map(|(_, value)| *value).collect();
    let found = change_point::search(&values, level, SEED);
    let start_of = |n: usize| n.checked_sub(1).and_then(|n| found.get(n)).map_or(part.from, |last| with[last.at].0);
    let next = |n: usize| found.get(n + 1).map_or(values.len(), |next| next.at);
    let change = |(n, point): (usize, &ChangePoint)| Change {
        point: with[point.at].0,
        end: found.get(n + 1).map_or(part.to, |next| with[next.at].0),
        start: start_of(n),
        before: point.before,
        after: point.after,
        p: point.p,
        support: point.support,
        added: next(n) - point.alarm,
    };
    found.iter().enumerate().map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(host_changed: bool, settings_changed: bool, median: Option<f64>) -> Point {
        Point { run: 0, n: 6, missing: 0, median, censored: false, interval: None, host_changed, settings_changed }
    }

    #[test]
    fn parts_end_where_host_or_settings_change() {
        let mut points = vec![point(false, false, Some(1.0)); 40];
        points[16].host_changed = true;
        points[20].settings_changed = true;
        points[39].median = None;
        let found =
            |across| parts(&points, across).iter().map(|p| (p.from, p.to, p.values, p.searched)).collect::<Vec<_>>();
        assert_eq!(found(false), [(0, 16, 16, true), (16, 20, 4, false), (20, 40, 19, true)]);
        assert_eq!(found(true), [(0, 20, 20, true), (20, 40, 19, true)]);
    }

    #[test]
    fn points_without_a_value_do_not_shift_a_change() {
        let mut points: Vec<Point> =
            (0..40).map(|n| point(false, false, Some(f64::from(n % 3) + if n < 21 { 100.0 } else { 200.0 }))).collect();
        points[3].median = None;
        points[30].median = None;
        points[35] = Point { censored: true, median: None, ..points[35].clone() };
        let part = parts(&points, false)[0];
        let found = changes(&points, part, ALPHA);
        assert_eq!(
            found.iter().map(|change| (change.start, change.point, change.end)).collect::<Vec<_>>(),
            [(0, 21, 40)]
        );
        assert!((found[0].share().unwrap() - 1.0).abs() < 0.01 && found[0].support == Support::Confirmed, "{found:?}");
    }
}
