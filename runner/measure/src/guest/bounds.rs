//! Bounds of the values that a guest reports. A value outside its bounds is a protocol error, never a number.
//!
//! The guest is untrusted, and its clock may be wrong. A duration of the guest lies within the time for which the
//! host observed it ([`Window`]), a count within the settings of the VM ([`GuestLimits`]) or a stated limit. A window
//! bounds from above only; the amount of a workload bounds its duration from below ([`Amount`]).
//!
//! Not checked, because the host observes nothing closer: a wrong duration within its bounds, a time stamp of the
//! kernel log within the window, and a smaller number of CPUs or bytes than the VM has.

use std::ops::RangeInclusive;

use microbench_agent::Stats;
use microbench_agent::workload::Latency;
use microbench_formats::event::{self, reading};

use crate::sys::clock::Instant;

/// Tolerance for the difference between the clocks of guest and host, as a divisor of the window (1 %) and a constant
/// of 1 ms.
///
/// Linux slews each clock by up to 500 ppm (`MAXFREQ` of `linux/timex.h`), and accepts an error of 490 ppm when it
/// calibrates the TSC with the PIT (`quick_pit_calibrate`). The constant covers rounded time stamps, and the step when
/// KVM updates kvm-clock. Both have a margin: a bound that fails an honest guest is worse than one that is 1 % wide.
const RATE_DIVISOR: u128 = 100;
/// See [`RATE_DIVISOR`].
const OFFSET_NS: u128 = 1_000_000;

/// Largest throughput of a workload, bytes per nanosecond (1 TB/s).
///
/// One CPU of the guest executes the workload. An x86 core reads at most two words of 64 bytes per cycle from its
/// first-level cache, which is 1 TB/s at 8 GHz.
pub const MOST_BYTES_PER_NS: u64 = 1000;
/// Shortest duration of an operation of a workload (page, block, request), ns. Each one enters and leaves the guest's
/// kernel.
pub const SHORTEST_OPERATION_NS: u64 = 10;
/// Largest number of messages in a kernel log: one for each 32 bytes (`PRB_AVGBITS` of `kernel/printk/printk.c`) of
/// the largest buffer that Linux can be built with (32 MiB, `CONFIG_LOG_BUF_SHIFT=25`).
pub const MOST_KERNEL_MESSAGES: u64 = 1 << 20;
/// Longest kernel command line, bytes. Linux on x86 keeps 2,048 (`COMMAND_LINE_SIZE`), to which a boot configuration
/// can add.
pub const COMMAND_LINE_BYTES: u64 = 4096;
/// Longest release of a kernel, bytes (`__NEW_UTS_LEN`).
pub const RELEASE_BYTES: u64 = 64;

/// A value that a guest reported is outside of its bounds. The message has the value and the bound, with units.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the guest reports {name} = {reported}, but {bound}")]
pub struct OutOfBounds {
    /// Name of the reading or event.
    name: String,
    reported: String,
    bound: String,
}

/// A duration or a time stamp that a guest reported, ns. It holds each 64-bit number of milliseconds.
///
/// ```
/// use microbench_measure::guest::bounds::Reported;
///
/// assert_eq!(Reported::from_us(u64::MAX).to_string(), "18446744073709551.6 ms");
/// assert_eq!(Reported::from_ns(131).to_string(), "131 ns");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reported(u128);

impl Reported {
    #[must_use]
    pub fn from_ns(ns: u64) -> Self {
        Self(ns.into())
    }

    #[must_use]
    pub fn from_us(us: u64) -> Self {
        Self(u128::from(us) * 1_000)
    }

    #[must_use]
    pub fn from_ms(ms: u64) -> Self {
        Self(u128::from(ms) * 1_000_000)
    }
}

impl std::fmt::Display for Reported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            ns @ ..100_000 => write!(f, "{ns} ns"),
            ns => {
                let tenths = (ns + 50_000) / 100_000;
                write!(f, "{}.{} ms", tenths / 10, tenths % 10)
            }
        }
    }
}

/// The time for which the host observed what a guest timed, on the host's clock.
///
/// ```
/// use microbench_measure::guest::bounds::{Reported, Window};
/// use microbench_measure::sys::clock::Instant;
///
/// let window = Window::of_guest(Instant(0), Instant(160_200_000));
/// assert_eq!(window.check("kernel.init", Reported::from_us(98_123)), Ok(98_123_000));
/// assert_eq!(
///     window.check("kernel.init", Reported::from_ns(u64::MAX)).unwrap_err().to_string(),
///     "the guest reports kernel.init = 18446744073709.6 ms, but the host saw the guest for 160.2 ms"
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    length_ns: u64,
    /// What the host did for this time; a length follows.
    observed: &'static str,
}

impl Window {
    /// The life of a guest so far: from the start of its VMM to the response that carries the value.
    #[must_use]
    pub fn of_guest(spawn: Instant, response: Instant) -> Self {
        Self { length_ns: response.0.saturating_sub(spawn.0), observed: "the host saw the guest for" }
    }

    /// The execution of a request.
    #[must_use]
    pub fn of_request(request: Instant, response: Instant) -> Self {
        Self { length_ns: response.0.saturating_sub(request.0), observed: "the response came after" }
    }

    /// The time until the guest's own instant `answered`, ns on the guest's clock.
    fn until_answered(answered: u64) -> Self {
        Self { length_ns: answered, observed: "its last response on the same clock is at" }
    }

    /// Returns the duration in ns if the window contains it, within the tolerance for the clocks.
    ///
    /// # Errors
    /// The duration is longer than the window.
    pub fn check(self, name: &str, reported: Reported) -> Result<u64, OutOfBounds> {
        let length = u128::from(self.length_ns);
        let longest = length + length / RATE_DIVISOR + OFFSET_NS;
        u64::try_from(reported.0).ok().filter(|_| reported.0 <= longest).ok_or_else(|| OutOfBounds {
            name: name.into(),
            reported: reported.to_string(),
            bound: format!("{} {}", self.observed, Reported::from_ns(self.length_ns)),
        })
    }
}

/// Checks a count; `unit` follows the number in the message, and `bound` says why `range` is the bound.
fn check_count(
    name: &str,
    reported: u64,
    unit: &str,
    range: RangeInclusive<u64>,
    bound: impl FnOnce() -> String,
) -> Result<(), OutOfBounds> {
    if range.contains(&reported) {
        return Ok(());
    }
    Err(OutOfBounds { name: name.into(), reported: format!("{reported}{unit}"), bound: bound() })
}

/// What a VM was given, which bounds what its guest has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestLimits {
    pub cpus: u64,
    pub memory_bytes: u64,
}

impl GuestLimits {
    /// Checks the guest's machine: CPUs and memory.
    ///
    /// # Errors
    /// The guest has no CPU or no memory, or more than the VM.
    pub fn check_machine(&self, stats: &Stats) -> Result<(), OutOfBounds> {
        let Self { cpus, memory_bytes } = *self;
        check_count(reading::GUEST_CPUS, stats.cpus.into(), "", 1..=cpus, || format!("the VM has {cpus}"))?;
        check_count(reading::GUEST_MEMORY, stats.memory_bytes, " bytes", 1..=memory_bytes, || {
            format!("the VM has {memory_bytes} bytes")
        })
    }
}

/// Times of a boot that a guest reported, within their bounds: ns on the clock of the guest's kernel log. `None` if
/// the guest did not report the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BootTimes {
    pub last_message_ns: Option<u64>,
    pub init_ns: Option<u64>,
    pub random_seeded_ns: Option<u64>,
    pub random_fast_init_ns: Option<u64>,
    pub listening_ns: Option<u64>,
    pub answered_ns: Option<u64>,
    pub uptime_ns: u64,
}

/// Checks the statistics of a guest that has booted its own kernel. `window` ends when they arrived.
///
/// # Errors
/// A value is outside of its bounds.
pub fn check_boot(stats: &Stats, limits: GuestLimits, window: Window) -> Result<BootTimes, OutOfBounds> {
    limits.check_machine(stats)?;
    check_count(reading::KERNEL_MESSAGES, stats.kernel_messages, "", 0..=MOST_KERNEL_MESSAGES, || {
        format!("a kernel log has at most {MOST_KERNEL_MESSAGES} messages")
    })?;
    for (name, text, most) in [
        ("a kernel command line", &stats.cmdline, COMMAND_LINE_BYTES),
        ("a kernel release", &stats.kernel_release, RELEASE_BYTES),
    ] {
        check_count(name, text.len() as u64, " bytes", 0..=most, || format!("Linux has at most {most} bytes"))?;
    }
    let check = |window: Window, name, reported: Option<Reported>| {
        reported.map(|reported| window.check(name, reported)).transpose()
    };
    let ns = |value: Option<u64>| value.map(Reported::from_ns);
    let us = |value: Option<u64>| value.map(Reported::from_us);
    let answered_ns = check(window, "the instant of its last response", ns(stats.answered_ns))?;
    // The service listens, and its kernel has started init, before it responds. The tolerance covers the agent's
    // comparison of its clocks.
    let check_before = |name, reported: Option<Reported>| {
        check(window, name, reported)?;
        check(answered_ns.map_or(window, Window::until_answered), name, reported)
    };
    Ok(BootTimes {
        last_message_ns: check(window, reading::KERNEL_LAST_MESSAGE, us(stats.last_message_us))?,
        init_ns: check_before(reading::KERNEL_INIT, us(stats.init_us))?,
        random_seeded_ns: check(window, reading::KERNEL_RANDOM_SEEDED, us(stats.random_seeded_us))?,
        random_fast_init_ns: check(window, reading::KERNEL_RANDOM_FAST_INIT, us(stats.random_fast_init_us))?,
        listening_ns: check_before(event::AGENT_LISTENING, ns(stats.listening_ns))?,
        answered_ns,
        uptime_ns: window.check(reading::GUEST_UPTIME, Reported::from_ms(stats.uptime_ms))?,
    })
}

/// Checks the instant at which an agent on the host's clock began to listen, ns. The clock is that of the host, so
/// there is no tolerance.
///
/// # Errors
/// It is before the start of the VM, or after its first response.
pub fn check_instant_of_host(listening_ns: u64, spawn: Instant, http_ok: Instant) -> Result<(), OutOfBounds> {
    if (spawn.0..=http_ok.0).contains(&listening_ns) {
        return Ok(());
    }
    let [reported, from, to] = [listening_ns, spawn.0, http_ok.0].map(Reported::from_ns);
    Err(OutOfBounds {
        name: event::AGENT_LISTENING.into(),
        reported: reported.to_string(),
        bound: format!("the host saw the guest from {from} to {to}"),
    })
}

/// Amount of data that a workload processes in all of its rounds.
///
/// ```
/// use microbench_measure::guest::bounds::Amount;
///
/// assert_eq!(Amount { bytes: 131_072, operations: None }.shortest_ns(), 132);
/// assert_eq!(Amount { bytes: 131_072, operations: Some(32) }.shortest_ns(), 320);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    pub bytes: u64,
    /// Number of operations; `None` for a kind that has none.
    pub operations: Option<u64>,
}

impl Amount {
    /// Shortest plausible duration, ns, by [`MOST_BYTES_PER_NS`] and [`SHORTEST_OPERATION_NS`]; at least 1.
    #[must_use]
    pub fn shortest_ns(self) -> u64 {
        let operations = self.operations.unwrap_or(0).saturating_mul(SHORTEST_OPERATION_NS);
        self.bytes.div_ceil(MOST_BYTES_PER_NS).max(operations).max(1)
    }

    /// Checks the duration of the workload in ns against the amount and the time of its request.
    ///
    /// # Errors
    /// The duration is too short for the amount, or longer than the request.
    pub fn check_duration(self, name: &str, duration_ns: u64, window: Window) -> Result<(), OutOfBounds> {
        let reported = Reported::from_ns(duration_ns);
        let shortest = Reported::from_ns(self.shortest_ns());
        if reported < shortest {
            let operations = self.operations.map(|count| format!(" in {count} operations")).unwrap_or_default();
            return Err(OutOfBounds {
                name: name.into(),
                reported: reported.to_string(),
                bound: format!("{} bytes{operations} take at least {shortest}", self.bytes),
            });
        }
        window.check(name, reported).map(drop)
    }
}

/// Checks the latency of `operations` operations that a guest executed one after the other within `duration_ns`. `name`
/// returns the name of a value.
///
/// # Errors
/// The quantiles are not ordered, shorter than an operation, or too long for the duration.
pub fn check_latency(
    name: impl Fn(&str) -> String,
    latency: Latency,
    operations: u64,
    duration_ns: u64,
) -> Result<(), OutOfBounds> {
    let Latency { p50_ns, p99_ns } = latency;
    let [p50, p99, duration] = [p50_ns, p99_ns, duration_ns].map(Reported::from_ns);
    let outside = |value, reported: Reported, bound| {
        Err(OutOfBounds { name: name(value), reported: reported.to_string(), bound })
    };
    if p50_ns < SHORTEST_OPERATION_NS {
        return outside("p50", p50, format!("an operation takes at least {SHORTEST_OPERATION_NS} ns"));
    }
    if p99_ns < p50_ns {
        return outside("p99", p99, format!("p50 is {p50}"));
    }
    // Operations from the nearest rank of a quantile on take at least that long.
    let rank = |percent: u128| (u128::from(operations) * percent).div_ceil(100);
    let above = |percent| u128::from(operations) + 1 - rank(percent).max(1);
    for (value, reported, percent) in [("p50", p50, 50), ("p99", p99, 99)] {
        let least = reported.0 * above(percent);
        if least > duration.0 {
            return outside(value, reported, format!("all {operations} operations took {duration}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: GuestLimits = GuestLimits { cpus: 2, memory_bytes: 128 << 20 };
    const MS: u64 = 1_000_000;

    fn stats() -> Stats {
        Stats {
            kernel_messages: 142,
            last_message_us: Some(101_000),
            init_us: Some(98_123),
            random_seeded_us: Some(71_022),
            random_fast_init_us: None,
            listening_ns: Some(110 * MS),
            answered_ns: Some(112 * MS),
            uptime_ms: 110,
            cmdline: "quiet".into(),
            kernel_release: "6.1.0".into(),
            cpus: 1,
            cpu_model: String::new(),
            memory_bytes: 118 << 20,
            clocksource: String::new(),
        }
    }

    fn window(length_ns: u64) -> Window {
        Window::of_guest(Instant(7), Instant(length_ns.saturating_add(7)))
    }

    fn refused(change: impl FnOnce(&mut Stats)) -> String {
        let mut changed = stats();
        change(&mut changed);
        check_boot(&changed, LIMITS, window(160_200_000)).unwrap_err().to_string()
    }

    #[test]
    fn honest_statistics_are_accepted_in_nanoseconds() {
        let expected = BootTimes {
            last_message_ns: Some(101 * MS),
            init_ns: Some(98_123_000),
            random_seeded_ns: Some(71_022_000),
            random_fast_init_ns: None,
            listening_ns: Some(110 * MS),
            answered_ns: Some(112 * MS),
            uptime_ns: 110 * MS,
        };
        assert_eq!(check_boot(&stats(), LIMITS, window(160 * MS)), Ok(expected));
    }

    #[test]
    fn message_has_the_reported_value_and_the_bound() {
        for (found, expected) in [
            (
                refused(|stats| stats.init_us = Some(u64::MAX)),
                "kernel.init = 18446744073709551.6 ms, but the host saw the guest for 160.2 ms",
            ),
            (
                refused(|stats| stats.init_us = Some(114_130)),
                "kernel.init = 114.1 ms, but its last response on the same clock is at 112.0 ms",
            ),
            (
                refused(|stats| stats.uptime_ms = u64::MAX),
                "guest.uptime = 18446744073709551615.0 ms, but the host saw the guest for 160.2 ms",
            ),
            (refused(|stats| stats.cpus = 3), "guest.cpus = 3, but the VM has 2"),
            (
                refused(|stats| stats.memory_bytes = (128 << 20) + 1),
                "guest.memory = 134217729 bytes, but the VM has 134217728 bytes",
            ),
            (
                refused(|stats| stats.kernel_messages = 1 << 21),
                "kernel.messages = 2097152, but a kernel log has at most 1048576 messages",
            ),
            (
                refused(|stats| stats.cmdline = "a ".repeat(2049)),
                "a kernel command line = 4098 bytes, but Linux has at most 4096 bytes",
            ),
        ] {
            assert_eq!(found, format!("the guest reports {expected}"));
        }
        let refused = Amount { bytes: 131_072, operations: Some(32) }.check_duration("x", 319, window(MS));
        assert_eq!(
            refused.unwrap_err().to_string(),
            "the guest reports x = 319 ns, but 131072 bytes in 32 operations take at least 320 ns"
        );
    }

    #[test]
    fn guest_without_a_cpu_or_memory_is_refused() {
        assert!(LIMITS.check_machine(&Stats { cpus: 0, ..stats() }).is_err());
        assert!(LIMITS.check_machine(&Stats { memory_bytes: 0, ..stats() }).is_err());
    }

    #[test]
    fn tolerance_is_one_percent_and_one_millisecond() {
        let longest = |length| {
            (0..).map(|step| step * 1000).find(|ns| window(length).check("x", Reported::from_ns(*ns)).is_err())
        };
        assert_eq!((longest(0), longest(100 * MS)), (Some(MS + 1000), Some(102 * MS + 1000)));
    }

    #[test]
    fn latency_of_operations_fits_their_duration() {
        let check = |p50_ns, p99_ns, operations, duration| {
            check_latency(|value| value.into(), Latency { p50_ns, p99_ns }, operations, duration)
                .map_err(|e| e.to_string())
        };
        // 17 of 32 operations take at least the median.
        assert_eq!(check(1000, 1000, 32, 17_000), Ok(()));
        assert_eq!(
            check(1000, 1000, 32, 16_999),
            Err("the guest reports p50 = 1000 ns, but all 32 operations took 16999 ns".into())
        );
        assert!(check(1000, 5_000, 1, 4_999).is_err() && check(1000, 999, 4, 9_000).is_err());
        assert!(check(9, 10, 4, 9_000).is_err() && check(u64::MAX, u64::MAX, u64::MAX, u64::MAX).is_err());
        assert!(check(10, 10, 0, 9_000).is_ok());
    }

    fn any_stats() -> impl Strategy<Value = Stats> {
        let number = || prop_oneof![any::<u64>(), 0..1_000_000_u64, Just(u64::MAX)];
        let stamp = move || proptest::option::of(number());
        let stamps = (stamp(), stamp(), stamp(), stamp(), stamp(), stamp());
        (stamps, number(), number(), number(), any::<u32>()).prop_map(|(stamps, messages, uptime_ms, memory, cpus)| {
            Stats {
                kernel_messages: messages,
                last_message_us: stamps.0,
                init_us: stamps.1,
                random_seeded_us: stamps.2,
                random_fast_init_us: stamps.3,
                listening_ns: stamps.4,
                answered_ns: stamps.5,
                uptime_ms,
                memory_bytes: memory,
                cpus: cpus % 4,
                ..stats()
            }
        })
    }

    proptest! {
        #[test]
        fn no_accepted_time_is_longer_than_the_window_and_none_wraps(
            stats in any_stats(),
            length in prop_oneof![any::<u64>(), 0..10_000_000_000_u64],
        ) {
            let limits = GuestLimits { cpus: 2, memory_bytes: u64::MAX };
            let Ok(times) = check_boot(&stats, limits, window(length)) else { return Ok(()) };
            let seen = window(length).length_ns;
            let longest = u128::from(seen) + u128::from(seen) / 100 + 1_000_000;
            for (found, reported) in [
                (times.last_message_ns, stats.last_message_us.map(|us| u128::from(us) * 1000)),
                (times.random_seeded_ns, stats.random_seeded_us.map(|us| u128::from(us) * 1000)),
                (times.random_fast_init_ns, stats.random_fast_init_us.map(|us| u128::from(us) * 1000)),
                (times.init_ns, stats.init_us.map(|us| u128::from(us) * 1000)),
                (times.listening_ns, stats.listening_ns.map(u128::from)),
                (times.answered_ns, stats.answered_ns.map(u128::from)),
                (Some(times.uptime_ns), Some(u128::from(stats.uptime_ms) * 1_000_000)),
            ] {
                prop_assert_eq!(found.map(u128::from), reported);
            }
            for found in [times.last_message_ns, times.random_seeded_ns, times.answered_ns, Some(times.uptime_ns)] {
                prop_assert!(found.is_none_or(|ns| u128::from(ns) <= longest));
            }
            prop_assert!((1..=2).contains(&stats.cpus) && stats.kernel_messages <= MOST_KERNEL_MESSAGES);
        }

        #[test]
        fn accepted_throughput_is_plausible(
            bytes in any::<u64>(),
            operations in proptest::option::of(any::<u64>()),
            duration in prop_oneof![any::<u64>(), 0..1000_u64],
            length in any::<u64>(),
        ) {
            let amount = Amount { bytes, operations };
            if amount.check_duration("x", duration, window(length)).is_ok() {
                prop_assert!(duration > 0 && bytes as f64 / duration as f64 <= 1.001 * MOST_BYTES_PER_NS as f64);
            }
        }

        #[test]
        fn latency_of_an_honest_agent_is_accepted(
            times in proptest::collection::vec(10..10_000_000_u64, 1..300),
            rest in 0..1000_u64,
        ) {
            let (duration, count) = (times.iter().sum::<u64>() + rest, times.len() as u64);
            let latency = Latency::from_durations(times).expect("there are operations");
            prop_assert_eq!(check_latency(|value| value.into(), latency, count, duration), Ok(()));
        }

        #[test]
        fn instant_of_the_host_lies_between_start_and_response(
            at in any::<u64>(),
            spawn in any::<u64>(),
            ok in any::<u64>(),
        ) {
            let accepted = check_instant_of_host(at, Instant(spawn), Instant(ok)).is_ok();
            prop_assert_eq!(accepted, spawn <= at && at <= ok);
        }
    }
}
