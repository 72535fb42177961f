//! Draws lines over an axis of numbers, their bands and their knees.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axes::{Frame, Headings, YLabel, draw_y};
use super::canvas::{
    Area, Drawn, Scale, TEXT, Words, cross, line, line_of, marker, outline, segment, shortened, width_of, wrap,
};
use super::curves::{At, Curve, Curves, Knee, Panel};
use super::description::Entry;
use super::draw::{Sheet, draw_inner_legend};
use super::theme::{self, Look, points};

/// Where everything of the chart is, before it is drawn.
struct Layout {
    y_label: YLabel,
    /// With the plot's upper end at 0.
    up: Scale,
    frames: Vec<Frame>,
    headings: Headings,
    /// Height of the lanes above the plot that name the knees.
    lanes: i32,
    /// The label of the x axis, in lines.
    below: Vec<String>,
}

impl Layout {
    fn new(look: Look, curves: &Curves, width: i32, height: i32) -> Self {
        let y_label = YLabel::new(&curves.y_label, height);
        let up = upwards(curves, height);
        let frames = Frame::row(curves.panels.len(), y_label.left(look, up.ticks_width()), width);
        let headings = Headings::new(curves.panels.iter().map(|panel| &panel.title), &frames);
        let lanes = (curves.panels.iter().zip(&frames)).map(|(panel, frame)| knees(curves, panel, frame));
        let lanes = lanes.flatten().map(|named| named.lane + 1).max().unwrap_or(0);
        let below = wrap(&curves.x_label, TEXT, width - frames[0].x0);
        Self { y_label, up, frames, headings, lanes: lanes * line(TEXT), below }
    }
}

fn places(curves: &Curves) -> impl Iterator<Item = &At> {
    curves.panels.iter().flat_map(|panel| &panel.curves).flat_map(|curve| &curve.places)
}

/// The y axis of a plot of this height.
fn upwards(curves: &Curves, height: i32) -> Scale {
    let of = |at: &At| {
        let ends = at.interval.into_iter().flat_map(|(low, high)| [low, high]);
        at.points.iter().copied().chain(at.value).chain(ends).collect::<Vec<_>>()
    };
    let values: Vec<f64> = places(curves).flat_map(of).collect();
    let largest = values.iter().copied().fold(0.0, f64::max);
    if !curves.y_log {
        return Scale::new(largest * 1.05, height, 0);
    }
    let least = values.into_iter().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
    Scale::log(least, largest, height, 0)
}

fn across(curves: &Curves, frame: &Frame) -> Scale {
    let (low, high) = (curves.levels.first().copied().unwrap_or(0.0), curves.levels.last().copied().unwrap_or(1.0));
    Scale::within(low, high, curves.x_log, frame.x0, frame.x1)
}

/// A knee's words in a lane above the plot.
struct Named {
    x: i32,
    group: usize,
    words: String,
    lane: i32,
    /// Left side of the words.
    from: i32,
}

/// The knees of a panel, in as many lanes as they need not to overlap.
fn knees(curves: &Curves, panel: &Panel, frame: &Frame) -> Vec<Named> {
    let across = across(curves, frame);
    let mut named: Vec<Named> = Vec::new();
    let mut ends: Vec<i32> = Vec::new();
    let mut found: Vec<(f64, usize)> = (panel.curves.iter())
        .filter_map(|curve| match curve.knee {
            Some(Knee::At { x, .. }) => Some((x, curve.group)),
            _ => None,
        })
        .collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    for (x, group) in found {
        let words = format!("knee at {x}");
        let width = points(8.0) + width_of(&words, TEXT);
        let from = (across.at(x) - width / 2).clamp(frame.x0, (frame.x1 - width).max(frame.x0));
        let lane = ends.iter().position(|end| *end < from).unwrap_or_else(|| {
            ends.push(0);
            ends.len() - 1
        });
        ends[lane] = from + width + points(4.0);
        named.push(Named { x: across.at(x), group, words, lane: lane as i32, from });
    }
    named
}

/// Room above the plot for the panels' headings and the knees, and below it for the x axis.
pub(super) fn margins(look: Look, curves: &Curves, width: i32, height: i32) -> (i32, i32) {
    let layout = Layout::new(look, curves, width, height);
    let head = layout.headings.height() + layout.lanes;
    (head, (1 + layout.below.len() as i32) * line(TEXT) + points(6.0))
}

pub(super) fn draw(area: &Area<'_>, sheet: Sheet, curves: &Curves, legend: &[Entry]) -> Drawn {
    let look = sheet.look;
    let layout = Layout::new(look, curves, sheet.width, sheet.bottom - sheet.top);
    let up = layout.up.moved(sheet.top);
    layout.y_label.draw(area, sheet)?;
    layout.headings.draw(area, &layout.frames, sheet.top - layout.lanes)?;
    for (n, (panel, frame)) in curves.panels.iter().zip(&layout.frames).enumerate() {
        draw_y(area, sheet, &up, frame, n == 0)?;
        let across = across(curves, frame);
        draw_x(area, sheet, curves, &across)?;
        for named in knees(curves, panel, frame) {
            draw_knee(area, sheet, &named)?;
        }
        for curve in &panel.curves {
            draw_band(area, look, curve, &across, &up)?;
        }
        for curve in &panel.curves {
            draw_curve(area, look, curve, &across, &up)?;
        }
        draw_missing(area, sheet, (curves, panel), frame, &across)?;
        if look.paper {
            outline(area, [(frame.x0, sheet.top), (frame.x1, sheet.bottom)], theme::INK, 0.8)?;
            draw_inner_legend(area, look, legend, frame.x0, frame.x1, sheet.top, true)?;
        }
    }
    let middle = i32::midpoint(layout.frames[0].x0, layout.frames.last().map_or(sheet.width, |frame| frame.x1));
    for (n, words) in layout.below.iter().enumerate() {
        let at = (middle, sheet.bottom + points(5.0) + (1 + n as i32) * line(TEXT));
        Words::new(TEXT, HPos::Center, VPos::Top).draw(area, words, at)?;
    }
    Ok(())
}

/// A tick at each level, and its words where the one before leaves room.
fn draw_x(area: &Area<'_>, sheet: Sheet, curves: &Curves, across: &Scale) -> Drawn {
    let mut free = i32::MIN;
    for level in &curves.levels {
        let (x, words) = (across.at(*level), level.to_string());
        segment(area, (x, sheet.bottom), (x, sheet.bottom + points(3.0)), theme::INK, 0.8)?;
        let half = width_of(&words, TEXT) / 2;
        if x - half > free {
            Words::new(TEXT, HPos::Center, VPos::Top).draw(area, &words, (x, sheet.bottom + points(4.0)))?;
            free = x + half + points(3.0);
        }
    }
    Ok(())
}

fn draw_knee(area: &Area<'_>, sheet: Sheet, named: &Named) -> Drawn {
    let y = sheet.top - named.lane * line(TEXT) - line(TEXT) / 2 - points(1.0);
    let path = [(named.x, sheet.bottom), (named.x, y + line(TEXT) / 2)];
    for part in super::hatch::dashed(&path, &[points(2.5), points(2.0)]) {
        area.draw(&PathElement::new(part, theme::FAINT.stroke_width(points(0.7).unsigned_abs())))?;
    }
    marker(area, sheet.look, (named.from + points(3.0), y), named.group)?;
    Words::new(TEXT, HPos::Left, VPos::Center).draw(area, &named.words, (named.from + points(8.0), y))
}

/// Runs of neighbouring places that have what is asked for.
fn runs<T>(places: &[At], of: impl Fn(&At) -> Option<T>) -> Vec<Vec<T>> {
    let mut runs = vec![Vec::new()];
    for at in places {
        match (of(at), runs.last_mut()) {
            (Some(found), Some(run)) => run.push(found),
            _ => runs.push(Vec::new()),
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

fn draw_band(area: &Area<'_>, look: Look, curve: &Curve, across: &Scale, up: &Scale) -> Drawn {
    let ends = |at: &At| {
        let (low, high) = at.interval.filter(|_| !look.paper && at.value.is_some())?;
        Some((across.at(at.x), up.at(low), up.at(high)))
    };
    for run in runs(&curve.places, ends) {
        let colour = look.colour(curve.group);
        let (upper, lower) =
            (run.iter().map(|(x, _, high)| (*x, *high)), run.iter().rev().map(|(x, low, _)| (*x, *low)));
        area.draw(&Polygon::new(upper.chain(lower).collect::<Vec<_>>(), colour.mix(0.25).filled()))?;
        // Of each level's own interval the ends are seen.
        for (x, low, high) in run {
            segment(area, (x, low), (x, high), colour, 0.7)?;
            for y in [low, high] {
                segment(area, (x - points(1.6), y), (x + points(1.6), y), colour, 0.7)?;
            }
        }
    }
    Ok(())
}

fn draw_curve(area: &Area<'_>, look: Look, curve: &Curve, across: &Scale, up: &Scale) -> Drawn {
    let colour = theme::mixed(look.colour(curve.group), theme::WHITE, 0.6);
    for at in &curve.places {
        for value in &at.points {
            area.draw(&Circle::new((across.at(at.x), up.at(*value)), points(0.8), colour.filled()))?;
        }
    }
    let runs = runs(&curve.places, |at| Some((across.at(at.x), up.at(at.value?))));
    for run in &runs {
        line_of(area, look, run, curve.group)?;
    }
    for at in runs.into_iter().flatten() {
        marker(area, look, at, curve.group)?;
    }
    Ok(())
}

/// What is missing at a level: in words from the axis up, side by side; crosses where there is no room for words, since the caption
/// says it.
fn draw_missing(
    area: &Area<'_>,
    sheet: Sheet,
    (curves, panel): (&Curves, &Panel),
    frame: &Frame,
    across: &Scale,
) -> Drawn {
    // Of a panel with one line and no value the reason stands in its middle.
    if let [Curve { places, .. }] = panel.curves.as_slice()
        && let Some(first) = places.first()
        && places.iter().all(|at| at.value.is_none() && at.note == first.note)
    {
        let middle = (i32::midpoint(frame.x0, frame.x1), i32::midpoint(sheet.top, sheet.bottom));
        let words = shortened(&first.note, TEXT, frame.width());
        return Words::new(TEXT, HPos::Center, VPos::Center).colour(theme::ALARM).draw(area, &words, middle);
    }
    let mut free = frame.x0;
    let mut levels: Vec<f64> = panel.curves.iter().flat_map(|curve| &curve.places).map(|at| at.x).collect();
    levels.sort_by(f64::total_cmp);
    levels.dedup();
    for level in levels {
        let here = |curve: &Curve| {
            let marked = !curves.absent.contains(&curve.group);
            let at = curve.places.iter().find(|at| marked && at.x == level && !at.note.is_empty())?;
            Some((curve.group, at.note.clone(), at.value.is_some()))
        };
        let noted: Vec<(usize, String, bool)> = panel.curves.iter().filter_map(here).collect();
        let (x, each) = (across.at(level), line(TEXT));
        let from = x - each * noted.len() as i32 / 2;
        if noted.is_empty() {
            continue;
        }
        if from < free || from + each * noted.len() as i32 > frame.x1 {
            cross(area, (x, sheet.bottom - points(4.0)))?;
            continue;
        }
        free = from + each * noted.len() as i32;
        for (n, (group, note, measured)) in noted.iter().enumerate() {
            let x = from + n as i32 * each + each / 2;
            let mut bottom = sheet.bottom - points(5.0);
            if !measured {
                cross(area, (x, bottom))?;
                bottom -= points(7.0);
            }
            if panel.curves.len() > 1 {
                marker(area, sheet.look, (x, bottom), *group)?;
                bottom -= points(5.0);
            }
            let words = shortened(note, TEXT, bottom - sheet.top);
            Words::new(TEXT, HPos::Left, VPos::Center).colour(theme::ALARM).draw_up(area, &words, (x, bottom))?;
        }
    }
    Ok(())
}
