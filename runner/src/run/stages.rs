//! What a session executes next: everything that is missing, or with a stopping rule what is missing before its next look.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use microbench_plots::record::Plan;
use microbench_plots::samples;
use microbench_plots::stats::precision::{Look, Precision};
use microbench_plots::summary::{LEVEL, summarise};

use crate::journal::Progress;
use crate::testbed::wire::JobTrial;

/// Blocks before the first look that is still to be taken; `None` without a rule, or when it had enough.
#[must_use]
pub fn first(plan: &Plan, progress: &Progress) -> Option<u32> {
    let rule = plan.precision.as_ref().filter(|_| progress.enough.is_none())?;
    Some(progress.looked.map_or(rule.n_min, |blocks| blocks + rule.every).min(rule.n_max))
}

/// The plan's trials that have not ended, in order: of timed ones those in the first `horizon` blocks, and none beyond the
/// block at which the stopping rule had enough; those with an instrument once there is no horizon any more.
#[must_use]
pub fn missing(plan: &Plan, progress: &Progress, horizon: Option<u32>) -> Vec<JobTrial> {
    let needed = horizon.or(progress.enough).unwrap_or(u32::MAX);
    let due = |instrumented: bool, block: u32| if instrumented { horizon.is_none() } else { block < needed };
    let left = plan
        .trials
        .iter()
        .filter(|trial| due(trial.instrument.is_some(), trial.block) && !progress.ended.contains(&trial.index));
    left.map(|trial| JobTrial {
        index: trial.index,
        attempt: progress.attempts.get(&trial.index).copied().unwrap_or(0),
        warmup: false,
        cell: trial.cell.clone(),
        instrument: trial.instrument,
    })
    .collect()
}

/// What `rule` finds in the journal of `run`, by cell. A cell without values has nothing to wait for.
///
/// # Errors
/// When the journal cannot be read.
pub fn look(plan: &Plan, rule: &Precision, run: &Path) -> anyhow::Result<BTreeMap<String, Look>> {
    let journal = microbench_plots::journal::read(&run.join(crate::journal::FILE))?;
    let rows = summarise(plan, &samples::samples(plan, &journal));
    let rows = rows.iter().filter(|row| row.metric == rule.metric);
    Ok(rows
        .map(|row| {
            let values = row.values(rule.statistic);
            let found = if values.is_empty() {
                Look::AtMost { half_width: None }
            } else {
                rule.look(&values, LEVEL, plan.seed)
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
