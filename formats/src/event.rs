//! The names of events and readings: the one table that the runner writes by and that a manifest is checked against.
//!
//! An event is a named instant in one VM's life on the executing host's `CLOCK_MONOTONIC`. A reading is a value that the guest, its
//! kernel or the runner reports for one VM. Only the table of better directions
//! (`crate::direction`) spells the names of readings as well, which a test holds to this table.

/// One event: its name and what exactly happened at that instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventSpec {
    /// Name in the journal and in a metric's `from` and `to`.
    pub name: &'static str,
    /// The instant, as a noun phrase that completes "from ... to ...".
    pub doc: &'static str,
}

macro_rules! events {
    ($($id:ident = $name:literal, $doc:literal;)*) => {
        $(#[doc = concat!("`", $name, "`: ", $doc, ".")] pub const $id: &str = $name;)*

        /// Every event, in the order of a VM's life.
        pub const EVENTS: &[EventSpec] = &[$(EventSpec { name: $name, doc: $doc }),*];
    };
}

events! {
    CLONE_BEGIN = "clone.begin", "the start of the copy of the VM's disk";
    CLONE_END = "clone.end", "the end of the copy of the VM's disk";
    TAP_BEGIN = "tap.begin", "the start of the making of the VM's tap";
    TAP_END = "tap.end", "the end of that: the tap has its addresses and is up";
    SPAWN = "spawn", "the instant just before the VMM's process is forked";
    VMM_EXEC = "vmm.exec", "the return from the fork, when the VMM's program has taken the process over";
    API_READY = "api.ready", "the first connection that the VMM's control socket accepts";
    BOOT_REQUESTED = "boot.requested", "the request to the VMM to start the guest, or to load and resume it";
    GUEST_ENTERED = "guest.entered", "KVM's first entry into the guest (tracepoint `kvm_entry`)";
    BOOT_ACKNOWLEDGED = "boot.acknowledged", "the VMM's answer to the request to start the guest";
    KERNEL_MARKED = "kernel.marked", "the guest kernel's mark on an I/O port as its C code begins (tracepoint `kvm_pio`)";
    KERNEL_BEGIN = "kernel.begin", "the zero of the guest kernel's clock, derived from the guest's stamps";
    CONSOLE_FIRST = "console.first", "the first byte on the console, which is the guest's and the VMM's";
    INIT_MARKED = "init.marked", "the guest kernel's mark just before its hand-over to init";
    INIT_BEGIN = "init.begin", "the kernel's hand-over to init, derived from the guest's stamps";
    AGENT_MARKED = "agent.marked", "the agent's mark just after its `listen(2)`";
    AGENT_LISTENING = "agent.listening", "the return from the agent's `listen(2)`, derived from the guest's stamps";
    AGENT_READY = "agent.ready", "the guest agent's mark on the console";
    AGENT_READY_DATAGRAM = "agent.ready_datagram", "the arrival of the agent's datagram that it listens";
    HTTP_OK = "http.ok", "the first answer 200 of the guest's web service";
    STEADY_BEGIN = "steady.begin", "the instant from which on every VM of the trial had answered or failed, the same for all";
    STEADY_END = "steady.end", "the second request to the guest's web service, `hold_s` after `steady.begin`";
    STEADY_RESPONSE = "steady.response", "the answer to that request";
    WORKLOAD_BEGIN = "workload.begin", "the request for the work";
    WORKLOAD_END = "workload.end", "the answer to the request for the work";
    STOP_REQUESTED = "stop.requested", "the request to the guest to stop";
    STOP_ACKNOWLEDGED = "stop.acknowledged", "the guest's answer to the request to stop";
    GUEST_RESTART = "guest.restart", "the agent's mark on the console that it asks its kernel to restart";
    EXIT = "exit", "the end of the VMM's process";
}

/// The event of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static EventSpec> {
    EVENTS.iter().find(|event| event.name == name)
}

/// Position of an event in the order of a VM's life.
#[must_use]
pub fn rank(name: &str) -> Option<usize> {
    EVENTS.iter().position(|event| event.name == name)
}

/// Readings: values that are reported, not instants.
pub mod reading {
    use crate::direction;
    use crate::direction::Better;
    use crate::instrument::Instrument;

    /// One reading: its name, its unit in the journal and what it is.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ReadingSpec {
        /// Name in the journal and in a metric's `reading`.
        pub name: &'static str,
        /// Unit in the journal.
        pub unit: &'static str,
        /// What it is, on which clock.
        pub doc: &'static str,
    }

    impl ReadingSpec {
        /// The better direction of its values.
        #[must_use]
        pub fn better(&self) -> Better {
            direction::of_reading(self.name)
        }
    }

    macro_rules! readings {
        ($($id:ident = $name:literal, $unit:literal, $doc:literal;)*) => {
            $(#[doc = concat!("`", $name, "` (", $unit, "): ", $doc, ".")] pub const $id: &str = $name;)*

            /// Every reading but those of work ([`OF_WORKLOADS`]).
            pub const READINGS: &[ReadingSpec] = &[$(ReadingSpec { name: $name, unit: $unit, doc: $doc }),*];
        };
    }

    readings! {
        KERNEL_INIT = "kernel.init", "ns", "time stamp of the kernel's hand-over to init, on the guest kernel's clock";
        KERNEL_LAST_MESSAGE = "kernel.last_message", "ns",
            "time stamp of the last message of the kernel's log, on the guest kernel's clock";
        KERNEL_RANDOM_SEEDED = "kernel.random_seeded", "ns",
            "time stamp of the random number generator's message that it is seeded, on the guest kernel's clock";
        KERNEL_RANDOM_FAST_INIT = "kernel.random_fast_init", "ns",
            "time stamp of the message `random: fast init done`, which kernels since 5.18 lack, on the guest kernel's clock";
        KERNEL_MESSAGES = "kernel.messages", "1", "number of messages in the kernel's log";
        GUEST_UPTIME = "guest.uptime", "ns", "uptime of the guest when its agent was asked, on the guest's clock";
        GUEST_CPUS = "guest.cpus", "1", "number of CPUs that the guest has on line";
        GUEST_MEMORY = "guest.memory", "bytes", "memory that the guest's kernel manages";
        GUEST_PARAMETERS_MISSING = "guest.parameters_missing", "1",
            "number of words that the guest's kernel was to be given on its command line and was not";
        GUEST_PARAMETERS_ADDED = "guest.parameters_added", "1", "number of words that the VMM added to the command line of the guest's kernel";
        VMM_PEAK_RSS = "vmm.peak_rss", "bytes",
            "largest resident set of the VMM's process, at least the runner's at the fork; of a guest without a kernel of its own, the sum over its processes and its runtime's, up to the request to stop";
        VMM_MEMORY_OVERHEAD_PSS = "vmm.memory_overhead_pss", "bytes",
            "PSS of all mappings of the VMM's processes less those of the guest's memory, after the first answer";
        VMM_MEMORY_OVERHEAD_RSS = "vmm.memory_overhead_rss", "bytes",
            "RSS of all mappings of the VMM's processes less those of the guest's memory, after the first answer; what processes share counts \
             whole for each";
        VMM_GUEST_MEMORY_RSS = "vmm.guest_memory_rss", "bytes",
            "RSS of the mappings of the guest's memory, which is what the guest has touched of it, after the first answer";
        VMM_MEMORY_PSS = "vmm.memory_pss", "bytes",
            "PSS of the VMM's processes, the guest's memory included, after the first answer";
        VMM_MEMORY_OVERHEAD_PSS_END = "vmm.memory_overhead_pss.end", "bytes",
            "as `vmm.memory_overhead_pss`, after the work and before the request to stop";
        VMM_MEMORY_OVERHEAD_RSS_END = "vmm.memory_overhead_rss.end", "bytes",
            "as `vmm.memory_overhead_rss`, after the work and before the request to stop";
        VMM_GUEST_MEMORY_RSS_END = "vmm.guest_memory_rss.end", "bytes",
            "as `vmm.guest_memory_rss`, after the work and before the request to stop";
        VMM_MEMORY_PSS_END = "vmm.memory_pss.end", "bytes",
            "as `vmm.memory_pss`, after the work and before the request to stop";
        HOST_MEMORY_USED = "host.memory_used", "bytes",
            "memory of the host that all VMs of the trial take together: what could be had before the trial was prepared less \
             what can be had while they are steady (`MemAvailable` and the free pages that CPUs keep); others on the host count with them";
        VMM_CPU_TIME = "vmm.cpu_time", "ns", "CPU time of the VMM's process, user and system, its guest's CPUs included; of a container, its runtime's and its own";
        VMM_USER_CPU_TIME = "vmm.cpu_time.user", "ns", "CPU time of the VMM's process in user mode and in its guest";
        VMM_SYSTEM_CPU_TIME = "vmm.cpu_time.system", "ns", "CPU time of the VMM's process in the host's kernel";
        VMM_MINOR_FAULTS = "vmm.minor_faults", "1", "page faults of the VMM's process that nothing was read for from a disk";
        VMM_MAJOR_FAULTS = "vmm.major_faults", "1", "page faults of the VMM's process that something was read for from a disk";
        VMM_VOLUNTARY_SWITCHES = "vmm.voluntary_switches", "1", "context switches that the VMM's process asked for";
        VMM_INVOLUNTARY_SWITCHES = "vmm.involuntary_switches", "1", "context switches that the VMM's process was made to";
        VMM_SYSTEM_CALLS = "vmm.system_calls", "1",
            "system calls of the VMM's process and its threads from its start to its end, counted by `strace` in trials of their own";
        VMM_KVM_EXITS = "vmm.kvm_exits", "1",
            "exits of the VM's CPUs to KVM from its creation to just before the request to stop, as debugfs counts them";
        VMM_KVM_EXITS_IO = "vmm.kvm_exits.io", "1", "of these, those for a port of the guest's (KVM's `io_exits`)";
        VMM_KVM_EXITS_MMIO = "vmm.kvm_exits.mmio", "1",
            "accesses to a device's memory that KVM handed to the VMM (KVM's `mmio_exits`)";
        VMM_KVM_EXITS_HALT = "vmm.kvm_exits.halt", "1", "exits of a CPU that had nothing to do (KVM's `halt_exits`)";
        VMM_KVM_EXITS_IRQ = "vmm.kvm_exits.irq", "1", "exits for an interrupt of the host's (KVM's `irq_exits`)";
        VMM_KVM_EXITS_IRQ_WINDOW = "vmm.kvm_exits.irq_window", "1",
            "exits as the guest became able to take an interrupt (KVM's `irq_window_exits`)";
        VMM_KVM_EXITS_SIGNAL = "vmm.kvm_exits.signal", "1", "returns to the VMM for a signal (KVM's `signal_exits`)";
        VMM_KVM_EXITS_REQUEST_IRQ = "vmm.kvm_exits.request_irq", "1",
            "returns to the VMM so that it may inject an interrupt (KVM's `request_irq_exits`)";
        VMM_KVM_EXITS_HYPERCALLS = "vmm.kvm_exits.hypercalls", "1", "calls of the guest to KVM (KVM's `hypercalls`)";
        VMM_KVM_EXITS_INSTRUCTION_EMULATION = "vmm.kvm_exits.instruction_emulation", "1",
            "instructions that KVM emulated (KVM's `insn_emulation`)";
        VMM_KVM_EXITS_PAGE_FAULT = "vmm.kvm_exits.page_fault", "1",
            "faults at pages of the guest that KVM resolved (KVM's `pf_taken`)";
        VMM_USER = "vmm.user", "1", "number of the user that the VMM's process, or the agent in a container, runs as";
        VMM_CAPABILITIES = "vmm.capabilities", "1", "effective capabilities of the VMM's process, or of the agent in a container, as a bit mask";
        VMM_SECCOMP = "vmm.seccomp", "1", "seccomp mode of the VMM's process, or of the agent in a container: 0 none, 1 strict, 2 filtered";
        VMM_NO_NEW_PRIVILEGES = "vmm.no_new_privileges", "1", "1 when the VMM's process, or the agent in a container, can gain no privileges";
        VMM_OWN_ROOT = "vmm.own_root", "1", "1 when the VMM's process, or the agent in a container, has a root folder of its own";
        VMM_OWN_NAMESPACES = "vmm.own_namespaces", "1",
            "number of kinds of namespace in which the VMM's process, or the agent in a container, is not where the runner is";
        HOST_CACHED = "host.cached", "bytes",
            "what the host's page cache still held of the VMM's program, the guest's kernel and its disk with `page_cache = \"cold\"`";
        PROBE_ATTEMPTS = "probe.attempts", "1", "number of connections that the probe tried";
        PROBE_GAP = "probe.gap", "ns", "time between the probe's last failed attempt and its success";
        PROBE_AFTER_CONSOLE_MARK = "probe.after_console_mark", "ns",
            "time from the agent's mark on the console, the second witness of the service's start, to the first answer 200";
        PROBE_CPU_TIME = "probe.cpu_time", "ns", "CPU time of the probe's thread";
        RUNNER_CPU_TIME = "runner.cpu_time", "ns",
            "CPU time of the runner's process from the preparation of the trial to the end of its last VM; the same for all its VMs";
        RUNNER_VM_CPU_TIME = "runner.vm_cpu_time", "ns", "CPU time of the runner's thread that this VM has, from the release to its end";
        VM_COMPLETED = "vm.completed", "1", "1 when the VM completed its protocol, 0 when it did not, of those that this host can run";
    }

    /// The readings of a VMM's memory after its guest's first answer: overhead as PSS and RSS, the guest's RSS, the PSS of all.
    pub const MEMORY: [&str; 4] =
        [VMM_MEMORY_OVERHEAD_PSS, VMM_MEMORY_OVERHEAD_RSS, VMM_GUEST_MEMORY_RSS, VMM_MEMORY_PSS];

    /// The same before the request to stop.
    pub const MEMORY_END: [&str; 4] =
        [VMM_MEMORY_OVERHEAD_PSS_END, VMM_MEMORY_OVERHEAD_RSS_END, VMM_GUEST_MEMORY_RSS_END, VMM_MEMORY_PSS_END];

    /// The readings of work; `METRIC` stands for the name of the metric whose work it is.
    pub const OF_WORKLOADS: &[ReadingSpec] = &[
        ReadingSpec {
            name: "workload.METRIC.duration",
            unit: "ns",
            doc: "time that the metric's work took, all rounds together, on the clock of its kind",
        },
        ReadingSpec {
            name: "workload.METRIC.throughput",
            unit: "MB/s",
            doc: "bytes of all rounds over that time; 1 MB is 1,000,000 bytes",
        },
        ReadingSpec {
            name: "workload.METRIC.rate",
            unit: "1/s",
            doc: "operations of all rounds (pages, blocks, requests) over that time",
        },
        ReadingSpec {
            name: "workload.METRIC.p50",
            unit: "ns",
            doc: "median of the times of one operation, by the nearest rank, on the clock of the kind",
        },
        ReadingSpec {
            name: "workload.METRIC.p99",
            unit: "ns",
            doc: "99th percentile of the times of one operation, by the nearest rank; the largest of fewer than 100",
        },
        ReadingSpec {
            name: "workload.METRIC.sha_ni",
            unit: "1",
            doc: "1 when the guest hashed with the processor's SHA instructions",
        },
    ];

    /// The reading of this name; readings of work are not in the table.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static ReadingSpec> {
        READINGS.iter().find(|reading| reading.name == name)
    }

    /// What must be attached to the VMM for the reading of this name.
    #[must_use]
    pub fn instrument(name: &str) -> Option<Instrument> {
        (name == VMM_SYSTEM_CALLS).then_some(Instrument::Strace)
    }

    /// Name of the reading that holds a value of a metric's work: `workload.<metric>.<value>`.
    #[must_use]
    pub fn of_work(metric: &str, value: &str) -> String {
        format!("workload.{metric}.{value}")
    }

    /// The reading of this value in [`OF_WORKLOADS`].
    #[must_use]
    pub fn workload_value(value: &str) -> Option<&'static ReadingSpec> {
        OF_WORKLOADS.iter().find(|reading| reading.name.strip_prefix("workload.METRIC.") == Some(value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::direction;
    use crate::direction::Better;

    #[test]
    fn no_name_stands_twice() {
        let names: BTreeSet<_> =
            EVENTS.iter().map(|event| event.name).chain(reading::READINGS.iter().map(|reading| reading.name)).collect();
        assert_eq!(names.len(), EVENTS.len() + reading::READINGS.len());
    }

    #[test]
    fn every_reading_has_a_better_direction() {
        let names = |specs: &[reading::ReadingSpec]| specs.iter().map(|one| one.name.to_owned()).collect::<Vec<_>>();
        let directed = |table: &[(&str, Better)]| table.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(names(reading::READINGS), directed(direction::READINGS));
        let values: Vec<String> = directed(direction::WORK_VALUES);
        assert_eq!(
            names(reading::OF_WORKLOADS),
            values.iter().map(|v| format!("workload.METRIC.{v}")).collect::<Vec<_>>()
        );
    }

    #[test]
    fn events_are_found_by_name_in_the_order_of_life() {
        assert_eq!(find("spawn").map(|event| event.name), Some(SPAWN));
        assert_eq!(find("spwan"), None);
        assert!(rank(SPAWN) < rank(HTTP_OK) && rank(HTTP_OK) < rank(EXIT));
    }

    #[test]
    fn a_works_reading_is_named_after_its_metric() {
        assert_eq!(reading::of_work("hashing_time", "duration"), "workload.hashing_time.duration");
        assert_eq!(reading::workload_value("throughput").map(|reading| reading.unit), Some("MB/s"));
        assert_eq!(reading::workload_value("work"), None);
        assert_eq!(reading::find("kernel.init").map(|reading| reading.unit), Some("ns"));
    }
}
