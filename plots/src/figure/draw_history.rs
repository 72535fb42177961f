//! Draws the values of runs by date, one panel for each series.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axes::YLabel;
use super::canvas::{
    Area, DrawResult, FONT_SIZE, Scale, TextFormat, draw_cross, draw_segment, line_height, shorten, text_width,
};
use super::draw::Sheet;
use super::hatch::dashed;
use super::history::{HistoryChart, HistoryPanel, HistoryPoint, RuleKind};
use super::theme::{self, Style, points};

/// Height of the plotting area of a panel in points.
const PANEL: f64 = 74.0;
/// Height of the plotting area of the only panel in points.
const ONLY_PANEL: f64 = 110.0;
/// Largest width of the label of a run below the axis in points.
const TICK: f64 = 54.0;

fn plot_height(chart: &HistoryChart) -> i32 {
    points(if chart.panels.len() == 1 { ONLY_PANEL } else { PANEL })
}

/// Height of the lane at the bottom of a panel for runs without a value; 0 if all runs of the figure have a value.
fn lane(chart: &HistoryChart) -> i32 {
    let is_missing = |point: &HistoryPoint| point.value.is_none();
    if chart.panels.iter().flat_map(|panel| &panel.points).any(is_missing) { points(8.0) } else { 0 }
}

/// Height of the lane at the top of a panel for the texts of rules.
fn texts() -> i32 {
    line_height(FONT_SIZE)
}

/// Height of a panel with its heading and the space below it.
fn panel_height(chart: &HistoryChart) -> i32 {
    line_height(FONT_SIZE) + texts() + plot_height(chart) + lane(chart) + points(6.0)
}

/// Height of all panels.
pub(super) fn height(chart: &HistoryChart) -> i32 {
    panel_height(chart) * chart.panels.len() as i32
}

/// Space above the panels, and below them for the x axis.
pub(super) fn margins() -> (i32, i32) {
    (0, 2 * line_height(FONT_SIZE) + points(4.0))
}

/// The y axis of a panel between these positions.
fn y_scale(panel: &HistoryPanel, bottom: i32, top: i32) -> Scale {
    let ends = |point: &HistoryPoint| {
        let interval = point.interval.into_iter().flat_map(|(low, high)| [low, high]);
        interval.chain(point.value).filter(|value| value.is_finite()).collect::<Vec<_>>()
    };
    let values: Vec<f64> = panel.points.iter().flat_map(ends).collect();
    Scale::around(&values, bottom, top)
}

pub(super) fn draw(area: &Area<'_>, sheet: Sheet, chart: &HistoryChart) -> DrawResult {
    let top_of = |n: usize| sheet.top + n as i32 * panel_height(chart) + line_height(FONT_SIZE) + texts();
    let scales: Vec<Scale> = (chart.panels.iter().enumerate())
        .map(|(n, panel)| y_scale(panel, top_of(n) + plot_height(chart), top_of(n)))
        .collect();
    let y_label = YLabel::new(&chart.y_label, sheet.bottom - sheet.top);
    let widest = scales.iter().map(Scale::ticks_width).max().unwrap_or(0);
    let (left, right) = (y_label.left_margin(sheet.style, widest), sheet.width - points(6.0));
    let each = f64::from(right - left) / chart.ticks.len().max(1) as f64;
    let across = |at: f64| left + (each * (at + 0.5)).round() as i32;
    y_label.draw(area, sheet)?;
    for (n, (panel, up)) in chart.panels.iter().zip(&scales).enumerate() {
        let frame = Frame { left, right, top: top_of(n), axis: top_of(n) + plot_height(chart) + lane(chart) };
        draw_panel(area, sheet.style, panel, up, frame, &across, each)?;
    }
    let axis = top_of(chart.panels.len() - 1) + plot_height(chart) + lane(chart);
    draw_ticks(area, chart, axis, right, &across)
}

/// The sides of a panel's plotting area; `axis` is the x axis, below the lane of missing values.
#[derive(Clone, Copy)]
struct Frame {
    left: i32,
    right: i32,
    top: i32,
    axis: i32,
}

fn draw_panel(
    area: &Area<'_>,
    style: Style,
    panel: &HistoryPanel,
    up: &Scale,
    frame: Frame,
    across: &impl Fn(f64) -> i32,
    each: f64,
) -> DrawResult {
    let Frame { left, right, top, axis } = frame;
    let heading = shorten(&panel.title, FONT_SIZE * 1.08, right - left);
    let at = (left, top - texts() - points(1.0));
    TextFormat::new(FONT_SIZE, HPos::Left, VPos::Bottom).bold().draw(area, &heading, at)?;
    let has_values = panel.points.iter().any(|point| point.value.is_some());
    for (y, text) in up.ticks().into_iter().filter(|_| has_values) {
        draw_segment(area, (left, y), (right, y), theme::GRID, 0.5)?;
        TextFormat::new(FONT_SIZE, HPos::Right, VPos::Center).draw(area, &text, (left - points(3.0), y))?;
    }
    draw_segment(area, (left, axis), (right, axis), theme::INK, 0.8)?;
    for rule in &panel.rules {
        let x = across(rule.at as f64 - 0.5);
        draw_rule(area, rule.kind, [(x, axis), (x, top - points(2.0))])?;
    }
    for level in &panel.levels {
        let (from, to) = (across(level.from as f64 - 0.4), across(level.to as f64 + 0.4));
        let y = up.position(level.value);
        draw_segment(area, (from, y), (to, y), style.colour(0), 1.2)?;
    }
    for point in &panel.points {
        let x = across(point.at as f64);
        let Some(value) = point.value else {
            draw_cross(area, (x, axis - points(4.0)))?;
            continue;
        };
        let end = |end: f64| if end.is_finite() { up.position(end) } else { top };
        let interval = point.interval.map(|(low, high)| (end(high), end(low)));
        draw_sized_value(area, style, (x, up.position(value)), interval, each)?;
    }
    draw_texts(area, panel, frame, across)
}

/// Draws the texts of rules above the plotting area, centred where they fit; a text that would cover the one before it
/// is left out.
fn draw_texts(area: &Area<'_>, panel: &HistoryPanel, frame: Frame, across: &impl Fn(f64) -> i32) -> DrawResult {
    let mut free = frame.left;
    for rule in panel.rules.iter().filter(|rule| !rule.text.is_empty()) {
        let width = text_width(&rule.text, FONT_SIZE);
        let from = (across(rule.at as f64 - 0.5) - width / 2).clamp(frame.left, (frame.right - width).max(frame.left));
        if from < free {
            continue;
        }
        let at = (from, frame.top - points(2.5));
        TextFormat::new(FONT_SIZE, HPos::Left, VPos::Bottom).colour(theme::ALARM).draw(area, &rule.text, at)?;
        free = from + width + points(4.0);
    }
    Ok(())
}

/// Draws date and label of runs below the axis, the last run and as many others as fit, from the left.
fn draw_ticks(
    area: &Area<'_>,
    chart: &HistoryChart,
    axis: i32,
    right: i32,
    across: &impl Fn(f64) -> i32,
) -> DrawResult {
    let texts: Vec<[String; 2]> =
        chart.ticks.iter().map(|lines| lines.clone().map(|line| shorten(&line, FONT_SIZE, points(TICK)))).collect();
    // From and to of the widest line of a tick, within the figure.
    let extent = |at: usize| {
        let width = texts[at].iter().map(|line| text_width(line, FONT_SIZE)).max().unwrap_or(0);
        let from = (across(at as f64) - width / 2).min(right - width).max(0);
        (from, from + width)
    };
    let Some(last) = texts.len().checked_sub(1) else { return Ok(()) };
    let mut free = i32::MIN;
    for (at, lines) in texts.iter().enumerate() {
        let x = across(at as f64);
        draw_segment(area, (x, axis), (x, axis + points(2.0)), theme::INK, 0.6)?;
        let (from, to) = extent(at);
        if from < free || at < last && to + points(5.0) > extent(last).0 {
            continue;
        }
        draw_segment(area, (x, axis), (x, axis + points(3.5)), theme::INK, 0.8)?;
        for (n, line_text) in lines.iter().enumerate() {
            let at = (i32::midpoint(from, to), axis + points(4.5) + n as i32 * line_height(FONT_SIZE));
            TextFormat::new(FONT_SIZE, HPos::Center, VPos::Top).draw(area, line_text, at)?;
        }
        free = to + points(5.0);
    }
    Ok(())
}

/// Draws the value of a run and its interval, from the upper to the lower position.
pub(super) fn draw_value(area: &Area<'_>, style: Style, at: (i32, i32), interval: Option<(i32, i32)>) -> DrawResult {
    draw_sized_value(area, style, at, interval, f64::from(points(12.0)))
}

/// Like [`draw_value`], narrower if runs are less than a few points apart (`each`, canvas units).
fn draw_sized_value(
    area: &Area<'_>,
    style: Style,
    (x, y): (i32, i32),
    interval: Option<(i32, i32)>,
    each: f64,
) -> DrawResult {
    let colour = style.colour(0);
    let cap = points(1.6).min((each / 3.0) as i32);
    if let Some((high, low)) = interval {
        draw_segment(area, (x, low), (x, high), colour, 0.8)?;
        for y in [low, high] {
            draw_segment(area, (x - cap, y), (x + cap, y), colour, 0.8)?;
        }
    }
    area.draw(&Circle::new((x, y), points(1.7).min((each / 2.4) as i32), theme::INK.filled()))
}

/// Draws a line that marks a change: solid or dashed for a change of the level, dotted for the host, dots and dashes
/// for settings.
pub(super) fn draw_rule(area: &Area<'_>, kind: RuleKind, [a, b]: [(i32, i32); 2]) -> DrawResult {
    let (colour, width, dashes): (RGBColor, f64, &[f64]) = match kind {
        RuleKind::Confirmed => (theme::ALARM, 1.2, &[]),
        RuleKind::Unconfirmed => (theme::ALARM, 1.2, &[3.0, 2.0]),
        RuleKind::Host => (theme::INK, 1.0, &[1.0, 1.6]),
        RuleKind::Settings => (theme::FAINT, 1.0, &[4.0, 1.6, 1.0, 1.6]),
    };
    let lengths: Vec<i32> = dashes.iter().map(|length| points(*length)).collect();
    if lengths.is_empty() {
        return draw_segment(area, a, b, colour, width);
    }
    for part in dashed(&[a, b], &lengths) {
        area.draw(&PathElement::new(part, colour.stroke_width(points(width).unsigned_abs())))?;
    }
    Ok(())
}
