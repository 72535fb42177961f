//! Requirements of tests. A test whose requirement is missing is skipped and reported.
//!
//! ```
//! use microbench_testing::{program, require};
//!
//! // The first line of a test. If `sh` is not installed, the test prints the reason and returns.
//! require!(program("sh", "dash"));
//! ```
//!
//! Rust's test harness counts a skipped test as passed. Therefore each skipped test is printed to standard error, which
//! the harness does not capture here, and appended to the file that [`SKIPS`] names. With [`ALL`], a test fails if a
//! requirement is missing that `make deps` installs or `make test` builds.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// Environment variable. If it is `1`, a missing requirement that can be installed fails the test.
pub const ALL: &str = "MICROBENCH_TEST_ALL";
/// Environment variable with the path of the file that skipped tests are appended to, one per line.
pub const SKIPS: &str = "MICROBENCH_TEST_SKIPS";

/// A missing requirement of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    reason: String,
    installable: bool,
}

/// A requirement that is met, or missing.
pub type Requirement = Result<(), Missing>;

impl Missing {
    /// A requirement that `make deps` installs or `make test` builds.
    pub fn installable(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), installable: true }
    }

    /// A requirement of the host or the user that cannot be installed: KVM, root, a device, a cgroup.
    pub fn machine(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), installable: false }
    }
}

/// Returns from the enclosing test at the first [`Requirement`] that is missing, and reports it.
#[macro_export]
macro_rules! require {
    ($($requirement:expr),+ $(,)?) => {{
        fn here() {}
        $(if $crate::is_skipped(std::any::type_name_of_val(&here), $requirement) {
            return;
        })+
    }};
}

/// Whether the test must be skipped; if so, reports it. `here` is the path of an item in the test.
///
/// # Panics
/// If the requirement is missing and [`ALL`] forbids to skip the test.
#[must_use]
pub fn is_skipped(here: &str, requirement: Requirement) -> bool {
    let Err(Missing { reason, installable }) = requirement else { return false };
    let test = here.strip_suffix("::here").unwrap_or(here);
    assert!(!installable || !must_run_all(), "{test}: {reason}; {ALL} is set, so the test must not be skipped");
    let line = format!("SKIPPED: test {test}: {reason}\n");
    // The harness captures the output of `eprintln!` in a passing test. A single write per line, because tests run in
    // parallel.
    drop(std::io::stderr().write_all(line.as_bytes()));
    if let Some(path) = std::env::var_os(SKIPS) {
        let file = OpenOptions::new().create(true).append(true).open(path);
        drop(file.and_then(|mut file| file.write_all(line.as_bytes())));
    }
    true
}

/// Whether [`ALL`] is set.
#[must_use]
pub fn must_run_all() -> bool {
    std::env::var_os(ALL).is_some_and(|value| value == "1")
}

/// Requires the program `name` in a folder of `PATH` or in a system folder. `package` is its Debian package.
///
/// # Errors
/// [`Missing`] if the program is not installed.
pub fn program(name: &str, package: &str) -> Requirement {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // The same folders in which microbench searches for programs.
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    let is_program =
        |path: PathBuf| path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0);
    let found = std::env::split_paths(&path).chain(system).any(|folder| is_program(folder.join(name)));
    if found { Ok(()) } else { Err(Missing::installable(format!("`{name}` is not installed (Debian: {package})"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_test_is_reported_with_its_path() {
        fn here() {}
        let name = std::any::type_name_of_val(&here);
        assert_eq!(name, "microbench_testing::tests::skipped_test_is_reported_with_its_path::here");
        assert!(!is_skipped(name, Ok(())));
    }

    #[test]
    fn missing_program_is_reported_with_its_package() {
        assert_eq!(program("sh", "dash"), Ok(()));
        let missing = program("no-such-program", "no-such-package").unwrap_err();
        assert_eq!(missing.reason, "`no-such-program` is not installed (Debian: no-such-package)");
        assert!(missing.installable);
    }
}
