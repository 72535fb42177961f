//! Everything that touches a host: artefacts, the sandbox, VMMs and their guests, probes, trials, the emulated host.
//!
//! A trial produces records (`microbench_formats::record::Record`). Statistics and figures are in `microbench-plots`,
//! on which this crate must not depend: the emulated host's init contains this crate and should stay small.
//!
//! | module | purpose |
//! | --- | --- |
//! | [`artifacts`] | provides kernels, root file systems and programs, from a cache |
//! | [`requirement`], [`host::machine`] | checks what the host has, and how suitable it is for benchmarking |
//! | [`sandbox`] | namespaces of a run, and the users that VMMs run as |
//! | [`host::resources`] | allocates and releases network interfaces, disks, huge pages |
//! | [`vm`], [`guest`], [`probe`], [`workload`] | starts a VM, detects that it is ready, and measures its workload |
//! | [`trial`], [`rendezvous`] | executes one trial: all VMs of a cell at once |
//! | [`emulated_host`] | executes trials in a QEMU machine with virtual time |

#[cfg(not(target_os = "linux"))]
compile_error!("microbench measures on Linux only: build it on Linux or in a Linux container");

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
pub mod trust;
pub mod vm;
pub mod workload;

/// Optimisation level of this build (`0` to `3`, `s` or `z`). It matters because code of this crate runs in timed
/// windows.
pub const OPT_LEVEL: &str = env!("MICROBENCH_OPT_LEVEL");
