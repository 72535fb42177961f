//! The machine: facts, identity, fitness for measuring, settings that are changed for it, and what is missing.

pub mod doctor;
pub mod facts;
pub mod kvm;
pub mod parse;
pub mod tree;
pub mod tune;
