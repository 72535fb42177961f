//! Published values that a study is compared with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::selection::Selection;

/// Published values, and where they were published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Name for legends, for example `Mieden & Partarrieu 2019`.
    pub label: String,
    pub citation: String,
    pub values: Vec<ReferenceValue>,
    /// Metrics whose published values are not comparable with those of the study, by name, each with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, String>,
}

/// One published value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceValue {
    /// [`Metric::name`](crate::metric::Metric::name).
    pub metric: String,
    /// Name of the value in the publication.
    pub label: String,
    /// The cells of the study that the value corresponds to.
    pub of: Selection,
    /// The value, in the metric's unit.
    pub value: f64,
    /// Number of observations; `None` if it was not published.
    pub n: Option<u32>,
}
