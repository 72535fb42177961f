//! What this host lacks for a run: its own kind of error, because it has its own exit code.

use microbench_formats::code::Code;

/// Things that a host lacks, each with what mends it. Nothing was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking(Vec<Lack>);

/// One thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Which kind of thing.
    pub code: Code,
    /// What is missing, and what was found.
    pub what: String,
    /// The command that mends it.
    pub mend: String,
}

impl Lacking {
    /// One thing that is lacking.
    #[must_use]
    pub fn one(code: Code, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::of(Lack { code, what: what.into(), mend: mend.into() })
    }

    /// The error of `lack` alone.
    #[must_use]
    pub fn of(lack: Lack) -> Self {
        Self(vec![lack])
    }

    /// The codes of what is lacking, in order, each once.
    #[must_use]
    pub fn codes(&self) -> Vec<Code> {
        let mut codes: Vec<Code> = self.0.iter().map(|lack| lack.code).collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }

    /// An error when anything is lacking.
    ///
    /// # Errors
    /// `lacks`, unless there are none.
    pub fn unless_none(lacks: Vec<Lack>) -> Result<(), Self> {
        if lacks.is_empty() { Ok(()) } else { Err(Self(lacks)) }
    }
}

/// Fails on a machine that microbench cannot measure on, before anything is built or started there.
///
/// # Errors
/// [`Lacking`] with [`Code::OtherMachine`].
pub fn supported() -> Result<(), Lacking> {
    supported_on(std::env::consts::OS, std::env::consts::ARCH)
}

fn supported_on(system: &str, processor: &str) -> Result<(), Lacking> {
    if (system, processor) == ("linux", "x86_64") {
        return Ok(());
    }
    let what = format!("Linux on x86_64, for which guests are built; this is {system} on {processor}");
    Err(Lacking::one(Code::OtherMachine, what, "measure on an x86-64 machine; plans and analyses work here"))
}

impl std::fmt::Display for Lacking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("this host lacks what the run needs")?;
        self.0.iter().try_for_each(|lack| write!(f, "\n  {}\n    try: {}", lack.what, lack.mend))
    }
}

impl std::error::Error for Lacking {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_processor_or_system_is_refused_with_a_code_of_its_own() {
        assert_eq!(supported_on("linux", "x86_64"), Ok(()));
        for (system, processor) in [("linux", "aarch64"), ("macos", "x86_64")] {
            let error = supported_on(system, processor).unwrap_err();
            assert_eq!(error.codes(), [Code::OtherMachine]);
            assert!(error.to_string().contains(&format!("this is {system} on {processor}")), "{error}");
        }
    }
}
