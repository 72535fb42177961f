//! Draws phases of a start-up as segments over time.

use plotters::style::text_anchor::{HPos, VPos};

use super::axes::few_lines;
use super::canvas::{
    Area, Drawn, Scale, TEXT, Words, line, outline, rectangle, segment, shaded, shortened, width_of, wrap_words,
};
use super::description::Entry;
use super::draw::{Sheet, draw_inner_legend, pad};
use super::theme::{self, points};
use super::timeline::{Row, Timeline};

/// Height of a row with one line of words.
fn row() -> i32 {
    points(15.0)
}

/// The rows' words, each in three lines at most.
struct Labels {
    lines: Vec<Vec<String>>,
    width: i32,
    /// Height of a row.
    row: i32,
}

impl Labels {
    fn new(timeline: &Timeline, width: i32) -> Self {
        let most = width * 7 / 20;
        let short = |row: &Row| match wrap_words(&row.label, TEXT, most) {
            lines if lines.len() <= 3 && lines.iter().all(|line| width_of(line, TEXT) <= most) => lines,
            _ => few_lines(&row.label, most, 3),
        };
        let lines: Vec<Vec<String>> = timeline.rows.iter().map(short).collect();
        let width = lines.iter().flatten().map(|words| width_of(words, TEXT)).max().unwrap_or(0);
        let tallest = lines.iter().map(Vec::len).max().unwrap_or(1) as i32;
        Self { lines, width, row: row().max(tallest * line(TEXT) + points(4.0)) }
    }
}

/// Height of the plot.
pub(super) fn height(timeline: &Timeline, width: i32) -> i32 {
    Labels::new(timeline, width).row * timeline.rows.len().max(1) as i32
}

/// Room above the plot, and below it for the x axis.
pub(super) fn margins() -> (i32, i32) {
    (0, 2 * line(TEXT) + points(6.0))
}

/// The number at a row's end.
fn number(row: &Row, unit: &str) -> String {
    let Some(last) = row.spans.last() else { return String::new() };
    let decimals = if last.to >= 99.95 { 0 } else { 1 };
    let unit = if unit == "1" { String::new() } else { format!(" {unit}") };
    format!("{:.decimals$}{unit}", last.to)
}

/// The x axis: as long as leaves room for the words right of each row, down to half of what there is.
fn across(timeline: &Timeline, left: i32, width: i32) -> Scale {
    let longest = timeline.rows.iter().map(end).fold(0.0, f64::max);
    let words = |row: &Row| {
        let note = if row.note.is_empty() { 0 } else { points(4.0) + width_of(&row.note, TEXT) };
        points(4.0) + width_of(&number(row, &timeline.unit), TEXT) + note
    };
    let fits = |scale: &Scale| {
        timeline
            .rows
            .iter()
            .filter(|row| !row.spans.is_empty())
            .all(|row| scale.at(end(row)) + words(row) <= width - pad())
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

pub(super) fn draw(area: &Area<'_>, sheet: Sheet, timeline: &Timeline, legend: &[Entry]) -> Drawn {
    let labels = Labels::new(timeline, sheet.width);
    let left = pad() + labels.width + points(5.0);
    let across = across(timeline, left, sheet.width);
    let right = across.end;
    for (x, text) in across.ticks() {
        segment(area, (x, sheet.top), (x, sheet.bottom), theme::GRID, 0.5)?;
        segment(area, (x, sheet.bottom), (x, sheet.bottom + points(3.0)), theme::INK, 0.8)?;
        Words::new(TEXT, HPos::Center, VPos::Top).draw(area, &text, (x, sheet.bottom + points(4.0)))?;
    }
    segment(area, (left, sheet.bottom), (right, sheet.bottom), theme::INK, 0.8)?;
    let below = (i32::midpoint(left, right), sheet.bottom + points(5.0) + line(TEXT));
    Words::new(TEXT, HPos::Center, VPos::Top).draw(area, &timeline.x_label, below)?;
    for (n, row) in timeline.rows.iter().enumerate() {
        let middle = sheet.top + n as i32 * labels.row + labels.row / 2;
        let lines = &labels.lines[n];
        for (m, words) in lines.iter().enumerate() {
            let y = middle + (2 * m as i32 + 1 - lines.len() as i32) * line(TEXT) / 2;
            Words::new(TEXT, HPos::Right, VPos::Center).draw(area, words, (left - points(4.0), y))?;
        }
        draw_row(area, sheet, row, &timeline.unit, &across, middle)?;
    }
    segment(area, (left, sheet.top), (left, sheet.bottom), theme::INK, 0.8)?;
    if sheet.look.paper {
        outline(area, [(left, sheet.top), (right, sheet.bottom)], theme::INK, 0.8)?;
        draw_inner_legend(area, sheet.look, legend, left, right, sheet.top, false)?;
    }
    Ok(())
}

fn draw_row(area: &Area<'_>, sheet: Sheet, row: &Row, unit: &str, across: &Scale, middle: i32) -> Drawn {
    let half = points(4.5);
    for span in &row.spans {
        let corners = [(across.at(span.from), middle - half), (across.at(span.to), middle + half)];
        shaded(area, sheet.look, &rectangle(corners), span.colour, (0, 1))?;
    }
    if let Some((low, high)) = row.interval {
        let (low, high) = (across.at(low), across.at(high));
        segment(area, (low, middle), (high, middle), theme::INK, 0.9)?;
        for x in [low, high] {
            segment(area, (x, middle - points(2.0)), (x, middle + points(2.0)), theme::INK, 0.9)?;
        }
    }
    let mut from = across.at(end(row)) + points(4.0);
    if !row.spans.is_empty() {
        let words = number(row, unit);
        Words::new(TEXT, HPos::Left, VPos::Center).draw(area, &words, (from, middle))?;
        from += width_of(&words, TEXT) + points(4.0);
    }
    if row.note.is_empty() {
        return Ok(());
    }
    // On a row of whole length there is no room right of it: the words stand on a white plate over its beginning.
    let words = shortened(&row.note, TEXT, across.end - across.at(0.0) - points(8.0));
    let wide = width_of(&words, TEXT);
    if from + wide > sheet.width - pad() {
        from = across.at(0.0) + points(4.0);
        let plate = [
            (from - points(2.0), middle - half + points(0.5)),
            (from + wide + points(2.0), middle + half - points(0.5)),
        ];
        super::canvas::filled(area, plate, theme::WHITE)?;
    }
    Words::new(TEXT, HPos::Left, VPos::Center).colour(theme::ALARM).draw(area, &words, (from, middle))
}
