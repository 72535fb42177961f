//! Claims that a plan cannot decide, because an interval needs more trials.

use std::collections::HashMap;

use microbench_formats::claim::{Claim, Comparison, Side, Subject};
use microbench_formats::instrument::Instrument;
use microbench_formats::plan::Plan;
use microbench_formats::selection::selects;

/// The claims on a statistic that has no interval, because a cell has fewer trials than the statistic needs. Each with
/// both numbers, for example `boot (mean of 10 trials, 100 are needed)`.
pub(super) fn without_interval(plan: &Plan) -> Vec<String> {
    // By cell and name of the instrument; empty without one.
    let name = |instrument: Option<Instrument>| instrument.map(Instrument::name).unwrap_or_default();
    let mut trials: HashMap<(&str, &str), usize> = HashMap::new();
    for trial in plan.trials.iter().filter(|_| !plan.claims.is_empty()) {
        *trials.entry((trial.cell.as_str(), name(trial.instrument))).or_default() += 1;
    }
    let fewest = |side: &Side| {
        let metric = plan.metrics.iter().find(|metric| metric.name == side.metric)?;
        let of_cell = |id: &str| trials.get(&(id, name(metric.instrument))).copied();
        // Some metrics are only measured in some cells; cells without such a trial are left out of the claim.
        plan.cells.iter().filter(|cell| selects(&side.of, cell)).filter_map(|cell| of_cell(&cell.id)).min()
    };
    let undecidable = |claim: &Claim| {
        let sides = match &claim.comparison {
            Some(Comparison::Value(side)) => vec![side],
            Some(Comparison::Ratio(first, second) | Comparison::Difference(first, second)) => vec![first, second],
            None => Vec::new(),
        };
        if !matches!(claim.subject, Subject::Statistic | Subject::Equivalence(_)) {
            return None;
        }
        let has = sides.into_iter().filter_map(fewest).min()?;
        let needs = claim.statistic.trials_for_interval();
        let statistic = claim.statistic.label();
        let of = if has == 1 { "trial" } else { "trials" };
        (has < needs).then(|| format!("{} ({statistic} of {has} {of}, {needs} are needed)", claim.name))
    };
    plan.claims.iter().filter_map(undecidable).collect()
}
