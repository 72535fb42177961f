//! The host's pool of huge pages, for guests whose memory is backed by it.

use std::fs;
use std::path::Path;

use anyhow::Context;
use microbench_study::engine::guest_settings::GuestSettings;

/// Size of a huge page, MiB: the smaller one of x86-64.
const PAGE_MIB: u64 = 2;
/// The pool of huge pages of 2 MiB.
const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";

/// Number of huge pages that a VM uses: 0 unless its setting `huge_pages` is true.
#[must_use]
pub fn pages_per_vm(guest: &GuestSettings) -> u64 {
    if guest.huge_pages { guest.memory_mib.div_ceil(PAGE_MIB) } else { 0 }
}

/// Why the host has no huge pages for `vms` VMs with these settings, as a noun phrase that names what is unavailable;
/// `None` if there are enough.
#[must_use]
pub fn why_unavailable(guest: &GuestSettings, vms: u64) -> Option<String> {
    why_unavailable_in(guest, vms, Path::new(POOL))
}

fn why_unavailable_in(guest: &GuestSettings, vms: u64, pool: &Path) -> Option<String> {
    let (pages, mib) = (pages_per_vm(guest), guest.memory_mib);
    if pages == 0 {
        return None;
    }
    if mib % PAGE_MIB != 0 {
        return Some(format!("{mib} MiB in huge pages of {PAGE_MIB} MiB"));
    }
    let free = fs::read_to_string(pool.join("free_hugepages")).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let needed = pages * vms;
    match free {
        None => Some("memory in huge pages, because its kernel has no pool of huge pages".to_owned()),
        Some(free) if free < needed => Some(format!(
            "memory in huge pages: {needed} pages of {PAGE_MIB} MiB are needed, {free} are free; enlarge the pool \
        with `sysctl vm.nr_hugepages={needed}`"
        )),
        Some(_) => None,
    }
}

/// Sets the size of the pool to exactly `pages`. For a machine that only this run uses: the emulated host.
///
/// # Errors
/// If the kernel has no pool of huge pages.
pub fn reserve(pages: u64) -> anyhow::Result<()> {
    let file = Path::new(POOL).join("nr_hugepages");
    let now = fs::read_to_string(&file).unwrap_or_else(|_| "0".to_owned());
    if now.trim() == pages.to_string() {
        return Ok(());
    }
    fs::write(&file, pages.to_string()).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use microbench_formats::axis::Level;
    use microbench_formats::cell::Cell;

    use super::*;

    fn guest(memory_mib: i64, huge_pages: bool) -> GuestSettings {
        let text = |word: &str| Level::Text(word.into());
        let settings = [
            ("kernel", text("k")),
            ("rootfs", text("r")),
            ("memory_mib", Level::Int(memory_mib)),
            ("huge_pages", Level::Bool(huge_pages)),
        ];
        let mut cell: Cell = serde_json::from_value(serde_json::json!({
            "id": "a", "variant": "a", "label": "a", "engine": "e", "concurrency": 1, "levels": {}, "settings": {}, "trials": 1,
        }))
        .unwrap();
        cell.settings.extend(settings.map(|(name, level)| (name.to_owned(), level)));
        GuestSettings::from_cell(&cell).unwrap()
    }

    #[test]
    fn message_for_a_small_pool_names_the_command_that_enlarges_it() {
        let pool = tempfile::tempdir().unwrap();
        fs::write(pool.path().join("free_hugepages"), "100\n").unwrap();
        let why = |memory, huge, vms| why_unavailable_in(&guest(memory, huge), vms, pool.path());
        assert_eq!(why(512, false, 9), None);
        assert_eq!(why(128, true, 1), None);
        assert!(
            why(128, true, 2).is_some_and(|why| why.contains("128 pages of 2 MiB") && why.contains("nr_hugepages=128"))
        );
        assert!(why(129, true, 1).is_some_and(|why| why.contains("129 MiB")));
        let none = why_unavailable_in(&guest(128, true), 1, Path::new("/no/pool"));
        assert!(none.is_some_and(|why| why.contains("no pool")));
    }
}
