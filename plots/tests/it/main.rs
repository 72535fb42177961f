//! Run directories in, files out.

mod analysis;
mod claims;
mod figures;
mod forms;
mod import;
mod query;
mod report;
mod sequences;
mod support;
mod tables;
