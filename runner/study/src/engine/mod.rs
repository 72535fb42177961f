//! Engines. Each is described by a TOML file, and all are started by the same code.
//!
//! [`description`] parses the TOML, and [`guest_settings`] the guest settings of a cell.
//! [`host_cpu`] lists the CPUs of the emulated host. [`context`] defines the names
//! that templates can use. [`launch`] renders the argument vector, the files and the API calls of one VM. [`machine`]
//! renders the kernel parameters of the machine, and reports unsupported settings.

pub mod addresses;
pub mod context;
pub mod description;
pub mod guest_settings;
pub mod host_cpu;
pub mod launch;
pub mod machine;
pub mod template;
