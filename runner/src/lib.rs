//! microbench: a declarative experiment runner for microVM research.
//!
//! The binary (`main.rs`, `cli.rs`) is thin; everything it does is in these modules. See ARCHITECTURE.md for the map.

pub mod announcement;
pub mod answer;
pub mod artifact;
pub mod boot;
pub mod budget;
pub mod catalog;
mod client;
pub mod clock;
pub mod complaint;
pub mod console;
pub mod durable;
pub mod engine;
pub mod environment;
pub mod error;
pub mod event;
pub mod execution;
pub mod explain;
pub mod guest;
pub mod host;
pub mod journal;
pub mod lacking;
pub mod manifest;
pub mod output;
pub mod parts;
pub mod plan;
pub mod plan_view;
pub mod probe;
pub mod progress;
pub mod run;
pub mod sandbox;
pub mod screen;
pub mod selftest;
pub mod slurm;
pub mod starter;
pub mod sys;
mod template;
pub mod testbed;
pub mod together;
pub mod tool;
pub mod trial;
pub mod vm;
pub mod work;

/// Cargo's level of optimisation (`0` to `3`, `s` or `z`) of this build. Code of this crate runs inside timed windows.
pub const OPT_LEVEL: &str = env!("MICROBENCH_OPT_LEVEL");
