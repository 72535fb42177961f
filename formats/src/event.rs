//! The names of events and readings. The runner writes these names, and metrics of a manifest may use no others.
//!
//! An event is a named instant in the life of one VM, on `CLOCK_MONOTONIC` of the executing host. A reading is a value
//! that the guest, its kernel or the runner reports for one VM. The table of better directions ([`crate::direction`])
//! repeats the names of the readings; a test compares the two tables.
//!
//! ```
//! use microbench_formats::event::{HTTP_OK, SPAWN, find, rank, reading};
//!
//! assert!(rank(SPAWN) < rank(HTTP_OK));
//! assert!(find(SPAWN).is_some() && find("spwan").is_none());
//! assert_eq!(reading::find(reading::VMM_PEAK_RSS).unwrap().unit, "bytes");
//! ```

/// An event: its name and the instant that it marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventSpec {
    /// Name in the journal and in a metric's `from` and `to`.
    pub name: &'static str,
    /// The instant, a noun phrase that completes "from ... to ...".
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
    TAP_BEGIN = "tap.begin", "the start of the creation of the VM's tap interface";
    TAP_END = "tap.end", "the end of the creation of the VM's tap interface: it has its addresses and is up";
    SPAWN = "spawn", "the instant before the fork of the VMM process";
    VMM_EXEC = "vmm.exec", "the return from the fork, after the execve(2) of the VMM";
    API_READY = "api.ready", "the first connection that the VMM's API socket accepts";
    BOOT_REQUESTED = "boot.requested", "the request to the VMM to start the guest, or to load and resume a snapshot";
    GUEST_ENTERED = "guest.entered", "KVM's first entry into the guest (tracepoint `kvm_entry`)";
    BOOT_ACKNOWLEDGED = "boot.acknowledged", "the VMM's response to the request to start the guest";
    KERNEL_MARKED = "kernel.marked",
        "the guest kernel's write to an I/O port at the start of its C code (tracepoint `kvm_pio`)";
    KERNEL_BEGIN = "kernel.begin", "the zero of the guest kernel's clock, derived from the guest's time stamps";
    CONSOLE_FIRST = "console.first", "the first byte on the console, which the VMM or the guest writes";
    INIT_MARKED = "init.marked",
        "the guest kernel's write to an I/O port just before it starts init (tracepoint `kvm_pio`)";
    INIT_BEGIN = "init.begin", "the start of init by the guest kernel, derived from the guest's time stamps";
    AGENT_MARKED = "agent.marked", "the agent's write to an I/O port just after its `listen(2)` (tracepoint `kvm_pio`)";
    AGENT_LISTENING = "agent.listening",
        "the return from the agent's `listen(2)`, derived from the guest's time stamps";
    AGENT_READY = "agent.ready", "the agent's ready line on the console";
    AGENT_READY_DATAGRAM = "agent.ready_datagram", "the arrival of the agent's ready datagram";
    HTTP_OK = "http.ok",
        "the instant at which the runner has read and checked the whole first HTTP 200 response of the guest's web \
         service";
    STEADY_BEGIN = "steady.begin",
        "the instant at which every VM of the trial has responded or failed, the same for all VMs";
    STEADY_END = "steady.end", "the second request to the guest's web service, `hold_s` after `steady.begin`";
    STEADY_RESPONSE = "steady.response", "the response to the second request to the guest's web service";
    WORKLOAD_BEGIN = "workload.begin", "the request to execute the workload";
    WORKLOAD_END = "workload.end", "the response to the request to execute the workload";
    STOP_REQUESTED = "stop.requested", "the request to the guest to stop";
    GUEST_RESTART = "guest.restart",
        "the agent's line on the console just before it requests a restart from its kernel";
    STOP_ACKNOWLEDGED = "stop.acknowledged",
        "the guest's response to the request to stop, which the runner reads after `guest.restart`";
    GUEST_RESET_PULSE = "guest.reset_pulse",
        "the guest's first reset pulse: its write of 0xfe to I/O port 0x64, the keyboard controller (tracepoint \
         `kvm_pio`)";
    GUEST_RESET_PULSE_LAST = "guest.reset_pulse_last",
        "the guest's last reset pulse (tracepoint `kvm_pio`, whose filter runs at each access of the guest to an I/O \
         port), less than 0.1 ms after Linux's last poll of the keyboard controller";
    EXIT = "exit", "the end of the VMM process";
}

#[must_use]
pub fn find(name: &str) -> Option<&'static EventSpec> {
    EVENTS.iter().find(|event| event.name == name)
}

/// Index of an event in [`EVENTS`]; `None` for an unknown name.
#[must_use]
pub fn rank(name: &str) -> Option<usize> {
    EVENTS.iter().position(|event| event.name == name)
}

/// Names of readings.
pub mod reading {
    use crate::direction;
    use crate::direction::Better;
    use crate::instrument::Instrument;

    /// A reading: its name, its unit in the journal and its definition.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ReadingSpec {
        /// Name in the journal and in a metric's `reading`.
        pub name: &'static str,
        /// Unit in the journal.
        pub unit: &'static str,
        /// The definition, including the clock: a noun phrase.
        pub doc: &'static str,
    }

    impl ReadingSpec {
        #[must_use]
        pub fn better(&self) -> Better {
            direction::of_reading(self.name)
        }
    }

    macro_rules! readings {
        ($($id:ident = $name:literal, $unit:literal, $doc:literal;)*) => {
            $(#[doc = concat!("`", $name, "` (", $unit, "): ", $doc, ".")] pub const $id: &str = $name;)*

            /// All readings except those of workloads, which are in [`WORKLOAD_READINGS`].
            pub const READINGS: &[ReadingSpec] = &[$(ReadingSpec { name: $name, unit: $unit, doc: $doc }),*];
        };
    }

    readings! {
        KERNEL_INIT = "kernel.init", "ns", "time stamp of the start of init, on the guest kernel's clock";
        KERNEL_LAST_MESSAGE = "kernel.last_message", "ns",
            "time stamp of the last message in the kernel log, on the guest kernel's clock";
        KERNEL_RANDOM_SEEDED = "kernel.random_seeded", "ns",
            "time stamp of the message that the random number generator is seeded, on the guest kernel's clock";
        KERNEL_RANDOM_FAST_INIT = "kernel.random_fast_init", "ns",
            "time stamp of the message `random: fast init done`, on the guest kernel's clock; kernels since 5.18 do \
             not log it";
        KERNEL_MESSAGES = "kernel.messages", "1", "number of messages in the kernel log";
        GUEST_UPTIME = "guest.uptime", "ns",
            "uptime of the guest at the request for its statistics, on the guest's clock";
        GUEST_CPUS = "guest.cpus", "1", "number of online CPUs of the guest";
        GUEST_MEMORY = "guest.memory", "bytes", "memory that the guest kernel manages";
        GUEST_PARAMETERS_MISSING = "guest.parameters_missing", "1",
            "number of requested kernel parameters that are missing from the guest kernel's command line";
        GUEST_PARAMETERS_ADDED = "guest.parameters_added", "1",
            "number of kernel parameters that the VMM added to the guest kernel's command line";
        VMM_PEAK_RSS = "vmm.peak_rss", "bytes",
            "peak resident set size of the VMM process, at least that of the runner at the fork; for a guest without \
             its own kernel, the sum over its processes and its runtime's, up to the request to stop";
        VMM_MEMORY_OVERHEAD_PSS = "vmm.memory_overhead_pss", "bytes",
            "PSS of all mappings of the VMM processes minus those of the guest memory, after the first response";
        VMM_MEMORY_OVERHEAD_RSS = "vmm.memory_overhead_rss", "bytes",
            "RSS of all mappings of the VMM processes minus those of the guest memory, after the first response; \
             pages that processes share count fully for each process";
        VMM_GUEST_MEMORY_RSS = "vmm.guest_memory_rss", "bytes",
            "RSS of the mappings of the guest memory (the pages that the guest has touched), after the first response";
        VMM_MEMORY_PSS = "vmm.memory_pss", "bytes",
            "PSS of the VMM processes including the guest memory, after the first response";
        VMM_MEMORY_OVERHEAD_PSS_END = "vmm.memory_overhead_pss.end", "bytes",
            "like `vmm.memory_overhead_pss`, after the workloads and before the request to stop";
        VMM_MEMORY_OVERHEAD_RSS_END = "vmm.memory_overhead_rss.end", "bytes",
            "like `vmm.memory_overhead_rss`, after the workloads and before the request to stop";
        VMM_GUEST_MEMORY_RSS_END = "vmm.guest_memory_rss.end", "bytes",
            "like `vmm.guest_memory_rss`, after the workloads and before the request to stop";
        VMM_MEMORY_PSS_END = "vmm.memory_pss.end", "bytes",
            "like `vmm.memory_pss`, after the workloads and before the request to stop";
        HOST_MEMORY_USED = "host.memory_used", "bytes",
            "memory of the host that all VMs of the trial use together: the available memory before the trial minus \
             that in the steady state (`MemAvailable` plus the free pages in per-CPU lists); includes changes by other \
             processes of the host";
        VMM_CPU_TIME = "vmm.cpu_time", "ns",
            "CPU time of the VMM process, user and system, including the guest's CPUs; for a container, of the \
             container and its runtime";
        VMM_USER_CPU_TIME = "vmm.cpu_time.user", "ns", "CPU time of the VMM process in user mode and in the guest";
        VMM_SYSTEM_CPU_TIME = "vmm.cpu_time.system", "ns", "CPU time of the VMM process in the host kernel";
        VMM_MINOR_FAULTS = "vmm.minor_faults", "1", "minor page faults of the VMM process (no read from a disk)";
        VMM_MAJOR_FAULTS = "vmm.major_faults", "1", "major page faults of the VMM process (with a read from a disk)";
        VMM_VOLUNTARY_SWITCHES = "vmm.voluntary_switches", "1", "voluntary context switches of the VMM process";
        VMM_INVOLUNTARY_SWITCHES = "vmm.involuntary_switches", "1", "involuntary context switches of the VMM process";
        VMM_SYSTEM_CALLS = "vmm.system_calls", "1",
            "system calls of the VMM process and its threads from start to end, counted by `strace` in separate trials";
        VMM_SYSTEM_CALLS_COUNTED = "vmm.system_calls_counted", "1",
            "system calls that the VMM process and its threads begin, from the end of its `execve(2)` to its end, or \
             to the tenth reset pulse with `stop_at = \"reset-pulses\"`; counted by a perf event (tracepoint \
             `raw_syscalls:sys_enter`) in separate trials";
        GUEST_KEYBOARD_POLLS = "guest.keyboard_polls", "1",
            "reads of I/O port 0x64, the keyboard controller, by the guest, over the same time as \
             `vmm.system_calls_counted` and including those of its boot; counted by a perf event (tracepoint \
             `kvm_pio`) in separate trials";
        VMM_KVM_EXITS = "vmm.kvm_exits", "1",
            "VM exits of all vCPUs from the creation of the VM to just before the request to stop, counted by KVM in \
             debugfs";
        VMM_KVM_EXITS_IO = "vmm.kvm_exits.io", "1", "VM exits for access to an I/O port (KVM's `io_exits`)";
        VMM_KVM_EXITS_MMIO = "vmm.kvm_exits.mmio", "1",
            "accesses to device memory that KVM forwarded to the VMM (KVM's `mmio_exits`)";
        VMM_KVM_EXITS_HALT = "vmm.kvm_exits.halt", "1", "VM exits of an idle vCPU (KVM's `halt_exits`)";
        VMM_KVM_EXITS_IRQ = "vmm.kvm_exits.irq", "1", "VM exits for an interrupt of the host (KVM's `irq_exits`)";
        VMM_KVM_EXITS_IRQ_WINDOW = "vmm.kvm_exits.irq_window", "1",
            "VM exits because the guest became able to accept an interrupt (KVM's `irq_window_exits`)";
        VMM_KVM_EXITS_SIGNAL = "vmm.kvm_exits.signal", "1", "returns to the VMM for a signal (KVM's `signal_exits`)";
        VMM_KVM_EXITS_REQUEST_IRQ = "vmm.kvm_exits.request_irq", "1",
            "returns to the VMM so that it can inject an interrupt (KVM's `request_irq_exits`)";
        VMM_KVM_EXITS_HYPERCALLS = "vmm.kvm_exits.hypercalls", "1", "hypercalls of the guest (KVM's `hypercalls`)";
        VMM_KVM_EXITS_INSTRUCTION_EMULATION = "vmm.kvm_exits.instruction_emulation", "1",
            "instructions that KVM emulated (KVM's `insn_emulation`)";
        VMM_KVM_EXITS_PAGE_FAULT = "vmm.kvm_exits.page_fault", "1",
            "page faults of the guest that KVM resolved (KVM's `pf_taken`)";
        VMM_USER = "vmm.user", "1", "user ID of the VMM process, or of the agent in a container";
        VMM_CAPABILITIES = "vmm.capabilities", "1",
            "effective capabilities of the VMM process, or of the agent in a container, as a bit mask";
        VMM_SECCOMP = "vmm.seccomp", "1",
            "seccomp mode of the VMM process, or of the agent in a container: 0 disabled, 1 strict, 2 filter";
        VMM_NO_NEW_PRIVILEGES = "vmm.no_new_privileges", "1",
            "1 if `no_new_privs` is set for the VMM process, or for the agent in a container";
        VMM_OWN_ROOT = "vmm.own_root", "1",
            "1 if the VMM process, or the agent in a container, has its own root directory";
        VMM_OWN_NAMESPACES = "vmm.own_namespaces", "1",
            "number of namespaces of the VMM process, or of the agent in a container, that differ from those of the \
             runner";
        HOST_CACHED = "host.cached", "bytes",
            "bytes of the VMM program, the guest kernel and the disk that were still in the host's page cache, with \
             `page_cache = \"cold\"`";
        PROBE_ATTEMPTS = "probe.attempts", "1", "number of connection attempts of the probe";
        PROBE_GAP = "probe.gap", "ns", "time between the probe's last failed attempt and its success";
        PROBE_AFTER_CONSOLE_MARK = "probe.after_console_mark", "ns",
            "time from the agent's ready line on the console, an independent sign that the service started, to the \
             first HTTP 200 response";
        PROBE_CPU_TIME = "probe.cpu_time", "ns", "CPU time of the probe's thread";
        RUNNER_CPU_TIME = "runner.cpu_time", "ns",
            "CPU time of the runner process from the preparation of the trial to the end of its last VM; the same for \
             all VMs of the trial";
        RUNNER_WINDOW_CPU_TIME = "runner.window_cpu_time", "ns",
            "CPU time of the runner process from the simultaneous start of the VMs to the end of the last VMM, without \
             preparation and clean-up; the same for all VMs of the trial";
        RUNNER_STARTUP_CPU_TIME = "runner.startup_cpu_time", "ns",
            "CPU time of the runner process from the simultaneous start of the VMs to the last first response; the same \
             for all VMs of the trial";
        RUNNER_SHARE = "runner.share", "1",
            "CPU time of the runner process (`runner.window_cpu_time`) divided by the CPU time of all VMM processes of the \
             trial (`vmm.cpu_time`); the same for all VMs of the trial";
        RUNNER_VM_CPU_TIME = "runner.vm_cpu_time", "ns",
            "CPU time of the runner's thread for this VM, from the simultaneous start to the end of the VM";
        VM_COMPLETED = "vm.completed", "1",
            "1 if the VM completed its protocol, 0 if it did not; only for VMs that this host supports";
    }

    /// Readings of memory after the first response: overhead as PSS and RSS, RSS of the guest memory, total PSS.
    pub const MEMORY: [&str; 4] =
        [VMM_MEMORY_OVERHEAD_PSS, VMM_MEMORY_OVERHEAD_RSS, VMM_GUEST_MEMORY_RSS, VMM_MEMORY_PSS];

    /// The readings of [`MEMORY`] before the request to stop, in the same order.
    pub const MEMORY_END: [&str; 4] =
        [VMM_MEMORY_OVERHEAD_PSS_END, VMM_MEMORY_OVERHEAD_RSS_END, VMM_GUEST_MEMORY_RSS_END, VMM_MEMORY_PSS_END];

    /// The readings of workloads. `METRIC` is a placeholder for the name of the metric that defines the workload.
    pub const WORKLOAD_READINGS: &[ReadingSpec] = &[
        ReadingSpec {
            name: "workload.METRIC.duration",
            unit: "ns",
            doc: "duration of all rounds of the workload, on the clock of its kind",
        },
        ReadingSpec {
            name: "workload.METRIC.throughput",
            unit: "MB/s",
            doc: "bytes of all rounds divided by the duration; 1 MB is 1,000,000 bytes",
        },
        ReadingSpec {
            name: "workload.METRIC.rate",
            unit: "1/s",
            doc: "operations of all rounds (pages, blocks, requests) divided by the duration",
        },
        ReadingSpec {
            name: "workload.METRIC.p50",
            unit: "ns",
            doc: "median duration of one operation, by the nearest rank, on the clock of the kind",
        },
        ReadingSpec {
            name: "workload.METRIC.p99",
            unit: "ns",
            doc: "99th percentile of the duration of one operation, by the nearest rank; the maximum of fewer than 100",
        },
        ReadingSpec {
            name: "workload.METRIC.sha_ni",
            unit: "1",
            doc: "1 if the guest hashed with the SHA instructions of the processor",
        },
    ];

    /// The reading of this name; `None` for an unknown name, and for the readings of workloads.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static ReadingSpec> {
        READINGS.iter().find(|reading| reading.name == name)
    }

    /// The instrument that the reading requires; `None` for readings of timed trials.
    #[must_use]
    pub fn instrument(name: &str) -> Option<Instrument> {
        match name {
            VMM_SYSTEM_CALLS => Some(Instrument::Strace),
            VMM_SYSTEM_CALLS_COUNTED | GUEST_KEYBOARD_POLLS => Some(Instrument::Perf),
            _ => None,
        }
    }

    /// Name of a reading of a metric's workload: `workload.<metric>.<value>`.
    #[must_use]
    pub fn workload_reading(metric: &str, value: &str) -> String {
        format!("workload.{metric}.{value}")
    }

    /// The entry of [`WORKLOAD_READINGS`] with this last part of its name, for example `throughput`.
    #[must_use]
    pub fn find_workload_reading(value: &str) -> Option<&'static ReadingSpec> {
        WORKLOAD_READINGS.iter().find(|reading| reading.name.strip_prefix("workload.METRIC.") == Some(value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::direction;
    use crate::direction::Better;

    #[test]
    fn names_of_events_and_readings_are_unique() {
        let names: BTreeSet<_> =
            EVENTS.iter().map(|event| event.name).chain(reading::READINGS.iter().map(|reading| reading.name)).collect();
        assert_eq!(names.len(), EVENTS.len() + reading::READINGS.len());
    }

    #[test]
    fn every_reading_has_a_better_direction() {
        let names = |specs: &[reading::ReadingSpec]| specs.iter().map(|spec| spec.name.to_owned()).collect::<Vec<_>>();
        let directed = |table: &[(&str, Better)]| table.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(names(reading::READINGS), directed(direction::READINGS));
        let values: Vec<String> = directed(direction::WORKLOAD_VALUES);
        assert_eq!(
            names(reading::WORKLOAD_READINGS),
            values.iter().map(|v| format!("workload.METRIC.{v}")).collect::<Vec<_>>()
        );
    }

    #[test]
    fn events_are_in_chronological_order() {
        assert_eq!(find("spawn").map(|event| event.name), Some(SPAWN));
        assert_eq!(find("spwan"), None);
        assert!(rank(SPAWN) < rank(HTTP_OK) && rank(HTTP_OK) < rank(EXIT));
        // The runner reads the response to the stop request after the guest's line on the console.
        let stop = [STOP_REQUESTED, GUEST_RESTART, STOP_ACKNOWLEDGED, GUEST_RESET_PULSE, GUEST_RESET_PULSE_LAST, EXIT];
        assert!(stop.map(rank).is_sorted());
    }

    #[test]
    fn workload_reading_is_named_after_its_metric() {
        assert_eq!(reading::workload_reading("hashing_time", "duration"), "workload.hashing_time.duration");
        assert_eq!(reading::find_workload_reading("throughput").map(|reading| reading.unit), Some("MB/s"));
        assert_eq!(reading::find_workload_reading("work"), None);
        assert_eq!(reading::find("kernel.init").map(|reading| reading.unit), Some("ns"));
    }
}
