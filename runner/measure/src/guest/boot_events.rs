//! Boot events that only the guest observes, converted from the guest's clock to the host's.
//!
//! The conversion uses the first response. The agent reads its clock before it sends the response, and the
//! host records `http.ok` when the response arrives. Earlier guest events keep their distance to that
//! response. All of them are late by the time that the response travels to the host; intervals between two of
//! them are exact.
//!
//! A guest that shares the host's kernel uses the host's clock, and its instants need no conversion.

use microbench_formats::event;

use super::bounds::BootTimes;

/// A derived event: its name, and its instant on the host's clock in ns or the reason why it is missing.
pub type DerivedEvent = (&'static str, Result<u64, String>);

/// Returns the derived events of a VM. `spawn` and `http_ok` are instants on the host's clock, ns: the VMM
/// was started, and the first response arrived. The times are within their bounds; an event that the tolerance
/// of a bound puts outside of `spawn` to `http_ok` is missing.
pub fn derive_events(spawn: u64, http_ok: u64, times: &BootTimes) -> [DerivedEvent; 3] {
    let begin = kernel_begin(spawn, http_ok, times.answered_ns);
    let at = |stamp: Result<u64, &str>| -> Result<u64, String> {
        let begin = begin.clone()?;
        let instant = begin.checked_add(stamp?).filter(|instant| *instant <= http_ok);
        instant.ok_or_else(|| "the guest reported an instant after its first response".to_owned())
    };
    [
        (event::KERNEL_BEGIN, begin.clone()),
        (event::INIT_BEGIN, at(times.init_ns.ok_or(NO_INIT))),
        (event::AGENT_LISTENING, at(times.listening_ns.ok_or(NO_CLOCK))),
    ]
}

/// Returns the derived events of a guest that shares the host's kernel. `listening_ns` is the instant that its agent
/// reported on the host's clock, within its bounds. `why` is the reason why the events of a guest kernel are missing.
pub fn events_on_host_clock(listening_ns: Option<u64>, why: &str) -> [DerivedEvent; 3] {
    let listening = listening_ns.ok_or_else(|| "the agent did not report when it began to listen".to_owned());
    let none = || Err(why.to_owned());
    [(event::KERNEL_BEGIN, none()), (event::INIT_BEGIN, none()), (event::AGENT_LISTENING, listening)]
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

    fn times(init_ns: Option<u64>, listening_ns: Option<u64>, answered_ns: Option<u64>) -> BootTimes {
        BootTimes { init_ns, listening_ns, answered_ns, ..BootTimes::default() }
    }

    fn instants(times: &BootTimes) -> [Result<u64, String>; 3] {
        derive_events(1_000_000, 9_000_000, times).map(|(_, instant)| instant)
    }

    #[test]
    fn instants_keep_their_distance_to_the_first_response() {
        let found = instants(&times(Some(3_000_000), Some(5_000_000), Some(6_000_000)));
        assert_eq!(found, [Ok(3_000_000), Ok(6_000_000), Ok(8_000_000)]);
    }

    #[test]
    fn unreported_instants_do_not_affect_other_events() {
        let found = instants(&times(None, Some(5_000_000), Some(6_000_000)));
        assert_eq!(found, [Ok(3_000_000), Err(NO_INIT.into()), Ok(8_000_000)]);
        assert!(instants(&times(Some(3_000_000), None, None)).iter().all(|instant| *instant == Err(NO_CLOCK.into())));
    }

    #[test]
    fn shared_kernel_has_only_the_instant_of_listening() {
        let of = |listening| events_on_host_clock(listening, "none").map(|event| event.1);
        assert_eq!(of(Some(5_000)), [Err("none".into()), Err("none".into()), Ok(5_000)]);
        assert!(of(None)[2].is_err());
    }

    #[test]
    fn impossible_instants_are_rejected() {
        for answered in [8_000_001, u64::MAX] {
            assert!(instants(&times(Some(1), Some(2), Some(answered))).iter().all(Result::is_err));
        }
        for (init, listening) in [(6_000_001, 6_000_001), (u64::MAX, u64::MAX)] {
            let found = instants(&times(Some(init), Some(listening), Some(6_000_000)));
            assert!(found[0].is_ok() && found[1].is_err() && found[2].is_err(), "{found:?}");
        }
    }
}
