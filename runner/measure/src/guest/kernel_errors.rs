//! What a kernel says when something went wrong in it: the words that make a trial's values invalid.

/// Words of Linux's complaints, as `lib/`, `kernel/` and `arch/x86/` of its source print them.
const WORDS: &[&str] = &[
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

/// The complaint that a line of a kernel's log is, without what cannot be printed and at most 200 characters of it; `None` when it is
/// none.
#[must_use]
pub fn find(line: &str) -> Option<String> {
    let found = WORDS.iter().any(|word| line.contains(word));
    found.then(|| line.chars().filter(|c| !c.is_control()).take(200).collect::<String>().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_told_from_what_a_boot_says() {
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
