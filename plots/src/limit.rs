//! How far a sweep of concurrency goes: which cells are beyond the level at which a limit of the study was met, by what the journal says.
//!
//! A sweep is cells that are alike but for their concurrency. Its levels are judged in rising order, each once all its timed trials
//! have ended, so that the same journal gives the same answer whoever asks.

use std::collections::BTreeMap;

use microbench_formats::cell::Cell;
use microbench_formats::plan::{Limit, Plan};
use microbench_formats::record::FailureReason;

use crate::journal::{Execution, Journal, Vm};
use crate::samples::counted;
use crate::stats::median::median;

/// The reading that the limit on memory is of, bytes.
pub const MEMORY: &str = "host.memory_used";
/// The events that start-up is between.
const STARTUP: (&str, &str) = ("spawn", "http.ok");

/// The cells that are not to be run, each with the reason; none without a limit.
#[must_use]
pub fn beyond(plan: &Plan, journal: &Journal) -> BTreeMap<String, String> {
    let mut beyond = BTreeMap::new();
    for sweep in judged(plan, journal) {
        let Some(met) = sweep.met else { continue };
        beyond.extend(sweep.beyond.iter().map(|cell| (cell.id.to_string(), format!("beyond the limit: {met}"))));
    }
    beyond
}

/// How far each sweep has gone, as a sentence; none without a limit.
#[must_use]
pub fn said(plan: &Plan, journal: &Journal) -> Vec<String> {
    let one = |sweep: Sweep<'_>| {
        let ends = match (sweep.reached, &sweep.met, sweep.beyond.len()) {
            (None, ..) => "no level has ended, or this host cannot run it".to_owned(),
            (Some(reached), None, 0) => format!("as far as {reached} VMs at once, the last level; no limit was met"),
            (Some(reached), None, _) => format!("as far as {reached} VMs at once; the next level has not ended"),
            (Some(_), Some(met), 0) => format!("{met}, at the last level"),
            (Some(_), Some(met), 1) => format!("{met}; the level beyond is not run"),
            (Some(_), Some(met), levels) => format!("{met}; the {levels} levels beyond are not run"),
        };
        format!("{}: {ends}", sweep.name)
    };
    judged(plan, journal).into_iter().map(one).collect()
}

/// How far a sweep has gone.
struct Sweep<'a> {
    name: String,
    /// VMs at once at the last level that was judged.
    reached: Option<u32>,
    /// The limit that it met.
    met: Option<String>,
    /// The cells that were not judged.
    beyond: Vec<&'a Cell>,
}

fn judged<'a>(plan: &'a Plan, journal: &Journal) -> Vec<Sweep<'a>> {
    let Some(limit) = &plan.limit else { return Vec::new() };
    let counted = counted(journal);
    let judge = |cells: Vec<&'a Cell>| {
        let name = cells.first().map_or_else(String::new, |cell| name(plan, cell));
        let (mut before, mut met): (Option<Found>, Option<String>) = (None, None);
        let mut cells = cells.into_iter();
        let mut beyond = Vec::new();
        for cell in cells.by_ref() {
            let Some(found) = found(plan, cell, &counted) else {
                beyond.push(cell);
                break;
            };
            met = exceeds(limit, before.as_ref(), &found);
            before = Some(found);
            if met.is_some() {
                break;
            }
        }
        beyond.extend(cells);
        Sweep { name, reached: before.map(|found| found.vms), met, beyond }
    };
    sweeps(plan).into_iter().map(judge).collect()
}

/// A sweep's name: its variant, and the levels of other axes that have several.
fn name(plan: &Plan, cell: &Cell) -> String {
    let several = |axis: &str| plan.axes.iter().any(|known| known.name == axis && known.levels.len() > 1);
    let others = cell.levels.iter().filter(|(axis, _)| !["variant", "concurrency"].contains(&axis.as_str()));
    let words = others.filter(|(axis, _)| several(axis)).map(|(axis, level)| format!("{axis} {level}"));
    std::iter::once(cell.label.to_string()).chain(words).collect::<Vec<_>>().join(", ")
}

/// The cells of each sweep, by rising concurrency.
fn sweeps(plan: &Plan) -> Vec<Vec<&Cell>> {
    let mut sweeps: Vec<Vec<&Cell>> = Vec::new();
    for cell in &plan.cells {
        let alike = |other: &&Cell| cell.is_like(other, "concurrency");
        match sweeps.iter_mut().find(|sweep| sweep.first().is_some_and(alike)) {
            Some(sweep) => sweep.push(cell),
            None => sweeps.push(vec![cell]),
        }
    }
    for sweep in &mut sweeps {
        sweep.sort_by_key(|cell| cell.concurrency);
    }
    sweeps
}

/// What a cell came to.
struct Found {
    vms: u32,
    /// Share of its VMs that did not complete.
    failed: f64,
    /// MiB, median over trials.
    memory: Option<f64>,
    /// ms, median over trials of the VMs' median.
    startup: Option<f64>,
}

/// What `cell` came to; `None` while a timed trial of it has not ended, or where this host runs none of it.
fn found(plan: &Plan, cell: &Cell, counted: &BTreeMap<u32, &Execution>) -> Option<Found> {
    let timed = plan.trials.iter().filter(|trial| trial.cell == cell.id && trial.instrument.is_none());
    let executions: Vec<&Execution> = timed.map(|trial| counted.get(&trial.index).copied()).collect::<Option<_>>()?;
    let reason = |vm: &Vm| vm.failure.as_ref().map(|failure| failure.reason);
    let vms: Vec<&Vm> = executions.iter().flat_map(|execution| execution.vms.values()).collect();
    let reasons: Vec<Option<FailureReason>> = vms.iter().map(|vm| reason(vm)).collect();
    if vms.is_empty() || reasons.iter().all(|reason| *reason == Some(FailureReason::NotApplicable)) {
        return None;
    }
    let over = |of: &dyn Fn(&Vm) -> Option<f64>| {
        let trial = |execution: &&Execution| median(&execution.vms.values().filter_map(of).collect::<Vec<_>>());
        median(&executions.iter().filter_map(trial).collect::<Vec<_>>())
    };
    Some(Found {
        vms: cell.concurrency,
        failed: reasons.iter().filter(|reason| reason.is_some()).count() as f64 / vms.len() as f64,
        memory: over(&|vm| vm.readings.get(MEMORY)?.0.as_ref().ok().map(|bytes| bytes / 1_048_576.0)),
        startup: over(&|vm| {
            let instant = |name: &str| vm.events.get(name).copied();
            Some(instant(STARTUP.1)?.checked_sub(instant(STARTUP.0)?)? as f64 / 1e6)
        }),
    })
}

/// Which limit the level `found`, after the level `before`, does not keep.
fn exceeds(limit: &Limit, before: Option<&Found>, found: &Found) -> Option<String> {
    let at = found.vms;
    let vms = if at == 1 { "1 VM".to_owned() } else { format!("{at} VMs at once") };
    if let Some(most) = limit.failures.filter(|most| found.failed > *most) {
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        let (failed, most) = (percent(found.failed), percent(most));
        return Some(format!("of {vms} {failed} failed, and `failures` is {most}"));
    }
    if let (Some(most), Some(memory)) = (limit.memory_mib, found.memory)
        && memory > most
    {
        return Some(format!("{vms} took {memory:.0} MiB of the host's memory, and `memory_mib` is {most}"));
    }
    let slope = before.and_then(|before| {
        let more = f64::from(found.vms.checked_sub(before.vms).filter(|more| *more > 0)?);
        Some((found.startup? - before.startup?) / more)
    });
    match (limit.startup_slope_ms, slope, before) {
        (Some(most), Some(slope), Some(before)) if slope > most => Some(format!(
            "from {} to {at} VMs at once each VM more added {slope:.1} ms to the start-up, and `startup_slope_ms` is {most}",
            before.vms
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(vms: u32, failed: f64, memory: f64, startup: f64) -> Found {
        Found { vms, failed, memory: Some(memory), startup: Some(startup) }
    }

    #[test]
    fn each_limit_is_met_by_more_than_it_says() {
        let limit = Limit { failures: Some(0.05), memory_mib: Some(1000.0), startup_slope_ms: Some(50.0) };
        let before = found(4, 0.0, 400.0, 100.0);
        let said = |now: Found| exceeds(&limit, Some(&before), &now);
        assert_eq!(said(found(8, 0.05, 1000.0, 300.0)), None);
        assert_eq!(said(found(8, 0.125, 0.0, 0.0)).unwrap(), "of 8 VMs at once 12.5 % failed, and `failures` is 5.0 %");
        assert_eq!(
            said(found(8, 0.0, 1000.5, 0.0)).unwrap(),
            "8 VMs at once took 1000 MiB of the host's memory, and `memory_mib` is 1000"
        );
        assert_eq!(
            said(found(8, 0.0, 0.0, 304.0)).unwrap(),
            "from 4 to 8 VMs at once each VM more added 51.0 ms to the start-up, and `startup_slope_ms` is 50"
        );
        // The first level has none before it; what was not measured meets nothing.
        assert_eq!(exceeds(&limit, None, &found(8, 0.0, 0.0, 9999.0)), None);
        let nothing = Found { vms: 8, failed: 0.0, memory: None, startup: None };
        assert_eq!(exceeds(&limit, Some(&before), &nothing), None);
        assert_eq!(exceeds(&Limit::default(), Some(&before), &found(8, 1.0, 1e9, 1e9)), None);
    }
}
