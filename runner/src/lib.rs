//! microbench: a declarative experiment runner for microVM research.
//!
//! The program (`main.rs`, `cli/`) is thin; what it does is in these modules and in the crates below them. See
//! ARCHITECTURE.md for the map.

pub mod catalog;
pub mod cluster;
pub mod error;
pub mod run;
pub mod store;
