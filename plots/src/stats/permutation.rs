//! The exact permutation test of counts, with trials as clusters.

/// The one-sided p-value of the hypothesis that failures do not depend on the side: the probability that at least as many
/// failures as observed fall to the second side, if the trials are divided between both sides at random (R. A. Fisher,
/// The Design of Experiments, 1935; with one VM in each trial it is Fisher's exact test).
///
/// `first` and `second` are the failed VMs of each trial. A trial is never divided, because its VMs fail together. The
/// cost grows with trials times trials of the second side times failures. `None` without a trial on a side.
///
/// ```
/// use microbench_plots::stats::permutation::more_failures;
///
/// // 3 of 10 trials failed instead of none of 10: 120 of the 1,140 ways to choose 3 of 20 trials are as extreme.
/// let p = more_failures(&[0; 10], &[1, 1, 1, 0, 0, 0, 0, 0, 0, 0]).unwrap();
/// assert!((p - 120.0 / 1140.0).abs() < 1e-12);
/// ```
#[must_use]
pub fn more_failures(first: &[usize], second: &[usize]) -> Option<f64> {
    if first.is_empty() || second.is_empty() {
        return None;
    }
    let observed: usize = second.iter().sum();
    let (all, taken) = (first.len() + second.len(), second.len());
    // chance[k][f]: k of the trials so far are on the second side, with f failures; f counts up to the observed number,
    // which stands for itself and every larger one.
    let mut chance = vec![vec![0.0; observed + 1]; taken + 1];
    chance[0][0] = 1.0;
    for (before, own) in first.iter().chain(second).enumerate() {
        for k in (0..=taken.min(before)).rev() {
            let left = (all - before) as f64;
            let joins = (taken - k) as f64 / left;
            let stays: Vec<f64> = chance[k].clone();
            if k < taken {
                for (f, p) in stays.iter().enumerate() {
                    chance[k + 1][(f + own).min(observed)] += p * joins;
                }
            }
            chance[k] = stays.into_iter().map(|p| p * (1.0 - joins)).collect();
        }
    }
    Some(chance[taken][observed].min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SciPy 1.17: `fisher_exact([[1, 9], [5, 5]], alternative="less").pvalue`.
    #[test]
    fn with_one_vm_in_each_trial_it_is_fishers_exact_test() {
        let failed = |failures: usize, of: usize| [vec![1; failures], vec![0; of - failures]].concat();
        let p = more_failures(&failed(1, 10), &failed(5, 10)).unwrap();
        assert!((p - 0.070_433_436_532_507_7).abs() < 1e-9, "{p}");
        assert_eq!(more_failures(&failed(0, 6), &failed(0, 6)), Some(1.0));
        assert_eq!(more_failures(&[], &[1]), None);
    }

    /// One trial whose 20 VMs all failed is one event, not twenty.
    #[test]
    fn a_trial_is_one_cluster() {
        let p = more_failures(&[0; 6], &[20, 0, 0, 0, 0, 0]).unwrap();
        assert!((p - 0.5).abs() < 1e-12, "{p}");
    }
}
