//! Drawing primitives of all charts: text and its width, shapes, scales. Positions are canvas units from the top left.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::hatch::{dashed, strokes};
use super::theme::{self, Style, points};

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type DrawResult = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// Font size of the title in points.
pub(super) const TITLE_SIZE: f64 = 9.0;
/// Font size of all other text in points.
pub(super) const FONT_SIZE: f64 = 8.0;
/// Upper bound of the width of bold text relative to regular text.
pub(super) const BOLD_WIDTH: f64 = 1.08;

/// plotters takes a font's full height as its size, and writes a `font-size` that is smaller by this factor.
/// Here sizes are ems, as in a document: text of 8 points has 8 points in print.
const EM: f64 = 1.24;

/// Height of a line of text of this size.
pub(super) fn line_height(size: f64) -> i32 {
    points(size * 1.3)
}

/// Size, weight and colour of a text, and its anchor: the point of the text that is placed at `at`.
#[derive(Clone, Copy)]
pub(super) struct TextFormat {
    pub(super) size: f64,
    pub(super) bold: bool,
    pub(super) colour: RGBColor,
    pub(super) h: HPos,
    pub(super) v: VPos,
}

impl TextFormat {
    pub(super) fn new(size: f64, h: HPos, v: VPos) -> Self {
        Self { size, bold: false, colour: theme::INK, h, v }
    }

    pub(super) fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub(super) fn colour(self, colour: RGBColor) -> Self {
        Self { colour, ..self }
    }

    fn style(self) -> TextStyle<'static> {
        let weight = if self.bold { FontStyle::Bold } else { FontStyle::Normal };
        (theme::FONT, points(self.size * EM), weight).into_font().color(&self.colour).pos(Pos::new(self.h, self.v))
    }

    pub(super) fn draw(self, area: &Area<'_>, text: &str, at: (i32, i32)) -> DrawResult {
        area.draw(&Text::new(text.to_owned(), at, self.style()))
    }

    /// Draws text that rises to the right at 45 degrees and ends at `at`.
    /// plotters rotates by right angles only; [`rotate_rising_text`] corrects the angle in the SVG.
    pub(super) fn draw_rising(self, area: &Area<'_>, text: &str, at: (i32, i32)) -> DrawResult {
        area.draw(&Text::new(text.to_owned(), at, self.style().transform(FontTransform::Rotate90)))
    }

    /// Draws text that reads upwards.
    pub(super) fn draw_up(self, area: &Area<'_>, text: &str, at: (i32, i32)) -> DrawResult {
        area.draw(&Text::new(text.to_owned(), at, self.style().transform(FontTransform::Rotate270)))
    }
}

/// Rotates the texts of [`TextFormat::draw_rising`] to 45 degrees: nothing else is rotated by 90 degrees.
pub(super) fn rotate_rising_text(svg: &str) -> String {
    svg.replace("rotate(90,", "rotate(-45,")
}

/// Draws lines below each other, centred around `y`.
pub(super) fn draw_lines(area: &Area<'_>, format: TextFormat, lines: &[String], (x, y): (i32, i32)) -> DrawResult {
    for (n, line) in lines.iter().enumerate() {
        let at = y + (2 * n as i32 + 1 - lines.len() as i32) * line_height(FONT_SIZE) / 2;
        format.draw(area, line, (x, at))?;
    }
    Ok(())
}

pub(super) fn draw_segment(area: &Area<'_>, a: (i32, i32), b: (i32, i32), colour: RGBColor, width: f64) -> DrawResult {
    area.draw(&PathElement::new(vec![a, b], colour.stroke_width(points(width).unsigned_abs())))
}

pub(super) fn draw_outline(area: &Area<'_>, corners: [(i32, i32); 2], colour: RGBColor, width: f64) -> DrawResult {
    // plotters draws the outline of a rectangle one unit wide and ignores the stroke width.
    let [(x0, y0), (x1, y1)] = corners;
    let path = vec![(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)];
    area.draw(&PathElement::new(path, colour.stroke_width(points(width).unsigned_abs())))
}

pub(super) fn fill_rectangle(area: &Area<'_>, corners: [(i32, i32); 2], colour: RGBColor) -> DrawResult {
    area.draw(&Rectangle::new(corners, colour.filled()))
}

/// Draws an area of a group, with the group's colour, hatching and outline.
pub(super) fn draw_group_area(
    area: &Area<'_>,
    style: Style,
    polygon: &[(i32, i32)],
    group: usize,
    layer: (usize, usize),
) -> DrawResult {
    let colour = style.colour(group);
    area.draw(&Polygon::new(polygon.to_vec(), style.area(colour, layer).filled()))?;
    if style.paper {
        return Ok(());
    }
    for [a, b] in strokes(polygon, style.hatch(group), f64::from(points(3.6))) {
        draw_segment(area, a, b, style.stroke(colour), 0.35)?;
    }
    let mut path = polygon.to_vec();
    path.extend(polygon.first());
    area.draw(&PathElement::new(path, colour.stroke_width(points(0.6).unsigned_abs())))
}

/// The four corners of a rectangle from two opposite ones.
pub(super) fn rectangle([(x0, y0), (x1, y1)]: [(i32, i32); 2]) -> [(i32, i32); 4] {
    [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
}

/// Draws a line in a group's colour and dashes.
pub(super) fn draw_group_line(area: &Area<'_>, style: Style, path: &[(i32, i32)], group: usize) -> DrawResult {
    let lengths: Vec<i32> = style.dash(group).iter().map(|length| points(*length)).collect();
    for part in dashed(path, &lengths) {
        area.draw(&PathElement::new(part, style.colour(group).stroke_width(points(1.2).unsigned_abs())))?;
    }
    Ok(())
}

/// Draws the marker of a group on a line; five shapes repeat.
pub(super) fn draw_marker(area: &Area<'_>, style: Style, (x, y): (i32, i32), group: usize) -> DrawResult {
    let (r, colour) = (points(2.2), style.colour(group));
    let half = r * 9 / 10;
    let shape = match group % 5 {
        0 => (0..16).map(|n| f64::from(n) * std::f64::consts::TAU / 16.0).collect::<Vec<_>>(),
        _ => Vec::new(),
    };
    let round = |angle: &f64| (x + (f64::from(r) * angle.cos()) as i32, y + (f64::from(r) * angle.sin()) as i32);
    let shape: Vec<(i32, i32)> = match group % 5 {
        0 => shape.iter().map(round).collect(),
        1 => vec![(x - half, y - half), (x + half, y - half), (x + half, y + half), (x - half, y + half)],
        2 => vec![(x, y - r), (x + r, y + half), (x - r, y + half)],
        3 => vec![(x, y - r - r / 5), (x + r + r / 5, y), (x, y + r + r / 5), (x - r - r / 5, y)],
        _ => vec![(x - r, y - half), (x + r, y - half), (x, y + r)],
    };
    area.draw(&Polygon::new(shape.clone(), colour.filled()))?;
    let mut path = shape;
    path.extend(path.first().copied());
    area.draw(&PathElement::new(path, theme::WHITE.stroke_width(points(0.5).unsigned_abs())))
}

/// Draws the red cross of a missing value.
pub(super) fn draw_cross(area: &Area<'_>, (x, y): (i32, i32)) -> DrawResult {
    let reach = points(2.2);
    draw_segment(area, (x - reach, y - reach), (x + reach, y + reach), theme::ALARM, 0.9)?;
    draw_segment(area, (x - reach, y + reach), (x + reach, y - reach), theme::ALARM, 0.9)
}

/// Draws the value of a single trial.
pub(super) fn draw_dot(area: &Area<'_>, at: (i32, i32)) -> DrawResult {
    area.draw(&Circle::new(at, points(1.3), WHITE.filled()))?;
    area.draw(&Circle::new(at, points(1.3), theme::INK.mix(0.8).stroke_width(points(0.5).unsigned_abs())))
}

/// Width of a text in canvas units. `size` is the font size in points.
pub(super) fn text_width(text: &str, size: f64) -> i32 {
    let font = (theme::FONT, points(size * EM)).into_font();
    font.box_size(text).map_or(0, |(width, _)| i32::try_from(width).unwrap_or(i32::MAX))
}

/// Breaks a text at spaces so that each line fits into `width`; a wider word gets a line of its own.
pub(super) fn wrap_words(text: &str, size: f64, width: i32) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if text_width(&format!("{line} {word}"), size) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Like [`wrap_words`], but also breaks words that are wider than `width`.
pub(super) fn wrap(text: &str, size: f64, width: i32) -> Vec<String> {
    let mut lines = Vec::new();
    for line in wrap_words(text, size, width) {
        let mut rest = line.as_str();
        while text_width(rest, size) > width {
            let fits = |&(at, _): &(usize, char)| text_width(&rest[..at], size) <= width;
            let Some((at, _)) = rest.char_indices().skip(1).take_while(fits).last() else { break };
            lines.push(rest[..at].to_owned());
            rest = &rest[at..];
        }
        lines.push(rest.to_owned());
    }
    lines
}

/// The text, or as much of its start as fits into `width` with an ellipsis.
pub(super) fn shorten(text: &str, size: f64, width: i32) -> String {
    if text_width(text, size) <= width {
        return text.to_owned();
    }
    let with = |at: usize| format!("{}…", text[..at].trim_end());
    let fits = |&(at, _): &(usize, char)| text_width(&with(at), size) <= width;
    text.char_indices().take_while(fits).last().map_or_else(String::new, |(at, _)| with(at))
}

/// Maps the values of an axis to canvas units. Most scales start at zero or a round number and end at a round number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// Value at the start of the axis.
    pub(super) from: f64,
    /// Canvas unit of the start.
    pub(super) zero: i32,
    /// Canvas unit of the end.
    pub(super) end: i32,
    /// Distance between ticks; 0 on a logarithmic axis.
    pub(super) step: f64,
    /// Number of steps from start to end.
    pub(super) steps: u32,
    /// Value at the end of a logarithmic axis; `None` for a linear axis.
    log: Option<f64>,
}

impl Scale {
    /// From zero to a round number at or above `largest`.
    pub(super) fn new(largest: f64, zero: i32, end: i32) -> Self {
        let (step, steps) = nice_steps(if largest > 0.0 { largest } else { 1.0 });
        Self::stepped(0.0, step, steps, zero, end)
    }

    pub(super) fn stepped(from: f64, step: f64, steps: u32, zero: i32, end: i32) -> Self {
        Self { from, zero, end, step, steps, log: None }
    }

    /// From zero, unless all values are in the upper half: then closely around them, so that their variation is
    /// visible.
    pub(super) fn around(values: &[f64], zero: i32, end: i32) -> Self {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(0.0, f64::max);
        if low >= high || low < high / 2.0 {
            return Self::new(high * 1.05, zero, end);
        }
        let (step, _) = nice_steps(high - low);
        let from = (low / step - 0.25).floor().max(0.0) * step;
        let steps = ((high - from) / step + 0.25).ceil() as u32;
        Self::stepped(from, step, steps, zero, end)
    }

    /// A logarithmic scale that covers `low` to `high`, both positive, and spans at least half a decade.
    /// Its ends are 1, 2 or 5 times a power of ten.
    pub(super) fn log(low: f64, high: f64, zero: i32, end: i32) -> Self {
        let (low, high) = if low > 0.0 && high >= low && high.is_finite() { (low, high) } else { (1.0, 10.0) };
        let all = decades(low / 100.0, high * 100.0);
        let from = all.iter().copied().rfind(|tick| *tick <= low).unwrap_or(low);
        let to = all.iter().copied().find(|tick| *tick >= high && *tick >= from * 4.9).unwrap_or(high * 10.0);
        Self { from, zero, end, step: 0.0, steps: 0, log: Some(to) }
    }

    /// The same scale, moved by `by` canvas units.
    pub(super) fn moved(self, by: i32) -> Self {
        Self { zero: self.zero + by, end: self.end + by, ..self }
    }

    /// From `low` to `high` with a margin on both sides; the ends are not round.
    pub(super) fn within(low: f64, high: f64, log: bool, zero: i32, end: i32) -> Self {
        let room = points(8.0).min((end - zero).abs() / 4) * (end - zero).signum();
        let inner = f64::from(end - zero - 2 * room);
        let share = f64::from(room) / inner;
        if log && low > 0.0 {
            let ratio = if high > low { high / low } else { 10.0 };
            let beyond = ratio.powf(share);
            return Self { log: Some(low * ratio * beyond), ..Self::stepped(low / beyond, 0.0, 0, zero, end) };
        }
        let span = if high > low { high - low } else { 1.0 };
        Self::stepped(low - span * share, span * (1.0 + 2.0 * share), 1, zero, end)
    }

    /// Canvas unit of a value. On a logarithmic axis, values at or below 0 are placed at the start.
    pub(super) fn position(&self, value: f64) -> i32 {
        let share = match self.log {
            Some(to) => (value.max(self.from) / self.from).ln() / (to / self.from).ln(),
            None => (value - self.from) / (self.step * f64::from(self.steps)),
        };
        self.zero + (share * f64::from(self.end - self.zero)).round() as i32
    }

    /// Position and label of each tick.
    pub(super) fn ticks(&self) -> Vec<(i32, String)> {
        if let Some(to) = self.log {
            let all = decades(self.from, to);
            let powers = (to / self.from).log10() > 3.5;
            let shown = |tick: &f64| !powers || is_power(*tick);
            return all.into_iter().filter(shown).map(|tick| (self.position(tick), tick.to_string())).collect();
        }
        let decimals = (-self.step.log10().floor()).max(0.0) as usize;
        let value = |n: u32| self.from + self.step * f64::from(n);
        (0..=self.steps).map(|n| (self.position(value(n)), format!("{:.decimals$}", value(n)))).collect()
    }

    /// Width of the widest tick label.
    pub(super) fn ticks_width(&self) -> i32 {
        self.ticks().iter().map(|(_, label)| text_width(label, FONT_SIZE)).max().unwrap_or(0)
    }
}

/// 1, 2 and 5 times the powers of ten from `low` to `high`, parsed from decimals so that they print exactly.
fn decades(low: f64, high: f64) -> Vec<f64> {
    let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let all = powers.flat_map(|power| ["1", "2", "5"].map(|digit| format!("{digit}e{power}").parse().unwrap_or(0.0)));
    all.filter(|tick| (low * 0.999_999..=high * 1.000_001).contains(tick)).collect()
}

fn is_power(tick: f64) -> bool {
    (tick.log10() - tick.log10().round()).abs() < 1e-9
}

/// Step (1, 2 or 5 times a power of ten) and number of steps, four to eight, that reach `largest`.
fn nice_steps(largest: f64) -> (f64, u32) {
    let power = 10_f64.powf((largest / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|step| largest / step <= 6.0);
    let step = step.unwrap_or(power * 10.0);
    (step, (largest / step).ceil().max(1.0) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_excludes_zero_if_all_values_are_far_from_it() {
        let scale = Scale::around(&[103.0, 100.0, 101.0], 1000, 0);
        assert!(scale.from > 90.0 && scale.from <= 100.0, "{scale:?}");
        assert!(
            (0..=1000).contains(&scale.position(100.0)) && (0..=1000).contains(&scale.position(103.0)),
            "{scale:?}"
        );
        for values in [&[10.0, 100.0][..], &[5.0, 5.0], &[]] {
            assert!(Scale::around(values, 1000, 0).from == 0.0, "{values:?}");
        }
    }

    #[test]
    fn a_logarithmic_axis_has_round_ends_that_enclose_all_values() {
        for (low, high, from, ticks) in [
            (3.0, 70.0, 2.0, &["2", "5", "10", "20", "50", "100"][..]),
            (10.0, 10.0, 10.0, &["10", "20", "50"]),
            (0.013, 0.4, 0.01, &["0.01", "0.02", "0.05", "0.1", "0.2", "0.5"]),
            (1.0, 30000.0, 1.0, &["1", "10", "100", "1000", "10000"]),
        ] {
            let scale = Scale::log(low, high, 1000, 0);
            let found: Vec<String> = scale.ticks().into_iter().map(|(_, label)| label).collect();
            assert_eq!(
                (scale.from, found.as_slice()),
                (from, &ticks.iter().map(ToString::to_string).collect::<Vec<_>>()[..])
            );
            assert!(
                (0..=1000).contains(&scale.position(low)) && (0..=1000).contains(&scale.position(high)),
                "{low} {high}"
            );
        }
        // Equal ratios have equal lengths.
        let scale = Scale::log(1.0, 100.0, 0, 1000);
        assert_eq!(
            (scale.position(1.0), scale.position(10.0), scale.position(100.0), scale.position(-3.0)),
            (0, 500, 1000, 0)
        );
    }

    #[test]
    fn text_is_wrapped_or_shortened_to_fit() {
        theme::register();
        let width = points(60.0);
        for text in ["a few words that are wrapped", "AVeryLongWordWithoutAnyPlaceToBreakIt and more", ""] {
            let lines = wrap(text, FONT_SIZE, width);
            assert!(lines.iter().all(|line| text_width(line, FONT_SIZE) <= width), "{lines:?}");
            assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
            assert!(text_width(&shorten(text, FONT_SIZE, width), FONT_SIZE) <= width);
        }
        assert_eq!(shorten("short", FONT_SIZE, width), "short");
        assert!(shorten("a few words that are wrapped", FONT_SIZE, width).ends_with('…'));
    }

    #[test]
    fn an_axis_reaches_the_largest_value_in_round_steps() {
        for (largest, expected) in [(97.0, (20.0, 5)), (1.0, (0.2, 5)), (5.5, (1.0, 6)), (2500.0, (500.0, 5))] {
            let (step, steps) = nice_steps(largest);
            assert!((step - expected.0).abs() < 1e-9 && steps == expected.1, "{largest}: {step} x {steps}");
        }
    }
}
