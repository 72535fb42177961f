//! Environment variables of programs that are not part of microbench: VMMs, container runtimes, jailers, emulators.
//!
//! These programs get no other variable, because the user's environment often contains tokens and passwords.

use std::ffi::OsString;

/// Variables that are passed on if they are set. QEMU and crosvm of a cluster's module system need `LD_LIBRARY_PATH`.
pub const PASSED_VARIABLES: [&str; 3] = ["PATH", "LD_LIBRARY_PATH", "TMPDIR"];

/// The variables of [`PASSED_VARIABLES`] that are set, with their values.
pub fn passed_variables() -> impl Iterator<Item = (&'static str, OsString)> {
    PASSED_VARIABLES.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)))
}
