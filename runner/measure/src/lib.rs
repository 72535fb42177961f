//! Everything that touches a host: artefacts, the sandbox, VMMs and their guests, probes, trials, the emulated host.
//!
//! It knows no table, no statistic and no figure: it yields records, and the emulated host's init is made of it alone.

#[cfg(not(target_os = "linux"))]
compile_error!("microbench measures on Linux alone: build it on Linux, or in a Linux container");

pub mod artifacts;
pub mod emulated_host;
pub mod guest;
pub mod host;
pub mod parts;
pub mod probe;
pub mod rendezvous;
pub mod requirement;
pub mod sandbox;
pub mod selftest;
pub mod sys;
pub mod terminal;
pub mod trial;
pub mod vm;
pub mod workload;

/// Cargo's level of optimisation (`0` to `3`, `s` or `z`) of this build. Code of this crate runs inside timed windows.
pub const OPT_LEVEL: &str = env!("MICROBENCH_OPT_LEVEL");
