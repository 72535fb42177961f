//! Draws a table of values in colours and numbers.

use plotters::style::RGBColor;
use plotters::style::text_anchor::{HPos, VPos};

use super::axes::{Below, few_lines};
use super::canvas::{
    Area, Drawn, Scale, TEXT, Words, filled, line, outline, rectangle, segment, shortened, width_of, wrap,
};
use super::draw::{Sheet, pad};
use super::hatch::{Hatch, strokes};
use super::heat::{Heat, HeatCell};
use super::theme::{self, Look, points};

/// Light to dark in even steps of lightness: nine classes of blue, C. Brewer and M. Harrower, ColorBrewer 2.0 (2013); between them
/// colours are mixed.
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

/// The colour of a share from 0 to 1 of the scale.
fn colour(share: f64) -> RGBColor {
    // The lightest class is left out: it could not be told from paper.
    let place = 1.0 + share.clamp(0.0, 1.0) * (BLUES.len() - 2) as f64;
    let below = (place.floor() as usize).min(BLUES.len() - 2);
    theme::mixed(BLUES[below + 1], BLUES[below], place - below as f64)
}

/// Black or white, whichever is read better on the colour.
fn ink(on: RGBColor) -> RGBColor {
    let luminance = theme::luminance(on);
    if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 { theme::WHITE } else { RGBColor(0, 0, 0) }
}

/// What words may take of a place.
fn room(place: i32) -> i32 {
    place - points(2.5)
}

/// Where everything of the chart is, before it is drawn.
struct Layout {
    rows: Vec<Vec<String>>,
    /// The name of the rows' axis, in lines.
    y_label: Vec<String>,
    below: Below,
    /// Height of a row.
    row: i32,
    label: Vec<String>,
}

impl Layout {
    fn new(look: Look, heat: &Heat, width: i32) -> Self {
        let most = width * 3 / 10;
        let rows: Vec<Vec<String>> = heat.rows.iter().map(|row| few_lines(row, most, 3)).collect();
        let lines = rows.iter().map(Vec::len).max().unwrap_or(1) as i32;
        let words = rows.iter().flatten().map(|words| width_of(words, TEXT)).max().unwrap_or(0);
        let widest = heat.cells.iter().flatten().map(|cell| width_of(&cell.words, TEXT)).max().unwrap_or(0);
        // The label stands beside the rows; how many lines it may have is known only with their height.
        let count = heat.rows.len().max(1) as i32;
        let plan = |upright: bool| {
            let tall = if upright { widest + points(6.0) } else { points(19.0) };
            let row = tall.max(lines * line(TEXT) + points(4.0));
            let y_label = if heat.y_label.is_empty() { Vec::new() } else { wrap(&heat.y_label, TEXT, row * count) };
            let left = pad() / 2 + y_label.len() as i32 * line(TEXT) + points(4.0) + words + points(5.0);
            (row, y_label, Below::new(look, &[&heat.columns], left, width))
        };
        // Words that are wider than their place stand upright, and ask for a higher row.
        let (row, y_label, below) = plan(false);
        let upright = widest > room(below.frames[0].slot(heat.columns.len()) as i32);
        let (row, y_label, below) = if upright { plan(true) } else { (row, y_label, below) };
        let label = wrap(&heat.label, TEXT, below.frames[0].width());
        Self { rows, y_label, below, row, label }
    }

    /// The scale with its words.
    fn head(&self) -> i32 {
        (self.label.len() as i32 + 1) * line(TEXT) + points(7.0) + points(10.0)
    }
}

/// Height of the plot.
pub(super) fn height(heat: &Heat, width: i32) -> i32 {
    let look = Look { paper: false, width_inches: 0.0, plot_inches: 0.0 };
    Layout::new(look, heat, width).row * heat.rows.len().max(1) as i32
}

/// Room above the plot for the scale, and below it for the x axis.
pub(super) fn margins(look: Look, heat: &Heat, width: i32) -> (i32, i32) {
    let layout = Layout::new(Look { paper: false, ..look }, heat, width);
    let label = if heat.x_label.is_empty() { 0 } else { line(TEXT) };
    (layout.head(), layout.below.height + label + points(6.0))
}

pub(super) fn draw(area: &Area<'_>, sheet: Sheet, heat: &Heat) -> Drawn {
    let layout = Layout::new(Look { paper: false, ..sheet.look }, heat, sheet.width);
    let frame = layout.below.frames[0];
    let values = || heat.cells.iter().flatten().filter_map(|cell| cell.value);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    draw_scale(area, sheet, &layout, low, high)?;
    let columns = heat.columns.len();
    for (n, cells) in heat.cells.iter().enumerate() {
        let (y0, y1) = (sheet.top + n as i32 * layout.row, sheet.top + (n as i32 + 1) * layout.row);
        for (m, cell) in cells.iter().enumerate() {
            let edge = |m: usize| frame.x0 + (frame.slot(columns) * m as f64).round() as i32;
            let share = |value: f64| if high > low { (value - low) / (high - low) } else { 0.5 };
            draw_cell(area, cell, cell.value.map(share), [(edge(m), y0), (edge(m + 1), y1)])?;
        }
        let lines = &layout.rows[n];
        for (m, words) in lines.iter().enumerate() {
            let y = i32::midpoint(y0, y1) + (2 * m as i32 + 1 - lines.len() as i32) * line(TEXT) / 2;
            Words::new(TEXT, HPos::Right, VPos::Center).draw(area, words, (frame.x0 - points(4.0), y))?;
        }
    }
    for (n, words) in layout.y_label.iter().enumerate() {
        let at = (pad() / 2 + n as i32 * line(TEXT), i32::midpoint(sheet.top, sheet.bottom));
        Words::new(TEXT, HPos::Center, VPos::Top).draw_up(area, words, at)?;
    }
    layout.below.draw(area, 0, sheet.bottom + points(4.0))?;
    let at = (i32::midpoint(frame.x0, frame.x1), sheet.bottom + points(5.0) + layout.below.height);
    let words = shortened(&heat.x_label, TEXT, frame.width());
    Words::new(TEXT, HPos::Center, VPos::Top).draw(area, &words, at)
}

/// What the colours stand for: a strip from the least to the largest value, with a tick at each round number.
fn draw_scale(area: &Area<'_>, sheet: Sheet, layout: &Layout, low: f64, high: f64) -> Drawn {
    let frame = layout.below.frames[0];
    let mut y = sheet.top - layout.head();
    for words in &layout.label {
        Words::new(TEXT, HPos::Left, VPos::Top).draw(area, words, (frame.x0, y))?;
        y += line(TEXT);
    }
    y += points(2.0);
    // Without two values there is no scale.
    if high <= low {
        return Ok(());
    }
    const STEPS: i32 = 120;
    let x = |n: i32| frame.x0 + frame.width() * n / STEPS;
    for n in 0..STEPS {
        let share = (f64::from(n) + 0.5) / f64::from(STEPS);
        // Each covers the rest, so that no seam is seen between two.
        filled(area, [(x(n), y), (frame.x1, y + points(7.0))], colour(share))?;
    }
    let strip = [(frame.x0, y), (frame.x1, y + points(7.0))];
    outline(area, strip, theme::FAINT, 0.5)?;
    let round = Scale::around(&[low, high], 0, 1);
    let (step, bottom) = (round.step, strip[1].1);
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    let mut n = (low / step - 1e-9).ceil();
    let mut free = i32::MIN;
    while n * step <= high + step * 1e-9 {
        let value = n * step;
        let x = frame.x0 + (f64::from(frame.width()) * (value - low) / (high - low)).round() as i32;
        let words = format!("{value:.decimals$}");
        let half = width_of(&words, TEXT) / 2;
        if x - half > free {
            segment(area, (x, bottom), (x, bottom + points(2.0)), theme::INK, 0.7)?;
            Words::new(TEXT, HPos::Center, VPos::Top).draw(area, &words, (x, bottom + points(2.5)))?;
            free = x + half + points(4.0);
        }
        n += 1.0;
    }
    Ok(())
}

fn draw_cell(area: &Area<'_>, cell: &HeatCell, share: Option<f64>, corners: [(i32, i32); 2]) -> Drawn {
    let middle = (i32::midpoint(corners[0].0, corners[1].0), i32::midpoint(corners[0].1, corners[1].1));
    let fill = share.map_or(theme::WHITE, colour);
    filled(area, corners, fill)?;
    let (wide, high) = (corners[1].0 - corners[0].0, corners[1].1 - corners[0].1);
    let upright = width_of(&cell.words, TEXT) > room(wide);
    let words = shortened(&cell.words, TEXT, room(if upright { high } else { wide }));
    let ink = match share {
        Some(_) => ink(fill),
        None => {
            for [a, b] in strokes(&rectangle(corners), Hatch::Crossed, f64::from(points(5.0))) {
                segment(area, a, b, theme::mixed(theme::ALARM, theme::WHITE, 0.45), 0.4)?;
            }
            // The words lie on a white plate, off the hatching.
            let (along, across) = (width_of(&words, TEXT) / 2 + points(1.5), line(TEXT) / 2);
            let (x, y) = if upright { (across, along) } else { (along, across) };
            filled(area, [(middle.0 - x, middle.1 - y), (middle.0 + x, middle.1 + y)], theme::WHITE)?;
            theme::ALARM
        }
    };
    outline(area, corners, theme::WHITE, 1.0)?;
    let style = Words::new(TEXT, HPos::Center, VPos::Center).colour(ink);
    if upright { style.draw_up(area, &words, middle) } else { style.draw(area, &words, middle) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_colours_grow_darker_throughout_and_words_are_read_on_each() {
        let shares: Vec<f64> = (0..=100).map(|n| f64::from(n) / 100.0).collect();
        for pair in shares.windows(2) {
            assert!(theme::luminance(colour(pair[0])) > theme::luminance(colour(pair[1])), "{pair:?}");
        }
        for share in shares {
            let (on, words) = (theme::luminance(colour(share)), theme::luminance(ink(colour(share))));
            assert!((on.max(words) + 0.05) / (on.min(words) + 0.05) > 4.5, "{share}");
        }
    }
}
