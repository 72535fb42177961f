//! Draws bars, boxes and strips over ticks.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Area, Drawn, SMALL, Scale, TEXT, Words, dot, filled, line, outline, segment, width_of, wrap};
use super::description::{Entry, Mark, Panel, Shown};
use super::draw::{Sheet, draw_inner_legend, inner_legend_size, pad};
use super::theme::{self, Look, points};

/// How the words along x stand.
enum Ticks {
    /// Broken into lines, for each panel and tick.
    Wrapped(Vec<Vec<Vec<String>>>),
    /// At 45 degrees, so many units high.
    Rising(i32),
}

/// Left side of the first panel, and the space between panels. The y axis' words stand left of the first.
fn left(look: Look) -> i32 {
    points(if look.paper { 48.0 } else { 40.0 })
}

fn gap() -> i32 {
    points(12.0)
}

fn panel_width(look: Look, panels: usize, width: i32) -> i32 {
    let panels = panels.max(1) as i32;
    (width - left(look) - points(6.0) - gap() * (panels - 1)) / panels
}

fn ticks(look: Look, panels: &[Panel], width: i32) -> Ticks {
    let panel_width = panel_width(look, panels.len(), width);
    let room = |panel: &Panel| panel_width / panel.ticks.len().max(1) as i32 - points(4.0);
    let words =
        |panel: &Panel, tick: &String| if look.paper { vec![tick.clone()] } else { wrap(tick, TEXT, room(panel)) };
    let wrapped: Vec<Vec<Vec<String>>> =
        (panels.iter()).map(|panel| panel.ticks.iter().map(|tick| words(panel, tick)).collect()).collect();
    let fits = panels.iter().zip(&wrapped).all(|(panel, ticks)| {
        ticks.iter().all(|lines| lines.len() <= 3 && lines.iter().all(|line| width_of(line, TEXT) <= room(panel)))
    });
    if fits {
        return Ticks::Wrapped(wrapped);
    }
    let longest = panels.iter().flat_map(|panel| &panel.ticks).map(|tick| width_of(tick, TEXT)).max().unwrap_or(0);
    Ticks::Rising((f64::from(longest) * std::f64::consts::FRAC_1_SQRT_2) as i32 + line(TEXT))
}

/// Room above the plot for the panels' headings and below it for the words along x.
pub(super) fn margins(look: Look, panels: &[Panel], width: i32) -> (i32, i32) {
    let titled = panels.iter().any(|panel| !panel.title.is_empty());
    let head = if titled { line(TEXT) + pad() } else { 0 };
    let foot = match ticks(look, panels, width) {
        Ticks::Wrapped(lines) => lines.iter().flatten().map(Vec::len).max().unwrap_or(1) as i32 * line(TEXT),
        Ticks::Rising(height) => height,
    };
    (head, foot + points(5.0))
}

/// The rectangle of one panel.
struct Frame {
    x0: i32,
    x1: i32,
}

impl Frame {
    /// Width of a tick's share.
    fn slot(&self, ticks: usize) -> f64 {
        f64::from(self.x1 - self.x0) / ticks.max(1) as f64
    }

    /// Centre of a tick's share.
    fn tick(&self, tick: usize, ticks: usize) -> i32 {
        self.x0 + (self.slot(ticks) * (tick as f64 + 0.5)) as i32
    }
}

pub(super) fn draw(area: &Area<'_>, sheet: Sheet, y_label: &str, panels: &[Panel], legend: &[Entry]) -> Drawn {
    let look = sheet.look;
    let largest = panels.iter().flat_map(|panel| &panel.marks).map(highest).fold(0.0, f64::max);
    let width = panel_width(look, panels.len(), sheet.width);
    let corners: Vec<Corner> = panels.iter().map(|panel| Corner::of(panel, legend, width)).collect();
    // Room above for what is said about marks, and for the paper's legend where either corner has a bar in its way.
    let share = f64::from(inner_legend_size(legend).1 + points(12.0)) / f64::from(sheet.bottom - sheet.top);
    let reach = match look.paper {
        true => corners.iter().map(|corner| corner.tallest / (1.0 - share)).fold(largest * 1.05, f64::max),
        false => {
            let marks = panels.iter().flat_map(|panel| &panel.marks);
            marks.map(|mark| with_note(mark, sheet.bottom - sheet.top)).fold(largest * 1.08, f64::max)
        }
    };
    let scale = Scale::new(reach, sheet.bottom, sheet.top);
    let middle = (sheet.top + sheet.bottom) / 2;
    Words::new(TEXT, HPos::Center, VPos::Top).draw_up(area, y_label, (pad() / 2, middle))?;
    let ticks = ticks(look, panels, sheet.width);
    for (n, panel) in panels.iter().enumerate() {
        let x0 = left(look) + n as i32 * (width + gap());
        let frame = Frame { x0, x1: x0 + width };
        draw_axis(area, sheet, &scale, &frame, n == 0)?;
        if !panel.title.is_empty() {
            let at = (i32::midpoint(frame.x0, frame.x1), sheet.top - pad());
            Words::new(TEXT, HPos::Center, VPos::Bottom).bold().draw(area, &panel.title, at)?;
        }
        draw_marks(area, sheet, panel, &frame, &scale)?;
        draw_ticks(area, sheet, panel, &frame, &ticks, n)?;
        if look.paper {
            outline(area, [(frame.x0, sheet.top), (frame.x1, sheet.bottom)], theme::INK, 0.8)?;
            draw_inner_legend(area, look, legend, frame.x0, frame.x1, sheet.top, corners[n].at_left)?;
        }
    }
    Ok(())
}

/// The upper corner of a panel that has more room for the paper's legend; the right one if both have the same.
struct Corner {
    at_left: bool,
    /// The highest thing below the legend there.
    tallest: f64,
}

impl Corner {
    fn of(panel: &Panel, legend: &[Entry], width: i32) -> Self {
        let (legend, ticks) = (inner_legend_size(legend).0 + points(12.0), panel.ticks.len());
        let covered = ((f64::from(legend) / f64::from(width.max(1)) * ticks as f64).ceil() as usize).min(ticks);
        let tallest = |covered: std::ops::Range<usize>| {
            panel.marks.iter().filter(|mark| covered.contains(&mark.tick)).map(highest).fold(0.0, f64::max)
        };
        let (left, right) = (tallest(0..covered), tallest(ticks - covered..ticks));
        Self { at_left: left < right, tallest: left.min(right) }
    }
}

/// How far the axis must reach for a mark's note to end within a plot of this height.
fn with_note(mark: &Mark, height: i32) -> f64 {
    if mark.note.is_empty() {
        return 0.0;
    }
    let share = f64::from(width_of(&mark.note, SMALL) + points(6.0)) / f64::from(height);
    highest_own(mark) / (1.0 - share.min(0.8))
}

/// The highest thing that a mark draws, published values included.
fn highest(mark: &Mark) -> f64 {
    highest_own(mark).max(mark.reference.unwrap_or(0.0))
}

/// The highest thing that was measured.
fn highest_own(mark: &Mark) -> f64 {
    match &mark.shown {
        Shown::Bar { height, interval, points } => {
            points.iter().copied().chain(interval.map(|(_, high)| high)).fold(*height, f64::max)
        }
        Shown::Box { whiskers, outliers, .. } => outliers.iter().copied().fold(whiskers.1, f64::max),
        Shown::Strip { values, median } => values.iter().copied().fold(*median, f64::max),
        Shown::Stack { parts, interval, points } => {
            let height = parts.iter().map(|part| part.height).sum();
            points.iter().copied().chain(interval.map(|(_, high)| high)).fold(height, f64::max)
        }
        Shown::Nothing => 0.0,
    }
}

fn draw_axis(area: &Area<'_>, sheet: Sheet, scale: &Scale, frame: &Frame, words: bool) -> Drawn {
    for (n, (y, text)) in scale.ticks().iter().enumerate() {
        if sheet.look.paper {
            segment(area, (frame.x0 - points(3.0), *y), (frame.x0, *y), theme::INK, 0.8)?;
        } else {
            let (colour, width) = if n == 0 { (theme::INK, 0.8) } else { (theme::GRID, 0.5) };
            segment(area, (frame.x0, *y), (frame.x1, *y), colour, width)?;
        }
        if words {
            let at = (frame.x0 - points(if sheet.look.paper { 5.0 } else { 3.0 }), *y);
            Words::new(TEXT, HPos::Right, VPos::Center).draw(area, text, at)?;
        }
    }
    Ok(())
}

fn draw_ticks(area: &Area<'_>, sheet: Sheet, panel: &Panel, frame: &Frame, ticks: &Ticks, n: usize) -> Drawn {
    for (tick, label) in panel.ticks.iter().enumerate() {
        let (x, y) = (frame.tick(tick, panel.ticks.len()), sheet.bottom + points(5.0));
        if sheet.look.paper {
            segment(area, (x, sheet.bottom), (x, sheet.bottom + points(3.0)), theme::INK, 0.8)?;
        }
        match ticks {
            Ticks::Wrapped(lines) => {
                for (row, words) in lines[n][tick].iter().enumerate() {
                    let at = (x, y + row as i32 * line(TEXT));
                    Words::new(TEXT, HPos::Center, VPos::Top).draw(area, words, at)?;
                }
            }
            Ticks::Rising(_) => {
                Words::new(TEXT, HPos::Right, VPos::Top).draw_rising(
                    area,
                    label,
                    (x - points(2.0), y - points(2.0)),
                )?;
            }
        }
    }
    Ok(())
}

fn draw_marks(area: &Area<'_>, sheet: Sheet, panel: &Panel, frame: &Frame, scale: &Scale) -> Drawn {
    let slots = panel.slots.max(1) as f64;
    let share = frame.slot(panel.ticks.len()) * 0.8;
    let most = if sheet.look.paper { f64::MAX } else { f64::from(points(46.0)) };
    let slot = (share / slots).min(most);
    let beside = panel.marks.iter().any(|mark| mark.reference.is_some());
    for mark in &panel.marks {
        let centre =
            f64::from(frame.tick(mark.tick, panel.ticks.len())) + (mark.slot as f64 - (slots - 1.0) / 2.0) * slot;
        let width = slot * if sheet.look.paper && slots < 2.0 { 1.0 } else { 0.9 };
        // A published value takes the right third.
        let (own, x) = if beside { (width * 0.62, centre - width * 0.19) } else { (width, centre) };
        if let Some(value) = mark.reference {
            let (x0, x1) = ((centre + width * 0.14) as i32, (centre + width * 0.5) as i32);
            let corners = [(x0, scale.at(value)), (x1, sheet.bottom)];
            filled(area, corners, WHITE)?;
            outline(area, corners, theme::INK, 0.7)?;
        }
        draw_mark(area, sheet, mark, x as i32, own as i32, scale)?;
    }
    Ok(())
}

fn draw_mark(area: &Area<'_>, sheet: Sheet, mark: &Mark, centre: i32, width: i32, scale: &Scale) -> Drawn {
    let look = sheet.look;
    let colour = look.colour(mark.group);
    let (x0, x1) = (centre - width / 2, centre + width / 2);
    let spread = |n: usize, of: usize| centre + (((n as f64 + 0.5) / of as f64 - 0.5) * f64::from(width) * 0.6) as i32;
    match &mark.shown {
        Shown::Bar { height, .. } => {
            draw_area(area, look, [(x0, scale.at(*height)), (x1, sheet.bottom)], colour, mark.layer)?;
        }
        Shown::Stack { parts, .. } => {
            let mut below = 0.0;
            for part in parts {
                let corners = [(x0, scale.at(below + part.height)), (x1, scale.at(below))];
                draw_area(area, look, corners, look.colour(part.colour), (0, 1))?;
                below += part.height;
            }
        }
        Shown::Box { quartiles: [q1, median, q3], whiskers, outliers } => {
            let corners = [(x0, scale.at(*q3)), (x1, scale.at(*q1))];
            draw_whisker(area, centre, scale.at(whiskers.0), scale.at(whiskers.1), width / 4)?;
            filled(area, corners, if look.paper { WHITE } else { look.area(colour, (0, 1)) })?;
            outline(area, corners, if look.paper { theme::INK } else { colour }, 0.8)?;
            let stroke = if look.paper { look.colour(1) } else { theme::INK };
            segment(area, (x0, scale.at(*median)), (x1, scale.at(*median)), stroke, 1.2)?;
            for value in outliers {
                dot(area, (centre, scale.at(*value)))?;
            }
        }
        Shown::Strip { values, median } => {
            segment(area, (x0, scale.at(*median)), (x1, scale.at(*median)), colour, 1.4)?;
            for (n, value) in values.iter().enumerate() {
                dot(area, (spread(n, values.len()), scale.at(*value)))?;
            }
        }
        Shown::Nothing => segment(area, (x0, sheet.bottom), (x1, sheet.bottom), theme::ALARM, 1.2)?,
    }
    if let Shown::Bar { interval, points: trials, .. } | Shown::Stack { interval, points: trials, .. } = &mark.shown {
        for (n, trial) in trials.iter().enumerate() {
            dot(area, (spread(n, trials.len()), scale.at(*trial)))?;
        }
        if let Some((low, high)) = interval {
            draw_whisker(area, centre, scale.at(*low), scale.at(*high), width / 6)?;
        }
    }
    // Of several layers, the note of the one behind would be hidden.
    if !mark.note.is_empty() && mark.layer.0 == 0 {
        let own = match &mark.shown {
            Shown::Nothing => sheet.bottom,
            _ => scale.at(highest_own(mark)),
        };
        let at = (centre, own - points(4.0));
        Words::new(SMALL, HPos::Left, VPos::Center).colour(theme::ALARM).draw_up(area, &mark.note, at)?;
    }
    Ok(())
}

/// A bar or a part of one.
fn draw_area(area: &Area<'_>, look: Look, corners: [(i32, i32); 2], colour: RGBColor, layer: (usize, usize)) -> Drawn {
    filled(area, corners, look.area(colour, layer))?;
    if look.paper { Ok(()) } else { outline(area, corners, colour, 0.6) }
}

fn draw_whisker(area: &Area<'_>, x: i32, low: i32, high: i32, cap: i32) -> Drawn {
    segment(area, (x, low), (x, high), theme::INK, 0.9)?;
    for y in [low, high] {
        segment(area, (x - cap, y), (x + cap, y), theme::INK, 0.9)?;
    }
    Ok(())
}
