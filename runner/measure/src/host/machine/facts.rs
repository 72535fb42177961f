//! What a machine is, as far as it bears on a measurement. What cannot be read is `null`, never a guess.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::parse::{self, CpuInfo};
use super::tree::{MOUNTS, Tree};

const CPUS: &str = "/sys/devices/system/cpu";

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Processors.
    pub cpu: Cpu,
    /// Frequencies and idle states.
    pub power: Power,
    /// The kernel.
    pub kernel: Kernel,
    /// KVM, where its module is there.
    pub kvm: Option<Kvm>,
    /// Memory.
    pub memory: Memory,
    /// Version of the control groups that have the controllers.
    pub cgroup_version: Option<u32>,
}

/// Processors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// What the processor says of itself.
    #[serde(flatten)]
    pub processor: CpuInfo,
    /// Logical CPUs on line.
    pub online: Option<u32>,
    /// Two threads of one core are in use.
    pub smt_active: Option<bool>,
    /// What `smt/control` says: `on`, `off`, `forceoff`, `notsupported`, `notimplemented`.
    pub smt_control: Option<String>,
    /// Nodes of memory.
    pub numa_nodes: Option<u32>,
    /// What the kernel does about each vulnerability.
    pub mitigations: BTreeMap<String, String>,
}

/// Frequencies and idle states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Power {
    /// The driver of the frequencies.
    pub driver: Option<String>,
    /// The governors in use, without repetition.
    pub governors: Option<Vec<String>>,
    /// Frequencies above the nominal one are allowed.
    pub turbo: Option<bool>,
    /// The driver of the idle states.
    pub idle_driver: Option<String>,
    /// The idle states of the first CPU.
    pub idle_states: Option<Vec<IdleState>>,
}

/// An idle state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdleState {
    /// Name, such as `C6`.
    pub name: Option<String>,
    /// Time to leave it, microseconds.
    pub latency_us: Option<u64>,
    /// It is not entered.
    pub disabled: Option<bool>,
}

/// The kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// Release, such as `6.1.0-28-amd64`.
    pub release: Option<String>,
    /// The whole version, with compiler and time of the build.
    pub version: Option<String>,
    /// Command line.
    pub command_line: Option<String>,
}

/// KVM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kvm {
    /// The module of the processor's kind: `kvm_intel`, `kvm_amd`.
    pub module: Option<String>,
    /// Parameters that can be read, as `MODULE.PARAMETER`.
    pub parameters: BTreeMap<String, String>,
    /// Guests may be hosts.
    pub nested: Option<bool>,
}

/// Memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// All of it, bytes.
    pub total_bytes: Option<u64>,
    /// What was to be had without swapping, bytes.
    pub available_bytes: Option<u64>,
    /// Number of huge pages set aside.
    pub huge_pages: Option<u64>,
    /// Size of one, bytes.
    pub huge_page_bytes: Option<u64>,
    /// Mode of transparent huge pages: `always`, `madvise`, `never`.
    pub transparent_huge_pages: Option<String>,
    /// State of the merging of equal pages: 0 off, 1 on, 2 off and unmerged.
    pub ksm_run: Option<u64>,
    /// Swap space, bytes.
    pub swap_total_bytes: Option<u64>,
    /// Swap space in use, bytes.
    pub swap_used_bytes: Option<u64>,
}

impl Facts {
    /// Reads the machine of `tree`.
    #[must_use]
    pub fn read(tree: &Tree) -> Self {
        let mounts = tree.read(MOUNTS).map(|text| parse::mounts(&text));
        Self {
            cpu: cpu(tree),
            power: power(tree),
            kernel: Kernel {
                release: tree.word("/proc/sys/kernel/osrelease"),
                version: tree.word("/proc/version"),
                command_line: tree.word("/proc/cmdline"),
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
    let mitigation = |name: String| Some((name.clone(), tree.word(&format!("{vulnerabilities}/{name}"))?));
    let nodes = u32::try_from(tree.numbered("/sys/devices/system/node", "node").len()).ok();
    Cpu {
        processor: parse::cpuinfo(&text),
        online: tree.read(&format!("{CPUS}/online")).and_then(|list| parse::count(&list)),
        smt_active: tree.switch(&format!("{CPUS}/smt/active")),
        smt_control: tree.word(&format!("{CPUS}/smt/control")),
        numa_nodes: nodes.filter(|nodes| *nodes > 0),
        mitigations: tree.names(&vulnerabilities).into_iter().filter_map(mitigation).collect(),
    }
}

fn power(tree: &Tree) -> Power {
    let cpus = tree.numbered(CPUS, "cpu");
    let mut governors: Vec<String> =
        cpus.iter().filter_map(|cpu| tree.word(&format!("{CPUS}/{cpu}/cpufreq/scaling_governor"))).collect();
    governors.sort();
    governors.dedup();
    let first = cpus.first().map(|cpu| format!("{CPUS}/{cpu}"));
    let in_first = |name: &str| first.as_ref().map(|first| format!("{first}/{name}"));
    let states = in_first("cpuidle").map(|folder| {
        let state = |name: &String| IdleState {
            name: tree.word(&format!("{folder}/{name}/name")),
            latency_us: tree.number(&format!("{folder}/{name}/latency")),
            disabled: tree.switch(&format!("{folder}/{name}/disable")),
        };
        tree.numbered(&folder, "state").iter().map(state).collect::<Vec<_>>()
    });
    let no_turbo = tree.switch(&format!("{CPUS}/intel_pstate/no_turbo"));
    Power {
        driver: in_first("cpufreq/scaling_driver").and_then(|path| tree.word(&path)),
        governors: Some(governors).filter(|governors| !governors.is_empty()),
        turbo: no_turbo.map(|off| !off).or_else(|| tree.switch(&format!("{CPUS}/cpufreq/boost"))),
        idle_driver: tree.word(&format!("{CPUS}/cpuidle/current_driver")),
        idle_states: states.filter(|states| !states.is_empty()),
    }
}

fn kvm(tree: &Tree) -> Option<Kvm> {
    let modules: Vec<String> =
        tree.names("/sys/module").into_iter().filter(|name| name == "kvm" || name.starts_with("kvm_")).collect();
    let mut parameters = BTreeMap::new();
    for module in &modules {
        let folder = format!("/sys/module/{module}/parameters");
        for name in tree.names(&folder) {
            if let Some(value) = tree.word(&format!("{folder}/{name}")) {
                parameters.insert(format!("{module}.{name}"), value);
            }
        }
    }
    let module = modules.iter().find(|name| *name != "kvm").cloned();
    let nested = module.as_ref().and_then(|module| tree.switch(&format!("/sys/module/{module}/parameters/nested")));
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
            .and_then(|text| parse::chosen(&text)),
        ksm_run: tree.number("/sys/kernel/mm/ksm/run"),
        swap_total_bytes: swap,
        swap_used_bytes: swap.zip(field("SwapFree")).and_then(|(total, free)| total.checked_sub(free)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn facts_are_read_off_the_tree_and_what_is_not_there_is_unknown() {
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
        let facts = Facts::read(&Tree::at(folder.path()));
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
        let nothing = Facts::read(&Tree::at(&folder.path().join("none")));
        assert_eq!((nothing.kvm, nothing.cpu.online, nothing.memory.total_bytes), (None, None, None));
    }
}
