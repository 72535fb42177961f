//! Values that somebody published.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::selection::Selection;

/// Values that somebody published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Name for legends, for instance `Mieden & Partarrieu 2019`.
    pub label: String,
    /// Full citation.
    pub citation: String,
    /// The values.
    pub values: Vec<ReferenceValue>,
    /// Why the values of a metric are not among them, by its name: they would stand beside what they are not of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, String>,
}

/// One published value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceValue {
    /// [`Metric::name`].
    pub metric: String,
    /// The value's name where it was published.
    pub label: String,
    /// The cells of this study that it corresponds to.
    pub of: Selection,
    /// The value, in the metric's unit.
    pub value: f64,
    /// How many observations it is of; `None` when that was not published.
    pub n: Option<u32>,
}
