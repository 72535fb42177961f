//! Draws bars, boxes, violins and strips over categories.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axes::{Frame, Headings, TickLabels, YLabel, draw_y_axis};
use super::canvas::{
    Area, DrawResult, FONT_SIZE, Scale, TextFormat, draw_cross, draw_dot, draw_group_area, draw_group_line,
    draw_outline, draw_segment, fill_rectangle, line_height, rectangle, shorten, text_width, wrap,
};
use super::description::{LegendEntry, Mark, MarkShape, Panel};
use super::draw::{Sheet, draw_inner_legend, inner_legend_size};
use super::theme::{self, Style, points};
use crate::number::significant;

/// Scales, labels and margins of the chart.
struct Layout {
    y_label: YLabel,
    /// The y axis of a plot whose top is at canvas unit 0.
    scale: Scale,
    tick_labels: TickLabels,
    headings: Headings,
    corners: Vec<Corner>,
    /// The label of the x axis, in lines.
    x_label: Vec<String>,
}

impl Layout {
    fn new(
        style: Style,
        ((x_label, y_label), log, panels): Marks<'_>,
        width: i32,
        height: i32,
        legend: &[LegendEntry],
    ) -> Self {
        let y_label = YLabel::new(y_label, height);
        let ticks: Vec<&[String]> = panels.iter().map(|panel| panel.ticks.as_slice()).collect();
        // The tick labels depend on the legend's corners, and these on the width of the panels, which depends on the
        // tick labels. An estimate of the width breaks the cycle; it has little influence.
        let near = Frame::row(panels.len(), y_label.left_margin(style, points(20.0)), width)[0].width();
        let corners: Vec<Corner> = panels.iter().map(|panel| Corner::new(panel, legend, near)).collect();
        let scale = y_scale(style, (panels, near), log, height, legend, &corners);
        let tick_labels = TickLabels::new(style, &ticks, y_label.left_margin(style, scale.ticks_width()), width);
        let headings = Headings::new(panels.iter().map(|panel| &panel.title), &tick_labels.frames);
        let across = width - tick_labels.frames[0].x0;
        let x_label = if x_label.is_empty() { Vec::new() } else { wrap(x_label, FONT_SIZE, across) };
        Self { y_label, scale, tick_labels, headings, corners, x_label }
    }
}

/// The content of `Chart::Marks`: labels of the x and y axis, whether y is logarithmic, panels.
type Marks<'a> = ((&'a str, &'a str), bool, &'a [Panel]);

/// The y axis of a plot of this height over panels of this width.
fn y_scale(
    style: Style,
    (panels, width): (&[Panel], i32),
    log: bool,
    height: i32,
    legend: &[LegendEntry],
    corners: &[Corner],
) -> Scale {
    let marks = || panels.iter().flat_map(|panel| &panel.marks);
    let largest = marks().map(highest).fold(0.0, f64::max);
    if style.paper && !log {
        // Space for the paper's legend above the bars, if neither upper corner is free.
        let share = f64::from(inner_legend_size(legend).1 + points(12.0)) / f64::from(height);
        let reach = corners.iter().map(|corner| corner.tallest / (1.0 - share)).fold(largest * 1.05, f64::max);
        return Scale::new(reach, height, 0);
    }
    let least = marks().flat_map(values).filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
    let noted = || {
        panels.iter().flat_map(|panel| {
            let cramped = slot_width(style, panel, width) < f64::from(line_height(FONT_SIZE));
            panel.marks.iter().map(move |mark| (highest_measured(mark), note_share(mark, cramped, height)))
        })
    };
    if log {
        // A note occupies its share of the axis above the highest value.
        let reach = |(own, share): (f64, f64)| ((own.ln() - share * least.ln()) / (1.0 - share)).exp();
        let reach = noted().filter(|(own, share)| *own > 0.0 && *share > 0.0).map(reach).fold(largest, f64::max);
        return Scale::log(least, reach, height, 0);
    }
    // Bars start at zero. Other shapes may start above it, so that their variation is visible.
    let bars = marks().any(|mark| matches!(mark.shape, MarkShape::Bar { .. } | MarkShape::Stack { .. }));
    let from = if bars || least < largest / 2.0 || !least.is_finite() { 0.0 } else { least };
    let reach = |(own, share): (f64, f64)| from + (own - from) / (1.0 - share);
    let reach = noted().map(reach).fold(from + (largest - from) * 1.08, f64::max);
    if from > 0.0 { Scale::around(&[from, reach], height, 0) } else { Scale::new(reach, height, 0) }
}

/// The share of the plot's height that the note of a mark occupies above its values.
fn note_share(mark: &Mark, cramped: bool, height: i32) -> f64 {
    let length = if cramped { points(8.0) } else { text_width(&mark.note, FONT_SIZE) };
    if mark.note.is_empty() { 0.0 } else { (f64::from(length + points(6.0)) / f64::from(height)).min(MOST_NOTE_SHARE) }
}

/// Upper limit of [`note_share`].
const MOST_NOTE_SHARE: f64 = 0.6;

/// Width of one slot in a panel of this width.
fn slot_width(style: Style, panel: &Panel, width: i32) -> f64 {
    let share = f64::from(width) / panel.ticks.len().max(1) as f64 * 0.8;
    let most = if style.paper { f64::MAX } else { f64::from(points(46.0)) };
    (share / panel.slots.max(1) as f64).min(most)
}

/// Space above the plot for the headings of panels, and below it for labels along x.
pub(super) fn margins(style: Style, marks: Marks<'_>, width: i32, height: i32, legend: &[LegendEntry]) -> (i32, i32) {
    let layout = Layout::new(style, marks, width, height, legend);
    (
        layout.headings.height(),
        layout.tick_labels.height + points(5.0) + layout.x_label.len() as i32 * line_height(FONT_SIZE),
    )
}

pub(super) fn draw(area: &Area<'_>, sheet: Sheet, marks: Marks<'_>, legend: &[LegendEntry]) -> DrawResult {
    let style = sheet.style;
    let layout = Layout::new(style, marks, sheet.width, sheet.bottom - sheet.top, legend);
    let scale = layout.scale.moved(sheet.top);
    layout.y_label.draw(area, sheet)?;
    layout.headings.draw(area, &layout.tick_labels.frames, sheet.top)?;
    for (n, (panel, frame)) in marks.2.iter().zip(&layout.tick_labels.frames).enumerate() {
        draw_y_axis(area, sheet, &scale, frame, n == 0)?;
        draw_marks(area, sheet, panel, frame, &scale)?;
        if style.paper {
            for tick in 0..panel.ticks.len() {
                let x = frame.tick_centre(tick, panel.ticks.len());
                draw_segment(area, (x, sheet.bottom), (x, sheet.bottom + points(3.0)), theme::INK, 0.8)?;
            }
        }
        layout.tick_labels.draw(area, n, sheet.bottom + points(5.0))?;
        if style.paper {
            draw_outline(area, [(frame.x0, sheet.top), (frame.x1, sheet.bottom)], theme::INK, 0.8)?;
            draw_inner_legend(area, style, legend, frame.x0, frame.x1, sheet.top, layout.corners[n].at_left)?;
        }
    }
    let middle =
        i32::midpoint(layout.tick_labels.frames[0].x0, layout.tick_labels.frames.last().map_or(0, |frame| frame.x1));
    for (n, line_text) in layout.x_label.iter().enumerate() {
        let at = (middle, sheet.bottom + points(5.0) + layout.tick_labels.height + n as i32 * line_height(FONT_SIZE));
        TextFormat::new(FONT_SIZE, HPos::Center, VPos::Top).draw(area, line_text, at)?;
    }
    Ok(())
}

/// The upper corner of a panel with more space for the paper's legend; the right one if both have the same.
struct Corner {
    at_left: bool,
    /// The highest value below the legend in this corner.
    tallest: f64,
}

impl Corner {
    fn new(panel: &Panel, legend: &[LegendEntry], width: i32) -> Self {
        let (legend, ticks) = (inner_legend_size(legend).0 + points(12.0), panel.ticks.len());
        let covered = ((f64::from(legend) / f64::from(width.max(1)) * ticks as f64).ceil() as usize).min(ticks);
        let tallest = |covered: std::ops::Range<usize>| {
            panel.marks.iter().filter(|mark| covered.contains(&mark.tick)).map(highest).fold(0.0, f64::max)
        };
        let (left, right) = (tallest(0..covered), tallest(ticks - covered..ticks));
        Self { at_left: left < right, tallest: left.min(right) }
    }
}

/// The highest value of a mark, including published values.
fn highest(mark: &Mark) -> f64 {
    highest_measured(mark).max(mark.reference.unwrap_or(0.0))
}

/// The highest measured value of a mark.
fn highest_measured(mark: &Mark) -> f64 {
    values(mark).into_iter().fold(0.0, f64::max)
}

/// All measured values that a mark draws.
fn values(mark: &Mark) -> Vec<f64> {
    match &mark.shape {
        MarkShape::Bar { height, interval, points } => {
            points.iter().copied().chain(interval.map(|(_, high)| high)).chain([*height]).collect()
        }
        MarkShape::Box { whiskers, outliers, .. } => outliers.iter().copied().chain([whiskers.0, whiskers.1]).collect(),
        MarkShape::Violin { values, .. } | MarkShape::Strip { values, .. } => values.clone(),
        MarkShape::Stack { parts, interval, points } => {
            let height = parts.iter().map(|part| part.height).sum();
            points.iter().copied().chain(interval.map(|(_, high)| high)).chain([height]).collect()
        }
        MarkShape::Empty => Vec::new(),
    }
}

fn draw_marks(area: &Area<'_>, sheet: Sheet, panel: &Panel, frame: &Frame, scale: &Scale) -> DrawResult {
    let slots = panel.slots.max(1) as f64;
    let slot = slot_width(sheet.style, panel, frame.width());
    let published = panel.marks.iter().any(|mark| mark.reference.is_some());
    for mark in &panel.marks {
        let centre = f64::from(frame.tick_centre(mark.tick, panel.ticks.len()))
            + (mark.slot as f64 - (slots - 1.0) / 2.0) * slot;
        let width = slot * if sheet.style.paper && slots < 2.0 { 1.0 } else { 0.9 };
        // A published value occupies the right third of the slot.
        let (own, x) = if published { (width * 0.62, centre - width * 0.19) } else { (width, centre) };
        if let Some(value) = mark.reference {
            let (x0, x1) = ((centre + width * 0.14) as i32, (centre + width * 0.5) as i32);
            let corners = [(x0, scale.position(value)), (x1, sheet.bottom)];
            fill_rectangle(area, corners, WHITE)?;
            draw_outline(area, corners, theme::INK, 0.7)?;
        }
        draw_mark(area, sheet, mark, x as i32, own as i32, scale)?;
        if !sheet.style.paper && mark.note.is_empty() && is_dwarfed(panel, mark) {
            draw_number(area, mark, x as i32, own as i32, scale)?;
        }
    }
    // Notes are drawn last, so that no adjacent mark covers them.
    for mark in panel.marks.iter().filter(|mark| !mark.note.is_empty() && mark.layer.0 == 0) {
        let centre = f64::from(frame.tick_centre(mark.tick, panel.ticks.len()))
            + (mark.slot as f64 - (slots - 1.0) / 2.0) * slot;
        let x = centre - if published { slot * 0.9 * 0.19 } else { 0.0 };
        draw_note(area, sheet, mark, x as i32, slot as i32, scale)?;
    }
    Ok(())
}

/// A bar is dwarfed if another value of its panel is this many times as large.
const DWARFED: f64 = 20.0;

/// Whether the mark is a bar whose height cannot be read from the axis.
fn is_dwarfed(panel: &Panel, mark: &Mark) -> bool {
    let MarkShape::Bar { height, .. } = &mark.shape else { return false };
    mark.layer.1 == 1 && panel.marks.iter().any(|other| highest(other) > height * DWARFED)
}

/// Draws the number of a bar above it, if it fits.
fn draw_number(area: &Area<'_>, mark: &Mark, x: i32, width: i32, scale: &Scale) -> DrawResult {
    let MarkShape::Bar { height, .. } = &mark.shape else { return Ok(()) };
    let text = significant(*height);
    if text_width(&text, FONT_SIZE) > width {
        return Ok(());
    }
    let above = scale.position(highest_measured(mark)) - points(3.5);
    TextFormat::new(FONT_SIZE, HPos::Center, VPos::Bottom).draw(area, &text, (x, above))
}

/// Draws the note of a mark above or instead of its shape. If there is no room, a cross refers to the caption.
fn draw_note(area: &Area<'_>, sheet: Sheet, mark: &Mark, x: i32, room: i32, scale: &Scale) -> DrawResult {
    let own = match &mark.shape {
        MarkShape::Empty => sheet.bottom,
        _ => scale.position(highest_measured(mark)),
    };
    let from = own - points(4.0);
    if room < line_height(FONT_SIZE) {
        return draw_cross(area, (x, from - points(1.0)));
    }
    let note = shorten(&mark.note, FONT_SIZE, from - sheet.top);
    TextFormat::new(FONT_SIZE, HPos::Left, VPos::Center).colour(theme::ALARM).draw_up(area, &note, (x, from))
}

fn draw_mark(area: &Area<'_>, sheet: Sheet, mark: &Mark, centre: i32, width: i32, scale: &Scale) -> DrawResult {
    let style = sheet.style;
    let (x0, x1) = (centre - width / 2, centre + width / 2);
    let spread = |n: usize, of: usize| centre + (((n as f64 + 0.5) / of as f64 - 0.5) * f64::from(width) * 0.6) as i32;
    match &mark.shape {
        MarkShape::Bar { height, .. } => {
            let corners = [(x0, scale.position(*height)), (x1, sheet.bottom)];
            draw_group_area(area, style, &rectangle(corners), mark.group, mark.layer)?;
        }
        MarkShape::Stack { parts, .. } => {
            let mut below = 0.0;
            for part in parts {
                let corners = [(x0, scale.position(below + part.height)), (x1, scale.position(below))];
                draw_group_area(area, style, &rectangle(corners), part.colour, (0, 1))?;
                below += part.height;
            }
        }
        MarkShape::Box { quartiles: [q1, median, q3], whiskers, outliers } => {
            let corners = [(x0, scale.position(*q3)), (x1, scale.position(*q1))];
            draw_whisker(area, centre, scale.position(whiskers.0), scale.position(whiskers.1), width / 4)?;
            if style.paper {
                fill_rectangle(area, corners, WHITE)?;
                draw_outline(area, corners, theme::INK, 0.8)?;
            } else {
                draw_group_area(area, style, &rectangle(corners), mark.group, (0, 1))?;
            }
            let stroke = if style.paper { style.colour(1) } else { theme::INK };
            draw_segment(area, (x0, scale.position(*median)), (x1, scale.position(*median)), stroke, 1.2)?;
            for value in outliers {
                draw_dot(area, (centre, scale.position(*value)))?;
            }
        }
        MarkShape::Violin { values, median, outline } => {
            let reach = f64::from(width) * 0.5;
            let side = |sign: f64| {
                let corner =
                    move |(value, share): &(f64, f64)| (centre + (sign * reach * share) as i32, scale.position(*value));
                outline.iter().map(corner)
            };
            let polygon: Vec<(i32, i32)> = side(-1.0).chain(side(1.0).rev()).collect();
            if !polygon.is_empty() {
                draw_group_area(area, style, &polygon, mark.group, (0, 1))?;
            }
            for (n, value) in values.iter().enumerate() {
                draw_dot(area, (centre + (spread(n, values.len()) - centre) / 2, scale.position(*value)))?;
            }
            let (x0, x1) = (centre - width / 4, centre + width / 4);
            draw_segment(area, (x0, scale.position(*median)), (x1, scale.position(*median)), theme::INK, 1.4)?;
        }
        MarkShape::Strip { values, median } => {
            draw_group_line(area, style, &[(x0, scale.position(*median)), (x1, scale.position(*median))], mark.group)?;
            for (n, value) in values.iter().enumerate() {
                draw_dot(area, (spread(n, values.len()), scale.position(*value)))?;
            }
        }
        MarkShape::Empty => draw_segment(area, (x0, sheet.bottom), (x1, sheet.bottom), theme::ALARM, 1.2)?,
    }
    if let MarkShape::Bar { interval, points: trials, .. } | MarkShape::Stack { interval, points: trials, .. } =
        &mark.shape
    {
        for (n, trial) in trials.iter().enumerate() {
            draw_dot(area, (spread(n, trials.len()), scale.position(*trial)))?;
        }
        if let Some((low, high)) = interval {
            draw_whisker(area, centre, scale.position(*low), scale.position(*high), width / 6)?;
        }
    }
    Ok(())
}

fn draw_whisker(area: &Area<'_>, x: i32, low: i32, high: i32, cap: i32) -> DrawResult {
    draw_segment(area, (x, low), (x, high), theme::INK, 0.9)?;
    for y in [low, high] {
        draw_segment(area, (x - cap, y), (x + cap, y), theme::INK, 0.9)?;
    }
    Ok(())
}
