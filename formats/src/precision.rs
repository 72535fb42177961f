//! The stopping rule of a plan, and the results of its interim looks.

use serde::{Deserialize, Serialize};

use crate::statistic::Statistic;

/// A stopping rule: a cell stops when the 95 % interval of a statistic is narrow enough at two looks in a row.
///
/// The rule looks at each cell after `n_min` trials and then after each further `every` trials, until `n_max`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Precision {
    /// [`Metric::name`](crate::metric::Metric::name) of the metric that decides.
    pub metric: String,
    /// Statistic of the metric over trials.
    pub statistic: Statistic,
    /// Required half width of the 95 % interval, as a fraction of the statistic.
    pub relative: f64,
    /// Trials before the first look.
    pub n_min: u32,
    /// Trials between looks; looks are after whole blocks.
    pub every: u32,
    /// Trials after which a cell stops in any case.
    pub n_max: u32,
}

/// The result of an interim look at one cell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "look")]
pub enum Look {
    /// The interval was narrow enough at this look and at the look before: the cell stops.
    Enough {
        /// Half width of the interval as a fraction of the statistic.
        half_width: f64,
    },
    /// The cell has [`Precision::n_max`] trials: it stops.
    AtMost {
        /// Half width of the interval as a fraction of the statistic; `None` without an interval.
        half_width: Option<f64>,
    },
    /// The cell needs more trials.
    GoOn {
        /// Half width of the interval as a fraction of the statistic; `None` without an interval.
        half_width: Option<f64>,
    },
}
