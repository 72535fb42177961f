//! Facts about a machine that affect measurements. A fact that cannot be read is `null`, never a guess.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::parse::{self, CpuInfo};
use super::tree::{MOUNTS, Tree};

const CPUS: &str = "/sys/devices/system/cpu";

/// Facts about a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub cpu: Cpu,
    /// Frequencies and idle states.
    pub power: Power,
    pub kernel: Kernel,
    /// `None` if no KVM module is loaded.
    pub kvm: Option<Kvm>,
    pub memory: Memory,
    /// Version of the control group hierarchy that has the controllers: 1 or 2.
    pub cgroup_version: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// The first processor of /proc/cpuinfo.
    #[serde(flatten)]
    pub processor: CpuInfo,
    /// Number of online logical CPUs.
    pub online: Option<u32>,
    /// Whether two threads of one core are in use.
    pub smt_active: Option<bool>,
    /// Content of `smt/control`: `on`, `off`, `forceoff`, `notsupported`, `notimplemented`.
    pub smt_control: Option<String>,
    pub numa_nodes: Option<u32>,
    /// The kernel's mitigation of each vulnerability.
    pub mitigations: BTreeMap<String, String>,
}

/// Frequencies and idle states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Power {
    /// The cpufreq driver.
    pub driver: Option<String>,
    /// The governors in use, without duplicates.
    pub governors: Option<Vec<String>>,
    /// Whether frequencies above the nominal one are allowed.
    pub turbo: Option<bool>,
    /// The cpuidle driver.
    pub idle_driver: Option<String>,
    /// The idle states of the first CPU.
    pub idle_states: Option<Vec<IdleState>>,
}

/// A CPU idle state (C-state).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdleState {
    /// For example `C6`.
    pub name: Option<String>,
    /// Exit latency, microseconds.
    pub latency_us: Option<u64>,
    pub disabled: Option<bool>,
}

/// The host's kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// For example `6.1.0-28-amd64`.
    pub release: Option<String>,
    /// Content of /proc/version, with compiler and build time.
    pub version: Option<String>,
    pub command_line: Option<String>,
}

/// KVM's modules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kvm {
    /// The vendor module: `kvm_intel` or `kvm_amd`.
    pub module: Option<String>,
    /// Readable parameters by `MODULE.PARAMETER`.
    pub parameters: BTreeMap<String, String>,
    /// Whether nested virtualisation is enabled.
    pub nested: Option<bool>,
}

/// Memory of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    pub total_bytes: Option<u64>,
    /// `MemAvailable`: memory available without swapping, bytes.
    pub available_bytes: Option<u64>,
    /// Number of huge pages in the default pool.
    pub huge_pages: Option<u64>,
    /// Size of a huge page of the default pool, bytes.
    pub huge_page_bytes: Option<u64>,
    /// Mode of transparent huge pages: `always`, `madvise`, `never`.
    pub transparent_huge_pages: Option<String>,
    /// State of kernel same-page merging: 0 off, 1 on, 2 off and unmerged.
    pub ksm_run: Option<u64>,
    pub swap_total_bytes: Option<u64>,
    pub swap_used_bytes: Option<u64>,
}

impl Facts {
    /// Reads the facts about the machine of `tree`.
    ///
    /// ```
    /// use microbench_measure::host::machine::{facts::Facts, tree::Tree};
    ///
    /// let facts = Facts::read(&Tree::machine());
    /// println!("{:?} online CPUs, governors {:?}", facts.cpu.online, facts.power.governors);
    /// ```
    #[must_use]
    pub fn read(tree: &Tree) -> Self {
        let mounts = tree.read(MOUNTS).map(|text| parse::mounts(&text));
        Self {
            cpu: cpu(tree),
            power: power(tree),
            kernel: Kernel {
                release: tree.read_trimmed("/proc/sys/kernel/osrelease"),
                version: tree.read_trimmed("/proc/version"),
                command_line: tree.read_trimmed("/proc/cmdline"),
            },
            kvm: kvm(tree),
            memory: memory(tree),
            cgroup_version: mounts.as_deref().and_then(parse::cgroup_version),
        }
    }
}

fn cpu(tree: &Tree) -> Cpu {
    let text = tree.read("/proc/cpuinfo").unwrap_or_default();
    let vulnerabilities = format!("{CPUS}/vulnerabilities");
    let mitigation = |name: String| Some((name.clone(), tree.read_trimmed(&format!("{vulnerabilities}/{name}"))?));
    let nodes = u32::try_from(tree.list_numbered("/sys/devices/system/node", "node").len()).ok();
    Cpu {
        processor: parse::cpuinfo(&text),
        online: tree.read(&format!("{CPUS}/online")).and_then(|list| parse::count_listed(&list)),
        smt_active: tree.read_switch(&format!("{CPUS}/smt/active")),
        smt_control: tree.read_trimmed(&format!("{CPUS}/smt/control")),
        numa_nodes: nodes.filter(|nodes| *nodes > 0),
        mitigations: tree.list_folder(&vulnerabilities).into_iter().filter_map(mitigation).collect(),
    }
}

fn power(tree: &Tree) -> Power {
    let cpus = tree.list_numbered(CPUS, "cpu");
    let mut governors: Vec<String> =
        cpus.iter().filter_map(|cpu| tree.read_trimmed(&format!("{CPUS}/{cpu}/cpufreq/scaling_governor"))).collect();
    governors.sort();
    governors.dedup();
    let first = cpus.first().map(|cpu| format!("{CPUS}/{cpu}"));
    let in_first = |name: &str| first.as_ref().map(|first| format!("{first}/{name}"));
    let states = in_first("cpuidle").map(|folder| {
        let state = |name: &String| IdleState {
            name: tree.read_trimmed(&format!("{folder}/{name}/name")),
            latency_us: tree.read_number(&format!("{folder}/{name}/latency")),
            disabled: tree.read_switch(&format!("{folder}/{name}/disable")),
        };
        tree.list_numbered(&folder, "state").iter().map(state).collect::<Vec<_>>()
    });
    let no_turbo = tree.read_switch(&format!("{CPUS}/intel_pstate/no_turbo"));
    Power {
        driver: in_first("cpufreq/scaling_driver").and_then(|path| tree.read_trimmed(&path)),
        governors: Some(governors).filter(|governors| !governors.is_empty()),
        turbo: no_turbo.map(|off| !off).or_else(|| tree.read_switch(&format!("{CPUS}/cpufreq/boost"))),
        idle_driver: tree.read_trimmed(&format!("{CPUS}/cpuidle/current_driver")),
        idle_states: states.filter(|states| !states.is_empty()),
    }
}

fn kvm(tree: &Tree) -> Option<Kvm> {
    let modules: Vec<String> =
        tree.list_folder("/sys/module").into_iter().filter(|name| name == "kvm" || name.starts_with("kvm_")).collect();
    let mut parameters = BTreeMap::new();
    for module in &modules {
        let folder = format!("/sys/module/{module}/parameters");
        for name in tree.list_folder(&folder) {
            if let Some(value) = tree.read_trimmed(&format!("{folder}/{name}")) {
                parameters.insert(format!("{module}.{name}"), value);
            }
        }
    }
    let module = modules.iter().find(|name| *name != "kvm").cloned();
    let nested =
        module.as_ref().and_then(|module| tree.read_switch(&format!("/sys/module/{module}/parameters/nested")));
    (!modules.is_empty()).then_some(Kvm { module, parameters, nested })
}

fn memory(tree: &Tree) -> Memory {
    let text = tree.read("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| parse::meminfo(&text, name);
    let swap = field("SwapTotal");
    Memory {
        total_bytes: field("MemTotal"),
        available_bytes: field("MemAvailable"),
        huge_pages: field("HugePages_Total"),
        huge_page_bytes: field("Hugepagesize"),
        transparent_huge_pages: tree
            .read("/sys/kernel/mm/transparent_hugepage/enabled")
            .and_then(|text| parse::bracketed_word(&text)),
        ksm_run: tree.read_number("/sys/kernel/mm/ksm/run"),
        swap_total_bytes: swap,
        swap_used_bytes: swap.zip(field("SwapFree")).and_then(|(total, free)| total.checked_sub(free)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn facts_are_read_from_the_tree_and_missing_files_are_none() {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("proc/cpuinfo", "model name\t: Test CPU\nflags\t: fpu\n"),
            ("proc/meminfo", "MemTotal: 1048576 kB\nSwapTotal: 2048 kB\nSwapFree: 1024 kB\n"),
            ("sys/devices/system/cpu/online", "0-1\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n"),
            ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n"),
            ("sys/devices/system/cpu/cpu0/cpuidle/state0/name", "POLL\n"),
            ("sys/devices/system/cpu/intel_pstate/no_turbo", "1\n"),
            ("sys/devices/system/cpu/vulnerabilities/meltdown", "Not affected\n"),
            ("sys/module/kvm/parameters/halt_poll_ns", "200000\n"),
            ("sys/module/kvm_intel/parameters/nested", "Y\n"),
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let facts = Facts::read(&Tree::new(folder.path()));
        assert_eq!(facts.cpu.processor.model_name.as_deref(), Some("Test CPU"));
        assert_eq!(
            (facts.cpu.online, facts.cpu.processor.virtualised, facts.cpu.smt_active),
            (Some(2), Some(false), None)
        );
        assert_eq!(facts.cpu.mitigations["meltdown"], "Not affected");
        assert_eq!(facts.power.governors, Some(vec!["powersave".to_owned()]));
        assert_eq!(facts.power.turbo, Some(false));
        assert_eq!(facts.power.idle_states.as_ref().map(Vec::len), Some(1));
        assert_eq!(facts.memory.swap_used_bytes, Some(1 << 20));
        let kvm = facts.kvm.unwrap();
        assert_eq!((kvm.module.as_deref(), kvm.nested), (Some("kvm_intel"), Some(true)));
        assert_eq!(kvm.parameters["kvm.halt_poll_ns"], "200000");
        let nothing = Facts::read(&Tree::new(&folder.path().join("none")));
        assert_eq!((nothing.kvm, nothing.cpu.online, nothing.memory.total_bytes), (None, None, None));
    }
}
