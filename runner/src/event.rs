//! The names of events and readings: the one table that the runner writes by and that a manifest is checked against.
//!
//! An event is a named instant in one VM's life on the executing host's `CLOCK_MONOTONIC`. A reading is a value that the guest, its
//! kernel or the runner reports for one VM. Nothing else in the code spells such a name.

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
    SPAWN = "spawn", "the instant just before the VMM's process is forked";
    VMM_EXEC = "vmm.exec", "the return from the fork, when the VMM's program has taken the process over";
    API_READY = "api.ready", "the first connection that the VMM's control socket accepts";
    BOOT_REQUESTED = "boot.requested", "the request to the VMM to start the guest";
    KERNEL_BEGIN = "kernel.begin", "the zero of the guest kernel's clock, derived from the guest's stamps";
    CONSOLE_FIRST = "console.first", "the first byte on the console, which is the guest's and the VMM's";
    INIT_BEGIN = "init.begin", "the kernel's hand-over to init, derived from the guest's stamps";
    AGENT_LISTENING = "agent.listening", "the return from the agent's `listen(2)`, derived from the guest's stamps";
    AGENT_READY = "agent.ready", "the guest agent's mark on the console";
    AGENT_ANNOUNCED = "agent.announced", "the arrival of the agent's datagram that it listens";
    HTTP_OK = "http.ok", "the first answer 200 of the guest's web service";
    WORK_BEGIN = "work.begin", "the request for the work";
    WORK_END = "work.end", "the answer to the request for the work";
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
    use microbench_plots::record::Instrument;

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

    macro_rules! readings {
        ($($id:ident = $name:literal, $unit:literal, $doc:literal;)*) => {
            $(#[doc = concat!("`", $name, "` (", $unit, "): ", $doc, ".")] pub const $id: &str = $name;)*

            /// Every reading but those of work ([`work_duration`]).
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
        GUEST_WORDS_MISSING = "guest.words_missing", "1",
            "number of words that the guest's kernel was to be given on its command line and was not";
        GUEST_WORDS_ADDED = "guest.words_added", "1", "number of words that the VMM added to the command line of the guest's kernel";
        VMM_PEAK_RSS = "vmm.peak_rss", "bytes", "largest resident set of the VMM's process";
        VMM_CPU_TIME = "vmm.cpu_time", "ns", "CPU time of the VMM's process, user and system";
        VMM_VOLUNTARY_SWITCHES = "vmm.voluntary_switches", "1", "context switches that the VMM's process asked for";
        VMM_INVOLUNTARY_SWITCHES = "vmm.involuntary_switches", "1", "context switches that the VMM's process was made to";
        VMM_SYSTEM_CALLS = "vmm.system_calls", "1",
            "system calls of the VMM's process and its threads from its start to its end, counted by `strace` in trials of their own";
        VMM_KVM_EXITS = "vmm.kvm_exits", "1",
            "exits of the VM's CPUs to KVM from its creation to just before the request to stop, as debugfs counts them";
        VMM_USER = "vmm.user", "1", "number of the user that the VMM's process runs as";
        VMM_CAPABILITIES = "vmm.capabilities", "1", "effective capabilities of the VMM's process, as a bit mask";
        VMM_SECCOMP = "vmm.seccomp", "1", "seccomp mode of the VMM's process: 0 none, 1 strict, 2 filtered";
        VMM_NO_NEW_PRIVILEGES = "vmm.no_new_privileges", "1", "1 when the VMM's process can gain no privileges";
        VMM_OWN_ROOT = "vmm.own_root", "1", "1 when the VMM's process has a root folder of its own";
        HOST_CACHED = "host.cached", "bytes",
            "what the host's page cache still held of the VMM's program, the guest's kernel and its disk with `page_cache = \"cold\"`";
        PROBE_ATTEMPTS = "probe.attempts", "1", "number of connections that the probe tried";
        PROBE_GAP = "probe.gap", "ns", "time between the probe's last failed attempt and its success";
        PROBE_WITNESS = "probe.witness", "ns",
            "time from the agent's mark on the console, the second witness of the service's start, to the first answer 200";
        PROBE_CPU_TIME = "probe.cpu_time", "ns", "CPU time of the probe's thread";
    }

    /// The readings of work; `METRIC` stands for the name of the metric whose work it is.
    pub const OF_WORK: &[ReadingSpec] = &[
        ReadingSpec {
            name: "work.METRIC.duration",
            unit: "ns",
            doc: "time that the metric's work took, on the guest's clock",
        },
        ReadingSpec {
            name: "work.METRIC.sha_ni",
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

    /// Name of the reading (ns, guest's clock) that holds the duration of a metric's work: `work.<metric>.duration`.
    #[must_use]
    pub fn work_duration(metric: &str) -> String {
        format!("work.{metric}.duration")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_name_stands_twice() {
        let names: BTreeSet<_> =
            EVENTS.iter().map(|event| event.name).chain(reading::READINGS.iter().map(|reading| reading.name)).collect();
        assert_eq!(names.len(), EVENTS.len() + reading::READINGS.len());
    }

    #[test]
    fn events_are_found_by_name_in_the_order_of_life() {
        assert_eq!(find("spawn").map(|event| event.name), Some(SPAWN));
        assert_eq!(find("spwan"), None);
        assert!(rank(SPAWN) < rank(HTTP_OK) && rank(HTTP_OK) < rank(EXIT));
    }

    #[test]
    fn a_works_reading_is_named_after_its_metric() {
        assert_eq!(reading::work_duration("hashing_time"), "work.hashing_time.duration");
        assert_eq!(reading::find("kernel.init").map(|reading| reading.unit), Some("ns"));
    }
}
