//! KVM's counters of a VM in debugfs. Each VM has a folder `TID-FD`, named after the thread and the descriptor that
//! created it.

use std::fs;
use std::path::{Path, PathBuf};

use microbench_formats::event::reading;

/// KVM's folder in debugfs.
pub const DEBUGFS: &str = "/sys/kernel/debug/kvm";

/// VM exits by reason: KVM's file in the folder of a VM, and the name of its reading.
///
/// Some files count exits of one kind, others count KVM's actions during exits. One exit may therefore be in several
/// counts, and the counts do not add up to all exits.
pub const REASONS: &[(&str, &str)] = &[
    ("io_exits", reading::VMM_KVM_EXITS_IO),
    ("mmio_exits", reading::VMM_KVM_EXITS_MMIO),
    ("halt_exits", reading::VMM_KVM_EXITS_HALT),
    ("irq_exits", reading::VMM_KVM_EXITS_IRQ),
    ("irq_window_exits", reading::VMM_KVM_EXITS_IRQ_WINDOW),
    ("signal_exits", reading::VMM_KVM_EXITS_SIGNAL),
    ("request_irq_exits", reading::VMM_KVM_EXITS_REQUEST_IRQ),
    ("hypercalls", reading::VMM_KVM_EXITS_HYPERCALLS),
    ("insn_emulation", reading::VMM_KVM_EXITS_INSTRUCTION_EMULATION),
    ("pf_taken", reading::VMM_KVM_EXITS_PAGE_FAULT),
];

/// VM exits so far of the VMs that process `pid` created, from `folder` ([`DEBUGFS`]).
///
/// Returns the reading of all exits first, then those of [`REASONS`]. Each has its count, or the reason in one line why
/// it cannot be read.
#[must_use]
pub fn read_exits(folder: &Path, pid: u32) -> Vec<(&'static str, Result<u64, String>)> {
    let all = [("exits", reading::VMM_KVM_EXITS)];
    let vms = vms(folder, pid);
    let sum = |file: &str| vms.as_ref().map_err(Clone::clone)?.iter().map(|vm| count(&vm.join(file))).sum();
    all.iter().chain(REASONS).map(|(file, reading)| (*reading, sum(file))).collect()
}

/// The folders of the VMs that process `pid` created.
fn vms(folder: &Path, pid: u32) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{} cannot be read: {error}", folder.display()))?;
    // The folder is named after the thread that created the VM.
    let threads: Vec<String> = fs::read_dir(format!("/proc/{pid}/task"))
        .map(|tasks| tasks.filter_map(|task| task.ok()?.file_name().into_string().ok()).collect())
        .unwrap_or_default();
    let is_own = |name: &str| {
        name.split_once('-')
            .is_some_and(|(creator, _)| creator == pid.to_string() || threads.iter().any(|thread| thread == creator))
    };
    let own = entries.filter_map(Result::ok).filter(|entry| is_own(&entry.file_name().to_string_lossy()));
    let vms: Vec<PathBuf> = own.map(|entry| entry.path()).collect();
    if vms.is_empty() {
        return Err(format!(
            "{} has no VM of process {pid} (a VMM in a PID namespace has another PID there)",
            folder.display()
        ));
    }
    Ok(vms)
}

fn count(path: &Path) -> Result<u64, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    text.trim().parse().map_err(|_| format!("{} does not contain a number", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exits_of_the_process_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let pid = std::process::id();
        let all_exits = |folder: &Path| read_exits(folder, pid)[0].1.clone();
        assert!(all_exits(&folder.path().join("none")).unwrap_err().contains("cannot be read"));
        assert!(all_exits(folder.path()).unwrap_err().contains("has no VM"));
        for (name, count) in [(format!("{pid}-12"), "40\n"), (format!("{pid}1-12"), "7\n"), ("exits".into(), "50\n")] {
            fs::create_dir(folder.path().join(&name)).unwrap();
            fs::write(folder.path().join(&name).join("exits"), count).unwrap();
        }
        assert_eq!(all_exits(folder.path()), Ok(40));
    }

    #[test]
    fn reason_that_kvm_does_not_count_leaves_the_other_readings() {
        let folder = tempfile::tempdir().unwrap();
        let pid = std::process::id();
        for (vm, io) in [("11", "3\n"), ("12", "4\n")] {
            let vm = folder.path().join(format!("{pid}-{vm}"));
            fs::create_dir(&vm).unwrap();
            fs::write(vm.join("exits"), "10\n").unwrap();
            fs::write(vm.join("io_exits"), io).unwrap();
        }
        let found = read_exits(folder.path(), pid);
        assert_eq!(found.len(), 1 + REASONS.len());
        assert_eq!(found[0], (reading::VMM_KVM_EXITS, Ok(20)));
        assert_eq!(found[1], (reading::VMM_KVM_EXITS_IO, Ok(7)));
        let (name, mmio) = &found[2];
        assert_eq!(*name, reading::VMM_KVM_EXITS_MMIO);
        assert!(mmio.as_ref().unwrap_err().contains("mmio_exits cannot be read"));
    }
}
