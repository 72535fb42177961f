//! Verdicts: an interval judged by the equivalence margin and the metric's better direction.

use microbench_formats::direction::Better;
use serde::Serialize;

use crate::stats::median::Interval;

/// The verdict on one row of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, strum::Display, strum::IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Verdict {
    /// The whole interval is on the better side, beyond the margin if one is declared.
    Better,
    /// The whole interval is on the worse side, beyond the margin if one is declared.
    Worse,
    /// The whole interval is on one side, and the metric has no better direction.
    Differs,
    /// The whole interval is within the declared margin.
    Equivalent,
    /// The interval crosses a limit, or there are too few trials for an interval.
    Inconclusive,
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

/// Family-wise error rate of the verdicts without a margin.
pub const ALPHA: f64 = 0.05;

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
    pub(super) fn of_ratio(margin: Option<f64>) -> Self {
        let most = 1.0 + margin.unwrap_or(0.0);
        Self { least: 1.0 / most, most, declared: margin.is_some() }
    }

    /// The range of a difference: the margin is a share of `first`, the first side's value, and so 0 if that is 0.
    pub(super) fn of_difference(margin: Option<f64>, first: f64) -> Self {
        let most = margin.unwrap_or(0.0) * first.abs();
        Self { least: -most, most, declared: margin.is_some() }
    }
}

/// The verdict on an interval. Without a declared margin every difference matters; a difference then also needs `p`,
/// adjusted for the family, of at most [`ALPHA`].
pub(super) fn verdict(interval: Option<&Interval>, tolerance: Tolerance, p: Option<f64>, better: Better) -> Verdict {
    let Some(interval) = interval else { return Verdict::Inconclusive };
    let Tolerance { least, most, declared } = tolerance;
    let sure = declared || p.is_some_and(|p| p <= ALPHA);
    if declared && interval.low >= least && interval.high <= most {
        Verdict::Equivalent
    } else if sure && interval.low > most {
        Verdict::of_difference(better, true)
    } else if sure && interval.high < least {
        Verdict::of_difference(better, false)
    } else {
        Verdict::Inconclusive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(low: f64, high: f64, margin: Option<f64>, p: f64, better: Better) -> Verdict {
        verdict(Some(&Interval { low, high, level: 0.95 }), Tolerance::of_ratio(margin), Some(p), better)
    }

    #[test]
    fn a_verdict_needs_the_whole_interval_on_one_side() {
        let of_time = |low, high, margin| of(low, high, margin, 0.03, Better::Lower);
        assert_eq!(of_time(1.01, 1.05, None), Verdict::Worse);
        assert_eq!(of_time(0.95, 0.99, None), Verdict::Better);
        assert_eq!(of_time(0.99, 1.01, None), Verdict::Inconclusive);
        assert_eq!(of_time(0.99, 1.01, Some(0.02)), Verdict::Equivalent);
        // A significant difference within the margin is not a difference.
        assert_eq!(of_time(1.005, 1.01, Some(0.02)), Verdict::Equivalent);
        assert_eq!(of_time(1.01, 1.03, Some(0.02)), Verdict::Inconclusive);
        assert_eq!(of_time(1.03, 1.04, Some(0.02)), Verdict::Worse);
        assert_eq!(of_time(0.90, 0.97, Some(0.02)), Verdict::Better);
        let none = verdict(None, Tolerance::of_ratio(Some(0.02)), None, Better::Lower);
        assert_eq!(none, Verdict::Inconclusive);
        // Without a margin, the adjusted p-value decides as well.
        assert_eq!(of(1.01, 1.05, None, 0.2, Better::Lower), Verdict::Inconclusive);
        assert_eq!(of(1.01, 1.05, Some(0.005), 0.2, Better::Lower), Verdict::Worse);
    }

    #[test]
    fn better_direction_decides_between_better_and_worse() {
        let both = |better| (of(1.9, 2.1, Some(0.02), 0.01, better), of(0.4, 0.6, Some(0.02), 0.01, better));
        assert_eq!(both(Better::Lower), (Verdict::Worse, Verdict::Better));
        assert_eq!(both(Better::Higher), (Verdict::Better, Verdict::Worse));
        assert_eq!(both(Better::Neither), (Verdict::Differs, Verdict::Differs));
    }

    #[test]
    fn a_difference_from_zero_is_beyond_every_margin() {
        let of = |low, high, first| {
            let tolerance = Tolerance::of_difference(Some(0.02), first);
            verdict(Some(&Interval { low, high, level: 0.95 }), tolerance, None, Better::Higher)
        };
        assert_eq!(of(1.0, 1.0, 0.0), Verdict::Better);
        assert_eq!(of(0.0, 0.0, 0.0), Verdict::Equivalent);
        assert_eq!(of(-1.0, 0.5, 0.0), Verdict::Inconclusive);
        assert_eq!(of(-0.1, 0.1, 10.0), Verdict::Equivalent);
        assert_eq!(of(-1.0, -0.5, 10.0), Verdict::Worse);
    }
}
