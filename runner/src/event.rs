//! The names that a metric may refer to: events in a VM's life, and readings.

/// Events, on the executing host's `CLOCK_MONOTONIC`, in the order in which they happen.
pub const EVENTS: [(&str, &str); 14] = [
    ("clone.begin", "the root disk is about to be lent"),
    ("clone.end", "the root disk is there"),
    ("spawn", "just before the VMM's process is forked"),
    ("api.ready", "the VMM's API socket accepts a connection"),
    ("boot.requested", "just before the call that starts the guest"),
    ("console.first", "first byte on the guest's console"),
    ("agent.ready", "the agent's mark on the console: its socket listens"),
    ("http.ok", "the first complete 200 to GET / is read"),
    ("work.begin", "just before the request to work"),
    ("work.end", "the answer to the request to work is read"),
    ("stop.requested", "just before the request to shut down"),
    ("stop.acknowledged", "the answer to the request to shut down is read"),
    ("guest.restart", "the agent's mark on the console: it asks its kernel to restart"),
    ("exit", "the VMM's process has ended"),
];

/// Readings: name, unit, meaning. A workload adds `work.<metric>.duration` (ns, the guest's clock) and
/// `work.<metric>.sha_ni` (1 when the guest's CPU has SHA instructions) of its own.
pub const READINGS: [(&str, &str, &str); 15] = [
    ("kernel.init", "ns", "stamp of the kernel's hand-over to init, on the guest's clock"),
    ("kernel.last_message", "ns", "stamp of the kernel log's last message, on the guest's clock"),
    ("kernel.random_seeded", "ns", "stamp of `crng init done`, on the guest's clock"),
    ("kernel.random_fast_init", "ns", "stamp of `fast init done` (kernels before 5.18), on the guest's clock"),
    ("kernel.messages", "1", "messages in the kernel log"),
    ("guest.uptime", "ns", "the guest's uptime when its log was read"),
    ("guest.cpus", "1", "CPUs that the guest sees"),
    ("guest.memory", "bytes", "memory that the guest sees"),
    ("probe.attempts", "1", "connection attempts until the first answer"),
    ("probe.gap", "ns", "from the last failed attempt to the first answer: bounds the probe's error"),
    ("probe.cpu_time", "ns", "CPU time of the probing thread"),
    ("vmm.cpu_time", "ns", "user and system time of the VMM's process, guest included"),
    ("vmm.peak_rss", "bytes", "largest resident set of the VMM's process, guest included"),
    ("vmm.voluntary_switches", "1", "voluntary context switches of the VMM's process"),
    ("vmm.involuntary_switches", "1", "involuntary context switches of the VMM's process"),
];
