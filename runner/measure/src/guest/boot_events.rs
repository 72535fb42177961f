//! Boot events that only the guest observes, converted from the guest's clock to the host's.
//!
//! The conversion uses the first response. The agent reads its clock before it sends the response, and the
//! host records `http.ok` when the response arrives. Earlier guest events keep their distance to that
//! response. All of them are late by the time that the response travels to the host; intervals between two of
//! them are exact.
//!
//! A guest that shares the host's kernel uses the host's clock, and its instants need no conversion.

use microbench_agent::Stats;
use microbench_formats::event;

/// A derived event: its name, and its instant on the host's clock in ns or the reason why it is missing.
pub type DerivedEvent = (&'static str, Result<u64, String>);

/// Returns the derived events of a VM. `spawn` and `http_ok` are instants on the host's clock, ns: the VMM
/// was started, and the first response arrived. An event outside this interval is an error, because a guest
/// can report any value.
pub fn derive_events(spawn: u64, http_ok: u64, stats: &Stats) -> [DerivedEvent; 3] {
    let begin = kernel_begin(spawn, http_ok, stats.answered_ns);
    let init_ns = stats.init_us.and_then(|stamp| stamp.checked_mul(1000)).ok_or(NO_INIT);
    let listening_ns = stats.listening_ns.ok_or(NO_CLOCK);
    let at = |stamp: Result<u64, &str>| -> Result<u64, String> {
        let begin = begin.clone()?;
        let instant = begin.checked_add(stamp?).filter(|instant| *instant <= http_ok);
        instant.ok_or_else(|| "the guest reported an instant after its first response".to_owned())
    };
    [(event::KERNEL_BEGIN, begin.clone()), (event::INIT_BEGIN, at(init_ns)), (event::AGENT_LISTENING, at(listening_ns))]
}

/// Returns the derived events of a guest that shares the host's kernel, whose agent reports instants on the
/// host's clock. `why` is the reason why the events of a guest kernel are missing.
pub fn events_on_host_clock(spawn: u64, http_ok: u64, stats: &Stats, why: &str) -> [DerivedEvent; 3] {
    let listening = stats.listening_ns.ok_or("the agent did not report when it began to listen").and_then(|instant| {
        let possible = (spawn..=http_ok).contains(&instant);
        possible
            .then_some(instant)
            .ok_or("the agent reported that it began to listen before its start or after its first response")
    });
    let none = || Err(why.to_owned());
    [
        (event::KERNEL_BEGIN, none()),
        (event::INIT_BEGIN, none()),
        (event::AGENT_LISTENING, listening.map_err(str::to_owned)),
    ]
}

const NO_CLOCK: &str = "the agent could not relate its clock to the clock of the kernel log";
const NO_INIT: &str = "the guest's kernel log does not show the start of init";

fn kernel_begin(spawn: u64, http_ok: u64, answered_ns: Option<u64>) -> Result<u64, String> {
    let begin = http_ok.checked_sub(answered_ns.ok_or(NO_CLOCK)?).filter(|begin| *begin >= spawn);
    begin.ok_or_else(|| "the guest reported that its kernel started before its VMM".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(init_us: Option<u64>, listening_ns: Option<u64>, answered_ns: Option<u64>) -> Stats {
        Stats {
            kernel_messages: 1,
            last_message_us: None,
            init_us,
            random_seeded_us: None,
            random_fast_init_us: None,
            listening_ns,
            answered_ns,
            uptime_ms: 1,
            cmdline: String::new(),
            kernel_release: String::new(),
            cpus: 1,
            cpu_model: String::new(),
            memory_bytes: 1,
            clocksource: String::new(),
        }
    }

    fn instants(stats: &Stats) -> [Result<u64, String>; 3] {
        derive_events(1_000_000, 9_000_000, stats).map(|(_, instant)| instant)
    }

    #[test]
    fn instants_keep_their_distance_to_the_first_response() {
        let found = instants(&stats(Some(3_000), Some(5_000_000), Some(6_000_000)));
        assert_eq!(found, [Ok(3_000_000), Ok(6_000_000), Ok(8_000_000)]);
    }

    #[test]
    fn unreported_instants_do_not_affect_other_events() {
        let found = instants(&stats(None, Some(5_000_000), Some(6_000_000)));
        assert_eq!(found, [Ok(3_000_000), Err(NO_INIT.into()), Ok(8_000_000)]);
        assert!(instants(&stats(Some(3_000), None, None)).iter().all(|instant| *instant == Err(NO_CLOCK.into())));
    }

    #[test]
    fn shared_kernel_instants_must_lie_between_spawn_and_first_response() {
        let of =
            |listening| events_on_host_clock(1_000, 9_000, &stats(None, listening, Some(8_000)), "none").map(|d| d.1);
        assert_eq!(of(Some(5_000)), [Err("none".into()), Err("none".into()), Ok(5_000)]);
        for listening in [None, Some(999), Some(9_001), Some(u64::MAX)] {
            assert!(of(listening)[2].is_err(), "{listening:?}");
        }
    }

    #[test]
    fn impossible_instants_are_rejected() {
        for answered in [8_000_001, u64::MAX] {
            assert!(instants(&stats(Some(1), Some(2), Some(answered))).iter().all(Result::is_err));
        }
        for (init, listening) in [(6_001, 6_000_001), (u64::MAX, u64::MAX)] {
            let found = instants(&stats(Some(init), Some(listening), Some(6_000_000)));
            assert!(found[0].is_ok() && found[1].is_err() && found[2].is_err(), "{found:?}");
        }
    }
}
