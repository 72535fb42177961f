//! Statistics: pure functions over slices, each with the source of its formula.

pub mod bootstrap;
pub mod contrast;
pub mod mean;
pub mod median;
pub mod quantile;
