//! Requirements of a run that the host does not meet.
//!
//! A missing requirement has its own error type because it has its own exit code: nothing was started.

use microbench_formats::code::Code;

/// Requirements that the host does not meet, each with its fix. Nothing was started.
///
/// ```
/// use microbench_formats::code::Code;
/// use microbench_measure::requirement::MissingRequirements;
///
/// let error = MissingRequirements::single(Code::NoProgram, "strace: not installed", "apt-get install strace");
/// assert_eq!(error.codes(), [Code::NoProgram]);
/// assert!(error.to_string().ends_with("strace: not installed\n    try: apt-get install strace"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingRequirements(Vec<MissingRequirement>);

/// A requirement that the host does not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingRequirement {
    pub code: Code,
    /// What is missing, and what was found instead.
    pub what: String,
    /// A command or an instruction that fixes it.
    pub fix: String,
}

impl MissingRequirements {
    /// The error for one missing requirement.
    #[must_use]
    pub fn single(code: Code, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(MissingRequirement { code, what: what.into(), fix: fix.into() })
    }

    /// The error for one missing requirement.
    #[must_use]
    pub fn new(requirement: MissingRequirement) -> Self {
        Self(vec![requirement])
    }

    /// The error codes, sorted, without duplicates.
    #[must_use]
    pub fn codes(&self) -> Vec<Code> {
        let mut codes: Vec<Code> = self.0.iter().map(|requirement| requirement.code).collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }

    /// Checks that `missing` is empty.
    ///
    /// # Errors
    /// The requirements in `missing`.
    pub fn check(missing: Vec<MissingRequirement>) -> Result<(), Self> {
        if missing.is_empty() { Ok(()) } else { Err(Self(missing)) }
    }
}

/// Checks that microbench can measure on this operating system and processor. Call it before anything is built or
/// started.
///
/// # Errors
/// [`MissingRequirements`] with [`Code::OtherMachine`].
pub fn require_supported_platform() -> Result<(), MissingRequirements> {
    require_platform(std::env::consts::OS, std::env::consts::ARCH)
}

fn require_platform(system: &str, processor: &str) -> Result<(), MissingRequirements> {
    if (system, processor) == ("linux", "x86_64") {
        return Ok(());
    }
    let what = format!("Linux on x86_64, because guests are x86_64; this is {system} on {processor}");
    Err(MissingRequirements::single(
        Code::OtherMachine,
        what,
        "measure on an x86_64 machine; `plan` and `analyze` work here",
    ))
}

impl std::fmt::Display for MissingRequirements {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("this host does not meet the requirements of the run:")?;
        self.0.iter().try_for_each(|missing| write!(f, "\n  {}\n    try: {}", missing.what, missing.fix))
    }
}

impl std::error::Error for MissingRequirements {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_platforms_are_refused_with_their_own_code() {
        assert_eq!(require_platform("linux", "x86_64"), Ok(()));
        for (system, processor) in [("linux", "aarch64"), ("macos", "x86_64")] {
            let error = require_platform(system, processor).unwrap_err();
            assert_eq!(error.codes(), [Code::OtherMachine]);
            assert!(error.to_string().contains(&format!("this is {system} on {processor}")), "{error}");
        }
    }
}
