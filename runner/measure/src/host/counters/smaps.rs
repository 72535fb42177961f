//! Memory of a VMM's processes, read from `/proc/PID/smaps`: guest memory, and the VMM's overhead.
//!
//! The method is that of Firecracker's tests (`tests/host_tools/memory.py` and `test_memory_overhead.py` of v1.12). A
//! mapping is guest memory if it is as large as the guest's memory, or as a part into which the gap below 4 GiB splits
//! it. All other mappings are overhead. Unlike in those tests, it is an error if no mapping or several mappings have
//! that size: overhead must not include guest memory.
//!
//! The proportional set size (PSS), which Kata's tests use (`metrics/density/memory_usage.sh`), divides a shared page
//! among the processes that map it. The PSS of all processes therefore adds up. The resident set size (RSS) counts the
//! whole page for each process.

use std::fs;
use std::ops::{Add, Range};

use crate::sys::processes;

/// Size of guest memory below the gap, if a guest has more: of Firecracker since 1.13 and QEMU's microvm machine; of
/// Firecracker before 1.13.
const BELOW_GAP: [u64; 2] = [3 << 30, 3328 << 20];
/// Most processes of a VMM, including descendants.
const MOST_PROCESSES: usize = 64;

/// Resident memory, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resident {
    /// Proportional set size.
    pub pss: u64,
    /// Resident set size.
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
    /// Guest memory that has been touched.
    pub guest: Resident,
    /// All other memory: the VMM's program, libraries, heap, stacks and mapped files.
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

/// The memory of process `pid` and its descendants, whose guest has `guest_bytes` of memory.
///
/// # Errors
/// The reason in one line: /proc cannot be read, or the guest memory cannot be identified.
pub fn read_process_memory(pid: u32, guest_bytes: u64) -> Result<Memory, String> {
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
    parse_process_memory(&texts, guest_bytes)
}

/// The memory of the processes whose `smaps` are given and whose guest has `guest_bytes` of memory. At least one
/// process must map the guest's memory.
///
/// # Errors
/// The reason in one line: a text cannot be parsed, or the guest memory cannot be identified.
pub fn parse_process_memory(smaps: &[&str], guest_bytes: u64) -> Result<Memory, String> {
    let (mut memory, mut found) = (Memory::default(), false);
    for text in smaps {
        let mappings = parse_mappings(text)?;
        let guests = find_guest_memory(&mappings, guest_bytes)?;
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

/// Parses the mappings of a `smaps` file (proc_pid_smaps(5)).
fn parse_mappings(smaps: &str) -> Result<Vec<Mapping>, String> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let (Some(first), second) = (words.next(), words.next().unwrap_or_default()) else { continue };
        let Some(name) = first.strip_suffix(':') else {
            let addresses = parse_range(first).ok_or_else(|| format!("cannot parse this line of smaps: {line:.80}"))?;
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
        *sum = second.parse::<u64>().map_err(|_| format!("cannot parse this line of smaps: {line:.80}"))? * 1024;
    }
    Ok(mappings)
}

/// Parses an address range such as `7f00-8000` (hexadecimal); `None` if it is empty or malformed.
fn parse_range(text: &str) -> Option<Range<u64>> {
    let (start, end) = text.split_once('-')?;
    let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).ok());
    Some(start?..end?).filter(|range| range.start < range.end)
}

/// Indices of the mappings that are the guest's memory; empty if it is not mapped.
fn find_guest_memory(mappings: &[Mapping], bytes: u64) -> Result<Vec<usize>, String> {
    let splits = BELOW_GAP.into_iter().filter(|below| bytes > *below).map(|below| vec![below, bytes - below]);
    for parts in std::iter::once(vec![bytes]).chain(splits) {
        let found: Result<Vec<Option<usize>>, String> =
            parts.iter().map(|part| find_writable(mappings, *part)).collect();
        if let Some(found) = found?.into_iter().collect() {
            return Ok(found);
        }
    }
    Ok(find_adjacent(mappings, bytes))
}

/// Index of the writable mapping of this size; `None` if no mapping has the size.
///
/// # Errors
/// If several mappings have the size.
fn find_writable(mappings: &[Mapping], bytes: u64) -> Result<Option<usize>, String> {
    let is = |(_, mapping): &(usize, &Mapping)| mapping.writable && mapping.size() == bytes;
    let found: Vec<usize> = mappings.iter().enumerate().filter(is).map(|(at, _)| at).collect();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        several => Err(format!(
            "{} mappings of the VMM have the size of the guest's memory, {} MiB: cannot identify the guest's memory",
            several.len(),
            bytes >> 20
        )),
    }
}

/// Indices of adjacent writable mappings that form a region of this size; empty if no region has it. The kernel splits
/// a region if its parts have, for example, different advice (`madvise(2)`).
fn find_adjacent(mappings: &[Mapping], bytes: u64) -> Vec<usize> {
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

    /// Firecracker 1.12.1 with a guest of 128 MiB that has touched part of its memory.
    const FIRECRACKER: &str = include_str!("samples/firecracker.smaps");
    /// The microvm machine of QEMU 7.2 with the same guest, without the mappings of QEMU's libraries.
    const QEMU: &str = include_str!("samples/qemu.smaps");

    const MIB: u64 = 1 << 20;

    fn kib(pss: u64, rss: u64) -> Resident {
        Resident { pss: pss * 1024, rss: rss * 1024 }
    }

    /// The expected sums were computed by awk.
    #[test]
    fn guest_memory_and_overhead_are_separated() {
        let firecracker = Memory { guest: kib(15_224, 15_224), overhead: kib(2_088, 2_092) };
        assert_eq!(parse_process_memory(&[FIRECRACKER], 128 * MIB), Ok(firecracker));
        let qemu = Memory { guest: kib(22_528, 22_528), overhead: kib(31_068, 31_072) };
        assert_eq!(parse_process_memory(&[QEMU], 128 * MIB), Ok(qemu));
        // The memory of both processes is added up, whether the second one maps the guest's memory or not.
        let both = parse_process_memory(&[QEMU, FIRECRACKER], 128 * MIB).unwrap();
        assert_eq!(both.guest, qemu.guest + firecracker.guest);
        assert_eq!(both.overhead, qemu.overhead + firecracker.overhead);
    }

    #[test]
    fn guest_memory_that_is_not_found_is_an_error() {
        let none = parse_process_memory(&[FIRECRACKER], 256 * MIB).unwrap_err();
        assert_eq!(none, "no mapping of the VMM has the size of the guest's memory, 256 MiB");
        let two = text(&[(0, 128 * MIB), (512 * MIB, 640 * MIB)]);
        assert!(
            parse_process_memory(&[&two], 128 * MIB).unwrap_err().starts_with("2 mappings of the VMM have the size")
        );
        assert!(parse_process_memory(&["what is this\n"], MIB).unwrap_err().contains("cannot parse this line"));
        assert!(
            parse_process_memory(&["1000-2000 rw-p\nRss: many kB\n"], MIB)
                .unwrap_err()
                .contains("cannot parse this line")
        );
    }

    fn text(ranges: &[(u64, u64)]) -> String {
        ranges.iter().map(|(start, end)| format!("{start:x}-{end:x} rw-p 0 00:00 0\nRss: 8 kB\nPss: 4 kB\n")).collect()
    }

    #[test]
    fn guest_memory_in_parts_is_found() {
        for below in BELOW_GAP {
            let parts = text(&[(0, 4096), (1 << 40, (1 << 40) + below), (1 << 41, (1 << 41) + 4096 * MIB - below)]);
            let found = parse_process_memory(&[&parts], 4096 * MIB).unwrap();
            assert_eq!(found, Memory { guest: kib(8, 16), overhead: kib(4, 8) }, "{below}");
        }
        let run = text(&[(0, 4096), (64 * MIB, 96 * MIB), (96 * MIB, 192 * MIB), (256 * MIB, 257 * MIB)]);
        assert_eq!(parse_process_memory(&[&run], 128 * MIB).unwrap().guest, kib(8, 16));
        // Part of a larger region is not the guest's memory, even if it has the right size.
        let larger = text(&[(64 * MIB, 96 * MIB), (96 * MIB, 192 * MIB), (192 * MIB, 193 * MIB)]);
        assert!(parse_process_memory(&[&larger], 128 * MIB).is_err());
        let gap = text(&[(64 * MIB, 96 * MIB), (97 * MIB, 193 * MIB)]);
        assert!(parse_process_memory(&[&gap], 128 * MIB).is_err());
    }

    #[test]
    fn this_process_has_no_guest_memory() {
        assert!(read_process_memory(std::process::id(), 1 << 46).unwrap_err().contains("no mapping of the VMM"));
        assert!(read_process_memory(u32::MAX, MIB).unwrap_err().contains("cannot be read"));
    }
}
