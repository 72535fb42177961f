//! Sentences that a run is to judge.

use serde::{Deserialize, Serialize};

use crate::selection::Selection;
use crate::statistic::Statistic;

/// A sentence that can be judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Key in the manifest.
    pub name: String,
    /// What is claimed, in words.
    pub text: String,
    /// What is compared; its unit follows from it. `None` for a claim that is [`unmeasured`](Self::unmeasured).
    pub comparison: Option<Comparison>,
    /// Statistic of each cell: a side of several cells is the mean of theirs.
    pub statistic: Statistic,
    /// Least value for which the claim holds; `None` for no limit.
    pub least: Option<f64>,
    /// Largest value for which it holds; `None` for no limit.
    pub most: Option<f64>,
    /// The limit itself does not make it true (`> 1`, `< 2`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// The value that the paper states, if it states one.
    pub published: Option<f64>,
    /// What the paper's own data says, in words.
    pub data: String,
    /// Why it cannot be judged here, in words; empty when it can.
    pub unmeasured: String,
}

/// What a claim compares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comparison {
    /// One side's statistic, in the metric's unit.
    Value(Side),
    /// First side over second side.
    Ratio(Side, Side),
    /// First side minus second side, in the metric's unit.
    Difference(Side, Side),
}

/// One side of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Side {
    /// [`Metric::name`].
    pub metric: String,
    /// The cells.
    pub of: Selection,
}
