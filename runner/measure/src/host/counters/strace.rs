//! Counts a VMM's system calls with `strace`.
//!
//! The count covers all threads of the VMM, from `execve` (included) to its end. Tracing slows the VMM down a lot, so
//! that system calls are counted in separate trials, which are not timed.

use std::path::Path;

/// The argument vector that runs `argv` under `strace`, which writes its table of counts to `file`.
///
/// `-c` counts, `-f` follows threads and child processes, and `-U` selects the columns that [`parse_total_calls`]
/// reads.
#[must_use]
pub fn wrap_command(strace: &Path, file: &Path, argv: &[String]) -> Vec<String> {
    let (strace, file) = (strace.display().to_string(), file.display().to_string());
    let own = [strace.as_str(), "-c", "-f", "-U", "calls,name", "-o", &file, "--"];
    own.into_iter().map(str::to_owned).chain(argv.iter().cloned()).collect()
}

/// The total number of calls: the last line of the table; `None` if the table is incomplete.
#[must_use]
pub fn parse_total_calls(table: &str) -> Option<u64> {
    let last = table.lines().rev().find(|line| !line.trim().is_empty())?;
    match last.split_whitespace().collect::<Vec<_>>().as_slice() {
        [calls, "total"] => calls.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_is_read_from_the_last_line() {
        let table = "    calls syscall\n--------- ----------------\n       11 mmap\n        1 execve\n--------- ----------------\n       12 total\n";
        assert_eq!(parse_total_calls(table), Some(12));
        assert_eq!(parse_total_calls(""), None);
        assert_eq!(parse_total_calls("    calls syscall\n       11 mmap\n"), None);
    }

    #[test]
    fn arguments_of_the_vmm_follow_a_double_dash() {
        let argv = wrap_command(Path::new("/bin/strace"), Path::new("/run/counts"), &["/bin/vmm".into(), "-c".into()]);
        assert_eq!(argv[argv.len() - 3..], ["--", "/bin/vmm", "-c"]);
    }
}
