//! Divides trials among hosts that execute in parallel.

use microbench_measure::trial::request::TrialRequest;

/// Smallest number of trials for which another host is started, because it must boot and warm up first.
const MIN_TRIALS: usize = 4;

/// Divides `trials` into at most `hosts` shares, which keep the order of the trials. Each trial is added to the share
/// with the lowest total `cost` so far. The result is deterministic.
#[must_use]
pub fn share(trials: &[TrialRequest], hosts: usize, cost: impl Fn(&TrialRequest) -> u64) -> Vec<Vec<TrialRequest>> {
    let hosts = hosts.min(trials.len().div_ceil(MIN_TRIALS)).max(1);
    let mut shares = vec![(0_u64, Vec::new()); hosts];
    for trial in trials {
        if let Some((sum, share)) = shares.iter_mut().min_by_key(|(sum, _)| *sum) {
            *sum += cost(trial);
            share.push(trial.clone());
        }
    }
    shares.into_iter().map(|(_, share)| share).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_trial_is_in_one_share_in_order_and_costs_are_balanced(
            costs in prop::collection::vec(1_u64..=20, 0..60),
            hosts in 1_usize..8,
        ) {
            let trials: Vec<TrialRequest> = (0..)
                .zip(&costs)
                .map(|(index, _)| TrialRequest { index, attempt: 0, warmup: false, cell: "c".into(), instrument: None })
                .collect();
            let cost = |trial: &TrialRequest| costs[trial.index as usize];
            let shares = share(&trials, hosts, cost);
            prop_assert!(!shares.is_empty() && shares.len() <= hosts);
            prop_assert!(shares.iter().all(|share| share.is_sorted_by_key(|trial| trial.index)));
            let mut all: Vec<_> = shares.concat();
            all.sort_by_key(|trial| trial.index);
            prop_assert_eq!(all, trials);
            let sums: Vec<u64> = shares.iter().map(|share| share.iter().map(cost).sum()).collect();
            let (least, most) = (sums.iter().min().copied().unwrap_or(0), sums.iter().max().copied().unwrap_or(0));
            prop_assert!(most - least <= 20);
        }
    }
}
