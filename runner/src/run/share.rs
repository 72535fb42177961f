//! Divides trials among hosts that execute in parallel.

use microbench_measure::trial::request::TrialRequest;

/// Smallest number of trials for which another host is started, because it must boot and warm up first.
const MIN_TRIALS: usize = 4;

/// Trials that an emulated host executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The CPU of the emulated host.
    pub host_cpu: String,
    /// The trials, in the order of the plan.
    pub trials: Vec<TrialRequest>,
}

/// Divides `trials` among at most `hosts` lanes. A lane has at most one group of each CPU of the emulated host, and
/// executes its groups one after the other. The trials of each CPU are divided by [`share`]. The result is
/// deterministic.
#[must_use]
pub fn lanes<'a>(
    trials: &'a [TrialRequest],
    hosts: usize,
    host_cpu: impl Fn(&'a TrialRequest) -> &'a str,
    cost: impl Fn(&TrialRequest) -> u64,
) -> Vec<Vec<Group>> {
    let hosts = hosts.min(trials.len().div_ceil(MIN_TRIALS)).max(1);
    let mut by_cpu: Vec<(&str, Vec<TrialRequest>)> = Vec::new();
    for trial in trials {
        let cpu = host_cpu(trial);
        match by_cpu.iter_mut().find(|(known, _)| *known == cpu) {
            Some((_, own)) => own.push(trial.clone()),
            None => by_cpu.push((cpu, vec![trial.clone()])),
        }
    }
    let mut lanes = vec![(0_u64, Vec::<Group>::new()); hosts];
    for (cpu, own) in by_cpu {
        for trials in share(&own, hosts, &cost) {
            let free = lanes.iter_mut().filter(|(_, groups)| groups.last().is_none_or(|group| group.host_cpu != cpu));
            if let Some((sum, groups)) = free.min_by_key(|(sum, _)| *sum) {
                *sum += trials.iter().map(&cost).sum::<u64>();
                groups.push(Group { host_cpu: cpu.to_owned(), trials });
            }
        }
    }
    lanes.into_iter().map(|(_, groups)| groups).filter(|groups| !groups.is_empty()).collect()
}

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

    fn requests(count: usize) -> Vec<TrialRequest> {
        let request = |index| TrialRequest { index, attempt: 0, warmup: false, cell: "c".into(), instrument: None };
        (0..).take(count).map(request).collect()
    }

    #[test]
    fn a_lane_boots_one_emulated_host_for_each_cpu() {
        let trials = requests(10);
        let cpu = |trial: &TrialRequest| if trial.index == 5 { "EPYC-Milan" } else { "Skylake-Server" };
        let indices = |hosts| -> Vec<Vec<(String, Vec<u32>)>> {
            let lanes = lanes(&trials, hosts, cpu, |_| 1);
            let group = |group: Group| (group.host_cpu, group.trials.iter().map(|trial| trial.index).collect());
            lanes.into_iter().map(|lane| lane.into_iter().map(group).collect()).collect()
        };
        let (skylake, milan) = ("Skylake-Server".to_owned(), "EPYC-Milan".to_owned());
        assert_eq!(indices(1), [[(skylake.clone(), vec![0, 1, 2, 3, 4, 6, 7, 8, 9]), (milan.clone(), vec![5])]]);
        // The lane with fewer trials executes the other CPU's trial.
        let expected =
            [vec![(skylake.clone(), vec![0, 2, 4, 7, 9])], vec![(skylake, vec![1, 3, 6, 8]), (milan, vec![5])]];
        assert_eq!(indices(2), expected);
    }

    proptest! {
        #[test]
        fn every_trial_is_in_one_group_of_its_cpu_in_order(
            cpus in prop::collection::vec(0_usize..3, 1..60),
            hosts in 1_usize..8,
        ) {
            const NAMES: [&str; 3] = ["EPYC", "EPYC-Milan", "Skylake-Server"];
            let trials = requests(cpus.len());
            let cpu = |trial: &TrialRequest| NAMES[cpus[trial.index as usize]];
            let lanes = lanes(&trials, hosts, cpu, |_| 1);
            prop_assert!(!lanes.is_empty() && lanes.len() <= hosts.min(trials.len().div_ceil(MIN_TRIALS)));
            for lane in &lanes {
                let mut own: Vec<&str> = lane.iter().map(|group| group.host_cpu.as_str()).collect();
                own.sort_unstable();
                prop_assert!(own.windows(2).all(|pair| pair[0] != pair[1]));
            }
            let groups: Vec<&Group> = lanes.iter().flatten().collect();
            prop_assert!(groups.iter().all(|group| group.trials.iter().all(|trial| cpu(trial) == group.host_cpu)));
            prop_assert!(groups.iter().all(|group| group.trials.is_sorted_by_key(|trial| trial.index)));
            let mut all: Vec<TrialRequest> = groups.iter().flat_map(|group| group.trials.clone()).collect();
            all.sort_by_key(|trial| trial.index);
            prop_assert_eq!(all, trials);
        }

        #[test]
        fn every_trial_is_in_one_share_in_order_and_costs_are_balanced(
            costs in prop::collection::vec(1_u64..=20, 0..60),
            hosts in 1_usize..8,
        ) {
            let trials = requests(costs.len());
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
