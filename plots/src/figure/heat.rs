//! Heat maps: the matrix over two axes, a value for each pair of levels, as a colour and as a number.

use microbench_formats::axis::Level;
use microbench_formats::figure::Figure;
use microbench_formats::metric::Metric;

use super::cells::{self, Places};
use super::description::{Chart, Data, Description};
use crate::Error;
use crate::samples::Status;
use crate::summary::Row;

/// A table of values.
#[derive(Clone, Debug, PartialEq)]
pub struct Heat {
    /// Words above the scale: what the colours stand for, with the unit.
    pub label: String,
    /// Name of the axis whose levels are the columns; empty where its levels say it.
    pub x_label: String,
    /// Name of the axis whose levels are the rows; empty where its levels say it.
    pub y_label: String,
    /// Left to right.
    pub columns: Vec<String>,
    /// Top to bottom.
    pub rows: Vec<String>,
    /// Row by row.
    pub cells: Vec<Vec<HeatCell>>,
}

/// One place of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatCell {
    /// What its colour stands for; `None` for a hatched one.
    pub value: Option<f64>,
    /// The value as it is printed, with a star when some VMs have none; without a value, why, in a word or two.
    pub words: String,
}

/// Describes heat maps: one for each metric.
///
/// # Errors
/// When it names what the plan does not have, or no axis for the rows.
pub(super) fn describe(data: Data<'_>, figure: &Figure) -> Result<Vec<Description>, Error> {
    if figure.groups.is_none() {
        return Err(cells::error(figure, "a heat map needs `groups`, the axis of its rows"));
    }
    let places = cells::places(data.plan, figure)?;
    figure.metrics.iter().map(|name| Ok(one(data, figure, cells::metric(data.plan, figure, name)?, &places))).collect()
}

fn one(data: Data<'_>, figure: &Figure, metric: &Metric, places: &Places<'_>) -> Description {
    let nothing = HeatCell { value: None, words: String::new() };
    let mut table = vec![vec![nothing; places.ticks.len()]; places.groups.len()];
    let (mut host, mut notes) = (None, Vec::new());
    for place in &places.all {
        let rows = cells::rows(data, place, metric);
        host = host.or_else(|| rows.iter().find_map(|row| row.host));
        let few = cells::too_few(&rows, figure.statistic);
        let note = few.clone().unwrap_or_else(|| cells::note(&rows));
        let value = cells::value(&rows, figure.statistic, data.plan.seed).height;
        let words = match value {
            Some(value) => format!("{}{}", significant(value), if note.is_empty() { "" } else { "*" }),
            None if few.is_some() => "few".to_owned(),
            None => reason(&rows).to_owned(),
        };
        notes.push(note);
        table[place.group][place.tick] = HeatCell { value, words };
    }
    let star = if table.iter().flatten().any(|cell| cell.words.ends_with('*')) { " *: not of all VMs." } else { "" };
    // Levels of the other axes say by themselves what they are of.
    let rows = figure.groups.as_deref().unwrap_or_default();
    let short = |label: &Level| cells::tick_label(data.plan, rows, label);
    Description {
        name: cells::name(figure, metric),
        title: figure.title.clone(),
        theme: figure.theme,
        column: figure.column,
        legend: Vec::new(),
        caption: format!(
            "Numbers and colours: {} over trials, to three digits or whole numbers; hatched: no value.{star}{} {}",
            figure.statistic.text(),
            cells::marked(places, &notes),
            cells::remarks(data, figure, &[metric], places)
        ),
        chart: Chart::Heat(Heat {
            label: format!("{}{}", metric.label, cells::unit(metric, host)),
            x_label: if figure.x == "variant" { String::new() } else { cells::axis_words(&figure.x) },
            y_label: if rows == "variant" { String::new() } else { cells::axis_words(rows) },
            columns: places.ticks.clone(),
            rows: cells::levels(data.plan, figure, rows).iter().map(short).collect(),
            cells: table,
        }),
    }
}

/// Three digits that count.
fn significant(value: f64) -> String {
    let whole = value.abs();
    let decimals = match whole {
        _ if whole >= 99.95 || whole == 0.0 => 0,
        _ if whole >= 9.995 => 1,
        _ if whole >= 0.9995 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// Why a place has no value, in a word: what most of its VMs lack it for.
fn reason(rows: &[&Row]) -> &'static str {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let found = [0.0, 0.012_34, 0.9996, 1.234, 9.996, 12.34, 99.96, 1234.5].map(significant);
        assert_eq!(found, ["0", "0.012", "1.00", "1.23", "10.0", "12.3", "100", "1234"]);
    }
}
