//! What the program prints: results, messages, progress.

pub mod output;
pub mod progress;
pub mod screen;
