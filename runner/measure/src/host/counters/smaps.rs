//! What memory a VMM's processes have, off the kernel's `smaps`: the guest's apart from the VMM's own.
//!
//! The method is that of Firecracker's own tests (`tests/host_tools/memory.py` and `test_memory_overhead.py` of v1.12): every mapping
//! counts but those of which the size is that of the guest's memory, or of a part into which the gap below 4 GiB splits it. Unlike
//! there, a size that two mappings have, or none, is an error: a number that may be a guest's is no overhead. PSS, which Kata's
//! tests take (`metrics/density/memory_usage.sh`), divides a page among those who map it, so that the PSS of all processes adds up;
//! RSS counts it whole for each.

use std::fs;
use std::ops::{Add, Range};

use crate::sys::processes;

/// Guest memory below the gap where a guest has more: Firecracker since 1.13 and QEMU's microvm machine, and Firecracker before.
const BELOW_GAP: [u64; 2] = [3 << 30, 3328 << 20];
/// Most processes that are looked at: a VMM and what it started.
const MOST_PROCESSES: usize = 64;

/// Resident memory, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resident {
    /// Each page divided by the number of those who map it.
    pub pss: u64,
    /// Each page whole.
    pub rss: u64,
}

impl Add for Resident {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { pss: self.pss + other.pss, rss: self.rss + other.rss }
    }
}

/// A VMM's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What the guest has touched of its memory.
    pub guest: Resident,
    /// Everything else: the VMM's program, libraries, heap, stacks, and files that it maps.
    pub overhead: Resident,
}

/// One mapping of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mapping {
    addresses: Range<u64>,
    writable: bool,
    resident: Resident,
}

impl Mapping {
    fn size(&self) -> u64 {
        self.addresses.end - self.addresses.start
    }
}

/// The memory of process `pid` and of its descendants, whose guest has `guest_bytes`.
///
/// # Errors
/// Why it cannot be had, in one line.
pub fn of_process(pid: u32, guest_bytes: u64) -> Result<Memory, String> {
    let mut pids = vec![pid];
    pids.extend(processes::descendants(pid));
    if pids.len() > MOST_PROCESSES {
        return Err(format!("the VMM has more than {MOST_PROCESSES} processes"));
    }
    let text = |pid: u32| {
        let path = format!("/proc/{pid}/smaps");
        fs::read_to_string(&path).map_err(|error| format!("{path} cannot be read: {error}"))
    };
    let texts = pids.into_iter().map(text).collect::<Result<Vec<String>, String>>()?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    of_texts(&texts, guest_bytes)
}

/// The memory of processes with these `smaps`, whose guest has `guest_bytes`. One of them at least must map the guest's memory.
///
/// # Errors
/// Why it cannot be had, in one line.
pub fn of_texts(smaps: &[&str], guest_bytes: u64) -> Result<Memory, String> {
    let (mut memory, mut found) = (Memory::default(), false);
    for text in smaps {
        let mappings = mappings(text)?;
        let guests = guest(&mappings, guest_bytes)?;
        found |= !guests.is_empty();
        for (at, mapping) in mappings.iter().enumerate() {
            let sum = if guests.contains(&at) { &mut memory.guest } else { &mut memory.overhead };
            *sum = *sum + mapping.resident;
        }
    }
    if found {
        return Ok(memory);
    }
    Err(format!("no mapping of the VMM has the size of the guest's memory, {} MiB", guest_bytes >> 20))
}

/// The mappings of a text of `smaps` (proc_pid_smaps(5)).
fn mappings(smaps: &str) -> Result<Vec<Mapping>, String> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let (Some(first), second) = (words.next(), words.next().unwrap_or_default()) else { continue };
        let Some(name) = first.strip_suffix(':') else {
            let addresses = addresses(first).ok_or_else(|| format!("no line of smaps: {line:.80}"))?;
            let writable = second.as_bytes().get(1) == Some(&b'w');
            mappings.push(Mapping { addresses, writable, resident: Resident::default() });
            continue;
        };
        let Some(mapping) = mappings.last_mut() else { continue };
        let sum = match name {
            "Rss" => &mut mapping.resident.rss,
            "Pss" => &mut mapping.resident.pss,
            _ => continue,
        };
        *sum = second.parse::<u64>().map_err(|_| format!("no line of smaps: {line:.80}"))? * 1024;
    }
    Ok(mappings)
}

/// `7f00-8000`, hexadecimal, the end after the begin.
fn addresses(text: &str) -> Option<Range<u64>> {
    let (start, end) = text.split_once('-')?;
    let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).ok());
    Some(start?..end?).filter(|range| range.start < range.end)
}

/// Which mappings are the guest's memory; none where it is not mapped.
fn guest(mappings: &[Mapping], bytes: u64) -> Result<Vec<usize>, String> {
    let splits = BELOW_GAP.into_iter().filter(|below| bytes > *below).map(|below| vec![below, bytes - below]);
    for parts in std::iter::once(vec![bytes]).chain(splits) {
        let found: Result<Vec<Option<usize>>, String> = parts.iter().map(|part| of_size(mappings, *part)).collect();
        if let Some(found) = found?.into_iter().collect() {
            return Ok(found);
        }
    }
    Ok(run_of_size(mappings, bytes))
}

/// The one writable mapping of this size.
fn of_size(mappings: &[Mapping], bytes: u64) -> Result<Option<usize>, String> {
    let is = |(_, mapping): &(usize, &Mapping)| mapping.writable && mapping.size() == bytes;
    let found: Vec<usize> = mappings.iter().enumerate().filter(is).map(|(at, _)| at).collect();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        several => Err(format!(
            "{} mappings of the VMM have the size of the guest's memory, {} MiB: which one it is cannot be told",
            several.len(),
            bytes >> 20
        )),
    }
}

/// Writable mappings that follow one another without a gap, with a gap or something else on either side, and have this size together:
/// a region whose parts the kernel keeps apart, for instance because they were advised differently.
fn run_of_size(mappings: &[Mapping], bytes: u64) -> Vec<usize> {
    let places: Vec<usize> = (0..mappings.len()).collect();
    let one_region = |a: &usize, b: &usize| {
        let (a, b) = (&mappings[*a], &mappings[*b]);
        a.writable && b.writable && a.addresses.end == b.addresses.start
    };
    let size = |run: &&[usize]| run.iter().map(|at| mappings[*at].size()).sum::<u64>() == bytes;
    let several = |run: &&[usize]| run.len() > 1;
    places.chunk_by(one_region).filter(several).find(size).map_or_else(Vec::new, <[usize]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Firecracker 1.12.1 with a guest of 128 MiB, of which it has touched some.
    const FIRECRACKER: &str = include_str!("samples/firecracker.smaps");
    /// QEMU 7.2's microvm machine with the same; without the mappings of its libraries.
    const QEMU: &str = include_str!("samples/qemu.smaps");

    const MIB: u64 = 1 << 20;

    fn kib(pss: u64, rss: u64) -> Resident {
        Resident { pss: pss * 1024, rss: rss * 1024 }
    }

    /// The sums are awk's.
    #[test]
    fn the_guests_memory_is_told_from_its_vmms() {
        let firecracker = Memory { guest: kib(15_224, 15_224), overhead: kib(2_088, 2_092) };
        assert_eq!(of_texts(&[FIRECRACKER], 128 * MIB), Ok(firecracker));
        let qemu = Memory { guest: kib(22_528, 22_528), overhead: kib(31_068, 31_072) };
        assert_eq!(of_texts(&[QEMU], 128 * MIB), Ok(qemu));
        // A second process counts with the first, whether it maps the guest's memory or not.
        let both = of_texts(&[QEMU, FIRECRACKER], 128 * MIB).unwrap();
        assert_eq!(both.guest, qemu.guest + firecracker.guest);
        assert_eq!(both.overhead, qemu.overhead + firecracker.overhead);
    }

    #[test]
    fn a_guest_that_is_not_found_is_no_number() {
        let none = of_texts(&[FIRECRACKER], 256 * MIB).unwrap_err();
        assert_eq!(none, "no mapping of the VMM has the size of the guest's memory, 256 MiB");
        let two = text(&[(0, 128 * MIB), (512 * MIB, 640 * MIB)]);
        assert!(of_texts(&[&two], 128 * MIB).unwrap_err().starts_with("2 mappings of the VMM have the size"));
        assert!(of_texts(&["what is this\n"], MIB).unwrap_err().contains("no line of smaps"));
        assert!(of_texts(&["1000-2000 rw-p\nRss: many kB\n"], MIB).unwrap_err().contains("no line of smaps"));
    }

    fn text(ranges: &[(u64, u64)]) -> String {
        ranges.iter().map(|(start, end)| format!("{start:x}-{end:x} rw-p 0 00:00 0\nRss: 8 kB\nPss: 4 kB\n")).collect()
    }

    #[test]
    fn a_guest_in_parts_is_found() {
        for below in BELOW_GAP {
            let parts = text(&[(0, 4096), (1 << 40, (1 << 40) + below), (1 << 41, (1 << 41) + 4096 * MIB - below)]);
            let found = of_texts(&[&parts], 4096 * MIB).unwrap();
            assert_eq!(found, Memory { guest: kib(8, 16), overhead: kib(4, 8) }, "{below}");
        }
        let run = text(&[(0, 4096), (64 * MIB, 96 * MIB), (96 * MIB, 192 * MIB), (256 * MIB, 257 * MIB)]);
        assert_eq!(of_texts(&[&run], 128 * MIB).unwrap().guest, kib(8, 16));
        // Of a larger region a part that has the size by chance is none.
        let larger = text(&[(64 * MIB, 96 * MIB), (96 * MIB, 192 * MIB), (192 * MIB, 193 * MIB)]);
        assert!(of_texts(&[&larger], 128 * MIB).is_err());
        let gap = text(&[(64 * MIB, 96 * MIB), (97 * MIB, 193 * MIB)]);
        assert!(of_texts(&[&gap], 128 * MIB).is_err());
    }

    #[test]
    fn this_process_has_no_guest() {
        assert!(of_process(std::process::id(), 1 << 46).unwrap_err().contains("no mapping of the VMM"));
        assert!(of_process(u32::MAX, MIB).unwrap_err().contains("cannot be read"));
    }
}
