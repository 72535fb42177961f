//! Engines are data: one TOML description each, one generic way to start them.
//!
//! [`description`] reads the TOML, [`context`] is what its templates may name, [`launch`] renders both into the argv,
//! the files and the API calls of one VM, [`machine`] says what its guest is told and which settings it does not have, and [`api`]
//! makes the calls.

pub mod addresses;
pub mod context;
pub mod description;
pub mod launch;
pub mod machine;
pub mod template;
