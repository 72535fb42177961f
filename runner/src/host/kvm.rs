//! What KVM counts of a VM, in debugfs: one folder a VM, named after the process and the descriptor that made it.

use std::fs;
use std::path::Path;

/// Where debugfs shows KVM's counts.
pub const DEBUGFS: &str = "/sys/kernel/debug/kvm";

/// Exits to KVM so far of the VMs that process `pid` made, from `folder` ([`DEBUGFS`]).
///
/// # Errors
/// Why the count cannot be had, in one line.
pub fn exits(folder: &Path, pid: u32) -> Result<u64, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{} cannot be read: {error}", folder.display()))?;
    // The number is that of the thread that made the VM.
    let threads: Vec<String> = fs::read_dir(format!("/proc/{pid}/task"))
        .map(|tasks| tasks.filter_map(|task| task.ok()?.file_name().into_string().ok()).collect())
        .unwrap_or_default();
    let (mut sum, mut found) = (0, false);
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((maker, _)) = name.split_once('-') else { continue };
        if maker != pid.to_string() && !threads.iter().any(|thread| thread == maker) {
            continue;
        }
        let path = entry.path().join("exits");
        let text = fs::read_to_string(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        sum += text.trim().parse::<u64>().map_err(|_| format!("{} holds no number", path.display()))?;
        found = true;
    }
    if found {
        return Ok(sum);
    }
    Err(format!(
        "{} has no VM of the VMM's process {pid} (in a PID namespace it is known there by another number)",
        folder.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_are_those_of_the_process_alone() {
        let folder = tempfile::tempdir().unwrap();
        let pid = std::process::id();
        assert!(exits(&folder.path().join("none"), pid).unwrap_err().contains("cannot be read"));
        assert!(exits(folder.path(), pid).unwrap_err().contains("has no VM"));
        for (name, count) in [(format!("{pid}-12"), "40\n"), (format!("{pid}1-12"), "7\n"), ("exits".into(), "50\n")] {
            fs::create_dir(folder.path().join(&name)).unwrap();
            fs::write(folder.path().join(&name).join("exits"), count).unwrap();
        }
        assert_eq!(exits(folder.path(), pid), Ok(40));
    }
}
