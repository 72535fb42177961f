//! Limits of the study on a sweep of concurrency: the cells that are not executed because a lower level exceeded a
//! limit.
//!
//! A sweep is the cells that differ only in concurrency. Its levels are judged in rising order, each after all its
//! timed trials have ended, so the result depends on the journal alone.

use std::collections::BTreeMap;

use microbench_formats::cell::Cell;
use microbench_formats::plan::{Limit, Plan};
use microbench_formats::record::FailureReason;

use crate::journal::{Execution, Journal, Vm};
use crate::number::{declared_percent, percent, significant};
use crate::samples::counted_executions;
use crate::stats::median::median;

/// The reading that `memory_mib` limits, in bytes.
pub const MEMORY: &str = "host.memory_used";
/// The events between which the start-up time is measured.
const STARTUP: (&str, &str) = ("spawn", "http.ok");

/// The cells that are not to be executed, with the reason of each; empty if the study has no limit.
#[must_use]
pub fn cells_beyond_limit(plan: &Plan, journal: &Journal) -> BTreeMap<String, String> {
    let mut beyond = BTreeMap::new();
    for sweep in judge_sweeps(plan, journal) {
        let Some(exceeded) = sweep.exceeded else { continue };
        beyond.extend(sweep.beyond.iter().map(|cell| (cell.id.to_string(), format!("beyond the limit: {exceeded}"))));
    }
    beyond
}

/// The state of each sweep as a sentence; empty if the study has no limit.
#[must_use]
pub fn describe_sweeps(plan: &Plan, journal: &Journal) -> Vec<String> {
    let describe = |sweep: Sweep<'_>| {
        let state = match (sweep.reached, &sweep.exceeded, sweep.beyond.len()) {
            (None, ..) => "no level has ended, or this host cannot run it".to_owned(),
            (Some(reached), None, 0) => format!("up to {reached} VMs at once, the last level; no limit was exceeded"),
            (Some(reached), None, _) => format!("up to {reached} VMs at once; the next level has not ended"),
            (Some(_), Some(exceeded), 0) => format!("{exceeded}, at the last level"),
            (Some(_), Some(exceeded), 1) => format!("{exceeded}; the next level is not run"),
            (Some(_), Some(exceeded), levels) => format!("{exceeded}; the next {levels} levels are not run"),
        };
        format!("{}: {state}", sweep.name)
    };
    judge_sweeps(plan, journal).into_iter().map(describe).collect()
}

/// The state of a sweep.
struct Sweep<'a> {
    name: String,
    /// VMs at once at the last level that was judged; `None` if no level was.
    reached: Option<u32>,
    /// The limit that this level exceeded, as a sentence.
    exceeded: Option<String>,
    /// The cells that were not judged.
    beyond: Vec<&'a Cell>,
}

fn judge_sweeps<'a>(plan: &'a Plan, journal: &Journal) -> Vec<Sweep<'a>> {
    let Some(limit) = &plan.limit else { return Vec::new() };
    let counted = counted_executions(journal);
    let judge = |cells: Vec<&'a Cell>| {
        let name = cells.first().map_or_else(String::new, |cell| sweep_name(plan, cell));
        let (mut before, mut exceeded): (Option<LevelResult>, Option<String>) = (None, None);
        let mut cells = cells.into_iter();
        let mut beyond = Vec::new();
        for cell in cells.by_ref() {
            let Some(result) = level_result(plan, cell, &counted) else {
                beyond.push(cell);
                break;
            };
            exceeded = exceeded_limit(limit, before.as_ref(), &result);
            before = Some(result);
            if exceeded.is_some() {
                break;
            }
        }
        beyond.extend(cells);
        Sweep { name, reached: before.map(|result| result.vms), exceeded, beyond }
    };
    sweeps(plan).into_iter().map(judge).collect()
}

/// The name of a sweep: the variant's label, and its level of each other axis with several levels.
fn sweep_name(plan: &Plan, cell: &Cell) -> String {
    let several = |axis: &str| plan.axes.iter().any(|known| known.name == axis && known.levels.len() > 1);
    let others = cell.levels.iter().filter(|(axis, _)| !["variant", "concurrency"].contains(&axis.as_str()));
    let levels = others.filter(|(axis, _)| several(axis)).map(|(axis, level)| format!("{axis} {level}"));
    std::iter::once(cell.label.to_string()).chain(levels).collect::<Vec<_>>().join(", ")
}

/// The cells of each sweep, in order of rising concurrency.
fn sweeps(plan: &Plan) -> Vec<Vec<&Cell>> {
    let mut sweeps: Vec<Vec<&Cell>> = Vec::new();
    for cell in &plan.cells {
        let alike = |other: &&Cell| cell.equals_except(other, "concurrency");
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

/// The measurements of one level of a sweep that limits apply to.
struct LevelResult {
    /// VMs at once.
    vms: u32,
    /// Share of VMs that did not complete, 0 to 1.
    failed: f64,
    /// Memory used on the host, MiB, median over trials; `None` if not measured.
    memory: Option<f64>,
    /// Start-up time, ms, median over trials of the VMs' median; `None` if not measured.
    startup: Option<f64>,
}

/// The result of `cell`; `None` while one of its timed trials has not ended, and if this host cannot run the cell.
fn level_result(plan: &Plan, cell: &Cell, counted: &BTreeMap<u32, &Execution>) -> Option<LevelResult> {
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
    Some(LevelResult {
        vms: cell.concurrency,
        failed: reasons.iter().filter(|reason| reason.is_some()).count() as f64 / vms.len() as f64,
        memory: over(&|vm| vm.readings.get(MEMORY)?.0.as_ref().ok().map(|bytes| bytes / 1_048_576.0)),
        startup: over(&|vm| {
            let instant = |name: &str| vm.events.get(name).copied();
            Some(instant(STARTUP.1)?.checked_sub(instant(STARTUP.0)?)? as f64 / 1e6)
        }),
    })
}

/// The limit that the level `result` exceeds, as a sentence; `before` is the level below it.
fn exceeded_limit(limit: &Limit, before: Option<&LevelResult>, result: &LevelResult) -> Option<String> {
    let at = result.vms;
    let vms = if at == 1 { "1 VM".to_owned() } else { format!("{at} VMs at once") };
    if let Some(most) = limit.failures.filter(|most| result.failed > *most) {
        return Some(format!("{} of {vms} failed (`failures` is {})", percent(result.failed), declared_percent(most)));
    }
    if let (Some(most), Some(memory)) = (limit.memory_mib, result.memory)
        && memory > most
    {
        return Some(format!("{vms} used {memory:.0} MiB of host memory (`memory_mib` is {most})"));
    }
    let slope = before.and_then(|before| {
        let more = f64::from(result.vms.checked_sub(before.vms).filter(|more| *more > 0)?);
        Some((result.startup? - before.startup?) / more)
    });
    match (limit.startup_slope_ms, slope, before) {
        (Some(most), Some(slope), Some(before)) if slope > most => Some(format!(
            "from {} to {at} VMs at once, each additional VM added {} ms of start-up time \
             (`startup_slope_ms` is {most})",
            before.vms,
            significant(slope)
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(vms: u32, failed: f64, memory: f64, startup: f64) -> LevelResult {
        LevelResult { vms, failed, memory: Some(memory), startup: Some(startup) }
    }

    #[test]
    fn a_limit_is_exceeded_only_by_a_larger_value() {
        let limit = Limit { failures: Some(0.05), memory_mib: Some(1000.0), startup_slope_ms: Some(50.0) };
        let before = level(4, 0.0, 400.0, 100.0);
        let exceeded = |now: LevelResult| exceeded_limit(&limit, Some(&before), &now);
        assert_eq!(exceeded(level(8, 0.05, 1000.0, 300.0)), None);
        assert_eq!(exceeded(level(8, 0.125, 0.0, 0.0)).unwrap(), "12.5 % of 8 VMs at once failed (`failures` is 5 %)");
        assert_eq!(
            exceeded(level(8, 0.0, 1000.5, 0.0)).unwrap(),
            "8 VMs at once used 1000 MiB of host memory (`memory_mib` is 1000)"
        );
        assert_eq!(
            exceeded(level(8, 0.0, 0.0, 304.0)).unwrap(),
            "from 4 to 8 VMs at once, each additional VM added 51.0 ms of start-up time (`startup_slope_ms` is 50)"
        );
        // The first level has no slope, and a value that was not measured exceeds no limit.
        assert_eq!(exceeded_limit(&limit, None, &level(8, 0.0, 0.0, 9999.0)), None);
        let nothing = LevelResult { vms: 8, failed: 0.0, memory: None, startup: None };
        assert_eq!(exceeded_limit(&limit, Some(&before), &nothing), None);
        assert_eq!(exceeded_limit(&Limit::default(), Some(&before), &level(8, 1.0, 1e9, 1e9)), None);
    }
}
