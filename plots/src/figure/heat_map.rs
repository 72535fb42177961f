//! Heat maps: a value for each pair of levels of two axes, as a colour and as a number.

use microbench_formats::axis::Level;
use microbench_formats::figure::Figure;
use microbench_formats::metric::Metric;

use super::cells::{self, Places};
use super::description::{Chart, Data, Description};
use crate::Error;
use crate::number::significant;
use crate::samples::Status;
use crate::summary::Row;

/// The values of a heat map.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatMap {
    /// Label of the colour scale, with the unit.
    pub label: String,
    /// Name of the axis of the columns; empty for variants, whose labels need none.
    pub x_label: String,
    /// Name of the axis of the rows; empty for variants, whose labels need none.
    pub y_label: String,
    /// Labels from left to right.
    pub columns: Vec<String>,
    /// Labels from top to bottom.
    pub rows: Vec<String>,
    /// Rows of cells: `cells[row][column]`.
    pub cells: Vec<Vec<HeatCell>>,
}

/// One cell of a heat map.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatCell {
    /// The value that the colour encodes; `None` for a hatched cell.
    pub value: Option<f64>,
    /// The value as printed, with an asterisk if values of some VMs are missing; without a value, the reason in short.
    pub text: String,
}

/// Describes one heat map for each metric.
///
/// # Errors
/// If the figure has no `groups`, or names an axis or a metric that the plan does not have.
pub(super) fn describe(data: Data<'_>, figure: &Figure) -> Result<Vec<Description>, Error> {
    if figure.groups.is_none() {
        return Err(cells::figure_error(figure, "a heat map requires `groups`, the axis of its rows"));
    }
    let places = cells::places(data.plan, figure)?;
    figure
        .metrics
        .iter()
        .map(|name| Ok(describe_metric(data, figure, cells::find_metric(data.plan, figure, name)?, &places)))
        .collect()
}

fn describe_metric(data: Data<'_>, figure: &Figure, metric: &Metric, places: &Places<'_>) -> Description {
    let nothing = HeatCell { value: None, text: String::new() };
    let mut table = vec![vec![nothing; places.ticks.len()]; places.groups.len()];
    let (mut host, mut notes) = (None, Vec::new());
    for place in &places.all {
        let rows = cells::rows(data, place, metric);
        host = host.or_else(|| rows.iter().find_map(|row| row.host));
        let few = cells::too_few_trials(&rows, figure.statistic);
        let note = few.clone().unwrap_or_else(|| cells::missing_note(&rows));
        let value = cells::value(&rows, figure.statistic, data.plan.seed).height;
        let text = match value {
            Some(value) => format!("{}{}", significant(value), if note.is_empty() { "" } else { "*" }),
            None if few.is_some() => "few".to_owned(),
            None => short_reason(&rows).to_owned(),
        };
        notes.push(note);
        table[place.group][place.tick] = HeatCell { value, text };
    }
    let star = if table.iter().flatten().any(|cell| cell.text.ends_with('*')) {
        " *: values of some VMs are missing."
    } else {
        ""
    };
    let rows = figure.groups.as_deref().unwrap_or_default();
    let short = |label: &Level| cells::tick_label(data.plan, rows, label);
    Description {
        name: cells::file_name(figure, metric),
        title: figure.title.clone(),
        theme: figure.theme,
        column: figure.column,
        legend: Vec::new(),
        caption: format!(
            "Numbers and colours: {} over {}, rounded to three significant digits or whole numbers; hatched: no \
             value.{star}{} {}",
            figure.statistic.label(),
            cells::unit_of(figure.statistic),
            cells::notes_sentence(places, &notes),
            cells::closing_sentences(data, figure, &[metric], places)
        ),
        chart: Chart::HeatMap(HeatMap {
            label: format!("{}{}", metric.label, cells::unit_suffix(metric, host)),
            x_label: if figure.x == "variant" { String::new() } else { cells::axis_label(&figure.x) },
            y_label: if rows == "variant" { String::new() } else { cells::axis_label(rows) },
            columns: places.ticks.clone(),
            rows: cells::selected_levels(data.plan, figure, rows).iter().map(short).collect(),
            cells: table,
        }),
    }
}

/// Why a place has no value, in one or two words: the most frequent status of its VMs.
fn short_reason(rows: &[&Row]) -> &'static str {
    let missing = rows.iter().flat_map(|row| &row.missing);
    let most = missing.max_by_key(|(status, (count, _))| (*count, std::cmp::Reverse(**status)));
    match most.map(|(status, _)| *status) {
        None if rows.is_empty() => "excluded",
        Some(Status::Censored) => "censored",
        Some(Status::Failed) => "failed",
        Some(Status::Invalid) => "invalid",
        Some(Status::NotApplicable) => "n/a",
        Some(Status::NotRun) => "not run",
        Some(Status::BeyondLimit) => "beyond limit",
        Some(Status::Ok | Status::NotAvailable) | None => "no value",
    }
}
