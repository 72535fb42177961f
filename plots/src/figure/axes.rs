//! Axes of charts: the y axis with its label, panels next to each other, labels below ticks.

use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{
    Area, BOLD_WIDTH, DrawResult, FONT_SIZE, Scale, TextFormat, draw_segment, line_height, shorten, text_width, wrap,
    wrap_words,
};
use super::draw::{Sheet, padding};
use super::theme::{self, Style, points};

/// The label of a y axis, wrapped to the height of the plot.
pub(super) struct YLabel {
    lines: Vec<String>,
}

impl YLabel {
    pub(super) fn new(label: &str, height: i32) -> Self {
        Self { lines: wrap(label, FONT_SIZE, height) }
    }

    /// Width of the margin left of the plot: the label and the tick labels, which are `ticks` wide.
    pub(super) fn left_margin(&self, style: Style, ticks: i32) -> i32 {
        let needed =
            padding() / 2 + self.lines.len() as i32 * line_height(FONT_SIZE) + points(4.0) + ticks + points(4.0);
        needed.max(points(if style.paper { 48.0 } else { 30.0 }))
    }

    pub(super) fn draw(&self, area: &Area<'_>, sheet: Sheet) -> DrawResult {
        let middle = i32::midpoint(sheet.top, sheet.bottom);
        for (n, line_text) in self.lines.iter().enumerate() {
            let at = (padding() / 2 + n as i32 * line_height(FONT_SIZE), middle);
            TextFormat::new(FONT_SIZE, HPos::Center, VPos::Top).draw_up(area, line_text, at)?;
        }
        Ok(())
    }
}

/// Draws the grid lines of a y axis over one panel, and its tick labels if `labels` is set.
pub(super) fn draw_y_axis(area: &Area<'_>, sheet: Sheet, scale: &Scale, frame: &Frame, labels: bool) -> DrawResult {
    for (y, text) in &scale.ticks() {
        if sheet.style.paper {
            draw_segment(area, (frame.x0 - points(3.0), *y), (frame.x0, *y), theme::INK, 0.8)?;
        } else if *y < sheet.bottom {
            draw_segment(area, (frame.x0, *y), (frame.x1, *y), theme::GRID, 0.5)?;
        }
        if labels {
            let at = (frame.x0 - points(if sheet.style.paper { 5.0 } else { 3.0 }), *y);
            TextFormat::new(FONT_SIZE, HPos::Right, VPos::Center).draw(area, text, at)?;
        }
    }
    if sheet.style.paper {
        return Ok(());
    }
    draw_segment(area, (frame.x0, sheet.bottom), (frame.x1, sheet.bottom), theme::INK, 0.8)
}

/// Left and right side of one panel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) x0: i32,
    pub(super) x1: i32,
}

impl Frame {
    /// Width of the panel per tick.
    pub(super) fn tick_width(&self, ticks: usize) -> f64 {
        f64::from(self.x1 - self.x0) / ticks.max(1) as f64
    }

    /// Centre of the n-th tick.
    pub(super) fn tick_centre(&self, tick: usize, ticks: usize) -> i32 {
        self.x0 + (self.tick_width(ticks) * (tick as f64 + 0.5)) as i32
    }

    /// Panels of equal width, from `left` to the right margin of the sheet.
    pub(super) fn row(panels: usize, left: i32, width: i32) -> Vec<Self> {
        let (panels, gap) = (panels.max(1) as i32, points(12.0));
        let each = (width - left - points(6.0) - gap * (panels - 1)) / panels;
        (0..panels).map(|n| left + n * (each + gap)).map(|x0| Self { x0, x1: x0 + each }).collect()
    }

    pub(super) fn width(&self) -> i32 {
        self.x1 - self.x0
    }
}

/// Headings of panels, each wrapped to the width of its panel.
pub(super) struct Headings {
    lines: Vec<Vec<String>>,
}

impl Headings {
    pub(super) fn new<'a>(titles: impl Iterator<Item = &'a String>, frames: &[Frame]) -> Self {
        let lines = titles.zip(frames).map(|(title, frame)| match title.as_str() {
            "" => Vec::new(),
            title => wrap(title, FONT_SIZE * BOLD_WIDTH, frame.width()),
        });
        Self { lines: lines.collect() }
    }

    pub(super) fn height(&self) -> i32 {
        match self.lines.iter().map(Vec::len).max().unwrap_or(0) as i32 {
            0 => 0,
            rows => rows * line_height(FONT_SIZE) + padding(),
        }
    }

    /// Draws the headings so that their last lines end above `bottom`.
    pub(super) fn draw(&self, area: &Area<'_>, frames: &[Frame], bottom: i32) -> DrawResult {
        for (lines, frame) in self.lines.iter().zip(frames) {
            for (n, line_text) in lines.iter().rev().enumerate() {
                let at = (i32::midpoint(frame.x0, frame.x1), bottom - padding() - n as i32 * line_height(FONT_SIZE));
                TextFormat::new(FONT_SIZE, HPos::Center, VPos::Bottom).bold().draw(area, line_text, at)?;
            }
        }
        Ok(())
    }
}

/// Labels below the ticks of all panels: wrapped, or at 45 degrees if they do not fit.
/// They determine the left margin, because a rising label of the first tick starts to the left of the tick.
pub(super) struct TickLabels {
    pub(super) frames: Vec<Frame>,
    /// The lines of each label: `labels[panel][tick][line]`.
    labels: Vec<Vec<Vec<String>>>,
    rising: bool,
    pub(super) height: i32,
}

impl TickLabels {
    /// `left` is the smallest left margin.
    pub(super) fn new(style: Style, panels: &[&[String]], left: i32, width: i32) -> Self {
        let frames = Frame::row(panels.len(), left, width);
        let room = |panel: usize| frames[panel].tick_width(panels[panel].len()) as i32 - points(4.0);
        let wrapped = |n: usize, tick: &String| {
            if style.paper { vec![tick.clone()] } else { wrap_words(tick, FONT_SIZE, room(n)) }
        };
        let labels: Vec<Vec<Vec<String>>> =
            (panels.iter().enumerate()).map(|(n, ticks)| ticks.iter().map(|tick| wrapped(n, tick)).collect()).collect();
        let fits = labels.iter().enumerate().all(|(n, ticks)| {
            ticks
                .iter()
                .all(|lines| lines.len() <= 3 && lines.iter().all(|line| text_width(line, FONT_SIZE) <= room(n)))
        });
        if fits {
            let height = labels.iter().flatten().map(Vec::len).max().unwrap_or(1) as i32 * line_height(FONT_SIZE);
            return Self { frames, labels, rising: false, height };
        }
        Self::rising(panels, left, width)
    }

    fn rising(panels: &[&[String]], least: i32, width: i32) -> Self {
        let most = (f64::from(width) * 0.4 / diagonal(1)).round() as i32;
        let mut left = least;
        loop {
            let frames = Frame::row(panels.len(), left, width);
            let labels: Vec<Vec<Vec<String>>> = (panels.iter().zip(&frames))
                .map(|(ticks, frame)| {
                    let rows =
                        (diagonal(frame.tick_width(ticks.len()) as i32) / f64::from(line_height(FONT_SIZE))) as usize;
                    ticks.iter().map(|tick| wrap_to_lines(tick, most, rows.clamp(1, 3))).collect()
                })
                .collect();
            let longest = |lines: &[String]| lines.iter().map(|line| text_width(line, FONT_SIZE)).max().unwrap_or(0);
            // How far each label extends beyond the left margin of the sheet.
            let beyond = (labels.iter().zip(&frames)).flat_map(|(ticks, frame)| {
                ticks.iter().enumerate().map(move |(n, lines)| {
                    padding() + diagonal(longest(lines)) as i32 + points(6.0) - frame.tick_centre(n, ticks.len())
                })
            });
            let beyond = beyond.max().unwrap_or(0);
            // A wider margin moves the first tick by less than the difference, hence the loop.
            if beyond > 0 && left < width / 2 {
                left += beyond + points(1.0);
                continue;
            }
            let deepest = labels.iter().flatten().map(|lines| diagonal(longest(lines)) as i32 + depth(lines.len()));
            let height = deepest.max().unwrap_or(0) + diagonal(line_height(FONT_SIZE)) as i32;
            return Self { frames, labels, rising: true, height };
        }
    }

    /// Draws the labels of one panel from `top` down.
    pub(super) fn draw(&self, area: &Area<'_>, panel: usize, top: i32) -> DrawResult {
        let ticks = &self.labels[panel];
        for (tick, lines) in ticks.iter().enumerate() {
            let x = self.frames[panel].tick_centre(tick, ticks.len());
            for (n, line_text) in lines.iter().enumerate() {
                let n = n as i32;
                if self.rising {
                    let step = diagonal(n * line_height(FONT_SIZE)) as i32;
                    let at = (x - points(2.0) - depth(lines.len()) / 2 + step, top - points(2.0) + step);
                    TextFormat::new(FONT_SIZE, HPos::Right, VPos::Top).draw_rising(area, line_text, at)?;
                } else {
                    TextFormat::new(FONT_SIZE, HPos::Center, VPos::Top).draw(
                        area,
                        line_text,
                        (x, top + n * line_height(FONT_SIZE)),
                    )?;
                }
            }
        }
        Ok(())
    }
}

/// The depth that further lines add to a rising label.
fn depth(lines: usize) -> i32 {
    diagonal((lines.max(1) as i32 - 1) * line_height(FONT_SIZE)) as i32
}

/// The height of a text of this length at 45 degrees.
fn diagonal(length: i32) -> f64 {
    f64::from(length) * std::f64::consts::FRAC_1_SQRT_2
}

/// Wraps a text into at most `most` lines of at most `width`; an ellipsis replaces the rest.
pub(super) fn wrap_to_lines(text: &str, width: i32, most: usize) -> Vec<String> {
    let mut lines = wrap(text, FONT_SIZE, width);
    if lines.len() > most {
        let rest = lines[most - 1..].join(" ");
        lines.truncate(most - 1);
        lines.push(shorten(&rest, FONT_SIZE, width));
    }
    lines
}

#[cfg(test)]
mod tests {
    use microbench_formats::figure::{Column, Theme};

    use super::*;

    #[test]
    fn tick_labels_of_any_number_and_length_stay_on_the_sheet() {
        theme::register();
        for column in [Column::Single, Column::Double] {
            let style = Style::new(Theme::Publication, column);
            let width = (style.width_inches * theme::UNITS_PER_INCH) as i32;
            for label in [
                "T2",
                "Firecracker T2",
                "qemu x10 with a very long label, a kernel and a root file system",
                "A_Long_Single_Word_That_Cannot_Be_Wrapped_Anywhere",
            ] {
                for count in 1..=12 {
                    let ticks = vec![label.to_owned(); count];
                    let labels = TickLabels::new(style, &[&ticks], points(46.0), width);
                    let frame = labels.frames[0];
                    assert!(frame.width() > width * 2 / 5, "{label} {count}: {frame:?} of {width}");
                    for (n, lines) in labels.labels[0].iter().enumerate() {
                        for line_text in lines {
                            let (wide, x) = (text_width(line_text, FONT_SIZE), frame.tick_centre(n, count));
                            let reach = if labels.rising { diagonal(wide) as i32 } else { wide / 2 };
                            assert!(x - reach >= 0, "{label} {count}: {line_text} of tick {n} begins at {}", x - reach);
                            assert!(labels.rising || f64::from(wide) <= frame.tick_width(count), "{label} {count}");
                        }
                        let high = f64::from(lines.len() as i32 * line_height(FONT_SIZE));
                        assert!(
                            !labels.rising
                                || high <= diagonal(frame.tick_width(count) as i32) + 1.0
                                || lines.len() == 1
                        );
                    }
                }
            }
        }
    }
}
