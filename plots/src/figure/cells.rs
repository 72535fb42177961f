//! From a place in a figure to the cells that it shows, and to what was measured in them.

use std::collections::BTreeMap;

use microbench_formats::axis::{Axis, Level};
use microbench_formats::cell::Cell;
use microbench_formats::figure::{Figure, FigureForm, Theme};
use microbench_formats::host::HostKind;
use microbench_formats::metric::Metric;
use microbench_formats::plan::Plan;
use microbench_formats::selection::Selection;
use microbench_formats::statistic::Statistic;

use super::description::Data;
use crate::Error;
use crate::samples::Status;
use crate::stats::contrast::{Contrast, Kind, Stratum};
use crate::stats::mean::mean;
use crate::stats::quantile::smallest_n;
use crate::summary::{LEVEL, Row};

/// One place: its words, its colour, its cells.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) panel: usize,
    pub(crate) tick: usize,
    pub(crate) slot: usize,
    pub(crate) group: usize,
    pub(crate) label: String,
    pub(crate) cells: Vec<&'a Cell>,
}

/// Where everything of a figure stands.
#[derive(Clone, Debug)]
pub(crate) struct Places<'a> {
    pub(crate) panels: Vec<String>,
    pub(crate) ticks: Vec<String>,
    pub(crate) slots: usize,
    /// Names of the groups; one without a name when there are none.
    pub(crate) groups: Vec<String>,
    pub(crate) all: Vec<Place<'a>>,
}

pub(super) fn error(figure: &Figure, problem: impl Into<String>) -> Error {
    Error::Figure { name: figure.name.clone(), problem: problem.into() }
}

/// Name of the figure's files: where each of several metrics makes a figure of its own, the metric's is in it.
pub(super) fn name(figure: &Figure, metric: &Metric) -> String {
    if figure.metrics.len() > 1 { format!("{}-{}", figure.name, metric.name) } else { figure.name.clone() }
}

/// The metric of this name.
pub(crate) fn metric<'a>(plan: &'a Plan, figure: &Figure, name: &str) -> Result<&'a Metric, Error> {
    let found = plan.metrics.iter().find(|metric| metric.name == name);
    found.ok_or_else(|| error(figure, format!("there is no metric `{name}`")))
}

/// Whether `cell` is one of `selection`.
#[must_use]
pub fn selects(selection: &Selection, cell: &Cell) -> bool {
    selection.iter().all(|(axis, levels)| match axis.as_str() {
        "engine" => levels.contains(&Level::Text(cell.engine.to_string())),
        _ => cell.levels.get(axis).is_some_and(|level| levels.contains(level)),
    })
}

/// The places of a figure: those that the manifest lists, else one for each level of x, group and panel.
pub(crate) fn places<'a>(plan: &'a Plan, figure: &Figure) -> Result<Places<'a>, Error> {
    if figure.bars.is_empty() { by_axes(plan, figure) } else { Ok(listed(plan, figure)) }
}

fn listed<'a>(plan: &'a Plan, figure: &Figure) -> Places<'a> {
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

fn by_axes<'a>(plan: &'a Plan, figure: &Figure) -> Result<Places<'a>, Error> {
    let axis = |name: &str| -> Result<Axis, Error> {
        let found = plan.axes.iter().find(|axis| axis.name == name);
        let found = found.ok_or_else(|| error(figure, format!("there is no axis `{name}`")))?;
        Ok(selected_levels(plan, figure, found))
    };
    let x = axis(&figure.x)?;
    let groups = figure.groups.as_deref().map(axis).transpose()?;
    let panels = figure.panels.as_deref().map(axis).transpose()?;
    let (groups, panels) = (groups.as_ref(), panels.as_ref());
    let mut all = Vec::new();
    for (panel, at_panel) in levels_of(panels).iter().enumerate() {
        for (tick, at_x) in x.levels.iter().enumerate() {
            for (group, at_group) in levels_of(groups).iter().enumerate() {
                let mut wanted: Vec<(&str, &Level)> = vec![(&x.name, at_x)];
                wanted.extend(groups.map(|axis| (axis.name.as_str(), at_group)));
                wanted.extend(panels.map(|axis| (axis.name.as_str(), at_panel)));
                let fits = |cell: &&Cell| {
                    selects(&figure.only, cell)
                        && wanted.iter().all(|(name, level)| cell.levels.get(name) == Some(level))
                };
                let mut label = tick_label(plan, &x.name, at_x);
                if let Some(axis) = groups {
                    label = format!("{label}, {}", named(plan, &axis.name, at_group));
                }
                let cells = plan.cells.iter().find(fits).into_iter().collect();
                all.push(Place { panel, tick, slot: group, group, label, cells });
            }
        }
    }
    let names = |axis: Option<&Axis>| -> Vec<String> {
        levels_of(axis).iter().map(|level| axis.map_or(String::new(), |a| named(plan, &a.name, level))).collect()
    };
    Ok(Places {
        panels: names(panels),
        ticks: x.levels.iter().map(|level| tick_label(plan, &x.name, level)).collect(),
        slots: levels_of(groups).len(),
        groups: names(groups),
        all,
    })
}

/// The axis with the levels that the figure selects: a level that it leaves out has no place on the chart.
fn selected_levels(plan: &Plan, figure: &Figure, axis: &Axis) -> Axis {
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

/// The levels of an axis; one empty level without an axis.
fn levels_of(axis: Option<&Axis>) -> Vec<Level> {
    axis.map_or(vec![Level::Text(String::new())], |axis| axis.levels.clone())
}

/// A tick's words: a variant's label, else the level.
pub(super) fn tick_label(plan: &Plan, axis: &str, level: &Level) -> String {
    let variant =
        || plan.cells.iter().find(|cell| cell.variant == level.to_string()).map(|cell| cell.label.to_string());
    (axis == "variant").then(variant).flatten().unwrap_or_else(|| level.to_string())
}

/// A legend's or a panel's words.
pub(crate) fn named(plan: &Plan, axis: &str, level: &Level) -> String {
    match (axis, level) {
        ("variant", _) => tick_label(plan, axis, level),
        ("concurrency", Level::Int(1)) => "1 VM".to_owned(),
        ("concurrency", _) => format!("{level} VMs at once"),
        ("rootfs", _) => format!("root file system {level}"),
        ("memory_mib", _) => format!("guest of {level} MiB"),
        _ => format!("{} {level}", axis.replace('_', " ")),
    }
}

/// A place's words with those of its panel.
pub(super) fn whole_label(places: &Places<'_>, place: &Place<'_>) -> String {
    match places.panels.get(place.panel).filter(|panel| !panel.is_empty()) {
        Some(panel) => format!("{}, {panel}", place.label),
        None => place.label.clone(),
    }
}

/// The levels of an axis that the figure selects, in the order of the plan; none for an unknown axis.
pub(super) fn levels(plan: &Plan, figure: &Figure, axis: &str) -> Vec<Level> {
    let axis = plan.axes.iter().find(|known| known.name == axis);
    axis.map_or_else(Vec::new, |axis| selected_levels(plan, figure, axis).levels)
}

/// What an axis is, as a label of it.
pub(super) fn axis_words(axis: &str) -> String {
    match axis {
        "concurrency" => "VMs at once".to_owned(),
        "memory_mib" => "Memory of a guest (MiB)".to_owned(),
        "vcpus" => "CPUs of a guest".to_owned(),
        "rootfs" => "Root file system".to_owned(),
        "variant" => "Variant".to_owned(),
        other => {
            let mut words = other.replace('_', " ");
            if let Some(first) = words.get_mut(0..1) {
                first.make_ascii_uppercase();
            }
            words
        }
    }
}

/// The label of a figure's x axis; none where its ticks are variants, or what a list of bars says, or as the paper drew it.
pub(super) fn x_label(figure: &Figure) -> String {
    let plain = figure.x == "variant" || !figure.bars.is_empty() || figure.theme == Theme::Paper;
    if plain { String::new() } else { axis_words(&figure.x) }
}

/// An axis' label, which says when it is logarithmic.
pub(super) fn scaled(label: &str, log: bool) -> String {
    if log { format!("{label} (log scale)") } else { label.to_owned() }
}

/// What places have in common.
enum Side {
    Panel,
    Group,
    Tick,
}

/// The sentence on marked places, of which `notes` are what is said of each; empty for none. What is the same for all of a panel, a
/// group or a tick is said once.
pub(super) fn marked(places: &Places<'_>, notes: &[String]) -> String {
    let mut open: Vec<usize> = (0..notes.len()).filter(|place| !notes[*place].is_empty()).collect();
    let mut said = Vec::new();
    for side in [Side::Panel, Side::Group, Side::Tick] {
        let (names, of): (&[String], fn(&Place<'_>) -> usize) = match side {
            Side::Panel => (&places.panels, |place| place.panel),
            Side::Group => (&places.groups, |place| place.group),
            Side::Tick => (&places.ticks, |place| place.tick),
        };
        for (n, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let all: Vec<usize> = (0..notes.len()).filter(|place| of(&places.all[*place]) == n).collect();
            let same = all.iter().all(|place| open.contains(place) && notes[*place] == notes[all[0]]);
            if all.len() > 1 && same {
                said.push(format!("{name}: {}", notes[all[0]]));
                open.retain(|place| !all.contains(place));
            }
        }
    }
    said.extend(open.into_iter().map(|place| format!("{}: {}", whole_label(places, &places.all[place]), notes[place])));
    if said.is_empty() { String::new() } else { format!(" Marked in red: {}.", said.join("; ")) }
}

/// Why a value is not drawn on a logarithmic axis.
pub(super) const NOT_ON_LOG: &str = "not above 0";

/// The rows of a place's cells for one metric.
pub(crate) fn rows<'a>(data: Data<'a>, place: &Place<'_>, metric: &Metric) -> Vec<&'a Row> {
    let of = |cell: &&Cell| data.rows.iter().find(|row| row.cell == cell.id && row.metric == metric.name);
    place.cells.iter().filter_map(of).collect()
}

/// What one place's bar shows: several cells with equal weight.
#[derive(Clone, Debug, Default)]
pub(crate) struct Value {
    pub(crate) height: Option<f64>,
    pub(crate) interval: Option<(f64, f64)>,
    pub(crate) points: Vec<f64>,
}

/// A median's interval is that of order statistics, and one cell's only; a mean's is [`Contrast`]'s, with each cell resampled by
/// itself. `seed` is the study's.
pub(crate) fn value(rows: &[&Row], statistic: Statistic, seed: u64) -> Value {
    let with: Vec<&&Row> = rows.iter().filter(|row| row.n() > 0).collect();
    let heights: Vec<f64> = with.iter().filter_map(|row| row.statistic(statistic)).collect();
    let interval = match (with.as_slice(), statistic) {
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

/// Words in place of a bar of a quantile of which there are too few trials.
pub(super) fn too_few(rows: &[&Row], statistic: Statistic) -> Option<String> {
    let least = statistic.share().filter(|share| *share > 0.5).and_then(|share| smallest_n(share, LEVEL))?;
    let most = rows.iter().map(|row| row.n()).max()?;
    (most > 0 && most < least).then(|| format!("n too small ({most} of {least})"))
}

/// What is missing at a place, in a few words; empty for nothing.
pub(crate) fn note(rows: &[&Row]) -> String {
    if rows.is_empty() {
        return "excluded".to_owned();
    }
    let planned: usize = rows.iter().map(|row| row.planned()).sum();
    let measured: usize = rows.iter().map(|row| row.vms).sum();
    let mut missing: BTreeMap<Status, usize> = BTreeMap::new();
    for (status, (count, _)) in rows.iter().flat_map(|row| &row.missing) {
        *missing.entry(*status).or_default() += count;
    }
    let here = |row: &&Row| {
        let missing = row.missing.get(&Status::NotApplicable);
        missing.is_some_and(|(_, reason)| reason.starts_with(Status::NotApplicable.text()))
    };
    // A VMM may refuse what another host has; a guest without a kernel never tells of one.
    let not_applicable = if rows.iter().any(here) { "n/a here" } else { "n/a" };
    let words = missing.into_iter().filter_map(|(status, count)| match status {
        Status::Ok => None,
        Status::Failed => Some(format!("{count}/{planned} failed")),
        Status::Censored => Some(format!("{count}/{planned} censored")),
        Status::Invalid => Some(format!("{count}/{planned} invalid")),
        // Some cells of several: the caption names them.
        Status::NotApplicable | Status::NotAvailable if measured > 0 => None,
        Status::NotApplicable => Some(not_applicable.to_owned()),
        Status::NotAvailable => Some("not available".to_owned()),
        Status::NotRun if measured > 0 => Some(format!("{count}/{planned} not run")),
        Status::NotRun => Some("not run".to_owned()),
        Status::BeyondLimit => Some("beyond the limit".to_owned()),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// What is missing of the metric that misses most at a place.
pub(super) fn most_missing(data: Data<'_>, metrics: &[&Metric], place: &Place<'_>) -> String {
    let missing = |rows: &Vec<&Row>| rows.iter().map(|row| row.planned() - row.vms).sum::<usize>();
    let most = metrics.iter().map(|metric| rows(data, place, metric)).max_by_key(missing);
    most.map_or_else(String::new, |rows| note(&rows))
}

/// Published means stand beside bars; no other form has a place for them, and the theme of the paper draws what it drew.
pub(super) fn shows_reference(figure: &Figure) -> bool {
    let beside = figure.reference && figure.theme != Theme::Paper;
    beside && matches!(figure.form, FigureForm::Bars | FigureForm::GroupedBars | FigureForm::OverlaidBars)
}

/// The published value that a place's cells correspond to.
pub(super) fn reference(plan: &Plan, place: &Place<'_>, metric: &Metric) -> Option<f64> {
    let values = &plan.reference.as_ref()?.values;
    let fits = |of: &Selection| !place.cells.is_empty() && place.cells.iter().all(|cell| selects(of, cell));
    values.iter().find(|value| value.metric == metric.name && fits(&value.of)).map(|value| value.value)
}

/// The unit in parentheses after an axis' label.
pub(super) fn unit(metric: &Metric, host: Option<HostKind>) -> String {
    let clock = match host {
        Some(HostKind::Emulated) if ["ms", "MB/s", "1/s"].contains(&metric.unit.as_str()) => ", virtual time",
        _ => "",
    };
    match metric.unit.as_str() {
        "1" => String::new(),
        unit => format!(" ({unit}{clock})"),
    }
}

/// Every place's rows for every metric.
fn all_rows<'a>(data: Data<'a>, metrics: &[&Metric], places: &Places<'_>) -> Vec<Vec<&'a Row>> {
    metrics.iter().flat_map(|metric| places.all.iter().map(|place| rows(data, place, metric))).collect()
}

/// The sentences on n, on pooled places, on definitions and on the host.
pub(super) fn remarks(data: Data<'_>, figure: &Figure, metrics: &[&Metric], places: &Places<'_>) -> String {
    let all = all_rows(data, metrics, places);
    let ns: Vec<usize> = all.iter().map(|rows| rows.iter().map(|row| row.n()).sum()).collect();
    let mut sentences = vec![count(&ns)];
    sentences.extend(context(data, figure, metrics, places));
    sentences.join(" ")
}

/// The sentence on the trials of each place; none behind a place is not counted.
pub(super) fn count(ns: &[usize]) -> String {
    let some = || ns.iter().filter(|n| **n > 0);
    match (some().min(), some().max()) {
        (Some(low), Some(high)) if low == high => format!("n = {low} {} each.", plural(*low, "trial")),
        (Some(low), Some(high)) => format!("n = {low} to {high} trials each."),
        _ => "Nothing was measured.".to_owned(),
    }
}

/// The sentences on pooled places, on definitions, on the host and on published values.
pub(super) fn context(data: Data<'_>, figure: &Figure, metrics: &[&Metric], places: &Places<'_>) -> Vec<String> {
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
        sentences.push(format!("Means of several cells, as far as they were measured: {}.", pooled.join("; ")));
    }
    for metric in metrics {
        // Code's own marks are for a terminal.
        let definition = metric.definition.trim_end_matches('.').replace('`', "");
        sentences.push(format!("{}: {definition}.", metric.label));
    }
    let host = all.iter().flatten().find_map(|row| row.host);
    sentences.extend(host.map(|host| format!("Host: {}.", host.note())));
    if shows_reference(figure)
        && let Some(reference) = &data.plan.reference
    {
        let clock = if host == Some(HostKind::Emulated) { "; wall time, on other hardware" } else { "" };
        if metrics.iter().any(|metric| reference.values.iter().any(|value| value.metric == metric.name)) {
            sentences.push(format!("Outlined: published values{clock} ({}).", reference.citation));
        }
        for (metric, reason) in
            metrics.iter().filter_map(|metric| Some((metric, reference.left_out.get(&metric.name)?)))
        {
            sentences.push(format!("No published values beside {}: they are {reason}.", metric.label));
        }
    }
    sentences
}

pub(super) fn plural(n: usize, word: &str) -> String {
    if n == 1 { word.to_owned() } else { format!("{word}s") }
}
