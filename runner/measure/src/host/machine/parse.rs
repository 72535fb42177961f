//! Text of /proc and /sys to values. What a text does not hold is `None`.

use serde::{Deserialize, Serialize};

/// What /proc/cpuinfo says of its first processor.
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
    /// The flag `hypervisor`: the machine is itself a guest.
    pub virtualised: Option<bool>,
}

/// The first processor of /proc/cpuinfo.
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

/// The field `name` of /proc/meminfo: bytes, or a number where it has no unit.
#[must_use]
pub fn meminfo(text: &str, name: &str) -> Option<u64> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let value = fields.find(|(key, _)| key.trim() == name)?.1;
    let mut words = value.split_whitespace();
    let number: u64 = words.next()?.parse().ok()?;
    if words.next() == Some("kB") { number.checked_mul(1024) } else { Some(number) }
}

/// The word in brackets: `always [madvise] never`.
#[must_use]
pub fn chosen(text: &str) -> Option<String> {
    Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())
}

/// How many numbers a list such as `0-3,8` names.
#[must_use]
pub fn count(list: &str) -> Option<u32> {
    let ranges = list.trim().split(',').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    });
    ranges.sum()
}

/// One line of the table of mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub target: String,
    /// Type of the file system.
    pub kind: String,
    /// Options, with commas between them.
    pub options: String,
}

impl Mount {
    /// True when `option` is among the options.
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|word| word == option)
    }
}

/// /proc/mounts.
#[must_use]
pub fn mounts(text: &str) -> Vec<Mount> {
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1).map(str::to_owned);
        Some(Mount { target: fields.next()?.replace("\\040", " "), kind: fields.next()?, options: fields.next()? })
    });
    lines.collect()
}

/// The type of the file system that holds the absolute `path`.
#[must_use]
pub fn file_system(mounts: &[Mount], path: &std::path::Path) -> Option<String> {
    // Of two mounts on one place the later one lies on top.
    let above = mounts.iter().filter(|mount| path.starts_with(&mount.target));
    above.max_by_key(|mount| mount.target.trim_end_matches('/').len()).map(|mount| mount.kind.clone())
}

/// The version of the control groups that have the controllers.
#[must_use]
pub fn cgroup_version(mounts: &[Mount]) -> Option<u32> {
    let any = |kind: &str| mounts.iter().any(|mount| mount.kind == kind);
    if any("cgroup") { Some(1) } else { any("cgroup2").then_some(2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpuinfo_is_that_of_the_first_processor_and_what_it_lacks_is_unknown() {
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
    fn meminfo_is_in_bytes_where_it_has_a_unit() {
        let text = "MemTotal:       32768 kB\nHugePages_Total:      12\nOdd: x kB\n";
        assert_eq!(meminfo(text, "MemTotal"), Some(32 << 20));
        assert_eq!(meminfo(text, "HugePages_Total"), Some(12));
        assert_eq!((meminfo(text, "Odd"), meminfo(text, "None")), (None, None));
    }

    #[test]
    fn lists_and_choices() {
        assert_eq!((count("0-3,8\n"), count("0"), count(""), count("3-1")), (Some(5), Some(1), None, None));
        assert_eq!(chosen("always [madvise] never\n").as_deref(), Some("madvise"));
        assert_eq!(chosen("never"), None);
    }

    #[test]
    fn a_path_is_on_the_deepest_and_latest_mount_above_it() {
        let table = "/dev/a / ext4 rw 0 0\n/dev/b /data xfs rw,noatime 0 0\ntmpfs /data tmpfs rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,favordynmods 0 0\ntorn /x";
        let mounts = mounts(table);
        let of = |path: &str| file_system(&mounts, path.as_ref());
        assert_eq!(of("/data/runs").as_deref(), Some("tmpfs"));
        assert_eq!(of("/database").as_deref(), Some("ext4"));
        assert_eq!(cgroup_version(&mounts), Some(2));
        assert!(mounts[3].has("favordynmods") && !mounts[3].has("favor"));
        assert_eq!(cgroup_version(&[]), None);
    }
}
