//! The figures of a history: the median of each run by date, one panel for each series, with changes of level, host and
//! settings.

use std::collections::BTreeSet;

use microbench_formats::figure::{Column, Theme};
use microbench_formats::host::HostKind;

use super::cells;
use super::description::{Chart, Description, LegendEntry, LegendKey};
use crate::definition::definition;
use crate::history::{ALPHA, Change, History, Series};
use crate::number::change_percent;
use crate::stats::change_point::Support;

/// Largest number of panels in one figure.
const MAX_PANELS: usize = 6;
/// Number of runs up to which a figure has the width of a single column.
const SINGLE_COLUMN: usize = 60;

/// Series below each other, with one x axis.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryChart {
    /// Label of the y axes, with the unit.
    pub y_label: String,
    /// Date and label of the run at each position of the x axis; the label may be empty.
    pub ticks: Vec<[String; 2]>,
    /// From top to bottom.
    pub panels: Vec<HistoryPanel>,
}

/// One series.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryPanel {
    pub title: String,
    pub points: Vec<HistoryPoint>,
    pub levels: Vec<HistoryLevel>,
    pub rules: Vec<Rule>,
}

/// The value of one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HistoryPoint {
    /// Index into [`HistoryChart::ticks`].
    pub at: usize,
    /// Median; `None` if no trial has a value, or it is censored.
    pub value: Option<f64>,
    /// 95 % interval, whose upper end may be infinite; `None` if there are too few trials.
    pub interval: Option<(f64, f64)>,
}

/// The median of the runs before or after a change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HistoryLevel {
    /// First position.
    pub from: usize,
    /// Last position.
    pub to: usize,
    pub value: f64,
}

/// A vertical line before a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Position of the run.
    pub at: usize,
    pub kind: RuleKind,
    /// Text at the top of the line; empty without a text.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleKind {
    /// A change of the level, confirmed by later runs.
    Confirmed,
    /// A change of the level that is not confirmed.
    Unconfirmed,
    /// A change of the host's fingerprint.
    Host,
    /// A change of the cell's settings, a workload or the metric's definition.
    Settings,
}

impl RuleKind {
    fn label(self) -> &'static str {
        match self {
            Self::Confirmed => "change, confirmed",
            Self::Unconfirmed => "change, not confirmed",
            Self::Host => "host changed",
            Self::Settings => "settings changed",
        }
    }
}

/// Describes the figures of a history: for each metric and kind of host one figure, or more with many cells.
#[must_use]
pub fn describe(history: &History) -> Vec<Description> {
    let group = |a: &Series, b: &Series| a.metric.name == b.metric.name && a.host == b.host;
    let mut all = Vec::new();
    for group in history.series.chunk_by(group) {
        for (n, panels) in group.chunks(MAX_PANELS).enumerate() {
            all.push(describe_panels(history, panels, n));
        }
    }
    all
}

/// The figure with the number `n`, from 0, of a metric and a kind of host.
fn describe_panels(history: &History, series: &[Series], n: usize) -> Description {
    let first = &series[0];
    let runs: BTreeSet<usize> = series.iter().flat_map(|series| &series.points).map(|point| point.run).collect();
    let runs: Vec<usize> = runs.into_iter().collect();
    let panels: Vec<HistoryPanel> = series.iter().map(|series| panel(series, &runs)).collect();
    let tick = |run: &usize| {
        let run = &history.runs[*run];
        [run.date(), run.label.as_ref().map_or_else(String::new, ToString::to_string)]
    };
    let number = if n == 0 { String::new() } else { format!("-{}", n + 1) };
    Description {
        name: format!("{}-{}{number}", first.metric.name, first.host),
        title: format!("{}: {} by run", history.study, first.metric.label),
        theme: Theme::Publication,
        column: if runs.len() > SINGLE_COLUMN { Column::Double } else { Column::Single },
        legend: legend(&panels),
        caption: caption(history, series, runs.len()),
        chart: Chart::History(HistoryChart {
            y_label: format!("{}{}", first.metric.label, cells::unit_suffix(&first.metric, Some(first.host))),
            ticks: runs.iter().map(tick).collect(),
            panels,
        }),
    }
}

fn panel(series: &Series, runs: &[usize]) -> HistoryPanel {
    let position = |point: usize| runs.binary_search(&series.points[point].run).unwrap_or(0);
    let point = |at: usize| HistoryPoint {
        at: position(at),
        value: series.points[at].median,
        interval: series.points[at].interval.map(|interval| (interval.low, interval.high)),
    };
    let level =
        |from: usize, end: usize, value: f64| HistoryLevel { from: position(from), to: position(end - 1), value };
    let mut levels: Vec<HistoryLevel> = Vec::new();
    for change in &series.changes {
        for level in [level(change.start, change.point, change.before), level(change.point, change.end, change.after)] {
            // The level after a change is the level before the next one.
            if level.value.is_finite() && !levels.contains(&level) {
                levels.push(level);
            }
        }
    }
    let cpu = series.host_cpu.as_ref().map_or_else(String::new, |cpu| format!(", CPU {cpu}"));
    let changes = series.changes.iter().map(|change| change_rule(change, position(change.point)));
    let mut rules: Vec<Rule> = changes.collect();
    for (at, point) in series.points.iter().enumerate() {
        let rule = |kind| Rule { at: position(at), kind, text: String::new() };
        rules.extend(point.host_changed.then(|| rule(RuleKind::Host)));
        rules.extend(point.settings_changed.then(|| rule(RuleKind::Settings)));
    }
    HistoryPanel {
        title: format!("{}{cpu}", series.cell),
        points: (0..series.points.len()).map(point).collect(),
        levels,
        rules,
    }
}

fn change_rule(change: &Change, at: usize) -> Rule {
    let kind = if change.support == Support::Confirmed { RuleKind::Confirmed } else { RuleKind::Unconfirmed };
    Rule { at, kind, text: change.share().map_or_else(String::new, change_percent) }
}

fn legend(panels: &[HistoryPanel]) -> Vec<LegendEntry> {
    let entry = |label: &str, key| LegendEntry { label: label.to_owned(), key };
    let points = || panels.iter().flat_map(|panel| &panel.points);
    let mut all = vec![if points().any(|point| point.interval.is_some()) {
        entry("run, with 95 % interval", LegendKey::Value)
    } else {
        entry("run", LegendKey::Value)
    }];
    if points().any(|point| point.value.is_none()) {
        all.push(entry("no value", LegendKey::Missing));
    }
    if panels.iter().any(|panel| !panel.levels.is_empty()) {
        all.push(entry("level", LegendKey::Line));
    }
    let kinds: BTreeSet<RuleKind> = panels.iter().flat_map(|panel| &panel.rules).map(|rule| rule.kind).collect();
    all.extend(kinds.into_iter().map(|kind| entry(kind.label(), LegendKey::Rule(kind))));
    all
}

fn caption(history: &History, series: &[Series], runs: usize) -> String {
    let (metric, host) = (&series[0].metric, series[0].host);
    let searched = series.iter().flat_map(|series| &series.parts).any(|part| part.searched);
    let changes = if searched {
        format!(
            "Changes: rank statistic, the whole search permuted, corrected for autocorrelation, at the level {ALPHA} \
             over all {} series of the history. Level: median of the runs before and after a change. ",
            history.series.len()
        )
    } else {
        "Too few runs to search for changes. ".to_owned()
    };
    let text = definition(metric).trim_end_matches('.').replace('`', "");
    let text = if text.is_empty() { String::new() } else { format!("{}: {text}. ", metric.label) };
    let date = if host == HostKind::Imported { "import" } else { "their first session" };
    format!(
        "Points: {} of each run, the median over its trials; bars: 95 % order-statistic interval (from 6 trials on). \
         Runs are in the order of {date}, at equal distances. {changes}n = {runs} {}. {text}Host: {}.",
        metric.label,
        cells::plural(runs, "run"),
        host.note(),
    )
}
