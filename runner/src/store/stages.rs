//! What a session executes next: everything that is missing, or with a stopping rule what is missing before its next look, or with a
//! limit what is missing of the next level of concurrency. All of it follows from the plan and the journal.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use microbench_formats::plan::Plan;
use microbench_formats::precision::{Look, Precision};
use microbench_measure::trial::request::TrialRequest;
use microbench_plots::limit;
use microbench_plots::samples;
use microbench_plots::stats::precision;
use microbench_plots::summary::{LEVEL, summarise};

use crate::store::journal::{Progress, executions};

/// Blocks before the first look that is still to be taken; `None` without a rule, or when it had enough.
#[must_use]
pub fn first(plan: &Plan, progress: &Progress) -> Option<u32> {
    let rule = plan.precision.as_ref().filter(|_| progress.enough.is_none())?;
    Some(progress.looked.map_or(rule.n_min, |blocks| blocks + rule.every).min(rule.n_max))
}

/// The plan's trials (of a shard, its own) that have not ended, in order: of timed ones those in the first `horizon` blocks, and none beyond the
/// block at which the stopping rule had enough; those with an instrument once there is no horizon any more.
#[must_use]
pub fn missing(plan: &Plan, progress: &Progress, horizon: Option<u32>) -> Vec<TrialRequest> {
    let needed = horizon.or(progress.enough).unwrap_or(u32::MAX);
    let due = |instrumented: bool, block: u32| if instrumented { horizon.is_none() } else { block < needed };
    let own = |block: u32| progress.shard.is_none_or(|shard| shard.contains_block(block));
    let left = plan.trials.iter().filter(|trial| {
        own(trial.block) && due(trial.instrument.is_some(), trial.block) && !progress.ended.contains(&trial.index)
    });
    left.map(|trial| TrialRequest {
        index: trial.index,
        attempt: progress.attempts.get(&trial.index).copied().unwrap_or(0),
        warmup: false,
        cell: trial.cell.to_string(),
        instrument: trial.instrument,
    })
    .collect()
}

/// Of the trials in `missing` those that are executed at once: with a limit one level of concurrency, so that each is judged before
/// the next one begins.
#[must_use]
pub fn due(plan: &Plan, missing: Vec<TrialRequest>) -> Vec<TrialRequest> {
    if plan.limit.is_none() {
        return missing;
    }
    next_level(missing, |trial| plan.cells.iter().find(|cell| cell.id == trial.cell).map_or(0, |cell| cell.concurrency))
}

/// Of `trials` those of the least concurrency, timed ones before those with an instrument.
fn next_level(trials: Vec<TrialRequest>, concurrency: impl Fn(&TrialRequest) -> u32) -> Vec<TrialRequest> {
    let level = |trial: &TrialRequest| (trial.instrument.is_some(), concurrency(trial));
    let least = trials.iter().map(level).min();
    trials.into_iter().filter(|trial| Some(level(trial)) == least).collect()
}

/// The cells beyond the plan's limit by the journal of `run`, each with the reason.
///
/// # Errors
/// When the journal cannot be read.
pub fn beyond(plan: &Plan, run: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    if plan.limit.is_none() {
        return Ok(BTreeMap::new());
    }
    Ok(limit::cells_beyond_limit(plan, &executions(run)?))
}

/// What `rule` finds in the journal of `run`, by cell. A cell without values has nothing to wait for.
///
/// # Errors
/// When the journal cannot be read.
pub fn look(plan: &Plan, rule: &Precision, run: &Path) -> anyhow::Result<BTreeMap<String, Look>> {
    let journal = executions(run)?;
    let rows = summarise(plan, &samples::samples(plan, &journal));
    let rows = rows.iter().filter(|row| row.metric == rule.metric);
    Ok(rows
        .map(|row| {
            let values = row.values(rule.statistic);
            let found = if values.is_empty() {
                Look::AtMost { half_width: None }
            } else {
                precision::look(rule, &values, LEVEL, plan.seed)
            };
            (row.cell.clone(), found)
        })
        .collect())
}

/// A look in a line.
#[must_use]
pub fn said(rule: &Precision, blocks: u32, cells: &BTreeMap<String, Look>) -> String {
    let width = |look: &Look| match look {
        Look::Enough { half_width } => Some(*half_width),
        Look::AtMost { half_width } | Look::GoOn { half_width } => *half_width,
    };
    let open = cells.values().filter(|look| matches!(look, Look::GoOn { .. })).count();
    let widest = cells.values().filter_map(width).fold(0.0, f64::max);
    let mut line = format!("after {blocks} blocks: {} of {} cells have enough", cells.len() - open, cells.len());
    let _ = write!(
        line,
        "; widest interval of {} +- {:.2} %, wanted {:.2} % at two looks in a row",
        rule.metric,
        widest * 100.0,
        rule.relative * 100.0
    );
    line
}

#[cfg(test)]
mod tests {
    use microbench_formats::instrument::Instrument;

    use super::*;

    #[test]
    fn one_level_of_concurrency_is_due_at_a_time_and_what_has_an_instrument_last() {
        let trial = |index, cell: &str, instrument| TrialRequest {
            index,
            attempt: 0,
            warmup: false,
            cell: cell.into(),
            instrument,
        };
        let concurrency = |trial: &TrialRequest| if trial.cell == "one" { 1 } else { 4 };
        let strace = Some(Instrument::Strace);
        let all = [trial(0, "four", None), trial(1, "one", None), trial(2, "also-four", None), trial(3, "one", strace)];
        let next = |left: &[usize]| {
            let left = left.iter().map(|at| all[*at].clone()).collect();
            next_level(left, concurrency).iter().map(|trial| trial.index).collect::<Vec<_>>()
        };
        assert_eq!(next(&[0, 1, 2, 3]), [1]);
        assert_eq!(next(&[0, 2, 3]), [0, 2]);
        assert_eq!(next(&[3]), [3]);
        assert!(next(&[]).is_empty());
    }
}
