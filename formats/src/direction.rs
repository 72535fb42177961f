//! The better direction of metrics and readings.

use serde::{Deserialize, Serialize};

/// The better direction of a metric.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Better {
    /// A lower value is better: durations, memory, numbers of operations.
    Lower,
    /// A higher value is better: throughput, rates, the share of VMs that completed.
    Higher,
    /// Neither direction is better: the value describes the VM. A difference is never reported as better or worse.
    Neither,
}

impl Better {
    /// A description for the list of the values that the manifest accepts.
    #[must_use]
    pub fn doc(self) -> &'static str {
        match self {
            Self::Lower => "a lower value is better",
            Self::Higher => "a higher value is better",
            Self::Neither => "a difference is neither better nor worse and never fails a gate",
        }
    }
}

/// The better direction of the reading `name`, by [`READINGS`] or [`WORKLOAD_VALUES`]; [`Better::Neither`] for an
/// unknown name.
///
/// ```
/// use microbench_formats::direction::{Better, of_reading};
///
///
/// assert_eq!(of_reading("workload.requests.rate"), Better::Higher);
/// assert_eq!(of_reading("unknown"), Better::Neither);
/// ```
#[must_use]
pub fn of_reading(name: &str) -> Better {
    let find =
        |table: &[(&str, Better)], name: &str| table.iter().find(|(own, _)| *own == name).map(|(_, better)| *better);
    let of_workload = || find(WORKLOAD_VALUES, name.strip_prefix("workload.")?.rsplit_once('.')?.1);
    find(READINGS, name).or_else(of_workload).unwrap_or(Better::Neither)
}

/// Prefix of the readings of imported metrics.
pub const IMPORTED: &str = "imported.";

/// All readings except those of workloads, each with its better direction.
pub const READINGS: &[(&str, Better)] = &[
    ("kernel.init", Better::Lower),
    ("kernel.last_message", Better::Lower),
    ("kernel.random_seeded", Better::Lower),
    ("kernel.random_fast_init", Better::Lower),
    ("kernel.messages", Better::Neither),
    ("guest.uptime", Better::Neither),
    ("guest.cpus", Better::Neither),
    ("guest.memory", Better::Neither),
    ("guest.parameters_missing", Better::Lower),
    ("guest.parameters_added", Better::Neither),
    ("vmm.peak_rss", Better::Lower),
    ("vmm.memory_overhead_pss", Better::Lower),
    ("vmm.memory_overhead_rss", Better::Lower),
    ("vmm.guest_memory_rss", Better::Lower),
    ("vmm.memory_pss", Better::Lower),
    ("vmm.memory_overhead_pss.end", Better::Lower),
    ("vmm.memory_overhead_rss.end", Better::Lower),
    ("vmm.guest_memory_rss.end", Better::Lower),
    ("vmm.memory_pss.end", Better::Lower),
    ("host.memory_used", Better::Lower),
    ("vmm.cpu_time", Better::Lower),
    ("vmm.cpu_time.user", Better::Lower),
    ("vmm.cpu_time.system", Better::Lower),
    ("vmm.minor_faults", Better::Lower),
    ("vmm.major_faults", Better::Lower),
    ("vmm.voluntary_switches", Better::Lower),
    ("vmm.involuntary_switches", Better::Lower),
    ("vmm.system_calls", Better::Lower),
    ("vmm.system_calls_counted", Better::Lower),
    ("guest.keyboard_polls", Better::Lower),
    ("vmm.kvm_exits", Better::Lower),
    ("vmm.kvm_exits.io", Better::Lower),
    ("vmm.kvm_exits.mmio", Better::Lower),
    ("vmm.kvm_exits.halt", Better::Lower),
    ("vmm.kvm_exits.irq", Better::Lower),
    ("vmm.kvm_exits.irq_window", Better::Lower),
    ("vmm.kvm_exits.signal", Better::Lower),
    ("vmm.kvm_exits.request_irq", Better::Lower),
    ("vmm.kvm_exits.hypercalls", Better::Lower),
    ("vmm.kvm_exits.instruction_emulation", Better::Lower),
    ("vmm.kvm_exits.page_fault", Better::Lower),
    ("vmm.user", Better::Neither),
    ("vmm.capabilities", Better::Neither),
    ("vmm.seccomp", Better::Neither),
    ("vmm.no_new_privileges", Better::Neither),
    ("vmm.own_root", Better::Neither),
    ("vmm.own_namespaces", Better::Neither),
    ("host.cached", Better::Neither),
    ("probe.attempts", Better::Neither),
    ("probe.gap", Better::Lower),
    ("probe.after_console_mark", Better::Lower),
    ("probe.cpu_time", Better::Lower),
    ("runner.cpu_time", Better::Lower),
    ("runner.window_cpu_time", Better::Lower),
    ("runner.startup_cpu_time", Better::Lower),
    ("runner.share", Better::Lower),
    ("runner.vm_cpu_time", Better::Lower),
    ("vm.completed", Better::Higher),
];

/// The values of workloads (`workload.METRIC.VALUE`), each with its better direction.
pub const WORKLOAD_VALUES: &[(&str, Better)] = &[
    ("duration", Better::Lower),
    ("throughput", Better::Higher),
    ("rate", Better::Higher),
    ("p50", Better::Lower),
    ("p99", Better::Lower),
    ("sha_ni", Better::Neither),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direction_of_a_workload_reading_depends_on_its_value() {
        assert_eq!(of_reading("kernel.init"), Better::Lower);
        assert_eq!(of_reading("vm.completed"), Better::Higher);
        assert_eq!(of_reading("workload.any.name.throughput"), Better::Higher);
        assert_eq!(of_reading("workload.hashing.duration"), Better::Lower);
        assert_eq!((of_reading("unknown"), of_reading("workload.x.unknown")), (Better::Neither, Better::Neither));
    }
}
