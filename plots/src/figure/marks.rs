//! Bars, boxes, violins and strips over categories.

use microbench_formats::figure::{Figure, FigureForm, Scaling, Theme};
use microbench_formats::metric::Metric;
use microbench_formats::statistic::Statistic;

use super::cells::{self, Places};
use super::description::{Chart, Data, Description, LegendEntry, LegendKey, Mark, MarkShape, Panel};
use crate::Error;
use crate::stats::density::{density, silverman};
use crate::stats::quantile::quantile;
use crate::summary::Row;

/// Least number of trials for a violin; with fewer, its shape would be that of the kernel rather than of the data.
pub const VIOLIN_FROM: usize = 10;
/// Number of steps of a violin's outline.
const OUTLINE_STEPS: u32 = 64;

/// Describes one figure for each metric; overlaid bars share one figure.
///
/// # Errors
/// If the figure names an axis or a metric that the plan does not have.
pub(super) fn describe(data: Data<'_>, figure: &Figure) -> Result<Vec<Description>, Error> {
    let metrics =
        figure.metrics.iter().map(|name| cells::find_metric(data.plan, figure, name)).collect::<Result<Vec<_>, _>>()?;
    let places = cells::places(data.plan, figure)?;
    if figure.form == FigureForm::OverlaidBars {
        return Ok(vec![describe_metrics(data, figure, &metrics, &places, figure.name.clone())]);
    }
    let several = metrics.len() > 1;
    Ok(metrics
        .iter()
        .map(|metric| {
            let name = if several { format!("{}-{}", figure.name, metric.name) } else { figure.name.clone() };
            describe_metrics(data, figure, &[metric], &places, name)
        })
        .collect())
}

fn describe_metrics(
    data: Data<'_>,
    figure: &Figure,
    metrics: &[&Metric],
    places: &Places<'_>,
    name: String,
) -> Description {
    let mut panels: Vec<Panel> = (places.panels.iter())
        .map(|title| Panel {
            title: title.clone(),
            ticks: places.ticks.clone(),
            slots: places.slots,
            marks: Vec::new(),
        })
        .collect();
    let (mut host, mut notes, mut all_rows) = (None, Vec::new(), Vec::new());
    for place in &places.all {
        let mut first_note = String::new();
        for (layer, metric) in metrics.iter().enumerate() {
            let rows = cells::rows(data, place, metric);
            host = host.or_else(|| rows.iter().find_map(|row| row.host));
            let shape = mark_shape(figure, &rows, data.plan.seed);
            let note = place_note(figure, &rows, &shape);
            // The layers of a place usually have the same note; the caption lists the first.
            if layer == 0 || first_note.is_empty() {
                first_note.clone_from(&note);
            }
            panels[place.panel].marks.push(Mark {
                tick: place.tick,
                slot: place.slot,
                group: place.group,
                layer: (layer, metrics.len()),
                shape,
                reference: cells::shows_published_values(figure)
                    .then(|| cells::published_value(data.plan, place, metric))
                    .flatten(),
                note,
            });
            all_rows.extend(rows);
        }
        notes.push(first_note);
    }
    let y_label = match (figure.y_label.as_str(), metrics) {
        ("", [metric]) => format!("{}{}", metric.label, cells::unit_suffix(metric, host)),
        ("", _) => format!("Time{}", metrics.first().map_or(String::new(), |metric| cells::unit_suffix(metric, host))),
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
            mark_sentence(figure, metrics, &panels, &all_rows, data.rows.iter().any(Row::is_repeated)),
            cells::notes_sentence(places, &notes),
            cells::closing_sentences(data, figure, metrics, places)
        ),
        chart: Chart::Marks {
            x_label: cells::x_label(figure),
            y_label: cells::with_scale(&y_label, is_log(figure)),
            log: is_log(figure),
            panels,
        },
    }
}

/// The sentence on a linear axis that is not fixed to start at zero; empty otherwise.
fn free_axis_sentence(figure: &Figure) -> &'static str {
    if is_log(figure) || figure.theme == Theme::Paper { "" } else { " The y axis may start above zero." }
}

fn is_log(figure: &Figure) -> bool {
    figure.y_scale == Scaling::Log
}

/// The note of a place: which values are missing, or why its shape is reduced.
fn place_note(figure: &Figure, rows: &[&Row], shape: &MarkShape) -> String {
    let missing = cells::too_few_trials(rows, figure.statistic).unwrap_or_else(|| cells::missing_note(rows));
    let drawn = match shape {
        MarkShape::Empty if is_log(figure) && missing.is_empty() => cells::NOT_ON_LOG.to_owned(),
        MarkShape::Violin { values, outline, .. } if outline.is_empty() => match values.len() {
            n if n < VIOLIN_FROM => format!("n = {n}: points only"),
            _ => "no spread: points only".to_owned(),
        },
        _ => String::new(),
    };
    [missing, drawn].into_iter().filter(|note| !note.is_empty()).collect::<Vec<_>>().join(", ")
}

fn legend(
    data: Data<'_>,
    figure: &Figure,
    metrics: &[&Metric],
    places: &Places<'_>,
    panels: &[Panel],
) -> Vec<LegendEntry> {
    // A strip plot has no area; its legend shows the line of the median.
    let key = if figure.form == FigureForm::Strip { LegendKey::Steps } else { LegendKey::Group };
    let mut legend: Vec<LegendEntry> = (places.groups.iter().enumerate())
        .filter(|(_, label)| !label.is_empty())
        .map(|(group, label)| LegendEntry { label: label.clone(), key: key(group) })
        .collect();
    if metrics.len() > 1 {
        let layers = metrics.iter().enumerate().map(|(layer, metric)| LegendEntry {
            label: metric.label.clone(),
            key: LegendKey::Layer(layer, metrics.len()),
        });
        legend.extend(layers);
    }
    let any = panels.iter().flat_map(|panel| &panel.marks).any(|mark| mark.reference.is_some());
    if let Some(reference) = data.plan.reference.as_ref().filter(|_| any) {
        legend.push(LegendEntry { label: reference.label.clone(), key: LegendKey::Reference });
    }
    legend
}

/// The sentence of the caption that defines the marks.
fn mark_sentence(figure: &Figure, metrics: &[&Metric], panels: &[Panel], rows: &[&Row], repeated: bool) -> String {
    let statistic = figure.statistic.label();
    let value = if figure.statistic == Statistic::Mean { "mean" } else { "median" };
    let of_trials = format!("(a trial of several VMs counts as its {value})");
    match figure.form {
        FigureForm::Box => format!(
            "Boxes: quartiles over trials {of_trials}, by linear interpolation (Hyndman and Fan's type 7); whiskers: \
             last value within 1.5 interquartile ranges; points: values beyond.{}",
            free_axis_sentence(figure)
        ),
        FigureForm::Violin => format!(
            "Violins: density over trials {of_trials}, estimated with a Gaussian kernel of Silverman's (1986) \
             bandwidth{}, from the lowest to the highest value, all scaled to the same maximum width, from \
             {VIOLIN_FROM} trials on; points: single trials, left to right in run order; line: median.{}",
            if is_log(figure) { " on the logarithms" } else { "" },
            free_axis_sentence(figure)
        ),
        FigureForm::Strip => {
            format!(
                "Points: single trials, left to right in run order {of_trials}; line: median.{}",
                free_axis_sentence(figure)
            )
        }
        _ => {
            let marks = || panels.iter().flat_map(|panel| &panel.marks);
            let intervals = marks().any(|mark| matches!(&mark.shape, MarkShape::Bar { interval: Some(_), .. }));
            let without;
            let spread = match figure.statistic {
                _ if figure.theme == Theme::Paper => "; neither intervals nor single trials are drawn, as in the paper",
                Statistic::Median | Statistic::Mean if repeated => {
                    ", with repetitions the mean over them; whiskers: 95 % t interval over repetitions (from 3 on); \
                     points: single trials"
                }
                Statistic::Median | Statistic::Mean if !intervals => {
                    without = format!(
                        "; {}; points: single trials",
                        cells::no_interval_sentence(figure.statistic, rows.iter().copied())
                    );
                    &without
                }
                Statistic::Median => {
                    "; whiskers: 95 % order-statistic interval (from 6 trials on); points: single trials"
                }
                Statistic::Mean => {
                    "; whiskers: 95 % interval of the mean (BCa bootstrap, from 100 trials on); points: single trials"
                }
                Statistic::P90 | Statistic::P95 | Statistic::P99 => {
                    "; whiskers: 95 % order-statistic interval; no bar where there are too few trials for an \
                     interval; points: single trials"
                }
            };
            let layers = match metrics {
                [behind, .., front] => {
                    format!(" Each bar starts at zero: {} behind, {} in front.", behind.label, front.label)
                }
                _ => String::new(),
            };
            format!("Bars: {statistic} {}{spread}.{layers}", cells::over(figure.statistic))
        }
    }
}

fn mark_shape(figure: &Figure, rows: &[&Row], seed: u64) -> MarkShape {
    let value = cells::value(rows, figure.statistic, seed);
    let Some(height) = value.height else { return MarkShape::Empty };
    if is_log(figure) && value.points.iter().any(|point| *point <= 0.0) {
        return MarkShape::Empty;
    }
    match figure.form {
        FigureForm::Violin => {
            let median = quantile(&value.points, 0.5).unwrap_or(height);
            MarkShape::Violin { median, outline: violin_outline(&value.points, is_log(figure)), values: value.points }
        }
        FigureForm::Box => box_plot(&value.points),
        FigureForm::Strip => {
            MarkShape::Strip { median: quantile(&value.points, 0.5).unwrap_or(height), values: value.points }
        }
        // The paper's figures show neither intervals nor single trials.
        _ if figure.theme == Theme::Paper => MarkShape::Bar { height, interval: None, points: Vec::new() },
        _ => MarkShape::Bar { height, interval: value.interval, points: value.points },
    }
}

/// The outline of [`MarkShape::Violin`]. On a logarithmic axis it is the density of the logarithms.
fn violin_outline(values: &[f64], log: bool) -> Vec<(f64, f64)> {
    let values: Vec<f64> = if log { values.iter().map(|value| value.ln()).collect() } else { values.to_vec() };
    let Some(bandwidth) = silverman(&values).filter(|_| values.len() >= VIOLIN_FROM) else { return Vec::new() };
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let at = |n: u32| low + (high - low) * f64::from(n) / f64::from(OUTLINE_STEPS);
    let all: Vec<(f64, f64)> = (0..=OUTLINE_STEPS).map(|n| (at(n), density(&values, bandwidth, at(n)))).collect();
    let most = all.iter().map(|(_, density)| *density).fold(0.0, f64::max);
    all.into_iter().map(|(value, density)| (if log { value.exp() } else { value }, density / most)).collect()
}

/// A box plot (J. W. Tukey, Exploratory Data Analysis, 1977), with quartiles by linear interpolation.
fn box_plot(values: &[f64]) -> MarkShape {
    let at = |p: f64| quantile(values, p).unwrap_or(0.0);
    let quartiles = [at(0.25), at(0.5), at(0.75)];
    let reach = 1.5 * (quartiles[2] - quartiles[0]);
    let within = |value: &&f64| (quartiles[0] - reach..=quartiles[2] + reach).contains(*value);
    let low = values.iter().filter(within).fold(quartiles[0], |low, value| low.min(*value));
    let high = values.iter().filter(within).fold(quartiles[2], |high, value| high.max(*value));
    let outliers = values.iter().filter(|value| !within(value)).copied().collect();
    MarkShape::Box { quartiles, whiskers: (low, high), outliers }
}
