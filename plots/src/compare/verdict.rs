//! Verdicts: an interval judged by the equivalence margin and the metric's better direction.

use microbench_formats::direction::Better;
use microbench_formats::family::ALPHA;
use serde::Serialize;

use crate::stats::contrast::MeanTest;
use crate::stats::repetition::RepetitionComparison;
use crate::stats::shift::{Shift, Test};

/// The verdict on one row of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, strum::Display, strum::IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Verdict {
    /// The second side is better, beyond the margin if one is declared.
    Better,
    /// The second side is worse, beyond the margin if one is declared.
    Worse,
    /// The second side is beyond the margin, and the metric has no better direction.
    Differs,
    /// The difference is within the declared margin.
    Equivalent,
    /// None of these is significant over the family, or there are too few trials.
    Inconclusive,
    /// The sides must not be compared: they share no host, or their host CPUs differ.
    #[serde(rename = "not-compared")]
    #[strum(serialize = "not-compared")]
    NotCompared,
    /// A side has no value.
    Missing,
    /// On the second side, a smaller share of VMs completed or has a value of the metric.
    Dropped,
}

impl Verdict {
    /// Whether the verdict is that the two sides differ.
    #[must_use]
    pub fn is_difference(self) -> bool {
        matches!(self, Self::Better | Self::Worse | Self::Differs)
    }

    fn of_difference(better: Better, is_higher: bool) -> Self {
        match better {
            Better::Neither => Self::Differs,
            Better::Higher if is_higher => Self::Better,
            Better::Lower if !is_higher => Self::Better,
            Better::Higher | Better::Lower => Self::Worse,
        }
    }
}

/// The largest difference that does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Margin {
    /// As a share, for example 0.02 for ±2 %; `None` if none is declared.
    pub(super) share: Option<f64>,
    /// In the unit of the metric; `None` if none is declared.
    pub(super) floor: Option<f64>,
}

/// The equivalence range of a ratio or a difference, from `least` to `most`, as in two one-sided tests (TOST; D. J.
/// Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tolerance {
    least: f64,
    most: f64,
    declared: bool,
}

impl Tolerance {
    /// The range of a ratio: 1/1.02 to 1.02 for a margin of 0.02; only 1 without a margin.
    pub(super) fn of_ratio(share: Option<f64>) -> Self {
        let most = 1.0 + share.unwrap_or(0.0);
        Self { least: 1.0 / most, most, declared: share.is_some() }
    }

    /// The range of a difference: the larger of the floor and the margin as a share of `first`, the first side's value,
    /// which is 0 if that is 0.
    pub(super) fn of_difference(Margin { share, floor }: Margin, first: f64) -> Self {
        let most = (share.unwrap_or(0.0) * first.abs()).max(floor.unwrap_or(0.0));
        Self { least: -most, most, declared: share.is_some() || floor.is_some() }
    }
}

/// The test of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Evidence {
    Ranks(Shift),
    Means(MeanTest),
    Repetitions(RepetitionComparison),
}

impl Evidence {
    fn above(&self, limit: f64) -> f64 {
        match self {
            Self::Ranks(test) => test.p_above(limit),
            Self::Means(test) => test.p_above(limit),
            Self::Repetitions(test) => test.p_one_sided(limit)[0],
        }
    }

    fn below(&self, limit: f64) -> f64 {
        match self {
            Self::Ranks(test) => test.p_below(limit),
            Self::Means(test) => test.p_below(limit),
            Self::Repetitions(test) => test.p_one_sided(limit)[1],
        }
    }

    /// The one-sided p-value of the hypothesis that the effect is outside of the range, whose limits belong to it.
    fn within(&self, Tolerance { least, most, .. }: Tolerance) -> f64 {
        match self {
            Self::Ranks(test) => test.p_at_most(most).max(test.p_at_least(least)),
            Self::Means(test) => test.p_at_most(most).max(test.p_at_least(least)),
            Self::Repetitions(test) => test.p_one_sided(most)[1].max(test.p_one_sided(least)[0]),
        }
    }

    /// The name of the test.
    pub(super) fn test(&self) -> Test {
        match self {
            Self::Ranks(test) => test.test(),
            Self::Means(_) => Test::Bootstrap,
            Self::Repetitions(_) => Test::Repetitions,
        }
    }

    /// The smallest p-value that this test can have.
    pub(super) fn smallest_p(&self) -> f64 {
        match self {
            Self::Ranks(test) => test.smallest_p(),
            Self::Means(test) => test.smallest_p(),
            // Repetitions that agree have a p-value of zero.
            Self::Repetitions(_) => 0.0,
        }
    }
}

/// The test of a comparison with its equivalence range. With a margin and a floor there are two: of the ratio and of the
/// difference, and what is within either range does not matter.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RangeTests(pub(super) Vec<(Evidence, Tolerance)>);

impl RangeTests {
    /// The two-sided p-value of a finding. Beyond the ranges is beyond each of them (an intersection-union test; R. L.
    /// Berger, Technometrics 24, 1982). Within one of two ranges has Bonferroni's adjustment.
    fn p(&self, finding: Finding) -> f64 {
        let largest = |of: &dyn Fn(&Evidence, Tolerance) -> f64| {
            self.0.iter().map(|(evidence, range)| of(evidence, *range)).fold(0.0, f64::max)
        };
        let one_sided = match finding {
            Finding::Higher => largest(&|evidence, range| evidence.above(range.most)),
            Finding::Lower => largest(&|evidence, range| evidence.below(range.least)),
            Finding::Equivalent => {
                let declared = || self.0.iter().filter(|(_, range)| range.declared);
                let smallest = declared().map(|(evidence, range)| evidence.within(*range)).fold(1.0, f64::min);
                smallest * declared().count() as f64
            }
        };
        (2.0 * one_sided).min(1.0)
    }

    /// The smallest p-value that the tests can have.
    pub(super) fn smallest_p(&self) -> f64 {
        self.0.iter().map(|(evidence, _)| evidence.smallest_p()).fold(0.0, f64::max)
    }

    /// The finding with the smallest p-value. Equivalence needs a declared margin or floor.
    pub(super) fn decide(&self) -> Decision {
        let is_declared = self.0.iter().any(|(_, range)| range.declared);
        let findings = [Finding::Higher, Finding::Lower, Finding::Equivalent];
        let possible = findings.into_iter().filter(|finding| *finding != Finding::Equivalent || is_declared);
        let decisions = possible.map(|finding| Decision { finding, p: self.p(finding) });
        let none = Decision { finding: Finding::Higher, p: 1.0 };
        decisions.min_by(|one, other| one.p.total_cmp(&other.p)).unwrap_or(none)
    }
}

/// The relation of the second side to the equivalence range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Above the range.
    Higher,
    /// Below the range.
    Lower,
    /// Within the range.
    Equivalent,
}

/// A finding, and the smallest error probability of an interval that shows it: `1 - p` is the level of the widest
/// interval on one side of the range, or within it.
///
/// If the interval contains the true effect, no finding is wrong. `p` is therefore a p-value for whichever finding is
/// made, and Holm's adjustment bounds the probability of a wrong finding in the family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Decision {
    pub(crate) finding: Finding,
    pub(crate) p: f64,
}

impl Decision {
    /// Whether the second side is on the better side.
    pub(super) fn is_better(&self, better: Better) -> bool {
        matches!((self.finding, better), (Finding::Higher, Better::Higher) | (Finding::Lower, Better::Lower))
    }

    /// This finding, with the larger of its p-values by its own test and by `strict`; 1 without such a test.
    pub(super) fn at_most_as_sure_as(self, strict: Option<&RangeTests>) -> Self {
        Self { p: self.p.max(strict.map_or(1.0, |strict| strict.p(self.finding))), ..self }
    }

    /// The verdict at the p-value `adjusted`, which is `None` outside of the family.
    pub(super) fn verdict(self, adjusted: Option<f64>, better: Better) -> Verdict {
        if adjusted.is_none_or(|p| p > ALPHA) {
            return Verdict::Inconclusive;
        }
        match self.finding {
            Finding::Higher => Verdict::of_difference(better, true),
            Finding::Lower => Verdict::of_difference(better, false),
            Finding::Equivalent => Verdict::Equivalent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::pairs::Effect;

    const MARGIN: Margin = Margin { share: Some(0.02), floor: None };

    /// The verdict on twelve values around 100 and twelve around 100 times `ratio`, with a spread of 0.5 %.
    fn of(ratio: f64, share: Option<f64>, better: Better) -> Verdict {
        let values = |scale: f64| (0..12).map(|n| scale * (100.0 + 0.1 * f64::from(n))).collect::<Vec<_>>();
        let test = Evidence::Ranks(Shift::rank_sum(Effect::Ratio, &[(values(1.0), values(ratio))]));
        let decision = RangeTests(vec![(test, Tolerance::of_ratio(share))]).decide();
        decision.verdict(Some(decision.p), better)
    }

    #[test]
    fn a_verdict_needs_the_whole_interval_on_one_side() {
        assert_eq!(of(1.03, None, Better::Lower), Verdict::Worse);
        assert_eq!(of(0.97, None, Better::Lower), Verdict::Better);
        assert_eq!(of(1.0, None, Better::Lower), Verdict::Inconclusive);
        assert_eq!(of(1.0, Some(0.02), Better::Lower), Verdict::Equivalent);
        // A significant difference within the margin is not a difference.
        assert_eq!(of(1.012, None, Better::Lower), Verdict::Worse);
        assert_eq!(of(1.012, Some(0.02), Better::Lower), Verdict::Equivalent);
        assert_eq!(of(1.02, Some(0.02), Better::Lower), Verdict::Inconclusive);
        assert_eq!(of(1.04, Some(0.02), Better::Lower), Verdict::Worse);
        assert_eq!(of(0.96, Some(0.02), Better::Lower), Verdict::Better);
        let sure = Decision { finding: Finding::Higher, p: 0.001 };
        assert_eq!(sure.verdict(Some(0.2), Better::Lower), Verdict::Inconclusive);
        assert_eq!(sure.verdict(None, Better::Lower), Verdict::Inconclusive);
    }

    #[test]
    fn better_direction_decides_between_better_and_worse() {
        let both = |better| (of(1.5, Some(0.02), better), of(0.5, Some(0.02), better));
        assert_eq!(both(Better::Lower), (Verdict::Worse, Verdict::Better));
        assert_eq!(both(Better::Higher), (Verdict::Better, Verdict::Worse));
        assert_eq!(both(Better::Neither), (Verdict::Differs, Verdict::Differs));
    }

    #[test]
    fn a_difference_within_the_margin_or_the_floor_does_not_matter() {
        let floor = Margin { share: None, floor: Some(5.0) };
        assert_eq!(Tolerance::of_difference(floor, 0.0), Tolerance { least: -5.0, most: 5.0, declared: true });
        let values = |scale: f64| (0..12).map(|n| scale + 0.01 * f64::from(n)).collect::<Vec<_>>();
        let of = |first: f64, second: f64| {
            let strata = [(values(first), values(second))];
            let by = |effect| Evidence::Ranks(Shift::rank_sum(effect, &strata));
            let both = [
                (by(Effect::Ratio), Tolerance::of_ratio(Some(0.02))),
                (by(Effect::Difference), Tolerance::of_difference(floor, first)),
            ];
            let decision = RangeTests(both.to_vec()).decide();
            decision.verdict(Some(decision.p), Better::Lower)
        };
        // Within the floor, within the margin, beyond both.
        assert_eq!(
            [of(10.0, 14.0), of(1000.0, 1010.0), of(100.0, 110.0)],
            [Verdict::Equivalent, Verdict::Equivalent, Verdict::Worse]
        );
        assert_eq!([of(14.0, 10.0), of(110.0, 100.0)], [Verdict::Equivalent, Verdict::Better]);
    }

    #[test]
    fn a_difference_from_zero_is_beyond_every_margin() {
        let of = |second: [f64; 6], first: f64| {
            let test = Evidence::Ranks(Shift::rank_sum(Effect::Difference, &[(vec![first; 6], second.to_vec())]));
            let decision = RangeTests(vec![(test, Tolerance::of_difference(MARGIN, first))]).decide();
            decision.verdict(Some(decision.p), Better::Higher)
        };
        assert_eq!(of([1.0; 6], 0.0), Verdict::Better);
        assert_eq!(of([0.0; 6], 0.0), Verdict::Equivalent);
        assert_eq!(of([-1.0, 0.5, 0.0, 0.5, -1.0, 0.5], 0.0), Verdict::Inconclusive);
        assert_eq!(of([9.9, 10.1, 10.0, 10.05, 9.95, 10.0], 10.0), Verdict::Equivalent);
        assert_eq!(of([9.0; 6], 10.0), Verdict::Worse);
    }
}
