//! microbench: a declarative experiment runner for microVM research.

pub mod event;
pub mod manifest;
pub mod plan;
pub mod plan_view;
