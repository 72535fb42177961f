//! Bars, boxes and strips: what stands over which tick.

use crate::Error;
use crate::record::{Figure, FigureForm, Metric, Statistic, Theme};
use crate::stats::quantile::quantile;
use crate::summary::Row;

use super::cells::{self, Places};
use super::description::{Chart, Data, Description, Entry, Key, Mark, Panel, Shown};

/// Describes a figure of marks.
///
/// # Errors
/// When it names what the plan does not have.
pub(super) fn describe(data: Data<'_>, figure: &Figure) -> Result<Vec<Description>, Error> {
    let metrics =
        figure.metrics.iter().map(|name| cells::metric(data.plan, figure, name)).collect::<Result<Vec<_>, _>>()?;
    let places = cells::places(data.plan, figure)?;
    if figure.form == FigureForm::OverlaidBars {
        return Ok(vec![one(data, figure, &metrics, &places, figure.name.clone())]);
    }
    let several = metrics.len() > 1;
    Ok(metrics
        .iter()
        .map(|metric| {
            let name = if several { format!("{}-{}", figure.name, metric.name) } else { figure.name.clone() };
            one(data, figure, &[metric], &places, name)
        })
        .collect())
}

fn one(data: Data<'_>, figure: &Figure, metrics: &[&Metric], places: &Places<'_>, name: String) -> Description {
    let mut panels: Vec<Panel> = (places.panels.iter())
        .map(|title| Panel {
            title: title.clone(),
            ticks: places.ticks.clone(),
            slots: places.slots,
            marks: Vec::new(),
        })
        .collect();
    let mut host = None;
    for place in &places.all {
        for (layer, metric) in metrics.iter().enumerate() {
            let rows = cells::rows(data, place, metric);
            host = host.or_else(|| rows.iter().find_map(|row| row.host));
            panels[place.panel].marks.push(Mark {
                tick: place.tick,
                slot: place.slot,
                group: place.group,
                layer: (layer, metrics.len()),
                shown: shown(figure, &rows, data.plan.seed),
                reference: cells::shows_reference(figure).then(|| cells::reference(data.plan, place, metric)).flatten(),
                note: cells::too_few(&rows, figure.statistic).unwrap_or_else(|| cells::note(&rows)),
            });
        }
    }
    let y_label = match (figure.y_label.as_str(), metrics) {
        ("", [metric]) => format!("{}{}", metric.label, cells::unit(metric, host)),
        ("", _) => format!("Time{}", metrics.first().map_or(String::new(), |metric| cells::unit(metric, host))),
        (label, _) => label.to_owned(),
    };
    Description {
        name,
        title: figure.title.clone(),
        theme: figure.theme,
        column: figure.column,
        legend: legend(data, metrics, places, &panels),
        caption: format!("{} {}", what(figure, metrics, &panels), cells::remarks(data, figure, metrics, places)),
        chart: Chart::Marks { y_label, panels },
    }
}

fn legend(data: Data<'_>, metrics: &[&Metric], places: &Places<'_>, panels: &[Panel]) -> Vec<Entry> {
    let mut legend: Vec<Entry> = (places.groups.iter().enumerate())
        .filter(|(_, label)| !label.is_empty())
        .map(|(group, label)| Entry { label: label.clone(), key: Key::Group(group) })
        .collect();
    if metrics.len() > 1 {
        let layers = metrics
            .iter()
            .enumerate()
            .map(|(layer, metric)| Entry { label: metric.label.clone(), key: Key::Layer(layer, metrics.len()) });
        legend.extend(layers);
    }
    let any = panels.iter().flat_map(|panel| &panel.marks).any(|mark| mark.reference.is_some());
    if let Some(reference) = data.plan.reference.as_ref().filter(|_| any) {
        legend.push(Entry { label: reference.label.clone(), key: Key::Reference });
    }
    legend
}

/// The sentence that says what a mark is.
fn what(figure: &Figure, metrics: &[&Metric], panels: &[Panel]) -> String {
    let statistic = figure.statistic.text();
    let of_trials = format!("(a trial of several VMs counts as its {statistic})");
    match figure.form {
        FigureForm::Box => format!(
            "Boxes: quartiles over trials {of_trials}, by linear interpolation (Hyndman and Fan's type 7); whiskers: last value \
             within 1.5 interquartile ranges; points: values beyond."
        ),
        FigureForm::Strip => {
            format!("Points: single trials, left to right in run order {of_trials}; line: their median.")
        }
        _ => {
            let marks = || panels.iter().flat_map(|panel| &panel.marks);
            let with = marks().any(|mark| matches!(&mark.shown, Shown::Bar { interval: Some(_), .. }));
            let spread = match figure.statistic {
                _ if figure.theme == Theme::Paper => "; neither intervals nor single trials are drawn, as in the paper",
                Statistic::Median if with => {
                    "; whiskers: 95 % order-statistic interval (from 6 trials on); points: single trials"
                }
                Statistic::Median => "; no interval below 6 trials; points: single trials",
                Statistic::Mean if with => {
                    "; whiskers: 95 % interval of the mean (bootstrap from 6 trials on, Student's t from 3); points: single \
                     trials"
                }
                Statistic::Mean => "; no interval below 3 trials; points: single trials",
                Statistic::P90 | Statistic::P95 | Statistic::P99 => {
                    "; whiskers: 95 % order-statistic interval; no bar where there are too few trials for one; points: single \
                     trials"
                }
            };
            let layers = match metrics {
                [behind, .., front] => format!(" From zero each: {} behind, {} in front.", behind.label, front.label),
                _ => String::new(),
            };
            format!("Bars: {statistic} over trials {of_trials}{spread}.{layers}")
        }
    }
}

fn shown(figure: &Figure, rows: &[&Row], seed: u64) -> Shown {
    let value = cells::value(rows, figure.statistic, seed);
    let Some(height) = value.height else { return Shown::Nothing };
    match figure.form {
        FigureForm::Box => boxed(&value.points),
        FigureForm::Strip => {
            Shown::Strip { median: quantile(&value.points, 0.5).unwrap_or(height), values: value.points }
        }
        // The paper shows neither intervals nor trials.
        _ if figure.theme == Theme::Paper => Shown::Bar { height, interval: None, points: Vec::new() },
        _ => Shown::Bar { height, interval: value.interval, points: value.points },
    }
}

/// J. W. Tukey's box plot (Exploratory Data Analysis, 1977), with quartiles by linear interpolation.
fn boxed(values: &[f64]) -> Shown {
    let at = |p: f64| quantile(values, p).unwrap_or(0.0);
    let quartiles = [at(0.25), at(0.5), at(0.75)];
    let reach = 1.5 * (quartiles[2] - quartiles[0]);
    let within = |value: &&f64| (quartiles[0] - reach..=quartiles[2] + reach).contains(*value);
    let low = values.iter().filter(within).fold(quartiles[0], |low, value| low.min(*value));
    let high = values.iter().filter(within).fold(quartiles[2], |high, value| high.max(*value));
    let outliers = values.iter().filter(|value| !within(value)).copied().collect();
    Shown::Box { quartiles, whiskers: (low, high), outliers }
}
