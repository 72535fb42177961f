//! Statistics: pure functions over slices, each with the source of its formula.

pub mod ascending;
pub mod bca;
pub mod bootstrap;
pub mod contrast;
#[cfg(test)]
mod coverage;
pub mod density;
pub mod drift;
pub mod holm;
pub mod knee;
pub mod mean;
pub mod median;
pub mod outlier;
pub mod permutation;
pub mod precision;
pub mod quantile;
pub mod rank;
pub mod ranks;
