//! Draws bars, boxes, violins and strips over ticks.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axes::{Below, Frame, Headings, YLabel, draw_y};
use super::canvas::{
    Area, Drawn, Scale, TEXT, Words, cross, dot, filled, line, line_of, outline, rectangle, segment, shaded, shortened,
    width_of, wrap,
};
use super::description::{Entry, Mark, Panel, Shown};
use super::draw::{Sheet, draw_inner_legend, inner_legend_size};
use super::theme::{self, Look, points};

/// Where everything of the chart is, before it is drawn.
struct Layout {
    y_label: YLabel,
    /// With the plot's upper end at 0.
    scale: Scale,
    below: Below,
    headings: Headings,
    corners: Vec<Corner>,
    /// The label of the x axis, in lines.
    x_label: Vec<String>,
}

impl Layout {
    fn new(
        look: Look,
        ((x_label, y_label), log, panels): Marks<'_>,
        width: i32,
        height: i32,
        legend: &[Entry],
    ) -> Self {
        let y_label = YLabel::new(y_label, height);
        let ticks: Vec<&[String]> = panels.iter().map(|panel| panel.ticks.as_slice()).collect();
        // The words of the axis depend on the legend's corners, which depend on the panels' width; that they do but little.
        let near = Frame::row(panels.len(), y_label.left(look, points(20.0)), width)[0].width();
        let corners: Vec<Corner> = panels.iter().map(|panel| Corner::of(panel, legend, near)).collect();
        let scale = scale(look, (panels, near), log, height, legend, &corners);
        let below = Below::new(look, &ticks, y_label.left(look, scale.ticks_width()), width);
        let headings = Headings::new(panels.iter().map(|panel| &panel.title), &below.frames);
        let across = width - below.frames[0].x0;
        let x_label = if x_label.is_empty() { Vec::new() } else { wrap(x_label, TEXT, across) };
        Self { y_label, scale, below, headings, corners, x_label }
    }
}

/// The chart: labels of the axes, whether y is logarithmic, panels.
type Marks<'a> = ((&'a str, &'a str), bool, &'a [Panel]);

/// The y axis of a plot of this height over panels of this width.
fn scale(
    look: Look,
    (panels, width): (&[Panel], i32),
    log: bool,
    height: i32,
    legend: &[Entry],
    corners: &[Corner],
) -> Scale {
    let marks = || panels.iter().flat_map(|panel| &panel.marks);
    let largest = marks().map(highest).fold(0.0, f64::max);
    if look.paper && !log {
        // Room above for the paper's legend where either corner has a bar in its way.
        let share = f64::from(inner_legend_size(legend).1 + points(12.0)) / f64::from(height);
        let reach = corners.iter().map(|corner| corner.tallest / (1.0 - share)).fold(largest * 1.05, f64::max);
        return Scale::new(reach, height, 0);
    }
    let least = marks().flat_map(values).filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
    let noted = || {
        panels.iter().flat_map(|panel| {
            let cramped = slot(look, panel, width) < f64::from(line(TEXT));
            panel.marks.iter().map(move |mark| (highest_own(mark), note_share(mark, cramped, height)))
        })
    };
    if log {
        // A note takes its share of the axis from the highest value on.
        let reach = |(own, share): (f64, f64)| ((own.ln() - share * least.ln()) / (1.0 - share)).exp();
        let reach = noted().filter(|(own, share)| *own > 0.0 && *share > 0.0).map(reach).fold(largest, f64::max);
        return Scale::log(least, reach, height, 0);
    }
    // Bars begin at zero. What has no area may begin elsewhere, so that what it varies by is seen.
    let bars = marks().any(|mark| matches!(mark.shown, Shown::Bar { .. } | Shown::Stack { .. }));
    let from = if bars || least < largest / 2.0 || !least.is_finite() { 0.0 } else { least };
    let reach = |(own, share): (f64, f64)| from + (own - from) / (1.0 - share);
    let reach = noted().map(reach).fold(from + (largest - from) * 1.08, f64::max);
    if from > 0.0 { Scale::around(&[from, reach], height, 0) } else { Scale::new(reach, height, 0) }
}

/// The share of a plot of this height that a mark's note takes above what was measured.
fn note_share(mark: &Mark, cramped: bool, height: i32) -> f64 {
    let words = if cramped { points(8.0) } else { width_of(&mark.note, TEXT) };
    if mark.note.is_empty() { 0.0 } else { (f64::from(words + points(6.0)) / f64::from(height)).min(NOTED) }
}

/// The share of the plot's height that a note may take above what was measured.
const NOTED: f64 = 0.6;

/// Width of a place in a panel of this width.
fn slot(look: Look, panel: &Panel, width: i32) -> f64 {
    let share = f64::from(width) / panel.ticks.len().max(1) as f64 * 0.8;
    let most = if look.paper { f64::MAX } else { f64::from(points(46.0)) };
    (share / panel.slots.max(1) as f64).min(most)
}

/// Room above the plot for the panels' headings, and below it for the words along x.
pub(super) fn margins(look: Look, marks: Marks<'_>, width: i32, height: i32, legend: &[Entry]) -> (i32, i32) {
    let layout = Layout::new(look, marks, width, height, legend);
    (layout.headings.height(), layout.below.height + points(5.0) + layout.x_label.len() as i32 * line(TEXT))
}

pub(super) fn draw(area: &Area<'_>, sheet: Sheet, marks: Marks<'_>, legend: &[Entry]) -> Drawn {
    let look = sheet.look;
    let layout = Layout::new(look, marks, sheet.width, sheet.bottom - sheet.top, legend);
    let scale = layout.scale.moved(sheet.top);
    layout.y_label.draw(area, sheet)?;
    layout.headings.draw(area, &layout.below.frames, sheet.top)?;
    for (n, (panel, frame)) in marks.2.iter().zip(&layout.below.frames).enumerate() {
        draw_y(area, sheet, &scale, frame, n == 0)?;
        draw_marks(area, sheet, panel, frame, &scale)?;
        if look.paper {
            for tick in 0..panel.ticks.len() {
                let x = frame.tick(tick, panel.ticks.len());
                segment(area, (x, sheet.bottom), (x, sheet.bottom + points(3.0)), theme::INK, 0.8)?;
            }
        }
        layout.below.draw(area, n, sheet.bottom + points(5.0))?;
        if look.paper {
            outline(area, [(frame.x0, sheet.top), (frame.x1, sheet.bottom)], theme::INK, 0.8)?;
            draw_inner_legend(area, look, legend, frame.x0, frame.x1, sheet.top, layout.corners[n].at_left)?;
        }
    }
    let middle = i32::midpoint(layout.below.frames[0].x0, layout.below.frames.last().map_or(0, |frame| frame.x1));
    for (n, words) in layout.x_label.iter().enumerate() {
        let at = (middle, sheet.bottom + points(5.0) + layout.below.height + n as i32 * line(TEXT));
        Words::new(TEXT, HPos::Center, VPos::Top).draw(area, words, at)?;
    }
    Ok(())
}

/// The upper corner of a panel that has more room for the paper's legend; the right one if both have the same.
struct Corner {
    at_left: bool,
    /// The highest thing below the legend there.
    tallest: f64,
}

impl Corner {
    fn of(panel: &Panel, legend: &[Entry], width: i32) -> Self {
        let (legend, ticks) = (inner_legend_size(legend).0 + points(12.0), panel.ticks.len());
        let covered = ((f64::from(legend) / f64::from(width.max(1)) * ticks as f64).ceil() as usize).min(ticks);
        let tallest = |covered: std::ops::Range<usize>| {
            panel.marks.iter().filter(|mark| covered.contains(&mark.tick)).map(highest).fold(0.0, f64::max)
        };
        let (left, right) = (tallest(0..covered), tallest(ticks - covered..ticks));
        Self { at_left: left < right, tallest: left.min(right) }
    }
}

/// The highest thing that a mark draws, published values included.
fn highest(mark: &Mark) -> f64 {
    highest_own(mark).max(mark.reference.unwrap_or(0.0))
}

/// The highest thing that was measured.
fn highest_own(mark: &Mark) -> f64 {
    values(mark).into_iter().fold(0.0, f64::max)
}

/// Everything that was measured and is drawn.
fn values(mark: &Mark) -> Vec<f64> {
    match &mark.shown {
        Shown::Bar { height, interval, points } => {
            points.iter().copied().chain(interval.map(|(_, high)| high)).chain([*height]).collect()
        }
        Shown::Box { whiskers, outliers, .. } => outliers.iter().copied().chain([whiskers.0, whiskers.1]).collect(),
        Shown::Violin { values, .. } | Shown::Strip { values, .. } => values.clone(),
        Shown::Stack { parts, interval, points } => {
            let height = parts.iter().map(|part| part.height).sum();
            points.iter().copied().chain(interval.map(|(_, high)| high)).chain([height]).collect()
        }
        Shown::Nothing => Vec::new(),
    }
}

fn draw_marks(area: &Area<'_>, sheet: Sheet, panel: &Panel, frame: &Frame, scale: &Scale) -> Drawn {
    let slots = panel.slots.max(1) as f64;
    let slot = slot(sheet.look, panel, frame.width());
    let beside = panel.marks.iter().any(|mark| mark.reference.is_some());
    for mark in &panel.marks {
        let centre =
            f64::from(frame.tick(mark.tick, panel.ticks.len())) + (mark.slot as f64 - (slots - 1.0) / 2.0) * slot;
        let width = slot * if sheet.look.paper && slots < 2.0 { 1.0 } else { 0.9 };
        // A published value takes the right third.
        let (own, x) = if beside { (width * 0.62, centre - width * 0.19) } else { (width, centre) };
        if let Some(value) = mark.reference {
            let (x0, x1) = ((centre + width * 0.14) as i32, (centre + width * 0.5) as i32);
            let corners = [(x0, scale.at(value)), (x1, sheet.bottom)];
            filled(area, corners, WHITE)?;
            outline(area, corners, theme::INK, 0.7)?;
        }
        draw_mark(area, sheet, mark, x as i32, own as i32, scale)?;
    }
    // Last, so that no neighbour lies on them.
    for mark in panel.marks.iter().filter(|mark| !mark.note.is_empty() && mark.layer.0 == 0) {
        let centre =
            f64::from(frame.tick(mark.tick, panel.ticks.len())) + (mark.slot as f64 - (slots - 1.0) / 2.0) * slot;
        let x = centre - if beside { slot * 0.9 * 0.19 } else { 0.0 };
        draw_note(area, sheet, mark, x as i32, slot as i32, scale)?;
    }
    Ok(())
}

/// What is said of a mark, above it or in its place; a cross where it has no room, and the caption says it.
fn draw_note(area: &Area<'_>, sheet: Sheet, mark: &Mark, x: i32, room: i32, scale: &Scale) -> Drawn {
    let own = match &mark.shown {
        Shown::Nothing => sheet.bottom,
        _ => scale.at(highest_own(mark)),
    };
    let from = own - points(4.0);
    if room < line(TEXT) {
        return cross(area, (x, from - points(1.0)));
    }
    let words = shortened(&mark.note, TEXT, from - sheet.top);
    Words::new(TEXT, HPos::Left, VPos::Center).colour(theme::ALARM).draw_up(area, &words, (x, from))
}

fn draw_mark(area: &Area<'_>, sheet: Sheet, mark: &Mark, centre: i32, width: i32, scale: &Scale) -> Drawn {
    let look = sheet.look;
    let (x0, x1) = (centre - width / 2, centre + width / 2);
    let spread = |n: usize, of: usize| centre + (((n as f64 + 0.5) / of as f64 - 0.5) * f64::from(width) * 0.6) as i32;
    match &mark.shown {
        Shown::Bar { height, .. } => {
            let corners = [(x0, scale.at(*height)), (x1, sheet.bottom)];
            shaded(area, look, &rectangle(corners), mark.group, mark.layer)?;
        }
        Shown::Stack { parts, .. } => {
            let mut below = 0.0;
            for part in parts {
                let corners = [(x0, scale.at(below + part.height)), (x1, scale.at(below))];
                shaded(area, look, &rectangle(corners), part.colour, (0, 1))?;
                below += part.height;
            }
        }
        Shown::Box { quartiles: [q1, median, q3], whiskers, outliers } => {
            let corners = [(x0, scale.at(*q3)), (x1, scale.at(*q1))];
            draw_whisker(area, centre, scale.at(whiskers.0), scale.at(whiskers.1), width / 4)?;
            if look.paper {
                filled(area, corners, WHITE)?;
                outline(area, corners, theme::INK, 0.8)?;
            } else {
                shaded(area, look, &rectangle(corners), mark.group, (0, 1))?;
            }
            let stroke = if look.paper { look.colour(1) } else { theme::INK };
            segment(area, (x0, scale.at(*median)), (x1, scale.at(*median)), stroke, 1.2)?;
            for value in outliers {
                dot(area, (centre, scale.at(*value)))?;
            }
        }
        Shown::Violin { values, median, outline } => {
            let reach = f64::from(width) * 0.5;
            let side = |sign: f64| {
                let corner =
                    move |(value, share): &(f64, f64)| (centre + (sign * reach * share) as i32, scale.at(*value));
                outline.iter().map(corner)
            };
            let polygon: Vec<(i32, i32)> = side(-1.0).chain(side(1.0).rev()).collect();
            if !polygon.is_empty() {
                shaded(area, look, &polygon, mark.group, (0, 1))?;
            }
            for (n, value) in values.iter().enumerate() {
                dot(area, (centre + (spread(n, values.len()) - centre) / 2, scale.at(*value)))?;
            }
            let (x0, x1) = (centre - width / 4, centre + width / 4);
            segment(area, (x0, scale.at(*median)), (x1, scale.at(*median)), theme::INK, 1.4)?;
        }
        Shown::Strip { values, median } => {
            line_of(area, look, &[(x0, scale.at(*median)), (x1, scale.at(*median))], mark.group)?;
            for (n, value) in values.iter().enumerate() {
                dot(area, (spread(n, values.len()), scale.at(*value)))?;
            }
        }
        Shown::Nothing => segment(area, (x0, sheet.bottom), (x1, sheet.bottom), theme::ALARM, 1.2)?,
    }
    if let Shown::Bar { interval, points: trials, .. } | Shown::Stack { interval, points: trials, .. } = &mark.shown {
        for (n, trial) in trials.iter().enumerate() {
            dot(area, (spread(n, trials.len()), scale.at(*trial)))?;
        }
        if let Some((low, high)) = interval {
            draw_whisker(area, centre, scale.at(*low), scale.at(*high), width / 6)?;
        }
    }
    Ok(())
}

fn draw_whisker(area: &Area<'_>, x: i32, low: i32, high: i32, cap: i32) -> Drawn {
    segment(area, (x, low), (x, high), theme::INK, 0.9)?;
    for y in [low, high] {
        segment(area, (x - cap, y), (x + cap, y), theme::INK, 0.9)?;
    }
    Ok(())
}
