//! Draws a heat map with its colour scale.

use plotters::style::RGBColor;
use plotters::style::text_anchor::{HPos, VPos};

use super::axes::{TickLabels, wrap_to_lines};
use super::canvas::{
    Area, DrawResult, FONT_SIZE, Scale, TextFormat, draw_lines, draw_outline, draw_segment, fill_rectangle,
    line_height, rectangle, shorten, text_width, wrap,
};
use super::draw::{Sheet, padding};
use super::hatch::{Hatch, strokes};
use super::heat_map::{HeatCell, HeatMap};
use super::theme::{self, Style, points};

/// Nine classes of blue from light to dark: C. Brewer and M. Harrower, ColorBrewer 2.0 (2013). Colours in between are
/// mixed.
const BLUES: [RGBColor; 9] = [
    RGBColor(0xf7, 0xfb, 0xff),
    RGBColor(0xde, 0xeb, 0xf7),
    RGBColor(0xc6, 0xdb, 0xef),
    RGBColor(0x9e, 0xca, 0xe1),
    RGBColor(0x6b, 0xae, 0xd6),
    RGBColor(0x42, 0x92, 0xc6),
    RGBColor(0x21, 0x71, 0xb5),
    RGBColor(0x08, 0x51, 0x9c),
    RGBColor(0x08, 0x30, 0x6b),
];

/// The colour at a position from 0 to 1 on the scale.
fn colour(share: f64) -> RGBColor {
    // The lightest class is not used: it looks like white paper.
    let place = 1.0 + share.clamp(0.0, 1.0) * (BLUES.len() - 2) as f64;
    let below = (place.floor() as usize).min(BLUES.len() - 2);
    theme::mix(BLUES[below + 1], BLUES[below], place - below as f64)
}

/// Black or white, whichever has more contrast on the colour.
fn text_colour(on: RGBColor) -> RGBColor {
    let luminance = theme::luminance(on);
    if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 { theme::WHITE } else { RGBColor(0, 0, 0) }
}

/// Width available for text in a cell of this width.
fn text_room(cell: i32) -> i32 {
    cell - points(2.5)
}

/// Wrapped labels and sizes of the chart.
struct Layout {
    /// Labels of the rows, in lines.
    rows: Vec<Vec<String>>,
    /// Name of the axis of the rows, in lines.
    y_label: Vec<String>,
    tick_labels: TickLabels,
    row: i32,
    /// Label of the colour scale, in lines.
    label: Vec<String>,
}

impl Layout {
    fn new(style: Style, heat: &HeatMap, width: i32) -> Self {
        let most = width * 3 / 10;
        let rows: Vec<Vec<String>> = heat.rows.iter().map(|row| wrap_to_lines(row, most, 3)).collect();
        let lines = rows.iter().map(Vec::len).max().unwrap_or(1) as i32;
        let labels = rows.iter().flatten().map(|line| text_width(line, FONT_SIZE)).max().unwrap_or(0);
        let widest = heat.cells.iter().flatten().map(|cell| text_width(&cell.text, FONT_SIZE)).max().unwrap_or(0);
        // The label of the row axis is wrapped to the height of all rows.
        let count = heat.rows.len().max(1) as i32;
        let plan = |upright: bool| {
            let tall = if upright { widest + points(6.0) } else { points(19.0) };
            let row = tall.max(lines * line_height(FONT_SIZE) + points(4.0));
            let y_label =
                if heat.y_label.is_empty() { Vec::new() } else { wrap(&heat.y_label, FONT_SIZE, row * count) };
            let left =
                padding() / 2 + y_label.len() as i32 * line_height(FONT_SIZE) + points(4.0) + labels + points(5.0);
            (row, y_label, TickLabels::new(style, &[&heat.columns], left, width))
        };
        // Text that is wider than its cell is rotated and needs a higher row.
        let (row, y_label, tick_labels) = plan(false);
        let upright = widest > text_room(tick_labels.frames[0].tick_width(heat.columns.len()) as i32);
        let (row, y_label, tick_labels) = if upright { plan(true) } else { (row, y_label, tick_labels) };
        let label = wrap(&heat.label, FONT_SIZE, tick_labels.frames[0].width());
        Self { rows, y_label, tick_labels, row, label }
    }

    /// Height of the colour scale with its label.
    fn scale_height(&self) -> i32 {
        (self.label.len() as i32 + 1) * line_height(FONT_SIZE) + points(7.0) + points(10.0)
    }
}

/// Height of the plot.
pub(super) fn height(heat: &HeatMap, width: i32) -> i32 {
    let style = Style { paper: false, width_inches: 0.0, plot_inches: 0.0 };
    Layout::new(style, heat, width).row * heat.rows.len().max(1) as i32
}

/// Space above the plot for the scale, and below it for the x axis.
pub(super) fn margins(style: Style, heat: &HeatMap, width: i32) -> (i32, i32) {
    let layout = Layout::new(Style { paper: false, ..style }, heat, width);
    let label = if heat.x_label.is_empty() { 0 } else { line_height(FONT_SIZE) };
    (layout.scale_height(), layout.tick_labels.height + label + points(6.0))
}

pub(super) fn draw(area: &Area<'_>, sheet: Sheet, heat: &HeatMap) -> DrawResult {
    let layout = Layout::new(Style { paper: false, ..sheet.style }, heat, sheet.width);
    let frame = layout.tick_labels.frames[0];
    let values = || heat.cells.iter().flatten().filter_map(|cell| cell.value);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    draw_scale(area, sheet, &layout, low, high)?;
    let columns = heat.columns.len();
    for (n, cells) in heat.cells.iter().enumerate() {
        let (y0, y1) = (sheet.top + n as i32 * layout.row, sheet.top + (n as i32 + 1) * layout.row);
        for (m, cell) in cells.iter().enumerate() {
            let edge = |m: usize| frame.x0 + (frame.tick_width(columns) * m as f64).round() as i32;
            let share = |value: f64| if high > low { (value - low) / (high - low) } else { 0.5 };
            draw_cell(area, cell, cell.value.map(share), [(edge(m), y0), (edge(m + 1), y1)])?;
        }
        let label = TextFormat::new(FONT_SIZE, HPos::Right, VPos::Center);
        draw_lines(area, label, &layout.rows[n], (frame.x0 - points(4.0), i32::midpoint(y0, y1)))?;
    }
    for (n, line_text) in layout.y_label.iter().enumerate() {
        let at = (padding() / 2 + n as i32 * line_height(FONT_SIZE), i32::midpoint(sheet.top, sheet.bottom));
        TextFormat::new(FONT_SIZE, HPos::Center, VPos::Top).draw_up(area, line_text, at)?;
    }
    layout.tick_labels.draw(area, 0, sheet.bottom + points(4.0))?;
    let at = (i32::midpoint(frame.x0, frame.x1), sheet.bottom + points(5.0) + layout.tick_labels.height);
    let x_label = shorten(&heat.x_label, FONT_SIZE, frame.width());
    TextFormat::new(FONT_SIZE, HPos::Center, VPos::Top).draw(area, &x_label, at)
}

/// Draws the colour scale: a strip from the lowest to the highest value, with a tick at each round number.
fn draw_scale(area: &Area<'_>, sheet: Sheet, layout: &Layout, low: f64, high: f64) -> DrawResult {
    let frame = layout.tick_labels.frames[0];
    let mut y = sheet.top - layout.scale_height();
    for line_text in &layout.label {
        TextFormat::new(FONT_SIZE, HPos::Left, VPos::Top).draw(area, line_text, (frame.x0, y))?;
        y += line_height(FONT_SIZE);
    }
    y += points(2.0);
    // Fewer than two different values span no scale.
    if high <= low {
        return Ok(());
    }
    const STEPS: i32 = 120;
    let x = |n: i32| frame.x0 + frame.width() * n / STEPS;
    for n in 0..STEPS {
        let share = (f64::from(n) + 0.5) / f64::from(STEPS);
        // Each step fills the rest of the strip, so that no seams are visible.
        fill_rectangle(area, [(x(n), y), (frame.x1, y + points(7.0))], colour(share))?;
    }
    let strip = [(frame.x0, y), (frame.x1, y + points(7.0))];
    draw_outline(area, strip, theme::FAINT, 0.5)?;
    let round = Scale::around(&[low, high], 0, 1);
    let (step, bottom) = (round.step, strip[1].1);
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    let mut n = (low / step - 1e-9).ceil();
    let mut free = i32::MIN;
    while n * step <= high + step * 1e-9 {
        let value = n * step;
        let x = frame.x0 + (f64::from(frame.width()) * (value - low) / (high - low)).round() as i32;
        let tick = format!("{value:.decimals$}");
        let half = text_width(&tick, FONT_SIZE) / 2;
        // The last number would be clipped at the edge of the sheet.
        let middle = x.min(sheet.width - half - points(1.0));
        if middle - half > free {
            draw_segment(area, (x, bottom), (x, bottom + points(2.0)), theme::INK, 0.7)?;
            TextFormat::new(FONT_SIZE, HPos::Center, VPos::Top).draw(area, &tick, (middle, bottom + points(2.5)))?;
            free = middle + half + points(4.0);
        }
        n += 1.0;
    }
    Ok(())
}

fn draw_cell(area: &Area<'_>, cell: &HeatCell, share: Option<f64>, corners: [(i32, i32); 2]) -> DrawResult {
    let middle = (i32::midpoint(corners[0].0, corners[1].0), i32::midpoint(corners[0].1, corners[1].1));
    let fill = share.map_or(theme::WHITE, colour);
    fill_rectangle(area, corners, fill)?;
    let (wide, high) = (corners[1].0 - corners[0].0, corners[1].1 - corners[0].1);
    let upright = text_width(&cell.text, FONT_SIZE) > text_room(wide);
    let text = shorten(&cell.text, FONT_SIZE, text_room(if upright { high } else { wide }));
    let text_ink = match share {
        Some(_) => text_colour(fill),
        None => {
            for [a, b] in strokes(&rectangle(corners), Hatch::Crossed, f64::from(points(5.0))) {
                draw_segment(area, a, b, theme::mix(theme::ALARM, theme::WHITE, 0.45), 0.4)?;
            }
            // The text is on a white plate, so that the hatching does not cross it.
            let (along, across) = (text_width(&text, FONT_SIZE) / 2 + points(1.5), line_height(FONT_SIZE) / 2);
            let (x, y) = if upright { (across, along) } else { (along, across) };
            fill_rectangle(area, [(middle.0 - x, middle.1 - y), (middle.0 + x, middle.1 + y)], theme::WHITE)?;
            theme::ALARM
        }
    };
    draw_outline(area, corners, theme::WHITE, 1.0)?;
    let style = TextFormat::new(FONT_SIZE, HPos::Center, VPos::Center).colour(text_ink);
    if upright { style.draw_up(area, &text, middle) } else { style.draw(area, &text, middle) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_darken_monotonically_and_text_is_readable_on_each() {
        let shares: Vec<f64> = (0..=100).map(|n| f64::from(n) / 100.0).collect();
        for pair in shares.windows(2) {
            assert!(theme::luminance(colour(pair[0])) > theme::luminance(colour(pair[1])), "{pair:?}");
        }
        for share in shares {
            let (on, text) = (theme::luminance(colour(share)), theme::luminance(text_colour(colour(share))));
            assert!((on.max(text) + 0.05) / (on.min(text) + 0.05) > 4.5, "{share}");
        }
    }
}
