//! Draws the phases of a start-up as segments over time.

use plotters::style::text_anchor::{HPos, VPos};

use super::axes::wrap_to_lines;
use super::canvas::{
    Area, DrawResult, FONT_SIZE, Scale, TextFormat, draw_group_area, draw_lines, draw_outline, draw_segment,
    line_height, rectangle, shorten, text_width, wrap_words,
};
use super::description::LegendEntry;
use super::draw::{Sheet, draw_inner_legend, padding};
use super::theme::{self, points};
use super::timeline::{Row, Timeline};
use crate::number::{significant, unit_suffix};

/// Height of a row whose label has one line.
fn row_height() -> i32 {
    points(15.0)
}

/// The labels of the rows, each in at most three lines.
struct Labels {
    lines: Vec<Vec<String>>,
    width: i32,
    row: i32,
}

impl Labels {
    fn new(timeline: &Timeline, width: i32) -> Self {
        let most = width * 7 / 20;
        let short = |row: &Row| match wrap_words(&row.label, FONT_SIZE, most) {
            lines if lines.len() <= 3 && lines.iter().all(|line| text_width(line, FONT_SIZE) <= most) => lines,
            _ => wrap_to_lines(&row.label, most, 3),
        };
        let lines: Vec<Vec<String>> = timeline.rows.iter().map(short).collect();
        let width = lines.iter().flatten().map(|line| text_width(line, FONT_SIZE)).max().unwrap_or(0);
        let tallest = lines.iter().map(Vec::len).max().unwrap_or(1) as i32;
        Self { lines, width, row: row_height().max(tallest * line_height(FONT_SIZE) + points(4.0)) }
    }
}

/// Height of the plot.
pub(super) fn height(timeline: &Timeline, width: i32) -> i32 {
    Labels::new(timeline, width).row * timeline.rows.len().max(1) as i32
}

/// Space above the plot, and below it for the x axis.
pub(super) fn margins() -> (i32, i32) {
    (0, 2 * line_height(FONT_SIZE) + points(6.0))
}

/// The text at the end of a row: its total, with the unit.
fn total_text(row: &Row, unit: &str) -> String {
    let Some(last) = row.spans.last() else { return String::new() };
    significant(last.to) + &unit_suffix(unit)
}

/// The x axis. It is as long as the text to the right of each row allows, but at least half of the available width.
fn across(timeline: &Timeline, left: i32, width: i32) -> Scale {
    let longest = timeline.rows.iter().map(end).fold(0.0, f64::max);
    let text_after = |row: &Row| {
        let note = if row.note.is_empty() { 0 } else { points(4.0) + text_width(&row.note, FONT_SIZE) };
        points(4.0) + text_width(&total_text(row, &timeline.unit), FONT_SIZE) + note
    };
    let fits = |scale: &Scale| {
        timeline
            .rows
            .iter()
            .filter(|row| !row.spans.is_empty())
            .all(|row| scale.position(end(row)) + text_after(row) <= width - padding())
    };
    let mut right = width - points(12.0);
    loop {
        let scale = Scale::new(longest, left, right);
        if fits(&scale) || right - left < (width - left) / 2 {
            return scale;
        }
        right -= points(4.0);
    }
}

fn end(row: &Row) -> f64 {
    let last = row.spans.last().map_or(0.0, |span| span.to);
    row.interval.map_or(last, |(_, high)| high.max(last))
}

pub(super) fn draw(area: &Area<'_>, sheet: Sheet, timeline: &Timeline, legend: &[LegendEntry]) -> DrawResult {
    let labels = Labels::new(timeline, sheet.width);
    let left = padding() + labels.width + points(5.0);
    let across = across(timeline, left, sheet.width);
    let right = across.end;
    for (x, text) in across.ticks() {
        draw_segment(area, (x, sheet.top), (x, sheet.bottom), theme::GRID, 0.5)?;
        draw_segment(area, (x, sheet.bottom), (x, sheet.bottom + points(3.0)), theme::INK, 0.8)?;
        TextFormat::new(FONT_SIZE, HPos::Center, VPos::Top).draw(area, &text, (x, sheet.bottom + points(4.0)))?;
    }
    draw_segment(area, (left, sheet.bottom), (right, sheet.bottom), theme::INK, 0.8)?;
    let below = (i32::midpoint(left, right), sheet.bottom + points(5.0) + line_height(FONT_SIZE));
    TextFormat::new(FONT_SIZE, HPos::Center, VPos::Top).draw(area, &timeline.x_label, below)?;
    for (n, row) in timeline.rows.iter().enumerate() {
        let middle = sheet.top + n as i32 * labels.row + labels.row / 2;
        let label = TextFormat::new(FONT_SIZE, HPos::Right, VPos::Center);
        draw_lines(area, label, &labels.lines[n], (left - points(4.0), middle))?;
        draw_row(area, sheet, row, &timeline.unit, &across, middle)?;
    }
    draw_segment(area, (left, sheet.top), (left, sheet.bottom), theme::INK, 0.8)?;
    if sheet.style.paper {
        draw_outline(area, [(left, sheet.top), (right, sheet.bottom)], theme::INK, 0.8)?;
        draw_inner_legend(area, sheet.style, legend, left, right, sheet.top, false)?;
    }
    Ok(())
}

fn draw_row(area: &Area<'_>, sheet: Sheet, row: &Row, unit: &str, across: &Scale, middle: i32) -> DrawResult {
    let half = points(4.5);
    for span in &row.spans {
        let corners = [(across.position(span.from), middle - half), (across.position(span.to), middle + half)];
        draw_group_area(area, sheet.style, &rectangle(corners), span.colour, (0, 1))?;
    }
    if let Some((low, high)) = row.interval {
        let (low, high) = (across.position(low), across.position(high));
        draw_segment(area, (low, middle), (high, middle), theme::INK, 0.9)?;
        for x in [low, high] {
            draw_segment(area, (x, middle - points(2.0)), (x, middle + points(2.0)), theme::INK, 0.9)?;
        }
    }
    let mut from = across.position(end(row)) + points(4.0);
    if !row.spans.is_empty() {
        let total = total_text(row, unit);
        TextFormat::new(FONT_SIZE, HPos::Left, VPos::Center).draw(area, &total, (from, middle))?;
        from += text_width(&total, FONT_SIZE) + points(4.0);
    }
    if row.note.is_empty() {
        return Ok(());
    }
    // A long row leaves no space to its right: the note is drawn on a white plate over the start of the row.
    let note = shorten(&row.note, FONT_SIZE, across.end - across.position(0.0) - points(8.0));
    let wide = text_width(&note, FONT_SIZE);
    if from + wide > sheet.width - padding() {
        from = across.position(0.0) + points(4.0);
        let plate = [
            (from - points(2.0), middle - half + points(0.5)),
            (from + wide + points(2.0), middle + half - points(0.5)),
        ];
        super::canvas::fill_rectangle(area, plate, theme::WHITE)?;
    }
    TextFormat::new(FONT_SIZE, HPos::Left, VPos::Center).colour(theme::ALARM).draw(area, &note, (from, middle))
}
