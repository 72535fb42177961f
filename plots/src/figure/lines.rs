//! Empirical distribution functions: one line for each place.

use microbench_formats::figure::{Figure, Scaling};
use microbench_formats::metric::Metric;

use super::cells::{self, Places};
use super::description::{Chart, Data, Description, Entry, Key};
use crate::Error;

/// Distribution functions over one axis of values.
#[derive(Clone, Debug, PartialEq)]
pub struct Lines {
    /// Label of the x axis, with the unit.
    pub x_label: String,
    /// Whether the x axis is logarithmic; else it begins at zero.
    pub log: bool,
    /// One for each place with a value, in order.
    pub lines: Vec<Line>,
}

/// One distribution function.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Words for the legend.
    pub label: String,
    /// Index of its colour.
    pub colour: usize,
    /// The values, rising: the line steps up by 1/n at each.
    pub values: Vec<f64>,
}

/// Describes a figure of distribution functions: one for each metric, panels taken together.
///
/// # Errors
/// When it names what the plan does not have.
pub(super) fn describe(data: Data<'_>, figure: &Figure) -> Result<Vec<Description>, Error> {
    let places = cells::places(data.plan, figure)?;
    figure.metrics.iter().map(|name| Ok(one(data, figure, cells::metric(data.plan, figure, name)?, &places))).collect()
}

fn one(data: Data<'_>, figure: &Figure, metric: &Metric, places: &Places<'_>) -> Description {
    let mut lines = Vec::new();
    let (mut missing, mut absent) = (Vec::new(), Vec::new());
    let log = figure.x_scale == Scaling::Log;
    let mut host = None;
    for (colour, place) in places.all.iter().enumerate() {
        let rows = cells::rows(data, place, metric);
        host = host.or_else(|| rows.iter().find_map(|row| row.host));
        let label = cells::whole_label(places, place);
        let mut values = cells::value(&rows, figure.statistic, data.plan.seed).points;
        values.sort_by(f64::total_cmp);
        let mut note = cells::note(&rows);
        if log && values.first().is_some_and(|least| *least <= 0.0) {
            values.clear();
            cells::NOT_ON_LOG.clone_into(&mut note);
        }
        if !note.is_empty() {
            missing.push(format!("{label}: {note}"));
            if values.is_empty() {
                absent.push(format!("{label}: {note}"));
            }
        }
        if !values.is_empty() {
            lines.push(Line { label: format!("{label} (n = {})", values.len()), colour, values });
        }
    }
    let mut legend: Vec<Entry> =
        lines.iter().map(|line| Entry { label: line.label.clone(), key: Key::Steps(line.colour) }).collect();
    legend.extend(absent.into_iter().map(|label| Entry { label, key: Key::Missing }));
    let missing = if missing.is_empty() { String::new() } else { format!(" Not drawn: {}.", missing.join("; ")) };
    Description {
        name: cells::name(figure, metric),
        title: figure.title.clone(),
        theme: figure.theme,
        column: figure.column,
        legend,
        caption: format!(
            "Lines: share of trials at or below a value.{missing} {}",
            cells::remarks(data, figure, &[metric], places)
        ),
        chart: Chart::Lines(Lines {
            x_label: cells::scaled(&format!("{}{}", metric.label, cells::unit(metric, host)), log),
            log,
            lines,
        }),
    }
}
