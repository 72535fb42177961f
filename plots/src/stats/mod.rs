//! Statistics: pure functions over slices, each with the source of its formula.
//!
//! ```
//! use microbench_plots::stats::median::{interval, median};
//! use microbench_plots::stats::pairs::Effect;
//! use microbench_plots::stats::shift::Shift;
//!
//! let boots = [98.1, 99.4, 100.2, 100.9, 101.5, 103.0];
//! let median_ms = median(&boots).unwrap();
//! // The narrowest order-statistic interval with a coverage of at least 95 %: here the whole range.
//! let found = interval(&boots, 0.95).unwrap();
//! assert!((median_ms - 100.55).abs() < 1e-9);
//! assert_eq!((found.low, found.high), (98.1, 103.0));
//! let ratio = Shift::rank_sum(Effect::Ratio, &[(boots.to_vec(), boots.to_vec())]);
//! assert_eq!(ratio.estimate(), Some(1.0));
//! ```

pub mod bca;
pub mod bootstrap;
pub mod change_point;
pub mod clusters;
pub mod contrast;
#[cfg(test)]
pub(crate) mod coverage;
pub mod density;
pub mod drift;
pub mod holm;
pub mod knee;
pub mod mean;
pub mod median;
pub mod no_interval;
pub mod null;
pub mod outlier;
pub mod pairs;
pub mod permutation;
pub mod precision;
pub mod quantile;
pub mod repetition;
#[cfg(test)]
mod repetition_errors;
pub mod selection;
pub mod share;
pub mod shift;
pub mod sorted;
pub mod tick;
