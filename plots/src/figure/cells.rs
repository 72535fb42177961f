//! Maps each place in a figure to cells of the plan and to their summary rows, and writes the common sentences of
//! captions.

use std::collections::BTreeMap;

use microbench_formats::axis::{Axis, Level};
use microbench_formats::cell::Cell;
use microbench_formats::figure::{Figure, FigureForm, Theme};
use microbench_formats::host::HostKind;
use microbench_formats::metric::Metric;
use microbench_formats::plan::Plan;
use microbench_formats::selection::{Selection, selects};
use microbench_formats::statistic::Statistic;

use super::description::Data;
use crate::Error;
use crate::definition::definition;
use crate::host_cpu;
use crate::samples::Status;
use crate::stats::contrast::{Contrast, Kind, Stratum};
use crate::stats::mean::mean;
use crate::summary::{LEVEL, Row};

/// A place in a figure: its position, its label and its cells. A place of several cells shows their mean.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) panel: usize,
    pub(crate) tick: usize,
    pub(crate) slot: usize,
    pub(crate) group: usize,
    pub(crate) label: String,
    pub(crate) cells: Vec<&'a Cell>,
}

/// All places of a figure.
#[derive(Clone, Debug)]
pub(crate) struct Places<'a> {
    pub(crate) panels: Vec<String>,
    pub(crate) ticks: Vec<String>,
    pub(crate) slots: usize,
    /// Names of the groups; one empty name if the figure has no groups.
    pub(crate) groups: Vec<String>,
    pub(crate) all: Vec<Place<'a>>,
}

pub(super) fn figure_error(figure: &Figure, problem: impl Into<String>) -> Error {
    Error::Figure { name: figure.name.clone(), problem: problem.into() }
}

/// File name of a figure. It contains the metric's name if the figure has several metrics, each drawn separately.
pub(super) fn file_name(figure: &Figure, metric: &Metric) -> String {
    if figure.metrics.len() > 1 { format!("{}-{}", figure.name, metric.name) } else { figure.name.clone() }
}

pub(crate) fn find_metric<'a>(plan: &'a Plan, figure: &Figure, name: &str) -> Result<&'a Metric, Error> {
    let found = plan.metrics.iter().find(|metric| metric.name == name);
    found.ok_or_else(|| figure_error(figure, format!("the study has no metric `{name}`")))
}

/// The places that the manifest lists as `bars`, or else one place for each level of x, group and panel.
pub(crate) fn places<'a>(plan: &'a Plan, figure: &Figure) -> Result<Places<'a>, Error> {
    if figure.bars.is_empty() { places_by_axes(plan, figure) } else { Ok(listed_places(plan, figure)) }
}

fn listed_places<'a>(plan: &'a Plan, figure: &Figure) -> Places<'a> {
    let mut groups: Vec<String> = Vec::new();
    let all = (figure.bars.iter().enumerate())
        .map(|(tick, bar)| {
            let group = groups.iter().position(|name| *name == bar.group).unwrap_or_else(|| {
                groups.push(bar.group.clone());
                groups.len() - 1
            });
            let cells =
                plan.cells.iter().filter(|cell| selects(&bar.of, cell) && selects(&figure.only, cell)).collect();
            Place { panel: 0, tick, slot: 0, group, label: bar.label.clone(), cells }
        })
        .collect();
    Places {
        panels: vec![String::new()],
        ticks: figure.bars.iter().map(|bar| bar.label.clone()).collect(),
        slots: 1,
        groups,
        all,
    }
}

fn places_by_axes<'a>(plan: &'a Plan, figure: &Figure) -> Result<Places<'a>, Error> {
    let axis = |name: &str| -> Result<Axis, Error> {
        let found = plan.axes.iter().find(|axis| axis.name == name);
        let found = found.ok_or_else(|| figure_error(figure, format!("the study has no axis `{name}`")))?;
        Ok(axis_with_selected_levels(plan, figure, found))
    };
    let x = axis(&figure.x)?;
    let groups = figure.groups.as_deref().map(axis).transpose()?;
    let panels = figure.panels.as_deref().map(axis).transpose()?;
    let (groups, panels) = (groups.as_ref(), panels.as_ref());
    let mut all = Vec::new();
    for (panel, at_panel) in levels_or_empty(panels).iter().enumerate() {
        for (tick, at_x) in x.levels.iter().enumerate() {
            for (group, at_group) in levels_or_empty(groups).iter().enumerate() {
                let mut wanted: Vec<(&str, &Level)> = vec![(&x.name, at_x)];
                wanted.extend(groups.map(|axis| (axis.name.as_str(), at_group)));
                wanted.extend(panels.map(|axis| (axis.name.as_str(), at_panel)));
                let fits = |cell: &&Cell| {
                    selects(&figure.only, cell)
                        && wanted.iter().all(|(name, level)| cell.levels.get(name) == Some(level))
                };
                let mut label = tick_label(plan, &x.name, at_x);
                if let Some(axis) = groups {
                    label = format!("{label}, {}", level_label(plan, &axis.name, at_group));
                }
                let cells = plan.cells.iter().find(fits).into_iter().collect();
                all.push(Place { panel, tick, slot: group, group, label, cells });
            }
        }
    }
    let names = |axis: Option<&Axis>| -> Vec<String> {
        levels_or_empty(axis)
            .iter()
            .map(|level| axis.map_or(String::new(), |a| level_label(plan, &a.name, level)))
            .collect()
    };
    Ok(Places {
        panels: names(panels),
        ticks: x.levels.iter().map(|level| tick_label(plan, &x.name, level)).collect(),
        slots: levels_or_empty(groups).len(),
        groups: names(groups),
        all,
    })
}

/// The axis with only the levels that the figure selects; other levels get no place in the chart.
fn axis_with_selected_levels(plan: &Plan, figure: &Figure, axis: &Axis) -> Axis {
    let of_engine = |level: &Level, engines: &[Level]| {
        let mut cells = plan.cells.iter().filter(|cell| cell.levels.get(&axis.name) == Some(level));
        cells.any(|cell| engines.contains(&Level::Text(cell.engine.to_string())))
    };
    let kept = |level: &&Level| {
        let named = figure.only.get(&axis.name).is_none_or(|levels| levels.contains(level));
        let engines = figure.only.get("engine").filter(|_| axis.name == "variant");
        named && engines.is_none_or(|engines| of_engine(level, engines))
    };
    Axis { name: axis.name.clone(), levels: axis.levels.iter().filter(kept).cloned().collect() }
}

/// The levels of an axis; one empty level if there is no axis.
fn levels_or_empty(axis: Option<&Axis>) -> Vec<Level> {
    axis.map_or(vec![Level::Text(String::new())], |axis| axis.levels.clone())
}

/// Label of a tick: a variant's label, or else the level.
pub(super) fn tick_label(plan: &Plan, axis: &str, level: &Level) -> String {
    let variant =
        || plan.cells.iter().find(|cell| cell.variant == level.to_string()).map(|cell| cell.label.to_string());
    (axis == "variant").then(variant).flatten().unwrap_or_else(|| level.to_string())
}

/// Label of a level in a legend or as a panel's heading, with the name of its axis.
pub(crate) fn level_label(plan: &Plan, axis: &str, level: &Level) -> String {
    match (axis, level) {
        ("variant", _) => tick_label(plan, axis, level),
        ("concurrency", Level::Int(1)) => "1 VM".to_owned(),
        ("concurrency", _) => format!("{level} VMs at once"),
        ("rootfs", _) => format!("root file system {level}"),
        ("memory_mib", _) => format!("{level} MiB of guest memory"),
        _ => format!("{} {level}", axis.replace('_', " ")),
    }
}

/// Label of a place, with the heading of its panel.
pub(super) fn label_with_panel(places: &Places<'_>, place: &Place<'_>) -> String {
    match places.panels.get(place.panel).filter(|panel| !panel.is_empty()) {
        Some(panel) => format!("{}, {panel}", place.label),
        None => place.label.clone(),
    }
}

/// The levels of an axis that the figure selects, in the order of the plan; empty for an unknown axis.
pub(super) fn selected_levels(plan: &Plan, figure: &Figure, axis: &str) -> Vec<Level> {
    let axis = plan.axes.iter().find(|known| known.name == axis);
    axis.map_or_else(Vec::new, |axis| axis_with_selected_levels(plan, figure, axis).levels)
}

/// Label of a chart axis for an axis of the study.
pub(super) fn axis_label(axis: &str) -> String {
    match axis {
        "concurrency" => "VMs at once".to_owned(),
        "memory_mib" => "Guest memory (MiB)".to_owned(),
        "vcpus" => "vCPUs per guest".to_owned(),
        "rootfs" => "Root file system".to_owned(),
        "variant" => "Variant".to_owned(),
        other => {
            let mut label = other.replace('_', " ");
            if let Some(first) = label.get_mut(0..1) {
                first.make_ascii_uppercase();
            }
            label
        }
    }
}

/// Label of the x axis; empty for variants, for listed bars, and for the paper's theme.
pub(super) fn x_label(figure: &Figure) -> String {
    let plain = figure.x == "variant" || !figure.bars.is_empty() || figure.theme == Theme::Paper;
    if plain { String::new() } else { axis_label(&figure.x) }
}

/// An axis label with a remark if the axis is logarithmic.
pub(super) fn with_scale(label: &str, log: bool) -> String {
    if log { format!("{label} (log scale)") } else { label.to_owned() }
}

/// What places with the same note have in common.
enum Shared {
    Panel,
    Group,
    Tick,
}

/// The sentence of the caption that lists the notes of places, which are drawn in red; empty without notes.
/// `notes` has one entry for each place. A note shared by a whole panel, group or tick is listed once.
pub(super) fn notes_sentence(places: &Places<'_>, notes: &[String]) -> String {
    let mut open: Vec<usize> = (0..notes.len()).filter(|place| !notes[*place].is_empty()).collect();
    let mut listed = Vec::new();
    for shared in [Shared::Panel, Shared::Group, Shared::Tick] {
        let (names, of): (&[String], fn(&Place<'_>) -> usize) = match shared {
            Shared::Panel => (&places.panels, |place| place.panel),
            Shared::Group => (&places.groups, |place| place.group),
            Shared::Tick => (&places.ticks, |place| place.tick),
        };
        for (n, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let all: Vec<usize> = (0..notes.len()).filter(|place| of(&places.all[*place]) == n).collect();
            let same = all.iter().all(|place| open.contains(place) && notes[*place] == notes[all[0]]);
            if all.len() > 1 && same {
                listed.push(format!("{name}: {}", notes[all[0]]));
                open.retain(|place| !all.contains(place));
            }
        }
    }
    listed.extend(
        open.into_iter().map(|place| format!("{}: {}", label_with_panel(places, &places.all[place]), notes[place])),
    );
    if listed.is_empty() { String::new() } else { format!(" Marked in red: {}.", listed.join("; ")) }
}

/// The note of a value that a logarithmic axis cannot show.
pub(super) const NOT_ON_LOG: &str = "not above 0";

/// Summary rows of the cells of a place for one metric.
pub(crate) fn rows<'a>(data: Data<'a>, place: &Place<'_>, metric: &Metric) -> Vec<&'a Row> {
    let row_of = |cell: &&Cell| data.rows.iter().find(|row| row.cell == cell.id && row.metric == metric.name);
    place.cells.iter().filter_map(row_of).collect()
}

/// The values of a place. Several cells have equal weights.
#[derive(Clone, Debug, Default)]
pub(crate) struct Value {
    /// The statistic; `None` if nothing was measured.
    pub(crate) height: Option<f64>,
    /// 95 % interval; `None` if there are too few trials.
    pub(crate) interval: Option<(f64, f64)>,
    /// The value of each trial.
    pub(crate) points: Vec<f64>,
}

/// Statistic, interval and trials of a place.
///
/// A median or quantile has an order-statistic interval if the place has one cell. A mean has the interval of
/// [`Contrast`], which resamples each cell separately; it has no value if it is
/// [withheld](Row::mean_withheld) in one of the cells. With repetitions, medians and means of one cell have the t interval
/// over repetitions, and several cells have none. `seed` is the seed of the study.
pub(crate) fn value(rows: &[&Row], statistic: Statistic, seed: u64) -> Value {
    if statistic == Statistic::Mean && rows.iter().any(|row| row.n() > 0 && row.mean_withheld().is_some()) {
        return Value::default();
    }
    let with: Vec<&&Row> = rows.iter().filter(|row| row.n() > 0).collect();
    let heights: Vec<f64> = with.iter().filter_map(|row| row.statistic(statistic)).collect();
    let interval = match (with.as_slice(), statistic) {
        ([row], Statistic::Mean) if row.is_repeated() => row.mean_interval(seed).ok().map(|i| (i.low, i.high)),
        (rows, _) if rows.len() > 1 && rows.iter().any(|row| row.is_repeated()) => None,
        (_, Statistic::Mean) => {
            let stratum = |row: &&&Row| Stratum { first: row.values(statistic), second: Vec::new() };
            let contrast = Contrast { kind: Kind::Value, statistic, strata: with.iter().map(stratum).collect() };
            contrast.interval(LEVEL, seed, 0).map(|(interval, _)| (interval.low, interval.high))
        }
        ([row], _) => row.quantile_interval(statistic).map(|i| (i.low, i.high)).filter(|(_, high)| high.is_finite()),
        _ => None,
    };
    Value { height: mean(&heights), interval, points: with.iter().flat_map(|row| row.finite(statistic)).collect() }
}

/// Whether the mean of a metric is [withheld](Row::mean_withheld) in a cell of the place.
pub(super) fn is_mean_withheld(data: Data<'_>, metrics: &[&Metric], place: &Place<'_>) -> bool {
    let mut rows = metrics.iter().flat_map(|metric| rows(data, place, metric));
    rows.any(|row| row.n() > 0 && row.mean_withheld().is_some())
}

/// What a statistic is over: `trials`, or `VMs`.
pub(super) fn unit_of(statistic: Statistic) -> &'static str {
    match statistic {
        Statistic::Median | Statistic::Mean => "trials",
        Statistic::P90 | Statistic::P95 | Statistic::P99 => "VMs",
    }
}

/// What a statistic is over, with the value of a trial: that of a percentile's points is a median.
pub(super) fn over(statistic: Statistic) -> String {
    let value = if statistic == Statistic::Mean { "mean" } else { "median" };
    let points = if unit_of(statistic) == "VMs" { "in the points " } else { "" };
    format!("over {} ({points}a trial of several VMs counts as its {value})", unit_of(statistic))
}

/// Why a caption describes no interval. `rows` are those of all places.
pub(super) fn no_interval_sentence<'a>(statistic: Statistic, rows: impl IntoIterator<Item = &'a Row>) -> &'static str {
    let is_open = |row: &Row| row.quantile_interval(statistic).is_some_and(|interval| interval.high.is_infinite());
    match statistic {
        _ if rows.into_iter().any(is_open) => "no interval: its upper end is censored",
        Statistic::Mean => "no interval: a mean has one from 100 trials on",
        Statistic::Median => "no interval: a median has one from 6 trials on, of one cell",
        Statistic::P90 | Statistic::P95 | Statistic::P99 => "no interval: too few trials",
    }
}

/// The note of a quantile with too few trials for an interval; `None` if there are enough.
pub(super) fn too_few_trials(rows: &[&Row], statistic: Statistic) -> Option<String> {
    let least = rows.iter().filter_map(|row| row.trials_for_tail(statistic)).max()?;
    let most = rows.iter().map(|row| row.trials.len()).max()?;
    (most > 0 && most < least).then(|| format!("n too small ({most} of {least})"))
}

/// What is missing at a place, in short; empty if nothing is missing.
pub(crate) fn missing_note(rows: &[&Row]) -> String {
    if rows.is_empty() {
        return "excluded".to_owned();
    }
    let planned: usize = rows.iter().map(|row| row.planned()).sum();
    let measured: usize = rows.iter().map(|row| row.vms).sum();
    let mut missing: BTreeMap<Status, usize> = BTreeMap::new();
    for (status, (count, _)) in rows.iter().flat_map(|row| &row.missing) {
        *missing.entry(*status).or_default() += count;
    }
    let unsupported_here = |row: &&Row| {
        let missing = row.missing.get(&Status::NotApplicable);
        missing.is_some_and(|(_, reason)| reason.starts_with(Status::NotApplicable.name()))
    };
    // "here": this host or VMM does not support the cell, but another may. A container never has a guest kernel.
    let not_applicable = if rows.iter().any(unsupported_here) { "n/a here" } else { "n/a" };
    let notes = missing.into_iter().filter_map(|(status, count)| match status {
        Status::Ok => None,
        Status::Failed => Some(format!("{count}/{planned} failed")),
        Status::Censored => Some(format!("{count}/{planned} censored")),
        Status::Invalid => Some(format!("{count}/{planned} invalid")),
        // Some of several cells: the caption names them.
        Status::NotApplicable | Status::NotAvailable if measured > 0 => None,
        Status::NotApplicable => Some(not_applicable.to_owned()),
        Status::NotAvailable => Some("not available".to_owned()),
        Status::NotRun if measured > 0 => Some(format!("{count}/{planned} not run")),
        Status::NotRun => Some("not run".to_owned()),
        Status::BeyondLimit => Some("beyond the limit".to_owned()),
    });
    notes.collect::<Vec<_>>().join(", ")
}

/// The note of the metric with the most missing values at a place.
pub(super) fn largest_missing_note(data: Data<'_>, metrics: &[&Metric], place: &Place<'_>) -> String {
    let missing = |rows: &Vec<&Row>| rows.iter().map(|row| row.planned() - row.vms).sum::<usize>();
    let most = metrics.iter().map(|metric| rows(data, place, metric)).max_by_key(missing);
    most.map_or_else(String::new, |rows| missing_note(&rows))
}

/// Whether published values are drawn next to the measured values: only for bars, and not in the paper's theme.
pub(super) fn shows_published_values(figure: &Figure) -> bool {
    let wanted = figure.reference && figure.theme != Theme::Paper;
    wanted && matches!(figure.form, FigureForm::Bars | FigureForm::GroupedBars | FigureForm::OverlaidBars)
}

/// The published value for the cells of a place; `None` without a published value.
pub(super) fn published_value(plan: &Plan, place: &Place<'_>, metric: &Metric) -> Option<f64> {
    let values = &plan.reference.as_ref()?.values;
    let fits = |of: &Selection| !place.cells.is_empty() && place.cells.iter().all(|cell| selects(of, cell));
    values.iter().find(|value| value.metric == metric.name && fits(&value.of)).map(|value| value.value)
}

/// The unit in parentheses, to be appended to an axis label; empty for counts.
pub(super) fn unit_suffix(metric: &Metric, host: Option<HostKind>) -> String {
    let clock = match host {
        Some(HostKind::Emulated) if ["ms", "MB/s", "1/s"].contains(&metric.unit.as_str()) => ", virtual time",
        _ => "",
    };
    match metric.unit.as_str() {
        "1" => String::new(),
        unit => format!(" ({unit}{clock})"),
    }
}

/// Summary rows of every metric at every place.
fn all_rows<'a>(data: Data<'a>, metrics: &[&Metric], places: &Places<'_>) -> Vec<Vec<&'a Row>> {
    metrics.iter().flat_map(|metric| places.all.iter().map(|place| rows(data, place, metric))).collect()
}

/// The closing sentences of a caption: n, pooled cells, definitions, host, published values.
pub(super) fn closing_sentences(data: Data<'_>, figure: &Figure, metrics: &[&Metric], places: &Places<'_>) -> String {
    let all = all_rows(data, metrics, places);
    let ns: Vec<usize> = all.iter().map(|rows| rows.iter().map(|row| row.n()).sum()).collect();
    let mut sentences = vec![trials_sentence(&ns)];
    sentences.extend(context_sentences(data, figure, metrics, places));
    sentences.join(" ")
}

/// The sentence on n. `ns` has the number of trials for each place; places without trials are ignored.
pub(super) fn trials_sentence(ns: &[usize]) -> String {
    let some = || ns.iter().filter(|n| **n > 0);
    match (some().min(), some().max()) {
        (Some(low), Some(high)) if low == high => format!("n = {low} {} each.", plural(*low, "trial")),
        (Some(low), Some(high)) => format!("n = {low} to {high} trials each."),
        _ => "No values were measured.".to_owned(),
    }
}

/// The sentences on pooled cells, definitions, the host and published values.
pub(super) fn context_sentences(
    data: Data<'_>,
    figure: &Figure,
    metrics: &[&Metric],
    places: &Places<'_>,
) -> Vec<String> {
    let mut sentences = Vec::new();
    let all = all_rows(data, metrics, places);
    let pooled: Vec<String> = (places.all.iter())
        .filter(|place| place.cells.len() > 1)
        .map(|place| {
            let cells: Vec<&str> = place.cells.iter().map(|cell| cell.id.as_str()).collect();
            format!("{}: {}", place.label, cells.join(", "))
        })
        .collect();
    if !pooled.is_empty() {
        sentences.push(format!("Pooled cells (mean of those that were measured): {}.", pooled.join("; ")));
    }
    for metric in metrics {
        // Definitions mark code with backticks, which a caption does not render.
        let definition = definition(metric).trim_end_matches('.').replace('`', "");
        sentences.push(format!("{}: {definition}.", metric.label));
    }
    let host = all.iter().flatten().find_map(|row| row.host);
    sentences.extend(host.map(|host| format!("Host: {}.", host.note())));
    sentences.extend(host_cpu::sentence(host, places.all.iter().flat_map(|place| place.cells.iter().copied())));
    if shows_published_values(figure)
        && let Some(reference) = &data.plan.reference
    {
        let clock = if host == Some(HostKind::Emulated) { "; wall time, on other hardware" } else { "" };
        if metrics.iter().any(|metric| reference.values.iter().any(|value| value.metric == metric.name)) {
            sentences.push(format!("Outlined bars: published values{clock} ({}).", reference.citation));
        }
        for (metric, reason) in
            metrics.iter().filter_map(|metric| Some((metric, reference.left_out.get(&metric.name)?)))
        {
            sentences.push(format!("No published values are shown for {}: they are {reason}.", metric.label));
        }
    }
    sentences
}

pub(super) fn plural(n: usize, word: &str) -> String {
    if n == 1 { word.to_owned() } else { format!("{word}s") }
}
