//! Draws grouped bars: from zero, with whiskers and every trial as a point; what is missing is said in its place.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::description::{Bar, Description, Panel, Shown};
use super::theme::{self, points};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

const TITLE: f64 = 9.0;
const TEXT: f64 = 8.0;
const SMALL: f64 = 6.5;

/// Height of the plotting area, inches.
const PLOT_INCHES: f64 = 2.2;

/// The figure as SVG text, of [`theme::WIDTH_INCHES`].
///
/// # Errors
/// When plotters refuses; writing to a string, it does not.
pub fn svg(figure: &Description) -> Result<String, DrawingAreaErrorKind<std::io::Error>> {
    theme::register();
    let width = (theme::WIDTH_INCHES * theme::UNITS_PER_INCH) as i32;
    let (left, right, pad) = (points(40.0), points(4.0), points(5.0));
    let panels = figure.panels.len().max(1) as i32;
    let gap = points(12.0);
    let panel_width = (width - left - right - gap * (panels - 1)) / panels;

    let caption = wrap(&figure.caption, SMALL, width - 2 * pad);
    let slot = panel_width / figure.panels.first().map_or(1, |panel| panel.ticks.len().max(1)) as i32;
    let ticks: Vec<Vec<Vec<String>>> = (figure.panels.iter())
        .map(|panel| panel.ticks.iter().map(|tick| wrap(tick, TEXT, slot - points(4.0))).collect())
        .collect();
    let tick_lines = ticks.iter().flatten().map(Vec::len).max().unwrap_or(1) as i32;
    let line = |size: f64| points(size * 1.3);

    let title_height = if figure.title.is_empty() { 0 } else { line(TITLE) + pad };
    let legend = figure.groups.len() > 1;
    let legend_height = if legend { line(TEXT) + pad } else { 0 };
    let panel_title_height =
        if figure.panels.iter().any(|panel| !panel.title.is_empty()) { line(TEXT) + pad } else { 0 };
    let top = pad + title_height + legend_height + panel_title_height;
    let plot_height = (PLOT_INCHES * theme::UNITS_PER_INCH) as i32;
    let bottom = top + plot_height;
    let caption_top = bottom + points(4.0) + tick_lines * line(TEXT) + pad * 2;
    let height = caption_top + caption.len() as i32 * line(SMALL) + pad;

    let mut out = String::new();
    {
        let area = SVGBackend::with_string(&mut out, (width.unsigned_abs(), height.unsigned_abs())).into_drawing_area();
        area.fill(&WHITE)?;
        if !figure.title.is_empty() {
            text(&area, &figure.title, (pad, pad), TITLE, true, theme::INK, HPos::Left, VPos::Top)?;
        }
        if legend {
            draw_legend(&area, &figure.groups, (left, pad + title_height), line(TEXT))?;
        }
        let scale = Scale::new(figure, top, bottom);
        let middle = (top + bottom) / 2;
        let style =
            font(TEXT, false, theme::INK).transform(FontTransform::Rotate270).pos(Pos::new(HPos::Center, VPos::Top));
        area.draw(&Text::new(figure.y_label.clone(), (pad / 2, middle), style))?;
        for (n, panel) in figure.panels.iter().enumerate() {
            let x0 = left + n as i32 * (panel_width + gap);
            let frame = Frame { x0, x1: x0 + panel_width, bottom };
            scale.draw(&area, &frame, n == 0)?;
            if !panel.title.is_empty() {
                let at = ((frame.x0 + frame.x1) / 2, top - pad);
                text(&area, &panel.title, at, TEXT, true, theme::INK, HPos::Center, VPos::Bottom)?;
            }
            draw_panel(&area, panel, figure.groups.len().max(1), &frame, &scale)?;
            for (tick, lines) in ticks[n].iter().enumerate() {
                for (row, words) in lines.iter().enumerate() {
                    let at = (frame.tick(tick, panel.ticks.len()), bottom + points(4.0) + row as i32 * line(TEXT));
                    text(&area, words, at, TEXT, false, theme::INK, HPos::Center, VPos::Top)?;
                }
            }
        }
        for (row, words) in caption.iter().enumerate() {
            let at = (pad, caption_top + row as i32 * line(SMALL));
            text(&area, words, at, SMALL, false, theme::FAINT, HPos::Left, VPos::Top)?;
        }
        area.present()?;
    }
    Ok(out)
}

/// The rectangle of one panel.
struct Frame {
    x0: i32,
    x1: i32,
    bottom: i32,
}

impl Frame {
    /// Centre of a tick's slot.
    fn tick(&self, tick: usize, ticks: usize) -> i32 {
        let slot = f64::from(self.x1 - self.x0) / ticks.max(1) as f64;
        self.x0 + (slot * (tick as f64 + 0.5)) as i32
    }
}

/// The y axis: from zero to a round number above everything that is drawn.
struct Scale {
    top: i32,
    bottom: i32,
    step: f64,
    steps: u32,
}

impl Scale {
    fn new(figure: &Description, top: i32, bottom: i32) -> Self {
        let values = figure.panels.iter().flat_map(|panel| &panel.bars).flat_map(|bar| match &bar.shown {
            Shown::Value { height, interval, points } => {
                let mut all = points.clone();
                all.push(*height);
                all.extend(interval.map(|(_, high)| high));
                all
            }
            Shown::Nothing => Vec::new(),
        });
        let largest = values.fold(0.0, f64::max);
        // Room above for marks.
        let largest = if largest > 0.0 { largest * 1.08 } else { 1.0 };
        let (step, steps) = nice_steps(largest);
        Self { top, bottom, step, steps }
    }

    fn y(&self, value: f64) -> i32 {
        let share = value / (self.step * f64::from(self.steps));
        self.bottom - (share * f64::from(self.bottom - self.top)).round() as i32
    }

    fn draw(&self, area: &Area<'_>, frame: &Frame, labels: bool) -> Drawn {
        for n in 0..=self.steps {
            let value = self.step * f64::from(n);
            let y = self.y(value);
            let (colour, width) = if n == 0 { (theme::INK, points(0.8)) } else { (theme::GRID, points(0.5)) };
            area.draw(&PathElement::new(
                vec![(frame.x0, y), (frame.x1, y)],
                colour.stroke_width(width.unsigned_abs()),
            ))?;
            if labels {
                let words = tick_text(value, self.step);
                let at = (frame.x0 - points(3.0), y);
                text(area, &words, at, TEXT, false, theme::INK, HPos::Right, VPos::Center)?;
            }
        }
        Ok(())
    }
}

/// Steps of 1, 2 or 5 times a power of ten: four to eight of them reach `largest`.
fn nice_steps(largest: f64) -> (f64, u32) {
    let power = 10_f64.powf((largest / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|step| largest / step <= 6.0);
    let step = step.unwrap_or(power * 10.0);
    (step, (largest / step).ceil().max(1.0) as u32)
}

fn tick_text(value: f64, step: f64) -> String {
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    format!("{value:.decimals$}")
}

fn draw_panel(area: &Area<'_>, panel: &Panel, groups: usize, frame: &Frame, scale: &Scale) -> Drawn {
    let slot = f64::from(frame.x1 - frame.x0) / panel.ticks.len().max(1) as f64;
    let bar_width = (slot * 0.8 / groups as f64).min(f64::from(points(46.0)));
    for bar in &panel.bars {
        let centre = f64::from(frame.tick(bar.tick, panel.ticks.len()))
            + (bar.group as f64 - (groups as f64 - 1.0) / 2.0) * bar_width;
        draw_bar(area, bar, centre as i32, (bar_width * 0.9) as i32, frame, scale)?;
    }
    Ok(())
}

fn draw_bar(area: &Area<'_>, bar: &Bar, centre: i32, width: i32, frame: &Frame, scale: &Scale) -> Drawn {
    let colour = theme::colour(bar.group);
    let mut top = frame.bottom;
    if let Shown::Value { height, interval, points: trials } = &bar.shown {
        let (x0, x1) = (centre - width / 2, centre + width / 2);
        top = scale.y(*height);
        area.draw(&Rectangle::new([(x0, top), (x1, frame.bottom)], theme::fill(colour).filled()))?;
        area.draw(&Rectangle::new([(x0, top), (x1, frame.bottom)], colour.stroke_width(points(0.6).unsigned_abs())))?;
        for (n, trial) in trials.iter().enumerate() {
            // Spread evenly over the middle of the bar, in trial order.
            let offset = (n as f64 + 0.5) / trials.len() as f64 - 0.5;
            let at = (centre + (offset * f64::from(width) * 0.6) as i32, scale.y(*trial));
            area.draw(&Circle::new(at, points(1.3), WHITE.mix(0.9).filled()))?;
            area.draw(&Circle::new(at, points(1.3), theme::INK.mix(0.8).stroke_width(points(0.5).unsigned_abs())))?;
            top = top.min(at.1);
        }
        if let Some((low, high)) = interval {
            let (low, high, cap) = (scale.y(*low), scale.y(*high), width / 6);
            let style = theme::INK.stroke_width(points(0.9).unsigned_abs());
            area.draw(&PathElement::new(vec![(centre, low), (centre, high)], style))?;
            for y in [low, high] {
                area.draw(&PathElement::new(vec![(centre - cap, y), (centre + cap, y)], style))?;
            }
            top = top.min(high);
        }
    }
    if !bar.mark.is_empty() {
        let style = font(SMALL, false, theme::ALARM)
            .transform(FontTransform::Rotate270)
            .pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(bar.mark.clone(), (centre, top - points(4.0)), style))?;
        if bar.shown == Shown::Nothing {
            let half = width / 2;
            let style = theme::ALARM.stroke_width(points(1.2).unsigned_abs());
            area.draw(&PathElement::new(vec![(centre - half, frame.bottom), (centre + half, frame.bottom)], style))?;
        }
    }
    Ok(())
}

fn draw_legend(area: &Area<'_>, groups: &[String], at: (i32, i32), height: i32) -> Drawn {
    let mut x = at.0;
    for (n, group) in groups.iter().enumerate() {
        let (size, y) = (points(6.0), at.1 + height / 2);
        let corners = [(x, y - size / 2), (x + size, y + size / 2)];
        area.draw(&Rectangle::new(corners, theme::fill(theme::colour(n)).filled()))?;
        area.draw(&Rectangle::new(corners, theme::colour(n).stroke_width(points(0.6).unsigned_abs())))?;
        x += size + points(3.0);
        text(area, group, (x, y), TEXT, false, theme::INK, HPos::Left, VPos::Center)?;
        x += width_of(group, TEXT) + points(12.0);
    }
    Ok(())
}

fn font(size: f64, bold: bool, colour: RGBColor) -> TextStyle<'static> {
    let style = if bold { FontStyle::Bold } else { FontStyle::Normal };
    (theme::FONT, points(size), style).into_font().color(&colour)
}

#[expect(clippy::too_many_arguments, reason = "one call a piece of text; a structure would only rename the arguments")]
fn text(
    area: &Area<'_>,
    words: &str,
    at: (i32, i32),
    size: f64,
    bold: bool,
    colour: RGBColor,
    h: HPos,
    v: VPos,
) -> Drawn {
    area.draw(&Text::new(words.to_owned(), at, font(size, bold, colour).pos(Pos::new(h, v))))
}

/// Width of a text in canvas units.
fn width_of(words: &str, size: f64) -> i32 {
    let font = (theme::FONT, points(size)).into_font();
    font.box_size(words).map_or(0, |(width, _)| i32::try_from(width).unwrap_or(i32::MAX))
}

/// Breaks a text at spaces so that each line fits into `width`; a word that is wider stands alone.
fn wrap(words: &str, size: f64, width: i32) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words.split(' ') {
        match lines.last_mut() {
            Some(line) if width_of(&format!("{line} {word}"), size) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_ends_above_the_largest_value_in_round_steps() {
        for (largest, expected) in [(97.0, (20.0, 5)), (1.0, (0.2, 5)), (5.5, (1.0, 6)), (2500.0, (500.0, 5))] {
            let (step, steps) = nice_steps(largest);
            assert!((step - expected.0).abs() < 1e-9 && steps == expected.1, "{largest}: {step} x {steps}");
        }
    }
}
