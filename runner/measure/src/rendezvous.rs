//! The VMs of one trial: released at once, and held until each of them has come to the same point.

use std::sync::{Barrier, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::host::counters::memory;
use crate::sys::clock::Instant;

/// What the VMs of one trial share.
#[derive(Debug)]
pub struct Together {
    vms: usize,
    release: Barrier,
    state: Mutex<State>,
    changed: Condvar,
    /// Memory of the host that could be had before the trial was prepared, bytes.
    available: Option<u64>,
    used: OnceLock<Result<f64, String>>,
}

/// Who is where.
#[derive(Debug)]
struct State {
    /// VMs that have not left.
    present: usize,
    /// Those of them that have come.
    come: usize,
    /// How often all have come.
    round: u64,
    /// When they last had.
    since: Instant,
}

impl Together {
    /// Of so many VMs. `available` is the memory of the host that could be had before the first was prepared, bytes.
    #[must_use]
    pub fn of(vms: usize, available: Option<u64>) -> Self {
        Self {
            vms,
            release: Barrier::new(vms),
            state: Mutex::new(State { present: vms, come: 0, round: 0, since: Instant(0) }),
            changed: Condvar::new(),
            available,
            used: OnceLock::new(),
        }
    }

    /// Waits until every VM is ready to be released.
    pub fn release(&self) {
        self.release.wait();
    }

    /// True for a trial of one VM.
    #[must_use]
    pub fn alone(&self) -> bool {
        self.vms == 1
    }

    /// Waits until every VM that has not left has come, and returns when the last one had: one instant for all. `None` when the
    /// deadline passes first.
    #[must_use]
    pub fn gather(&self, deadline: Instant) -> Option<Instant> {
        let mut state = self.state();
        let round = state.round;
        state.come += 1;
        self.go_on_if_complete(&mut state);
        while state.round == round {
            if deadline.passed() {
                state.come -= 1;
                return None;
            }
            state = self.changed.wait_timeout(state, deadline.remaining()).unwrap_or_else(PoisonError::into_inner).0;
        }
        Some(state.since)
    }

    /// One VM is not waited for any more.
    pub fn leave(&self) {
        let mut state = self.state();
        state.present = state.present.saturating_sub(1);
        self.go_on_if_complete(&mut state);
    }

    fn go_on_if_complete(&self, state: &mut State) {
        if state.come > 0 && state.come >= state.present {
            *state = State { present: state.present, come: 0, round: state.round + 1, since: Instant::now() };
            self.changed.notify_all();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Memory of the host that the trial takes, bytes, at the first call: what could be had before it less what can be had then. Every
    /// VM is told the same.
    ///
    /// # Errors
    /// Why it is not known, in one line.
    pub fn memory_used(&self) -> Result<f64, String> {
        let found = self.used.get_or_init(|| match (self.available, memory::available()) {
            (Some(before), Some(now)) => Ok(before as f64 - now as f64),
            _ => Err("/proc/meminfo has no MemAvailable".to_owned()),
        });
        found.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn later() -> Instant {
        Instant::now().after(Duration::from_secs(300))
    }

    #[test]
    fn all_that_have_not_left_are_waited_for_and_told_one_instant_round_after_round() {
        let together = Together::of(4, None);
        let rounds: Vec<Vec<Option<Instant>>> = std::thread::scope(|scope| {
            let stay = || (0..3).map(|_| together.gather(later())).collect::<Vec<_>>();
            let threads = [scope.spawn(stay), scope.spawn(stay), scope.spawn(stay)];
            together.leave();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(rounds.iter().all(|own| *own == rounds[0]), "{rounds:?}");
        assert!(rounds[0].iter().all(Option::is_some) && rounds[0].is_sorted());
    }

    #[test]
    fn one_that_does_not_come_is_waited_for_until_the_deadline_alone() {
        let together = Together::of(2, None);
        assert_eq!(together.gather(Instant::now()), None);
        // It is not taken to be there still.
        assert_eq!(together.gather(Instant::now()), None);
        together.leave();
        assert!(together.gather(later()).is_some());
        assert!(together.memory_used().unwrap_err().contains("MemAvailable"));
    }
}
