//! From a run directory's records to samples, statistics and figures.
//!
//! This crate reads and writes files of one run directory and nothing else: it never starts a VM, never touches the
//! host and never imports the runner. [`record`] is the contract between the two: the runner writes what is declared
//! there, everything here reads it.

pub mod record;
