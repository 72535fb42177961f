//! What every drawing shares: text, its width, shapes, scales. Positions are canvas units from the upper left corner.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::theme::{self, points};

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

pub(super) const TITLE: f64 = 9.0;
pub(super) const TEXT: f64 = 8.0;
pub(super) const SMALL: f64 = 6.5;

/// Height of a line of text of this size.
pub(super) fn line(size: f64) -> i32 {
    points(size * 1.3)
}

/// How a piece of text looks and which point of it `at` means.
#[derive(Clone, Copy)]
pub(super) struct Words {
    pub(super) size: f64,
    pub(super) bold: bool,
    pub(super) colour: RGBColor,
    pub(super) h: HPos,
    pub(super) v: VPos,
}

impl Words {
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
        (theme::FONT, points(self.size), weight).into_font().color(&self.colour).pos(Pos::new(self.h, self.v))
    }

    pub(super) fn draw(self, area: &Area<'_>, text: &str, at: (i32, i32)) -> Drawn {
        area.draw(&Text::new(text.to_owned(), at, self.style()))
    }

    /// Rising to the right at 45 degrees, ending at `at`. plotters turns text by right angles only; [`turned`] does the rest.
    pub(super) fn draw_rising(self, area: &Area<'_>, text: &str, at: (i32, i32)) -> Drawn {
        area.draw(&Text::new(text.to_owned(), at, self.style().transform(FontTransform::Rotate90)))
    }

    /// Reading upwards.
    pub(super) fn draw_up(self, area: &Area<'_>, text: &str, at: (i32, i32)) -> Drawn {
        area.draw(&Text::new(text.to_owned(), at, self.style().transform(FontTransform::Rotate270)))
    }
}

/// Nothing else is turned by 90 degrees, so that every such text is one of [`Words::draw_rising`].
pub(super) fn turned(svg: &str) -> String {
    svg.replace("rotate(90,", "rotate(-45,")
}

pub(super) fn segment(area: &Area<'_>, a: (i32, i32), b: (i32, i32), colour: RGBColor, width: f64) -> Drawn {
    area.draw(&PathElement::new(vec![a, b], colour.stroke_width(points(width).unsigned_abs())))
}

pub(super) fn outline(area: &Area<'_>, corners: [(i32, i32); 2], colour: RGBColor, width: f64) -> Drawn {
    // plotters draws a rectangle's outline a unit wide, whatever is asked.
    let [(x0, y0), (x1, y1)] = corners;
    let path = vec![(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)];
    area.draw(&PathElement::new(path, colour.stroke_width(points(width).unsigned_abs())))
}

pub(super) fn filled(area: &Area<'_>, corners: [(i32, i32); 2], colour: RGBColor) -> Drawn {
    area.draw(&Rectangle::new(corners, colour.filled()))
}

/// A trial's value.
pub(super) fn dot(area: &Area<'_>, at: (i32, i32)) -> Drawn {
    area.draw(&Circle::new(at, points(1.3), WHITE.filled()))?;
    area.draw(&Circle::new(at, points(1.3), theme::INK.mix(0.8).stroke_width(points(0.5).unsigned_abs())))
}

/// Width of a text in canvas units.
pub(super) fn width_of(words: &str, size: f64) -> i32 {
    let font = (theme::FONT, points(size)).into_font();
    font.box_size(words).map_or(0, |(width, _)| i32::try_from(width).unwrap_or(i32::MAX))
}

/// Breaks a text at spaces so that each line fits into `width`; a word that is wider stands alone.
pub(super) fn wrap(words: &str, size: f64, width: i32) -> Vec<String> {
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

/// An axis: from zero, or a round number below everything that is drawn, to a round number at or above it, mapped to canvas units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// Value at the beginning.
    pub(super) from: f64,
    /// Canvas unit of the beginning.
    pub(super) zero: i32,
    /// Canvas unit of the end.
    pub(super) end: i32,
    pub(super) step: f64,
    pub(super) steps: u32,
}

impl Scale {
    pub(super) fn new(largest: f64, zero: i32, end: i32) -> Self {
        let (step, steps) = nice_steps(if largest > 0.0 { largest } else { 1.0 });
        Self { from: 0.0, zero, end, step, steps }
    }

    /// From zero too, unless all values lie in the upper half: then close around them, so that what they vary by is seen.
    pub(super) fn around(values: &[f64], zero: i32, end: i32) -> Self {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(0.0, f64::max);
        if low >= high || low < high / 2.0 {
            return Self::new(high * 1.05, zero, end);
        }
        let (step, _) = nice_steps(high - low);
        let from = (low / step - 0.25).floor().max(0.0) * step;
        let steps = ((high - from) / step + 0.25).ceil() as u32;
        Self { from, zero, end, step, steps }
    }

    pub(super) fn at(&self, value: f64) -> i32 {
        let share = (value - self.from) / (self.step * f64::from(self.steps));
        self.zero + (share * f64::from(self.end - self.zero)).round() as i32
    }

    /// Where the ticks are, and their words.
    pub(super) fn ticks(&self) -> Vec<(i32, String)> {
        let decimals = (-self.step.log10().floor()).max(0.0) as usize;
        let value = |n: u32| self.from + self.step * f64::from(n);
        (0..=self.steps).map(|n| (self.at(value(n)), format!("{:.decimals$}", value(n)))).collect()
    }
}

/// Steps of 1, 2 or 5 times a power of ten: four to eight of them reach `largest`.
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
    fn an_axis_around_values_leaves_zero_out_when_they_are_far_from_it() {
        let scale = Scale::around(&[103.0, 100.0, 101.0], 1000, 0);
        assert!(scale.from > 90.0 && scale.from <= 100.0, "{scale:?}");
        assert!((0..=1000).contains(&scale.at(100.0)) && (0..=1000).contains(&scale.at(103.0)), "{scale:?}");
        for values in [&[10.0, 100.0][..], &[5.0, 5.0], &[]] {
            assert!(Scale::around(values, 1000, 0).from == 0.0, "{values:?}");
        }
    }

    #[test]
    fn the_axis_ends_above_the_largest_value_in_round_steps() {
        for (largest, expected) in [(97.0, (20.0, 5)), (1.0, (0.2, 5)), (5.5, (1.0, 6)), (2500.0, (500.0, 5))] {
            let (step, steps) = nice_steps(largest);
            assert!((step - expected.0).abs() < 1e-9 && steps == expected.1, "{largest}: {step} x {steps}");
        }
    }
}
