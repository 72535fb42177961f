//! A figure as SVG: title, legend and caption around what [`draw_marks`](super::draw_marks) and its neighbours draw.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{
    Area, BOLD, Drawn, TEXT, TITLE, Words, cross, filled, line, line_of, marker, outline, rectangle, segment, shaded,
    turned, width_of, wrap,
};
use super::description::{Chart, Description, Entry, Key};
use super::theme::{self, Look, points};
use super::{draw_curves, draw_heat, draw_lines, draw_marks, draw_sequence, draw_setup, draw_timeline};

/// Space around things.
pub(super) fn pad() -> i32 {
    points(5.0)
}

/// What is left of the sheet for the chart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sheet {
    pub(super) look: Look,
    pub(super) width: i32,
    pub(super) top: i32,
    pub(super) bottom: i32,
}

/// What is drawn around the chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sides {
    /// Title, legend and caption: a picture that is read by itself.
    All,
    /// The legend: title and caption are in the document's text.
    Legend,
}

/// The figure as SVG text.
///
/// # Errors
/// When plotters refuses; writing to a string, it does not.
pub fn svg(figure: &Description, sides: Sides) -> Result<String, DrawingAreaErrorKind<std::io::Error>> {
    theme::register();
    let look = Look::of(figure.theme, figure.column);
    let units = |inches: f64| (inches * theme::UNITS_PER_INCH) as i32;
    let width = units(look.width_inches);
    // The paper's charts carry neither: both are in its text.
    let bare = look.paper || sides == Sides::Legend;
    let title = if bare { "" } else { figure.title.as_str() };
    let titles = if title.is_empty() { Vec::new() } else { wrap(title, TITLE * BOLD, width - 2 * pad()) };
    let caption = if bare { Vec::new() } else { wrap(&bound(&figure.caption), TEXT, width - 2 * pad()) };
    let legend = if look.paper { Vec::new() } else { legend_rows(&figure.legend, width - 2 * pad()) };
    let legend_height: i32 = legend.iter().map(|row| row_height(row)).sum();
    let legend_top = pad() + titles.len() as i32 * line(TITLE) + if titles.is_empty() { 0 } else { pad() };
    let top = legend_top + legend_height + 2 * pad();
    let plot_height = match &figure.chart {
        Chart::Timeline(timeline) => draw_timeline::height(timeline, width),
        Chart::Heat(heat) => draw_heat::height(heat, width),
        _ => units(look.plot_inches),
    };
    let (head, foot) = match &figure.chart {
        Chart::Marks { x_label, y_label, log, panels } => {
            let labels = (x_label.as_str(), y_label.as_str());
            draw_marks::margins(look, (labels, *log, panels), width, plot_height, &figure.legend)
        }
        Chart::Lines(_) => draw_lines::margins(),
        Chart::Curves(curves) => draw_curves::margins(look, curves, width, plot_height),
        Chart::Timeline(_) => draw_timeline::margins(),
        Chart::Heat(heat) => draw_heat::margins(look, heat, width),
        Chart::Sequence(_) => draw_sequence::margins(),
        Chart::Setup(_) => (0, 0),
    };
    let sheet = Sheet { look, width, top: top + head, bottom: top + head + plot_height };
    let caption_top = sheet.bottom + foot + pad();
    let height = caption_top + caption.len() as i32 * line(TEXT) + pad();

    let mut out = String::new();
    {
        let area = SVGBackend::with_string(&mut out, (width.unsigned_abs(), height.unsigned_abs())).into_drawing_area();
        area.fill(&WHITE)?;
        for (n, words) in titles.iter().enumerate() {
            let at = (pad(), pad() + n as i32 * line(TITLE));
            Words::new(TITLE, HPos::Left, VPos::Top).bold().draw(&area, words, at)?;
        }
        let mut row_top = legend_top;
        for row in &legend {
            draw_row(&area, look, row, (pad(), row_top))?;
            row_top += row_height(row);
        }
        match &figure.chart {
            Chart::Marks { x_label, y_label, log, panels } => {
                let labels = (x_label.as_str(), y_label.as_str());
                draw_marks::draw(&area, sheet, (labels, *log, panels), &figure.legend)?;
            }
            Chart::Lines(lines) => draw_lines::draw(&area, sheet, lines, &figure.legend)?,
            Chart::Curves(curves) => draw_curves::draw(&area, sheet, curves, &figure.legend)?,
            Chart::Timeline(timeline) => draw_timeline::draw(&area, sheet, timeline, &figure.legend)?,
            Chart::Heat(heat) => draw_heat::draw(&area, sheet, heat)?,
            Chart::Sequence(sequence) => draw_sequence::draw(&area, sheet, sequence, &figure.legend)?,
            Chart::Setup(setup) => draw_setup::draw(&area, sheet, setup)?,
        }
        for (n, words) in caption.iter().enumerate() {
            let at = (pad(), caption_top + n as i32 * line(TEXT));
            Words::new(TEXT, HPos::Left, VPos::Top).colour(theme::FAINT).draw(&area, words, at)?;
        }
        area.present()?;
    }
    Ok(turned(&out))
}

/// The same words with what belongs together bound by spaces at which no line breaks.
fn bound(words: &str) -> String {
    words.replace(" %", "\u{a0}%").replace(" n = ", " n\u{a0}=\u{a0}")
}

/// Width of a legend's key, and from its left side to the words.
const KEY: f64 = 11.0;
const KEY_AND_GAP: f64 = 14.0;

/// An entry of a legend with its words in lines that fit.
struct Block {
    key: Key,
    lines: Vec<String>,
    width: i32,
}

/// The legend's entries in rows that fit.
fn legend_rows(entries: &[Entry], width: i32) -> Vec<Vec<Block>> {
    let mut rows: Vec<Vec<Block>> = Vec::new();
    let mut used = 0;
    for entry in entries {
        let lines = wrap(&entry.label, TEXT, width - points(KEY_AND_GAP));
        let words = lines.iter().map(|line| width_of(line, TEXT)).max().unwrap_or(0);
        let block = Block { key: entry.key, lines, width: points(KEY_AND_GAP) + words };
        match rows.last_mut() {
            Some(row) if used + block.width <= width => {
                used += block.width + points(12.0);
                row.push(block);
            }
            _ => {
                used = block.width + points(12.0);
                rows.push(vec![block]);
            }
        }
    }
    rows
}

fn row_height(row: &[Block]) -> i32 {
    row.iter().map(|block| block.lines.len()).max().unwrap_or(0) as i32 * (line(TEXT) + points(0.8))
}

fn draw_row(area: &Area<'_>, look: Look, row: &[Block], at: (i32, i32)) -> Drawn {
    let mut x = at.0;
    for block in row {
        let y = at.1 + line(TEXT) / 2;
        draw_key(area, look, block.key, (x, y), points(KEY))?;
        for (n, words) in block.lines.iter().enumerate() {
            let at = (x + points(KEY_AND_GAP), y + n as i32 * line(TEXT));
            Words::new(TEXT, HPos::Left, VPos::Center).draw(area, words, at)?;
        }
        x += block.width + points(12.0);
    }
    Ok(())
}

/// The sign of a legend's entry; `at` is the middle of its left side.
fn draw_key(area: &Area<'_>, look: Look, key: Key, at: (i32, i32), size: i32) -> Drawn {
    let half = points(3.6);
    let corners = [(at.0, at.1 - half), (at.0 + size, at.1 + half)];
    let middle = (at.0 + size / 2, at.1);
    let across = [at, (at.0 + size, at.1)];
    match key {
        Key::Group(group) => shaded(area, look, &rectangle(corners), group, (0, 1)),
        Key::Layer(n, of) => filled(area, corners, look.area(theme::FAINT, (n, of))),
        Key::Reference => outline(area, corners, theme::INK, 0.8),
        Key::Point(kind) => draw_sequence::draw_point(area, kind, middle),
        Key::Line => segment(area, at, (at.0 + size, at.1), look.colour(0), 1.2),
        Key::Steps(group) => line_of(area, look, &across, group),
        Key::Curve(group) => {
            line_of(area, look, &across, group)?;
            marker(area, look, middle, group)
        }
        Key::Missing => cross(area, middle),
    }
}

/// Size of words in the paper's legend, space around things, width of a colour's patch.
fn inner_legend_measures() -> (f64, i32, i32) {
    (TEXT + 1.0, points(6.0), points(16.0))
}

/// Width and height of the paper's legend, without the space around it; nothing for no entries.
pub(super) fn inner_legend_size(entries: &[Entry]) -> (i32, i32) {
    let (size, gap, swatch) = inner_legend_measures();
    let Some(longest) = entries.iter().map(|entry| width_of(&entry.label, size)).max() else { return (0, 0) };
    (longest + swatch + 3 * gap, entries.len() as i32 * line(size) + gap)
}

/// The paper's legend: a framed box within the plot, in an upper corner.
pub(super) fn draw_inner_legend(
    area: &Area<'_>,
    look: Look,
    entries: &[Entry],
    left: i32,
    right: i32,
    top: i32,
    at_left: bool,
) -> Drawn {
    if entries.is_empty() {
        return Ok(());
    }
    let (size, gap, swatch) = inner_legend_measures();
    let (width, height) = inner_legend_size(entries);
    let x = if at_left { left + gap } else { right - gap - width };
    let y = top + gap;
    filled(area, [(x, y), (x + width, y + height)], WHITE)?;
    outline(area, [(x, y), (x + width, y + height)], theme::GRID, 0.8)?;
    for (n, entry) in entries.iter().enumerate() {
        let middle = y + gap / 2 + n as i32 * line(size) + line(size) / 2;
        let (a, b) = ((x + gap, middle - points(3.0)), (x + gap + swatch, middle + points(3.0)));
        match entry.key {
            Key::Group(group) => filled(area, [a, b], look.area(look.colour(group), (0, 1)))?,
            Key::Layer(n, of) => filled(area, [a, b], look.area(theme::FAINT, (n, of)))?,
            Key::Reference => outline(area, [a, b], theme::INK, 0.8)?,
            _ => draw_key(area, look, entry.key, (a.0, middle), swatch)?,
        }
        Words::new(size, HPos::Left, VPos::Center).draw(area, &entry.label, (b.0 + gap, middle))?;
    }
    Ok(())
}
