//! The instants of a boot that the host does not see, moved from the guest's clock to the host's.
//!
//! `http.ok` is on both clocks: the host saw the answer arrive, the agent took the time before it sent it. What the agent tells of
//! earlier instants lies as long before `http.ok` on the host's clock as it lies before the answer on the guest's. All of them are
//! late by the answer's way to the host, the time between two instants of the guest is exact.
//!
//! A guest that shares the host's kernel has the host's clock, and what its agent tells needs no moving.

use microbench_agent::Stats;
use microbench_formats::event;

/// One derived event: its name, and its instant on the host's clock, ns, or why there is none.
pub type Derived = (&'static str, Result<u64, String>);

/// The derived events of a VM that was spawned at `spawn` and whose first answer came at `http_ok`, by what its agent tells.
pub fn derive(spawn: u64, http_ok: u64, stats: &Stats) -> [Derived; 3] {
    let begin = kernel_begin(spawn, http_ok, stats.answered_ns);
    let init_ns = stats.init_us.and_then(|stamp| stamp.checked_mul(1000)).ok_or(NO_INIT);
    let listening_ns = stats.listening_ns.ok_or(NO_CLOCK);
    let at = |stamp: Result<u64, &str>| -> Result<u64, String> {
        let begin = begin.clone()?;
        let instant = begin.checked_add(stamp?).filter(|instant| *instant <= http_ok);
        instant.ok_or_else(|| "the guest says that it was after its first answer".to_owned())
    };
    [(event::KERNEL_BEGIN, begin.clone()), (event::INIT_BEGIN, at(init_ns)), (event::AGENT_LISTENING, at(listening_ns))]
}

/// The same of a guest that shares the host's kernel, whose agent tells its instants on the host's own clock. `why` says that it has no
/// kernel of its own, and so no such instants.
pub fn on_the_hosts_clock(spawn: u64, http_ok: u64, stats: &Stats, why: &str) -> [Derived; 3] {
    let listening = stats.listening_ns.ok_or("the agent does not tell when it began to listen").and_then(|instant| {
        let possible = (spawn..=http_ok).contains(&instant);
        possible.then_some(instant).ok_or("the agent says that it listened before its spawn or after its first answer")
    });
    let none = || Err(why.to_owned());
    [
        (event::KERNEL_BEGIN, none()),
        (event::INIT_BEGIN, none()),
        (event::AGENT_LISTENING, listening.map_err(str::to_owned)),
    ]
}

const NO_CLOCK: &str = "the agent could not relate its clock to that of the kernel's log";
const NO_INIT: &str = "the guest's kernel log has no hand-over to init";

fn kernel_begin(spawn: u64, http_ok: u64, answered_ns: Option<u64>) -> Result<u64, String> {
    let begin = http_ok.checked_sub(answered_ns.ok_or(NO_CLOCK)?).filter(|begin| *begin >= spawn);
    begin.ok_or_else(|| "the guest says that its kernel began before its VMM was started".to_owned())
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
        derive(1_000_000, 9_000_000, stats).map(|(_, instant)| instant)
    }

    #[test]
    fn instants_lie_as_long_before_the_answer_as_the_guest_says() {
        let found = instants(&stats(Some(3_000), Some(5_000_000), Some(6_000_000)));
        assert_eq!(found, [Ok(3_000_000), Ok(6_000_000), Ok(8_000_000)]);
    }

    #[test]
    fn what_the_guest_does_not_tell_takes_nothing_else_away() {
        let found = instants(&stats(None, Some(5_000_000), Some(6_000_000)));
        assert_eq!(found, [Ok(3_000_000), Err(NO_INIT.into()), Ok(8_000_000)]);
        assert!(instants(&stats(Some(3_000), None, None)).iter().all(|instant| *instant == Err(NO_CLOCK.into())));
    }

    #[test]
    fn a_guest_that_shares_the_kernel_tells_on_the_hosts_clock_and_cannot_lie_far() {
        let of =
            |listening| on_the_hosts_clock(1_000, 9_000, &stats(None, listening, Some(8_000)), "none").map(|d| d.1);
        assert_eq!(of(Some(5_000)), [Err("none".into()), Err("none".into()), Ok(5_000)]);
        for listening in [None, Some(999), Some(9_001), Some(u64::MAX)] {
            assert!(of(listening)[2].is_err(), "{listening:?}");
        }
    }

    #[test]
    fn a_guest_that_lies_has_no_such_event() {
        for answered in [8_000_001, u64::MAX] {
            assert!(instants(&stats(Some(1), Some(2), Some(answered))).iter().all(Result::is_err));
        }
        for (init, listening) in [(6_001, 6_000_001), (u64::MAX, u64::MAX)] {
            let found = instants(&stats(Some(init), Some(listening), Some(6_000_000)));
            assert!(found[0].is_ok() && found[1].is_err() && found[2].is_err(), "{found:?}");
        }
    }
}
