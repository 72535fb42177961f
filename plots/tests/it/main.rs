//! Run directories in, files out.

mod analysis;
mod claims;
mod figures;
mod forms;
mod import;
mod query;
mod report;
mod results;
mod sequences;
mod support;
mod tables;
