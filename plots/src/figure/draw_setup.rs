//! Draws the set-up diagram: the host with the runner and its files, and a tap device and a guest for each VM.

use plotters::prelude::WHITE;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{
    Area, DrawResult, FONT_SIZE, TextFormat, draw_outline, draw_segment, fill_rectangle, line_height, text_width,
};
use super::draw::{Sheet, padding};
use super::setup::Setup;
use super::theme::{self, points};

/// Largest number of guests that are all drawn. Of more guests, the first, the second and the last are drawn.
const DRAWN: u32 = 3;

pub(super) fn draw(area: &Area<'_>, sheet: Sheet, setup: &Setup) -> DrawResult {
    let (left, right) = (padding(), sheet.width - padding());
    let unit = (right - left) / 100;
    let host = [(left, sheet.top), (right, sheet.bottom)];
    draw_outline(area, host, theme::INK, 0.9)?;
    let title = (left + padding(), sheet.top + points(3.0));
    TextFormat::new(FONT_SIZE, HPos::Left, VPos::Top).bold().draw(area, "Host", title)?;
    let top = sheet.top + line_height(FONT_SIZE) + padding();
    let bottom = sheet.bottom - padding();

    let files = [
        ("runner".to_owned(), "starts, probes, stops, records".to_owned()),
        (plural_noun("root file system", &setup.rootfs), setup.rootfs.join(", ")),
        (plural_noun("guest kernel", &setup.kernels), setup.kernels.join(", ")),
    ];
    let column = [left + padding(), left + 34 * unit];
    let height = (bottom - top - 2 * padding()) / 3;
    for (n, (name, detail)) in files.iter().enumerate() {
        let y = top + n as i32 * (height + padding());
        draw_box(area, [(column[0], y), (column[1], y + height)], name, detail)?;
    }
    let runner = (column[1], top + height / 2);

    let shown: Vec<Option<u32>> = match setup.guests {
        guests if guests <= DRAWN => (1..=guests).map(Some).collect(),
        guests => vec![Some(1), Some(2), None, Some(guests)],
    };
    let rows = shown.len() as i32;
    let row = (bottom - top - (rows - 1) * padding()) / rows;
    for (n, guest) in shown.iter().enumerate() {
        let y = top + n as i32 * (row + padding());
        let Some(number) = guest else {
            TextFormat::new(FONT_SIZE, HPos::Center, VPos::Center).draw(
                area,
                "...",
                (left + 72 * unit, y + row / 2),
            )?;
            continue;
        };
        draw_guest(area, setup, *number, (left, unit), (y, y + row), runner, right - padding())?;
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
) -> DrawResult {
    let middle = i32::midpoint(y0, y1);
    let name = if setup.guests == 1 { "guest".to_owned() } else { format!("VM {number}") };
    let guest = [(left + 57 * unit, y0), (right, y1)];
    fill_rectangle(area, guest, theme::PALE)?;
    draw_outline(area, guest, theme::INK, 0.7)?;
    let at = (guest[1].0 - points(3.0), middle);
    TextFormat::new(FONT_SIZE, HPos::Right, VPos::Center).colour(theme::FAINT).draw(area, &name, at)?;
    let half = (line_height(FONT_SIZE)).min((y1 - y0) / 3);
    let tap = [(left + 42 * unit, middle - half), (left + 51 * unit, middle + half)];
    let eth = [(left + 60 * unit, middle - half), (left + 69 * unit, middle + half)];
    let agent = [(left + 72 * unit, middle - half), (left + 85 * unit, middle + half)];
    let bend = left + 38 * unit;
    draw_segment(area, runner, (bend, runner.1), theme::INK, 0.7)?;
    draw_segment(area, (bend, runner.1), (bend, middle), theme::INK, 0.7)?;
    draw_segment(area, (bend, middle), (tap[0].0, middle), theme::INK, 0.7)?;
    draw_segment(area, (tap[1].0, middle), (eth[0].0, middle), theme::INK, 0.7)?;
    draw_segment(area, (eth[1].0, middle), (agent[0].0, middle), theme::INK, 0.7)?;
    for (corners, text) in [(tap, "tap"), (eth, "eth0"), (agent, "agent")] {
        draw_box(area, corners, text, "")?;
    }
    Ok(())
}

fn plural_noun(noun: &str, all: &[String]) -> String {
    if all.len() > 1 { format!("{noun}s") } else { noun.to_owned() }
}

/// Draws a white box with `name` in its middle, and `detail` below it if it fits.
fn draw_box(area: &Area<'_>, corners: [(i32, i32); 2], name: &str, detail: &str) -> DrawResult {
    fill_rectangle(area, corners, WHITE)?;
    draw_outline(area, corners, theme::INK, 0.7)?;
    let (x, y) = (i32::midpoint(corners[0].0, corners[1].0), i32::midpoint(corners[0].1, corners[1].1));
    let fits = !detail.is_empty() && text_width(detail, FONT_SIZE) < corners[1].0 - corners[0].0 - points(4.0);
    let up = if fits { line_height(FONT_SIZE) / 2 } else { 0 };
    TextFormat::new(FONT_SIZE, HPos::Center, VPos::Center).draw(area, name, (x, y - up))?;
    if fits {
        let at = (x, y + line_height(FONT_SIZE) / 2 + points(1.0));
        TextFormat::new(FONT_SIZE, HPos::Center, VPos::Center).colour(theme::FAINT).draw(area, detail, at)?;
    }
    Ok(())
}
