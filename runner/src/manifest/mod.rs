//! wip
pub mod diagnostic;
pub mod settings;
mod walk;
