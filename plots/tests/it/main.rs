//! Run directories in, files out.

mod analysis;
mod claims;
mod figures;
mod forms;
mod import;
mod sequences;
mod support;
mod tables;
