//! Draws the ratios of claims as points with intervals, one row for each claim.

use plotters::style::text_anchor::{HPos, VPos};

use super::axes::wrap_to_lines;
use super::canvas::{
    Area, DrawResult, FONT_SIZE, Scale, TextFormat, draw_lines, draw_outline, draw_segment, fill_rectangle,
    line_height, text_width,
};
use super::draw::{Sheet, padding};
use super::forest::{Forest, Row};
use super::theme::{self, points};
use crate::claim::Outcome;

/// Width in canvas units below which a figure is narrow: it has a single column of a paper.
const NARROW: i32 = (5.0 * theme::UNITS_PER_INCH) as i32;
/// The lines of a label at most.
const MOST_LINES: usize = 3;

/// The labels of the rows and the widths of the columns beside the axis.
struct Layout {
    labels: Vec<Vec<String>>,
    left: i32,
    right: i32,
    row: i32,
    is_narrow: bool,
}

impl Layout {
    fn new(forest: &Forest, width: i32) -> Self {
        let (most, is_narrow) = (width * 3 / 10, width < NARROW);
        let labels: Vec<Vec<String>> =
            forest.rows.iter().map(|row| wrap_to_lines(&row.label, most, MOST_LINES)).collect();
        let widest = labels.iter().flatten().map(|line| text_width(line, FONT_SIZE)).max().unwrap_or(0);
        let lines = labels.iter().map(Vec::len).max().unwrap_or(1) as i32;
        let beside: Vec<Vec<String>> = forest.rows.iter().map(|row| lines_beside(row, is_narrow)).collect();
        let lines = beside.iter().map(|texts| texts.len() as i32).max().unwrap_or(0).max(lines);
        let beside = beside.iter().flatten().map(|text| text_width(text, FONT_SIZE)).max();
        Self {
            is_narrow,
            labels,
            left: padding() + widest + points(6.0),
            right: width - padding() - beside.unwrap_or(0) - points(5.0),
            row: (lines * line_height(FONT_SIZE) + points(5.0)).max(points(15.0)),
        }
    }
}

/// The verdict, and the ratio with its interval: in one line, or in two if the figure is narrow.
fn lines_beside(row: &Row, is_narrow: bool) -> Vec<String> {
    let parts = match row.text.split_once(" (").filter(|_| is_narrow) {
        Some((value, interval)) => vec![value.to_owned(), format!("({interval}")],
        None => vec![row.text.clone()],
    };
    [row.outcome.to_string()].into_iter().chain(parts).filter(|text| !text.is_empty()).collect()
}

/// Height of the plot.
pub(super) fn height(forest: &Forest, width: i32) -> i32 {
    Layout::new(forest, width).row * forest.rows.len().max(1) as i32
}

/// Space above the plot, and below it for the x axis.
pub(super) fn margins() -> (i32, i32) {
    (0, 2 * line_height(FONT_SIZE) + points(6.0))
}

/// The axis contains every finite number of the rows, and 1.
fn across(forest: &Forest, left: i32, right: i32) -> Scale {
    let of = |row: &Row| {
        let (low, high) = row.interval.unzip();
        [row.value, low, high, row.limits.0, row.limits.1, row.published]
    };
    let finite = |value: &f64| value.is_finite() && *value > 0.0;
    let all: Vec<f64> = forest.rows.iter().flat_map(of).flatten().filter(finite).chain([1.0]).collect();
    let least = all.iter().copied().fold(f64::INFINITY, f64::min);
    let most = all.iter().copied().fold(0.0, f64::max);
    Scale::log(least, most, left, right)
}

pub(super) fn draw(area: &Area<'_>, sheet: Sheet, forest: &Forest) -> DrawResult {
    let layout = Layout::new(forest, sheet.width);
    let (left, right) = (layout.left, layout.right.max(layout.left + points(40.0)));
    let across = across(forest, left, right);
    for (n, row) in forest.rows.iter().enumerate() {
        let top = sheet.top + n as i32 * layout.row;
        draw_band(area, sheet, row, &across, (top + points(2.0), top + layout.row - points(2.0)))?;
    }
    let mut free = i32::MIN;
    for (x, text) in across.ticks() {
        draw_segment(area, (x, sheet.top), (x, sheet.bottom), theme::GRID, 0.5)?;
        let half = text_width(&text, FONT_SIZE) / 2;
        if x - half > free {
            draw_segment(area, (x, sheet.bottom), (x, sheet.bottom + points(3.0)), theme::INK, 0.8)?;
            TextFormat::new(FONT_SIZE, HPos::Center, VPos::Top).draw(area, &text, (x, sheet.bottom + points(4.0)))?;
            free = x + half + points(3.0);
        }
    }
    let one = across.position(1.0);
    draw_segment(area, (one, sheet.top), (one, sheet.bottom), theme::FAINT, 0.8)?;
    draw_segment(area, (left, sheet.bottom), (right, sheet.bottom), theme::INK, 0.8)?;
    let below = (i32::midpoint(left, right), sheet.bottom + points(5.0) + line_height(FONT_SIZE));
    TextFormat::new(FONT_SIZE, HPos::Center, VPos::Top).draw(area, "Ratio (log scale)", below)?;
    for (n, row) in forest.rows.iter().enumerate() {
        let middle = sheet.top + n as i32 * layout.row + layout.row / 2;
        let label = TextFormat::new(FONT_SIZE, HPos::Right, VPos::Center);
        draw_lines(area, label, &layout.labels[n], (left - points(4.0), middle))?;
        draw_row(area, sheet, row, &across, middle)?;
        let ink = match row.outcome {
            Outcome::Contradicted | Outcome::NotMeasured => theme::ALARM,
            Outcome::Inconclusive | Outcome::NotComparable => theme::FAINT,
            Outcome::Holds => theme::INK,
        };
        let beside = TextFormat::new(FONT_SIZE, HPos::Left, VPos::Center).colour(ink);
        draw_lines(area, beside, &lines_beside(row, layout.is_narrow), (right + points(5.0), middle))?;
    }
    draw_segment(area, (left, sheet.top), (left, sheet.bottom), theme::INK, 0.8)
}

/// The expected range; an end without a limit is that of the axis.
fn draw_band(area: &Area<'_>, sheet: Sheet, row: &Row, across: &Scale, (top, bottom): (i32, i32)) -> DrawResult {
    if row.limits == (None, None) {
        return Ok(());
    }
    let end = |limit: Option<f64>, edge: i32| limit.map_or(edge, |limit| across.position(limit));
    let (low, high) = (end(row.limits.0, across.zero), end(row.limits.1, across.end));
    fill_rectangle(area, [(low, top), (high, bottom)], sheet.style.area(theme::FAINT, (0, 2)))
}

fn draw_row(area: &Area<'_>, sheet: Sheet, row: &Row, across: &Scale, middle: i32) -> DrawResult {
    let colour = sheet.style.colour(0);
    if let Some((low, high)) = row.interval {
        // A censored end has no cap: the line reaches the end of the axis.
        let end = |value: f64, edge: i32| if value.is_finite() && value > 0.0 { across.position(value) } else { edge };
        let ends = [(low, end(low, across.zero)), (high, end(high, across.end))];
        draw_segment(area, (ends[0].1, middle), (ends[1].1, middle), colour, 1.1)?;
        for (_, x) in ends.into_iter().filter(|(value, _)| value.is_finite() && *value > 0.0) {
            draw_segment(area, (x, middle - points(2.2)), (x, middle + points(2.2)), colour, 1.1)?;
        }
    }
    if let Some(published) = row.published {
        let (x, half) = (across.position(published), points(2.6));
        draw_outline(area, [(x - half, middle - half), (x + half, middle + half)], theme::INK, 0.8)?;
    }
    if let Some(value) = row.value {
        let (x, half) = (across.position(value), points(1.7));
        fill_rectangle(area, [(x - half, middle - half), (x + half, middle + half)], colour)?;
    }
    Ok(())
}
