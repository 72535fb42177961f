//! The host's pool of huge pages: what a guest whose memory is in them takes of it.

use std::fs;
use std::path::Path;

use anyhow::Context;
use microbench_study::engine::guest_settings::GuestSettings;

/// Size of a huge page, MiB: x86-64's smaller one.
const PAGE_MIB: u64 = 2;
/// The pool of them.
const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";

/// Pages that one VM takes of the pool: none unless its setting `huge_pages` is true.
#[must_use]
pub fn of(guest: &GuestSettings) -> u64 {
    if guest.huge_pages { guest.memory_mib.div_ceil(PAGE_MIB) } else { 0 }
}

/// Why the pool cannot hold the first `vms` VMs with these settings, as a clause; `None` when it can.
#[must_use]
pub fn refusal(guest: &GuestSettings, vms: u64) -> Option<String> {
    refusal_of(guest, vms, Path::new(POOL))
}

fn refusal_of(guest: &GuestSettings, vms: u64, pool: &Path) -> Option<String> {
    let (pages, mib) = (of(guest), guest.memory_mib);
    if pages == 0 {
        return None;
    }
    if mib % PAGE_MIB != 0 {
        return Some(format!("{mib} MiB in huge pages of {PAGE_MIB} MiB"));
    }
    let free = fs::read_to_string(pool.join("free_hugepages")).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let needed = pages * vms;
    match free {
        None => Some("memory in huge pages, because its kernel has no pool of them".to_owned()),
        Some(free) if free < needed => Some(format!(
            "memory in huge pages: {needed} of {PAGE_MIB} MiB are needed, {free} are free in the pool (`sysctl vm.nr_hugepages={needed}` \
             makes it larger)"
        )),
        Some(_) => None,
    }
}

/// Makes the pool hold `pages`, no more: on a machine that is the run's own.
///
/// # Errors
/// When the kernel has no pool.
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
        GuestSettings::of(&cell).unwrap()
    }

    #[test]
    fn a_pool_that_is_too_small_is_said_to_be_with_what_makes_it_larger() {
        let pool = tempfile::tempdir().unwrap();
        fs::write(pool.path().join("free_hugepages"), "100\n").unwrap();
        let said = |memory, huge, vms| refusal_of(&guest(memory, huge), vms, pool.path());
        assert_eq!(said(512, false, 9), None);
        assert_eq!(said(128, true, 1), None);
        assert!(
            said(128, true, 2).is_some_and(|said| said.contains("128 of 2 MiB") && said.contains("nr_hugepages=128"))
        );
        assert!(said(129, true, 1).is_some_and(|said| said.contains("129 MiB")));
        let none = refusal_of(&guest(128, true), 1, Path::new("/no/pool"));
        assert!(none.is_some_and(|said| said.contains("no pool")));
    }
}
