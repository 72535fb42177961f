//! `strace` around a VMM: how many system calls it makes.
//!
//! The window is the VMM's whole life: from its `exec`, the call itself included, to its end, over all its threads. What is
//! traced is slower by far, so it is never timed: this is for trials of their own.

use std::path::Path;

/// The argument vector that runs `argv` under the program `strace`, with the counts in `file`.
///
/// `-c` counts, `-f` follows threads, and of the table only the columns that [`total`] reads are asked for.
#[must_use]
pub fn argv(strace: &Path, file: &Path, argv: &[String]) -> Vec<String> {
    let (strace, file) = (strace.display().to_string(), file.display().to_string());
    let own = [strace.as_str(), "-c", "-f", "-U", "calls,name", "-o", &file, "--"];
    own.into_iter().map(str::to_owned).chain(argv.iter().cloned()).collect()
}

/// The number of calls in the table's last line.
#[must_use]
pub fn total(table: &str) -> Option<u64> {
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
    fn the_total_is_read_off_the_last_line() {
        let table = "    calls syscall\n--------- ----------------\n       11 mmap\n        1 execve\n--------- ----------------\n       12 total\n";
        assert_eq!(total(table), Some(12));
        assert_eq!(total(""), None);
        assert_eq!(total("    calls syscall\n       11 mmap\n"), None);
    }

    #[test]
    fn the_vmms_arguments_come_after_a_double_dash() {
        let argv = argv(Path::new("/bin/strace"), Path::new("/run/counts"), &["/bin/vmm".into(), "-c".into()]);
        assert_eq!(argv[argv.len() - 3..], ["--", "/bin/vmm", "-c"]);
    }
}
