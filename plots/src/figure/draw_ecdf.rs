//! Draws empirical distribution functions.

use plotters::style::text_anchor::{HPos, VPos};

use super::axes::{Frame, YLabel, draw_y_axis};
use super::canvas::{
    Area, DrawResult, FONT_SIZE, Scale, TextFormat, draw_group_line, draw_outline, draw_segment, line_height,
};
use super::description::LegendEntry;
use super::draw::{Sheet, draw_inner_legend};
use super::ecdf::Ecdf;
use super::theme::{self, points};

/// Space above the plot, and below it for the x axis.
pub(super) fn margins() -> (i32, i32) {
    (0, 2 * line_height(FONT_SIZE) + points(6.0))
}

pub(super) fn draw(area: &Area<'_>, sheet: Sheet, ecdf: &Ecdf, legend: &[LegendEntry]) -> DrawResult {
    let up = Scale::stepped(0.0, 0.2, 5, sheet.bottom, sheet.top);
    let y_label = YLabel::new("Share of trials", sheet.bottom - sheet.top);
    let (left, right) = (y_label.left_margin(sheet.style, up.ticks_width()), sheet.width - points(14.0));
    let values = || ecdf.lines.iter().flat_map(|line| &line.values).copied();
    let largest = values().fold(0.0, f64::max);
    let across = match ecdf.log {
        true => Scale::log(values().fold(f64::INFINITY, f64::min), largest, left, right),
        false => Scale::new(largest, left, right),
    };
    y_label.draw(area, sheet)?;
    draw_y_axis(area, sheet, &up, &Frame { x0: left, x1: right }, true)?;
    for (x, text) in across.ticks() {
        draw_segment(area, (x, sheet.bottom), (x, sheet.bottom + points(3.0)), theme::INK, 0.8)?;
        TextFormat::new(FONT_SIZE, HPos::Center, VPos::Top).draw(area, &text, (x, sheet.bottom + points(4.0)))?;
    }
    let below = (i32::midpoint(left, right), sheet.bottom + points(5.0) + line_height(FONT_SIZE));
    TextFormat::new(FONT_SIZE, HPos::Center, VPos::Top).draw(area, &ecdf.x_label, below)?;
    for line in &ecdf.lines {
        let mut path = vec![(line.values.first().map_or(left, |least| across.position(*least)), sheet.bottom)];
        let n = line.values.len() as f64;
        for (rank, value) in line.values.iter().enumerate() {
            let x = across.position(*value);
            path.push((x, up.position(rank as f64 / n)));
            path.push((x, up.position((rank + 1) as f64 / n)));
        }
        path.push((right, sheet.top));
        draw_group_line(area, sheet.style, &path, line.colour)?;
    }
    if ecdf.lines.is_empty() {
        let middle = (i32::midpoint(left, right), i32::midpoint(sheet.top, sheet.bottom));
        TextFormat::new(FONT_SIZE, HPos::Center, VPos::Center).colour(theme::ALARM).draw(area, "no values", middle)?;
    }
    if sheet.style.paper {
        draw_outline(area, [(left, sheet.top), (right, sheet.bottom)], theme::INK, 0.8)?;
        draw_inner_legend(area, sheet.style, legend, left, right, sheet.top, true)?;
    }
    Ok(())
}
