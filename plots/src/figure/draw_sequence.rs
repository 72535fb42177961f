//! Draws the values of a sequence in execution order.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axes::YLabel;
use super::canvas::{
    Area, DrawResult, FONT_SIZE, Scale, TextFormat, draw_cross, draw_outline, draw_segment, line_height,
};
use super::description::LegendEntry;
use super::draw::{Sheet, draw_inner_legend};
use super::sequence::{PointKind, Sequence};
use super::theme::{self, points};

/// Height of the lane at the bottom for executions without a value.
fn lane() -> i32 {
    points(9.0)
}

/// Space above the plot, and below it for the lane and the x axis.
pub(super) fn margins() -> (i32, i32) {
    (0, lane() + 2 * line_height(FONT_SIZE) + points(6.0))
}

pub(super) fn draw(area: &Area<'_>, sheet: Sheet, sequence: &Sequence, legend: &[LegendEntry]) -> DrawResult {
    let values: Vec<f64> = sequence.points.iter().filter_map(|point| point.value).collect();
    let up = Scale::around(&values, sheet.bottom, sheet.top);
    let y_label = YLabel::new(&sequence.y_label, sheet.bottom - sheet.top);
    let (left, right) = (y_label.left_margin(sheet.style, up.ticks_width()), sheet.width - points(10.0));
    let across = positions(sequence.points.iter().map(|point| point.at).fold(1.0, f64::max), left, right);
    y_label.draw(area, sheet)?;
    // Without values the scale means nothing, so the ticks are left out.
    for (y, text) in up.ticks().into_iter().filter(|_| !values.is_empty()) {
        draw_segment(area, (left, y), (right, y), theme::GRID, 0.5)?;
        TextFormat::new(FONT_SIZE, HPos::Right, VPos::Center).draw(area, &text, (left - points(3.0), y))?;
    }
    let axis = sheet.bottom + lane();
    draw_segment(area, (left, axis), (right, axis), theme::INK, 0.8)?;
    for (x, text) in across.ticks() {
        draw_segment(area, (x, axis), (x, axis + points(3.0)), theme::INK, 0.8)?;
        TextFormat::new(FONT_SIZE, HPos::Center, VPos::Top).draw(area, &text, (x, axis + points(4.0)))?;
    }
    let below = (i32::midpoint(left, right), axis + points(5.0) + line_height(FONT_SIZE));
    TextFormat::new(FONT_SIZE, HPos::Center, VPos::Top).draw(area, "Position in the execution order", below)?;
    if let Some(median) = sequence.median {
        draw_segment(area, (left, up.position(median)), (right, up.position(median)), sheet.style.colour(0), 1.2)?;
    }
    for point in &sequence.points {
        let y = point.value.map_or(sheet.bottom + lane() / 2, |value| up.position(value));
        draw_point(area, point.kind, (across.position(point.at), y))?;
    }
    if sheet.style.paper {
        draw_inner_legend(area, sheet.style, legend, left, right, sheet.top, false)?;
    }
    Ok(())
}

/// An axis of whole numbers.
fn positions(last: f64, left: i32, right: i32) -> Scale {
    let scale = Scale::new(last, left, right);
    if scale.step >= 1.0 { scale } else { Scale::stepped(0.0, 1.0, last.ceil() as u32, left, right) }
}

/// Draws the mark of an execution: filled if it counts completely, otherwise an open shape for each kind.
pub(super) fn draw_point(area: &Area<'_>, kind: PointKind, (x, y): (i32, i32)) -> DrawResult {
    let reach = points(2.2);
    match kind {
        PointKind::Counted => area.draw(&Circle::new((x, y), points(1.8), theme::INK.filled())),
        PointKind::Warmup => {
            area.draw(&Circle::new((x, y), reach, WHITE.filled()))?;
            area.draw(&Circle::new((x, y), reach, theme::INK.stroke_width(points(0.7).unsigned_abs())))
        }
        PointKind::Disturbed => {
            draw_segment(area, (x - reach, y), (x, y - reach), theme::ALARM, 0.8)?;
            draw_segment(area, (x, y - reach), (x + reach, y), theme::ALARM, 0.8)?;
            draw_segment(area, (x + reach, y), (x, y + reach), theme::ALARM, 0.8)?;
            draw_segment(area, (x, y + reach), (x - reach, y), theme::ALARM, 0.8)
        }
        PointKind::Incomplete => {
            draw_outline(area, [(x - reach, y - reach), (x + reach, y + reach)], theme::ALARM, 0.8)
        }
        PointKind::Missing => draw_cross(area, (x, y)),
    }
}
