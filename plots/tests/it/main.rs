//! Tests of the library on complete run directories.

mod analysis;
mod claims;
mod figures;
mod forms;
mod host_cpus;
mod import;
mod query;
mod reasons;
mod report;
mod results;
mod sequences;
mod support;
mod tables;
