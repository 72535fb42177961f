//! What charts have in common around their plots: the y axis with its label, panels side by side, words below ticks.

use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Area, BOLD, Drawn, Scale, TEXT, Words, line, segment, shortened, width_of, wrap, wrap_words};
use super::draw::{Sheet, pad};
use super::theme::{self, Look, points};

/// The label of a y axis, in as many lines as the plot's height asks for.
pub(super) struct YLabel {
    lines: Vec<String>,
}

impl YLabel {
    pub(super) fn new(label: &str, height: i32) -> Self {
        Self { lines: wrap(label, TEXT, height) }
    }

    /// Room left of the plot, for the label and the widest of the axis' words.
    pub(super) fn left(&self, look: Look, words: i32) -> i32 {
        let needed = pad() / 2 + self.lines.len() as i32 * line(TEXT) + points(4.0) + words + points(4.0);
        needed.max(points(if look.paper { 48.0 } else { 30.0 }))
    }

    pub(super) fn draw(&self, area: &Area<'_>, sheet: Sheet) -> Drawn {
        let middle = i32::midpoint(sheet.top, sheet.bottom);
        for (n, words) in self.lines.iter().enumerate() {
            let at = (pad() / 2 + n as i32 * line(TEXT), middle);
            Words::new(TEXT, HPos::Center, VPos::Top).draw_up(area, words, at)?;
        }
        Ok(())
    }
}

/// The lines and the words of a y axis over one panel.
pub(super) fn draw_y(area: &Area<'_>, sheet: Sheet, scale: &Scale, frame: &Frame, words: bool) -> Drawn {
    for (y, text) in &scale.ticks() {
        if sheet.look.paper {
            segment(area, (frame.x0 - points(3.0), *y), (frame.x0, *y), theme::INK, 0.8)?;
        } else if *y < sheet.bottom {
            segment(area, (frame.x0, *y), (frame.x1, *y), theme::GRID, 0.5)?;
        }
        if words {
            let at = (frame.x0 - points(if sheet.look.paper { 5.0 } else { 3.0 }), *y);
            Words::new(TEXT, HPos::Right, VPos::Center).draw(area, text, at)?;
        }
    }
    if sheet.look.paper {
        return Ok(());
    }
    segment(area, (frame.x0, sheet.bottom), (frame.x1, sheet.bottom), theme::INK, 0.8)
}

/// The rectangle of one panel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) x0: i32,
    pub(super) x1: i32,
}

impl Frame {
    /// Width of a tick's share.
    pub(super) fn slot(&self, ticks: usize) -> f64 {
        f64::from(self.x1 - self.x0) / ticks.max(1) as f64
    }

    /// Centre of a tick's share.
    pub(super) fn tick(&self, tick: usize, ticks: usize) -> i32 {
        self.x0 + (self.slot(ticks) * (tick as f64 + 0.5)) as i32
    }

    /// So many panels of one width, from `left` to the sheet's right margin.
    pub(super) fn row(panels: usize, left: i32, width: i32) -> Vec<Self> {
        let (panels, gap) = (panels.max(1) as i32, points(12.0));
        let each = (width - left - points(6.0) - gap * (panels - 1)) / panels;
        (0..panels).map(|n| left + n * (each + gap)).map(|x0| Self { x0, x1: x0 + each }).collect()
    }

    pub(super) fn width(&self) -> i32 {
        self.x1 - self.x0
    }
}

/// Headings of panels, each within its panel's width.
pub(super) struct Headings {
    lines: Vec<Vec<String>>,
}

impl Headings {
    pub(super) fn new<'a>(titles: impl Iterator<Item = &'a String>, frames: &[Frame]) -> Self {
        let lines = titles.zip(frames).map(|(title, frame)| match title.as_str() {
            "" => Vec::new(),
            title => wrap(title, TEXT * BOLD, frame.width()),
        });
        Self { lines: lines.collect() }
    }

    pub(super) fn height(&self) -> i32 {
        match self.lines.iter().map(Vec::len).max().unwrap_or(0) as i32 {
            0 => 0,
            rows => rows * line(TEXT) + pad(),
        }
    }

    /// Their last lines end above `bottom`.
    pub(super) fn draw(&self, area: &Area<'_>, frames: &[Frame], bottom: i32) -> Drawn {
        for (lines, frame) in self.lines.iter().zip(frames) {
            for (n, words) in lines.iter().rev().enumerate() {
                let at = (i32::midpoint(frame.x0, frame.x1), bottom - pad() - n as i32 * line(TEXT));
                Words::new(TEXT, HPos::Center, VPos::Bottom).bold().draw(area, words, at)?;
            }
        }
        Ok(())
    }
}

/// Words below the ticks of every panel: broken into lines, or at 45 degrees where they do not fit. They decide on the left margin,
/// because what rises to the first tick begins left of it.
pub(super) struct Below {
    pub(super) frames: Vec<Frame>,
    /// For each panel and tick, its lines.
    words: Vec<Vec<Vec<String>>>,
    rising: bool,
    pub(super) height: i32,
}

impl Below {
    /// `left`: the least left margin.
    pub(super) fn new(look: Look, panels: &[&[String]], left: i32, width: i32) -> Self {
        let frames = Frame::row(panels.len(), left, width);
        let room = |panel: usize| frames[panel].slot(panels[panel].len()) as i32 - points(4.0);
        let wrapped = |n: usize, tick: &String| {
            if look.paper { vec![tick.clone()] } else { wrap_words(tick, TEXT, room(n)) }
        };
        let words: Vec<Vec<Vec<String>>> =
            (panels.iter().enumerate()).map(|(n, ticks)| ticks.iter().map(|tick| wrapped(n, tick)).collect()).collect();
        let fits = words.iter().enumerate().all(|(n, ticks)| {
            ticks.iter().all(|lines| lines.len() <= 3 && lines.iter().all(|line| width_of(line, TEXT) <= room(n)))
        });
        if fits {
            let height = words.iter().flatten().map(Vec::len).max().unwrap_or(1) as i32 * line(TEXT);
            return Self { frames, words, rising: false, height };
        }
        Self::rising(panels, left, width)
    }

    fn rising(panels: &[&[String]], least: i32, width: i32) -> Self {
        let most = (f64::from(width) * 0.4 / diagonal(1)).round() as i32;
        let mut left = least;
        loop {
            let frames = Frame::row(panels.len(), left, width);
            let words: Vec<Vec<Vec<String>>> = (panels.iter().zip(&frames))
                .map(|(ticks, frame)| {
                    let rows = (diagonal(frame.slot(ticks.len()) as i32) / f64::from(line(TEXT))) as usize;
                    ticks.iter().map(|tick| few_lines(tick, most, rows.clamp(1, 3))).collect()
                })
                .collect();
            let longest = |lines: &[String]| lines.iter().map(|words| width_of(words, TEXT)).max().unwrap_or(0);
            // How far the words of each tick reach left of the sheet's margin.
            let beyond = (words.iter().zip(&frames)).flat_map(|(ticks, frame)| {
                ticks.iter().enumerate().map(move |(n, lines)| {
                    pad() + diagonal(longest(lines)) as i32 + points(6.0) - frame.tick(n, ticks.len())
                })
            });
            let beyond = beyond.max().unwrap_or(0);
            // The first tick moves by less than the margin.
            if beyond > 0 && left < width / 2 {
                left += beyond + points(1.0);
                continue;
            }
            let deepest = words.iter().flatten().map(|lines| diagonal(longest(lines)) as i32 + depth(lines.len()));
            let height = deepest.max().unwrap_or(0) + diagonal(line(TEXT)) as i32;
            return Self { frames, words, rising: true, height };
        }
    }

    /// The words of one panel, from `top` down.
    pub(super) fn draw(&self, area: &Area<'_>, panel: usize, top: i32) -> Drawn {
        let ticks = &self.words[panel];
        for (tick, lines) in ticks.iter().enumerate() {
            let x = self.frames[panel].tick(tick, ticks.len());
            for (n, words) in lines.iter().enumerate() {
                let n = n as i32;
                if self.rising {
                    let step = diagonal(n * line(TEXT)) as i32;
                    let at = (x - points(2.0) - depth(lines.len()) / 2 + step, top - points(2.0) + step);
                    Words::new(TEXT, HPos::Right, VPos::Top).draw_rising(area, words, at)?;
                } else {
                    Words::new(TEXT, HPos::Center, VPos::Top).draw(area, words, (x, top + n * line(TEXT)))?;
                }
            }
        }
        Ok(())
    }
}

/// What lines after the first one add to the depth of rising words.
fn depth(lines: usize) -> i32 {
    diagonal((lines.max(1) as i32 - 1) * line(TEXT)) as i32
}

/// The height of what is so long at 45 degrees.
fn diagonal(length: i32) -> f64 {
    f64::from(length) * std::f64::consts::FRAC_1_SQRT_2
}

/// As many lines as are permitted, each of `width` at most; what does not fit ends in an ellipsis.
pub(super) fn few_lines(words: &str, width: i32, most: usize) -> Vec<String> {
    let mut lines = wrap(words, TEXT, width);
    if lines.len() > most {
        let rest = lines[most - 1..].join(" ");
        lines.truncate(most - 1);
        lines.push(shortened(&rest, TEXT, width));
    }
    lines
}

#[cfg(test)]
mod tests {
    use microbench_formats::figure::{Column, Theme};

    use super::*;

    #[test]
    fn words_below_ticks_stay_on_the_sheet_whatever_their_number_and_length() {
        theme::register();
        for column in [Column::Single, Column::Double] {
            let look = Look::of(Theme::Publication, column);
            let width = (look.width_inches * theme::UNITS_PER_INCH) as i32;
            for label in [
                "T2",
                "Firecracker T2",
                "qemu x10 with a very long label, a kernel and a root file system",
                "A_Long_Single_Word_That_Cannot_Be_Wrapped_Anywhere",
            ] {
                for count in 1..=12 {
                    let ticks = vec![label.to_owned(); count];
                    let below = Below::new(look, &[&ticks], points(46.0), width);
                    let frame = below.frames[0];
                    assert!(frame.width() > width * 2 / 5, "{label} {count}: {frame:?} of {width}");
                    for (n, lines) in below.words[0].iter().enumerate() {
                        for words in lines {
                            let (wide, x) = (width_of(words, TEXT), frame.tick(n, count));
                            let reach = if below.rising { diagonal(wide) as i32 } else { wide / 2 };
                            assert!(x - reach >= 0, "{label} {count}: {words} of tick {n} begins at {}", x - reach);
                            assert!(below.rising || f64::from(wide) <= frame.slot(count), "{label} {count}");
                        }
                        let high = f64::from(lines.len() as i32 * line(TEXT));
                        assert!(!below.rising || high <= diagonal(frame.slot(count) as i32) + 1.0 || lines.len() == 1);
                    }
                }
            }
        }
    }
}
