//! Which direction of a metric is the better one: the table of readings, and what follows from a metric's source.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::record::{Metric, MetricSource};

/// The better direction of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// A lower value is better: times, memory, counts of work.
    Lower,
    /// A higher value is better: throughput, rates, the share of VMs that completed.
    Higher,
    /// Neither is: the value describes the VM. A difference is reported and never called better or worse.
    Neither,
}

impl Better {
    /// Every direction.
    pub const ALL: [Self; 3] = [Self::Lower, Self::Higher, Self::Neither];

    /// As manifests, plans and tables write it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Lower => "lower",
            Self::Higher => "higher",
            Self::Neither => "neither",
        }
    }

    /// What it says of a metric, for a list of words.
    #[must_use]
    pub fn doc(self) -> &'static str {
        match self {
            Self::Lower => "a lower value is better",
            Self::Higher => "a higher value is better",
            Self::Neither => "a difference is neither better nor worse, and never fails a gate",
        }
    }

    /// The direction of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|better| better.text() == name)
    }

    /// The direction of a metric of this source and unit where nothing else says it: a span is better when lower, a
    /// reading as [`of_reading`] says. Runs that were imported before plans had the direction have lost their source:
    /// there the unit decides.
    #[must_use]
    pub fn of_source(source: &MetricSource, unit: &str) -> Self {
        match source {
            MetricSource::Span { .. } => Self::Lower,
            MetricSource::Reading(name) if name.starts_with(IMPORTED) => match unit {
                "ms" => Self::Lower,
                "MB/s" | "1/s" => Self::Higher,
                _ => Self::Neither,
            },
            MetricSource::Reading(name) => of_reading(name),
        }
    }
}

impl fmt::Display for Better {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

impl Metric {
    /// Its better direction: the plan's, or what follows from its source where a plan of an earlier version has none.
    #[must_use]
    pub fn direction(&self) -> Better {
        self.better.unwrap_or_else(|| Better::of_source(&self.source, &self.unit))
    }
}

/// The better direction of a reading: that of [`READINGS`], of work that of its value, and [`Better::Neither`] of any
/// other.
#[must_use]
pub fn of_reading(name: &str) -> Better {
    let of =
        |table: &[(&str, Better)], name: &str| table.iter().find(|(own, _)| *own == name).map(|(_, better)| *better);
    let of_work = || of(WORK_VALUES, name.strip_prefix("work.")?.rsplit_once('.')?.1);
    of(READINGS, name).or_else(of_work).unwrap_or(Neither)
}

/// What the reading of an imported metric begins with.
pub const IMPORTED: &str = "imported.";

use Better::{Higher, Lower, Neither};

/// Every reading but those of work, each with its better direction.
pub const READINGS: &[(&str, Better)] = &[
    ("kernel.init", Lower),
    ("kernel.last_message", Lower),
    ("kernel.random_seeded", Lower),
    ("kernel.random_fast_init", Lower),
    ("kernel.messages", Neither),
    ("guest.uptime", Neither),
    ("guest.cpus", Neither),
    ("guest.memory", Neither),
    ("guest.words_missing", Lower),
    ("guest.words_added", Neither),
    ("vmm.peak_rss", Lower),
    ("vmm.memory_overhead_pss", Lower),
    ("vmm.memory_overhead_rss", Lower),
    ("vmm.guest_memory_rss", Lower),
    ("vmm.memory_pss", Lower),
    ("vmm.memory_overhead_pss.end", Lower),
    ("vmm.memory_overhead_rss.end", Lower),
    ("vmm.guest_memory_rss.end", Lower),
    ("vmm.memory_pss.end", Lower),
    ("host.memory_used", Lower),
    ("vmm.cpu_time", Lower),
    ("vmm.cpu_time.user", Lower),
    ("vmm.cpu_time.system", Lower),
    ("vmm.minor_faults", Lower),
    ("vmm.major_faults", Lower),
    ("vmm.voluntary_switches", Lower),
    ("vmm.involuntary_switches", Lower),
    ("vmm.system_calls", Lower),
    ("vmm.kvm_exits", Lower),
    ("vmm.kvm_exits.io", Lower),
    ("vmm.kvm_exits.mmio", Lower),
    ("vmm.kvm_exits.halt", Lower),
    ("vmm.kvm_exits.irq", Lower),
    ("vmm.kvm_exits.irq_window", Lower),
    ("vmm.kvm_exits.signal", Lower),
    ("vmm.kvm_exits.request_irq", Lower),
    ("vmm.kvm_exits.hypercalls", Lower),
    ("vmm.kvm_exits.instruction_emulation", Lower),
    ("vmm.kvm_exits.page_fault", Lower),
    ("vmm.user", Neither),
    ("vmm.capabilities", Neither),
    ("vmm.seccomp", Neither),
    ("vmm.no_new_privileges", Neither),
    ("vmm.own_root", Neither),
    ("vmm.own_namespaces", Neither),
    ("host.cached", Neither),
    ("probe.attempts", Neither),
    ("probe.gap", Lower),
    ("probe.witness", Lower),
    ("probe.cpu_time", Lower),
    ("runner.cpu_time", Lower),
    ("runner.vm_cpu_time", Lower),
    ("vm.completed", Higher),
];

/// The values of work (`work.METRIC.VALUE`), each with its better direction.
pub const WORK_VALUES: &[(&str, Better)] = &[
    ("duration", Lower),
    ("throughput", Higher),
    ("rate", Higher),
    ("p50", Lower),
    ("p99", Lower),
    ("sha_ni", Neither),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_readings_direction_is_by_its_name_and_that_of_work_by_its_value() {
        assert_eq!(of_reading("kernel.init"), Lower);
        assert_eq!(of_reading("vm.completed"), Higher);
        assert_eq!(of_reading("work.any.name.throughput"), Higher);
        assert_eq!(of_reading("work.hashing.duration"), Lower);
        assert_eq!((of_reading("unknown"), of_reading("work.x.unknown")), (Neither, Neither));
    }

    #[test]
    fn a_plan_without_the_direction_takes_it_from_the_source() {
        let of = |source: &str| {
            let json =
                format!(r#"{{"name": "m", "label": "M", "definition": "", "unit": "MB/s", "source": {source}}}"#);
            let metric: Metric = serde_json::from_str(&json).unwrap();
            // What was read is written again as it was: the plan's digest must not change.
            assert!(!serde_json::to_string(&metric).unwrap().contains("better"));
            metric.direction()
        };
        assert_eq!(of(r#"{"span": {"from": "spawn", "to": "exit"}}"#), Lower);
        assert_eq!(of(r#"{"reading": "work.m.throughput"}"#), Higher);
        assert_eq!(of(r#"{"reading": "imported.m"}"#), Higher);
        assert_eq!(of(r#"{"reading": "kernel.messages"}"#), Neither);
    }
}
