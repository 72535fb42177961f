//! From a study's manifest to a plan: the manifest with its checks and schema, the engines' descriptions, the plan.
//!
//! Pure: no host, no clock, no process. It opens the manifest, the files that it names, and descriptions of engines.

pub mod engine;
pub mod manifest;
pub mod optional_text;
pub mod plan;
