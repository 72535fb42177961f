//! Empirical distribution functions: one line for each place of the figure.

use microbench_formats::figure::{Figure, Scaling};
use microbench_formats::metric::Metric;

use super::cells::{self, Places};
use super::description::{Chart, Data, Description, LegendEntry, LegendKey};
use crate::Error;

/// Distribution functions over a common axis of values.
#[derive(Clone, Debug, PartialEq)]
pub struct Ecdf {
    /// Label of the x axis, with the unit.
    pub x_label: String,
    /// Whether the x axis is logarithmic; a linear axis starts at zero.
    pub log: bool,
    /// One line for each place with a value.
    pub lines: Vec<EcdfLine>,
}

/// The distribution function of one place.
#[derive(Clone, Debug, PartialEq)]
pub struct EcdfLine {
    /// Label in the legend.
    pub label: String,
    /// Index of the colour.
    pub colour: usize,
    /// Sorted values; the line rises by 1/n at each of them.
    pub values: Vec<f64>,
}

/// Describes one figure for each metric. The lines of all panels share one coordinate system.
///
/// # Errors
/// If the figure names an axis or a metric that the plan does not have.
pub(super) fn describe(data: Data<'_>, figure: &Figure) -> Result<Vec<Description>, Error> {
    let places = cells::places(data.plan, figure)?;
    figure
        .metrics
        .iter()
        .map(|name| Ok(describe_metric(data, figure, cells::find_metric(data.plan, figure, name)?, &places)))
        .collect()
}

fn describe_metric(data: Data<'_>, figure: &Figure, metric: &Metric, places: &Places<'_>) -> Description {
    let mut lines = Vec::new();
    let (mut missing, mut absent) = (Vec::new(), Vec::new());
    let log = figure.x_scale == Scaling::Log;
    let mut host = None;
    for (colour, place) in places.all.iter().enumerate() {
        let rows = cells::rows(data, place, metric);
        host = host.or_else(|| rows.iter().find_map(|row| row.host));
        let label = cells::label_with_panel(places, place);
        let mut values = cells::value(&rows, figure.statistic, data.plan.seed).points;
        values.sort_by(f64::total_cmp);
        let mut note = cells::missing_note(&rows);
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
            lines.push(EcdfLine { label: format!("{label} (n = {})", values.len()), colour, values });
        }
    }
    let mut legend: Vec<LegendEntry> = lines
        .iter()
        .map(|line| LegendEntry { label: line.label.clone(), key: LegendKey::Steps(line.colour) })
        .collect();
    legend.extend(absent.into_iter().map(|label| LegendEntry { label, key: LegendKey::Missing }));
    let missing = if missing.is_empty() { String::new() } else { format!(" Missing values: {}.", missing.join("; ")) };
    Description {
        name: cells::file_name(figure, metric),
        title: figure.title.clone(),
        theme: figure.theme,
        column: figure.column,
        legend,
        caption: format!(
            "Lines: empirical distribution function, the share of trials with at most this value.{missing} {}",
            cells::closing_sentences(data, figure, &[metric], places)
        ),
        chart: Chart::Ecdf(Ecdf {
            x_label: cells::with_scale(&format!("{}{}", metric.label, cells::unit_suffix(metric, host)), log),
            log,
            lines,
        }),
    }
}
