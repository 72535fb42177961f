//! Requirements of tests. A test whose requirement is missing is skipped, says so, and never passes in silence.
//!
//! ```
//! use microbench_testing::{program, require};
//!
//! // A test's first line. Where `sh` is missing, the test prints why and returns.
//! require!(program("sh", "dash"));
//! ```
//!
//! The harness of Rust has no third outcome: it counts a skipped test as passed. So each one is printed to standard error, past the
//! harness's capture, and appended to the file that [`SKIPS`] names. With [`ALL`] set, a requirement that `make deps` installs or `make test`
//! builds must be there, and its absence is a failure.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// Set to `1`: nothing that can be installed may be missing.
pub const ALL: &str = "MICROBENCH_TEST_ALL";
/// Names the file that the skipped tests are appended to, one a line.
pub const SKIPS: &str = "MICROBENCH_TEST_SKIPS";

/// Why a test cannot run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    reason: String,
    installable: bool,
}

/// A requirement: `Ok`, or what is missing for it.
pub type Requirement = Result<(), Missing>;

impl Missing {
    /// Something that `make deps` installs or `make test` builds.
    pub fn installable(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), installable: true }
    }

    /// Something of the machine or the user that nothing can be installed for: KVM, root, a device, a cgroup.
    pub fn machine(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), installable: false }
    }
}

/// Skips the test that this stands in unless each of the [`Requirement`]s is met: the first that is not ends the test.
#[macro_export]
macro_rules! require {
    ($($requirement:expr),+ $(,)?) => {{
        fn here() {}
        $(if $crate::skips(std::any::type_name_of_val(&here), $requirement) {
            return;
        })+
    }};
}

/// True when the test is to be skipped, which has been reported then. `here` is the path of an item in the test.
///
/// # Panics
/// When what is missing must be there, by [`ALL`].
#[must_use]
pub fn skips(here: &str, requirement: Requirement) -> bool {
    let Err(Missing { reason, installable }) = requirement else { return false };
    let test = here.strip_suffix("::here").unwrap_or(here);
    assert!(!installable || !all(), "{test}: {reason}, and {ALL} forbids to skip for that");
    let line = format!("SKIPPED: test {test}: {reason}\n");
    // Not by `eprintln!`, which the harness captures of a test that does not fail. One call a line, as tests run at the same time.
    drop(std::io::stderr().write_all(line.as_bytes()));
    if let Some(path) = std::env::var_os(SKIPS) {
        let file = OpenOptions::new().create(true).append(true).open(path);
        drop(file.and_then(|mut file| file.write_all(line.as_bytes())));
    }
    true
}

/// True when every test must run whose requirement can be installed.
#[must_use]
pub fn all() -> bool {
    std::env::var_os(ALL).is_some_and(|value| value == "1")
}

/// The program `name` in a folder of `PATH` or in a system folder; `package` is the Debian package that has it.
///
/// # Errors
/// When it is missing.
pub fn program(name: &str, package: &str) -> Requirement {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // As microbench looks for programs itself.
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
    fn a_skipped_test_is_known_by_its_name() {
        fn here() {}
        let name = std::any::type_name_of_val(&here);
        assert_eq!(name, "microbench_testing::tests::a_skipped_test_is_known_by_its_name::here");
        assert!(!skips(name, Ok(())));
    }

    #[test]
    fn a_program_that_is_not_there_is_named_with_its_package() {
        assert_eq!(program("sh", "dash"), Ok(()));
        let missing = program("no-such-program", "no-such-package").unwrap_err();
        assert_eq!(missing.reason, "`no-such-program` is not installed (Debian: no-such-package)");
        assert!(missing.installable);
    }
}
