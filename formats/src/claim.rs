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
    /// The value that the paper states; `None` if it states no value.
    pub published: Option<f64>,
    /// What the published data of the paper shows, as prose.
    pub data: String,
    /// Why the claim cannot be measured, as prose; empty if it can.
    pub unmeasured: String,
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
