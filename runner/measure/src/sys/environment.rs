//! The environment variables of programs that are not part of microbench: VMMs, container runtimes, jailers, emulators.
//! Each starts with these variables alone, because the user's environment often holds tokens and passwords.

use std::ffi::OsString;

/// Variables that are passed on where they are set: where programs, libraries and temporary files are. QEMU and crosvm
/// of a cluster's module system need `LD_LIBRARY_PATH`; the built-in VMMs and container runtimes need no other
/// variable.
pub const PASSED: [&str; 3] = ["PATH", "LD_LIBRARY_PATH", "TMPDIR"];

/// The variables of [`PASSED`] that are set, with their values.
pub fn passed() -> impl Iterator<Item = (&'static str, OsString)> {
    PASSED.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)))
}
