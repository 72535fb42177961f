//! Renders a figure as SVG: title, legend and caption. The other `draw_*` modules draw the chart.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{
    Area, BOLD_WIDTH, DrawResult, FONT_SIZE, TITLE_SIZE, TextFormat, draw_cross, draw_group_area, draw_group_line,
    draw_marker, draw_outline, draw_segment, fill_rectangle, line_height, rectangle, rotate_rising_text, text_width,
    wrap,
};
use super::description::{Chart, Description, LegendEntry, LegendKey};
use super::theme::{self, Style, points};
use super::{
    draw_curves, draw_ecdf, draw_forest, draw_heat_map, draw_history, draw_marks, draw_sequence, draw_setup,
    draw_timeline,
};

/// Space around titles, legends and captions.
pub(super) fn padding() -> i32 {
    points(5.0)
}

/// The area of the chart within the figure, in canvas units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sheet {
    pub(super) style: Style,
    pub(super) width: i32,
    pub(super) top: i32,
    pub(super) bottom: i32,
}

/// What is drawn around the chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surroundings {
    /// Title, legend and caption, for a figure on its own.
    All,
    /// Only the legend, for a document that typesets title and caption itself.
    LegendOnly,
}

/// Renders the figure as SVG text.
///
/// # Errors
/// If plotters fails to draw; it does not when it writes to a string.
pub fn render_svg(
    figure: &Description,
    surroundings: Surroundings,
) -> Result<String, DrawingAreaErrorKind<std::io::Error>> {
    theme::register();
    let style = Style::new(figure.theme, figure.column);
    let units = |inches: f64| (inches * theme::UNITS_PER_INCH) as i32;
    let width = units(style.width_inches);
    // Charts in the paper's theme have neither title nor caption, as in the paper.
    let bare = style.paper || surroundings == Surroundings::LegendOnly;
    let title = if bare { "" } else { figure.title.as_str() };
    let titles =
        if title.is_empty() { Vec::new() } else { wrap(title, TITLE_SIZE * BOLD_WIDTH, width - 2 * padding()) };
    let caption = if bare {
        Vec::new()
    } else {
        wrap(&with_nonbreaking_spaces(&figure.caption), FONT_SIZE, width - 2 * padding())
    };
    let legend = if style.paper { Vec::new() } else { legend_rows(&figure.legend, width - 2 * padding()) };
    let legend_height: i32 = legend.iter().map(|row| legend_row_height(row)).sum();
    let legend_top =
        padding() + titles.len() as i32 * line_height(TITLE_SIZE) + if titles.is_empty() { 0 } else { padding() };
    let top = legend_top + legend_height + 2 * padding();
    let plot_height = match &figure.chart {
        Chart::Timeline(timeline) => draw_timeline::height(timeline, width),
        Chart::HeatMap(heat) => draw_heat_map::height(heat, width),
        Chart::Forest(forest) => draw_forest::height(forest, width),
        Chart::History(history) => draw_history::height(history),
        _ => units(style.plot_inches),
    };
    let (head, foot) = match &figure.chart {
        Chart::Marks { x_label, y_label, log, panels } => {
            let labels = (x_label.as_str(), y_label.as_str());
            draw_marks::margins(style, (labels, *log, panels), width, plot_height, &figure.legend)
        }
        Chart::Ecdf(_) => draw_ecdf::margins(),
        Chart::Curves(curves) => draw_curves::margins(style, curves, width, plot_height),
        Chart::Timeline(_) => draw_timeline::margins(),
        Chart::HeatMap(heat) => draw_heat_map::margins(style, heat, width),
        Chart::Forest(_) => draw_forest::margins(),
        Chart::Sequence(_) => draw_sequence::margins(),
        Chart::History(_) => draw_history::margins(),
        Chart::Setup(_) => (0, 0),
    };
    let sheet = Sheet { style, width, top: top + head, bottom: top + head + plot_height };
    let caption_top = sheet.bottom + foot + padding();
    let height = caption_top + caption.len() as i32 * line_height(FONT_SIZE) + padding();

    let mut out = String::new();
    {
        let area = SVGBackend::with_string(&mut out, (width.unsigned_abs(), height.unsigned_abs())).into_drawing_area();
        area.fill(&WHITE)?;
        for (n, line_text) in titles.iter().enumerate() {
            let at = (padding(), padding() + n as i32 * line_height(TITLE_SIZE));
            TextFormat::new(TITLE_SIZE, HPos::Left, VPos::Top).bold().draw(&area, line_text, at)?;
        }
        let mut row_top = legend_top;
        for row in &legend {
            draw_legend_row(&area, style, row, (padding(), row_top))?;
            row_top += legend_row_height(row);
        }
        match &figure.chart {
            Chart::Marks { x_label, y_label, log, panels } => {
                let labels = (x_label.as_str(), y_label.as_str());
                draw_marks::draw(&area, sheet, (labels, *log, panels), &figure.legend)?;
            }
            Chart::Ecdf(ecdf) => draw_ecdf::draw(&area, sheet, ecdf, &figure.legend)?,
            Chart::Curves(curves) => draw_curves::draw(&area, sheet, curves, &figure.legend)?,
            Chart::Timeline(timeline) => draw_timeline::draw(&area, sheet, timeline, &figure.legend)?,
            Chart::HeatMap(heat) => draw_heat_map::draw(&area, sheet, heat)?,
            Chart::Forest(forest) => draw_forest::draw(&area, sheet, forest)?,
            Chart::Sequence(sequence) => draw_sequence::draw(&area, sheet, sequence, &figure.legend)?,
            Chart::History(history) => draw_history::draw(&area, sheet, history)?,
            Chart::Setup(setup) => draw_setup::draw(&area, sheet, setup)?,
        }
        for (n, line_text) in caption.iter().enumerate() {
            let at = (padding(), caption_top + n as i32 * line_height(FONT_SIZE));
            TextFormat::new(FONT_SIZE, HPos::Left, VPos::Top).colour(theme::FAINT).draw(&area, line_text, at)?;
        }
        area.present()?;
    }
    Ok(rotate_rising_text(&out))
}

/// Replaces spaces at which no line may break, such as the one before `%`, with non-breaking spaces.
fn with_nonbreaking_spaces(caption: &str) -> String {
    caption.replace(" %", "\u{a0}%").replace(" n = ", " n\u{a0}=\u{a0}")
}

/// Width of a legend's symbol in points.
const KEY_WIDTH: f64 = 11.0;
/// Distance from the left side of a symbol to its label in points.
const KEY_AND_GAP: f64 = 14.0;

/// A legend entry with its wrapped label.
struct LegendItem {
    key: LegendKey,
    lines: Vec<String>,
    width: i32,
}

/// Arranges the entries of a legend in rows of at most `width`.
fn legend_rows(entries: &[LegendEntry], width: i32) -> Vec<Vec<LegendItem>> {
    let mut rows: Vec<Vec<LegendItem>> = Vec::new();
    let mut used = 0;
    for entry in entries {
        let lines = wrap(&entry.label, FONT_SIZE, width - points(KEY_AND_GAP));
        let label = lines.iter().map(|line| text_width(line, FONT_SIZE)).max().unwrap_or(0);
        let item = LegendItem { key: entry.key, lines, width: points(KEY_AND_GAP) + label };
        match rows.last_mut() {
            Some(row) if used + item.width <= width => {
                used += item.width + points(12.0);
                row.push(item);
            }
            _ => {
                used = item.width + points(12.0);
                rows.push(vec![item]);
            }
        }
    }
    rows
}

fn legend_row_height(row: &[LegendItem]) -> i32 {
    row.iter().map(|item| item.lines.len()).max().unwrap_or(0) as i32 * (line_height(FONT_SIZE) + points(0.8))
}

fn draw_legend_row(area: &Area<'_>, style: Style, row: &[LegendItem], at: (i32, i32)) -> DrawResult {
    let mut x = at.0;
    for item in row {
        let y = at.1 + line_height(FONT_SIZE) / 2;
        draw_legend_key(area, style, item.key, (x, y), points(KEY_WIDTH))?;
        for (n, line_text) in item.lines.iter().enumerate() {
            let at = (x + points(KEY_AND_GAP), y + n as i32 * line_height(FONT_SIZE));
            TextFormat::new(FONT_SIZE, HPos::Left, VPos::Center).draw(area, line_text, at)?;
        }
        x += item.width + points(12.0);
    }
    Ok(())
}

/// Draws the symbol of a legend entry. `at` is the middle of its left side.
fn draw_legend_key(area: &Area<'_>, style: Style, key: LegendKey, at: (i32, i32), size: i32) -> DrawResult {
    let half = points(3.6);
    let corners = [(at.0, at.1 - half), (at.0 + size, at.1 + half)];
    let middle = (at.0 + size / 2, at.1);
    let across = [at, (at.0 + size, at.1)];
    match key {
        LegendKey::Group(group) => draw_group_area(area, style, &rectangle(corners), group, (0, 1)),
        LegendKey::Layer(n, of) => fill_rectangle(area, corners, style.area(theme::FAINT, (n, of))),
        LegendKey::Reference => draw_outline(area, corners, theme::INK, 0.8),
        LegendKey::Point(kind) => draw_sequence::draw_point(area, kind, middle),
        LegendKey::Line => draw_segment(area, at, (at.0 + size, at.1), style.colour(0), 1.2),
        LegendKey::Steps(group) => draw_group_line(area, style, &across, group),
        LegendKey::Curve(group) => {
            draw_group_line(area, style, &across, group)?;
            draw_marker(area, style, middle, group)
        }
        LegendKey::Missing => draw_cross(area, middle),
        LegendKey::Value => draw_history::draw_value(area, style, middle, Some((at.1 - half, at.1 + half))),
        LegendKey::Rule(kind) => draw_history::draw_rule(area, kind, across),
    }
}

/// Font size, gap and width of a colour swatch of the paper's legend.
fn inner_legend_measures() -> (f64, i32, i32) {
    (FONT_SIZE + 1.0, points(6.0), points(16.0))
}

/// Width and height of the paper's legend without margins; (0, 0) if there are no entries.
pub(super) fn inner_legend_size(entries: &[LegendEntry]) -> (i32, i32) {
    let (size, gap, swatch) = inner_legend_measures();
    let Some(longest) = entries.iter().map(|entry| text_width(&entry.label, size)).max() else { return (0, 0) };
    (longest + swatch + 3 * gap, entries.len() as i32 * line_height(size) + gap)
}

/// Draws the legend of the paper's theme: a framed box in an upper corner of the plot.
pub(super) fn draw_inner_legend(
    area: &Area<'_>,
    style: Style,
    entries: &[LegendEntry],
    left: i32,
    right: i32,
    top: i32,
    at_left: bool,
) -> DrawResult {
    if entries.is_empty() {
        return Ok(());
    }
    let (size, gap, swatch) = inner_legend_measures();
    let (width, height) = inner_legend_size(entries);
    let x = if at_left { left + gap } else { right - gap - width };
    let y = top + gap;
    fill_rectangle(area, [(x, y), (x + width, y + height)], WHITE)?;
    draw_outline(area, [(x, y), (x + width, y + height)], theme::GRID, 0.8)?;
    for (n, entry) in entries.iter().enumerate() {
        let middle = y + gap / 2 + n as i32 * line_height(size) + line_height(size) / 2;
        let (a, b) = ((x + gap, middle - points(3.0)), (x + gap + swatch, middle + points(3.0)));
        match entry.key {
            LegendKey::Group(group) => fill_rectangle(area, [a, b], style.area(style.colour(group), (0, 1)))?,
            LegendKey::Layer(n, of) => fill_rectangle(area, [a, b], style.area(theme::FAINT, (n, of)))?,
            LegendKey::Reference => draw_outline(area, [a, b], theme::INK, 0.8)?,
            _ => draw_legend_key(area, style, entry.key, (a.0, middle), swatch)?,
        }
        TextFormat::new(size, HPos::Left, VPos::Center).draw(area, &entry.label, (b.0 + gap, middle))?;
    }
    Ok(())
}
