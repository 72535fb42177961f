//! Draws the set-up: the host with the runner and its files, a tap and a guest for each VM.

use plotters::prelude::WHITE;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Area, Drawn, TEXT, Words, filled, line, outline, segment, width_of};
use super::draw::{Sheet, pad};
use super::setup::Setup;
use super::theme::{self, points};

/// Guests that are drawn; of more, the first, the second and the last.
const DRAWN: u32 = 3;

pub(super) fn draw(area: &Area<'_>, sheet: Sheet, setup: &Setup) -> Drawn {
    let (left, right) = (pad(), sheet.width - pad());
    let unit = (right - left) / 100;
    let host = [(left, sheet.top), (right, sheet.bottom)];
    outline(area, host, theme::INK, 0.9)?;
    let title = (left + pad(), sheet.top + points(3.0));
    Words::new(TEXT, HPos::Left, VPos::Top).bold().draw(area, "Host", title)?;
    let top = sheet.top + line(TEXT) + pad();
    let bottom = sheet.bottom - pad();

    let files = [
        ("runner".to_owned(), "starts, probes, stops, records".to_owned()),
        (several("root file system", &setup.rootfs), setup.rootfs.join(", ")),
        (several("guest kernel", &setup.kernels), setup.kernels.join(", ")),
    ];
    let column = [left + pad(), left + 34 * unit];
    let height = (bottom - top - 2 * pad()) / 3;
    for (n, (name, what)) in files.iter().enumerate() {
        let y = top + n as i32 * (height + pad());
        boxed(area, [(column[0], y), (column[1], y + height)], name, what)?;
    }
    let runner = (column[1], top + height / 2);

    let shown: Vec<Option<u32>> = match setup.guests {
        guests if guests <= DRAWN => (1..=guests).map(Some).collect(),
        guests => vec![Some(1), Some(2), None, Some(guests)],
    };
    let rows = shown.len() as i32;
    let row = (bottom - top - (rows - 1) * pad()) / rows;
    for (n, guest) in shown.iter().enumerate() {
        let y = top + n as i32 * (row + pad());
        let Some(number) = guest else {
            Words::new(TEXT, HPos::Center, VPos::Center).draw(area, "...", (left + 72 * unit, y + row / 2))?;
            continue;
        };
        draw_guest(area, setup, *number, (left, unit), (y, y + row), runner, right - pad())?;
    }
    Ok(())
}

fn draw_guest(
    area: &Area<'_>,
    setup: &Setup,
    number: u32,
    (left, unit): (i32, i32),
    (y0, y1): (i32, i32),
    runner: (i32, i32),
    right: i32,
) -> Drawn {
    let middle = i32::midpoint(y0, y1);
    let name = if setup.guests == 1 { "guest".to_owned() } else { format!("VM {number}") };
    let guest = [(left + 57 * unit, y0), (right, y1)];
    filled(area, guest, theme::PALE)?;
    outline(area, guest, theme::INK, 0.7)?;
    let words = (guest[1].0 - points(3.0), middle);
    Words::new(TEXT, HPos::Right, VPos::Center).colour(theme::FAINT).draw(area, &name, words)?;
    let half = (line(TEXT)).min((y1 - y0) / 3);
    let tap = [(left + 42 * unit, middle - half), (left + 51 * unit, middle + half)];
    let eth = [(left + 60 * unit, middle - half), (left + 69 * unit, middle + half)];
    let agent = [(left + 72 * unit, middle - half), (left + 85 * unit, middle + half)];
    let bend = left + 38 * unit;
    segment(area, runner, (bend, runner.1), theme::INK, 0.7)?;
    segment(area, (bend, runner.1), (bend, middle), theme::INK, 0.7)?;
    segment(area, (bend, middle), (tap[0].0, middle), theme::INK, 0.7)?;
    segment(area, (tap[1].0, middle), (eth[0].0, middle), theme::INK, 0.7)?;
    segment(area, (eth[1].0, middle), (agent[0].0, middle), theme::INK, 0.7)?;
    for (corners, text) in [(tap, "tap"), (eth, "eth0"), (agent, "agent")] {
        boxed(area, corners, text, "")?;
    }
    Ok(())
}

fn several(noun: &str, all: &[String]) -> String {
    if all.len() > 1 { format!("{noun}s") } else { noun.to_owned() }
}

/// A white box with words in its middle and smaller ones below, if they fit.
fn boxed(area: &Area<'_>, corners: [(i32, i32); 2], words: &str, below: &str) -> Drawn {
    filled(area, corners, WHITE)?;
    outline(area, corners, theme::INK, 0.7)?;
    let (x, y) = (i32::midpoint(corners[0].0, corners[1].0), i32::midpoint(corners[0].1, corners[1].1));
    let fits = !below.is_empty() && width_of(below, TEXT) < corners[1].0 - corners[0].0 - points(4.0);
    let up = if fits { line(TEXT) / 2 } else { 0 };
    Words::new(TEXT, HPos::Center, VPos::Center).draw(area, words, (x, y - up))?;
    if fits {
        let at = (x, y + line(TEXT) / 2 + points(1.0));
        Words::new(TEXT, HPos::Center, VPos::Center).colour(theme::FAINT).draw(area, below, at)?;
    }
    Ok(())
}
