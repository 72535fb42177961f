//! The schedule of a session: which trials it executes next.
//!
//! Without a stopping rule and a limit, all missing trials are scheduled at once. With a stopping rule, a session
//! executes the trials before the rule's next look. With a limit, it executes one level of concurrency at a time. The
//! schedule depends only on the plan and the journal, so that a resumed run continues as if it had not been
//! interrupted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use microbench_formats::plan::Plan;
use microbench_formats::precision::{Look, Precision};
use microbench_measure::trial::request::TrialRequest;
use microbench_plots::limit;
use microbench_plots::number::{declared_percent, percent};
use microbench_plots::samples;
use microbench_plots::stats::precision;
use microbench_plots::summary::{LEVEL, summarise};

use crate::store::journal::{Progress, executions};

/// Number of blocks after which the stopping rule looks next; `None` without a rule, or when the rule has stopped the
/// run.
#[must_use]
pub fn next_look(plan: &Plan, progress: &Progress) -> Option<u32> {
    let rule = plan.precision.as_ref().filter(|_| progress.enough.is_none())?;
    Some(progress.looked.map_or(rule.n_min, |blocks| blocks + rule.every).min(rule.n_max))
}

/// The trials that have not ended, in the plan's order; of a shard or a repetition, only its own trials.
///
/// With a `horizon`, only timed trials of the first `horizon` blocks are returned. Trials with an instrument follow
/// when `horizon` is `None`. Timed trials after the block at which the stopping rule stopped the run are never
/// returned.
#[must_use]
pub fn missing(plan: &Plan, progress: &Progress, horizon: Option<u32>) -> Vec<TrialRequest> {
    let needed = horizon.or(progress.enough).unwrap_or(u32::MAX);
    let due = |instrumented: bool, block: u32| if instrumented { horizon.is_none() } else { block < needed };
    let own = |block: u32| progress.shard.is_none_or(|shard| shard.contains_block(block));
    let left = plan.trials.iter().filter(|trial| {
        progress.repetition.is_none_or(|repetition| trial.repetition == repetition)
            && own(trial.block)
            && due(trial.instrument.is_some(), trial.block)
            && !progress.ended.contains(&trial.index)
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

/// The repetitions with trials that have not ended.
#[must_use]
pub fn missing_repetitions(plan: &Plan, progress: &Progress) -> BTreeSet<u32> {
    let missing: BTreeSet<u32> = missing(plan, progress, None).iter().map(|trial| trial.index).collect();
    plan.trials.iter().filter(|trial| missing.contains(&trial.index)).map(|trial| trial.repetition).collect()
}

/// The number of trials that the run executes: all trials of the plan or shard. If the stopping rule stopped the run,
/// only the trials before that block.
#[must_use]
pub fn planned(plan: &Plan, progress: &Progress) -> usize {
    let blocks = progress.enough.unwrap_or(u32::MAX);
    let own = |block: u32| progress.shard.is_none_or(|shard| shard.contains_block(block));
    let needed = plan.trials.iter().filter(|trial| trial.instrument.is_some() || trial.block < blocks);
    needed.filter(|trial| own(trial.block)).count()
}

/// The trials of `missing` that are executed next. Without a limit, these are all. With a limit, they are the trials of
/// the lowest level of concurrency, so that the limit is checked before the next level.
#[must_use]
pub fn due(plan: &Plan, missing: Vec<TrialRequest>) -> Vec<TrialRequest> {
    if plan.limit.is_none() {
        return missing;
    }
    next_level(missing, |trial| plan.cells.iter().find(|cell| cell.id == trial.cell).map_or(0, |cell| cell.concurrency))
}

/// The trials of the lowest level of concurrency; timed trials before those with an instrument.
fn next_level(trials: Vec<TrialRequest>, concurrency: impl Fn(&TrialRequest) -> u32) -> Vec<TrialRequest> {
    let level = |trial: &TrialRequest| (trial.instrument.is_some(), concurrency(trial));
    let least = trials.iter().map(level).min();
    trials.into_iter().filter(|trial| Some(level(trial)) == least).collect()
}

/// The cells beyond the plan's limit, by the journal of `run`: cell to reason. Empty for a plan without a limit.
///
/// # Errors
/// When the journal cannot be read.
pub fn beyond_limit(plan: &Plan, run: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    if plan.limit.is_none() {
        return Ok(BTreeMap::new());
    }
    Ok(limit::cells_beyond_limit(plan, &executions(run)?))
}

/// Applies the stopping rule to the journal of `run`: cell to decision. A cell without values never delays the stop.
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

/// One line about a look of the stopping rule after `blocks` blocks.
#[must_use]
pub fn look_message(rule: &Precision, blocks: u32, cells: &BTreeMap<String, Look>) -> String {
    let width = |look: &Look| match look {
        Look::Enough { half_width } => Some(*half_width),
        Look::AtMost { half_width } | Look::GoOn { half_width } => *half_width,
    };
    let open = cells.values().filter(|look| matches!(look, Look::GoOn { .. })).count();
    let widest = cells.values().filter_map(width).fold(0.0, f64::max);
    let mut line = format!("after {blocks} blocks: {} of {} cells are precise enough", cells.len() - open, cells.len());
    let _ = write!(
        line,
        "; widest interval of {}: +- {}, target {} at two looks in a row",
        rule.metric,
        percent(widest),
        declared_percent(rule.relative)
    );
    line
}

#[cfg(test)]
mod tests {
    use microbench_formats::instrument::Instrument;

    use super::*;

    #[test]
    fn one_level_of_concurrency_is_due_at_a_time_and_instruments_are_last() {
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
