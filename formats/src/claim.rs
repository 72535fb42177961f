//! Claims of a study.

use serde::{Deserialize, Serialize};

use crate::selection::Selection;
use crate::statistic::Statistic;

/// A claim that the results of a run confirm or refute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Key in the manifest.
    pub name: String,
    /// The claim as prose.
    pub text: String,
    /// The compared value, which defines the unit. `None` for a claim that is [`unmeasured`](Self::unmeasured).
    pub comparison: Option<Comparison>,
    /// Statistic of each cell. If a side selects several cells, it is the mean of their statistics.
    pub statistic: Statistic,
    /// Lower limit of the values for which the claim is true; `None` for no limit.
    pub least: Option<f64>,
    /// Upper limit of the values for which the claim is true; `None` for no limit.
    pub most: Option<f64>,
    /// Whether the limits are exclusive (`> 1`, `< 2`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// What the limits apply to. Plans before format 9 have only [`Subject::Statistic`].
    #[serde(default, skip_serializing_if = "Subject::is_statistic")]
    pub subject: Subject,
    /// The clock for which the limits are stated; `None` for the default of [`Claim::needs_wall_clock`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    /// Whether a gate judges the claim.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gate: bool,
    /// The value that the paper states; `None` if it states no value.
    pub published: Option<f64>,
    /// What the published data of the paper shows, as prose.
    pub data: String,
    /// Why the claim cannot be measured, as prose; empty if it can.
    pub unmeasured: String,
}

impl Claim {
    /// Whether the limits are stated for the wall clock, so that virtual time cannot decide about them. By default
    /// those of a value or a difference in `unit` are, if it is a unit of time or a rate; those of a ratio are not.
    ///
    /// ```
    /// use microbench_formats::claim::is_time_unit;
    ///
    /// assert!(is_time_unit("ms") && is_time_unit("MiB/s"));
    /// assert!(!is_time_unit("MiB") && !is_time_unit("1"));
    /// ```
    #[must_use]
    pub fn needs_wall_clock(&self, unit: &str) -> bool {
        match (self.clock, &self.comparison) {
            (Some(clock), _) => clock == Clock::Wall,
            (None, Some(Comparison::Value(_) | Comparison::Difference(..))) => is_time_unit(unit),
            (None, Some(Comparison::Ratio(..)) | None) => false,
        }
    }
}

/// Whether a value in this unit depends on the clock: a time or a rate.
#[must_use]
pub fn is_time_unit(unit: &str) -> bool {
    matches!(unit, "ns" | "us" | "\u{b5}s" | "ms" | "s" | "min" | "h") || unit.ends_with("/s")
}

/// The clock for which the limits of a claim are stated.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Clock {
    /// The wall clock: a run in virtual time cannot decide about the limits.
    Wall,
    /// Any clock: the limits are as true in virtual time, for example those of a programmed delay.
    Any,
}

/// What the limits of a claim apply to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The statistic of the comparison, with its interval.
    #[default]
    Statistic,
    /// A ratio, whose limits are `1 / (1 + margin)` and `1 + margin`.
    Equivalence(f64),
    /// The value of every VM.
    EveryValue,
    /// This share of the values of VMs, above 0 and below 1.
    Share(f64),
}

impl Subject {
    #[must_use]
    pub fn is_statistic(&self) -> bool {
        *self == Self::Statistic
    }
}

/// The value that a claim compares with its limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comparison {
    /// The statistic of one side, in the unit of the metric.
    Value(Side),
    /// The first side divided by the second side.
    Ratio(Side, Side),
    /// The first side minus the second side, in the unit of the metric.
    Difference(Side, Side),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Side {
    /// [`Metric::name`](crate::metric::Metric::name).
    pub metric: String,
    /// The selected cells.
    pub of: Selection,
}
