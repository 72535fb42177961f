//! Terminal output: results, messages, progress, logs.

pub mod log;
pub mod output;
pub mod progress;
pub mod screen;
