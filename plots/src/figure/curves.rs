//! Lines over an axis of numbers, for example the number of VMs: the statistic at each level, its interval as a band,
//! and the knee.

use microbench_formats::axis::Level;
use microbench_formats::figure::{Figure, FigureForm, Scaling, Theme};
use microbench_formats::metric::Metric;
use microbench_formats::plan::Plan;
use microbench_formats::statistic::Statistic;

use super::cells::{self, Place, Places};
use super::description::{Chart, Data, Description, LegendEntry, LegendKey};
use crate::Error;
use crate::stats::knee::{MIN_POINTS, chord, kneedle};
use crate::summary::Row;

/// Lines in one or more panels with common axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Curves {
    pub x_label: String,
    /// Label of the y axis, with the unit.
    pub y_label: String,
    /// Whether the x axis is logarithmic.
    pub x_log: bool,
    /// Whether the y axis is logarithmic; a linear axis starts at zero.
    pub y_log: bool,
    /// The levels of the x axis, ascending.
    pub levels: Vec<f64>,
    /// Indices of groups without any value, all for the same reason; the legend contains it.
    pub absent: Vec<usize>,
    /// From left to right.
    pub panels: Vec<Panel>,
}

/// One coordinate system.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Heading; empty for a single panel.
    pub title: String,
    pub curves: Vec<Curve>,
}

/// The line of one group.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Index of colour, dashes and marker.
    pub group: usize,
    /// One point for each level of x, ascending.
    pub places: Vec<CurvePoint>,
    /// The knee; `None` if the figure's form is not `scaling`.
    pub knee: Option<Knee>,
}

/// The measured values at one level of x.
#[derive(Clone, Debug, PartialEq)]
pub struct CurvePoint {
    pub x: f64,
    /// The statistic; `None` interrupts the line.
    pub value: Option<f64>,
    /// 95 % interval; `None` if there are too few trials.
    pub interval: Option<(f64, f64)>,
    /// The value of each trial.
    pub points: Vec<f64>,
    /// What is missing; empty if nothing is missing.
    pub note: String,
}

/// Whether a line has a knee.
#[derive(Clone, Debug, PartialEq)]
pub enum Knee {
    /// The knee is at level `x`.
    At {
        x: f64,
        /// The statistic at the knee.
        value: f64,
    },
    /// The line has no knee, or too few points to find one; the reason in short.
    None(String),
}

/// Describes one figure for each metric.
///
/// # Errors
/// If the figure names an axis or a metric that the plan does not have, or if a level of x is not a number.
pub(super) fn describe(data: Data<'_>, figure: &Figure) -> Result<Vec<Description>, Error> {
    let places = cells::places(data.plan, figure)?;
    let levels = numeric_levels(data.plan, figure)?;
    let described = |name: &String| {
        Ok(describe_metric(data, figure, cells::find_metric(data.plan, figure, name)?, &places, &levels))
    };
    figure.metrics.iter().map(described).collect()
}

/// The levels of the x axis, in the order of the plan.
fn numeric_levels(plan: &Plan, figure: &Figure) -> Result<Vec<f64>, Error> {
    let levels = cells::selected_levels(plan, figure, &figure.x);
    let number = |level: &Level| match level {
        Level::Int(value) => Ok(*value as f64),
        Level::Float(value) => Ok(*value),
        _ => Err(cells::figure_error(figure, format!("level `{level}` of axis `{}` is not a number", figure.x))),
    };
    levels.iter().map(number).collect()
}

fn describe_metric(
    data: Data<'_>,
    figure: &Figure,
    metric: &Metric,
    places: &Places<'_>,
    levels: &[f64],
) -> Description {
    let mut panels: Vec<Panel> = (places.panels.iter())
        .map(|title| Panel {
            title: title.clone(),
            curves: (0..places.groups.len()).map(|group| Curve { group, places: Vec::new(), knee: None }).collect(),
        })
        .collect();
    let mut host = None;
    let (mut notes, mut all_rows) = (Vec::new(), Vec::new());
    for place in &places.all {
        let rows = cells::rows(data, place, metric);
        host = host.or_else(|| rows.iter().find_map(|row| row.host));
        all_rows.extend(rows);
        let at = curve_point(data, figure, metric, place, levels[place.tick]);
        notes.push(at.note.clone());
        panels[place.panel].curves[place.group].places.push(at);
    }
    for curve in panels.iter_mut().flat_map(|panel| &mut panel.curves) {
        curve.places.sort_by(|a, b| a.x.total_cmp(&b.x));
        if figure.form == FigureForm::Scaling {
            curve.knee = Some(knee(&curve.places));
        }
    }
    let knees = if figure.form == FigureForm::Scaling { knee_sentence(&panels, &places.groups) } else { String::new() };
    let absent: Vec<(usize, String)> = (0..places.groups.len())
        .filter(|group| !places.groups[*group].is_empty())
        .filter_map(|group| Some((group, reason_without_values(&panels, group)?)))
        .collect();
    let entry = |(group, label): (usize, &String)| match absent.iter().find(|(known, _)| *known == group) {
        Some((_, why)) => LegendEntry { label: format!("{label}: {why}"), key: LegendKey::Missing },
        None => LegendEntry { label: label.clone(), key: LegendKey::Curve(group) },
    };
    let legend = places.groups.iter().enumerate().filter(|(_, label)| !label.is_empty()).map(entry).collect();
    let (x_log, y_log) = (figure.x_scale == Scaling::Log, figure.y_scale == Scaling::Log);
    let y_label = match figure.y_label.as_str() {
        "" => format!("{}{}", metric.label, cells::unit_suffix(metric, host)),
        label => label.to_owned(),
    };
    let mut ascending = levels.to_vec();
    ascending.sort_by(f64::total_cmp);
    Description {
        name: cells::file_name(figure, metric),
        title: figure.title.clone(),
        theme: figure.theme,
        column: figure.column,
        legend,
        caption: format!(
            "{}{}{knees} {}",
            line_sentence(figure, &panels, &all_rows, data.rows.iter().any(Row::is_repeated)),
            cells::notes_sentence(places, &notes),
            cells::closing_sentences(data, figure, &[metric], places)
        ),
        chart: Chart::Curves(Curves {
            x_label: cells::with_scale(&cells::axis_label(&figure.x), x_log),
            y_label: cells::with_scale(&y_label, y_log),
            x_log,
            y_log,
            levels: ascending,
            absent: absent.into_iter().map(|(group, _)| group).collect(),
            panels,
        }),
    }
}

/// Why a group has no value at any level; `None` if it has a value, or if the reasons differ.
fn reason_without_values(panels: &[Panel], group: usize) -> Option<String> {
    let mut places = panels.iter().flat_map(|panel| &panel.curves[group].places);
    let first = places.clone().next()?.note.clone();
    places.all(|at| at.value.is_none() && at.note == first).then_some(first)
}

fn curve_point(data: Data<'_>, figure: &Figure, metric: &Metric, place: &Place<'_>, x: f64) -> CurvePoint {
    let rows = cells::rows(data, place, metric);
    let note = cells::too_few_trials(&rows, figure.statistic).unwrap_or_else(|| cells::missing_note(&rows));
    let value = cells::value(&rows, figure.statistic, data.plan.seed);
    let lowest = value.points.iter().copied().chain(value.height).fold(f64::INFINITY, f64::min);
    if figure.y_scale == Scaling::Log && lowest <= 0.0 {
        return CurvePoint { x, value: None, interval: None, points: Vec::new(), note: cells::NOT_ON_LOG.to_owned() };
    }
    let bare = figure.theme == Theme::Paper;
    CurvePoint {
        x,
        value: value.height,
        interval: value.interval,
        points: if bare || value.height.is_none() { Vec::new() } else { value.points },
        note,
    }
}

/// The knee that Kneedle finds, if the straight line between the ends of the curve is outside the interval at the knee.
/// Otherwise the knee could be noise.
fn knee(places: &[CurvePoint]) -> Knee {
    let with: Vec<(&CurvePoint, f64)> = places.iter().filter_map(|at| Some((at, at.value?))).collect();
    if with.len() < MIN_POINTS {
        return Knee::None(format!("{} of {MIN_POINTS} required points", with.len()));
    }
    let points: Vec<(f64, f64)> = with.iter().map(|(at, value)| (at.x, *value)).collect();
    let Some(found) = kneedle(&points) else { return Knee::None("no knee".to_owned()) };
    let (at, value) = with[found];
    match (at.interval, chord(&points, at.x)) {
        (None, _) => Knee::None("no interval, so a knee could be noise".to_owned()),
        (Some((low, high)), Some(straight)) if straight < low || straight > high => Knee::At { x: at.x, value },
        _ => Knee::None("no knee outside the interval".to_owned()),
    }
}

/// The sentence of the caption that lists the knees.
fn knee_sentence(panels: &[Panel], groups: &[String]) -> String {
    let knee_of = |panel: &Panel, curve: &Curve| {
        let names = [groups[curve.group].as_str(), panel.title.as_str()];
        let line = names.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(", ");
        let line = if line.is_empty() { String::new() } else { format!("{line}: ") };
        match &curve.knee {
            Some(Knee::At { x, .. }) => format!("{line}at {x}"),
            Some(Knee::None(why)) => format!("{line}{why}"),
            None => String::new(),
        }
    };
    let all: Vec<String> = panels
        .iter()
        .flat_map(|panel| panel.curves.iter().map(|curve| knee_of(panel, curve)).collect::<Vec<_>>())
        .collect();
    format!(
        " Knees by Kneedle (Satopaa et al. 2011, S = 1, linear axes, no smoothing; a knee counts if the straight line \
         between the ends of the curve is outside the interval at the knee): {}.",
        all.join("; ")
    )
}

/// The sentence of the caption that defines lines, bands and points.
fn line_sentence(figure: &Figure, panels: &[Panel], rows: &[&Row], repeated: bool) -> String {
    let statistic = figure.statistic.label();
    let places = || panels.iter().flat_map(|panel| &panel.curves).flat_map(|curve| &curve.places);
    let band = match figure.statistic {
        _ if figure.theme == Theme::Paper => "neither intervals nor single trials are drawn",
        _ if !places().any(|at| at.interval.is_some()) => {
            cells::no_interval_sentence(figure.statistic, rows.iter().copied())
        }
        Statistic::Median if repeated => "bands: 95 % t interval over repetitions of their medians",
        Statistic::Mean if repeated => "bands: 95 % t interval over repetitions of their means",
        Statistic::Mean => "bands: 95 % interval of the mean (BCa bootstrap, from 100 trials on)",
        _ => "bands: 95 % order-statistic interval",
    };
    let points = if figure.theme == Theme::Paper { "" } else { "; small points: single trials" };
    format!(
        "Lines: {statistic} {}, with straight lines between measured levels; {band}{points}.",
        cells::over(figure.statistic)
    )
}
