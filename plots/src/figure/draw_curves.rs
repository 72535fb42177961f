//! Draws lines over an axis of numbers, their bands and their knees.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axes::{Frame, Headings, YLabel, draw_y_axis};
use super::canvas::{
    Area, DrawResult, FONT_SIZE, Scale, TextFormat, draw_cross, draw_group_line, draw_marker, draw_outline,
    draw_segment, line_height, shorten, text_width, wrap,
};
use super::curves::{Curve, CurvePoint, Curves, Knee, Panel};
use super::description::LegendEntry;
use super::draw::{Sheet, draw_inner_legend};
use super::hatch::dashed;
use super::theme::{self, Style, points};

/// Scales, labels and margins of the chart.
struct Layout {
    y_label: YLabel,
    /// The y axis of a plot whose top is at canvas unit 0.
    up: Scale,
    frames: Vec<Frame>,
    headings: Headings,
    /// Height of the lanes above the plot with the labels of knees.
    lanes: i32,
    /// Height of the lanes below the ticks with missing values.
    missing: i32,
    /// The label of the x axis, in lines.
    x_label: Vec<String>,
}

impl Layout {
    fn new(style: Style, curves: &Curves, width: i32, height: i32) -> Self {
        let y_label = YLabel::new(&curves.y_label, height);
        let up = y_scale(curves, height);
        let frames = Frame::row(curves.panels.len(), y_label.left_margin(style, up.ticks_width()), width);
        let headings = Headings::new(curves.panels.iter().map(|panel| &panel.title), &frames);
        let lanes = (curves.panels.iter().zip(&frames)).map(|(panel, frame)| knee_labels(curves, panel, frame));
        let lanes = lanes.flatten().map(|label| label.lane + 1).max().unwrap_or(0);
        let x_label = wrap(&curves.x_label, FONT_SIZE, width - frames[0].x0);
        let missing = incomplete_groups(curves).len() as i32 * line_height(FONT_SIZE);
        Self { y_label, up, frames, headings, lanes: lanes * line_height(FONT_SIZE), missing, x_label }
    }
}

fn places(curves: &Curves) -> impl Iterator<Item = &CurvePoint> {
    curves.panels.iter().flat_map(|panel| &panel.curves).flat_map(|curve| &curve.places)
}

/// The y axis of a plot of this height.
fn y_scale(curves: &Curves, height: i32) -> Scale {
    let extent_of = |at: &CurvePoint| {
        let ends = at.interval.into_iter().flat_map(|(low, high)| [low, high]);
        at.points.iter().copied().chain(at.value).chain(ends).collect::<Vec<_>>()
    };
    let values: Vec<f64> = places(curves).flat_map(extent_of).collect();
    let largest = values.iter().copied().fold(0.0, f64::max);
    if !curves.y_log {
        return Scale::new(largest * 1.05, height, 0);
    }
    let least = values.into_iter().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
    Scale::log(least, largest, height, 0)
}

/// The x axis of one panel.
fn x_scale(curves: &Curves, frame: &Frame) -> Scale {
    let (low, high) = (curves.levels.first().copied().unwrap_or(0.0), curves.levels.last().copied().unwrap_or(1.0));
    Scale::within(low, high, curves.x_log, frame.x0, frame.x1)
}

/// The label of a knee in a lane above the plot.
struct KneeLabel {
    /// Position of the knee; `None` if the line has no knee.
    x: Option<i32>,
    group: usize,
    text: String,
    lane: i32,
    /// Left side of the label.
    from: i32,
}

/// The labels of the knees of a panel, in lanes so that they do not overlap. Lines without a knee have theirs at the
/// right.
fn knee_labels(curves: &Curves, panel: &Panel, frame: &Frame) -> Vec<KneeLabel> {
    let across = x_scale(curves, frame);
    let mut labels: Vec<KneeLabel> = Vec::new();
    let mut ends: Vec<i32> = Vec::new();
    let mut found: Vec<(f64, usize)> = Vec::new();
    for curve in panel.curves.iter().filter(|curve| curve.places.iter().any(|at| at.value.is_some())) {
        match curve.knee {
            Some(Knee::At { x, .. }) => found.push((x, curve.group)),
            Some(Knee::None(_)) => found.push((f64::INFINITY, curve.group)),
            None => {}
        }
    }
    found.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    for (x, group) in found {
        let text = if x.is_finite() { format!("knee at {x}") } else { "no knee".to_owned() };
        let width = points(8.0) + text_width(&text, FONT_SIZE);
        let middle = if x.is_finite() { across.position(x) } else { frame.x1 };
        let from = (middle - width / 2).clamp(frame.x0, (frame.x1 - width).max(frame.x0));
        let lane = ends.iter().position(|end| *end < from).unwrap_or_else(|| {
            ends.push(0);
            ends.len() - 1
        });
        ends[lane] = from + width + points(4.0);
        labels.push(KneeLabel { x: x.is_finite().then(|| across.position(x)), group, text, lane: lane as i32, from });
    }
    labels
}

/// Space above the plot for headings and knees, and below it for the x axis.
pub(super) fn margins(style: Style, curves: &Curves, width: i32, height: i32) -> (i32, i32) {
    let layout = Layout::new(style, curves, width, height);
    let head = layout.headings.height() + layout.lanes;
    (head, (1 + layout.x_label.len() as i32) * line_height(FONT_SIZE) + layout.missing + points(6.0))
}

pub(super) fn draw(area: &Area<'_>, sheet: Sheet, curves: &Curves, legend: &[LegendEntry]) -> DrawResult {
    let style = sheet.style;
    let layout = Layout::new(style, curves, sheet.width, sheet.bottom - sheet.top);
    let up = layout.up.moved(sheet.top);
    layout.y_label.draw(area, sheet)?;
    layout.headings.draw(area, &layout.frames, sheet.top - layout.lanes)?;
    for (n, (panel, frame)) in curves.panels.iter().zip(&layout.frames).enumerate() {
        draw_y_axis(area, sheet, &up, frame, n == 0)?;
        let across = x_scale(curves, frame);
        draw_x_axis(area, sheet, curves, &across)?;
        for label in knee_labels(curves, panel, frame) {
            draw_knee(area, sheet, &label)?;
        }
        for curve in &panel.curves {
            draw_band(area, style, curve, &across, &up)?;
        }
        for curve in &panel.curves {
            draw_curve(area, style, curve, &across, &up)?;
        }
        draw_missing(area, sheet, (curves, panel), frame, &across)?;
        if style.paper {
            draw_outline(area, [(frame.x0, sheet.top), (frame.x1, sheet.bottom)], theme::INK, 0.8)?;
            draw_inner_legend(area, style, legend, frame.x0, frame.x1, sheet.top, true)?;
        }
    }
    let middle = i32::midpoint(layout.frames[0].x0, layout.frames.last().map_or(sheet.width, |frame| frame.x1));
    for (n, line_text) in layout.x_label.iter().enumerate() {
        let at = (middle, sheet.bottom + points(5.0) + layout.missing + (1 + n as i32) * line_height(FONT_SIZE));
        TextFormat::new(FONT_SIZE, HPos::Center, VPos::Top).draw(area, line_text, at)?;
    }
    Ok(())
}

/// Draws a tick at each level, and its label unless it would overlap the previous label.
fn draw_x_axis(area: &Area<'_>, sheet: Sheet, curves: &Curves, across: &Scale) -> DrawResult {
    let mut free = i32::MIN;
    for level in &curves.levels {
        let (x, label) = (across.position(*level), level.to_string());
        draw_segment(area, (x, sheet.bottom), (x, sheet.bottom + points(3.0)), theme::INK, 0.8)?;
        let half = text_width(&label, FONT_SIZE) / 2;
        if x - half > free {
            TextFormat::new(FONT_SIZE, HPos::Center, VPos::Top).draw(area, &label, (x, sheet.bottom + points(4.0)))?;
            free = x + half + points(3.0);
        }
    }
    Ok(())
}

fn draw_knee(area: &Area<'_>, sheet: Sheet, label: &KneeLabel) -> DrawResult {
    let y = sheet.top - label.lane * line_height(FONT_SIZE) - line_height(FONT_SIZE) / 2 - points(1.0);
    let path = label.x.map(|x| [(x, sheet.bottom), (x, y + line_height(FONT_SIZE) / 2)]);
    for part in path.iter().flat_map(|path| dashed(path, &[points(2.5), points(2.0)])) {
        area.draw(&PathElement::new(part, theme::FAINT.stroke_width(points(0.7).unsigned_abs())))?;
    }
    draw_marker(area, sheet.style, (label.from + points(3.0), y), label.group)?;
    TextFormat::new(FONT_SIZE, HPos::Left, VPos::Center).draw(area, &label.text, (label.from + points(8.0), y))
}

/// Splits a line where `of` returns `None`, into runs of adjacent points.
fn runs<T>(places: &[CurvePoint], of: impl Fn(&CurvePoint) -> Option<T>) -> Vec<Vec<T>> {
    let mut runs = vec![Vec::new()];
    for at in places {
        match (of(at), runs.last_mut()) {
            (Some(found), Some(run)) => run.push(found),
            _ => runs.push(Vec::new()),
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

fn draw_band(area: &Area<'_>, style: Style, curve: &Curve, across: &Scale, up: &Scale) -> DrawResult {
    let ends = |at: &CurvePoint| {
        let (low, high) = at.interval.filter(|_| !style.paper && at.value.is_some())?;
        Some((across.position(at.x), up.position(low), up.position(high)))
    };
    for run in runs(&curve.places, ends) {
        let colour = style.colour(curve.group);
        let (upper, lower) =
            (run.iter().map(|(x, _, high)| (*x, *high)), run.iter().rev().map(|(x, low, _)| (*x, *low)));
        area.draw(&Polygon::new(upper.chain(lower).collect::<Vec<_>>(), colour.mix(0.25).filled()))?;
        // Caps show the interval of each level.
        for (x, low, high) in run {
            draw_segment(area, (x, low), (x, high), colour, 0.7)?;
            for y in [low, high] {
                draw_segment(area, (x - points(1.6), y), (x + points(1.6), y), colour, 0.7)?;
            }
        }
    }
    Ok(())
}

fn draw_curve(area: &Area<'_>, style: Style, curve: &Curve, across: &Scale, up: &Scale) -> DrawResult {
    let colour = theme::mix(style.colour(curve.group), theme::WHITE, 0.6);
    for at in &curve.places {
        for value in &at.points {
            area.draw(&Circle::new((across.position(at.x), up.position(*value)), points(0.8), colour.filled()))?;
        }
    }
    let runs = runs(&curve.places, |at| Some((across.position(at.x), up.position(at.value?))));
    for run in &runs {
        draw_group_line(area, style, run, curve.group)?;
    }
    for at in runs.into_iter().flatten() {
        draw_marker(area, style, at, curve.group)?;
    }
    Ok(())
}

/// Groups with missing values, each of which gets a lane below the axis.
fn incomplete_groups(curves: &Curves) -> Vec<usize> {
    let incomplete = |group: &usize| {
        let mut places = curves.panels.iter().filter(|panel| empty_reason(panel).is_none());
        let has_note = |panel: &Panel| {
            panel.curves.get(*group).is_some_and(|curve| curve.places.iter().any(|at| !at.note.is_empty()))
        };
        !curves.absent.contains(group) && places.any(has_note)
    };
    (0..curves.panels.first().map_or(0, |panel| panel.curves.len())).filter(incomplete).collect()
}

/// Why a panel of one line has no value at all, which is drawn in the middle of the panel; `None` if it has a value.
fn empty_reason(panel: &Panel) -> Option<&str> {
    let [Curve { places, .. }] = panel.curves.as_slice() else { return None };
    let first = places.first()?;
    places.iter().all(|at| at.value.is_none() && at.note == first.note).then_some(first.note.as_str())
}

/// Draws missing values in one lane for each group below the ticks. A cross means no value; a square means that some
/// VMs have no value. The note is drawn where there is room; the caption contains all notes.
fn draw_missing(
    area: &Area<'_>,
    sheet: Sheet,
    (curves, panel): (&Curves, &Panel),
    frame: &Frame,
    across: &Scale,
) -> DrawResult {
    if let Some(why) = empty_reason(panel) {
        let middle = (i32::midpoint(frame.x0, frame.x1), i32::midpoint(sheet.top, sheet.bottom));
        let reason = shorten(why, FONT_SIZE, frame.width());
        return TextFormat::new(FONT_SIZE, HPos::Center, VPos::Center).colour(theme::ALARM).draw(area, &reason, middle);
    }
    for (lane, group) in incomplete_groups(curves).into_iter().enumerate() {
        let y = sheet.bottom + points(5.0) + (lane as i32 + 1) * line_height(FONT_SIZE) + line_height(FONT_SIZE) / 2;
        if panel.curves.len() > 1 {
            draw_marker(area, sheet.style, (frame.x0 - points(6.0), y), group)?;
        }
        let noted: Vec<&CurvePoint> = panel.curves[group].places.iter().filter(|at| !at.note.is_empty()).collect();
        for (n, at) in noted.iter().enumerate() {
            let (x, reach) = (across.position(at.x), points(2.2));
            match at.value {
                None => draw_cross(area, (x, y))?,
                Some(_) => draw_outline(area, [(x - reach, y - reach), (x + reach, y + reach)], theme::ALARM, 0.8)?,
            }
            let next = noted.get(n + 1).map_or(sheet.width - points(2.0), |next| across.position(next.x) - points(6.0));
            let last = curves.panels.last().is_some_and(|last| std::ptr::eq(last, panel));
            let free = if last { next } else { next.min(frame.x1) };
            // There may be more room to the left of the last mark than to its right.
            let before = if n == 0 { frame.x0 } else { across.position(noted[n - 1].x) + points(6.0) };
            let wide = text_width(&at.note, FONT_SIZE);
            let style = |h| TextFormat::new(FONT_SIZE, h, VPos::Center).colour(theme::ALARM);
            if x + points(4.0) + wide <= free {
                style(HPos::Left).draw(area, &at.note, (x + points(4.0), y))?;
            } else if n + 1 == noted.len()
                && n > 0
                && x - points(4.0) - wide >= before + text_width(&noted[n - 1].note, FONT_SIZE)
            {
                style(HPos::Right).draw(area, &at.note, (x - points(4.0), y))?;
            }
        }
    }
    Ok(())
}
