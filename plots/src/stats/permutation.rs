//! The permutation test of a blocked design: labels are exchanged within blocks only, as they were randomised.

use rand_chacha::rand_core::Rng;

use super::bootstrap::generator;
use super::mean::mean;

/// The number of random labellings if there are too many to enumerate.
pub const RANDOM_LABELLINGS: u32 = 9_999;
/// The largest number of blocks, with one value on each side, for which every labelling is enumerated.
const ENUMERATE_UP_TO: usize = 13;

/// The values of the first and of the second treatment in one block.
pub type Block = (Vec<f64>, Vec<f64>);

/// The two-sided p-value of the difference of means under exchange of labels within each block (E. S. Edgington & P.
/// Onghena, Randomization Tests, 4th ed., 2007, chapter 6).
///
/// With one value on each side in at most 13 blocks, the p-value is exact. Otherwise it is `(b + 1) / (m + 1)` over
/// [`RANDOM_LABELLINGS`] labellings, which is never 0 and keeps the level of the test (B. Phipson & G. K. Smyth,
/// Statistical Applications in Genetics and Molecular Biology 9(1), 2010).
///
/// Blocks without a value on one side are left out. `None` if no block is left or a value is not finite.
#[must_use]
pub fn within_blocks(blocks: &[Block], seed: u64) -> Option<f64> {
    let complete: Vec<&Block> =
        blocks.iter().filter(|(first, second)| !first.is_empty() && !second.is_empty()).collect();
    if complete.is_empty() || complete.iter().any(|(a, b)| a.iter().chain(b).any(|value| !value.is_finite())) {
        return None;
    }
    let difference = |first: &[f64], second: &[f64]| Some(mean(first)? - mean(second)?);
    let side = |of: fn(&Block) -> &Vec<f64>| complete.iter().flat_map(|block| of(block)).copied().collect::<Vec<f64>>();
    let (first, second) = (side(|block| &block.0), side(|block| &block.1));
    let observed = difference(&first, &second)?.abs();
    // The order of summation must not decide whether a labelling is as extreme as the observed one.
    let scale = first.iter().chain(&second).fold(0.0_f64, |most, value| most.max(value.abs()));
    let extreme = |first: &[f64], second: &[f64]| {
        difference(first, second).is_some_and(|found| found.abs() >= observed - scale * 1e-12)
    };

    let paired = complete.iter().all(|(first, second)| first.len() == 1 && second.len() == 1);
    if paired && complete.len() <= ENUMERATE_UP_TO {
        let labellings = 1_u32 << complete.len();
        let counted = (0..labellings).filter(|labelling| {
            let pick = |exchanged: u32| -> Vec<f64> {
                let swap = |at: usize| (labelling >> at) & 1 == exchanged;
                first.iter().zip(&second).enumerate().map(|(at, (a, b))| if swap(at) { *b } else { *a }).collect()
            };
            extreme(&pick(1), &pick(0))
        });
        return Some(counted.count() as f64 / f64::from(labellings));
    }
    let mut random = generator(seed, u64::MAX);
    let mut pools: Vec<(usize, Vec<f64>)> =
        complete.iter().map(|(first, second)| (first.len(), [first.clone(), second.clone()].concat())).collect();
    let mut counted = 0_u32;
    for _ in 0..RANDOM_LABELLINGS {
        let (mut one, mut other) = (Vec::with_capacity(first.len()), Vec::with_capacity(second.len()));
        for (taken, pool) in &mut pools {
            // Fisher-Yates shuffle; the first positions of the pool are the values of the first treatment.
            for at in (1..pool.len()).rev() {
                pool.swap(at, (random.next_u64() % (at as u64 + 1)) as usize);
            }
            one.extend_from_slice(&pool[..*taken]);
            other.extend_from_slice(&pool[*taken..]);
        }
        counted += u32::from(extreme(&one, &other));
    }
    Some(f64::from(counted + 1) / f64::from(RANDOM_LABELLINGS + 1))
}

/// The smallest p-value that [`within_blocks`] can return for blocks of these sizes. The exact test has the observed
/// labelling and, if both sides of each block have the same size, its mirror image. `None` if no block has a value on
/// both sides.
///
/// ```
/// use microbench_plots::stats::permutation::smallest_p;
///
/// // Six blocks with one value on each side have 64 labellings.
/// assert_eq!(smallest_p(&vec![(vec![1.0], vec![2.0]); 6]), Some(2.0 / 64.0));
/// ```
#[must_use]
pub fn smallest_p(blocks: &[Block]) -> Option<f64> {
    let sizes: Vec<(usize, usize)> =
        blocks.iter().map(|(first, second)| (first.len(), second.len())).filter(|(a, b)| *a > 0 && *b > 0).collect();
    if sizes.is_empty() {
        return None;
    }
    let choices = |(a, b): &(usize, usize)| (1..=*a).map(|k| (b + k) as f64 / k as f64).product::<f64>();
    let labellings: f64 = sizes.iter().map(choices).product();
    let extreme = if sizes.iter().all(|(a, b)| a == b) { 2.0 } else { 1.0 };
    let exact = extreme / labellings;
    let enumerated = sizes.iter().all(|size| *size == (1, 1)) && sizes.len() <= ENUMERATE_UP_TO;
    Some(if enumerated { exact } else { exact.max(1.0 / f64::from(RANDOM_LABELLINGS + 1)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: [f64; 8] = [125.3, 101.0, 117.2, 133.7, 96.4, 118.5, 106.9, 123.1];
    const Q: [f64; 8] = [118.6, 98.4, 119.4, 121.2, 95.0, 112.9, 108.2, 116.0];

    fn pairs(p: &[f64], q: &[f64]) -> Vec<Block> {
        p.iter().zip(q).map(|(p, q)| (vec![*p], vec![*q])).collect()
    }

    /// SciPy 1.17: `permutation_test((p, q), difference of means, permutation_type="samples", n_resamples=inf)`: 14
    /// of 256.
    #[test]
    fn few_pairs_have_an_exact_p_value() {
        assert_eq!(within_blocks(&pairs(&P, &Q), 1), Some(14.0 / 256.0));
    }

    #[test]
    fn random_labellings_agree_with_the_exact_p_value() {
        // Twelve pairs without a difference make the labellings too many to enumerate and do not change the p-value.
        let mut blocks = pairs(&P, &Q);
        blocks.extend((0..12).map(|_| (vec![100.0], vec![100.0])));
        let p = within_blocks(&blocks, 1).unwrap();
        assert!((p - 14.0 / 256.0).abs() < 0.01, "{p}");
        assert_eq!(within_blocks(&blocks, 1), Some(p));
    }

    #[test]
    fn a_block_without_a_value_on_one_side_is_left_out() {
        let mut blocks = pairs(&P, &Q);
        blocks.push((vec![1e6], vec![]));
        assert_eq!(within_blocks(&blocks, 1), Some(14.0 / 256.0));
        assert_eq!(within_blocks(&[(vec![1.0], vec![])], 1), None);
        assert_eq!(within_blocks(&pairs(&[f64::INFINITY], &[1.0]), 1), None);
    }

    #[test]
    fn smallest_p_value_is_that_of_sides_that_do_not_overlap() {
        for n in 1..=8 {
            let apart: Vec<Block> = (0..n).map(|at| (vec![f64::from(at)], vec![f64::from(at) + 100.0])).collect();
            assert_eq!(smallest_p(&apart), within_blocks(&apart, 1), "{n} blocks");
        }
        // Blocks without a value on one side do not count.
        assert_eq!(smallest_p(&[(vec![1.0], vec![2.0]), (vec![1.0], vec![])]), Some(1.0));
        assert_eq!(smallest_p(&[]), None);
        // One block of three values on each side has 20 labellings.
        assert_eq!(smallest_p(&[(vec![1.0; 3], vec![2.0; 3])]), Some(0.1));
        let many: Vec<Block> = (0..40).map(|at| (vec![f64::from(at)], vec![f64::from(at) + 100.0])).collect();
        assert_eq!(smallest_p(&many), Some(1e-4));
    }

    /// Blocks drift by 10 % each, which hides a difference of 1 % from a test that ignores blocks.
    #[test]
    fn drift_between_blocks_does_not_hide_a_difference() {
        let blocks: Vec<Block> = (0..12)
            .map(|block| {
                let level = 100.0 * (1.0 + 0.1 * f64::from(block));
                (vec![level * 1.01], vec![level])
            })
            .collect();
        assert!(within_blocks(&blocks, 1).unwrap() < 0.001);
        let side = |of: fn(&Block) -> f64| blocks.iter().map(of).collect::<Vec<f64>>();
        assert!(super::super::rank::mann_whitney(&side(|b| b.0[0]), &side(|b| b.1[0])).unwrap() > 0.5);
    }
}
