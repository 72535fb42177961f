//! The machine: facts, suitability checks, tuning.

pub mod doctor;
pub mod facts;
pub mod kvm;
pub mod parse;
pub mod tree;
pub mod tune;
