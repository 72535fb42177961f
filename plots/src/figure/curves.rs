//! Lines over an axis of numbers, for instance VMs at once: the statistic at each level, its interval as a band, and the knee.

use microbench_formats::axis::Level;
use microbench_formats::figure::{Figure, FigureForm, Scaling, Theme};
use microbench_formats::metric::Metric;
use microbench_formats::plan::Plan;
use microbench_formats::statistic::Statistic;

use super::cells::{self, Place, Places};
use super::description::{Chart, Data, Description, Entry, Key};
use crate::Error;
use crate::stats::knee::{LEAST_POINTS, chord, kneedle};

/// Lines in one or several coordinate systems of the same axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Curves {
    /// Label of the x axis.
    pub x_label: String,
    /// Label of the y axis, with the unit.
    pub y_label: String,
    /// Whether the x axis is logarithmic.
    pub x_log: bool,
    /// Whether the y axis is logarithmic; else it begins at zero.
    pub y_log: bool,
    /// The levels of the x axis, rising.
    pub levels: Vec<f64>,
    /// Groups without any value, for one reason; the legend says it.
    pub absent: Vec<usize>,
    /// Left to right.
    pub panels: Vec<Panel>,
}

/// One coordinate system.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Heading; empty for none.
    pub title: String,
    /// One for each group.
    pub curves: Vec<Curve>,
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Index of its colour, its dashes and its points.
    pub group: usize,
    /// One for each level of x, rising.
    pub places: Vec<At>,
    /// Where it bends; `None` when that is not asked.
    pub knee: Option<Knee>,
}

/// What was measured at one level of x.
#[derive(Clone, Debug, PartialEq)]
pub struct At {
    /// The level.
    pub x: f64,
    /// The statistic; `None` breaks the line.
    pub value: Option<f64>,
    /// Ends of its interval, where n allows one.
    pub interval: Option<(f64, f64)>,
    /// Each trial.
    pub points: Vec<f64>,
    /// What is missing; empty for nothing.
    pub note: String,
}

/// Whether a line has a knee.
#[derive(Clone, Debug, PartialEq)]
pub enum Knee {
    /// At this level.
    At {
        /// The level.
        x: f64,
        /// The statistic there.
        value: f64,
    },
    /// It has none, or none can be found; why, in a few words.
    None(String),
}

/// Describes a figure of lines: one for each metric.
///
/// # Errors
/// When it names what the plan does not have, or an axis along x that is not one of numbers.
pub(super) fn describe(data: Data<'_>, figure: &Figure) -> Result<Vec<Description>, Error> {
    let places = cells::places(data.plan, figure)?;
    let levels = numbers(data.plan, figure)?;
    let one = |name: &String| Ok(one(data, figure, cells::metric(data.plan, figure, name)?, &places, &levels));
    figure.metrics.iter().map(one).collect()
}

/// The levels of the axis along x, in its order.
fn numbers(plan: &Plan, figure: &Figure) -> Result<Vec<f64>, Error> {
    let levels = cells::levels(plan, figure, &figure.x);
    let number = |level: &Level| match level {
        Level::Int(value) => Ok(*value as f64),
        Level::Float(value) => Ok(*value),
        _ => Err(cells::error(figure, format!("`{level}` of axis `{}` is no number", figure.x))),
    };
    levels.iter().map(number).collect()
}

fn one(data: Data<'_>, figure: &Figure, metric: &Metric, places: &Places<'_>, levels: &[f64]) -> Description {
    let mut panels: Vec<Panel> = (places.panels.iter())
        .map(|title| Panel {
            title: title.clone(),
            curves: (0..places.groups.len()).map(|group| Curve { group, places: Vec::new(), knee: None }).collect(),
        })
        .collect();
    let mut host = None;
    let mut notes = Vec::new();
    for place in &places.all {
        let rows = cells::rows(data, place, metric);
        host = host.or_else(|| rows.iter().find_map(|row| row.host));
        let at = at(data, figure, metric, place, levels[place.tick]);
        notes.push(at.note.clone());
        panels[place.panel].curves[place.group].places.push(at);
    }
    for curve in panels.iter_mut().flat_map(|panel| &mut panel.curves) {
        curve.places.sort_by(|a, b| a.x.total_cmp(&b.x));
        if figure.form == FigureForm::Scaling {
            curve.knee = Some(knee(&curve.places));
        }
    }
    let knees = if figure.form == FigureForm::Scaling { said(&panels, &places.groups) } else { String::new() };
    let absent: Vec<(usize, String)> = (0..places.groups.len())
        .filter(|group| !places.groups[*group].is_empty())
        .filter_map(|group| Some((group, absent(&panels, group)?)))
        .collect();
    let entry = |(group, label): (usize, &String)| match absent.iter().find(|(known, _)| *known == group) {
        Some((_, why)) => Entry { label: format!("{label}: {why}"), key: Key::Missing },
        None => Entry { label: label.clone(), key: Key::Curve(group) },
    };
    let legend = places.groups.iter().enumerate().filter(|(_, label)| !label.is_empty()).map(entry).collect();
    let (x_log, y_log) = (figure.x_scale == Scaling::Log, figure.y_scale == Scaling::Log);
    let y_label = match figure.y_label.as_str() {
        "" => format!("{}{}", metric.label, cells::unit(metric, host)),
        label => label.to_owned(),
    };
    let mut rising = levels.to_vec();
    rising.sort_by(f64::total_cmp);
    Description {
        name: cells::name(figure, metric),
        title: figure.title.clone(),
        theme: figure.theme,
        column: figure.column,
        legend,
        caption: format!(
            "{}{}{knees} {}",
            what(figure, &panels),
            cells::marked(places, &notes),
            cells::remarks(data, figure, &[metric], places)
        ),
        chart: Chart::Curves(Curves {
            x_label: cells::scaled(&cells::axis_words(&figure.x), x_log),
            y_label: cells::scaled(&y_label, y_log),
            x_log,
            y_log,
            levels: rising,
            absent: absent.into_iter().map(|(group, _)| group).collect(),
            panels,
        }),
    }
}

/// Why a group has no value anywhere, where that is one reason.
fn absent(panels: &[Panel], group: usize) -> Option<String> {
    let mut places = panels.iter().flat_map(|panel| &panel.curves[group].places);
    let first = places.clone().next()?.note.clone();
    places.all(|at| at.value.is_none() && at.note == first).then_some(first)
}

fn at(data: Data<'_>, figure: &Figure, metric: &Metric, place: &Place<'_>, x: f64) -> At {
    let rows = cells::rows(data, place, metric);
    let note = cells::too_few(&rows, figure.statistic).unwrap_or_else(|| cells::note(&rows));
    let value = cells::value(&rows, figure.statistic, data.plan.seed);
    let lowest = value.points.iter().copied().chain(value.height).fold(f64::INFINITY, f64::min);
    if figure.y_scale == Scaling::Log && lowest <= 0.0 {
        return At { x, value: None, interval: None, points: Vec::new(), note: cells::NOT_ON_LOG.to_owned() };
    }
    let bare = figure.theme == Theme::Paper;
    At {
        x,
        value: value.height,
        interval: value.interval,
        points: if bare || value.height.is_none() { Vec::new() } else { value.points },
        note,
    }
}

/// The knee of a line, where the straight line between its ends lies outside of the interval there: else what Kneedle finds may be
/// noise.
fn knee(places: &[At]) -> Knee {
    let with: Vec<(&At, f64)> = places.iter().filter_map(|at| Some((at, at.value?))).collect();
    if with.len() < LEAST_POINTS {
        return Knee::None(format!("{} of the {LEAST_POINTS} points that it needs", with.len()));
    }
    let points: Vec<(f64, f64)> = with.iter().map(|(at, value)| (at.x, *value)).collect();
    let Some(found) = kneedle(&points) else { return Knee::None("no knee".to_owned()) };
    let (at, value) = with[found];
    match (at.interval, chord(&points, at.x)) {
        (None, _) => Knee::None("no interval, so that a knee could be noise".to_owned()),
        (Some((low, high)), Some(straight)) if straight < low || straight > high => Knee::At { x: at.x, value },
        _ => Knee::None("no knee beyond its interval".to_owned()),
    }
}

/// The sentences on knees.
fn said(panels: &[Panel], groups: &[String]) -> String {
    let one = |panel: &Panel, curve: &Curve| {
        let words = [groups[curve.group].as_str(), panel.title.as_str()];
        let whose = words.into_iter().filter(|words| !words.is_empty()).collect::<Vec<_>>().join(", ");
        let whose = if whose.is_empty() { String::new() } else { format!("{whose}: ") };
        match &curve.knee {
            Some(Knee::At { x, .. }) => format!("{whose}at {x}"),
            Some(Knee::None(why)) => format!("{whose}{why}"),
            None => String::new(),
        }
    };
    let all: Vec<String> = panels
        .iter()
        .flat_map(|panel| panel.curves.iter().map(|curve| one(panel, curve)).collect::<Vec<_>>())
        .collect();
    format!(
        " Knees by Kneedle (Satopaa et al. 2011, S = 1, on linear axes, of points without smoothing; a knee counts when the straight \
         line between the ends lies outside of the interval there): {}.",
        all.join("; ")
    )
}

/// The sentence that says what a line is.
fn what(figure: &Figure, panels: &[Panel]) -> String {
    let statistic = figure.statistic.text();
    let places = || panels.iter().flat_map(|panel| &panel.curves).flat_map(|curve| &curve.places);
    let band = match figure.statistic {
        _ if figure.theme == Theme::Paper => "neither intervals nor single trials are drawn",
        _ if !places().any(|at| at.interval.is_some()) => "no interval, of too few trials",
        Statistic::Mean => "bands: 95 % interval of the mean (bootstrap from 6 trials on, Student's t from 3)",
        _ => "bands: 95 % order-statistic interval",
    };
    let points = if figure.theme == Theme::Paper { "" } else { "; small points: single trials" };
    format!(
        "Lines: {statistic} over trials (a trial of several VMs counts as its {statistic}), straight between the levels that were \
         measured; {band}{points}."
    )
}
