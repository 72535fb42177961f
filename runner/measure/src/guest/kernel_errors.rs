//! Kernel errors: messages of a kernel log that make the measured values of a trial invalid.

/// Phrases of Linux's error messages, from `lib/`, `kernel/` and `arch/x86/` of its source.
const PHRASES: &[&str] = &[
    "BUG: ",
    "Oops: ",
    "Kernel panic",
    "soft lockup",
    "hard LOCKUP",
    "blocked for more than",
    "detected stall",
    "Out of memory:",
    "general protection fault",
    "as unstable",
    "Hardware Error",
];

/// Returns the line of a kernel log if it reports a kernel error, else `None`. Control characters are
/// removed, and the line is truncated to 200 characters.
///
/// ```
/// use microbench_measure::guest::kernel_errors;
///
/// let line = "[ 22.1] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!\r";
/// assert_eq!(kernel_errors::find(line).as_deref(), Some(line.trim_end()));
/// assert_eq!(kernel_errors::find("[ 0.02] Spectre V2 : Mitigation: Retpolines"), None);
/// ```
#[must_use]
pub fn find(line: &str) -> Option<String> {
    let found = PHRASES.iter().any(|phrase| line.contains(phrase));
    found.then(|| line.chars().filter(|c| !c.is_control()).take(200).collect::<String>().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_errors_are_distinguished_from_boot_messages() {
        let lockup = "[   22.1] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [swapper:0]\r";
        assert_eq!(find(lockup).as_deref(), Some(lockup.trim_end()));
        assert!(find("Kernel panic - not syncing: VFS: Unable to mount root fs").is_some());
        for quiet in [
            "console=ttyS0 reboot=k panic=-1",
            "[    0.02] Spectre V2 : Mitigation: Retpolines",
            "microbench-agent: ready",
        ] {
            assert_eq!(find(quiet), None);
        }
    }
}
