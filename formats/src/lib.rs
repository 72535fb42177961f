//! The contract between the parts of microbench: plans, journals, metrics, events, files of a run, codes of errors.
//!
//! Data and its text forms. It reads no file, and depends on no other crate of this workspace.

pub mod code;
pub mod describe;
pub mod digests;
pub mod direction;
pub mod event;
pub mod exit;
pub mod files;
pub mod journal;
pub mod name;
pub mod plan;
pub mod precision;
pub mod record;
mod selection;
pub mod terminal;
pub mod values;
