//! Draws distribution functions.

use plotters::style::text_anchor::{HPos, VPos};

use super::axes::{Frame, YLabel, draw_y};
use super::canvas::{Area, Drawn, Scale, TEXT, Words, line, line_of, outline, segment};
use super::description::Entry;
use super::draw::{Sheet, draw_inner_legend};
use super::lines::Lines;
use super::theme::{self, points};

/// Room above the plot, and below it for the x axis.
pub(super) fn margins() -> (i32, i32) {
    (0, 2 * line(TEXT) + points(6.0))
}

pub(super) fn draw(area: &Area<'_>, sheet: Sheet, lines: &Lines, legend: &[Entry]) -> Drawn {
    let up = Scale::stepped(0.0, 0.2, 5, sheet.bottom, sheet.top);
    let y_label = YLabel::new("Share of trials", sheet.bottom - sheet.top);
    let (left, right) = (y_label.left(sheet.look, up.ticks_width()), sheet.width - points(14.0));
    let values = || lines.lines.iter().flat_map(|line| &line.values).copied();
    let largest = values().fold(0.0, f64::max);
    let across = match lines.log {
        true => Scale::log(values().fold(f64::INFINITY, f64::min), largest, left, right),
        false => Scale::new(largest, left, right),
    };
    y_label.draw(area, sheet)?;
    draw_y(area, sheet, &up, &Frame { x0: left, x1: right }, true)?;
    for (x, text) in across.ticks() {
        segment(area, (x, sheet.bottom), (x, sheet.bottom + points(3.0)), theme::INK, 0.8)?;
        Words::new(TEXT, HPos::Center, VPos::Top).draw(area, &text, (x, sheet.bottom + points(4.0)))?;
    }
    let below = (i32::midpoint(left, right), sheet.bottom + points(5.0) + line(TEXT));
    Words::new(TEXT, HPos::Center, VPos::Top).draw(area, &lines.x_label, below)?;
    for one in &lines.lines {
        let mut path = vec![(one.values.first().map_or(left, |least| across.at(*least)), sheet.bottom)];
        let n = one.values.len() as f64;
        for (below, value) in one.values.iter().enumerate() {
            let x = across.at(*value);
            path.push((x, up.at(below as f64 / n)));
            path.push((x, up.at((below + 1) as f64 / n)));
        }
        path.push((right, sheet.top));
        line_of(area, sheet.look, &path, one.colour)?;
    }
    if lines.lines.is_empty() {
        let middle = (i32::midpoint(left, right), i32::midpoint(sheet.top, sheet.bottom));
        Words::new(TEXT, HPos::Center, VPos::Center).colour(theme::ALARM).draw(area, "nothing was measured", middle)?;
    }
    if sheet.look.paper {
        outline(area, [(left, sheet.top), (right, sheet.bottom)], theme::INK, 0.8)?;
        draw_inner_legend(area, sheet.look, legend, left, right, sheet.top, true)?;
    }
    Ok(())
}
