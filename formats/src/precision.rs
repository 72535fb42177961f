//! A stopping rule of a plan, and what its looks found.

use serde::{Deserialize, Serialize};

use crate::statistic::Statistic;

/// A stopping rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Precision {
    /// [`Metric::name`](crate::metric::Metric::name) of the metric that is looked at.
    pub metric: String,
    /// Its statistic over trials.
    pub statistic: Statistic,
    /// Half width of the 95 % interval, as a share of the statistic, that is narrow enough.
    pub relative: f64,
    /// Trials before the first look.
    pub n_min: u32,
    /// Trials between looks: whole blocks.
    pub every: u32,
    /// Trials after which a cell stops anyway.
    pub n_max: u32,
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "look")]
pub enum Look {
    /// The interval was narrow at this look and the one before: its half width as a share of the statistic.
    Enough {
        /// The share.
        half_width: f64,
    },
    /// There are as many trials as there may be.
    AtMost {
        /// The share, if there is an interval.
        half_width: Option<f64>,
    },
    /// More trials are needed.
    GoOn {
        /// The share, if there is an interval.
        half_width: Option<f64>,
    },
}
