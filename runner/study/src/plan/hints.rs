//! Hints about a plan: cells that can be executed, but fail in a way that their settings foretell.

use microbench_formats::axis::Level;
use microbench_formats::cell::Cell;
use microbench_formats::plan::Plan;

use crate::engine::description::Engine;
use crate::engine::guest_settings::{GuestSettings, Reboot, StopAt};
use crate::engine::host_cpu;

/// Cells that a hint names at most.
const MOST_CELLS: usize = 3;

/// The setting of Firecracker's static CPU template.
const CPU_TEMPLATE: &str = "cpu_template";

/// The hints about the cells of a plan, each a sentence.
#[must_use]
pub fn hints(plan: &Plan, engines: &[Engine]) -> Vec<String> {
    // Each text with its cells, in plan order.
    let mut found: Vec<(String, Vec<&str>)> = Vec::new();
    for cell in &plan.cells {
        for text in [endless(cell, engines), not_permitted(cell)].into_iter().flatten() {
            match found.iter_mut().find(|(known, _)| *known == text) {
                Some((_, cells)) => cells.push(&cell.id),
                None => found.push((text, vec![&cell.id])),
            }
        }
    }
    found.into_iter().map(|(text, cells)| format!("{}: {text}", name(&cells))).collect()
}

/// The first few cells, and the number of the others.
fn name(cells: &[&str]) -> String {
    let shown = cells.iter().take(MOST_CELLS).copied().collect::<Vec<_>>().join(", ");
    match cells.len().saturating_sub(MOST_CELLS) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// For a guest that does not end by itself, although the runner waits for its end.
fn endless(cell: &Cell, engines: &[Engine]) -> Option<String> {
    let engine = engines.iter().find(|engine| engine.name == cell.engine)?;
    let guest = GuestSettings::from_cell(cell).ok()?;
    let reboot = guest.reboot.name();
    let waits = guest.reboot != Reboot::Engine && guest.stop_at == StopAt::Exit;
    (waits && engine.kernel.endless.iter().any(|known| known == reboot)).then(|| {
        format!(
            "a guest of {} with `reboot = \"{reboot}\"` does not end by itself, so each VM times out after {} s \
             (`stop_deadline_s`); `stop_at = \"{}\"` ends it at its last reset pulse",
            engine.name,
            guest.stop_deadline.as_secs(),
            StopAt::ResetPulses.name()
        )
    })
}

/// For a static CPU template that the CPU of the emulated host does not permit.
fn not_permitted(cell: &Cell) -> Option<String> {
    let Level::Text(template) = cell.settings.get(CPU_TEMPLATE)? else { return None };
    let cpu = host_cpu::find(cell.host_cpu())?;
    let others: Vec<String> = host_cpu::permitting(template).map(|cpu| format!("\"{}\"", cpu.name)).collect();
    (!others.is_empty() && !cpu.templates.contains(&template.as_str())).then(|| {
        format!(
            "Firecracker does not permit `cpu_template = \"{template}\"` on the emulated host's CPU {}, which permits \
             {}, so that the cell is not applicable there; set `host_cpu = {}`",
            cpu.name,
            cpu.permitted_templates(),
            others.join("` or `host_cpu = ")
        )
    })
}
