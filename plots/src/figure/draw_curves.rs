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
use super::hatch::dashed;
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
    /// Height of the lanes below the ticks that say what is missing.
    missing: i32,
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
        let missing = lacking(curves).len() as i32 * line(TEXT);
        Self { y_label, up, frames, headings, lanes: lanes * line(TEXT), missing, below }
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
    /// Where the knee is; `None` when the line has none.
    x: Option<i32>,
    group: usize,
    words: String,
    lane: i32,
    /// Left side of the words.
    from: i32,
}

/// The knees of a panel, in as many lanes as they need not to overlap; at the right those that there are not.
fn knees(curves: &Curves, panel: &Panel, frame: &Frame) -> Vec<Named> {
    let across = across(curves, frame);
    let mut named: Vec<Named> = Vec::new();
    let mut ends: Vec<i32> = Vec::new();
    let mut found: Vec<(f64, usize)> = Vec::new();
    for curve in panel.curves.iter().filter(|curve| curve.places.iter().any(|at| at.value.is_some())) {
        match curve.knee {
            Some(Knee::At { x, .. }) => found.push((x, curve.group)),
            Some(Knee::None(_)) => found.push((f64::INFINITY, curve.group)),
            None => {}
        }
    }
    found.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    for (x, group) in found {
        let words = if x.is_finite() { format!("knee at {x}") } else { "no knee".to_owned() };
        let width = points(8.0) + width_of(&words, TEXT);
        let middle = if x.is_finite() { across.at(x) } else { frame.x1 };
        let from = (middle - width / 2).clamp(frame.x0, (frame.x1 - width).max(frame.x0));
        let lane = ends.iter().position(|end| *end < from).unwrap_or_else(|| {
            ends.push(0);
            ends.len() - 1
        });
        ends[lane] = from + width + points(4.0);
        named.push(Named { x: x.is_finite().then(|| across.at(x)), group, words, lane: lane as i32, from });
    }
    named
}

/// Room above the plot for the panels' headings and the knees, and below it for the x axis.
pub(super) fn margins(look: Look, curves: &Curves, width: i32, height: i32) -> (i32, i32) {
    let layout = Layout::new(look, curves, width, height);
    let head = layout.headings.height() + layout.lanes;
    (head, (1 + layout.below.len() as i32) * line(TEXT) + layout.missing + points(6.0))
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
        let at = (middle, sheet.bottom + points(5.0) + layout.missing + (1 + n as i32) * line(TEXT));
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
    let path = named.x.map(|x| [(x, sheet.bottom), (x, y + line(TEXT) / 2)]);
    for part in path.iter().flat_map(|path| dashed(path, &[points(2.5), points(2.0)])) {
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

/// Groups of which something is missing somewhere, each with a lane below the axis.
fn lacking(curves: &Curves) -> Vec<usize> {
    let lacks = |group: &usize| {
        let mut places = curves.panels.iter().filter(|panel| whole(panel).is_none());
        let of = |panel: &Panel| {
            panel.curves.get(*group).is_some_and(|curve| curve.places.iter().any(|at| !at.note.is_empty()))
        };
        !curves.absent.contains(group) && places.any(of)
    };
    (0..curves.panels.first().map_or(0, |panel| panel.curves.len())).filter(lacks).collect()
}

/// Why a panel of one line has no value at all: its words stand in the panel's middle.
fn whole(panel: &Panel) -> Option<&str> {
    let [Curve { places, .. }] = panel.curves.as_slice() else { return None };
    let first = places.first()?;
    places.iter().all(|at| at.value.is_none() && at.note == first.note).then_some(first.note.as_str())
}

/// What is missing: a lane a group below the ticks, in it a cross where nothing was measured and a square where not all VMs have a value,
/// with the reason where there is room; the caption has them all.
fn draw_missing(
    area: &Area<'_>,
    sheet: Sheet,
    (curves, panel): (&Curves, &Panel),
    frame: &Frame,
    across: &Scale,
) -> Drawn {
    if let Some(why) = whole(panel) {
        let middle = (i32::midpoint(frame.x0, frame.x1), i32::midpoint(sheet.top, sheet.bottom));
        let words = shortened(why, TEXT, frame.width());
        return Words::new(TEXT, HPos::Center, VPos::Center).colour(theme::ALARM).draw(area, &words, middle);
    }
    for (lane, group) in lacking(curves).into_iter().enumerate() {
        let y = sheet.bottom + points(5.0) + (lane as i32 + 1) * line(TEXT) + line(TEXT) / 2;
        if panel.curves.len() > 1 {
            marker(area, sheet.look, (frame.x0 - points(6.0), y), group)?;
        }
        let noted: Vec<&At> = panel.curves[group].places.iter().filter(|at| !at.note.is_empty()).collect();
        for (n, at) in noted.iter().enumerate() {
            let (x, reach) = (across.at(at.x), points(2.2));
            match at.value {
                None => cross(area, (x, y))?,
                Some(_) => outline(area, [(x - reach, y - reach), (x + reach, y + reach)], theme::ALARM, 0.8)?,
            }
            let next = noted.get(n + 1).map_or(sheet.width - points(2.0), |next| across.at(next.x) - points(6.0));
            let last = curves.panels.last().is_some_and(|last| std::ptr::eq(last, panel));
            let free = if last { next } else { next.min(frame.x1) };
            // Left of the last mark there may be more room than right of it.
            let before = if n == 0 { frame.x0 } else { across.at(noted[n - 1].x) + points(6.0) };
            let wide = width_of(&at.note, TEXT);
            let style = |h| Words::new(TEXT, h, VPos::Center).colour(theme::ALARM);
            if x + points(4.0) + wide <= free {
                style(HPos::Left).draw(area, &at.note, (x + points(4.0), y))?;
            } else if n + 1 == noted.len()
                && n > 0
                && x - points(4.0) - wide >= before + width_of(&noted[n - 1].note, TEXT)
            {
                style(HPos::Right).draw(area, &at.note, (x - points(4.0), y))?;
            }
        }
    }
    Ok(())
}
