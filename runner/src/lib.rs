//! microbench: a declarative experiment runner for microVM research.
//!
//! The program (`main.rs`, `cli/`) parses the command line and prints. The modules of this library, and the crates that
//! they use, do the work. ARCHITECTURE.md describes all of them.

pub mod build;
pub mod catalog;
pub mod cluster;
pub mod error;
pub mod run;
pub mod store;
