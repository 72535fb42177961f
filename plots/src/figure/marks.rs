//! Bars, boxes, violins and strips: what stands over which tick.

use microbench_formats::figure::{Figure, FigureForm, Scaling, Theme};
use microbench_formats::metric::Metric;
use microbench_formats::statistic::Statistic;

use super::cells::{self, Places};
use super::description::{Chart, Data, Description, Entry, Key, Mark, Panel, Shown};
use crate::Error;
use crate::stats::density::{density, silverman};
use crate::stats::quantile::quantile;
use crate::summary::Row;

/// Trials below which a violin would be a shape of the kernel rather than of the data.
pub const VIOLIN_FROM: usize = 10;
/// Points of a violin's outline.
const OUTLINE: u32 = 64;

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
    let (mut host, mut notes) = (None, Vec::new());
    for place in &places.all {
        let mut said = String::new();
        for (layer, metric) in metrics.iter().enumerate() {
            let rows = cells::rows(data, place, metric);
            host = host.or_else(|| rows.iter().find_map(|row| row.host));
            let shown = shown(figure, &rows, data.plan.seed);
            let note = note(figure, &rows, &shown);
            // Layers of one place mostly say the same.
            if layer == 0 || said.is_empty() {
                said.clone_from(&note);
            }
            panels[place.panel].marks.push(Mark {
                tick: place.tick,
                slot: place.slot,
                group: place.group,
                layer: (layer, metrics.len()),
                shown,
                reference: cells::shows_reference(figure).then(|| cells::reference(data.plan, place, metric)).flatten(),
                note,
            });
        }
        notes.push(said);
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
        legend: legend(data, figure, metrics, places, &panels),
        caption: format!(
            "{}{} {}",
            what(figure, metrics, &panels),
            cells::marked(places, &notes),
            cells::remarks(data, figure, metrics, places)
        ),
        chart: Chart::Marks {
            x_label: cells::x_label(figure),
            y_label: cells::scaled(&y_label, is_log(figure)),
            log: is_log(figure),
            panels,
        },
    }
}

/// What is said of an axis that does not begin at zero by itself.
fn from_anywhere(figure: &Figure) -> &'static str {
    if is_log(figure) || figure.theme == Theme::Paper { "" } else { " The y axis need not begin at zero." }
}

fn is_log(figure: &Figure) -> bool {
    figure.y_scale == Scaling::Log
}

/// What is said of a place: of its trials, or of how it is drawn.
fn note(figure: &Figure, rows: &[&Row], shown: &Shown) -> String {
    let missing = cells::too_few(rows, figure.statistic).unwrap_or_else(|| cells::note(rows));
    let drawn = match shown {
        Shown::Nothing if is_log(figure) && missing.is_empty() => cells::NOT_ON_LOG.to_owned(),
        Shown::Violin { values, outline, .. } if outline.is_empty() => match values.len() {
            n if n < VIOLIN_FROM => format!("n = {n}: points only"),
            _ => "no spread: points only".to_owned(),
        },
        _ => String::new(),
    };
    [missing, drawn].into_iter().filter(|words| !words.is_empty()).collect::<Vec<_>>().join(", ")
}

fn legend(data: Data<'_>, figure: &Figure, metrics: &[&Metric], places: &Places<'_>, panels: &[Panel]) -> Vec<Entry> {
    // A strip has no area, but the line of its median.
    let key = if figure.form == FigureForm::Strip { Key::Steps } else { Key::Group };
    let mut legend: Vec<Entry> = (places.groups.iter().enumerate())
        .filter(|(_, label)| !label.is_empty())
        .map(|(group, label)| Entry { label: label.clone(), key: key(group) })
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
             within 1.5 interquartile ranges; points: values beyond.{}",
            from_anywhere(figure)
        ),
        FigureForm::Violin => format!(
            "Violins: density of the trials' values {of_trials}, by a Gaussian kernel of Silverman's (1986) bandwidth{}, from the lowest to the \
             highest value, each as wide as the others where it is densest, from {VIOLIN_FROM} trials on; points: single trials, left to \
             right in run order; line: their median.{}",
            if is_log(figure) { " on the logarithms" } else { "" },
            from_anywhere(figure)
        ),
        FigureForm::Strip => {
            format!(
                "Points: single trials, left to right in run order {of_trials}; line: their median.{}",
                from_anywhere(figure)
            )
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
    if is_log(figure) && value.points.iter().any(|point| *point <= 0.0) {
        return Shown::Nothing;
    }
    match figure.form {
        FigureForm::Violin => {
            let median = quantile(&value.points, 0.5).unwrap_or(height);
            Shown::Violin { median, outline: outline(&value.points, is_log(figure)), values: value.points }
        }
        FigureForm::Box => boxed(&value.points),
        FigureForm::Strip => {
            Shown::Strip { median: quantile(&value.points, 0.5).unwrap_or(height), values: value.points }
        }
        // The paper shows neither intervals nor trials.
        _ if figure.theme == Theme::Paper => Shown::Bar { height, interval: None, points: Vec::new() },
        _ => Shown::Bar { height, interval: value.interval, points: value.points },
    }
}

/// The density between the lowest and the highest value as a share of its maximum; on a logarithmic axis that of the logarithms.
fn outline(values: &[f64], log: bool) -> Vec<(f64, f64)> {
    let values: Vec<f64> = if log { values.iter().map(|value| value.ln()).collect() } else { values.to_vec() };
    let Some(bandwidth) = silverman(&values).filter(|_| values.len() >= VIOLIN_FROM) else { return Vec::new() };
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let at = |n: u32| low + (high - low) * f64::from(n) / f64::from(OUTLINE);
    let all: Vec<(f64, f64)> = (0..=OUTLINE).map(|n| (at(n), density(&values, bandwidth, at(n)))).collect();
    let most = all.iter().map(|(_, density)| *density).fold(0.0, f64::max);
    all.into_iter().map(|(value, density)| (if log { value.exp() } else { value }, density / most)).collect()
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
