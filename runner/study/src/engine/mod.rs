//! Engines are data: one TOML description each, one generic way to start them.
//!
//! [`description`] reads the TOML, [`guest_settings`] the settings of one cell that every engine's guests have, [`context`] is what
//! templates may name, [`launch`] renders description and context into the argv, the files and the API calls of one VM, and [`machine`]
//! says what the guest is told and which settings the machine does not have.

pub mod addresses;
pub mod context;
pub mod description;
pub mod guest_settings;
pub mod launch;
pub mod machine;
pub mod template;
