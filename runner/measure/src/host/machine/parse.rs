//! Parsers for files of /proc and /sys. A missing value is `None`.

use serde::{Deserialize, Serialize};

/// The first processor of /proc/cpuinfo.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuInfo {
    /// `vendor_id`, such as `GenuineIntel`.
    pub vendor: Option<String>,
    /// `cpu family`.
    pub family: Option<u32>,
    /// `model`.
    pub model: Option<u32>,
    /// `model name`.
    pub model_name: Option<String>,
    /// `stepping`.
    pub stepping: Option<u32>,
    /// `microcode`.
    pub microcode: Option<String>,
    /// The flag `hypervisor`: whether the machine is a guest.
    pub virtualised: Option<bool>,
}

#[must_use]
pub fn cpuinfo(text: &str) -> CpuInfo {
    let first = text.split("\n\n").next().unwrap_or_default();
    let field = |name: &str| {
        let mut fields = first.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
    };
    let number = |name: &str| field(name)?.parse().ok();
    CpuInfo {
        vendor: field("vendor_id"),
        family: number("cpu family"),
        model: number("model"),
        model_name: field("model name"),
        stepping: number("stepping"),
        microcode: field("microcode"),
        virtualised: field("flags").map(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor")),
    }
}

/// The field `name` of /proc/meminfo: bytes if it has the unit kB, else the number.
#[must_use]
pub fn meminfo(text: &str, name: &str) -> Option<u64> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let value = fields.find(|(key, _)| key.trim() == name)?.1;
    let mut words = value.split_whitespace();
    let number: u64 = words.next()?.parse().ok()?;
    if words.next() == Some("kB") { number.checked_mul(1024) } else { Some(number) }
}

/// The word in brackets: `madvise` of `always [madvise] never`.
#[must_use]
pub fn bracketed_word(text: &str) -> Option<String> {
    Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())
}

/// Count of the numbers in a list such as `0-3,8`, which has 5.
#[must_use]
pub fn count_listed(list: &str) -> Option<u32> {
    let ranges = list.trim().split(',').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    });
    ranges.sum()
}

/// A mount of /proc/mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub target: String,
    /// Type of the file system.
    pub kind: String,
    /// Options, separated by commas.
    pub options: String,
}

impl Mount {
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|word| word == option)
    }
}

/// Parses /proc/mounts. Incomplete lines are skipped.
#[must_use]
pub fn mounts(text: &str) -> Vec<Mount> {
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1).map(str::to_owned);
        Some(Mount { target: fields.next()?.replace("\\040", " "), kind: fields.next()?, options: fields.next()? })
    });
    lines.collect()
}

/// The type of the file system of the absolute `path`.
#[must_use]
pub fn file_system_type(mounts: &[Mount], path: &std::path::Path) -> Option<String> {
    // The later of two mounts on one mount point is on top; `max_by_key` returns the last maximum.
    let above = mounts.iter().filter(|mount| path.starts_with(&mount.target));
    above.max_by_key(|mount| mount.target.trim_end_matches('/').len()).map(|mount| mount.kind.clone())
}

/// Version of the control group hierarchy that has the controllers: 1 or 2; `None` if none is mounted.
#[must_use]
pub fn cgroup_version(mounts: &[Mount]) -> Option<u32> {
    let any = |kind: &str| mounts.iter().any(|mount| mount.kind == kind);
    if any("cgroup") { Some(1) } else { any("cgroup2").then_some(2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpuinfo_is_that_of_the_first_processor_and_missing_fields_are_none() {
        let text = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC 7313\n\
                    stepping\t: 1\nflags\t\t: fpu svm\n\nprocessor\t: 1\nmicrocode\t: 0xa0011d5\n";
        let info = cpuinfo(text);
        assert_eq!(info.model_name.as_deref(), Some("AMD EPYC 7313"));
        assert_eq!((info.family, info.model, info.stepping), (Some(25), Some(1), Some(1)));
        assert_eq!((info.microcode, info.virtualised), (None, Some(false)));
        assert_eq!(cpuinfo(""), CpuInfo::default());
        assert_eq!(cpuinfo("flags : fpu hypervisor\n").virtualised, Some(true));
    }

    #[test]
    fn meminfo_fields_with_a_unit_are_converted_to_bytes() {
        let text = "MemTotal:       32768 kB\nHugePages_Total:      12\nOdd: x kB\n";
        assert_eq!(meminfo(text, "MemTotal"), Some(32 << 20));
        assert_eq!(meminfo(text, "HugePages_Total"), Some(12));
        assert_eq!((meminfo(text, "Odd"), meminfo(text, "None")), (None, None));
    }

    #[test]
    fn numbers_of_lists_are_counted_and_bracketed_words_are_found() {
        assert_eq!(
            (count_listed("0-3,8\n"), count_listed("0"), count_listed(""), count_listed("3-1")),
            (Some(5), Some(1), None, None)
        );
        assert_eq!(bracketed_word("always [madvise] never\n").as_deref(), Some("madvise"));
        assert_eq!(bracketed_word("never"), None);
    }

    #[test]
    fn path_is_on_the_deepest_and_latest_mount_above_it() {
        let table = "/dev/a / ext4 rw 0 0\n/dev/b /data xfs rw,noatime 0 0\ntmpfs /data tmpfs rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,favordynmods 0 0\ntorn /x";
        let mounts = mounts(table);
        let of = |path: &str| file_system_type(&mounts, path.as_ref());
        assert_eq!(of("/data/runs").as_deref(), Some("tmpfs"));
        assert_eq!(of("/database").as_deref(), Some("ext4"));
        assert_eq!(cgroup_version(&mounts), Some(2));
        assert!(mounts[3].has("favordynmods") && !mounts[3].has("favor"));
        assert_eq!(cgroup_version(&[]), None);
    }
}
