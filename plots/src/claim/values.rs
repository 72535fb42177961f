//! Claims on single values: `every value < 100` and `90 % of values < 100`.

use microbench_formats::claim::Claim;

use super::{Outcome, Verdict};
use crate::number::{self, percent};
use crate::stats::clusters::{Met, TrialVms, share_interval};
use crate::stats::contrast::Method;
use crate::stats::share::clopper_pearson;
use crate::summary::{LEVEL, Row};

/// Whether a value meets the limits of the claim. A censored value is infinite.
fn meets(claim: &Claim, value: f64) -> bool {
    let above = |least: f64| if claim.strict { value > least } else { value >= least };
    let below = |most: f64| if claim.strict { value < most } else { value <= most };
    // An infinite value is only known to be larger than the time that was waited: no evidence for a lower limit.
    claim.most.is_none_or(below) && claim.least.is_none_or(above)
}

/// Sets the outcome of a claim on the values of all VMs. One value outside of the limits contradicts it.
pub(super) fn judge_every_value(verdict: &mut Verdict, rows: &[&Row], remarks: &mut Vec<String>) {
    let ranges = || rows.iter().filter_map(|row| row.range);
    let low = ranges().map(|[low, _]| low).fold(f64::INFINITY, f64::min);
    let high = ranges().map(|[_, high]| high).fold(f64::NEG_INFINITY, f64::max);
    let claim = &verdict.claim;
    let low_is_met = meets(&Claim { most: None, ..claim.clone() }, low);
    let high_is_met = meets(&Claim { least: None, ..claim.clone() }, high);
    let finite = |value: f64| Some(value).filter(|value| value.is_finite());
    verdict.extreme_low = finite(low);
    verdict.value = if claim.most.is_none() || !low_is_met { finite(low) } else { finite(high) };
    let unknown = verdict.unknown;
    verdict.outcome = match (low_is_met && high_is_met, unknown) {
        (false, _) => Outcome::Contradicted,
        // A lower limit can be larger than the time that was waited for a censored value.
        (true, 0) if high.is_finite() || claim.least.is_none() => Outcome::Holds,
        (true, 0) => {
            remarks.push("a censored value is not known to meet the limit".to_owned());
            Outcome::Inconclusive
        }
        (true, _) => {
            remarks.push(format!("{unknown} {} no value", if unknown == 1 { "VM has" } else { "VMs have" }));
            Outcome::Inconclusive
        }
    };
    if verdict.outcome == Outcome::Holds
        && let Some(interval) = clopper_pearson(verdict.n[0], verdict.n[0], LEVEL)
    {
        remarks.push(format!(
            "with {} % confidence, at least {} of all trials are within the limits",
            LEVEL * 100.0,
            percent(interval.low)
        ));
    }
}

/// Sets the numbers and the outcome of a claim on a share of the VMs, with trials as clusters. A VM without a value can be
/// within the limits or not, so the interval contains both.
pub(super) fn judge_share(verdict: &mut Verdict, rows: &[&Row], share: f64, remarks: &mut Vec<String>) {
    let claim = &verdict.claim;
    let count = |trial: &TrialVms| {
        let met = trial.values.iter().filter(|value| meets(claim, **value)).count();
        // A censored value is larger than the time that was waited, which can be below a lower limit.
        let open = |value: &&f64| value.is_infinite() && claim.least.is_some() && meets(claim, **value);
        let open = trial.values.iter().filter(open).count();
        Met { met: met - open, unknown: trial.unknown + open, of: trial.vms() }
    };
    let trials: Vec<Met> = rows.iter().flat_map(|row| row.clusters().iter().map(count).collect::<Vec<_>>()).collect();
    let total = |of: fn(&Met) -> usize| trials.iter().map(of).sum::<usize>();
    let (met, unknown, of) = (total(|trial| trial.met), total(|trial| trial.unknown), total(|trial| trial.of));
    verdict.unit = String::new();
    verdict.value = (of > unknown).then(|| met as f64 / (of - unknown) as f64);
    verdict.outcome = Outcome::Inconclusive;
    let Some(interval) = share_interval(&trials, share, LEVEL) else { return };
    verdict.outcome = match (interval.low >= share, interval.high < share) {
        (true, _) => Outcome::Holds,
        (_, true) => Outcome::Contradicted,
        _ => Outcome::Inconclusive,
    };
    verdict.interval = Some((interval, Method::Binomial));
    if unknown > 0 {
        remarks.push(format!("the interval counts {} without a value as either", number::count(unknown, "VM")));
    }
}
