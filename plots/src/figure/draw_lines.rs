//! Draws distribution functions.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Area, Drawn, Scale, TEXT, Words, line, outline, segment};
use super::description::Entry;
use super::draw::{Sheet, draw_inner_legend, pad};
use super::lines::Lines;
use super::theme::{self, points};

/// Room above the plot, and below it for the x axis.
pub(super) fn margins() -> (i32, i32) {
    (0, 2 * line(TEXT) + points(6.0))
}

pub(super) fn draw(area: &Area<'_>, sheet: Sheet, lines: &Lines, legend: &[Entry]) -> Drawn {
    let (left, right) = (points(40.0), sheet.width - points(10.0));
    let largest = lines.lines.iter().flat_map(|line| &line.values).copied().fold(0.0, f64::max);
    let across = Scale::new(largest, left, right);
    let up = Scale { from: 0.0, zero: sheet.bottom, end: sheet.top, step: 0.2, steps: 5 };
    let middle = (sheet.top + sheet.bottom) / 2;
    Words::new(TEXT, HPos::Center, VPos::Top).draw_up(area, "Share of trials", (pad() / 2, middle))?;
    for (n, (y, text)) in up.ticks().iter().enumerate() {
        if !sheet.look.paper {
            let (colour, width) = if n == 0 { (theme::INK, 0.8) } else { (theme::GRID, 0.5) };
            segment(area, (left, *y), (right, *y), colour, width)?;
        }
        Words::new(TEXT, HPos::Right, VPos::Center).draw(area, text, (left - points(3.0), *y))?;
    }
    for (x, text) in across.ticks() {
        segment(area, (x, sheet.bottom), (x, sheet.bottom + points(3.0)), theme::INK, 0.8)?;
        Words::new(TEXT, HPos::Center, VPos::Top).draw(area, &text, (x, sheet.bottom + points(4.0)))?;
    }
    let below = (i32::midpoint(left, right), sheet.bottom + points(5.0) + line(TEXT));
    Words::new(TEXT, HPos::Center, VPos::Top).draw(area, &lines.x_label, below)?;
    for one in &lines.lines {
        let mut path = vec![(left, sheet.bottom)];
        let n = one.values.len() as f64;
        for (below, value) in one.values.iter().enumerate() {
            let x = across.at(*value);
            path.push((x, up.at(below as f64 / n)));
            path.push((x, up.at((below + 1) as f64 / n)));
        }
        path.push((right, sheet.top));
        area.draw(&PathElement::new(path, sheet.look.colour(one.colour).stroke_width(points(1.2).unsigned_abs())))?;
    }
    if sheet.look.paper {
        outline(area, [(left, sheet.top), (right, sheet.bottom)], theme::INK, 0.8)?;
        draw_inner_legend(area, sheet.look, legend, left, right, sheet.top, true)?;
    }
    Ok(())
}
